/* SPDX-License-Identifier: MIT */
/*
 * Fragments that the statements share. clang-format is off around SQL, which is laid out by its
 * clauses.
 *
 * Every write has the same first parameters: $1 tenant, $2 session_id, $3 user or NULL, $4 entity
 * tags of If-Match or NULL, $5 idempotency key or NULL, $6 fingerprint, $7 mark.
 */
#pragma once

#include "sql.h"

/* A live session of the tenant and, if the caller named one, the user. Expiry is a condition of
 * every statement, so that every session in a list can be read. */
/* clang-format off */
#define SQL_LIVE                                                                                   \
    " s.tenant = $1 AND s.session_id = $2 AND s.expires_at > now()"                                \
    " AND ($3::text IS NULL OR s.user_id = $3) "

/* Whether a write with this key (NULL: none) is the first one. If it is not, the write finds no row, and
 * PostgreSQL logs no error. A record that is too old fails the insert of the new one. */
#define SQL_KEY_IS_NEW(key)                                                                        \
    "(" key "::text IS NULL OR (SELECT true FROM idempotency_keys k WHERE k.tenant = $1"             \
    " AND k.key BETWEEN " key " AND " key " AND k.created_at > now() - interval '24 hours'"          \
    " ORDER BY k.key LIMIT 1) IS NULL)"

/* If-Match, against any of the entity tags (http/request.h). */
#define SQL_MATCH                                                                                  \
    " ($4::text[] IS NULL OR s.generation || '.v' || s.version || '.' || to_hex(s.mark) = ANY($4)" \
    " OR s.generation || '.s' || s.state_version || '.' || to_hex(s.state_mark) = ANY($4)"         \
    " OR s.generation || '.c' || (s.mark >> 6 & 288230376151711743) = ANY($4))"                    \
    " AND " SQL_KEY_IS_NEW("$5") " "

/* What every change of a live session sets, so that each change has a stamp of its own. updated_at never
 * goes back: an update that had to wait for the row compares with the row as it is then. */
#define SQL_STAMP(new_mark)                                                                        \
    " version = s.version + 1, mark = " new_mark ", mark_before = s.mark,"                         \
    " updated_at = greatest(statement_timestamp(), s.updated_at) "
/* The same for a change of the state, and for one that may change the state. */
#define SQL_STAMP_STATE(new_mark)                                                                  \
    SQL_STAMP(new_mark) ", state_version = s.state_version + 1, state_mark = " new_mark " "
#define SQL_STAMP_STATE_IF(new_mark, condition)                                                    \
    SQL_STAMP(new_mark) ", state_version = s.state_version + (" condition ")::integer,"            \
    " state_mark = CASE WHEN " condition " THEN " new_mark " ELSE s.state_mark END "
/* An expiry begins anew. A sliding one does with each change. */
#define SQL_EXPIRY_IF(condition, ttl)                                                              \
    " expires_at = CASE WHEN " condition " THEN now() + " ttl " * interval '1 second'"             \
    " ELSE s.expires_at END, expiry_hour = CASE WHEN " condition                                   \
    " THEN " SQL_HOUR("now() + " ttl " * interval '1 second'") " ELSE s.expiry_hour END "
#define SQL_SLIDE SQL_EXPIRY_IF("s.sliding", "s.ttl_seconds")
/* The id of a tombstone, which no client can send. It ends with the session's own id, which an erasure
 * needs to remove the session from the caches. mark: U+0001 once for a deleted session, twice for an
 * erased one, whose idempotency records are deleted, too. No index serves left(), so each plan keeps
 * to the index of its other conditions. */
#define SQL_DELETED "\\001"
#define SQL_ERASED "\\001\\001"
#define SQL_TOMBSTONE_ID(mark) " E'" mark "' || s.generation || '~' || s.session_id "
#define SQL_IS_TOMBSTONE(id) " left(" id ", 1) = E'" SQL_DELETED "' "
/* An import hides a session in the same way until its last message is stored. It is live: an erasure makes
 * a tombstone of it, as of any session. Then the import stores nothing more of it. */
#define SQL_HIDDEN "\\001\\002"
#define SQL_IS_HIDDEN(id) " left(" id ", 2) = E'" SQL_HIDDEN "' "
#define SQL_CAN_BE_ERASED(id) " (NOT" SQL_IS_TOMBSTONE(id) "OR" SQL_IS_HIDDEN(id) ") "
#define SQL_IS_ERASED(id) " left(" id ", 2) = E'" SQL_ERASED "' "
#define SQL_OWN_ID(id) " substr(" id ", strpos(" id ", '~') + 1) "
/* Makes tombstones of the sessions whose generations are in l. */
#define SQL_ERASE_LOCKED                                                                           \
    " UPDATE sessions s SET session_id =" SQL_TOMBSTONE_ID(SQL_ERASED) ", context = '{}', metadata = '{}'," \
    " expires_at = now(), expiry_hour = 0, updated_at = statement_timestamp(),"                    \
    " version = s.version + 1 WHERE s.tenant = $1"                                                 \
    " AND s.generation = ANY(ARRAY(SELECT generation FROM l)) "
