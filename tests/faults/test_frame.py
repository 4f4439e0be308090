# SPDX-License-Identifier: MIT
"""The ledger itself: it reports nothing without a fault, and each kind of fault."""
from faults import LedgerTest
from harness import at_once


class Frame(LedgerTest):
    """The ledger reports what is wrong."""
    clients = 4

    def test_it_sees_what_is_wrong(self):
        """Each fault is put into PostgreSQL by SQL."""
        def work(i):
            for n in range(3):
                session = f"{self.prefix}{i}.{n}"
                self.act(i, "create", session, messages=2)
                self.act(i, "append", session, messages=3)
                self.assertEqual(self.look(i, session, least=5), 5)
        at_once(self.clients, work)
        self.judge()
        of = "(SELECT generation FROM sessions WHERE session_id = '%s')"
        some, other = of % f"{self.prefix}0.0", of % f"{self.prefix}1.0"
        copied = ("INSERT INTO messages SELECT generation, {seq}, created_at, size, tenant, NULL, type,"
                  " role, content, metadata FROM messages WHERE generation = {of} AND seq = 5;"
                  " UPDATE sessions SET last_seq = 6, message_count = 6 WHERE generation = {to}")
        for what, sql in (
                ("half", f"DELETE FROM messages WHERE generation = {some} AND seq = 4"),
                ("lost", f"DELETE FROM messages WHERE generation = {some} AND seq > 2"),
                ("gap", f"UPDATE sessions SET message_count = 4 WHERE generation = {some}"),
                ("twice", copied.format(seq=6, of=some, to=some)),
                ("foreign", f"UPDATE messages SET content = (SELECT content FROM messages WHERE"
                            f" generation = {other} AND seq = 5) WHERE generation = {some} AND seq = 5"),
                ("nobody", f"UPDATE messages SET content = '\"{self.prefix}0.0 9 9 9\"'"
                           f" WHERE generation = {some} AND seq = 5"),
                ("misnumbered", f"UPDATE messages SET seq = seq + 100 WHERE generation = {some}"),
                ("key", f"DELETE FROM idempotency_keys WHERE generation = {some}")):
            with self.subTest(what=what):
                self.stack.psql("CREATE SCHEMA saved; CREATE TABLE saved.s AS TABLE sessions;"
                                "CREATE TABLE saved.m AS TABLE messages;"
                                "CREATE TABLE saved.k AS TABLE idempotency_keys")
                self.stack.psql(sql)
                wrong = self.ledger.compare(self.stack)
                self.assertTrue(any(line.startswith(what) for line in wrong), wrong)
                self.stack.psql("DELETE FROM sessions; DELETE FROM idempotency_keys;"
                                "INSERT INTO sessions TABLE saved.s; INSERT INTO messages TABLE saved.m;"
                                "INSERT INTO idempotency_keys TABLE saved.k; DROP SCHEMA saved CASCADE")
                self.assertEqual(self.ledger.compare(self.stack), [])
        failed = next(op for op in self.ledger.ops if op.kind == "append")
        failed.outcome = "failed"
        self.assertTrue(self.ledger.compare(self.stack)[0].startswith("not failed"))
