/* SPDX-License-Identifier: MIT */
/* Keys in a real PostgreSQL: from creating to revoking, what confirms them, and PostgreSQL away. */
#include "../../../src/auth/auth_internal.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../unit/suite.h"
#include "../db/fixture.h"
#include "../session/fixture.h"
#include "parley/base/encode.h"
#include "parley/db/migrate.h"

struct bench {
    struct fixture *w; /* the serving role */
    struct db *owner;  /* the operator's */
    struct auth_shared *shared;
    struct db_hosts_shared *hosts; /* NULL: the refresher sends queries of its own */
    struct db_hosts *poller;
    struct auth *auth;
    struct fixture *c; /* its requests */
    char secret[AUTH_SECRET_MAX + 1];
};

/* As a worker opens it. */
static bool open_auth(struct bench *b, int64_t stale_s, int64_t sessions)
{
    const struct auth_settings set = {true, stale_s, 0, sessions, b->shared, b->hosts, 0};
    b->auth = auth_open(&set, b->w->db);
    for (int i = 0; i < 2000 && !auth_is_ready(b->auth) && db_is_up(b->w->db); i++)
        service_sleep_ms(5);
    return auth_is_ready(b->auth);
}

static void end(struct bench *b)
{
    db_hosts_close(b->poller);
    auth_close(b->auth);
    db_close(b->owner);
    fixture_close(b->c);
    fixture_close(b->w);
    free(b);
}

/* The result of a request with this key; b->c->ctx has the rest. */
static enum err check(struct bench *b, const char *key, int64_t ms)
{
    const struct http_pair header = {SV("x-api-key"), sv_from(key)};
    const struct http_request req = {
        .headers = &header, .n_headers = 1, .remote_addr = SV("192.0.2.1")};
    b->c->ms = ms;
    return auth_check(b->auth, fixture_request(b->c, ""), &req);
}

static bool is_refused(struct bench *b, const char *key)
{
    return check(b, key, 5000) == ERR_UNAUTHENTICATED && b->c->ctx.tenant.n == 0 &&
           strcmp(b->c->ctx.err.slug, "invalid_api_key") == 0;
}

/* The result lives in the fixture's arena. */
static struct auth_key create_key(struct bench *b, const char *tenant, int64_t lives_s,
                                  char secret[AUTH_SECRET_MAX + 1])
{
    struct auth_key key = {.tenant = sv_from(tenant), .name = SV("n\xc3\xa4me")};
    OK(auth_key_create(b->owner, fixture_request(b->w, ""), &key, lives_s, secret));
    return key;
}

static void wait_until_it_holds(void)
{
    service_sleep_ms(AUTH_HOLDS_MS);
}

/* polled: with polls, as in a worker. tenant: gets a key, which auth knows on return; NULL: none.
 */
static struct bench *begin_with(bool polled, const char *tenant)
{
    struct bench *b = calloc(1, sizeof(*b));
    CU_ASSERT_PTR_NOT_NULL_FATAL(b);
    b->w = fixture_open(false);
    struct db_settings owner = fx_settings(b->w->owner_url);
    owner.owner = true;
    owner.pool_max = 1;
    owner.schema_version = db_schema_version();
    b->owner = db_open(&owner, NULL);
    b->shared = auth_shared_map();
    b->c = fixture_share(b->w);
    if (polled) {
        b->hosts = db_hosts_shared_map(false, "test");
        const struct db_hosts_settings set = {.shared = b->hosts, .workers = 1};
        b->poller = db_hosts_open(&set, b->w->db);
    }
    CU_ASSERT_TRUE_FATAL(open_auth(b, 300, 0));
    if (tenant) {
        (void)create_key(b, tenant, 0, b->secret);
        EVENTUALLY(check(b, b->secret, 5000) == ERR_NONE);
    }
    return b;
}

static struct bench *begin(const char *tenant)
{
    return begin_with(true, tenant);
}

