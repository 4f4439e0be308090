/*
 * Full-text search over the messages of a tenant, and its index in PostgreSQL (migration 021): the
 * table search_words, which the serving role cannot read. Triggers queue what is written, and one
 * worker at a time indexes it, so a message is found about a second after its commit. Each hit is
 * compared with the message and its session as they are: what was deleted, edited or has expired is
 * not found from that moment on.
 */
#pragma once

#include "parley/session/session.h"

enum { SEARCH_LIMIT_MAX = 100, SEARCH_TEXT_MAX = 1000 /* bytes */ };

/* Where a hit is in the order of a search: its score, created_at, generation and seq. */
enum { SEARCH_POSITION = 4 };
struct search_query {
    struct sv text;                   /* in the syntax of PostgreSQL's websearch_to_tsquery */
    struct sv user, session_id, role; /* absent: any */
    int64_t created_after;
    bool newest_first;    /* else the best first */
    const int64_t *after; /* a position; NULL: from the beginning */
    size_t limit;         /* 1 to SEARCH_LIMIT_MAX */
};
struct search_hit {
    struct sv session_id, message_id, role; /* role may be absent */
    int64_t seq, created_at;
    struct sv matches, snippet; /* JSON text */
};
struct search_hits {
    struct search_hit *hits;
    size_t n; /* may be below the limit although has_more: a search ends after a second */
    bool has_more;
    int64_t end[SEARCH_POSITION]; /* if has_more: the position after which the next page begins */
    bool complete;                /* what was written before parley search build is also indexed */
};
/* ERR_NOT_FOUND, search_off: this host does not offer it, or the database has no index.
 * ERR_INVALID: the text has no word to look for, or the position is not valid. */
MUSTCHECK enum err session_messages_search(struct sessions *s, struct request_ctx *ctx,
                                           const struct search_query *q, struct search_hits *out);

/* Indexes what is in the queue, for about 100 ms. Does nothing while somebody else indexes.
 * failures: how many calls in a row ended with ERR_TIMEOUT before this one. *more: there is more
 * to do. It measures the queue for the metrics first. */
MUSTCHECK enum err session_index_step(struct sessions *s, struct request_ctx *ctx, int64_t failures,
                                      bool *more);

/* For an operator's command: db logs in as the owner of the tables. */

/* Begins to queue what is written, unless that has begun. ERR_BUSY: a table is locked. */
MUSTCHECK enum err session_index_begin(struct sessions *s, struct request_ctx *ctx);
/* Queues some of the existing sessions. *more: not all are queued yet. */
MUSTCHECK enum err session_index_queue(struct sessions *s, struct request_ctx *ctx, bool *more);
/* *total: how many sessions were queued so. *left: how many of them are still to be indexed. */
MUSTCHECK enum err session_index_progress(struct sessions *s, struct request_ctx *ctx,
                                          int64_t *total, int64_t *left);
/* Removes the index. ERR_BUSY: as above. */
MUSTCHECK enum err session_index_drop(struct sessions *s, struct request_ctx *ctx);
