/* SPDX-License-Identifier: MIT */
/* Reads of several requests in one pipeline, with a group for each tenant. */
#include "db_internal.h"

/* The members of one tenant, and what is sent for them. */
struct tenant_group {
    struct db_batch_member *members[DB_BATCH_MAX];
    size_t n;
    struct db_param limits[DB_LIMITS_MAX];
    struct db_param params[2];
    struct db_call steps[2];
};

/* Leaves out the members of more tenants than fit. Returns the number of tenants. */
static size_t group_by_tenant(struct db_batch_member *members, size_t n,
                              struct tenant_group *tenants)
{
    size_t n_tenants = 0;
    for (size_t i = 0; i < n; i++) {
        size_t t = 0;
        members[i].done = false;
        while (t < n_tenants && !sv_eq(tenants[t].members[0]->tenant, members[i].tenant))
            t++;
        if (t == DB_BATCH_TENANTS_MAX)
            continue;
        if (t == n_tenants)
            tenants[n_tenants++].n = 0;
        tenants[t].members[tenants[t].n++] = &members[i];
    }
    return n_tenants;
}

/* One tenant's statement, preceded by its settings. */
static enum err make_group(struct db *db, const struct db_conn *c, struct request_ctx *ctx,
                           const struct db_stmt *stmt, struct tenant_group *group,
                           struct db_group *out)
{
    struct sv keys[DB_BATCH_MAX];
    for (size_t i = 0; i < group->n; i++)
        keys[i] = group->members[i]->key;
    ctx->tenant = group->members[0]->tenant;
    db_limits_step(db, c, ctx, group->limits, &group->steps[0]);
    group->params[0] = db_text(ctx->tenant);
    TRY(db_text_array(ctx, keys, group->n, &group->params[1]));
    group->steps[1] = (struct db_call){.stmt = stmt, .params = group->params, .n_params = 2};
    *out = (struct db_group){.steps = group->steps, .n_steps = 2};
    return ERR_NONE;
}

static void hand_out_rows(struct tenant_group *group)
{
    const struct db_rows rows = group->steps[1].rows;
    const int n_column = db_column(&rows, "n");
    for (size_t i = 0; i < group->n; i++) {
        group->members[i]->rows = rows;
        group->members[i]->row = -1;
        group->members[i]->done = true;
    }
    for (int row = 0; row < rows.count; row++) {
        const int64_t n = db_get_i64(&rows, row, n_column);
        if (n >= 1 && n <= (int64_t)group->n)
            group->members[n - 1]->row = row;
    }
}

void db_read_batch(struct db *db, struct request_ctx *ctx, const struct db_stmt *stmt,
                   struct db_batch_member *members, size_t n)
{
    struct tenant_group tenants[DB_BATCH_TENANTS_MAX];
    struct db_group groups[DB_BATCH_TENANTS_MAX];
    struct db_conn *c;
    size_t done = 0;
    const size_t n_tenants = group_by_tenant(members, n, tenants);
    ctx->reserve = true;
    enum err e = db_pool_acquire(db, ctx, DB_READ, &c);
    if (e != ERR_NONE)
        return;
    for (size_t t = 0; e == ERR_NONE && t < n_tenants; t++)
        e = make_group(db, c, ctx, stmt, &tenants[t], &groups[t]);
    if (e == ERR_NONE)
        db_pipeline_run_groups(db, c, ctx, groups, (int)n_tenants);
    db_pool_release(db, c);
    for (size_t t = 0; e == ERR_NONE && t < n_tenants; t++)
        if (groups[t].fault.kind == FAULT_NONE) {
            hand_out_rows(&tenants[t]);
            done += tenants[t].n;
        }
    metrics_add(&db->slot->read_batches, done > 0);
    metrics_add(&db->slot->read_batched, done);
}
