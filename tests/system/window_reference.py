# SPDX-License-Identifier: MIT
"""Which messages a window holds, by the rules alone: slow and plain, over all messages of a session.

Message is a message as the native API shows it, with what the rules ask of it. Session finds what belongs together
and what must be left out, and lists every window that there may be, the largest first: the answer is the first one
that fits.
"""
import dataclasses

ROLES = {"human": "user", "ai": "assistant", "function": "tool"}
ITEM_CALLS = {kind + "_call": kind + "_call_output" for kind in (
    "function", "custom_tool", "computer", "local_shell", "shell", "apply_patch")}
ITEM_CALLS |= {"tool_search_call": "tool_search_output", "mcp_approval_request": "mcp_approval_response"}
ITEM_OUTPUTS = set(ITEM_CALLS.values())
KINDS = ("tokens", "bytes", "messages")


class Message:
    """calls and results are lists of (kind, id): the kind of the result. LangChain has the calls of Claude in two of the
    forms at once, so that these are one kind. A closed message ends the results before it: it holds more than
    results. An item without a role counts as the tool's if it is an output, else as the assistant's."""

    def __init__(self, shown, content=0, extra=0, metadata=2):
        """shown: the message as the native API shows it. The others: how many bytes of it are stored."""
        self.json, self.seq, self.type = shown, shown["seq"], shown["type"]
        self.role = ROLES.get(shown["role"], shown["role"])
        self.estimated = "tokens" not in shown
        self.tokens = (content + extra + 3) // 4 if self.estimated else shown["tokens"]
        self.bytes = content + extra + metadata
        self.calls, self.results, self.misplaced, self.closed = [], [], False, True
        if self.type == "message":
            self._of_message(shown)
        else:
            self._of_item(shown)

    def _of_message(self, shown):
        parts = shown["content"] if isinstance(shown["content"], list) else []
        extra = shown.get("extra", {})
        if self.role == "assistant":
            for name in "tool_calls", "invalid_tool_calls":
                self.calls += [("chat", c["id"]) for c in shown.get(name) or extra.get(name) or []]
            self.calls += [("chat", p["id"]) for p in parts if p["type"] == "tool_use"]
            self.calls = list(dict.fromkeys(self.calls))
        if self.role == "tool" and "tool_call_id" in shown:
            self.results, self.closed = [("chat", shown["tool_call_id"])], False
        if self.role == "user":
            are = [p["type"] == "tool_result" for p in parts]
            self.results = [("chat", p["tool_use_id"]) for p in parts if p["type"] == "tool_result"]
            self.misplaced = are != sorted(are, reverse=True)
            self.closed = not self.results or not all(are)

    def _of_item(self, shown):
        extra = shown.get("extra", {})
        content = shown["content"] if isinstance(shown["content"], dict) else {}
        id_ = extra.get("call_id") or content.get("call_id") or shown["message_id"]
        if self.type.startswith("tool_search"):
            id_ = extra.get("call_id") or content.get("call_id")
        if self.type == "mcp_approval_request":
            id_ = shown["message_id"]
        if self.type == "mcp_approval_response":
            id_ = extra.get("approval_request_id") or content.get("approval_request_id")
        if id_ and self.type in ITEM_CALLS:
            self.calls = [(ITEM_CALLS[self.type], id_)]
        elif id_ and self.type in ITEM_OUTPUTS:
            self.results, self.closed = [(self.type, id_)], False
        self.role = "tool" if self.results else self.role or "assistant"

    @property
    def is_assistants(self):
        """Whether reasoning may belong to it."""
        if self.type == "message":
            return self.role == "assistant"
        return self.type not in ITEM_OUTPUTS


@dataclasses.dataclass
class Window:
    """One window that there may be."""
    answer: dict        # what the answer says of it; data holds the numbers of the messages
    messages: int

    @property
    def sums(self):
        return {"tokens": self.answer["tokens"], "bytes": self.answer["bytes"], "messages": self.messages}

    def fits(self, budget):
        return all(self.sums[kind] <= budget.get(kind, most) for kind, most in (
            ("tokens", 2 ** 31), ("bytes", 16 << 20), ("messages", 1000)))


