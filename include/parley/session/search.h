/* Searches over the sessions of a tenant. Thread rule and errors: session.h. */
#ifndef PARLEY_SESSION_SEARCH_H
#define PARLEY_SESSION_SEARCH_H

#include "parley/session/users.h"

enum session_sort { SESSION_BY_CREATION, SESSION_BY_UPDATE, SESSION_BY_ID };

/* The live sessions that match every field given. A search by creation reads up to the last session
 * that it returns (all, if fewer than limit match). Any other sort, and a count, reads all sessions
 * of the tenant. */
struct session_query {
    struct sv user;              /* absent: any */
    struct sv metadata, context; /* JSON objects that these must contain, as jsonb's @> defines it;
                                  * absent: any */
    const struct sv *ids;        /* NULL: any */
    size_t n_ids;
    /* For session_search alone: */
    enum session_sort sort;
    bool ascending;
    size_t limit;
    int64_t offset;
    bool with_context, with_metadata; /* else they are absent in the result */
};
/* Without messages. ERR_TOO_LARGE: contexts and metadata together exceed page_bytes. */
MUSTCHECK enum err session_search(struct sessions *s, struct request_ctx *ctx,
                                  const struct session_query *q, struct session_list *out);
MUSTCHECK enum err session_count(struct sessions *s, struct request_ctx *ctx,
                                 const struct session_query *q, int64_t *n);

#endif
