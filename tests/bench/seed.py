# SPDX-License-Identifier: MIT
"""Fills the tables of a stack with sessions, by SQL, as if they had been written through parley.

Session number n has the id PREFIX and twelve digits of n, so that a load generator can make up ids
that exist. All sessions have about 1 KB of context and messages of 200 bytes.
"""
import glob

PREFIX = "00000000-0000-7000-8000-"

# Triggers are left out: the foreign key holds because both sides are made here.
SESSIONS = """
SET session_replication_role = replica;
SET synchronous_commit = off;
INSERT INTO sessions (tenant, session_id, user_id, context, metadata, ttl_seconds, expires_at,
    expiry_hour, version, last_seq, message_count, generation, mark, state_mark)
SELECT 'default', '{prefix}' || lpad(i::text, 12, '0'), 'u' || i,
    '{{"topic":"travel","step":' || i % 7 || ',"summary":"'
        || left(repeat('The user asks about a train to the sea. ', 30), 950) || '"}}',
    '{{"client": "web"}}', 604800, now() + interval '7 days',
    (extract(epoch FROM now() + interval '7 days') / 3600)::integer,
    {messages}, {messages}, {messages}, (extract(epoch FROM now()) * 1000)::bigint << 21 | i, i, i
FROM generate_series({first}, {last}) i;
"""
MESSAGES = """
SET session_replication_role = replica;
SET synchronous_commit = off;
INSERT INTO messages (tenant, generation, seq, created_at, size, role, content)
SELECT 'default', s.generation, j, s.created_at, 204,
    CASE j % 2 WHEN 1 THEN 'user' ELSE 'assistant' END,
    '"' || left(repeat('message ' || j || ' of ' || s.session_id || '. ', 10), 200) || '"'
FROM (SELECT generation, created_at, session_id FROM sessions WHERE tenant = 'default' AND session_id
    BETWEEN '{prefix}' || lpad('{first}', 12, '0') AND '{prefix}' || lpad('{last}', 12, '0')
    ORDER BY generation) s, generate_series(1, {messages}) j;
"""


def fill(stack, first, last, messages):
    """Makes the sessions first to last, with so many messages each."""
    step = max(1, 2_000_000 // messages)
    for low in range(first, last + 1, step):
        part = {"prefix": PREFIX, "first": low, "last": min(last, low + step - 1), "messages": messages}
        stack.psql(SESSIONS.format(**part))
        stack.psql(MESSAGES.format(**part))


def settle(stack):
    """Does what autovacuum and a checkpoint would do later, and reads the files into the kernel's cache."""
    stack.psql("VACUUM (ANALYZE) sessions, messages")
    stack.psql("CHECKPOINT")
    for path in glob.glob(stack.postgres.dir + "/base/*/*"):
        with open(path, "rb", buffering=0) as f:
            while f.read(1 << 20):
                pass


# The same work without parley's tables, rules and checks, for PostgreSQL alone.
BARE = """
CREATE TABLE sessions (session_id uuid PRIMARY KEY, user_id text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(), context text NOT NULL,
    version integer NOT NULL, last_seq integer NOT NULL);
CREATE TABLE messages (session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    seq integer NOT NULL, role text NOT NULL, content text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (session_id, seq));
INSERT INTO sessions SELECT ('{prefix}' || lpad(i::text, 12, '0'))::uuid, 'u' || i, now(),
    repeat('x', 1000), {messages}, {messages} FROM generate_series(1, {sessions}) i;
INSERT INTO messages SELECT s.session_id, j, 'user', repeat('x', 200), now()
    FROM sessions s, generate_series(1, {messages}) j;
"""


def fill_bare(stack, sessions, messages):
    """Makes a database of its own, called bare."""
    stack.psql("CREATE DATABASE bare", database="postgres")
    stack.psql(BARE.format(prefix=PREFIX, sessions=sessions, messages=messages), database="bare")
    stack.psql("VACUUM (ANALYZE) sessions, messages", database="bare")
