/* SPDX-License-Identifier: MIT */
/*
 * Opaque cursors of lists: two numbers, the position after which the next page begins, and a
 * checksum over them, the tenant, the list and its owner. A cursor is no secret and grants nothing;
 * the checksum detects a cursor of another list, and one that was invented or damaged.
 */
#ifndef PARLEY_HTTP_CURSOR_H
#define PARLEY_HTTP_CURSOR_H

#include <stdint.h>

#include "parley/base/ctx.h"

/* list: the kind of list; owner: of the list. The tenant is the context's. *out is in the arena. */
MUSTCHECK enum err http_cursor_make(struct request_ctx *ctx, const char *list, struct sv owner,
                                    const int64_t position[2], struct sv *out);
/* ERR_INVALID naming "cursor" unless http_cursor_make gives this text for this list. */
MUSTCHECK enum err http_cursor_read(struct request_ctx *ctx, const char *list, struct sv owner,
                                    struct sv text, int64_t position[2]);

#endif
