# SPDX-License-Identifier: MIT
"""What the tests of LangGraph's threads share."""
THREAD = ["thread_id", "created_at", "updated_at", "state_updated_at", "metadata", "status", "config",
          "values", "interrupts", "error"]
STATE = ["values", "next", "checkpoint", "metadata", "created_at", "parent_checkpoint", "tasks", "interrupts"]


def human(content, **more):
    return {"type": "human", "content": content, **more}


def remove(message_id):
    return {"type": "remove", "id": message_id}


class LangGraph:
    """To be mixed into a test class with a client."""

    def refused(self, answer, status, code, field=None):
        """Checks that the answer is this error in LangGraph's form, with all its members; its JSON."""
        self.assertEqual((answer.status, answer.headers["Content-Type"]),
                         (status, "application/json"), answer)
        body = answer.json
        self.assertEqual(list(body), ["detail", "code"] + ["field"] * (field is not None) +
                         ["request_id"], body)
        self.assertEqual((body["code"], body.get("field")), (code, field), body)
        self.assertEqual(body["request_id"], answer.headers["X-Request-Id"])
        self.assertTrue(body["detail"], body)
        return body

    def new(self, *messages, thread_id=None, **body):
        """A thread with these messages; its id."""
        if messages:
            body["supersteps"] = [{"updates": [{"values": {"messages": list(messages)}}]}]
        return self.post("/threads", {"thread_id": thread_id, **body})["thread_id"]

    def update(self, thread_id, *messages, headers=None, **values):
        """Updates the state; the answer."""
        if messages:
            values["messages"] = list(messages)
        return self.client.post(f"/threads/{thread_id}/state", {"values": values}, headers=headers)

    def state(self, thread_id):
        return self.get(f"/threads/{thread_id}/state")

    def contents(self, thread_id):
        return [m["content"] for m in self.state(thread_id)["values"]["messages"]]
