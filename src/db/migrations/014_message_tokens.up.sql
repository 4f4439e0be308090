-- min_compatible: 12
-- How many tokens a message has, as its client counted them. NULL: parley estimates them. The release before leaves it
-- NULL.
ALTER TABLE messages ADD COLUMN tokens integer;
