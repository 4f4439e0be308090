-- Members of a message that another interface has and the native one has no name for (the status of an
-- OpenAI item, the tool_calls of a LangChain message): a JSON object, kept as it was written.
ALTER TABLE messages ADD COLUMN extra text;
