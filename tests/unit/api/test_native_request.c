/* SPDX-License-Identifier: MIT */
/* route_run.c: ids, users, keys, conditions; body.c: media types and bodies. */
#include "../../../src/api/native/native.h"

#include <string.h>

#include "../http/rig.h"
#include "parley/base/encode.h"

static struct session_precondition taken; /* by the last request */
static int64_t first_param;

static enum err take(struct api_call *c)
{
    taken = c->precondition;
    first_param = c->params[0];
    return ERR_NONE;
}

/* Reads what a route takes from a request. */
static enum err run_with(struct http_rig *r, unsigned takes, const struct api_param *params)
{
    struct api_service api = {.request_ms = 0};
    const struct api_route route = {{.handler = api_run}, {take, takes, params}};
    const struct http_call call = {.req = &r->req, .route = &route.http, .service = &api};
    taken = (struct session_precondition){.create_only = false};
    return api_run(r->ctx, &call, &r->res);
}

static enum err run(struct http_rig *r, unsigned takes)
{
    return run_with(r, takes, NULL);
}

TEST(ids)
{
    struct request_ctx *ctx = test_ctx();
    struct sv good = SV("a:1"), bad = SV("a/./1");
    struct sv conv = SV("conv_0193f3a07f5c7c2d8a1b0123456789ab"), short_one = SV("conv_0193f3a0");
    CU_ASSERT_EQUAL(api_session_id(ctx, "session_id", &good), ERR_NONE);
    CU_ASSERT_TRUE(sv_eq(good, SV("a:1")));
    /* The form of another interface names the same session; what only resembles it does not. */
    CU_ASSERT_EQUAL(api_session_id(ctx, "session_id", &conv), ERR_NONE);
    CU_ASSERT_TRUE(sv_eq(conv, SV("0193f3a0-7f5c-7c2d-8a1b-0123456789ab")));
    CU_ASSERT_EQUAL(api_session_id(ctx, "session_id", &short_one), ERR_NONE);
    CU_ASSERT_TRUE(sv_eq(short_one, SV("conv_0193f3a0")));
    CU_ASSERT_EQUAL(api_session_id(ctx, "session_id", &bad), ERR_INVALID);
    CU_ASSERT_STRING_EQUAL(ctx->err.field, "session_id");
}

/* tests/system/test_ids.py has more. Fails with the mutants ids-too-long and ids-bytes.
 */
TEST(rule_of_session_ids)
{
    static const char *const good[] = {"telegram:12345",
                                       "whatsapp:+4915112345678",
                                       "user@example.com",
                                       "a/b",
                                       "/",
                                       "//",
                                       "...",
                                       "a/...",
                                       ".a",
                                       "a..",
                                       " ",
                                       "a%2Fb",
                                       "\"\\'",
                                       "\xf0\x9f\x98\x80",
                                       "\xc2\x85",
                                       "~",
                                       "~5",
                                       "~~5~a"};
    static const char *const bad[] = {"",     ".",     "..",          "a/../b", "a/./b",
                                      "../a", "a/..",  "a\n",         "\0015",  "\x7f",
                                      "\xff", "a\xc3", "\xed\xa0\x80"};
    char longest[SESSION_ID_MAX + 1];
    memset(longest, 'a', sizeof(longest));
    CU_ASSERT_TRUE(id_valid((struct sv){longest, SESSION_ID_MAX}));
    CU_ASSERT_FALSE(id_valid((struct sv){longest, SESSION_ID_MAX + 1}));
    CU_ASSERT_FALSE(id_valid(SV_NONE));
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        CU_ASSERT_TRUE(id_valid(sv_from(good[i])));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CU_ASSERT_FALSE(id_valid(sv_from(bad[i])));
    for (int c = 0; c < 0x80; c++) {
        const char id[] = {'x', (char)c};
        CU_ASSERT_EQUAL(id_valid((struct sv){id, 2}), c >= 0x20 && c != 0x7f);
    }
}

