-- min_compatible: 12
-- concurrently
-- A window of a session begins with its newest system message and with a message of its user, however far back these
-- are. A message with a tool's result has the role of the user in Anthropic's form, and begins no window. The index has
-- no message of any other role.
CREATE INDEX CONCURRENTLY messages_role ON messages (tenant, generation, role, seq)
    WHERE role IN ('user', 'human', 'system', 'developer')
        AND (content NOT LIKE '%"tool_%' OR content !~ '"type"\s*:\s*"tool_(result|use)"')
        AND (extra IS NULL OR extra NOT LIKE '%tool_call%');
