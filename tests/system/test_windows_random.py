# SPDX-License-Identifier: MIT
"""Windows of sessions that nobody would think of: made of random messages, with few ids, so that calls and results meet in
every order. The same ones in each run; PARLEY_TEST_SCALE makes more."""
import random

from harness import say, scaled
from test_windows import QUERIES, Stored
from tool_conversations import A, D, IA, S, U, Conversation, ai, both, call, fcall, fout, lang, result, results, tool, use
from windows import WindowTest, WithoutCaches

IDS = "abc"


def some(chance):
    return chance.sample(IDS, chance.choice((1, 1, 1, 2, 3)))


def chat(chance):
    return chance.choice((U, A, lambda: call(*some(chance)), lambda: call(*some(chance)), lambda: result(chance.choice(IDS)),
                          lambda: result(chance.choice(IDS)), lambda: result(chance.choice(IDS)), S, D))


def parts(chance):
    text = chance.choice((None, None, None, "first", "last"))
    return chance.choice((U, A, lambda: use(*some(chance)), lambda: use(*some(chance)), lambda: results(*some(chance)),
                          lambda: results(*some(chance)), lambda: results(*some(chance), text=text), S))


def items(chance):
    kind = chance.choice(("custom_tool", "shell", "computer"))
    return chance.choice((U, IA, lambda: fcall(chance.choice(IDS)), lambda: fcall(chance.choice(IDS)),
                          lambda: fout(chance.choice(IDS)), lambda: fout(chance.choice(IDS)),
                          {"type": "reasoning", "summary": []}, {"type": "reasoning", "summary": []},
                          lambda: both(kind, kind)[chance.randrange(2)], {"type": "web_search_call"}, D))


def langgraph(chance):
    return chance.choice((lang("human"), lang("ai"), lambda: ai(*some(chance)), lambda: ai(*some(chance)[:1], invalid=("z",)),
                          lambda: tool(chance.choice(IDS)), lambda: tool(chance.choice(IDS)), lambda: tool("z"), lang("system")))


FORMS = {"chat": chat, "parts": parts, "items": items, "langgraph": langgraph}


class Random(WindowTest):
    """From the caches and PostgreSQL."""
    sessions = 60

    def session(self, form, i):
        """The i-th session of a form."""
        chance = random.Random(f"{form} {i}")
        messages = []
        for _ in range(chance.choice((3, 5, 8, 13, 24, 30))):
            one = FORMS[form](chance)
            messages.append(one() if callable(one) else one)
        deleted = tuple(sorted(chance.sample(range(1, len(messages) + 1), chance.choice((0, 0, 0, 1, 2)))))
        return Conversation(form, f"{form} {i}", messages, delete=deleted)

    def check(self, form):
        n = scaled(self.sessions, self.sessions)
        for i in range(n):
            with self.subTest(form=form, i=i):
                self.known.clear()
                stored = Stored(self, self.session(form, i))
                if not stored.messages:
                    continue
                for query in ({}, {}, *random.Random(i).sample(QUERIES, 3)):
                    windows = stored.windows(**query)
                    for budget in ({}, *stored.together(windows, 4), *random.Random(i).sample(
                            all_ := stored.budgets(windows), min(12, len(all_)))):
                        stored.ask(windows, budget, **query)
                    stored.check_needed(windows, **query)
        say(f"{n} sessions")

    def test_chat(self):
        """Fails as those of test_windows.py do, and if a result among those of another message is taken for its own."""
        self.check("chat")

    def test_parts(self):
        """Fails if a message that holds good and bad results is kept."""
        self.check("parts")

    def test_items(self):
        """Fails if a group that begins before a reasoning item's ends it."""
        self.check("items")

    def test_langgraph(self):
        """Fails if valid and invalid calls of one message are two groups."""
        self.check("langgraph")


class RandomWithoutCaches(WithoutCaches, Random):
    """From PostgreSQL alone."""
    sessions = 20
