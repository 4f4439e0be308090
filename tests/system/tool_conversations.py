# SPDX-License-Identifier: MIT
"""Conversations with tool calls, in each form in which clients store them: what test_windows.py asks windows of.

Each says what every model's rules make of it, written by hand: `omitted` are the numbers of the messages that no
window may hold, `open` the calls that wait for their results at the end, `first` the first message of the
window without a budget, `problem` the code of the answer where no window exists.
"""
import copy
import dataclasses
import itertools

TEXT = "TEXT"       # replaced by a text whose length differs from message to message
MAX_TOKENS = 2 ** 31 - 1


@dataclasses.dataclass
class Conversation:
    """How it is stored: chat and parts natively, items by OpenAI's interface, extra are items sent natively,
    langgraph by the threads API. delete: the numbers of messages that are deleted afterwards."""
    form: str
    name: str
    messages: list
    delete: tuple = ()
    omitted: tuple = ()
    open: tuple = ()
    first: int = 1
    problem: str = None

    def filled(self):
        """The messages as they are sent: with texts, and natively with tokens for two of five."""
        sent = [fill(message, i) for i, message in enumerate(self.messages, 1)]
        if self.form in ("chat", "parts", "extra"):
            for i, message in enumerate(sent, 1):
                if i % 5 in (0, 3):
                    message["tokens"] = i * 7 % 13 if i < 60 else i
        return sent


def fill(value, i):
    """A copy with a text in the place of each TEXT."""
    if value == TEXT:
        return f"{i}é " + "x" * (i * 17 % 41)
    if isinstance(value, dict):
        return {name: fill(member, i) for name, member in value.items()}
    if isinstance(value, list):
        return [fill(member, i) for member in value]
    return copy.copy(value)


def said(role):
    return {"role": role, "content": TEXT}


U, A, S, D = said("user"), said("assistant"), said("system"), said("developer")
ALL = []


def add(form, name, *messages, **expected):
    ALL.append(Conversation(form, name, list(messages), **expected))


# OpenAI's chat format, natively.

def call(*ids, content=None):
    return {"role": "assistant", "content": content, "tool_calls": [
        {"id": id_, "type": "function", "function": {"name": "f", "arguments": '{"of": "%s"}' % id_}} for id_ in ids]}


def result(id_, content=TEXT):
    return {"role": "tool", "tool_call_id": id_, "content": content}


def turns(*kinds):
    return itertools.chain.from_iterable(kinds)


add("chat", "one call and its result", U, A, U, call("a"), result("a"), A, U)
add("chat", "parallel calls", U, call("a", "b", "c"), result("a"), result("b"), result("c"), A, U, A)
add("chat", "results out of order", U, A, U, call("a", "b", "c"), result("c"), result("a"), result("b"), A)
add("chat", "partial results, then the user goes on", U, call("a", "b"), result("a"), U, A, omitted=(2, 3))
add("chat", "open at the end, no result", U, A, U, call("a", "b"), open=("a", "b"))
add("chat", "open at the end, partial results", U, A, U, call("a", "b", "c"), result("b"), open=("a", "c"))
add("chat", "a call without a result", U, call("a"), U, A, omitted=(2,))
add("chat", "a call without a result, then a word of the assistant", U, call("a"), A, omitted=(2,))
add("chat", "a late result", U, call("a"), U, result("a"), A, omitted=(2, 4))
add("chat", "two results for a call", U, call("a"), result("a"), result("a"), A, omitted=(4,))
add("chat", "an id again in a later turn", U, call("a"), result("a"), A, U, call("a"), result("a"), A)
add("chat", "an id again after a call without a result", U, call("a"), U, call("a"), result("a"), result("a"), A,
    omitted=(2, 6))
add("chat", "it begins with a result", result("a"), U, A, U, first=2)
add("chat", "a result without a call among results", U, call("a", "b"), result("z"), result("b"), result("a"), A,
    omitted=(3,))
add("chat", "nothing but results", result("a"), result("b"), omitted=(1, 2), problem="no_window")
add("chat", "sixty calls since the user's message", U, A, U, *turns(
    *((call(f"c{i}"), result(f"c{i}")) for i in range(60))))
add("chat", "sixty calls, the last one open", S, U, A, U, *turns(
    *((call(f"c{i}"), result(f"c{i}")) for i in range(60))), call("d", "e"), result("e"), open=("d",), first=2)
