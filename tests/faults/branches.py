# SPDX-License-Identifier: MIT
"""The history of sessions whose past is changed: which states they have had, and whether each answer is of one of them.

Each write raises the version of its session by one, and its answer, or else the record of its key, says which version it
made. So the answers alone give the whole order of the writes. Here they are repeated one by one. A version that nobody
was told of is a write that was done twice or that is not acknowledged; a write without a version of its own is lost. What
a read saw must be the state of the version that it names.
"""
import collections
import threading
import time
from typing import NamedTuple, Optional


class Message(NamedTuple):
    """A message: what tests compare. n, edited_at: of its last edit."""
    seq: int
    role: str
    content: str
    n: Optional[int] = None
    edited_at: Optional[str] = None

    @classmethod
    def shown(cls, m):
        """Of an answer. An edit writes content, metadata and edited_at at once."""
        n = (m.get("metadata") or {}).get("n")
        found = cls(m["seq"], m["role"], m["content"], n, m.get("edited_at"))
        parts = n is not None, found.edited_at is not None, str(found.content).startswith("edit:")
        if len(set(parts)) > 1 or (n is not None and found.content != f"edit:{n}"):
            raise AssertionError(f"half an edit: {m}")
        return found


class Summary(NamedTuple):
    """Its content begins with its last_seq."""
    last_seq: int
    content: str
    stale: bool


class State(NamedTuple):
    """A session after one of its writes. Both are ascending."""
    messages: tuple
    summaries: tuple
    last_seq: int   # the highest number that was given

    @property
    def top(self):
        """The highest number that there is."""
        return self.messages[-1].seq if self.messages else 0

    @property
    def summary(self):
        """The one that counts."""
        return self.summaries[-1] if self.summaries else None

    def up_to(self, seq):
        """What of it has at most this number."""
        return self._replace(messages=tuple(m for m in self.messages if m.seq <= seq),
                             summaries=tuple(s for s in self.summaries if s.last_seq <= seq))

    def fork(self, last_seq):
        """What a fork of it has. A summary is not above the messages."""
        prefix = self.up_to(self.last_seq if last_seq is None else last_seq)
        summaries = tuple(s for s in prefix.summaries if s.last_seq <= prefix.top)
        return State(prefix.messages, summaries, self.last_seq if last_seq is None else last_seq)


class Op:
    """An operation of a client. known: the highest version of the session that was acknowledged before. outcome: ok or the
    code of the refusal. version: what a write made, or what a read named. stored: the fork that it made, in the end."""

    def __init__(self, kind, session, known, key=None, **args):
        self.kind, self.session, self.known, self.key, self.args = kind, session, known, key, args
        self.invoked, self.ended, self.tries = time.monotonic(), None, 0
        self.outcome = self.version = self.answer = self.stored = None

    def __repr__(self):
        return f"{self.kind} {self.args} in {self.session} ({self.outcome}, version {self.version}, {self.tries} tries)"


# ---- what a write makes of a state; an AssertionError says what is wrong with its answer ----

def expect(wanted, got, what):
    """They are equal."""
    if wanted != got:
        raise AssertionError(f"{what}: {got}, should be {wanted}")


def _append(state, op):
    new = tuple(Message(state.last_seq + 1 + k, m["role"], m["content"]) for k, m in enumerate(op.args["messages"]))
    expect(new[-1].seq, op.answer["last_seq"], "the number of a message")
    return State(state.messages + new, state.summaries, new[-1].seq)


def _truncate(state, op):
    after = op.args["after"]
    left = tuple(m for m in state.messages if m.seq <= after)
    expect((len(state.messages) - len(left), len(left)), (op.answer["messages_deleted"], op.answer["message_count"]),
           "messages that were deleted and that are left")
    top = left[-1].seq if left else 0
    return State(left, tuple(s for s in state.summaries if s.last_seq <= top), state.last_seq)


def _edit(state, op):
    seq, n = op.args["seq"], op.args["n"]
    made = [m._replace(content=f"edit:{n}", n=n, edited_at=op.answer["edited_at"]) for m in state.messages if m.seq == seq]
    expect(made, [Message.shown(op.answer)], "the edited message")
    return state._replace(messages=tuple(made[0] if m.seq == seq else m for m in state.messages),
                          summaries=tuple(s._replace(stale=s.stale or s.last_seq >= seq) for s in state.summaries))


def _summarise(state, op):
    last_seq = op.args["last_seq"]
    kept = tuple(s for s in state.summaries if s.last_seq < last_seq)
    if last_seq > state.top:
        raise AssertionError(f"a summary was stored above its session, which ends at {state.top}")
    if state.summary and state.summary.last_seq > last_seq:
        raise AssertionError(f"a summary has shrunk: it was {state.summary}")
    return state._replace(summaries=kept + (Summary(last_seq, op.args["content"], False),))


