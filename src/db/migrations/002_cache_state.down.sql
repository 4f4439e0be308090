DROP TABLE cache_state;
