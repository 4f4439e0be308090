-- min_compatible: 16
-- Full-text search (docs/internals/decisions-search.md). It costs nothing until parley_search_on: the tables are empty,
-- and there is no trigger.
--
-- The operators of full-text search are not leakproof, so no index could serve them under row-level security. So the
-- words are in a table that the serving role may not read, and a function of the owner reads it for one tenant.
SELECT set_config('search_path', format('%I, pg_temp', current_schema()), true);

-- The words of messages, as the messages were when they were indexed. Row-level security without a policy: even if the
-- serving role gets a right on the table, it sees no row. A tag is a lexeme that no text has: chr(1), a letter and a hash.
CREATE TABLE search_words (
    generation bigint      NOT NULL,
    seq        bigint      NOT NULL,
    created_at timestamptz NOT NULL,
    tenant     text COLLATE "C" NOT NULL,
    config     text        NOT NULL,                   -- that made the words; the query in it ranks them
    words      tsvector    NOT NULL,                   -- of the text; and tags of tenant, user, session and role
    PRIMARY KEY (tenant, generation, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05, vacuum_truncate = off);
ALTER TABLE search_words ENABLE ROW LEVEL SECURITY;
CREATE INDEX search_words_words ON search_words USING gin (words);

-- Ranges of messages that were written and are to be indexed. Triggers insert them in the transaction of the write.
CREATE TABLE search_queue (
    id         bigint  GENERATED ALWAYS AS IDENTITY,
    generation bigint  NOT NULL,
    first_seq  bigint  NOT NULL,
    last_seq   bigint  NOT NULL,
    tenant     text COLLATE "C" NOT NULL,
    build      boolean NOT NULL DEFAULT false,         -- queued by parley_search_build; these come last
    PRIMARY KEY (build, id)
);
ALTER TABLE search_queue ENABLE ROW LEVEL SECURITY;
CREATE POLICY tenant ON search_queue FOR INSERT
    WITH CHECK (tenant = current_setting('parley.tenant') AND NOT build);

-- One row, of no tenant, while search is on.
CREATE TABLE search_state (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    sessions   bigint  NOT NULL DEFAULT 0,             -- how many the build has queued
    tenant     text COLLATE "C" DEFAULT '',            -- of the last one that it queued
    generation bigint  DEFAULT 0,
    queued     boolean NOT NULL DEFAULT false,         -- all sessions are queued
    complete   boolean NOT NULL DEFAULT false          -- all of them are indexed
);
-- The text search configurations that a tenant's words were made with.
CREATE TABLE search_configs (tenant text COLLATE "C", config text, PRIMARY KEY (tenant, config));
ALTER TABLE search_configs ENABLE ROW LEVEL SECURITY;

-- The configuration for a language tag (RFC 5646); simple where PostgreSQL has none.
CREATE FUNCTION parley_search_config(language text) RETURNS regconfig LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT c.oid FROM pg_ts_config c WHERE c.cfgnamespace = 'pg_catalog'::regnamespace
        AND c.cfgname = '{"ar":"arabic","hy":"armenian","eu":"basque","ca":"catalan","da":"danish","nl":"dutch",
            "en":"english","fi":"finnish","fr":"french","de":"german","el":"greek","hi":"hindi","hu":"hungarian",
            "id":"indonesian","ga":"irish","it":"italian","lt":"lithuanian","ne":"nepali","nb":"norwegian",
            "nn":"norwegian","no":"norwegian","pt":"portuguese","ro":"romanian","ru":"russian","sr":"serbian",
            "es":"spanish","sv":"swedish","ta":"tamil","tr":"turkish","yi":"yiddish"}'::jsonb
            ->> split_part(lower(translate(language, '_', '-')), '-', 1)), 'pg_catalog.simple'::regconfig)
$$;

