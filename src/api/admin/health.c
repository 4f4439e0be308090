/* SPDX-License-Identifier: MIT */
/* What the operations routes share: their JSON, and which parts of the service work. */
#include "operations.h"

static void free_tree(void *root)
{
    json_tree_fini(&(struct json_tree){.root = root});
}

enum err ops_tree_init(struct request_ctx *ctx, struct json_tree *t)
{
    json_tree_init(t);
    if (t->failed || arena_defer(ctx->arena, free_tree, t->root) != ERR_NONE)
        return ctx_nomem(ctx);
    return ERR_NONE;
}

enum err ops_tree_answer(struct api_call *c, const struct json_tree *t, int status, int lines)
{
    (void)api_begin(c->res, status);
    return json_tree_write(t, lines, &c->res->body) == ERR_NONE ? ERR_NONE : ctx_nomem(c->ctx);
}

void ops_health_read(const struct api_service *api, struct ops_health *out)
{
    static const char *const database[] = {[DB_STARTING] = "starting",
                                           [DB_UP] = "up",
                                           [DB_DOWN] = "down",
                                           [DB_MISCONFIGURED] = "misconfigured"};
    static const char *const redis[] = {
        [CACHE_OFF] = "off", [CACHE_UP] = "up", [CACHE_DOWN] = "down"};
    db_status(api->db, &out->db);
    out->cache = (struct cache_status){.redis = CACHE_OFF, .reason = ""};
    if (api->cache)
        cache_status(api->cache, &out->cache);
    out->database = database[out->db.state];
    out->redis = redis[out->cache.redis];
    out->crash_looping = atomic_load(&api->host->crash_looping);
    out->shortcut =
        db_hosts_shortcut(api->hosts, out->shortcut_reason, sizeof(out->shortcut_reason));
    /* The shortcut is off for two seconds after each start: that degrades nothing. */
    const bool slow = out->shortcut == DB_HOSTS_OTHERS || out->shortcut == DB_HOSTS_SILENT;
    const bool degraded = slow || out->cache.redis == CACHE_DOWN || out->crash_looping > 0;
    out->status = out->db.state != DB_UP ? "down" : degraded ? "degraded" : "ready";
}

struct json_object *ops_put_health(struct json_tree *t, struct json_object *in, const char *name,
                                   const char *status, const char *reason)
{
    struct json_object *check = json_tree_object(t, in, name);
    json_tree_text(t, check, "status", status);
    if (*reason)
        json_tree_text(t, check, "reason", reason);
    return check;
}

void ops_put_shortcut(struct json_tree *t, struct json_object *in, const char *member,
                      const struct ops_health *h)
{
    const bool many = h->shortcut == DB_HOSTS_MANY, on = h->shortcut == DB_HOSTS_ON;
    struct json_object *shortcut = json_tree_object(t, in, "shortcut");
    json_tree_text(t, shortcut, member, many ? "not configured" : on ? "on" : "off");
    if (h->shortcut_reason[0] && !many)
        json_tree_text(t, shortcut, "reason", h->shortcut_reason);
}
