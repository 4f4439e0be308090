# SPDX-License-Identifier: MIT
"""Makes a conversations.json as ChatGPT exports it, with a tree of messages for each conversation, and what a person sees
of the branch that is shown."""
import datetime
import uuid


def text(*parts):
    return {"content_type": "text", "parts": list(parts)}


IMAGE = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://file-1", "size_bytes": 9, "width": 4,
         "height": 3, "fovea": None, "metadata": None}
# Messages of one conversation, in turn: role, content, further members, and the content that comes back. None: nothing.
TURNS = (
    ("system", text(""), {"weight": 0, "metadata": {"is_visually_hidden_from_conversation": True}}, None),
    ("user", text("Draw a cat. \U0001f600"), {}, "Draw a cat. \U0001f600"),
    ("assistant", {"content_type": "code", "language": "unknown", "response_format_name": None, "text": "draw('cat')"},
     {"recipient": "python"}, "draw('cat')"),
    ("tool", {"content_type": "execution_output", "text": "done"}, {"author": {"name": "python"}}, "done"),
    ("assistant", text("Here", "it is."), {"end_turn": True}, [{"type": "text", "text": "Here"}, {"type": "text", "text": "it is."}]),
    ("user", {"content_type": "multimodal_text", "parts": [IMAGE, "And this one?"]}, {},
     [IMAGE, {"type": "text", "text": "And this one?"}]),
    ("assistant", text("A dog.\n\n\"Woof\" \\ é"), {"end_turn": True}, "A dog.\n\n\"Woof\" \\ é"),
)


def time(seconds):
    """A time, as parley writes it."""
    at = datetime.datetime.fromtimestamp(round(seconds * 1000000) / 1000000, datetime.timezone.utc)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Export:
    """conversations: the file. expected: by session id, the title, the times and the messages that come back."""

    def __init__(self, rng, n=12):
        self.rng, self.conversations, self.expected = rng, [], {}
        for i in range(n):
            self.make(i, 7 + i * 3)
        self.make(n, 1500)

    def node(self, mapping, parent, role, content, more, at):
        """Adds a node below parent; returns its id."""
        name = str(uuid.UUID(int=self.rng.getrandbits(128)))
        mapping[name] = {"id": name, "parent": parent, "children": [], "message": content and {
            "id": name, "author": {"role": role, "name": None, "metadata": {}, **more.get("author", {})}, "create_time": at,
            "update_time": None, "content": content, "status": "finished_successfully", "end_turn": None, "weight": 1.0,
            "metadata": {}, "recipient": "all", "channel": None, **{k: v for k, v in more.items() if k != "author"}}}
        if parent:
            mapping[parent]["children"].append(name)
        return name

    def make(self, i, turns):
        """Adds one conversation, with branches beside the one that is shown."""
        begun, mapping, messages = 1700000000.125 + i * 86400, {}, []
        at = node = self.node(mapping, None, None, None, {}, None)
        for k in range(turns):
            role, content, more, shown = TURNS[k % len(TURNS)]
            seconds = begun + k * 10 + 0.25
            if k % 3 == 1:   # an answer that was made again: before the one that is shown, and after it
                self.node(mapping, node, role, text("another branch"), {}, seconds)
            at = self.node(mapping, node, role, content, more, seconds)
            if k % 4 == 1:
                self.node(mapping, node, role, text("a newer branch"), {}, seconds + 9)
            node = at
            if shown is not None:
                own = ("id", "create_time", "content") if content["content_type"] == "text" else ("id", "create_time")
                messages.append({"role": role, "content": shown, "created_at": time(seconds), "extra": {
                    name: value for name, value in mapping[node]["message"].items() if name not in own}})
        name, title = str(uuid.UUID(int=self.rng.getrandbits(128))), f"A \"title\" {i} \U0001f408"
        self.conversations.append({
            "title": title, "create_time": begun, "update_time": begun + 999.5, "mapping": mapping, "moderation_results": [],
            "current_node": at, "plugin_ids": None, "conversation_id": name, "conversation_template_id": None, "gizmo_id": None,
            "is_archived": False, "safe_urls": [], "default_model_slug": "auto", "id": name})
        self.expected["chatgpt:" + name] = {"title": title, "created_at": time(begun), "updated_at": time(begun + 999.5),
                                            "messages": messages}