class Session:
    """messages: all of a session, oldest first."""

    def __init__(self, messages, start_on=("user",), end_on=(), include_system=True):
        self.all = messages
        self.answers = {}           # of each call, by (index, which): the index of its result
        self.orphans = set()        # indexes of messages with a result that has no call
        for i, message in enumerate(messages):
            for one in message.results:
                if message.misplaced or not self._answer(i, one):
                    self.orphans.add(i)
        self.group = self._groups()
        self.end = self._end(end_on)
        self.include_system = include_system
        self.left_out = self._left_out()
        self.kept = [i for i in range(self.end) if i not in self.left_out]
        systems = [i for i in range(self.end) if messages[i].type == "message"
                   and messages[i].role in ("system", "developer")]
        self.system = systems[-1] if systems else None
        self.crossed = self._crossed()
        self.start_on = start_on
        self.starts = [i for i in self.kept if self._is_start(i) and i not in self.crossed]

    def _answer(self, i, one):
        """Gives a result to the nearest call of its id before it. False if that has one already."""
        for at in range(i - 1, -1, -1):
            if one in self.all[at].calls:
                call = at, self.all[at].calls.index(one)
                if call in self.answers or one[0] == "chat" and any(m.closed for m in self.all[at + 1:i]):
                    return False
                self.answers[call] = i
                return True
        return False

    def _groups(self):
        """The group of each message: a set of indexes that all of its members share."""
        group = [{i} for i in range(len(self.all))]

        def join(i, k):
            if group[i] is not group[k]:
                both = group[i] | group[k]
                for member in both:
                    group[member] = both
        for (at, _), i in self.answers.items():
            join(at, i)
        for i, message in enumerate(self.all):
            if message.type == "reasoning":
                for k in range(i + 1, len(self.all)):
                    again = self.all[k].type == "reasoning" and self.all[k - 1].type != "reasoning"
                    if again or not self.all[k].is_assistants:
                        break
                    join(i, k)
        return group

    def _is_start(self, i):
        return self.all[i].role in self.start_on and not self.all[i].results

    def _crossed(self):
        """Where no window may begin: a group has members before."""
        return {i for k in range(self.end) if k == min(self.group[k]) and k not in self.left_out
                for i in range(k + 1, max(self.group[k]) + 1)}

    def _end(self, end_on):
        for i in range(len(self.all) - 1, -1, -1):
            if self.all[i].role in end_on and all(max(self.group[k]) <= i for k in range(i + 1)):
                return i + 1
        return len(self.all)

    def _is_open(self, i):
        return all(m.results and not m.closed or self.all[i].type != "message" and (m.calls or m.type == "reasoning")
                   for m in self.all[i + 1:self.end])

    def _left_out(self):
        bad = set(self.orphans)
        for i, message in enumerate(self.all[:self.end]):
            unanswered = any((i, which) not in self.answers for which in range(len(message.calls)))
            if unanswered and not self._is_open(i):
                bad.add(i)
            if message.type == "reasoning" and not any(
                    self.all[k].type != "reasoning" for k in self.group[i] if i < k < self.end):
                bad.add(i)
        return {i for i in range(self.end) if self.group[i] & bad}

    def windows(self):
        """Every window, the largest first. The last one is what must fit at least."""
        begins = [i for i in self.kept if i not in self.crossed]
        found = [self._window(None, i) for i in self.starts]
        if not begins or self.starts and self.starts[-1] == begins[-1]:
            return found
        # Before a gap stands a message that nothing else belongs to, so that it may stand within a group that is left out.
        alone = [i for i in self.kept if self._is_start(i) and i < begins[-1] and len(self.group[i]) == 1
                 and not self.all[i].calls]
        if alone:
            return found + [self._window(alone[-1], i) for i in begins if i > alone[-1]]
        return found + [self._window(None, i) for i in begins]

    def _window(self, start, first):
        part = [i for i in self.kept if i >= first]
        data = set(part) if start is None else {start, *part}
        if self.include_system and self.system is not None:
            data.add(self.system)
        chosen = [self.all[i] for i in sorted(data)]
        gap = [i for i in range(start + 1, first) if i not in data] if start is not None else []
        older = [i for i in range(first) if i not in data and i != self.system]
        shows_system = self.system in data
        return Window({
            "data": [m.seq for m in chosen],
            "tokens": sum(m.tokens for m in chosen),
            "estimated": sum(m.estimated for m in chosen),
            "bytes": sum(m.bytes for m in chosen),
            "first_seq": self.all[first].seq,
            "last_seq": self.all[part[-1]].seq,
            "summary_seq": None,
            "system_seq": self.all[self.system].seq if self.system is not None and shows_system else None,
            "truncated": bool(older or gap),
            "open_calls": [id_ for i in part for which, (_, id_) in enumerate(self.all[i].calls)
                           if (i, which) not in self.answers],
            "omitted": [self.all[i].seq for i in sorted(self.left_out) if i >= first],
            "gap": self._gap(self.all[start].seq + 1, self.all[first].seq - 1, data) if gap else None,
        }, len(chosen))

    def _gap(self, first, last, data):
        """The numbers between, also those of deleted messages, but for a system message at an end."""
        shown = {self.all[i].seq for i in data}
        return {"first_seq": first + (first in shown), "last_seq": last - (last in shown)}


EMPTY = {"data": [], "tokens": 0, "estimated": 0, "bytes": 0, "first_seq": None, "last_seq": None, "summary_seq": None, "system_seq": None,
         "truncated": False, "open_calls": [], "omitted": [], "gap": None}


def answer(windows, budget):
    """(status, what the answer says): of a session with messages, from its windows."""
    if not windows:
        return 422, {"code": "no_window"}
    for window in windows:
        if window.fits(budget):
            return 200, window.answer
    return 422, {"code": "budget_too_small", **{"needed_" + kind: windows[-1].sums[kind] for kind in KINDS}}
