/* SPDX-License-Identifier: MIT */
/* parley export: the sessions and users' states of one tenant, or of all, as lines. --resume needs
 * nothing but the file: it cuts off the last session, and writes it anew. */
#include "transfer_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "parley/auth/auth.h"
#include "parley/obs/log.h"

struct export
{
    struct command_context *c;
    FILE *file;
    char tenant[AUTH_TENANT_MAX + 1]; /* all tenants before it are written */
    struct session_position at;       /* of the last session in the file, which is written anew */
    int64_t sessions, messages;
    bool is_complete;
    struct progress progress;
};

static enum err file_failed(struct export *x)
{
    return ctx_fault(&x->c->ctx, ERR_INTERNAL, "%s: %s", x->c->argument, strerror(errno));
}

/* ---- continue ---- */

/* Cuts the file before the line that begins its last session; without one, to nothing. */
static enum err find_end(struct export *x)
{
    char *text = NULL;
    size_t cap = 0;
    off_t at = 0, cut = 0;
    int64_t messages = 0;
    errno = 0;
    for (ssize_t n; (n = getline(&text, &cap, x->file)) > 0; at += n) {
        const struct sv line = {text, (size_t)n - (text[n - 1] == '\n')};
        struct session_position here;
        struct sv tenant;
        if (at == 0 && !sv_starts_with(line, SV("{\"tenant\":\"")) &&
            !sv_starts_with(line, SV("{\"complete\":true,"))) {
            free(text);
            return ctx_fault(&x->c->ctx, ERR_CONFLICT, "%s is not an export", x->c->argument);
        }
        if (line.n < (size_t)n && transfer_read_position(line, &tenant, &here)) {
            snprintf(x->tenant, sizeof x->tenant, "%.*s", SV_ARG(tenant));
            x->at = here;
            x->sessions++;
            x->messages = messages;
            cut = at;
        } else if (sv_starts_with(line, SV("{\"session_id\":"))) {
            messages++;
        } else {
            x->is_complete = line.n < (size_t)n && sv_starts_with(line, SV("{\"complete\":true,"));
        }
    }
    free(text);
    if (x->is_complete) {
        x->messages = messages;
        return ERR_NONE;
    }
    x->sessions -= x->sessions > 0;
    if (ferror(x->file) || fflush(x->file) != 0 || ftruncate(fileno(x->file), cut) != 0 ||
        fseeko(x->file, cut, SEEK_SET) != 0)
        return file_failed(x);
    return ERR_NONE;
}

static enum err open_file(struct export *x)
{
    const char *path = x->c->argument;
    if (strcmp(path, "-") == 0) {
        x->file = stdout;
        return ERR_NONE;
    }
    x->file = fopen(path, x->c->options.resume ? "r+e" : "wxe");
    if (x->file)
        return x->c->options.resume ? find_end(x) : ERR_NONE;
    return errno == EEXIST
               ? ctx_fault(&x->c->ctx, ERR_CONFLICT,
                           "%s exists; --resume continues an export that was cut off", path)
               : file_failed(x);
}

/* ---- write ---- */

static enum err write_part(struct export *x, const struct session_export *e,
                           const struct session_export_part *part)
{
    struct buf b;
    struct json_writer j = {.b = &b};
    buf_init(&b, x->c->arena, 0);
    transfer_write(&j, x->c->ctx.tenant, e, part);
    if (b.failed)
        return ctx_nomem(&x->c->ctx);
    if (b.n > 0 && fwrite(b.p, 1, b.n, x->file) != b.n)
        return file_failed(x);
    x->sessions += part->session != NULL;
    x->messages += (int64_t)part->n;
    progress_say(&x->progress, 0, x->messages);
    return ERR_NONE;
}

static enum err export_tenant(struct export *x, struct sv tenant)
{
    struct command_context *c = x->c;
    const struct arena_mark mark = arena_get_mark(c->arena);
    struct session_export e = {.user = sv_from(c->options.user)};
    struct session_export_part part = {.end = false};
    if (sv_eq(tenant, sv_from(x->tenant)))
        e.at = (struct session_position){x->at.created_at, x->at.generation - 1};
    c->ctx.tenant = tenant;
    while (!part.end) {
        arena_rewind(c->arena, mark);
        command_renew_deadline(c);
        TRY(session_export_next(c->sessions, &c->ctx, &e, &part));
        TRY(write_part(x, &e, &part));
    }
    return ERR_NONE;
}

static enum err export_tenants(struct export *x)
{
    struct command_context *c = x->c;
    struct auth_tenant *tenants;
    size_t n;
    if (c->options.tenant)
        return export_tenant(x, sv_from(c->options.tenant));
    TRY(auth_tenant_list(c->db, &c->ctx, true, &tenants, &n));
    for (size_t i = 0; i < n; i++)
        if (sv_compare(tenants[i].tenant, sv_from(x->tenant)) >= 0)
            TRY(export_tenant(x, tenants[i].tenant));
    c->ctx.tenant = SV("");
    return ERR_NONE;
}

static enum err write_all(struct export *x)
{
    struct command_context *c = x->c;
    const enum err e = export_tenants(x);
    const int64_t counts[] = {x->sessions, x->messages, 0};
    progress_end(&x->progress);
    log_audit(&c->ctx, c->cfg->log_file, "export", e == ERR_NONE, SV_NONE, counts);
    TRY(e);
    const struct session_export all = {.sessions = x->sessions, .messages = x->messages};
    c->ctx.tenant = SV_NONE;
    TRY(write_part(x, &all, &(struct session_export_part){.end = true}));
    const bool good = fflush(x->file) == 0 && (x->file == stdout || fsync(fileno(x->file)) == 0);
    return good ? ERR_NONE : file_failed(x);
}

int export_run(struct command_context *c)
{
    struct export x = {.c = c, .progress = {.verb = "exported"}};
    const char *tenant = c->options.tenant;
    if (c->options.resume && strcmp(c->argument, "-") == 0)
        return command_usage_error("--resume needs a file", NULL);
    if (c->options.user && !tenant)
        return command_usage_error("--user needs --tenant", NULL);
    const int status = command_open_sessions(c, command_admin_url(c->cfg));
    if (status != EXIT_GOOD)
        return status;
    enum err e = tenant ? command_check_tenant(c, tenant) : ERR_NONE;
    if (e == ERR_NONE)
        e = open_file(&x);
    if (e == ERR_NONE && tenant && x.tenant[0] && strcmp(x.tenant, tenant) != 0)
        e = ctx_fault(&c->ctx, ERR_CONFLICT, "%s is an export of tenant %s", c->argument, x.tenant);
    if (e == ERR_NONE && !x.is_complete)
        e = write_all(&x);
    if (e == ERR_NONE)
        fprintf(stderr, "parley: %" PRId64 " session%s and %" PRId64 " message%s exported\n",
                COUNT(x.sessions), COUNT(x.messages));
    if (x.file && x.file != stdout)
        fclose(x.file);
    return command_finish(c, e);
}