/* Fails if a revoked or an expired key is loaded, if expiry is looked at when loading alone, or if
 * the hash is not compared: tried. */
TEST(life)
{
    char first[AUTH_SECRET_MAX + 1], second[AUTH_SECRET_MAX + 1], wrong[AUTH_SECRET_MAX + 1];
    struct auth_key *list, key;
    size_t n, seen = 0;
    struct bench *b = begin(NULL);
    struct auth_key brief = create_key(b, "life-2", 2, second);
    CU_ASSERT_EQUAL(brief.expires_at - brief.created_at, 2000000);
    key = create_key(b, "life-1", 0, first);
    CU_ASSERT_TRUE(key.expires_at == 0 && key.revoked_at == 0 &&
                   sv_eq(key.name, SV("n\xc3\xa4me")));
    wait_until_it_holds();
    OK(check(b, first, 5000));
    CU_ASSERT_TRUE(sv_eq(b->c->ctx.tenant, SV("life-1")) && !b->c->ctx.caches_only);
    OK(check(b, second, 5000));
    CU_ASSERT_TRUE(sv_eq(b->c->ctx.tenant, SV("life-2")));
    memcpy(wrong, first, sizeof(wrong));
    wrong[AUTH_KEY_LEN - 2] = wrong[AUTH_KEY_LEN - 2] == 'A' ? 'B' : 'A';
    CU_ASSERT_TRUE(is_refused(b, wrong));
    CU_ASSERT_TRUE(is_refused(b, "key"));
    CU_ASSERT_EQUAL(check(b, NULL, 5000), ERR_UNAUTHENTICATED);
    service_sleep_ms(1100);
    CU_ASSERT_TRUE(is_refused(b, second));
    struct sv id;
    CU_ASSERT_TRUE(auth_key_id(sv_from(first), &id));
    OK(auth_key_revoke(b->owner, fixture_request(b->w, ""), id));
    wait_until_it_holds();
    CU_ASSERT_TRUE(is_refused(b, first));
    OK(auth_key_revoke(b->owner, fixture_request(b->w, ""), id));
    CU_ASSERT_EQUAL(auth_key_revoke(b->owner, fixture_request(b->w, ""), SV("00000000000000ff")),
                    ERR_NOT_FOUND);
    OK(auth_key_list(b->owner, fixture_request(b->w, ""), &list, &n));
    for (size_t i = 0; i < n; i++)
        seen += sv_eq(list[i].id, id) && list[i].revoked_at > 0;
    CU_ASSERT_EQUAL(seen, 1);
    end(b);
}

/* PostgreSQL does not hold the key itself, and the serving role may only read what it holds. Fails
 * if the key is stored, or if the role is granted more: tried. */
TEST(stored)
{
    static const char *const changes[] = {
        "DELETE FROM api_keys", "UPDATE api_keys SET tenant = 'x'",
        "UPDATE api_keys SET revoked_at = NULL", "INSERT INTO tenants (tenant) VALUES ('x')",
        "UPDATE auth_state SET version = 0"};
    struct bench *b = begin("stored");
    const char *part = b->secret + AUTH_KEY_LEN - KEY_SECRET_LEN;
    CU_ASSERT_EQUAL(fixture_rows("api_keys k WHERE k::text LIKE '%%%s%%'", part), 0);
    CU_ASSERT_EQUAL(fixture_rows("api_keys WHERE tenant = 'stored' AND hash = sha256('%s')", part),
                    1);
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        const struct db_stmt stmt = {NULL, changes[i]};
        struct db_failure failure;
        CU_ASSERT_EQUAL(
            db_query(b->w->db, fixture_request(b->w, ""), DB_WRITE, &stmt, NULL, 0, NULL, &failure),
            ERR_INTERNAL);
        CU_ASSERT_STRING_EQUAL(failure.sqlstate, "42501");
    }
    end(b);
}

