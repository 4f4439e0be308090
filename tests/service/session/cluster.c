/* SPDX-License-Identifier: MIT */
#include "cluster.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <CUnit/CUnit.h>

static const struct session_guard nobody = {.create_only = false};

void cluster_sleep_ms(long ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

bool cluster_open(struct cluster *c)
{
    if (!world_open(&c->a, true))
        return false;
    if (!world_open(&c->b, true)) {
        world_close(&c->a);
        return false;
    }
    if (world_open(&c->plain, false))
        return true;
    world_close(&c->b);
    world_close(&c->a);
    return false;
}

void cluster_close(struct cluster *c)
{
    world_close(&c->plain);
    world_close(&c->b);
    world_close(&c->a);
}

void cluster_make(struct world *w, const char *id)
{
    struct session s;
    struct session_receipt r;
    struct session_draft d = draft_of(id, NULL);
    CU_ASSERT_EQUAL(session_create(w->sessions, world_request(w, "t1"), &d, &nobody, &s, &r),
                    ERR_NONE);
}

enum err cluster_append(struct world *w, const char *id, size_t n)
{
    static int64_t number;
    struct session_message_draft m[30];
    char content[30][32];
    struct session_receipt r;
    for (size_t i = 0; i < n; i++) {
        snprintf(content[i], sizeof(content[i]), "\"text %lld\"", (long long)++number);
        m[i] = message_of("user", content[i]);
    }
    const struct session_append a = {m, n, false, 0};
    return session_append(w->sessions, world_request(w, "t1"), sv_from(id), &a, &nobody, &r);
}

static bool same_text(struct sv a, struct sv b)
{
    return sv_eq(a, b) && (a.p == NULL) == (b.p == NULL);
}

static bool same_messages(const struct session *a, const struct session *b)
{
    if (a->n_messages != b->n_messages)
        return false;
    for (size_t i = 0; i < a->n_messages; i++) {
        const struct session_message *x = &a->messages[i], *y = &b->messages[i];
        if (x->seq != y->seq || x->created_at != y->created_at ||
            !same_text(x->message_id, y->message_id) || !same_text(x->type, y->type) ||
            !same_text(x->role, y->role) || !same_text(x->content, y->content) ||
            !same_text(x->metadata, y->metadata))
            return false;
    }
    return true;
}

/* What a worker serves is what PostgreSQL has, to the last field. */
void cluster_expect_current(struct cluster *c, struct world *w, const char *id)
{
    struct session s = {.version = 0}, now = {.version = 0};
    enum err e = session_get(w->sessions, world_request(w, "t1"), sv_from(id), SV_NONE, 20, &s);
    enum err want = session_get(c->plain.sessions, world_request(&c->plain, "t1"), sv_from(id),
                                SV_NONE, 20, &now);
    CU_ASSERT_EQUAL(e, want);
    if (e != ERR_NONE || want != ERR_NONE)
        return;
    CU_ASSERT_EQUAL(s.generation, now.generation);
    CU_ASSERT_EQUAL(s.version, now.version);
    CU_ASSERT_EQUAL(s.state_version, now.state_version);
    CU_ASSERT_EQUAL(s.last_seq, now.last_seq);
    CU_ASSERT_EQUAL(s.message_count, now.message_count);
    CU_ASSERT_EQUAL(s.ttl_seconds, now.ttl_seconds);
    CU_ASSERT_EQUAL(s.sliding, now.sliding);
    CU_ASSERT_EQUAL(s.created_at, now.created_at);
    CU_ASSERT_EQUAL(s.updated_at, now.updated_at);
    CU_ASSERT_EQUAL(s.expires_at, now.expires_at);
    CU_ASSERT_TRUE(same_text(s.user_id, now.user_id) && same_text(s.language, now.language));
    CU_ASSERT_TRUE(same_text(s.context, now.context) && same_text(s.metadata, now.metadata));
    CU_ASSERT_TRUE(same_messages(&s, &now));
}

/* What the tier holds for a session; its version, or 0 if it holds nothing. */
int64_t cluster_cached_version(struct world *w, const char *id)
{
    struct cache_value value;
    struct cache_ticket ticket;
    const struct cache_key key = {SV("t1"), sv_from(id)};
    return cache_read(w->cache, world_request(w, "t1"), key, &value, &ticket) ? value.version : 0;
}

/* Misses, and reads PostgreSQL; what it has read is kept for later. */
void cluster_late_read(struct cluster_reader *r, struct world *w, const char *id)
{
    struct session s = {.version = 0};
    caller_open(&r->caller);
    struct request_ctx *ctx = caller_request(&r->caller, "t1");
    r->key = (struct cache_key){ctx->tenant, sv_from(id)};
    CU_ASSERT_FALSE(cache_read(w->cache, ctx, r->key, &r->value, &r->ticket));
    CU_ASSERT_TRUE(r->ticket.usable);
    CU_ASSERT_EQUAL(repo_session_read(w->sessions, ctx, sv_from(id), SV_NONE, SESSION_WINDOW, &s),
                    ERR_NONE);
    r->value = (struct cache_value){s.generation, s.version, 60000, SV_NONE};
    CU_ASSERT_EQUAL(codec_encode(ctx, &s, &r->value.bytes), ERR_NONE);
}

void cluster_late_fill(struct cluster_reader *r, struct world *w)
{
    cache_fill(w->cache, &r->caller.ctx, r->key, &r->ticket, &r->value);
    caller_close(&r->caller);
}
