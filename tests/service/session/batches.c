/* SPDX-License-Identifier: MIT */
#include "batches.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct batches *batches_open(bool redis)
{
    struct batches *b = calloc(1, sizeof(*b));
    CU_ASSERT_PTR_NOT_NULL_FATAL(b);
    struct fixture *w = fixture_open(redis);
    const struct sessions_settings settings = w->sessions->settings;
    sessions_close(w->sessions);
    w->sessions = sessions_open(&settings, w->db, w->cache, &b->slot);
    CU_ASSERT_PTR_NOT_NULL_FATAL(w->sessions);
    b->threads.w = w;
    fixture_exec("DELETE FROM sessions WHERE session_id = 'b:gate'");
    fixture_make(w, "t1", "b:gate", NULL, 0, "", &nobody);
    return b;
}

void batches_close(struct batches *b)
{
    fixture_close(b->threads.w);
    free(b);
}

static void write_first(struct batches *b, struct fixture *c)
{
    const struct session_precondition p = keyed(b->key);
    struct session_draft d = draft_of(NULL, NULL);
    enum err e;
    atomic_store(&b->under_way, true);
    if (b->creates)
        UNTIL_DONE(e, fixture_create(c, "t1", &d, &p));
    else
        UNTIL_DONE(e, fixture_append_one(c, "t1", "b:gate", false, "\"gate\"", &p));
    b->threads.failed += e != ERR_NONE;
}

static void work(struct threads *threads, struct fixture *c, int me)
{
    struct batches *b = (struct batches *)(void *)threads;
    if (me == b->n) {
        write_first(b, c);
        return;
    }
    while (!atomic_load(&b->under_way))
        service_sleep_ms(1);
    service_sleep_ms(2);
    b->work(b, c, me);
    if (atomic_fetch_add(&b->done, 1) + 1 == b->n - b->n_late)
        transaction_release(b->held);
}

uint32_t batches_meet(struct batches *b, int n,
                      void (*what)(struct batches *b, struct fixture *c, int me))
{
    static int meetings;
    snprintf(b->key, sizeof(b->key), "gate-%d", meetings++);
    b->held = transaction_hold(
        text_of("BEGIN; INSERT INTO idempotency_keys SELECT 't1', '%s', 'f', now(), 201, 'x', 1, 1,"
                " 1, 1, 1, 1, now(), now(), now()",
                b->key));
    b->work = what;
    b->n = n;
    atomic_store(&b->under_way, false);
    atomic_store(&b->done, 0);
    atomic_store(&b->largest, 0);
    threads_run(&b->threads, n + 1, work);
    CU_ASSERT_EQUAL(b->threads.failed, 0);
    return atomic_load(&b->largest);
}

void batches_wrote(struct batches *b, struct fixture *c, int me, enum err e)
{
    const uint32_t size = c->ctx.trace.batch;
    uint32_t largest = atomic_load(&b->largest);
    while (size > largest && !atomic_compare_exchange_weak(&b->largest, &largest, size))
        continue;
    b->err[me] = e;
}

uint64_t batches_count(const struct metrics_batches *m)
{
    uint64_t n = 0;
    for (size_t i = 0; i < METRICS_BATCH_SIZES; i++)
        n += atomic_load(&m->size[i]);
    return n;
}

int batches_logged(const char *text)
{
    char line[4096];
    int n = 0;
    FILE *log = fopen(text_of("%s/../postgres.log", getenv("TEST_TMP")), "r");
    CU_ASSERT_PTR_NOT_NULL_FATAL(log);
    while (fgets(line, sizeof line, log))
        n += strstr(line, text) != NULL;
    fclose(log);
    return n;
}

bool batches_same_receipt(const struct session_receipt *a, const struct session_receipt *b)
{
    return a->generation == b->generation && a->version == b->version &&
           a->state_version == b->state_version && a->message_count == b->message_count &&
           a->mark == b->mark && a->first_seq == b->first_seq && a->last_seq == b->last_seq &&
           a->at == b->at && a->session_at == b->session_at && a->expires_at == b->expires_at &&
           a->status == b->status;
}