/* A change with psql counts, too. Fails without the triggers: tried. */
TEST(by_hand)
{
    struct bench *b = begin("by-hand");
    CU_ASSERT_EQUAL(b->c->ctx.sessions_max, 0);
    fixture_exec("INSERT INTO tenants VALUES ('by-hand', NULL, 5)");
    wait_until_it_holds();
    OK(check(b, b->secret, 5000));
    CU_ASSERT_EQUAL(b->c->ctx.sessions_max, 5);
    fixture_exec("DELETE FROM api_keys WHERE tenant = 'by-hand'");
    wait_until_it_holds();
    CU_ASSERT_TRUE(is_refused(b, b->secret));
    end(b);
}

/* ---- when a key was used ---- */

/* Whether the SQL was done. */
static void *sql_main(void *sql)
{
    return fixture_sql(sql, NULL, 0) ? sql : NULL;
}

static int64_t used_now(const char *tenant)
{
    return fixture_rows("api_keys WHERE tenant = '%s' AND last_used_at = date_trunc('hour', now())",
                        tenant);
}

/* Of a key that was accepted the hour is written: once, without another load of the keys, and also
 * if the keys are loaded in between. While the row is locked, the keys stay confirmed. Fails if a
 * wrong secret counts, if each poll writes, or if a load loses what is to be written: tried. */
TEST(last_use)
{
    char wrong[AUTH_SECRET_MAX + 1], other[AUTH_SECRET_MAX + 1];
    struct bench *b = begin(NULL);
    (void)create_key(b, "use-1", 0, b->secret);
    (void)create_key(b, "use-2", 0, other);
    wait_until_it_holds();
    memcpy(wrong, other, sizeof(wrong));
    wrong[AUTH_KEY_LEN - 2] = wrong[AUTH_KEY_LEN - 2] == 'A' ? 'B' : 'A';
    fixture_exec("CREATE TABLE version_before AS SELECT version FROM auth_state");
    CU_ASSERT_TRUE(is_refused(b, wrong));
    OK(check(b, b->secret, 5000));
    EVENTUALLY(used_now("use-1") == 1);
    CU_ASSERT_EQUAL(fixture_rows("api_keys WHERE tenant = 'use-2' AND last_used_at IS NULL"), 1);
    CU_ASSERT_EQUAL(fixture_rows("version_before NATURAL JOIN auth_state"), 1);
    service_sleep_ms(500); /* the next poll finds that it is written */
    fixture_exec("UPDATE api_keys SET last_used_at = NULL WHERE tenant = 'use-1'");
    OK(check(b, b->secret, 5000));
    service_sleep_ms(600);
    CU_ASSERT_EQUAL(used_now("use-1"), 0);
    /* Locked, while the keys are loaded again. */
    pthread_t thread;
    void *done;
    static char lock[] = "BEGIN; SELECT FROM api_keys WHERE tenant = 'use-2' FOR UPDATE;"
                         " SELECT pg_sleep(3); COMMIT";
    CU_ASSERT_EQUAL(pthread_create(&thread, NULL, sql_main, lock), 0);
    while (fixture_rows("pg_locks WHERE mode = 'RowShareLock' AND granted"
                        " AND relation = 'api_keys'::regclass") == 0)
        service_sleep_ms(2);
    OK(check(b, other, 5000));
    (void)create_key(b, "use-3", 0, wrong);
    for (int i = 0; i < 20; i++) {
        service_sleep_ms(100);
        OK(check(b, b->secret, 50));
    }
    CU_ASSERT_EQUAL(used_now("use-2"), 0);
    pthread_join(thread, &done);
    EVENTUALLY(used_now("use-2") == 1);
    fixture_exec("DROP TABLE version_before");
    end(b);
}

/* ---- bounds ---- */

