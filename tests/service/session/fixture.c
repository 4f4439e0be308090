/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <CUnit/CUnit.h>
#include <libpq-fe.h>

#include "../db/fixture.h"
#include "parley/db/migrate.h"

const struct session_precondition nobody = {.create_only = false};

bool fixture_sql(const char *sql, char *out, size_t n)
{
    char url[FX_URL];
    fx_url_for(NULL, "parley_sessions", url);
    return fx_sql(url, sql, out, n);
}

static void print_fault(void *arg, bool fault, const char *line)
{
    (void)arg;
    if (fault)
        fprintf(stderr, "migrate: %s\n", line);
}

/* Makes, once a run, an owner that is no superuser, the serving login, the database and the schema.
 */
static bool make_database(const char *dbname)
{
    static char made[4][64]; /* names of those that this process has made */
    size_t i = 0;
    while (i < ARRAY_LEN(made) - 1 && made[i][0] && strcmp(made[i], dbname) != 0)
        i++;
    if (made[i][0])
        return strcmp(made[i], dbname) == 0;
    char owner[FX_URL], serves[FX_URL];
    const char *super = getenv("TEST_DATABASE_URL");
    fx_url_for("parley_owner", dbname, owner);
    fx_url_for("parley_app", dbname, serves);
    const char *roles = "CREATE ROLE parley_owner LOGIN; CREATE ROLE parley_app LOGIN";
    if ((i == 0 && !fx_sql(super, roles, NULL, 0)) ||
        !fx_sql(super, text_of("CREATE DATABASE %s OWNER parley_owner", dbname), NULL, 0) ||
        db_migrate(owner, serves, db_migration_table, db_migration_count, -1, print_fault, NULL) !=
            ERR_NONE)
        return false;
    snprintf(made[i], sizeof(made[i]), "%s", dbname);
    return true;
}

void fixture_migrate(const struct fixture *w, int target)
{
    OK(db_migrate(w->owner_url, w->url, db_migration_table, db_migration_count, target, print_fault,
                  NULL));
}

struct fixture *fixture_open(bool redis)
{
    return fixture_open_in("parley_sessions", redis ? getenv("TEST_REDIS_URL") : NULL);
}

struct cache *fixture_cache(struct cache_shared *shared, const char *redis_url)
{
    const struct cache_settings settings = {.shared = shared,
                                            .redis_url = redis_url ? redis_url : "",
                                            .redis_timeout_ms = 1000,
                                            .quarantine_ms = 15000,
                                            .value_seconds = 600,
                                            .value_max = 64 << 10,
                                            .layout = {1, 2}};
    return cache_open(&settings, NULL);
}

struct fixture *fixture_open_in(const char *dbname, const char *redis_url)
{
    struct fixture *w = calloc(1, sizeof(*w));
    CU_ASSERT_TRUE_FATAL(w && make_database(dbname));
    const struct sessions_settings settings = {.ttl_seconds = 604800,
                                               .state_bytes = 1 << 20,
                                               .user_state_bytes = 1 << 18,
                                               .page_bytes = 8 << 20,
                                               .statement_ms = 5000,
                                               .cache_seconds = 600};
    fx_url_for("parley_app", dbname, w->url);
    fx_url_for("parley_owner", dbname, w->owner_url);
    struct db_settings db = fx_settings(w->url);
    db.app_name = "test";
    db.acquire_ms = 1000;
    db.connect_ms = 2000;
    db.schema_version = db_schema_version();
    w->db = db_open(&db, NULL);
    w->shared = redis_url ? cache_shared_map(4 << 20) : NULL;
    w->cache = fixture_cache(w->shared, redis_url);
    CU_ASSERT_TRUE_FATAL(w->cache && !w->shared == !redis_url);
    w->sessions = sessions_open(&settings, w->db, w->cache, NULL);
    w->ms = 10000;
    w->arena = arena_create(64 << 20);
    CU_ASSERT_TRUE_FATAL(w->db && w->sessions && w->arena);
    return w;
}

struct fixture *fixture_share(const struct fixture *w)
{
    struct fixture *share = malloc(sizeof(*share));
    CU_ASSERT_PTR_NOT_NULL_FATAL(share);
    *share = *w;
    share->arena = arena_create(64 << 20);
    share->is_share = true;
    return share;
}

void fixture_close(struct fixture *w)
{
    arena_destroy(w->arena);
    if (!w->is_share) {
        sessions_close(w->sessions);
        cache_close(w->cache);
        db_close(w->db);
    }
    free(w);
}

bool fixture_was_from(const struct fixture *w, const char *source)
{
    return sv_eq(sv_from(w->ctx.trace.source), sv_from(source));
}

struct request_ctx *fixture_request(struct fixture *w, const char *tenant)
{
    arena_reset(w->arena);
    ctx_init(&w->ctx, w->arena, deadline_in_ms(w->ms), sv_from(tenant), SV("test"));
    w->ctx.sessions_max = w->sessions_max;
    return &w->ctx;
}

