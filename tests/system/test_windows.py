# SPDX-License-Identifier: MIT
"""Windows of conversations with tool calls, with every budget at which the answer changes: what fits, what a model
accepts, and no more left out than must be. tool_conversations.py has the conversations, window_reference.py says which
window it must be, acceptance.py what the models' interfaces take."""
import random

from acceptance import ACCEPTS
from tool_conversations import ALL
from window_reference import KINDS, Session, answer
from windows import WindowTest, WithoutCaches

PARAMETERS = {"tokens": "max_tokens", "bytes": "max_bytes", "messages": "max_messages"}
# Each other query has every max_messages.
QUERIES = ({"include_system": "false"}, {"start_on": "assistant"}, {"start_on": "user,assistant"},
           {"start_on": "system,developer", "include_system": "false"}, {"start_on": "tool"}, {"end_on": "assistant"},
           {"end_on": "user", "start_on": "user,assistant,tool"}, {"end_on": "user,tool", "include_system": "false"},
           {"end_on": "developer,system", "start_on": "developer"})
LONG = 40   # messages; a longer session gets fewer budgets


class Stored:
    """A conversation of the table that is stored."""

    def __init__(self, test, conversation, natively=False):
        self.test, self.conversation = test, conversation
        self.path = test.store(conversation) if not natively else test.store_all(conversation.messages)
        self.messages = test.read(self.path)
        self.history = [m.json for m in self.messages]
        self.by_seq = {m.seq: m for m in self.messages}
        self.accepted = set()

    def windows(self, start_on="user", end_on="", include_system="true"):
        return Session(self.messages, start_on.split(","), end_on.split(","), include_system == "true").windows()

    def budgets(self, windows):
        """Every budget of one kind around which another window may be the right one."""
        sums = {kind: {w.sums[kind] for w in windows} for kind in KINDS}
        if len(self.messages) <= LONG:
            for kind in "tokens", "bytes":
                total = 0
                for message in reversed(self.messages):
                    total += getattr(message, kind)
                    sums[kind].add(total)
            sums["messages"] = set(range(len(self.messages) + 1))
        return [{kind: value + more} for kind in KINDS for value in sorted(sums[kind])
                for more in ((-1, 0, 1) if kind != "messages" else (0, 1)) if value + more > 0]

    def together(self, windows, n):
        """n budgets of several kinds, the same in each run."""
        chance = random.Random(self.conversation.name)
        for _ in range(n if windows else 0):
            some = chance.sample(KINDS, chance.choice((2, 3)))
            budget = {kind: max(1, chance.choice(windows).sums[kind] + chance.choice((-1, 0, 0, 1))) for kind in some}
            yield {kind: min(n, 1000) if kind == "messages" else n for kind, n in budget.items()}

    def ask(self, windows, budget, **query):
        """Asks for a window with this budget and checks the answer."""
        test = self.test
        named = {PARAMETERS[kind]: value for kind, value in budget.items()}
        status, got = test.window(self.path, **named, **query)
        about = (self.conversation.form, self.conversation.name, named, query)
        want_status, want = answer(windows, budget)
        if status == 200:
            self.check_budget(got, budget, about)
            self.check_acceptance(got, query, about)
            got = test.outline(got)
        else:
            got = {name: got.get(name) for name in want}
        test.assertEqual((status, got), (want_status, want), about)

    def check_budget(self, got, budget, about):
        """It fits, it counts right, and it is in order."""
        test = self.test
        seqs = [m["seq"] for m in got["data"]]
        chosen = [self.by_seq[seq] for seq in seqs]
        test.assertTrue(seqs, about)
        test.assertEqual(seqs, sorted(set(seqs)), about)
        test.assertEqual(got["data"], [m.json for m in chosen], about)
        sums = {"tokens": sum(m.tokens for m in chosen), "bytes": sum(m.bytes for m in chosen), "messages": len(chosen)}
        test.assertEqual((got["tokens"], got["bytes"], got["estimated"]),
                         (sums["tokens"], sums["bytes"], sum(m.estimated for m in chosen)), about)
        for kind, most in budget.items():
            test.assertLessEqual(sums[kind], most, about)

    def check_acceptance(self, got, query, about):
        """A model takes it."""
        seqs = tuple(m["seq"] for m in got["data"])
        usual = query.get("start_on", "user") == "user" and "end_on" not in query
        if (seqs, usual) in self.accepted:
            return
        # Claude's first message must be the user's, but for those who ask for another one.
        history = self.history if usual or self.conversation.form != "parts" else []
        wrong = ACCEPTS[self.conversation.form](got["data"], got["open_calls"], history)
        self.test.assertIsNone(wrong, (about, seqs))
        self.accepted.add((seqs, usual))

    def check_needed(self, windows, **query):
        """What a refusal says is needed is enough, and each of it is needed."""
        if not windows or windows[-1].sums["messages"] > 1000:
            return
        needed = windows[-1].sums
        for kind in (None, *KINDS):
            less = {k: n - (k == kind) for k, n in needed.items()}
            if min(less.values()) > 0:
                self.ask(windows, less, **query)
                status, _ = self.test.window(self.path, **{PARAMETERS[k]: n for k, n in less.items()}, **query)
                self.test.assertEqual(status, 422 if kind else 200)