static void bound(struct bench *b, int64_t requests, int64_t sessions)
{
    struct auth_tenant t = {.tenant = SV("bounds"), .requests = requests, .sessions = sessions};
    OK(auth_tenant_set(b->owner, fixture_request(b->w, ""), &t));
    CU_ASSERT_EQUAL(t.keys, 1);
    wait_until_it_holds();
}

static int passed(struct bench *b, const char *key, int n)
{
    int good = 0;
    for (int i = 0; i < n; i++) {
        enum err e = check(b, key, 5000);
        good += e == ERR_NONE;
        if (e != ERR_NONE) {
            CU_ASSERT_EQUAL(e, ERR_LIMITED);
            CU_ASSERT_STRING_EQUAL(b->c->ctx.err.slug, "tenant_requests");
            CU_ASSERT_EQUAL(b->c->ctx.err.retry_after_s, 1);
            CU_ASSERT_TRUE(sv_eq(b->c->ctx.tenant, SV("bounds"))); /* for its log line */
        }
    }
    return good;
}

/* A tenant's own bound overrides that of the settings, also if it is "none". Fails if NULL and 0
 * are the same, or if a bound that is kept changes: tried. */
TEST(bounds)
{
    struct auth_tenant *list;
    size_t n;
    struct bench *b = begin("bounds");
    auth_close(b->auth);
    CU_ASSERT_TRUE(open_auth(b, 300, 11));
    OK(check(b, b->secret, 5000));
    CU_ASSERT_EQUAL(b->c->ctx.sessions_max, 11);
    bound(b, AUTH_BOUND_KEPT, 3);
    CU_ASSERT_EQUAL(passed(b, b->secret, 50), 50);
    CU_ASSERT_EQUAL(b->c->ctx.sessions_max, 3);
    bound(b, 1, AUTH_BOUND_KEPT);
    const int64_t began = clock_mono_us();
    const int good = passed(b, b->secret, 50);
    CU_ASSERT_TRUE(good >= 1 && good <= 1 + (clock_mono_us() - began) / 1000000);
    CU_ASSERT_EQUAL(b->c->ctx.sessions_max, 3);
    bound(b, AUTH_BOUND_NONE, AUTH_BOUND_NONE);
    CU_ASSERT_EQUAL(passed(b, b->secret, 50), 50);
    CU_ASSERT_EQUAL(b->c->ctx.sessions_max, 0);
    bound(b, AUTH_BOUND_KEPT, AUTH_BOUND_DEFAULT);
    OK(check(b, b->secret, 5000));
    CU_ASSERT_EQUAL(b->c->ctx.sessions_max, 11);
    OK(auth_tenant_list(b->owner, fixture_request(b->w, ""), false, &list, &n));
    size_t seen = 0;
    for (size_t i = 0; i < n; i++)
        seen += sv_eq(list[i].tenant, SV("bounds")) && list[i].keys == 1 &&
                list[i].requests == AUTH_BOUND_NONE && list[i].sessions == AUTH_BOUND_DEFAULT;
    CU_ASSERT_EQUAL(seen, 1);
    end(b);
}

/* ---- what confirms a key ---- */

/* PostgreSQL does not answer for longer than an answer confirms the keys. First the key is valid;
 * then requests wait and are neither accepted nor refused; once the commit is known they are
 * refused. Fails if unconfirmed keys decide, or if a poll confirms them for longer: tried. */