add("chat", "a system message first", S, U, A, U, call("a"), result("a"), A, first=2)
add("chat", "a system message that is changed", S, U, A, S, U, call("a"), result("a"), D, U, A, first=2)
add("chat", "a developer message in the middle", U, A, D, U, A, U, A, U)
add("chat", "a system message between call and result", U, call("a"), S, result("a"), A, U, omitted=(2, 4))
add("chat", "a developer message after a call", U, A, U, call("a"), D, omitted=(4,))
add("chat", "a system message between the user and the calls", A, U, S, *turns(
    *((call(f"c{i}"), result(f"c{i}")) for i in range(4))), first=2)
add("chat", "a greeting first", A, U, call("a"), result("a"), A, first=2)
add("chat", "no user message at all", S, A, call("a"), result("a"), A)
add("chat", "the call is deleted", U, call("a"), result("a"), A, U, delete=(2,), omitted=(3,))
add("chat", "a result is deleted", U, call("a", "b"), result("a"), result("b"), A, U, delete=(4,), omitted=(2, 3))
add("chat", "what stood between is deleted", U, call("a"), U, A, result("a"), A, delete=(3, 4))
add("chat", "content of several parts beside calls", {"role": "user", "content": [
    {"type": "text", "text": TEXT}, {"type": "image_url", "image_url": {"url": "data:,"}}]},
    call("a", content=[{"type": "text", "text": TEXT}]), result("a", [{"type": "text", "text": TEXT}]), A, U)
add("chat", "ids that are escaped", U, call('a"\u00e9\\\U0001f600', "", " "), result(""), result('a"\u00e9\\\U0001f600'), result(" "),
    U, call("A"), result("a"), A, omitted=(7, 8))
add("chat", "an orphan at the end", U, A, U, A, result("a"), omitted=(5,))
add("chat", "no calls", U, A, U, A, U, A)


# Content parts, natively.

def use(*ids, text=True):
    parts = [{"type": "tool_use", "id": id_, "name": "f", "input": {"of": id_}} for id_ in ids]
    return {"role": "assistant", "content": [{"type": "text", "text": TEXT}] * text + parts}


def results(*ids, text=None):
    parts = [{"type": "tool_result", "tool_use_id": id_, "content": TEXT} for id_ in ids]
    word = [{"type": "text", "text": TEXT}]
    return {"role": "user", "content": word * (text == "first") + parts + word * (text == "last")}


add("parts", "one call", U, A, U, use("a"), results("a"), A, U)
add("parts", "parallel calls, results in one message", U, use("a", "b"), results("b", "a"), A, U)
add("parts", "parallel calls, results in two messages", U, use("a", "b"), results("b"), results("a"), A, U)
add("parts", "text after the results", U, use("a", "b"), results("a", "b", text="last"), A, U, A)
add("parts", "text before the result", U, use("a"), results("a", text="first"), A, U, omitted=(2, 3))
add("parts", "partial results with text", U, use("a", "b"), results("a", text="last"), A, U, omitted=(2, 3))
# The API takes consecutive user messages as one, where text would stand between two results.
add("parts", "text between two messages with results", U, use("a", "b"), results("a", text="last"), results("b"), A, U,
    omitted=(2, 3, 4))
add("parts", "open at the end", U, A, U, use("a", "b"), open=("a", "b"))
add("parts", "open at the end, partial results", U, A, U, use("a", "b"), results("b"), open=("a",))
add("parts", "a call without a result", U, use("a"), U, A, U, omitted=(2,))
add("parts", "a result without a call", U, A, results("a"), A, U, omitted=(3,))
add("parts", "a result without a call, with text", U, A, results("a", text="last"), A, U, omitted=(3,))
add("parts", "two results for a call", U, use("a"), results("a"), results("a"), A, omitted=(4,))
add("parts", "two results for a call in one message", U, use("a"), results("a", "a"), A, U, omitted=(2, 3))
add("parts", "an id again in a later turn", U, use("a"), results("a"), use("a"), results("a"), A, U, use("a"),
    results("a"), A)
add("parts", "a greeting first", A, U, use("a"), results("a"), A, first=2)
add("parts", "a system message first and one in the middle", S, U, use("a"), results("a"), A, D, U, A, first=2)
add("parts", "the call is deleted", U, use("a"), results("a"), A, U, delete=(2,), omitted=(3,))
add("parts", "no user message but results", use("a"), results("a"), use("b"), results("b"), A)
add("parts", "a late result", U, use("a"), U, results("a"), A, U, omitted=(2, 4))
add("parts", "an agent at work", U, A, U, *turns(*((use(f"c{i}"), results(f"c{i}")) for i in range(12))))
add("parts", "thinking and a tool of the server", U, {"role": "assistant", "content": [
    {"type": "thinking", "thinking": TEXT, "signature": "s"}, {"type": "server_tool_use", "id": "s1", "name": "web_search",
                                                               "input": {}},
    {"type": "web_search_tool_result", "tool_use_id": "s1", "content": []},
    {"type": "tool_use", "id": "a", "name": "f", "input": {}}]}, results("a"), A, U)


