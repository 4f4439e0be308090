/* SPDX-License-Identifier: MIT */
/* Reads that share a round trip: each has its own row or none, whatever happens to the others. */
#include <stdio.h>
#include <string.h>

#include "../../unit/suite.h"
#include "fixture.h"

/* A card says whose it is. card_wait fails for "fail", and waits for the advisory lock 77 for
 * "gate". */
static const struct db_stmt cards_read = {
    "cards_read", "SELECT q.n, c.body FROM unnest($2::text[]) WITH ORDINALITY AS q(id, n)"
                  " JOIN cards c ON c.id = q.id AND card_wait(q.id) WHERE c.tenant = $1"
                  " ORDER BY q.n DESC"};

static void make_cards(void)
{
    if (fx_admin("SELECT count(*) FROM pg_class WHERE relname = 'cards'") > 0)
        return;
    fx_admin(
        "CREATE TABLE cards (tenant text, id text, body text, PRIMARY KEY (tenant, id));"
        "ALTER TABLE cards ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY t ON cards USING (tenant = current_setting('parley.tenant'));"
        "GRANT ALL ON cards TO " FX_ROLE ";"
        "INSERT INTO cards SELECT 't' || t, id, 't' || t || ' ' || id FROM generate_series(0, 9) t,"
        " unnest(ARRAY['a', 'b', 'c', 'gate', 'fail']) id;"
        "INSERT INTO cards VALUES ('t1', 'large', 't1 large' || repeat('x', 8000000));"
        "CREATE FUNCTION card_wait(id text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN"
        " IF id = 'gate' THEN PERFORM pg_advisory_xact_lock_shared(77);"
        " ELSIF id = 'fail' THEN RAISE EXCEPTION 'fail'; END IF; RETURN true; END $$");
}

/* ---- one read, and what it must get ---- */

enum want { OWN, NONE, NOT_DONE, ANY };

struct wanted {
    const char *tenant, *id;
    enum want want;
};

struct bench {
    struct fx *fx;
    struct db_batch_member members[DB_BATCH_MAX];
};

static void bench_open(struct bench *x, bool prepare)
{
    struct db_settings s = fx_settings(NULL);
    make_cards();
    s.prepare = prepare;
    x->fx = fx_open(&s);
}

static void read_all(struct bench *x, const struct wanted *all, size_t n, int ms)
{
    fx_request(x->fx, SV(""), ms);
    for (size_t i = 0; i < n; i++)
        x->members[i] =
            (struct db_batch_member){.tenant = sv_from(all[i].tenant), .key = sv_from(all[i].id)};
    db_read_batch(x->fx->db, &x->fx->ctx, &cards_read, x->members, n);
}

static bool is_own(const struct db_batch_member *m, const struct wanted *a)
{
    char want[64];
    const int n = snprintf(want, sizeof(want), "%s %s", a->tenant, a->id);
    const struct sv body = db_get_text(&m->rows, m->row, db_column(&m->rows, "body"));
    return body.n >= (size_t)n && memcmp(body.p, want, (size_t)n) == 0;
}

static void expect(const struct bench *x, const struct wanted *all, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct db_batch_member *m = &x->members[i];
        const bool own = m->done && m->row >= 0 && is_own(m, &all[i]);
        const bool right = all[i].want == OWN    ? own
                           : all[i].want == NONE ? m->done && m->row == -1
                                                 : !m->done || (all[i].want == ANY && own);
        CU_ASSERT_TRUE(right);
        if (!right)
            printf("member %zu of %s: done %d, row %d\n", i, all[i].tenant, m->done, m->row);
    }
}

/* ---- answers ---- */

/* In the first group the connection does not know the statement, in later ones it is run without
 * its name. Fails if a member gets the row of another: the mutant batch-rows-mixed-up. */