def _unsummarise(state, _):
    if not state.summaries:
        raise AssertionError("a summary was removed that was not there")
    return state._replace(summaries=state.summaries[:-1])


WRITES = {"append": _append, "truncate": _truncate, "edit": _edit, "summarise": _summarise, "unsummarise": _unsummarise}

# Whether a state is a reason for the refusal.
REFUSALS = {
    ("edit", "not_found"): lambda state, op: op.args["seq"] not in [m.seq for m in state.messages],
    ("summarise", "no_such_message"): lambda state, op: op.args["last_seq"] not in [m.seq for m in state.messages],
    ("summarise", "summary_shrinks"): lambda state, op: state.summary and state.summary.last_seq > op.args["last_seq"],
    ("unsummarise", "not_found"): lambda state, op: not state.summaries,
    ("fork", "out_of_range"): lambda state, op: op.args["last_seq"] is not None and state.top < op.args["last_seq"],
}


# ---- what a read saw of a state ----

def check_summary(state, shown):
    """A session's member."""
    expect(state.summary, shown and Summary(shown["last_seq"], shown["content"], shown["stale"]), "the summary")


def check_page(state, op):
    """All messages, oldest first."""
    expect(state.messages, tuple(map(Message.shown, op.answer["data"])), "the page")


def check_session(state, op):
    """The newest messages, oldest first."""
    expect(state.messages[-20:], tuple(map(Message.shown, op.answer["messages"])), "the session's messages")
    expect(len(state.messages), op.answer["message_count"], "message_count")
    check_summary(state, op.answer["summary"])


def check_window(state, window):
    """The summary, then perhaps the system message and the start, then the newest messages without a hole. It goes on
    directly after the summary unless it says that something is missing."""
    data, first = list(window["data"]), window["first_seq"]
    head = [m for m in data if m["type"] == "summary"]
    expect(data[:1] if state.summary else [], head, "the place of the summary")
    expect(state.summary and state.summary.last_seq, window["summary_seq"], "summary_seq")
    if head:
        shown = Summary(head[0]["seq"], head[0]["content"], head[0]["metadata"]["stale"])
        expect(state.summary, shown, "the summary")
        expect(str(shown.last_seq), shown.content.split(" ")[0], "what the summary's content says")
    shown = [Message.shown(m) for m in data[len(head):]]
    later = [m for m in state.messages if m.seq > (window["summary_seq"] or 0)]
    body = [m for m in shown if first is not None and m.seq >= first]
    before = [m for m in shown if m not in body]
    expect(shown, before + body, "the order")
    expect(later[len(later) - len(body):], body, "the messages")
    missing = [m for m in later[:len(later) - len(body)] if m.role != "system"]
    if missing and not (window["truncated"] and body):
        raise AssertionError(f"the window does not say that {missing} are missing")
    for m in before:
        if m not in state.messages or not (m.role == "system" or window["gap"]):
            raise AssertionError(f"{m} before the window")
    if window["gap"] and not window["gap"]["first_seq"] <= window["gap"]["last_seq"] < first:
        raise AssertionError(f"gap {window['gap']} before {first}")


READS = {"page": check_page, "session": check_session, "window": lambda state, op: check_window(state, op.answer)}


