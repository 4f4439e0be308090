# SPDX-License-Identifier: MIT
"""Windows of long sessions, where what decides is far from the end: a call, the start message, the system message, the
end. parley reads such a session in parts; the answer must not show that."""
from harness import message
from test_windows import Stored
from tool_conversations import Conversation, call, result
from windows import WindowTest, WithoutCaches

BUDGETS = [{"messages": n} for n in (1, 2, 3, 10, 19, 20, 21, 50, 100, 500, 999, 1000)]
BUDGETS += [{"tokens": n} for n in (1, 2, 30, 100, 300, 1100, 100000)] + [{"bytes": n} for n in (40, 100, 1000, 10000, 100000)]


def u(i=0):
    return message(f"u{i}", tokens=1)


def a(i=0, tokens=1):
    return message(f"a{i}", "assistant", tokens=tokens)


def fcall(id_="c", tokens=1):
    return {"type": "function_call", "extra": {"call_id": id_}, "tokens": tokens}


def fout(id_="c"):
    return {"type": "function_call_output", "content": id_, "extra": {"call_id": id_}, "tokens": 1}


def reasoning():
    return {"type": "reasoning", "tokens": 1}


def talk(n):
    return [m for i in range(n) for m in (u(i), a(i))]


def many(n):
    return [a(i) for i in range(n)]


def steps(n):
    return [m for i in range(n) for m in (fcall(str(i)), fout(str(i)))]


# (what it is, messages, queries)
LONG = (
    ("an output a thousand messages after its call", [u(), fcall(), *talk(300), fout(), *talk(250)], ({},)),
    ("an output of a call that never was", [u(), *talk(300), fout(), *talk(250)], ({},)),
    ("a second output", [u(), fcall(), *talk(5), fout(), *talk(550), fout(), *talk(8)], ({},)),
    ("an id again, the first call without an output", [u(), fcall(), *talk(300), fcall(), fout(), *talk(20)], ({},)),
    ("the output at the end", [u(), a(), u(), fcall(), *talk(60), fout()], ({},)),
    ("the output at the end of a thousand", [u(), a(), u(), fcall(), *talk(520), fout()], ({},)),
    ("the user's word far back", [u(), a(), u(), *many(1100)], ({}, {"start_on": "user,system"}, {"include_system": "false"})),
    ("the system's word far back", [message("s", "system", tokens=5), u(), *talk(700)],
     ({}, {"start_on": "system"}, {"include_system": "false"}, {"start_on": "system", "include_system": "false"})),
    ("the user's word far back, calls since", [message("s", "system", tokens=5), u(), a(), u(), *steps(300)], ({},)),
    ("the user speaks while the first of many calls waits", [u(), a(), fcall("x"), u(1), fout("x"), *steps(300)], ({},)),
    ("both far back", [message("s", "system", tokens=5), u(), message("d", "developer", tokens=3), *many(1100)],
     ({}, {"start_on": "developer"})),
    ("system messages on both sides", [message("s", "system", tokens=5), u(), *many(60), message("d", "developer", tokens=3),
                                       *many(60)], ({}, {"end_on": "system"}, {"start_on": "system"})),
    ("an assistant's word far back", [u(), a(), *(u(i) for i in range(1100))], ({"start_on": "assistant"},)),
    ("the end far back", [u(), a(), u(), *many(60)], ({"end_on": "user"}, {"end_on": "tool"})),
    ("the end very far back", [u(), a(), *talk(20), u(), *many(1100)], ({"end_on": "user"},)),
    ("no user, far more than one window", many(1300), ({}, {"start_on": "tool"})),
    ("the user between a call and its output, far back", [u(), a(), fcall(), u(1), fout(), *many(1100)], ({},)),
    ("an agent of a thousand calls", [u(), *(m for i in range(520) for m in (call(f"c{i}"), result(f"c{i}")))], ({},)),
    ("a thousand results of one message", [u(), call(*(f"c{i}" for i in range(1100))), *(result(f"c{i}") for i in range(1100)),
                                           a(), u(), a()], ({},)),
    ("eighty results of one message", [u(), call(*(f"c{i}" for i in range(80))), *(result(f"c{i}") for i in range(80)), a()], ({},)),
    ("a run of reasoning and many calls", [u(), reasoning(), *({"type": "web_search_call", "tokens": 1} for _ in range(100))], ({},)),
    ("nothing but orphans at the end", [u(), a(), *(fout(str(i)) for i in range(1100))], ({},)),
    *((f"reasoning {n} messages before the end, with a large one behind",
       [u(), *many(50), reasoning(), a(tokens=1000), fcall(), fout(), *many(n)], ({},)) for n in range(16, 46)),
)


class Long(WindowTest):
    """From the caches and PostgreSQL."""

    def test_long(self):
        """Fails if what is before the messages that are read at first is taken for absent: a call, a reasoning item, the
        start or the end."""
        for name, messages, queries in LONG:
            with self.subTest(name=name):
                self.known.clear()
                stored = Stored(self, Conversation("items", name, messages), natively=True)
                for query in queries:
                    windows = stored.windows(**query)
                    for budget in ({}, *BUDGETS, *stored.together(windows, 10)):
                        stored.ask(windows, budget, **query)
                    stored.check_needed(windows, **query)

    def test_what_looks_like_a_result(self):
        """Fails if the search for the user's message passes over a message that has the text of a part's type."""
        path = self.store_all([u(), a(), message([{"type": "text", "text": "tool_result"}]), *steps(60)])
        status, got = self.window(path, max_messages=3)
        self.assertEqual((status, [m["seq"] for m in got["data"]]), (200, [3, 122, 123]))

    def very_long(self, *wanted):
        """Of 5003 messages, of which the first three have the roles that count."""
        path = self.make(messages=[message("s", "system"), message("q"), message("a", "assistant")])
        for _ in range(5):
            self.post(path + "/messages", {"messages": [{"role": "critic", "content": "c"}] * 1000}, status=201)
        for query, seqs, gap in wanted:
            with self.subTest(query=query):
                got = self.get(f"{path}/window?max_messages=4{query}")
                self.assertEqual([m["seq"] for m in got["data"]], seqs)
                self.assertEqual(got["gap"], gap and {"first_seq": gap[0], "last_seq": gap[1]})

    def test_very_long(self):
        """Fails if the user's or the system's message is not found because it is too far back."""
        self.very_long(("", [1, 2, 5002, 5003], (3, 5001)), ("&include_system=0", [2, 5001, 5002, 5003], (3, 5000)),
                       ("&start_on=tool", [1, 5001, 5002, 5003], None))

    def test_other_roles_very_far_back(self):
        """Fails if a start or an end of another role is not found because it is too far back."""
        self.very_long(("&start_on=assistant", [1, 3, 5002, 5003], (4, 5001)), ("&start_on=system", [1, 5001, 5002, 5003], (2, 5000)),
                       ("&end_on=assistant", [1, 2, 3], None), ("&end_on=system", [1], None))


class LongWithoutCaches(WithoutCaches, Long):
    """From PostgreSQL alone."""