TEST(each_its_own)
{
    static const struct wanted all[] = {
        {"t1", "absent", NONE}, {"t2", "a", OWN},      {"t1", "a", OWN},       {"t0", "a", OWN},
        {"t1", "b", OWN},       {"t2", "large", NONE}, {"t1", "large", OWN},   {"t2", "c", OWN},
        {"t0", "absent", NONE}, {"t0", "c", OWN},      {"nobody", "a", NONE},  {"t1", "a", OWN},
        {"t2", "b", OWN},       {"t1", "c", OWN},      {"t2", "absent", NONE}, {"t0", "b", OWN}};
    for (int prepare = 0; prepare < 2; prepare++) {
        struct bench x;
        bench_open(&x, prepare);
        for (int round = 0; round < 3; round++) {
            read_all(&x, all, ARRAY_LEN(all), 10000);
            expect(&x, all, ARRAY_LEN(all));
        }
        read_all(&x, all + 1, 1, 10000);
        CU_ASSERT_TRUE(x.members[0].done && x.members[0].row == 0);
        CU_ASSERT_EQUAL(x.fx->slot->db_discarded, 0);
        fx_close(x.fx);
    }
}

/* Fails if there is no bound on the tenants (under AddressSanitizer), or if those beyond it count
 * as done: tried. */
TEST(more_tenants_than_fit)
{
    static const struct wanted all[] = {
        {"t0", "a", OWN},      {"t1", "a", OWN},      {"t2", "a", OWN}, {"t3", "a", OWN},
        {"t4", "a", OWN},      {"t5", "a", OWN},      {"t6", "a", OWN}, {"t7", "absent", NONE},
        {"t8", "a", NOT_DONE}, {"t9", "a", NOT_DONE}, {"t0", "b", OWN}, {"t8", "b", NOT_DONE},
        {"t7", "b", OWN}};
    struct bench x;
    bench_open(&x, true);
    read_all(&x, all, ARRAY_LEN(all), 10000);
    expect(&x, all, ARRAY_LEN(all));
    CU_ASSERT_EQUAL(x.fx->slot->read_batched, 10);
    fx_close(x.fx);
}

/* The statement of one tenant fails, or is not even parsed: its name is no text. Fails if a failed
 * group fails them all, and if a later group relies on a statement that the first one was to
 * prepare: the mutant batch-relies-on-the-first. */
TEST(one_tenant_fails)
{
    static const struct wanted rows[][5] = {{{"t0", "fail", NOT_DONE},
                                             {"t1", "a", OWN},
                                             {"t0", "a", NOT_DONE},
                                             {"t2", "absent", NONE},
                                             {"t2", "b", OWN}},
                                            {{"t1", "a", OWN},
                                             {"t0", "fail", NOT_DONE},
                                             {"t0", "a", NOT_DONE},
                                             {"t2", "a", OWN},
                                             {"t1", "absent", NONE}},
                                            {{"t\xff", "a", NOT_DONE},
                                             {"t1", "a", OWN},
                                             {"t2", "b", OWN},
                                             {"t1", "absent", NONE},
                                             {"t1", "c", OWN}},
                                            {{"t1", "a", OWN},
                                             {"t2", "b", OWN},
                                             {"t1", "absent", NONE},
                                             {"t1", "c", OWN},
                                             {"t0", "\xff", NOT_DONE}}};
    for (int prepare = 0; prepare < 2; prepare++)
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            struct bench x;
            bench_open(&x, prepare);
            for (int round = 0; round < 2; round++) {
                read_all(&x, rows[i], ARRAY_LEN(rows[i]), 10000);
                expect(&x, rows[i], ARRAY_LEN(rows[i]));
            }
            fx_close(x.fx);
        }
}

/* ---- servers that are away ---- */

static void *terminate_waiting(void *arg)
{
    for (int i = 0; i < 2000 && fx_admin("SELECT count(*) FROM pg_stat_activity WHERE wait_event ="
                                         " 'advisory' AND application_name = 'db_test'") < 1;
         i++)
        service_sleep_ms(5);
    fx_admin("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE"
             " wait_event = 'advisory' AND application_name = 'db_test'");
    return arg;
}

/* The connection is lost while the second tenant's statement runs; the first one's answer may have
 * come. Fails if a member without an answer counts as done: tried. */