class Windows(WindowTest):
    """Each test takes the conversations of a form. Where a test fails, the answer and the rules differ for the budget
    that the failure names."""

    def whole(self, stored):
        """The window without a budget is the one that the table says."""
        c = stored.conversation
        status, got = self.window(stored.path)
        if c.problem:
            self.assertEqual((status, got["code"]), (422, c.problem), c.name)
            return
        self.assertEqual(status, 200, got)
        self.assertEqual((got["first_seq"], got["omitted"], got["open_calls"], got["gap"]),
                         (c.first, list(c.omitted), list(c.open), None), (c.form, c.name))
        seqs = {m["seq"] for m in got["data"]}
        last = max(m.seq for m in stored.messages)
        self.assertEqual({*range(c.first, last + 1)} - seqs, {*c.omitted, *c.delete} - {*range(c.first)}, c.name)

    def all_budgets(self, *forms):
        for c in ALL:
            if c.form in forms:
                with self.subTest(form=c.form, name=c.name):
                    self.known.clear()
                    stored = Stored(self, c)
                    self.whole(stored)
                    windows = stored.windows()
                    for budget in (*stored.budgets(windows), *stored.together(windows, 20)):
                        stored.ask(windows, budget)
                    stored.check_needed(windows)
                    self.other_queries(stored)

    def other_queries(self, stored):
        n = len(stored.messages)
        for query in QUERIES:
            windows = stored.windows(**query)
            for most in range(1, n + 1, 1 if n <= LONG else n // 5):
                stored.ask(windows, {"messages": most}, **query)
            for budget in stored.together(windows, 3):
                stored.ask(windows, budget, **query)
            stored.check_needed(windows, **query)

    def test_chat(self):
        """Fails if a result may begin a window, if a call is kept with some of its results, if an answer that a system
        message cuts off from its call counts, if the newest system message is not counted, or if the start message
        before a gap is not."""
        self.all_budgets("chat")

    def test_parts(self):
        """Fails if a message of results alone may begin a window, if text may stand between two results, or if a result
        behind text counts."""
        self.all_budgets("parts")

    def test_items(self):
        """Fails if reasoning is kept without what follows it, if a window begins with a message of the user between a
        call and its output, if the calls of one kind only are known, or if an output belongs to the first call of its id."""
        self.all_budgets("items", "extra")

    def test_langgraph(self):
        """Fails if ai and human are no roles, or if invalid_tool_calls are not looked at."""
        self.all_budgets("langgraph")

    def test_the_same_beside_an_append(self):
        """Fails if an append's window lacks its own message, takes another budget, or differs from the read."""
        for c in ALL:
            if c.form in ("chat", "parts", "extra") and not c.delete and len(c.messages) > 1:
                with self.subTest(form=c.form, name=c.name):
                    self.append_with_windows(c)

    def append_with_windows(self, c):
        whole = Stored(self, c)
        windows = whole.windows()
        for budget in ({}, *list(whole.together(windows, 3))):
            named = {PARAMETERS[kind]: value for kind, value in budget.items()}
            path = self.store(c, but=1)
            query = "".join(f"&{name}={value}" for name, value in named.items())
            receipt = self.post(f"{path}/messages?return=window{query}", c.filled()[-1], status=201)
            status, want = answer(windows, budget)
            about = (c.form, c.name, named)
            if status == 200:
                self.assertEqual(self.outline(receipt["window"]), want, about)
                self.assertNotIn("window_problem", receipt, about)
                self.assertEqual((200, receipt["window"]), self.window(path, **named), about)
            else:
                self.assertIsNone(receipt["window"], about)
                self.assertEqual({name: receipt["window_problem"].get(name) for name in want}, want, about)
                self.assertTrue(receipt["window_problem"]["detail"], about)


class WindowsWithoutCaches(WithoutCaches, Windows):
    """The same from PostgreSQL alone."""