class History:
    """The operations of all clients on all sessions."""

    def __init__(self):
        self.ops, self.lock = [], threading.Lock()
        self.known, self.tops = collections.Counter(), collections.Counter()
        self.states, self.makers = {}, {}   # by session: the state of each version, and the write that made it
        self.checked = collections.Counter()

    def begin(self, kind, session, key=None, **args):
        """An operation that is about to be sent."""
        op = Op(kind, session, self.known[session], key, **args)
        with self.lock:
            self.ops.append(op)
        return op

    def end(self, op, outcome, version=None, answer=None):
        """Its answer."""
        op.ended, op.outcome, op.version, op.answer = time.monotonic(), outcome, version, answer
        if outcome != "ok" or op.kind == "fork":
            return
        with self.lock:
            self.known[op.session] = max(self.known[op.session], version or 0)
            if op.kind == "append":
                self.tops[op.session] = max(self.tops[op.session], answer["last_seq"])

    def begin_session(self, name, state):
        """One that is there, with version 1."""
        self.states[name], self.makers[name] = [None, state], [None, None]

    # ---- judgement: each function yields a line for each thing that is wrong ----

    def judge(self, records):
        """records: (session, version) of each key in PostgreSQL. First all but forks, then forks."""
        by_session = collections.defaultdict(list)
        for op in self.ops:
            if op.outcome == "ok" and op.kind in WRITES:
                by_session[op.session].append(op)
        yield from self._judge_keys(records)
        for name in list(self.states):
            yield from self._replay(name, by_session.pop(name, []))
        for op in self.ops:
            if op.kind == "fork":
                yield from self._judge_fork(op, by_session.pop(op.args["fork"], []))
        for op in self.ops:
            if op.session in self.states and op.kind != "fork":
                yield from self._judge_answer(op)
        yield from (f"{name} was written to and is not there" for name in by_session)

    def _judge_keys(self, records):
        keys = set()
        for op in self.ops:
            if not op.key:
                continue
            keys.add(op.key)
            record, name = records.get(op.key), op.args.get("fork", op.session)
            if op.outcome == "ok" and not record:
                yield f"key: {op} has no record"
            elif op.outcome == "ok":
                op.version = op.version or record[1]    # the answer to a deletion has none
                if record != (name, op.version):
                    yield f"key: the record of {op} says {record}"
            elif record and op.tries == 1:
                yield f"key: {op} has a record, {record}"
        yield from (f"key: nobody sent {key}" for key in set(records) - keys)

    def _replay(self, name, ops):
        """The states of a session."""
        states, makers = self.states[name], self.makers[name]
        for op in sorted(ops, key=lambda op: op.version or 0):
            if op.version != len(states):
                yield f"version {len(states)} of {name}: next is {op}"
                return
            if op.version <= op.known:
                yield f"{op}: {op.known} was acknowledged before it was sent"
            try:
                states.append(WRITES[op.kind](states[-1], op))
            except AssertionError as e:
                yield f"{op}: {e}"
                return
            makers.append(op)
            self.checked[op.kind] += 1

    def _possible(self, op, least):
        """The states that an answer may be of: none from before what was acknowledged, none that was begun after it."""
        for state, maker in zip(self.states[op.session][least:], self.makers[op.session][least:]):
            if maker and maker.invoked > op.ended:
                return
            yield state

    def _find(self, op, least, check):
        """Whether one of the possible states passes the check; else why none does."""
        why = "no state is possible"
        for state in self._possible(op, least):
            try:
                check(state)
                return None
            except AssertionError as e:
                why = str(e)
        return f"{op}: of no state; the last one: {why}"

    def _judge_fork(self, op, later):
        if op.outcome != "ok":
            yield from self._judge_answer(op)
            return
        name, answer, last_seq = op.args["fork"], op.answer, op.args["last_seq"]
        appended = {m["content"] for o in later for m in o.args["messages"]}
        made = [m for m in op.stored.messages if m.content not in appended]

        def check(state):
            fork = state.fork(last_seq)
            expect(fork.messages, tuple(made), "the fork's messages")
            expect(fork.last_seq, op.stored.last_seq - len(appended), "the last number of the fork")
            expect({"session_id": op.session, "last_seq": fork.top}, answer["forked_from"], "forked_from")
            check_session(fork, op)
            self.begin_session(name, fork)
        wrong = self._find(op, max(op.known, 1), check)
        if wrong:
            yield wrong
            return
        self.checked["fork"] += 1
        yield from self._replay(name, later)

    def _judge_answer(self, op):
        wrong = None
        if op.outcome is None:
            wrong = f"{op} has no answer"
        elif op.outcome != "ok":
            reason = REFUSALS.get((op.kind, op.outcome))
            known = [s for s in self._possible(op, max(op.known, 1)) if reason and reason(s, op)]
            wrong = None if known else f"{op}: no state is a reason for that"
            self.checked["refusal"] += not wrong
        elif op.kind in READS:
            wrong = self._judge_read(op)
        elif op.kind == "append" and op.answer.get("window"):
            last = op.answer["last_seq"]
            wrong = self._find(op, op.version, lambda state: check_window(state.up_to(last), op.answer["window"]))
            self.checked["append's window"] += not wrong
        if wrong:
            yield wrong

    def _judge_read(self, op):
        states = self.states[op.session]
        if op.answer.get("degraded"):   # it may be older, and has no version
            self.checked["degraded"] += 1
            return None
        if op.version < op.known:
            return f"stale: {op}, {op.known} was acknowledged"
        if op.version >= len(states):
            return f"{op}: there is no such version"
        self.checked[op.kind] += 1
        try:
            READS[op.kind](states[op.version], op)
        except AssertionError as e:
            return f"{op}: {e}"
        return None
