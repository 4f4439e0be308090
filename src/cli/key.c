/* SPDX-License-Identifier: MIT */
/* parley key: API keys. A new key goes to stdout, text for people to stderr. A change is known to
 * every worker when the command ends. */
#include "cli_internal.h"

#include <stdio.h>
#include <string.h>

#include "parley/auth/auth.h"
#include "parley/obs/log.h"

int key_create_run(struct command_context *c)
{
    const struct command_options *o = &c->options;
    const struct sv scope = sv_from(o->scope);
    struct auth_key key = {.tenant = sv_from(o->tenant),
                           .name = o->name ? sv_from(o->name) : SV(""),
                           .user = sv_from(o->user),
                           .read_only = sv_eq(scope, SV("read")),
                           .signing = o->signing};
    int64_t lives_s = 0;
    char secret[AUTH_SECRET_MAX + 1], until[CLOCK_RFC3339_LEN + 1];
    if (!key.tenant.p)
        return command_usage_error("key create needs --tenant NAME", NULL);
    if (!auth_tenant_valid(key.tenant))
        return command_usage_error("--tenant must be 1 to 64 of A-Z a-z 0-9 . _ -, and is ",
                                   o->tenant);
    if (!auth_name_valid(key.name))
        return command_usage_error(
            "--name must be up to 100 characters of UTF-8 without control characters", NULL);
    if (scope.p && !key.read_only && !sv_eq(scope, SV("write")))
        return command_usage_error("--scope must be read or write, and is ", o->scope);
    if (key.user.p && !auth_user_valid(key.user))
        return command_usage_error("--user must be " AUTH_USER_RULE, NULL);
    if (o->expires && !command_parse_lifetime(o->expires, &lives_s))
        return command_usage_error(COMMAND_LIFETIME_RULE, o->expires);
    if (!command_connect_owner(c))
        return EXIT_FAULT;
    enum err e = auth_key_create(c->db, &c->ctx, &key, lives_s, secret);
    if (e == ERR_NONE) {
        c->ctx.tenant = key.tenant;
        log_audit(&c->ctx, c->cfg->log_file, "key_create", true, key.id, NULL);
        printf("%s\n", secret);
        clock_rfc3339(key.expires_at, until);
        /* Then nobody has it. */
        if (fflush(stdout) != 0)
            e = ctx_fault(&c->ctx, ERR_INTERNAL, "key %.*s could not be written; revoke it",
                          SV_ARG(key.id));
        else
            fprintf(stderr,
                    "parley: %skey %.*s for tenant %s, until %.19s%s; it is shown this once%s\n",
                    key.signing ? "signing " : "", SV_ARG(key.id), o->tenant,
                    key.expires_at ? until : "it is revoked", key.expires_at ? "Z" : "",
                    key.signing ? "; its id is the kid of its tokens" : "");
    }
    const int status = command_finish(c, e);
    if (status == EXIT_GOOD)
        deadline_wait(deadline_in_ms(AUTH_HOLDS_MS));
    return status;
}

int key_revoke_run(struct command_context *c)
{
    struct sv id;
    if (!auth_key_id(sv_from(c->argument), &id))
        return command_usage_error(
            "key revoke takes a key, or the id of one, which has 16 hexadecimal digits", NULL);
    if (!command_connect_owner(c))
        return EXIT_FAULT;
    enum err e = auth_key_revoke(c->db, &c->ctx, id);
    if (e == ERR_NOT_FOUND)
        ctx_fault(&c->ctx, e, "there is no key %.*s", SV_ARG(id));
    else if (e == ERR_NONE)
        log_audit(&c->ctx, c->cfg->log_file, "key_revoke", true, id, NULL);
    const int status = command_finish(c, e);
    if (status != EXIT_GOOD)
        return status;
    deadline_wait(deadline_in_ms(AUTH_HOLDS_MS));
    fprintf(stderr, "parley: key %.*s is revoked\n", SV_ARG(id));
    return status;
}

static void put_key(struct output *o, const void *row)
{
    const struct auth_key *k = row;
    const bool expired = k->expires_at != 0 && k->expires_at <= o->now;
    output_text(o, "ID", "id", k->id, NULL);
    output_text(o, "STATE", "state",
                k->revoked_at != 0 ? SV("revoked")
                : expired          ? SV("expired")
                                   : SV("live"),
                NULL);
    output_text(o, "TENANT", "tenant", k->tenant, NULL);
    output_text(o, "KIND", "kind", k->signing ? SV("signing") : SV("bearer"), NULL);
    output_text(o, "SCOPE", "scope", k->read_only ? SV("read") : SV("write"), NULL);
    output_text(o, "USER", "user_id", k->user.n > 0 ? k->user : SV_NONE, "all");
    output_time(o, "CREATED", "created_at", k->created_at, "");
    output_time(o, "EXPIRES", "expires_at", k->expires_at, "never");
    output_time(o, NULL, "revoked_at", k->revoked_at, NULL);
    output_time(o, "LAST USED", "last_used_at", k->last_used_at, "never");
    output_text(o, "NAME", "name", k->name, NULL);
}

int key_list_run(struct command_context *c)
{
    struct auth_key *keys = NULL;
    size_t n = 0;
    if (!command_connect_owner(c))
        return EXIT_FAULT;
    const enum err e = auth_key_list(c->db, &c->ctx, &keys, &n);
    return output_list(c, e, "keys", keys, n, sizeof *keys, put_key);
}
