/* SPDX-License-Identifier: MIT */
/*
 * The fingerprint of a request that carries an Idempotency-Key (draft-ietf-httpapi-idempotency-key-
 * header-07, section 2.4): SHA-256 over method, target, user and body. Two requests with one key
 * are the same if and only if their fingerprints are equal.
 */
#ifndef PARLEY_HTTP_FINGERPRINT_H
#define PARLEY_HTTP_FINGERPRINT_H

#include "parley/http/request.h"

enum { HTTP_FINGERPRINT_LEN = 32 };

/* 32 bytes in the arena. */
MUSTCHECK enum err http_fingerprint(struct request_ctx *ctx, const struct http_request *req,
                                    struct sv *out);

#endif