/* Before an insert of $2: an expired session that still has the id becomes a tombstone, in a time that
 * does not grow with its history. It keeps its user, so that an erasure finds it. The insert must
 * read from this CTE, else it would run first. */
#define SQL_EXPIRED                                                                                \
    " expired AS (UPDATE sessions s SET session_id =" SQL_TOMBSTONE_ID(SQL_DELETED) ", context = '{}',"       \
    " metadata = '{}', expiry_hour = 0 WHERE s.tenant = $1 AND s.session_id = $2"                  \
    " AND s.expires_at <= now() RETURNING 1) "
#define SQL_AT(us) "(timestamptz 'epoch' + " us "::bigint * interval '1 microsecond')"
#define SQL_HOUR(time) "floor(date_part('epoch', " time ") / 3600)::integer"
/* expires_at and expiry_hour of a new session. */
#define SQL_EXPIRES_IN(ttl)                                                                        \
    " now() + " ttl " * interval '1 second', " SQL_HOUR("now() + " ttl " * interval '1 second'")

/* What a write returns of the session that it changed. receipt_from_row and SQL_RECORD read it. */
#define SQL_CHANGED                                                                                \
    " s.generation, s.version, s.state_version, s.message_count, s.last_seq,"                      \
    " s.updated_at, s.expires_at, s.created_at, s.mark, s.state_mark, s.mark_before, s.user_id "

/* Stores the idempotency record in the statement of the change. s is the changed row: without a change
 * there is no record. A key that is taken fails the whole statement. */
#define SQL_INSERT_RECORD                                                                        \
    " k AS (INSERT INTO idempotency_keys (tenant, key, fingerprint, status, session_id,"           \
    " generation, version, state_version, first_seq, last_seq, message_count, at, expires_at,"     \
    " session_at, mark, state_mark, state, user_id) "
#define SQL_RECORD(status, first_seq, state)                                                     \
    SQL_INSERT_RECORD                                                                            \
    "SELECT $1, $5, $6, " status ", $2, s.generation, s.version, s.state_version, " first_seq     \
    ", s.last_seq, s.message_count, s.updated_at, s.expires_at, s.created_at, s.mark,"           \
    " s.state_mark, " state ", s.user_id FROM s WHERE $5::text IS NOT NULL) "

/* The last summary that does not end after a seq, as JSON text. */
#define SQL_SUMMARY(of, up_to) \
    "(SELECT '{\"last_seq\":' || u.last_seq || ',\"content\":' || u.content || ',\"tokens\":'" \
    " || coalesce(u.tokens::text, 'null') || ',\"stale\":' || u.stale::text || ',\"created_at\":\"'" \
    " || to_char(u.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') || '\"}'" \
    " FROM summaries u WHERE u.tenant = $1 AND u.generation = " of " AND u.last_seq <= " up_to \
    " ORDER BY u.last_seq DESC LIMIT 1)"
#define SQL_FORKED_FROM(of) \
    "(SELECT x.forked_from FROM sessions x WHERE x.tenant = $1 AND x.generation = " of ")"

/* The state of a session as the record keeps it; idempotency.c reads it. */
#define SQL_STATE(s, generation)                                                                   \
    SQL_STATE_WITH(s, SQL_SUMMARY(generation, "9223372036854775807"), SQL_FORKED_FROM(generation))
#define SQL_STATE_WITH(s, summary, forked_from)                                                    \
    " '{\"summary\":' || coalesce(" summary ", 'null')"                                            \
    " || ',\"forked_from\":' || coalesce(" forked_from ", 'null')"                                 \
    " || ',\"user_id\":' || coalesce(to_json(" s ".user_id)::text, 'null')"                            \
    " || ',\"language\":' || to_json(" s ".language)::text"                                         \
    " || ',\"ttl_seconds\":' || " s ".ttl_seconds || ',\"sliding\":' || " s ".sliding::text"         \
    " || ',\"context\":' || " s ".context || ',\"metadata\":' || " s ".metadata::text || '}' "

#define SQL_INSERT_SESSION SQL_INSERT_SESSION_WITH("")
#define SQL_INSERT_SESSION_WITH(column)                                                            \
    " s AS (INSERT INTO sessions AS s (generation, tenant, session_id, user_id, language, context," \
    " metadata, ttl_seconds, sliding, expires_at, expiry_hour, last_seq, message_count, mark, state_mark" column ")"