/* Fails if UTF-8 is not asked for: tried. */
TEST(users)
{
    char longest[257];
    memset(longest, 'u', sizeof(longest));
    const struct {
        struct sv user;
        bool good;
    } cases[] = {{SV("u1"), true},
                 {SV("J\xc3\xbcrgen K."), true},
                 {{longest, 256}, true},
                 {{longest, 257}, false},
                 {SV(""), false},
                 {SV("a\tb"), false},
                 {SV("\xff"), false},
                 {SV("a\xc3"), false},
                 {SV("\xed\xa0\x80"), false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_rig *r = http_rig("GET", "/v1/sessions");
        http_rig_send(r, "x-parley-user", cases[i].user);
        CU_ASSERT_EQUAL(run(r, API_USER_HEADER), cases[i].good ? ERR_NONE : ERR_INVALID);
        CU_ASSERT_STRING_EQUAL(r->ctx->err.field, cases[i].good ? "" : "X-Parley-User");
    }
    struct http_rig *r = http_rig("GET", "/v1/sessions");
    CU_ASSERT_EQUAL(run(r, API_USER_HEADER), ERR_NONE);
    CU_ASSERT_PTR_NULL(taken.user.p);
}

/* The form of RFC 8187, and what only resembles it. Fails if a user may have blanks at the ends,
 * which no body may: tried. */
TEST(encoded_users)
{
    static const struct {
        const char *sent, *user; /* NULL: refused */
    } cases[] = {{"UTF-8''%E6%9D%8E", "\xe6\x9d\x8e"},
                 {"utf-8'zh-Hans'%e6%9d%8e", "\xe6\x9d\x8e"},
                 {"UTF-8''ann", "ann"},
                 {"UTF-8''O'Brien(%2C%20jr.)", "O'Brien(, jr.)"},
                 {"UTF-8''%25+%7E", "%+~"},
                 {"UTF-8'ann", "UTF-8'ann"},
                 {"UTF-16''%41", "UTF-16''%41"},
                 {"O'Brien's", "O'Brien's"},
                 {"100%", "100%"},
                 {"ann,bob", "ann,bob"},
                 {"UTF-8''", NULL},
                 {"UTF-8''%", NULL},
                 {"UTF-8''%4", NULL},
                 {"UTF-8''%zz", NULL},
                 {"UTF-8''%FF", NULL},
                 {"UTF-8''%0A", NULL},
                 {"UTF-8''%00", NULL},
                 {"UTF-8''..%2Flivez", NULL},
                 {"UTF-8''%20ann", NULL},
                 {"UTF-8''ann%20", NULL},
                 {"UTF-8'' ann", NULL},
                 {"ann, bob", NULL},
                 {"ann, ", NULL},
                 {"a,b, c", NULL},
                 {"UTF-8''a, UTF-8''b", NULL}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_rig *r = http_rig("POST", "/v1/sessions");
        http_rig_send(r, "x-parley-user", sv_from(cases[i].sent));
        CU_ASSERT_EQUAL(run(r, API_USER_HEADER), cases[i].user ? ERR_NONE : ERR_INVALID);
        CU_ASSERT_STRING_EQUAL(r->ctx->err.field, cases[i].user ? "" : "X-Parley-User");
        CU_ASSERT_EQUAL(r->ctx->err.slug && strcmp(r->ctx->err.slug, "repeated_header") == 0,
                        strstr(cases[i].sent, ", ") != NULL);
        if (cases[i].user)
            CU_ASSERT_TRUE(sv_eq(taken.user, sv_from(cases[i].user)));
    }
}

/* A key's second request may name its user in the other form. Fails if the header's text is what
 * the fingerprint has: tried. */
TEST(one_user_in_two_forms)
{
    static const char *const forms[] = {"ann", "UTF-8''%61nn"};
    char print[2][32];
    for (size_t i = 0; i < 2; i++) {
        struct http_rig *r = http_rig("POST", "/v1/sessions");
        http_rig_send(r, "x-parley-user", sv_from(forms[i]));
        http_rig_send(r, "idempotency-key", SV("k"));
        CU_ASSERT_EQUAL(run(r, API_PRECONDITIONS), ERR_NONE);
        memcpy(print[i], taken.fingerprint.p, sizeof(print[i]));
    }
    CU_ASSERT_EQUAL(memcmp(print[0], print[1], sizeof(print[0])), 0);
}

struct asked {
    const char *method, *target, *user, *body;
};

static void digest(const struct asked *a, char out[SHA256_LEN])
{
    struct http_rig *r = http_rig(a->method, a->target);
    http_rig_send(r, "idempotency-key", SV("k"));
    if (a->user)
        http_rig_send(r, "x-parley-user", sv_from(a->user));
    r->req.body = sv_from(a->body);
    CU_ASSERT_EQUAL(run(r, API_PRECONDITIONS), ERR_NONE);
    CU_ASSERT_EQUAL(taken.fingerprint.n, SHA256_LEN);
    memset(out, 0, SHA256_LEN);
    if (taken.fingerprint.n == SHA256_LEN)
        memcpy(out, taken.fingerprint.p, SHA256_LEN);
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
    char prints[ARRAY_LEN(all)][SHA256_LEN], again[SHA256_LEN];
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        digest(&all[i], prints[i]);
    digest(&all[0], again);
    CU_ASSERT_EQUAL(memcmp(prints[0], again, sizeof(again)), 0);
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        for (size_t k = 0; k < i; k++)
            CU_ASSERT_NOT_EQUAL(memcmp(prints[i], prints[k], SHA256_LEN), 0);
}

/* An empty value may come from a variable that is not set: it is no word. */
TEST(booleans)
{
    static const struct {
        const char *target;
        enum err err;
        int64_t value;
    } cases[] = {{"/m", ERR_NONE, 0},
                 {"/m?create=true", ERR_NONE, 1},
                 {"/m?create=1", ERR_NONE, 1},
                 {"/m?create=false", ERR_NONE, 0},
                 {"/m?create=0", ERR_NONE, 0},
                 {"/m?create", ERR_INVALID, -1},
                 {"/m?create=", ERR_INVALID, -1},
                 {"/m?create=2", ERR_INVALID, -1},
                 {"/m?create=True", ERR_INVALID, -1},
                 {"/m?create=01", ERR_INVALID, -1}};
    static const struct api_param create[] = {{.name = "create", .choices = {"false", "true"}},
                                              {.name = NULL}};
    static const struct api_param words[] = {{.name = "order", .choices = {"desc", "asc"}},
                                             {.name = NULL}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_rig *r = http_rig("POST", cases[i].target);
        first_param = -1;
        CU_ASSERT_EQUAL(http_target_parse(r->ctx, &r->req), ERR_NONE);
        CU_ASSERT_EQUAL(run_with(r, 0, create), cases[i].err);
        CU_ASSERT_EQUAL(first_param, cases[i].value);
    }
    struct http_rig *r = http_rig("GET", "/m?order=1");
    CU_ASSERT_EQUAL(http_target_parse(r->ctx, &r->req), ERR_NONE);
    CU_ASSERT_EQUAL(run_with(r, 0, words), ERR_INVALID);
}

TEST(keys)
{
    char longest[SESSION_KEY_MAX + 1];
    memset(longest, 'k', sizeof(longest));
    const struct {
        struct sv key;
        bool good;
    } cases[] = {{SV("k-1"), true},       {{longest, SESSION_KEY_MAX}, true},
                 {SV("\"a~!\""), true},   {{longest, SESSION_KEY_MAX + 1}, false},
                 {SV(""), false},         {SV("a b"), false},
                 {SV("\xc3\xa9"), false}, {SV("a\x7f"), false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_rig *r = http_rig("POST", "/v1/sessions");
        http_rig_send(r, "idempotency-key", cases[i].key);
        CU_ASSERT_EQUAL(run(r, API_PRECONDITIONS), cases[i].good ? ERR_NONE : ERR_INVALID);
        CU_ASSERT_STRING_EQUAL(r->ctx->err.field, cases[i].good ? "" : "Idempotency-Key");
        if (cases[i].good)
            CU_ASSERT_TRUE(sv_eq(taken.key, cases[i].key) && taken.fingerprint.n == 32);
    }
}

/* Fails if a tag is dropped for its W/, or if * is read as "no condition": tried. */
TEST(conditions)
{
    static const struct {
        const char *method, *name, *value, *field;
        bool create_only, tags, must_exist;
        size_t n;
    } cases[] = {{"PATCH", "if-match", "\"1.v1\", \"1.s2\"", "", false, true, true, 2},
                 {"PATCH", "if-match", "W/\"1.v1\"", "", false, true, true, 1},
                 {"PATCH", "if-match", "*", "", false, false, true, 0},
                 {"PATCH", "if-match", "1.v1", "If-Match", false, false, false, 0},
                 {"PATCH", "if-none-match", "*", "If-None-Match", false, false, false, 0},
                 {"PUT", "if-none-match", "*", "", true, false, false, 0},
                 {"PUT", "if-none-match", "\"1.v1\"", "If-None-Match", false, false, false, 0},
                 {"PUT", "if-match", "\"1.v1\"", "If-Match", false, false, false, 0},
                 {"PUT", "if-match", "*", "If-Match", false, false, false, 0}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_rig *r = http_rig(cases[i].method, "/v1/sessions");
        http_rig_send(r, cases[i].name, sv_from(cases[i].value));
        const bool creates = strcmp(cases[i].method, "PUT") == 0;
        enum err e = run(r, API_PRECONDITIONS | (creates ? API_CREATES : 0));
        CU_ASSERT_EQUAL(e, cases[i].field[0] ? ERR_INVALID : ERR_NONE);
        CU_ASSERT_STRING_EQUAL(r->ctx->err.field, cases[i].field);
        if (e == ERR_NONE) {
            CU_ASSERT_EQUAL(taken.create_only, cases[i].create_only);
            CU_ASSERT_EQUAL(taken.must_exist, cases[i].must_exist);
            CU_ASSERT_EQUAL(taken.n_if_match, cases[i].n);
            CU_ASSERT_EQUAL(taken.if_match != NULL, cases[i].tags);
        }
    }
}

TEST(media_types)
{
    static const struct {
        const char *type;
        bool json, patch;
    } cases[] = {{"application/json", true, true},
                 {"Application/JSON; charset=UTF-8", true, true},
                 {"application/json;charset=\"utf-8\"", true, true},
                 {"application/json;", true, true},
                 {"application/merge-patch+json", false, true},
                 {"application/json; charset=utf8", true, true},
                 {"application/json; charset=us-ascii; profile=\"x\"", true, true},
                 {"application/json; profile=x", true, true},
                 {"application/json; charset=latin1", false, false},
                 {"application/json; profile=x; charset=utf-16", false, false},
                 {"application/jsonp", false, false},
                 {"text/json", false, false},
                 {"text/plain", false, false},
                 {"application/x-www-form-urlencoded", false, false},
                 {"", false, false},
                 {NULL, false, false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (int patch = 0; patch < 2; patch++) {
            struct json_doc doc;
            bool good = patch ? cases[i].patch : cases[i].json;
            struct http_rig *r = http_rig("POST", "/v1/sessions");
            http_rig_send(r, "content-type", sv_from(cases[i].type));
            r->req.body = SV("{}");
            CU_ASSERT_EQUAL(
                api_body(r->ctx, &r->req, patch ? API_BODY_PATCH : API_BODY_REQUIRED, &doc),
                good ? ERR_NONE : ERR_MEDIA_TYPE);
            CU_ASSERT_STRING_EQUAL(r->ctx->err.field, good ? "" : "Content-Type");
        }
    }
}

TEST(bodies)
{
    static const struct {
        const char *body;
        enum api_body_kind kind;
        enum err err;
        const char *field;
    } cases[] = {{NULL, API_BODY_REQUIRED, ERR_INVALID, "body"},
                 {"", API_BODY_PATCH, ERR_INVALID, "body"},
                 {NULL, API_BODY_OPTIONAL, ERR_NONE, ""},
                 {"[]", API_BODY_REQUIRED, ERR_INVALID, "body"},
                 {"null", API_BODY_OPTIONAL, ERR_INVALID, "body"},
                 {"\"{}\"", API_BODY_PATCH, ERR_INVALID, "body"},
                 {"{\"a\":{\"b\":1,\"b\":2}}", API_BODY_REQUIRED, ERR_INVALID, "a.b"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct json_doc doc;
        struct http_rig *r = http_rig("POST", "/v1/sessions");
        http_rig_send(r, "content-type", SV("application/json"));
        r->req.body = sv_from(cases[i].body);
        CU_ASSERT_EQUAL(api_body(r->ctx, &r->req, cases[i].kind, &doc), cases[i].err);
        CU_ASSERT_STRING_EQUAL(r->ctx->err.field, cases[i].field);
    }
}