-- The text of a message's content: the string, or its text parts with a line feed between them. At most 65,536
-- characters; '' for content above 1 MiB. U+0001 to U+0003, which mark words below, become spaces; \u0000 and unpaired
-- surrogates, which PostgreSQL cannot store in a text, become U+FFFD. So each character keeps its place.
CREATE FUNCTION parley_search_text(content text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    value jsonb;
BEGIN
    IF octet_length(content) > 1048576 THEN
        RETURN '';
    ELSIF strpos(content, '\') = 0 AND left(content, 1) = '"' THEN
        RETURN substr(content, 2, least(length(content) - 2, 65536));
    END IF;
    -- Once \\ is U+0001, each backslash left begins another escape. U+0002 is the \u of a surrogate pair.
    value := parley_jsonb(replace(replace(regexp_replace(regexp_replace(replace(content, '\\', chr(1)),
        '\\u([dD][89abAB]..)\\u([dD][c-fC-F]..)', chr(2) || '\1' || chr(2) || '\2', 'g'),
        '\\u(0000|[dD][89a-fA-F]..)', chr(65533), 'g'), chr(2), '\u'), chr(1), '\\'));
    RETURN translate(left(coalesce(CASE jsonb_typeof(value) WHEN 'string' THEN value #>> '{}'
        WHEN 'array' THEN (SELECT string_agg(coalesce(part ->> 'text', part #>> '{}'), E'\n' ORDER BY n)
            FROM jsonb_array_elements(value) WITH ORDINALITY p(part, n)
            WHERE jsonb_typeof(part) = 'string' OR (jsonb_typeof(part -> 'text') = 'string'
                AND part ->> 'type' IN ('text', 'input_text', 'output_text')))
        END, ''), 65536), chr(1) || chr(2) || chr(3), '   ');
END
$$;

CREATE FUNCTION parley_search_cjk() RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT '[\u3005-\u3007\u3040-\u30fa\u30fc-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]'
$$;

-- Cuts words into pieces of at most 200 characters. PostgreSQL crashes on a word of 2 KiB that lower() makes longer (a
-- tsvector counts its bytes in 11 bits), and its parser takes quadratic time for a run such as a_a_a_. "<" would begin a tag or a
-- comment, whose words are not indexed. U+0001 separates words and is in no text.
CREATE FUNCTION parley_search_cut(text text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN length(text) < 200 THEN translate(text, '<', '|')
        ELSE regexp_replace(translate(text, '<', '|'), '(\S{200})', '\1' || chr(1), 'g') END
$$;

-- Makes each Chinese, Japanese or Korean character a word, since PostgreSQL's parser takes a whole sentence, or a Korean word
-- with its particles, for one. In a query, several in a row become a phrase. PostgreSQL inlines a function of this form.
CREATE FUNCTION parley_search_split(text text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN octet_length(text) = length(text) THEN parley_search_cut(text)
        ELSE regexp_replace(parley_search_cut(text), '(' || parley_search_cjk() || ')', chr(1) || '\1' || chr(1), 'g') END
$$;

CREATE FUNCTION parley_search_tag(kind text, value text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT chr(1) || kind || left(encode(sha256(convert_to(value, 'UTF8')), 'hex'), 16)
$$;

-- ---- indexing ----

CREATE FUNCTION parley_search_messages() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO search_queue (tenant, generation, first_seq, last_seq)
        SELECT tenant, generation, min(seq), max(seq) FROM changed GROUP BY tenant, generation;
    RETURN NULL;
END
$$;
CREATE FUNCTION parley_search_session() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO search_queue (tenant, generation, first_seq, last_seq)
        VALUES (NEW.tenant, NEW.generation, 1, NEW.last_seq);
    RETURN NULL;
END
$$;

-- Deletes the words of ranges of one tenant, and inserts those of the messages as they are now. OFFSET 0 keeps each lateral
-- subquery as it is, so that it reads by key.
CREATE FUNCTION parley_search_index(whose text, ranges search_queue[]) RETURNS void LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
BEGIN
    DELETE FROM search_words WHERE ctid = ANY(ARRAY(SELECT w.ctid FROM unnest(ranges) r, LATERAL (SELECT ctid FROM search_words
        WHERE tenant = whose AND generation = r.generation AND seq BETWEEN r.first_seq AND r.last_seq OFFSET 0) w));
    WITH indexed AS (INSERT INTO search_words (tenant, generation, seq, created_at, config, words)
        SELECT whose, r.generation, m.seq, m.created_at, s.config, to_tsvector(s.config, parley_search_split(m.text)) || s.tags
            || array_to_tsvector(array_remove(ARRAY[parley_search_tag('r', m.role)], NULL))
        FROM unnest(ranges) r, LATERAL (SELECT parley_search_config(language) AS config, array_to_tsvector(array_remove(
                ARRAY[parley_search_tag('t', whose), parley_search_tag('s', generation::text),
                parley_search_tag('u', whose || ' ' || user_id)], NULL)) AS tags
            FROM sessions WHERE tenant = whose AND generation = r.generation AND left(session_id, 1) <> chr(1) OFFSET 0) s,
        LATERAL (SELECT seq, created_at, role, parley_search_text(content) AS text FROM messages
            WHERE tenant = whose AND generation = r.generation AND seq BETWEEN r.first_seq AND r.last_seq OFFSET 0) m
        WHERE m.text <> '' ON CONFLICT DO NOTHING)
    INSERT INTO search_configs SELECT DISTINCT whose, parley_search_config(s.language)::text FROM unnest(ranges) r
        JOIN LATERAL (SELECT language FROM sessions WHERE tenant = whose AND generation = r.generation OFFSET 0) s ON true
        ON CONFLICT DO NOTHING;
END
$$;

-- Indexes what is in the queue, for about 100 ms. One at a time in the database: two could index two versions of a
-- message, and the older one last. failures: how many calls in a row ended at a time limit before this one. So that no
-- message stops the others, it takes one message after a failure, and leaves that one out after two. Returns whether there
-- is more to do.
CREATE FUNCTION parley_search_step(failures bigint DEFAULT 0) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT SET client_min_messages = error AS $$
DECLARE
    its_tenant text := current_setting('parley.tenant', true);
    ranges search_queue[];
    n integer := 0;
    most bigint := CASE failures WHEN 0 THEN 64 ELSE 1 END; -- messages at once; fewer if they are long
    done_build boolean := false;
    done_id bigint := 0; -- an index keeps entries of deleted rows: reading on after this id passes them only once
BEGIN
    IF NOT EXISTS (SELECT FROM search_state) OR NOT pg_try_advisory_xact_lock(1349676629, 0) THEN
        RETURN false;
    END IF;
    WHILE clock_timestamp() < statement_timestamp() + interval '100 milliseconds' LOOP
        -- The next ranges of one tenant. What does not fit of the last one stays in the queue.
        SELECT array_agg(ROW(id, generation, first_seq, least(last_seq, first_seq + most - 1 - before), tenant, build)::search_queue
            ORDER BY id) INTO ranges FROM (SELECT *, (tenant, build) = (first_value(tenant) OVER w, first_value(build) OVER w) AS same,
                (sum(last_seq - first_seq + 1) OVER w)::bigint - (last_seq - first_seq + 1) AS before
                FROM (SELECT * FROM search_queue WHERE (build, id) > (done_build, done_id) ORDER BY build, id LIMIT 64) q
                WINDOW w AS (ORDER BY build, id)) q
            WHERE same AND before < most;
        EXIT WHEN ranges IS NULL;
        n := cardinality(ranges);
        PERFORM set_config('parley.tenant', ranges[1].tenant, true);
        IF most > 1 AND (SELECT sum(m.size) FROM unnest(ranges) r, LATERAL (SELECT size FROM messages WHERE tenant = r.tenant
                AND generation = r.generation AND seq BETWEEN r.first_seq AND r.last_seq OFFSET 0) m) > 524288 THEN
            most := most / 4;
            CONTINUE;
        END IF;
        IF failures < 2 THEN
            PERFORM parley_search_index(ranges[1].tenant, ranges);
        END IF;
        UPDATE search_queue SET first_seq = ranges[n].last_seq + 1
            WHERE build = ranges[n].build AND id = ranges[n].id AND last_seq > ranges[n].last_seq;
        done_build := ranges[n].build;
        done_id := ranges[n].id - FOUND::integer;
        DELETE FROM search_queue WHERE build = done_build AND id = ANY(ARRAY(SELECT id FROM unnest(ranges[1:n - FOUND::integer])));
        EXIT WHEN failures > 0;
        most := 64;
    END LOOP;
    PERFORM set_config('parley.tenant', its_tenant, true); -- the caller's transaction needs it
    IF n > 0 AND ranges IS NULL THEN
        PERFORM gin_clean_pending_list('search_words_words'); -- each search reads this list as a whole
    END IF;
    UPDATE search_state SET complete = true WHERE queued AND NOT complete AND NOT EXISTS (SELECT FROM search_queue WHERE build);
    RETURN ranges IS NOT NULL;
END
$$;

-- ---- on and off: for the owner of the tables ----

-- Begins to queue what is written. The policy shows the sessions of all tenants to the owner's login, but not to a function
-- of the owner that another login calls.
CREATE FUNCTION parley_search_on() RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT SET lock_timeout = '500ms' AS $$
BEGIN
    -- Otherwise a function or operator of another login could replace PostgreSQL's in what runs as the owner.
    IF EXISTS (SELECT FROM pg_namespace s, aclexplode(s.nspacl) a WHERE s.nspname = current_schema()
            AND a.privilege_type = 'CREATE' AND a.grantee <> s.nspowner
            AND (a.grantee = 0 OR NOT pg_has_role(current_user, a.grantee, 'USAGE'))) THEN
        RAISE EXCEPTION 'others may create functions in schema %, which the owner of the index would run: REVOKE CREATE ON SCHEMA % FROM PUBLIC, or from whoever has it',
            current_schema(), current_schema();
    END IF;
    LOCK TABLE search_state IN SHARE ROW EXCLUSIVE MODE; -- if two run at once, the later one finds that it is on
    IF NOT EXISTS (SELECT FROM pg_policy WHERE polname = 'search' AND polrelid = 'sessions'::regclass
            AND polroles = ARRAY[current_user::regrole::oid]) THEN
        DROP POLICY IF EXISTS search ON sessions; -- of an earlier owner
        CREATE POLICY search ON sessions FOR SELECT TO CURRENT_USER
            USING (current_setting('parley.search', true) = 'build' AND pg_has_role(session_user, current_user, 'USAGE'));
    END IF;
    IF EXISTS (SELECT FROM search_state) THEN
        RETURN;
    END IF;
    CREATE TRIGGER search AFTER UPDATE OF user_id, language ON sessions FOR EACH ROW
        WHEN (OLD.user_id IS DISTINCT FROM NEW.user_id OR OLD.language <> NEW.language)
        EXECUTE FUNCTION parley_search_session();
    CREATE TRIGGER search_insert AFTER INSERT ON messages REFERENCING NEW TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION parley_search_messages();
    CREATE TRIGGER search_update AFTER UPDATE ON messages REFERENCING NEW TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION parley_search_messages();
    CREATE TRIGGER search_delete AFTER DELETE ON messages REFERENCING OLD TABLE AS changed
        FOR EACH STATEMENT EXECUTE FUNCTION parley_search_messages();
    INSERT INTO search_state DEFAULT VALUES;
END
$$;

-- Queues the next 50,000 sessions. Each call is a transaction after that of parley_search_on, so the triggers queue what it
-- does not see. Returns whether there are more.
CREATE FUNCTION parley_search_build() RETURNS boolean LANGUAGE plpgsql
SET search_path FROM CURRENT SET enable_sort = off SET enable_bitmapscan = off AS $$
DECLARE
    at search_state;
BEGIN
    PERFORM set_config('parley.tenant', '', true), set_config('parley.search', 'build', true);
    SELECT * INTO at FROM search_state WHERE NOT queued FOR UPDATE;
    WITH next AS MATERIALIZED (SELECT tenant, generation, last_seq, expires_at FROM sessions
            WHERE (tenant, generation) > (at.tenant, at.generation) ORDER BY tenant, generation LIMIT 50000),
        q AS (INSERT INTO search_queue (build, tenant, generation, first_seq, last_seq)
            SELECT true, tenant, generation, 1, last_seq FROM next
            WHERE expires_at > now() - interval '1 minute' AND last_seq > 0 RETURNING 1) -- a write may be extending it
    UPDATE search_state SET sessions = sessions + (SELECT count(*) FROM q), queued = (SELECT count(*) < 50000 FROM next),
        (tenant, generation) = (SELECT tenant, generation FROM next ORDER BY tenant DESC, generation DESC LIMIT 1)
        WHERE NOT queued;
    RETURN EXISTS (SELECT FROM search_state WHERE NOT queued);
END
$$;

CREATE FUNCTION parley_search_off() RETURNS void LANGUAGE plpgsql SET search_path FROM CURRENT SET lock_timeout = '500ms' AS $$
BEGIN
    DROP POLICY IF EXISTS search ON sessions;
    DROP TRIGGER IF EXISTS search ON sessions;
    DROP TRIGGER IF EXISTS search_insert ON messages;
    DROP TRIGGER IF EXISTS search_update ON messages;
    DROP TRIGGER IF EXISTS search_delete ON messages;
    TRUNCATE search_words, search_queue, search_configs, search_state;
END
$$;

-- ---- searching ----

-- The text in parts: those with an even number match the query, the others are between them. Several CJK characters in a row
-- match only in the order of the query. ts_headline would mark each of them wherever it is, and leaves out tokens of 2 KiB,
-- such as a row of dashes.
CREATE FUNCTION parley_search_mark(config regconfig, text text, q text) RETURNS text[] LANGUAGE plpgsql STABLE AS $$
DECLARE
    runs text := (SELECT string_agg(DISTINCT run[1], '|') FROM regexp_matches(q, parley_search_cjk() || '+', 'g') run);
    words text[] := tsvector_to_array(to_tsvector(config, parley_search_split(q || ' ' || translate(q, ':', ' '))));
    -- The parser also gives the parts of an address (token type 5) and of words with hyphens (15 to 17). 12 is blank or punctuation.
    marked text := (SELECT string_agg(CASE WHEN tokid <> 12 AND (lower(token) = ANY (words)
            OR words && tsvector_to_array(to_tsvector(config, token))) THEN chr(2) || token || chr(3) ELSE token END, '' ORDER BY n)
        FROM ts_parse('default', parley_search_split(text)) WITH ORDINALITY t(tokid, token, n) WHERE tokid NOT IN (5, 15, 16, 17));
BEGIN
    IF runs IS NOT NULL THEN
        marked := replace(regexp_replace(marked, chr(2) || '(' || parley_search_cjk() || ')' || chr(3), '\1', 'g'), chr(1), '');
        marked := regexp_replace(marked, '(' || runs || ')', chr(2) || '\1' || chr(3), 'g');
    END IF;
    RETURN regexp_split_to_array(replace(marked, chr(1), ''), '[' || chr(2) || chr(3) || ']');
END
$$;

-- What a hit shows, as JSON text: the places of the first 100 matches, in characters from 0, and at most 200 characters
-- around the first one.
CREATE FUNCTION parley_search_show(whole text, parts text[], OUT matches text, OUT snippet text) LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    first bigint := length(parts[1]);
    start bigint := greatest(first - 60, 0);
    shown text;
BEGIN
    IF start > 0 THEN -- begin with a whole word
        start := start + coalesce(length(substring(substr(whole, start::int + 1, (first - start)::int) FROM '^\S*\s+')), 0);
    END IF;
    shown := substr(whole, start::int + 1, 200);
    IF start + 200 < length(whole) THEN
        shown := coalesce(substring(shown FROM '^(.*\S)\s'), shown);
    END IF;
    SELECT '[' || coalesce(string_agg('[' || at || ',' || at + n || ']', ',' ORDER BY at), '') || ']',
        '{"text":' || to_json(shown) || ',"matches":[' || coalesce(string_agg('[' || at - start || ',' || at - start + n || ']',
            ',' ORDER BY at) FILTER (WHERE at + n <= start + length(shown)), '') || ']}' INTO matches, snippet
        FROM (SELECT i, length(part) AS n, sum(length(part)) OVER (ORDER BY i) - length(part) AS at
            FROM unnest(parts) WITH ORDINALITY u(part, i)) p WHERE i % 2 = 0 AND i <= 200;
END
$$;

-- The query as a person means it: a minus between blanks excludes nothing, and an address loses its scheme, since
-- websearch_to_tsquery ends a word at a colon.
CREATE FUNCTION parley_search_typed(q text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT parley_search_split(regexp_replace(regexp_replace(q, '(^|\s)-(\s|$)', ' ', 'g'), '\mhttps?://', '', 'gi'))
$$;

-- '' if no word is left to look for: only common words that the language ignores, and words after a minus sign.
CREATE FUNCTION parley_search_query(config regconfig, split text) RETURNS tsquery LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN querytree(query) = 'T' THEN '' ELSE query END FROM websearch_to_tsquery(config, split) query
$$;

-- The messages of the tenant in parley.tenant that match q, after a position, each as it is now. by_relevance: the best
-- first, else the newest. After a second it ends with a row that has no session: the next page begins after that position.
CREATE FUNCTION parley_search(q text, of_user text, of_session text, of_role text, after timestamptz, by_relevance boolean,
    at_score bigint, at_time timestamptz, at_generation bigint, at_seq bigint, rows bigint)
RETURNS TABLE (score bigint, created_at timestamptz, generation bigint, seq bigint, session_id text, message_id text,
    role text, matches text, snippet text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path FROM CURRENT SET client_min_messages = error AS $$
#variable_conflict use_column
DECLARE
    whose text := current_setting('parley.tenant');
    split text := parley_search_typed(q);
    -- The words of each session were made with the configuration of its language.
    configs text[] := CASE WHEN of_session IS NULL THEN ARRAY(SELECT c.config FROM search_configs c WHERE c.tenant = whose)
        ELSE ARRAY(SELECT parley_search_config(s.language)::text FROM sessions s
            WHERE s.tenant = whose AND s.session_id = of_session) END;
    queries tsquery[] := ARRAY(SELECT parley_search_query(c::regconfig, split) FROM unnest(configs) WITH ORDINALITY u(c, n) ORDER BY n);
    wanted tsquery := ''; -- matches if one of them does
    tags tsquery;
    its tsquery;
    config text;
    language text;
    content text;
    until timestamptz;
BEGIN
    IF words = 0 THEN
        RAISE EXCEPTION 'no word to look for' USING ERRCODE = 'PL400';
    END IF;
    by_relevance := by_relevance AND words < 64; -- operators count, too
    FOREACH its IN ARRAY queries LOOP
        wanted := CASE WHEN numnode(wanted) = 0 OR wanted = its THEN its WHEN numnode(its) = 0 THEN wanted ELSE wanted || its END;
    END LOOP;
    IF numnode(wanted) = 0 THEN
        RETURN;
    END IF;
    tags := (SELECT string_agg(quote_literal(tag), ' & ') FROM unnest(ARRAY[parley_search_tag('t', whose),
        parley_search_tag('u', whose || ' ' || of_user), parley_search_tag('r', of_role), (SELECT parley_search_tag('s',
            s.generation::text) FROM sessions s WHERE s.tenant = whose AND s.session_id = of_session)]) tag);
    -- The query of the row's own language gives the score, so it is the same on each page, whatever is written meanwhile.
    -- ts_rank takes quadratic time in the number of words: with many words, the newest messages come first.
    FOR score, created_at, generation, seq, config IN SELECT w.score, w.created_at, w.generation, w.seq, w.config FROM (SELECT w.*,
            CASE WHEN by_relevance THEN coalesce((ts_rank(w.words,
                queries[array_position(configs, w.config)], 1) * 1000000)::bigint, 0) ELSE 0 END AS score
            FROM search_words w WHERE w.words @@ (tags && wanted) AND w.tenant || '' = whose -- only the index of words is of use
                AND (after IS NULL OR w.created_at > after)) w
        WHERE at_time IS NULL OR (w.score, w.created_at, w.generation, w.seq) < (at_score, at_time, at_generation, at_seq)
        ORDER BY w.score DESC, w.created_at DESC, w.generation DESC, w.seq DESC
    LOOP
        until := coalesce(until, clock_timestamp() + interval '1 second');
        SELECT s.session_id, m.message_id, m.role, s.language, parley_search_text(m.content)
            INTO session_id, message_id, role, language, content
            FROM sessions s JOIN messages m ON m.tenant = s.tenant AND m.generation = s.generation AND m.seq = parley_search.seq
            WHERE s.tenant = whose AND s.generation = parley_search.generation AND s.expires_at > now()
            AND left(s.session_id, 1) <> chr(1) AND (of_user IS NULL OR s.user_id = of_user)
            AND (of_session IS NULL OR s.session_id = of_session) AND (of_role IS NULL OR m.role = of_role);
        IF FOUND THEN
            config := parley_search_config(language);
            IF to_tsvector(config::regconfig, parley_search_split(content)) @@ parley_search_query(config::regconfig, split) THEN
                SELECT * INTO matches, snippet FROM parley_search_show(content, parley_search_mark(config::regconfig, content, q));
                RETURN NEXT;
                rows := rows - 1;
                EXIT WHEN rows = 0;
            END IF;
        END IF;
        IF clock_timestamp() > until THEN
            session_id := NULL;
            RETURN NEXT;
            RETURN;
        END IF;
    END LOOP;
END
$$;

-- The serving role may call two of them (grants.sql). It must not call the others with types of its own, such as a domain
-- whose check would then run as the owner.
REVOKE ALL ON FUNCTION parley_search, parley_search_step, parley_search_on, parley_search_build, parley_search_off,
    parley_search_session, parley_search_messages, parley_search_index, parley_search_mark, parley_search_show, parley_search_typed, parley_search_query, parley_search_tag,
    parley_search_split, parley_search_cut, parley_search_cjk, parley_search_text, parley_search_config FROM PUBLIC;
