/* SPDX-License-Identifier: MIT */
/* Sends several reads as arrays of their parameters: one group of the pipeline for each tenant. */
#include "parley/db/batch.h"

#include "db_internal.h"

struct batch {
    struct db *db;
    struct request_ctx *ctx;
    const struct db_batch_kind *kind;
    struct db_batch_member *members;
    size_t n, n_tenants;
    size_t tenant_of[DB_BATCH_MAX]; /* index of a member's tenant; n_tenants and more: left out */
    struct sv tenants[DB_BATCH_TENANTS_MAX];
};

static void group_by_tenant(struct batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        size_t t = 0;
        while (t < b->n_tenants && !sv_eq(b->tenants[t], b->members[i].tenant))
            t++;
        b->tenant_of[i] = t;
        if (t == b->n_tenants && t < DB_BATCH_TENANTS_MAX)
            b->tenants[b->n_tenants++] = b->members[i].tenant;
    }
}

/* Parameter i of a tenant's members as an array. */
static enum err column(struct batch *b, size_t tenant, int i, struct db_param *out)
{
    struct sv texts[DB_BATCH_MAX];
    int64_t numbers[DB_BATCH_MAX];
    bool is_text = false;
    size_t n = 0;
    for (size_t k = 0; k < b->n; k++) {
        const struct db_param *p = &b->members[k].params[i];
        if (b->tenant_of[k] != tenant)
            continue;
        is_text = p->type == OID_TEXT;
        if (is_text)
            texts[n++] = (struct sv){p->p, p->n};
        else
            numbers[n++] = db_param_i64(p);
    }
    return is_text ? db_text_array(b->ctx, texts, n, out) : db_i64_array(b->ctx, numbers, n, out);
}

struct request {
    struct db_limits limits;
    struct db_param params[DB_BATCH_PARAMS_MAX + 1];
    struct db_step steps[2];
};

/* One tenant's statement, behind its own settings. */
static enum err make_group(struct batch *b, size_t tenant, struct request *r, struct db_group *out)
{
    enum err e = ERR_NONE;
    b->ctx->tenant = b->tenants[tenant];
    db_limits_step(b->db, b->ctx, &r->limits, &r->steps[0]);
    r->params[0] = db_text(b->tenants[tenant]);
    for (int i = 0; e == ERR_NONE && i < b->kind->n_params; i++)
        e = column(b, tenant, i, &r->params[i + 1]);
    r->steps[1] = (struct db_step){
        .stmt = &b->kind->stmt, .params = r->params, .n_params = b->kind->n_params + 1, .call = 0};
    *out = (struct db_group){.steps = r->steps, .n_steps = 2};
    return e;
}

/* The nth member of a tenant, counted from 1; NULL: there are not so many. */
static struct db_batch_member *nth_of(struct batch *b, size_t tenant, int64_t n)
{
    for (size_t k = 0; k < b->n; k++)
        if (b->tenant_of[k] == tenant && --n == 0)
            return &b->members[k];
    return NULL;
}

/* Gives how many members have their answer now. */
static size_t give_rows(struct batch *b, size_t tenant, void *result)
{
    struct db_rows rows;
    struct db_batch_member *m;
    size_t done = 0;
    db_rows_from(&rows, result);
    const int column_n = db_column(&rows, "n");
    for (; (m = nth_of(b, tenant, (int64_t)done + 1)); done++) {
        m->rows = rows;
        m->row = -1;
        m->done = true;
    }
    for (int row = 0; row < rows.count; row++) {
        m = nth_of(b, tenant, db_get_i64(&rows, row, column_n));
        if (m)
            m->row = row;
    }
    return done;
}

void db_read_batch(struct db *db, struct request_ctx *ctx, const struct db_batch_kind *kind,
                   struct db_batch_member *members, size_t n)
{
    struct batch b = {.db = db, .ctx = ctx, .kind = kind, .members = members, .n = n};
    struct request requests[DB_BATCH_TENANTS_MAX];
    struct db_group groups[DB_BATCH_TENANTS_MAX];
    struct db_conn *c;
    enum err e = ERR_NONE;
    for (size_t i = 0; i < n; i++)
        members[i].done = false;
    group_by_tenant(&b);
    for (size_t t = 0; e == ERR_NONE && t < b.n_tenants; t++)
        e = make_group(&b, t, &requests[t], &groups[t]);
    ctx->reserve = true;
    if (e == ERR_NONE)
        e = db_pool_acquire(db, ctx, NULL, &c);
    if (e != ERR_NONE)
        return;
    db_pipeline_run_groups(db, c, ctx, groups, (int)b.n_tenants);
    db_pool_release(db, c);
    size_t done = 0;
    for (size_t t = 0; t < b.n_tenants; t++)
        if (groups[t].fault.kind == FAULT_NONE)
            done += give_rows(&b, t, requests[t].steps[1].result);
    if (!db->slot || done == 0)
        return;
    metrics_add(&db->slot->read_batches, 1);
    metrics_add(&db->slot->read_batched, done);
}
