/*
 * Opaque cursors of lists: two numbers that say where the next page begins, bound to the list that
 * they were made for. They are no secret and grant nothing; the checksum tells a cursor of another
 * tenant or owner, or one that was made up or cut short, from one that was given out.
 */
#ifndef PARLEY_HTTP_CURSOR_H
#define PARLEY_HTTP_CURSOR_H

#include <stdint.h>

#include "parley/base/ctx.h"

/* list: the kind of list, static; owner: whose it is. The tenant is the context's. */
MUSTCHECK enum err http_cursor_make(struct request_ctx *ctx, const char *list, struct sv owner,
                                    const int64_t place[2], struct sv *out);
/* ERR_INVALID naming "cursor" for a text that http_cursor_make does not give for this list. */
MUSTCHECK enum err http_cursor_read(struct request_ctx *ctx, const char *list, struct sv owner,
                                    struct sv text, int64_t place[2]);

#endif