static void check_confirmed(bool polls)
{
    pthread_t thread;
    struct bench *b = begin_with(polls, "confirmed");
    /* Revokes the key in a transaction that keeps everybody from the version for a while. */
    static char revoke[] = "BEGIN; LOCK TABLE auth_state IN ACCESS EXCLUSIVE MODE;"
                           " UPDATE api_keys SET revoked_at = now() WHERE tenant = 'confirmed';"
                           " SELECT pg_sleep(3); COMMIT";
    void *done;
    CU_ASSERT_EQUAL(pthread_create(&thread, NULL, sql_main, revoke), 0);
    while (fixture_rows("pg_locks WHERE mode = 'AccessExclusiveLock' AND granted"
                        " AND relation = 'auth_state'::regclass") == 0)
        service_sleep_ms(2);
    const int64_t held = clock_mono_us();
    int64_t last_good = 0;
    int waited = 0;
    while (clock_mono_us() - held < 2500000) {
        const int64_t asked = clock_mono_us();
        const enum err e = check(b, b->secret, 50);
        CU_ASSERT_TRUE(e == ERR_NONE || e == ERR_UNAVAILABLE);
        if (e == ERR_NONE)
            last_good = asked;
        waited += e == ERR_UNAVAILABLE;
    }
    CU_ASSERT_TRUE(last_good > 0 && last_good - held <= AUTH_HOLDS_MS * 1000);
    CU_ASSERT_TRUE(waited > 0);
    /* Waits for the commit, and is not refused for having had to. */
    CU_ASSERT_TRUE(is_refused(b, b->secret));
    pthread_join(thread, &done);
    CU_ASSERT_PTR_NOT_NULL(done);
    end(b);
}

TEST(confirmed)
{
    check_confirmed(true);
    check_confirmed(false);
}

/* An answer is as old as its question. Fails if it confirms from when it comes: tried. */
TEST(slow_answers)
{
    struct bench *b = begin("slow");
    fixture_exec("ALTER TABLE auth_state RENAME TO auth_state_at_once;"
                 "CREATE VIEW auth_state AS SELECT only_row, version FROM"
                 " auth_state_at_once WHERE pg_sleep(0.6)::text IS NOT NULL;"
                 "GRANT SELECT ON auth_state TO parley_app");
    service_sleep_ms(2000);
    OK(check(b, b->secret, 10000));
    for (int round = 0; round < 3; round++) {
        int64_t last_good = 0;
        fixture_exec("UPDATE api_keys SET revoked_at = now() WHERE tenant = 'slow'");
        const int64_t revoked = clock_mono_us();
        for (int64_t at; (at = clock_mono_us()) - revoked < 2500000;)
            if (check(b, b->secret, 20) == ERR_NONE)
                last_good = at;
        CU_ASSERT_TRUE(last_good - revoked <= AUTH_HOLDS_MS * 1000);
        CU_ASSERT_TRUE(is_refused(b, b->secret));
        fixture_exec("UPDATE api_keys SET revoked_at = NULL WHERE tenant = 'slow'");
        while (check(b, b->secret, 10000) != ERR_NONE)
            continue;
        /* Revokes at different times between two questions. */
        service_sleep_ms(230 * round);
    }
    fixture_exec("DROP VIEW auth_state;ALTER TABLE auth_state_at_once RENAME TO auth_state");
    end(b);
}

/* Fails if no key is accepted while PostgreSQL is away, or every one: tried. */
static void check_away(const char *go, const char *come)
{
    char unknown[AUTH_SECRET_MAX + 1];
    const struct auth_key plain = {.signing = false};
    char id[AUTH_ID_LEN];
    unsigned char hash[KEY_HASH_LEN];
    struct bench *b = begin("away");
    key_make(&plain, id, unknown, hash);
    service_control_pg(go);
    EVENTUALLY(!db_is_up(b->w->db));
    service_sleep_ms(AUTH_VALID_US / 1000);
    OK(check(b, b->secret, 5000));
    CU_ASSERT_TRUE(b->c->ctx.caches_only && sv_eq(b->c->ctx.tenant, SV("away")));
    /* It may have been made since. */
    CU_ASSERT_EQUAL(check(b, unknown, 5000), ERR_UNAVAILABLE);
    CU_ASSERT_EQUAL(check(b, NULL, 5000), ERR_UNAUTHENTICATED);
    b->auth->set.stale_s = 1;
    service_sleep_ms(1100);
    CU_ASSERT_EQUAL(check(b, b->secret, 5000), ERR_UNAVAILABLE);
    b->auth->set.stale_s = 0;
    CU_ASSERT_EQUAL(check(b, b->secret, 5000), ERR_UNAVAILABLE);
    service_control_pg(come);
    EVENTUALLY(db_is_up(b->w->db));
    OK(check(b, b->secret, 10000));
    CU_ASSERT_FALSE(b->c->ctx.caches_only);
    CU_ASSERT_TRUE(is_refused(b, unknown));
    end(b);
}