TEST(connection_lost)
{
    static const struct wanted all[] = {{"t0", "a", ANY},
                                        {"t1", "gate", NOT_DONE},
                                        {"t2", "a", NOT_DONE},
                                        {"t1", "absent", NOT_DONE}};
    struct bench x;
    pthread_t ender;
    PGconn *gate = PQconnectdb(fx_url());
    bench_open(&x, true);
    PQclear(PQexec(gate, "SELECT pg_advisory_lock(77)"));
    CU_ASSERT_EQUAL_FATAL(pthread_create(&ender, NULL, terminate_waiting, NULL), 0);
    read_all(&x, all, ARRAY_LEN(all), 20000);
    pthread_join(ender, NULL);
    expect(&x, all, ARRAY_LEN(all));
    PQfinish(gate);
    static const struct wanted after[] = {{"t1", "gate", OWN}, {"t0", "a", OWN}};
    read_all(&x, after, ARRAY_LEN(after), 10000);
    expect(&x, after, ARRAY_LEN(after));
    fx_close(x.fx);
}

/* The server is silent, keeps a lock, or no time is left. Fails if the batch waits longer
 * than its deadline: tried (with the pool's own limits it waits 5 s). */
TEST(ends_in_time)
{
    static const struct wanted all[] = {{"t0", "a", NOT_DONE}, {"t1", "a", NOT_DONE}};
    static const struct wanted after[] = {{"t0", "a", OWN}, {"t1", "absent", NONE}};
    enum { SILENT, LOCKED, NO_TIME, CASES };
    for (int way = 0; way < CASES; way++) {
        struct bench x;
        PGconn *gate = PQconnectdb(fx_url());
        const int ms = way == NO_TIME ? -1 : 700;
        bench_open(&x, true);
        if (way == LOCKED)
            PQclear(PQexec(gate, "BEGIN; LOCK TABLE cards IN ACCESS EXCLUSIVE MODE"));
        if (way == SILENT)
            service_control_pg("pause");
        const int64_t began = clock_mono_us();
        read_all(&x, all, ARRAY_LEN(all), ms);
        const int64_t took_ms = (clock_mono_us() - began) / 1000;
        if (way == SILENT)
            service_control_pg("resume");
        PQfinish(gate);
        expect(&x, all, ARRAY_LEN(all));
        CU_ASSERT_TRUE(took_ms < ms + 2500);
        EVENTUALLY(fx_status(x.fx).state == DB_UP);
        read_all(&x, after, ARRAY_LEN(after), 10000);
        expect(&x, after, ARRAY_LEN(after));
        fx_close(x.fx);
    }
}

/* Writers use all that they may have, and hang. Fails if reads have no connections of their own,
 * or if writers may take what reads release: the mutant reads-without-connections. */
TEST(kept_from_writers)
{
    static const struct {
        int max, writers;
    } rows[] = {{20, 13}, {8, 4}, {7, 4}, {2, 1}};
    static const struct wanted all[] = {{"t0", "a", OWN}, {"t1", "a", OWN}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct bench x;
        struct db_conn *c[20];
        struct db_rows r;
        struct db_settings s = fx_settings(NULL);
        make_cards();
        s.pool_max = rows[i].max;
        s.acquire_ms = 5000;
        x.fx = fx_open(&s);
        const int writers = rows[i].writers;
        for (int k = 0; k < writers; k++)
            CU_ASSERT_EQUAL_FATAL(db_pool_acquire(x.fx->db, &x.fx->ctx, DB_WRITE, &c[k]), ERR_NONE);
        for (int round = 0; round < 2; round++) {
            read_all(&x, all, ARRAY_LEN(all), 5000);
            expect(&x, all, ARRAY_LEN(all));
            fx_request(x.fx, SV("t1"), 5000);
            x.fx->ctx.reserve = true;
            OK(fx_run(x.fx, DB_READ, "SELECT 1", &r));
            fx_request(x.fx, SV("t1"), 100);
            CU_ASSERT_EQUAL(fx_run(x.fx, DB_WRITE, "SELECT 1", &r), ERR_OVERLOAD);
        }
        for (int k = 0; k < writers; k++)
            db_pool_release(x.fx->db, c[k]);
        fx_request(x.fx, SV("t1"), 5000);
        OK(fx_run(x.fx, DB_WRITE, "SELECT 1", &r));
        fx_close(x.fx);
    }
}
