-- The triggers go first: a write that queues needs the queue.
DO $$
BEGIN
    IF to_regproc('parley_search_off') IS NOT NULL THEN
        PERFORM parley_search_off();
    END IF;
END
$$;
DROP FUNCTION parley_search, parley_search_query, parley_search_typed, parley_search_show, parley_search_mark, parley_search_off, parley_search_build, parley_search_on,
    parley_search_step, parley_search_index, parley_search_session, parley_search_messages, parley_search_tag,
    parley_search_split, parley_search_cut, parley_search_cjk, parley_search_text, parley_search_config;
DROP TABLE search_configs, search_state, search_queue, search_words;
