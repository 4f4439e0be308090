# SPDX-License-Identifier: MIT
"""What the interfaces of models take, by their published rules. Each function returns None, or what is wrong.

They know nothing of windows: they get messages as the native API shows them, the ids of the calls that may still be
open, and for items also the whole history, since a reasoning item is taken only beside the item that it was made with.

- OpenAI, Chat Completions: "An assistant message with 'tool_calls' must be followed by tool messages responding to each
  'tool_call_id'"; "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'".
- OpenAI, Responses: "No tool output found for function call"; "No tool call found for function call output with
  call_id"; "Item of type 'reasoning' was provided without its required following item", and the other way round.
- Anthropic, Messages: "Each tool_use block must have a corresponding tool_result block in the next message"; "unexpected
  tool_use_id found in tool_result blocks"; "tool_result blocks must come FIRST in the content array"; consecutive
  messages of one role are combined; the first message is the user's. It also wants ids that are unique in the whole
  request, which no choice of messages can see to: the caller must give later calls other ids.
"""
OUTPUT = {"tool_search_call": "tool_search_output", "mcp_approval_request": "mcp_approval_response"}


def chat(messages, open_calls, _history):
    """OpenAI's chat format, and LangGraph's messages, which become it."""
    wanted = []     # ids of the last assistant's message that have no result yet
    given = set()
    for message in messages:
        role = message["role"]
        if role in ("tool", "function"):
            id_ = message["tool_call_id"]
            if id_ not in wanted:
                return f"{message['seq']}: a tool message that answers no call before it"
            if id_ in given:
                return f"{message['seq']}: a second tool message for a call"
            given.add(id_)
            continue
        if set(wanted) - given:
            return f"{message['seq']}: calls before it have no tool messages"
        wanted, given = [], set()
        if role in ("assistant", "ai"):
            calls = list(message.get("tool_calls") or [])
            calls += message.get("extra", {}).get("invalid_tool_calls") or []
            wanted = [c["id"] for c in calls]
    missing = [id_ for id_ in wanted if id_ not in given]
    return None if missing == open_calls else f"open at the end: {missing}, and open_calls is {open_calls}"


def combined(messages):
    """Turns of user and assistant, as (role, parts): consecutive messages of one role are one. The system prompt is
    no message."""
    turns = []
    for message in messages:
        role, content = message["role"], message["content"]
        if role in ("system", "developer"):
            continue
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(parts)
        else:
            turns.append((role, list(parts)))
    return turns


def parts(messages, open_calls, history):
    """Anthropic's messages. The first one may be the assistant's only if the history has no other."""
    turns = combined(messages)
    uses = []
    for n, (role, content) in enumerate(turns):
        kinds = [p["type"] for p in content]
        if role == "user":
            given = [p["tool_use_id"] for p in content if p["type"] == "tool_result"]
            if "tool_result" in kinds[len(given):]:
                return f"turn {n}: tool_result after another part"
            if len(set(given)) != len(given):
                return f"turn {n}: two tool_results for a tool_use"
            if set(given) - set(uses):
                return f"turn {n}: tool_result without its tool_use"
            if set(uses) - set(given) and n != len(turns) - 1:
                return f"turn {n}: a tool_use has no tool_result"
            if set(uses) - set(given) and set(kinds) != {"tool_result"}:
                return f"turn {n}: no result can be added after its text"
            uses = [id_ for id_ in uses if id_ not in given]
        else:
            uses = [p["id"] for p in content if p["type"] == "tool_use"]
            if len(set(uses)) != len(uses):
                return f"turn {n}: an id twice"
    if uses != open_calls:
        return f"open at the end: {uses}, and open_calls is {open_calls}"
    has_start = any(m["role"] == "user" and "tool_result" not in str(m["content"]) for m in history)
    if turns and turns[0][0] != "user" and has_start:
        return "the first message is not the user's"
    return None


def call_id(item):
    """The id of an item's call; None if it is neither a call nor an output."""
    extra = item.get("extra", {})
    content = item["content"] if isinstance(item["content"], dict) else {}
    if item["type"] == "mcp_approval_response":
        return extra["approval_request_id"]
    if item["type"].startswith("tool_search"):
        return extra.get("call_id")
    return extra.get("call_id") or content.get("call_id") or item["message_id"]


def items(messages, open_calls, history):
    """OpenAI's items."""
    waiting = []    # (type of the output, id)
    for item in messages:
        kind = item["type"]
        if kind.endswith("_call_output") or kind in OUTPUT.values():
            if call_id(item) and (kind, call_id(item)) not in waiting:
                return f"{item['seq']}: an output without its call"
            if call_id(item):
                waiting.remove((kind, call_id(item)))
        elif kind != "web_search_call" and (kind.endswith("_call") or kind in OUTPUT) and call_id(item):
            waiting.append((OUTPUT.get(kind, kind + "_output"), call_id(item)))
    missing = [id_ for _, id_ in waiting]
    if missing != open_calls:
        return f"without output: {missing}, and open_calls is {open_calls}"
    return reasoning(messages, history)


def reasoning(messages, history):
    """A reasoning item and what followed it when it was stored come together, and in this order."""
    after = {a["seq"]: b for a, b in zip(history, history[1:])}
    seqs = [m["seq"] for m in messages]
    for a in history:
        if a["type"] != "reasoning":
            continue
        b = after.get(a["seq"])
        is_made = b and (b["role"] == "assistant" if b["type"] == "message" else
                         not b["type"].endswith("_output") and b["type"] != "mcp_approval_response")
        if a["seq"] in seqs:
            if not is_made:
                return f"{a['seq']}: reasoning that nothing followed"
            if seqs.index(a["seq"]) + 1 == len(seqs) or seqs[seqs.index(a["seq"]) + 1] != b["seq"]:
                return f"{a['seq']}: reasoning without its following item"
        elif is_made and b["seq"] in seqs:
            return f"{b['seq']}: without its reasoning item"
    return None


ACCEPTS = {"chat": chat, "langgraph": chat, "parts": parts, "items": items, "extra": items}