#define SQL_INSERT_MESSAGES SQL_INSERT_MESSAGES_WITH("")
#define SQL_INSERT_MESSAGES_WITH(column) " m AS (" SQL_INSERT_MESSAGES_INTO(column)
#define SQL_INSERT_MESSAGES_INTO(column)                                                           \
    "INSERT INTO messages (tenant, generation, seq, message_id, type, role, content,"              \
    " metadata, extra, tokens, size, created_at" column ") "
/* Of metadata the size is that of what will be read back: jsonb has a form of its own. */
#define SQL_SIZE(content, metadata, extra)                                                         \
    " coalesce(octet_length(" content "), 0) + octet_length(" metadata "::text) + coalesce(octet_length(" extra "), 0)"
/* The columns of a draft, from its id to its size. */
#define SQL_DRAFT(d)                                                                               \
    " " d ".id, " d ".type, " d ".role, " d ".content, " d ".metadata::jsonb, " d ".extra, " d ".tokens::integer," \
    SQL_SIZE(d ".content", d ".metadata::jsonb", d ".extra")
/* Inserts drafts i into s. */
#define SQL_INSERT_DRAFTS(seq, at)                                                                 \
    SQL_INSERT_MESSAGES "SELECT $1, s.generation, " seq "," SQL_DRAFT("i") ", " at " FROM s"

/* Columns of a session as sql_session_from_row reads them, without its text. */
#define SQL_SESSION(s)                                                                             \
    " " s ".generation, " s ".version, " s ".mark, " s ".state_version, " s ".state_mark, "         \
    s ".last_seq, " s ".message_count, " s ".ttl_seconds, " s ".sliding, " s ".created_at, "       \
    s ".updated_at, " s ".expires_at, " s ".forked_from "
/* Columns of a message as sql_messages_from_rows reads them. */
#define SQL_MESSAGE                                                                                \
    " m.seq, m.message_id, m.type, m.role, m.content, m.metadata AS message_metadata,"             \
    " m.extra, m.tokens::text AS tokens, m.created_at AS message_created_at, m.edited_at "

/* JSON text as jsonb takes it: \u0000 and unpaired surrogates become U+FDD0, a noncharacter, and their
 * digits. Meanwhile escaped backslashes are U+0001, so that each backslash begins an escape, and the
 * escapes of pairs begin with U+0002. NULL: more than 1 MiB, for which a conversion takes too much memory.
 * Numbers beyond 10^131071 stay: parley_jsonb makes NULL of them. */
#define SQL_JSONB_PROJECTION(text)                                                                 \
    " CASE WHEN octet_length(" text ") > 1048576 THEN NULL WHEN " text                              \
    " LIKE ANY ('{%\\\\\\\\u0000%,%\\\\\\\\ud%,%\\\\\\\\uD%}') THEN replace(replace(regexp_replace(" \
    "regexp_replace(replace(" text ", '\\\\', chr(1)),"                                            \
    " '\\\\u([dD][89abAB]..)\\\\u([dD][c-fC-F]..)', chr(2) || '\\1' || chr(2) || '\\2', 'g'),"    \
    " '\\\\u(0000|[dD][89a-fA-F]..)', chr(64976) || '\\1', 'g'),"                                \
    " chr(2), '\\u'), chr(1), '\\\\') ELSE " text " END "
#define SQL_COMPARABLE(text) " parley_jsonb(" SQL_JSONB_PROJECTION(text) ") "

/* The id made from a bigint of generation and seq: uuid_v8_pack. */
#define SQL_MADE_ID(generation, seq)                                                               \
    " (lpad(to_hex((" generation ") >> 16), 12, '0') || '8' || lpad(to_hex((" generation ") >> 4 & 4095), 3, '0')" \
    " || to_hex('-9223372036854775808'::bigint | (((" generation ") & 15) << 58) | (" seq ")))::uuid::text "

/* The seq of the message that a client names in a session: by an id that a client gave, by the id
 * that was made from a generation (of) and a seq (at), or, with of = 0, by seq. See sql_message_name. */
#define SQL_SEQ_NAMED(session, id, of, at)                                                         \
    "coalesce((SELECT m.seq FROM messages m WHERE m.tenant = $1 AND m.generation = " session        \
    " AND m.message_id = " id "), (SELECT m.seq FROM messages m WHERE m.tenant = $1"               \
    " AND m.generation = " session " AND m.seq = " at                                              \
    " AND (" of " = 0 OR (" of " = " session " AND m.message_id IS NULL))))"
/* clang-format on */