TEST(away)
{
    check_away("stop", "start");
    check_away("pause", "resume");
}

/* Before any key was loaded, nobody is let in. Then PostgreSQL comes back. */
TEST(never_loaded)
{
    struct bench *b = begin("never");
    service_control_pg("stop");
    EVENTUALLY(!db_is_up(b->w->db));
    auth_close(b->auth);
    CU_ASSERT_FALSE(open_auth(b, 300, 0));
    CU_ASSERT_EQUAL(check(b, b->secret, 5000), ERR_UNAVAILABLE);
    service_control_pg("start");
    EVENTUALLY(db_is_up(b->w->db));
    OK(check(b, b->secret, 10000));
    CU_ASSERT_TRUE(auth_is_ready(b->auth));
    end(b);
}

/* After an error of PostgreSQL nobody waits for another answer. Fails if it counts as late: tried.
 */
TEST(forbidden)
{
    struct bench *b = begin("forbidden");
    fixture_exec("REVOKE SELECT ON auth_state FROM parley_app");
    service_sleep_ms(1500);
    const int64_t began = clock_mono_us();
    CU_ASSERT_EQUAL(check(b, b->secret, 60000), ERR_UNAVAILABLE);
    CU_ASSERT_TRUE(clock_mono_us() - began < 30000000);
    fixture_exec("GRANT SELECT ON auth_state TO parley_app");
    service_sleep_ms(500);
    OK(check(b, b->secret, 10000));
    end(b);
}

/* ---- restricted keys and tokens ---- */

/* A token of ann's that ends in 10 minutes, signed with the private key in pem. kid: 16 digits. */
static struct sv sign(struct bench *b, const char *pem, struct sv kid)
{
    unsigned char der[48], public_key[32], secret_key[64], signature[64];
    char line[65] = "", header[128], claims[128], h[256], p[256], s[128];
    size_t n;
    CU_ASSERT_EQUAL(sscanf(pem, "-----BEGIN PRIVATE KEY-----\n%64s", line), 1);
    CU_ASSERT_EQUAL(sodium_base642bin(der, sizeof(der), line, 64, NULL, &n, NULL,
                                      sodium_base64_VARIANT_ORIGINAL),
                    0);
    crypto_sign_seed_keypair(public_key, secret_key, der + 16);
    snprintf(header, sizeof(header), "{\"alg\":\"EdDSA\",\"kid\":\"%.*s\"}", SV_ARG(kid));
    snprintf(claims, sizeof(claims), "{\"sub\":\"ann\",\"sid\":\"s\",\"exp\":%lld}",
             (long long)(clock_wall_us() / 1000000 + 600));
    base64url_write(header, strlen(header), h);
    base64url_write(claims, strlen(claims), p);
    const struct sv text = arena_printf(b->w->ctx.arena, "%s.%s", h, p);
    crypto_sign_detached(signature, NULL, (const unsigned char *)text.p, text.n, secret_key);
    base64url_write(signature, sizeof(signature), s);
    return arena_printf(b->w->ctx.arena, "%s.%s", text.p, s);
}

/* Fails if the signature is not checked, or if a bearer key signs or a signing key is a bearer:
 * tried.
 */