/* A fresh request that returns a session, a receipt, or both. */
static struct request_ctx *begin(struct fixture *w, const char *tenant, bool session, bool receipt)
{
    if (session)
        w->s = (struct session){.version = 0};
    if (receipt)
        w->r = (struct session_receipt){.version = 0};
    return fixture_request(w, tenant);
}

enum err fixture_create(struct fixture *w, const char *tenant, const struct session_draft *d,
                        const struct session_precondition *precondition)
{
    return session_create(w->sessions, begin(w, tenant, true, true), d, precondition, &w->s, &w->r);
}

enum err fixture_ensure(struct fixture *w, const char *tenant, const struct session_draft *d,
                        const struct session_precondition *precondition)
{
    return session_get_or_create(w->sessions, begin(w, tenant, true, true), d, precondition, &w->s,
                                 &w->r);
}

void fixture_make(struct fixture *w, const char *tenant, const char *id, const char *user, size_t n,
                  const char *content, const struct session_precondition *precondition)
{
    struct session_message m[SESSION_MESSAGES_MAX];
    for (size_t i = 0; i < ARRAY_LEN(m); i++)
        m[i] = message_of("user", content);
    struct session_draft d = draft_with(id, user, m, n < ARRAY_LEN(m) ? n : ARRAY_LEN(m));
    OK(fixture_create(w, tenant, &d, precondition));
    for (n -= d.n_messages; n > 0; n -= d.n_messages) {
        d.n_messages = n < ARRAY_LEN(m) ? n : ARRAY_LEN(m);
        const struct session_append a = {m, d.n_messages, false};
        OK(fixture_append(w, tenant, id, &a, &nobody));
    }
}

enum err fixture_append_one(struct fixture *w, const char *tenant, const char *id, bool create,
                            const char *content, const struct session_precondition *precondition)
{
    struct session_message m = message_of("user", content);
    const struct session_append a = {&m, 1, create};
    return fixture_append(w, tenant, id, &a, precondition);
}

enum err fixture_get(struct fixture *w, const char *tenant, const char *id)
{
    return fixture_get_as(w, tenant, id, NULL, 20);
}

enum err fixture_get_as(struct fixture *w, const char *tenant, const char *id, const char *user,
                        size_t n)
{
    return session_get(w->sessions, begin(w, tenant, true, false), sv_from(id), sv_from(user), n,
                       &w->s);
}

enum err fixture_append(struct fixture *w, const char *tenant, const char *id,
                        const struct session_append *a,
                        const struct session_precondition *precondition)
{
    const struct session_target target = {sv_from(id), precondition, &w->r};
    return session_append(w->sessions, begin(w, tenant, false, true), &target, a);
}

enum err fixture_patch(struct fixture *w, const char *tenant, const char *id,
                       const struct session_patch *p,
                       const struct session_precondition *precondition)
{
    const struct session_target target = {sv_from(id), precondition, &w->r};
    return session_patch(w->sessions, begin(w, tenant, true, true), &target, p, &w->s);
}

enum err fixture_copy(struct fixture *w, const char *tenant, const char *id,
                      const struct session_precondition *precondition)
{
    const struct session_fork whole = {.last_seq = -1};
    const struct session_target target = {sv_from(id), precondition, &w->r};
    return session_copy(w->sessions, begin(w, tenant, true, true), &target, &whole, &w->s);
}

enum err fixture_fork(struct fixture *w, const char *id, const struct session_fork *fork,
                      const struct session_precondition *precondition)
{
    const struct session_target target = {sv_from(id), precondition, &w->r};
    return session_copy(w->sessions, begin(w, "t1", true, true), &target, fork, &w->s);
}

enum err fixture_truncate(struct fixture *w, const char *id, int64_t after,
                          const struct session_precondition *precondition)
{
    const struct session_target target = {sv_from(id), precondition, &w->r};
    return session_truncate(w->sessions, begin(w, "t1", false, true), &target, after);
}

enum err fixture_delete(struct fixture *w, const char *tenant, const char *id,
                        const struct session_precondition *precondition)
{
    const struct session_target target = {sv_from(id), precondition, &w->r};
    return session_delete(w->sessions, begin(w, tenant, false, true), &target);
}

/* A number is a seq. */
static struct session_message_name named(const char *which)
{
    struct session_message_name name = {SV_NONE, 0};
    if (!sv_to_i64(sv_from(which), &name.seq))
        name.id = sv_from(which);
    return name;
}

enum err fixture_delete_message(struct fixture *w, const char *tenant, const char *id,
                                const char *which, const struct session_precondition *precondition)
{
    const struct session_target target = {sv_from(id), precondition, &w->r};
    return session_message_delete(w->sessions, begin(w, tenant, false, true), &target, named(which),
                                  NULL);
}