# OpenAI's items, by its interface.

def item(kind, **more):
    return {"type": kind, **more}


def fcall(id_, **more):
    return item("function_call", call_id=id_, name="f", arguments='{"of": "%s"}' % id_, **more)


def fout(id_):
    return item("function_call_output", call_id=id_, output=TEXT)


def both(kind, id_, **more):
    """A call of another kind and its output."""
    return item(kind + "_call", call_id=id_, **more), item(kind + "_call_output", call_id=id_, output=TEXT)


def reasoning(name):
    return item("reasoning", id="rs_" + name, summary=[{"type": "summary_text", "text": TEXT}])


IA = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": TEXT, "annotations": []}]}
R1, R2, R3 = reasoning("1"), reasoning("2"), reasoning("3")

add("items", "one call", U, IA, U, fcall("a"), fout("a"), IA, U)
add("items", "parallel calls", U, fcall("a"), fcall("b"), fout("a"), fout("b"), IA, U)
add("items", "outputs out of order", U, fcall("a"), fcall("b"), fout("b"), fout("a"), IA, U)
add("items", "reasoning", U, R1, fcall("a"), fout("a"), R2, IA, U, R3, IA)
add("items", "reasoning before parallel calls", U, R1, fcall("a"), fcall("b"), fout("b"), fout("a"), R2, IA, U)
add("items", "two reasoning items together", U, R1, R2, fcall("a"), fout("a"), IA)
add("items", "reasoning that nothing follows", U, IA, U, R1, omitted=(4,))
add("items", "reasoning, then the user goes on", U, R1, U, R2, IA, omitted=(2,))
add("items", "reasoning, then an output", U, fcall("a"), R1, fout("a"), IA, U, omitted=(3,))
add("items", "reasoning, two calls and one output", U, R1, fcall("a"), fcall("b"), fout("a"), U, IA, omitted=(2, 3, 4, 5))
add("items", "custom tool calls", U, *both("custom_tool", "a", name="f", input="x"), IA, U,
    *both("custom_tool", "a", name="f", input="y"), IA)
add("items", "local shell calls", U, *both("local_shell", "a", action={"type": "exec", "command": ["ls"]}), IA, U,
    item("local_shell_call", id="lsh_1", call_id="call_1", action={}),
    item("local_shell_call_output", id="call_1", output=TEXT), IA)
add("items", "computer, shell and patch calls", U, *both("computer", "a", action={"type": "click"}),
    *both("shell", "b", action={}), *both("apply_patch", "c", operation={}), IA, U)
add("items", "an output of another kind", U, fcall("a"), both("custom_tool", "a")[1], IA, U, omitted=(2, 3))
add("items", "approvals", U, item("mcp_approval_request", id="mcpr_1", name="f", arguments="{}", server_label="s"),
    item("mcp_approval_response", approval_request_id="mcpr_1", approve=True), IA, U,
    item("mcp_approval_request", id="mcpr_2", name="f", arguments="{}", server_label="s"), U, omitted=(6,))
add("items", "tool searches", U, item("tool_search_call", call_id="a", arguments={}),
    item("tool_search_output", call_id="a", tools=[]), item("tool_search_call", call_id=None, execution="server"),
    item("tool_search_output", call_id=None, tools=[]), IA, U)
add("items", "reasoning, call, reasoning, call", U, R1, fcall("a"), R2, fcall("b"), fout("a"), fout("b"), R3, IA, U)
add("items", "a call between reasoning and message", U, R1, fcall("a"), IA, fout("a"), U, IA)
add("items", "a web search between reasoning and message", U, R1, item("web_search_call", status="completed"), R2, IA, U)
add("items", "a call without an output", U, fcall("a"), U, IA, omitted=(2,))
add("items", "open at the end", U, R1, fcall("a"), fcall("b"), fout("b"), open=("a",))
add("items", "open at the end, with reasoning between", U, IA, U, fcall("a"), R1, fcall("b"), open=("a", "b"))
add("items", "open at the end, the last one reasons", U, IA, U, fcall("a"), R1, open=("a",), omitted=(5,))
add("items", "the user speaks between call and output", U, IA, U, fcall("a"), U, fout("a"), IA, U)
add("items", "a late output", U, fcall("a"), U, IA, U, fout("a"), IA, U)
add("items", "two outputs for a call", U, fcall("a"), fout("a"), fout("a"), IA, omitted=(4,))
add("items", "an output before its call", U, fout("a"), fcall("a"), U, IA, omitted=(2, 3))
add("items", "an id again in later turns", U, fcall("a"), fout("a"), U, fcall("a"), fout("a"), IA)
# Nobody takes two calls of one id with two outputs behind both.
add("items", "an id again, two outputs", U, fcall("a"), U, fcall("a"), fout("a"), fout("a"), IA, omitted=(2, 6))
add("items", "developer messages", D, U, fcall("a"), D, fout("a"), IA, D, U, IA, first=2)
add("items", "sixty calls with reasoning", U, IA, U, *turns(
    *((reasoning(str(i)), fcall(f"c{i}"), fout(f"c{i}")) for i in range(60))))
