/* SPDX-License-Identifier: MIT */
/* Sends several reads as arrays of their parameters: one group of the pipeline for each tenant. */
#include "parley/db/batch.h"

#include "db_internal.h"

/* The members of one tenant, and what is sent for them. */
struct part {
    struct sv tenant;
    struct db_batch_member *members[DB_BATCH_MAX];
    size_t n;
    struct db_limits limits;
    struct db_param params[DB_BATCH_PARAMS_MAX + 1];
    struct db_step steps[2];
};

/* Members of more tenants than there is room for are left out. */
static size_t part_by_tenant(struct db_batch_member *members, size_t n, struct part *parts)
{
    size_t n_parts = 0;
    for (size_t i = 0; i < n; i++) {
        size_t t = 0;
        members[i].done = false;
        while (t < n_parts && !sv_eq(parts[t].tenant, members[i].tenant))
            t++;
        if (t == DB_BATCH_TENANTS_MAX)
            continue;
        if (t == n_parts) {
            parts[t].tenant = members[i].tenant;
            parts[t].n = 0;
            n_parts++;
        }
        parts[t].members[parts[t].n++] = &members[i];
    }
    return n_parts;
}

/* Parameter i of all members as an array. */
static enum err column(struct request_ctx *ctx, const struct part *part, int i,
                       struct db_param *out)
{
    struct sv texts[DB_BATCH_MAX];
    int64_t numbers[DB_BATCH_MAX];
    const bool is_text = part->members[0]->params[i].type == OID_TEXT;
    for (size_t k = 0; k < part->n; k++) {
        const struct db_param *p = &part->members[k]->params[i];
        if (is_text)
            texts[k] = (struct sv){p->p, p->n};
        else
            numbers[k] = db_param_i64(p);
    }
    return is_text ? db_text_array(ctx, texts, part->n, out)
                   : db_i64_array(ctx, numbers, part->n, out);
}

/* One tenant's statement, behind its own settings. */
static enum err make_group(struct db *db, struct request_ctx *ctx, const struct db_batch_kind *kind,
                           struct part *part, struct db_group *out)
{
    ctx->tenant = part->tenant;
    db_limits_step(db, ctx, &part->limits, &part->steps[0]);
    part->params[0] = db_text(part->tenant);
    for (int i = 0; i < kind->n_params; i++)
        TRY(column(ctx, part, i, &part->params[i + 1]));
    part->steps[1] = (struct db_step){
        .stmt = &kind->stmt, .params = part->params, .n_params = kind->n_params + 1, .call = 0};
    *out = (struct db_group){.steps = part->steps, .n_steps = 2};
    return ERR_NONE;
}

static void give_rows(struct part *part)
{
    struct db_rows rows;
    db_rows_from(&rows, part->steps[1].result);
    const int column_n = db_column(&rows, "n");
    for (size_t i = 0; i < part->n; i++) {
        part->members[i]->rows = rows;
        part->members[i]->row = -1;
        part->members[i]->done = true;
    }
    for (int row = 0; row < rows.count; row++) {
        const int64_t n = db_get_i64(&rows, row, column_n);
        if (n >= 1 && n <= (int64_t)part->n)
            part->members[n - 1]->row = row;
    }
}

void db_read_batch(struct db *db, struct request_ctx *ctx, const struct db_batch_kind *kind,
                   struct db_batch_member *members, size_t n)
{
    struct part parts[DB_BATCH_TENANTS_MAX];
    struct db_group groups[DB_BATCH_TENANTS_MAX];
    struct db_conn *c;
    enum err e = ERR_NONE;
    size_t done = 0;
    const size_t n_parts = part_by_tenant(members, n, parts);
    for (size_t t = 0; e == ERR_NONE && t < n_parts; t++)
        e = make_group(db, ctx, kind, &parts[t], &groups[t]);
    ctx->reserve = true;
    if (e == ERR_NONE)
        e = db_pool_acquire(db, ctx, NULL, &c);
    if (e != ERR_NONE)
        return;
    db_pipeline_run_groups(db, c, ctx, groups, (int)n_parts);
    db_pool_release(db, c);
    for (size_t t = 0; t < n_parts; t++)
        if (groups[t].fault.kind == FAULT_NONE) {
            give_rows(&parts[t]);
            done += parts[t].n;
        }
    if (!db->slot || done == 0)
        return;
    metrics_add(&db->slot->read_batches, 1);
    metrics_add(&db->slot->read_batched, done);
}
