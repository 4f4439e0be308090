/* SPDX-License-Identifier: MIT */
#include "parley/json/members.h"

#include "json_internal.h"

static bool is_named(const struct jnode *member, const char *const *names)
{
    for (; *names; names++)
        if (junescape_eq(member->key, sv_from(*names)))
            return true;
    return false;
}

void jmembers_write(struct jout *j, const struct jdoc *d, const struct jnode *object,
                    const char *const *names)
{
    for (const struct jnode *m = jdoc_first(d, object); m; m = jdoc_next(d, m)) {
        if (is_named(m, names))
            continue;
        jout_key_raw(j, m->key);
        jout_raw(j, m->raw);
    }
}

enum err jmembers_without(struct request_ctx *ctx, const struct jdoc *d, const struct jnode *object,
                          const char *const *names, struct sv *out)
{
    struct buf b;
    struct jout j;
    buf_init(&b, ctx->arena, 0);
    jout_init(&j, &b);
    jout_object_open(&j);
    const size_t empty = b.n;
    jmembers_write(&j, d, object, names);
    const bool none = b.n == empty;
    jout_object_close(&j);
    if (b.failed)
        return ctx_nomem(ctx);
    *out = none ? SV_NONE : buf_get(&b);
    return ERR_NONE;
}