add("items", "reasoning that belongs to a deleted call", U, R1, fcall("a"), fout("a"), IA, U, delete=(3,), omitted=(2, 4))
add("items", "a greeting and no user message", IA, fcall("a"), fout("a"), IA)
add("extra", "call_id in extra, in content, as message_id", U,
    {"type": "function_call", "content": {"name": "f"}, "extra": {"call_id": "a"}},
    {"type": "function_call_output", "content": {"v": TEXT}, "extra": {"call_id": "a"}}, A, U,
    {"type": "function_call", "content": {"call_id": "b", "name": "f"}},
    {"type": "function_call_output", "content": {"call_id": "b", "output": TEXT}}, A, U,
    {"type": "function_call", "message_id": "c", "content": {"name": "f"}},
    {"type": "function_call_output", "content": TEXT, "extra": {"call_id": "c"}}, A, U)
add("extra", "calls without content, one without an output", U, {"type": "function_call", "extra": {"call_id": "a"}}, U,
    {"type": "reasoning", "extra": {"summary": [TEXT]}}, {"type": "function_call", "extra": {"call_id": "b"}},
    {"type": "function_call_output", "content": TEXT, "extra": {"call_id": "b"}}, A, omitted=(2,))
add("extra", "open calls of two kinds", S, U, {"type": "function_call", "message_id": "a", "content": {}},
    {"type": "custom_tool_call", "extra": {"call_id": "b", "input": TEXT}}, open=("a", "b"), first=2)


# LangGraph's messages, by the threads API.

def lang(kind, **more):
    return {"type": kind, "content": TEXT, **more}


def ai(*ids, invalid=()):
    return {"type": "ai", "content": "", "tool_calls": [
        {"name": "f", "args": {"of": id_}, "id": id_, "type": "tool_call"} for id_ in ids], "invalid_tool_calls": [
        {"name": "f", "args": "{", "id": id_, "error": "no JSON", "type": "invalid_tool_call"} for id_ in invalid]}


def tool(id_):
    return lang("tool", tool_call_id=id_, name="f", status="success")


H, L, LS = lang("human"), lang("ai"), lang("system")

add("langgraph", "one call", H, L, H, ai("a"), tool("a"), L, H)
add("langgraph", "parallel calls, results out of order", LS, H, ai("a", "b"), tool("b"), tool("a"), L, H, first=2)
add("langgraph", "an invalid call with its result", H, ai("a", invalid=("b",)), tool("b"), tool("a"), L, H)
add("langgraph", "an invalid call without a result", H, ai("a", invalid=("b",)), tool("a"), H, L, omitted=(2, 3))
add("langgraph", "only an invalid call, open", H, L, H, ai(invalid=("b",)), open=("b",))
add("langgraph", "a call without a result", H, ai("a"), H, L, omitted=(2,))
add("langgraph", "partial results at the end", H, L, H, ai("a", "b"), tool("a"), open=("b",))
add("langgraph", "a late result", H, ai("a"), H, tool("a"), L, H, omitted=(2, 4))
add("langgraph", "two results for a call", H, ai("a"), tool("a"), tool("a"), L, omitted=(4,))
add("langgraph", "OpenAI's form", U, call("a", "b"), result("a"), result("b"), A, U)
add("langgraph", "Claude's calls, in tool_calls and in the content", H, {**ai("a", "b"), "content": [
    {"type": "text", "text": TEXT}, *({"type": "tool_use", "id": id_, "name": "f", "input": {}} for id_ in "ab")]},
    tool("a"), tool("b"), L, H, {**ai("c"), "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]}, open=("c",))
add("langgraph", "a greeting first, an id again", L, H, ai("a"), tool("a"), L, H, ai("a"), tool("a"), first=2)
add("langgraph", "no human at all", LS, L, ai("a"), tool("a"), L)
add("langgraph", "a removed result", H, ai("a", "b"), tool("a"), tool("b"), L, H, delete=(3,), omitted=(2, 4))
add("langgraph", "an agent at work", H, L, H, *turns(*((ai(f"c{i}"), tool(f"c{i}")) for i in range(10))), ai("d"), open=("d",))