TEST(tokens)
{
    char pem[AUTH_SECRET_MAX + 1], other[AUTH_SECRET_MAX + 1], text[1024];
    struct bench *b = begin("token-1");
    struct auth_key key = {.tenant = SV("token-1"), .name = SV(""), .signing = true};
    struct auth_key foreign = {.tenant = SV("token-2"), .name = SV(""), .signing = true};
    OK(auth_key_create(b->owner, fixture_request(b->w, ""), &key, 0, pem));
    const struct sv kid = {memcpy(text, key.id.p, AUTH_ID_LEN), AUTH_ID_LEN};
    OK(auth_key_create(b->owner, fixture_request(b->w, ""), &foreign, 0, other));
    wait_until_it_holds();
    const struct sv good = sign(b, pem, kid);
    OK(check(b, good.p, 5000));
    CU_ASSERT_TRUE(sv_eq(b->c->ctx.tenant, SV("token-1")) && !b->c->ctx.read_only);
    CU_ASSERT_TRUE(sv_eq(b->c->ctx.only_user, SV("ann")));
    CU_ASSERT_TRUE(sv_eq(b->c->ctx.only_session, SV("s")));
    CU_ASSERT_TRUE(is_refused(b, sign(b, other, kid).p));
    CU_ASSERT_TRUE(is_refused(b, sign(b, pem, foreign.id).p));
    CU_ASSERT_TRUE(is_refused(b, sign(b, pem, (struct sv){b->secret + 7, AUTH_ID_LEN}).p));
    for (size_t i = 0; i < good.n; i += 7) {
        char *changed = memcpy(arena_alloc(b->w->ctx.arena, good.n + 1), good.p, good.n + 1);
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        CU_ASSERT_TRUE(is_refused(b, changed));
    }
    OK(auth_key_revoke(b->owner, fixture_request(b->w, ""), (struct sv){text, AUTH_ID_LEN}));
    wait_until_it_holds();
    CU_ASSERT_TRUE(is_refused(b, sign(b, pem, kid).p));
    end(b);
}

/* Fails if the snapshot does not have what the row says, or if the hash leaves it out: tried. */
TEST(restricted)
{
    static const struct {
        bool read_only;
        const char *user;
    } keys[] = {{true, NULL}, {false, "ann"}, {true, "zo\xc3\xab b"}};
    char secret[ARRAY_LEN(keys)][AUTH_SECRET_MAX + 1];
    struct bench *b = begin("restricted");
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct auth_key key = {.tenant = SV("restricted"),
                               .name = SV(""),
                               .user = sv_from(keys[i].user),
                               .read_only = keys[i].read_only};
        OK(auth_key_create(b->owner, fixture_request(b->w, ""), &key, 0, secret[i]));
        CU_ASSERT_TRUE(key.read_only == keys[i].read_only && !key.signing &&
                       sv_eq(key.user, sv_from(keys[i].user ? keys[i].user : "")));
    }
    wait_until_it_holds();
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        OK(check(b, secret[i], 5000));
        CU_ASSERT_TRUE(sv_eq(b->c->ctx.tenant, SV("restricted")));
        CU_ASSERT_EQUAL(b->c->ctx.read_only, keys[i].read_only);
        CU_ASSERT_TRUE(sv_eq(b->c->ctx.only_user, sv_from(keys[i].user)));
        CU_ASSERT_EQUAL(b->c->ctx.only_user.p != NULL, keys[i].user != NULL);
    }
    OK(check(b, b->secret, 5000));
    CU_ASSERT_TRUE(!b->c->ctx.read_only && !b->c->ctx.only_user.p && !b->c->ctx.only_session.p);
    fixture_exec("UPDATE api_keys SET user_id = 'bob' WHERE user_id IS NOT NULL");
    wait_until_it_holds();
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        CU_ASSERT_EQUAL(is_refused(b, secret[i]), keys[i].user != NULL);
    fixture_exec("UPDATE api_keys SET scope = 'write', user_id = NULL WHERE tenant = 'restricted'");
    wait_until_it_holds();
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        CU_ASSERT_TRUE(is_refused(b, secret[i]));
    OK(check(b, b->secret, 5000));
    end(b);
}
