-- min_compatible: 12
-- When the content, metadata, extra or tokens of a message were last changed. NULL: never.
ALTER TABLE messages ADD COLUMN edited_at timestamptz;
