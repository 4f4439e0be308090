/* SPDX-License-Identifier: MIT */
#include "parley/http/fingerprint.h"

#include <string.h>

#include "rig.h"

struct asked {
    const char *method, *target, *user, *body;
};

static void digest(const struct asked *a, char out[HTTP_FINGERPRINT_LEN])
{
    struct sv print = SV_NONE;
    struct http_rig *r = http_rig(a->method, a->target);
    if (a->user)
        http_rig_send(r, "x-parley-user", sv_from(a->user));
    http_rig_send(r, "idempotency-key", SV("k"));
    r->req.body = sv_from(a->body);
    CU_ASSERT_EQUAL(http_fingerprint(r->ctx, &r->req, &print), ERR_NONE);
    CU_ASSERT_EQUAL(print.n, HTTP_FINGERPRINT_LEN);
    memset(out, 0, HTTP_FINGERPRINT_LEN);
    if (print.n == HTTP_FINGERPRINT_LEN)
        memcpy(out, print.p, print.n);
}

/* Requests that differ have different fingerprints, also when the same bytes are divided into parts
 * in another way. Fails if a part or its length is left out: tried. */
TEST(fingerprint_of_a_request)
{
    static const struct asked all[] = {
        {"POST", "/v1/sessions", "u1", "{}"},     {"PUT", "/v1/sessions", "u1", "{}"},
        {"POST", "/v1/sessions?a=1", "u1", "{}"}, {"POST", "/v1/sessions", "u2", "{}"},
        {"POST", "/v1/sessions", NULL, "{}"},     {"POST", "/v1/sessions", "u1", "{ }"},
        {"POST", "/v1/sessions", "u1", NULL},     {"POST", "/v1/sessionsu", "1", "{}"},
        {"POST", "/v1/sessions", "u", "1{}"},     {"POST/", "v1/sessions", "u1", "{}"}};
    char prints[ARRAY_LEN(all)][HTTP_FINGERPRINT_LEN], again[HTTP_FINGERPRINT_LEN];
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        digest(&all[i], prints[i]);
    digest(&all[0], again);
    CU_ASSERT_EQUAL(memcmp(prints[0], again, sizeof(again)), 0);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        for (size_t k = 0; k < i; k++)
            CU_ASSERT_NOT_EQUAL(memcmp(prints[i], prints[k], HTTP_FINGERPRINT_LEN), 0);
}