enum err fixture_patch_message(struct fixture *w, const char *id, const char *which,
                               const struct session_precondition *precondition)
{
    const struct session_message patch = {.content = SV("\"7\"")};
    struct sv message;
    const struct session_target target = {sv_from(id), precondition, &w->r};
    return session_message_patch(w->sessions, begin(w, "t1", false, true), &target, named(which),
                                 &patch, &message);
}

enum err fixture_message(struct fixture *w, const char *tenant, const char *id, const char *user,
                         const char *which)
{
    return session_message_get(w->sessions, fixture_request(w, tenant), sv_from(id), sv_from(user),
                               named(which), &w->m);
}

enum err fixture_page(struct fixture *w, const char *tenant, const char *id, const char *user,
                      const struct session_page_query *q)
{
    return session_page(w->sessions, fixture_request(w, tenant), sv_from(id), sv_from(user), q,
                        &w->page);
}

PGconn *fixture_connect(const char *dbname)
{
    char url[FX_URL];
    fx_url_for(NULL, dbname, url);
    return PQconnectdb(url);
}

struct held_transaction *transaction_hold(const char *sql)
{
    PGconn *c = fixture_connect("parley_sessions");
    PGresult *r = PQexec(c, sql);
    CU_ASSERT_TRUE(PQresultStatus(r) == PGRES_COMMAND_OK || PQresultStatus(r) == PGRES_TUPLES_OK);
    PQclear(r);
    return (struct held_transaction *)c;
}

void transaction_release(struct held_transaction *held)
{
    PQclear(PQexec((PGconn *)held, "ROLLBACK"));
    PQfinish((PGconn *)held);
}

bool wait_for_backends(const char *condition, int64_t n)
{
    for (int i = 0; i < 1000; i++) {
        if (fixture_rows("pg_stat_activity WHERE datname = 'parley_sessions' AND %s", condition) >=
            n)
            return true;
        service_sleep_ms(5);
    }
    return false;
}

void fixture_exec(const char *fmt, ...)
{
    char sql[4096];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(sql, sizeof(sql), fmt, ap);
    va_end(ap);
    CU_ASSERT_TRUE(fixture_sql(sql, NULL, 0));
}

void fixture_expire(const char *id)
{
    fixture_exec("UPDATE sessions SET expires_at = now() - interval '1 second', expiry_hour ="
                 " floor(extract(epoch FROM now()) / 3600)::integer WHERE session_id = '%s'",
                 id);
}

int64_t fixture_count(const char *fmt, ...)
{
    char sql[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(sql, sizeof(sql), fmt, ap);
    va_end(ap);
    char out[32] = "";
    CU_ASSERT_TRUE(fixture_sql(sql, out, sizeof out));
    return out[0] ? strtoll(out, NULL, 10) : -1;
}

struct session_precondition keyed(const char *key)
{
    return (struct session_precondition){.key = sv_from(key), .fingerprint = SV("f")};
}

struct session_draft draft_of(const char *id, const char *user)
{
    return (struct session_draft){.session_id = sv_from(id),
                                  .user_id = sv_from(user),
                                  .language = SV("en"),
                                  .context = SV("{}"),
                                  .metadata = SV("{}"),
                                  .sliding = true};
}

struct session_draft draft_with(const char *id, const char *user, const struct session_message *m,
                                size_t n)
{
    struct session_draft d = draft_of(id, user);
    d.messages = m;
    d.n_messages = n;
    return d;
}

struct session_message message_of(const char *role, const char *json_content)
{
    return (struct session_message){.type = SV("message"),
                                    .role = sv_from(role),
                                    .content = sv_from(json_content),
                                    .metadata = SV("{}")};
}

void expect_only(struct fixture *w, const char *tenant, const char *id, const char *content)
{
    const struct session_page_query q = {.limit = 10};
    for (int again = 0; again < 2; again++) {
        OK(fixture_get(w, tenant, id));
        CU_ASSERT_EQUAL(w->s.n_messages, 1);
        CU_ASSERT_TRUE(w->s.n_messages == 1 && sv_eq(w->s.messages[0].content, sv_from(content)));
        OK(fixture_page(w, tenant, id, NULL, &q));
        CU_ASSERT_TRUE(w->page.n == 1 && sv_eq(w->page.messages[0].content, sv_from(content)));
        OK(fixture_message(w, tenant, id, NULL, "1"));
        CU_ASSERT_TRUE(sv_eq(w->m.content, sv_from(content)));
    }
}

void expect_nothing(struct fixture *w, const char *tenant, const char *id)
{
    const struct session_page_query q = {.limit = 10};
    CU_ASSERT_EQUAL(fixture_get(w, tenant, id), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(fixture_page(w, tenant, id, NULL, &q), ERR_NOT_FOUND);
    CU_ASSERT_EQUAL(fixture_message(w, tenant, id, NULL, "1"), ERR_NOT_FOUND);
}
