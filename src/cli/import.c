/* SPDX-License-Identifier: MIT */
/*
 * parley import: reads a file twice. The first pass checks each record (a line, or an element of
 * the array). If one is bad, there is no second pass, which stores up to 1,000 messages in a
 * transaction. What is there already is skipped, so an interrupted import can be repeated.
 */
#include "transfer_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "parley/auth/auth.h"
#include "parley/base/encode.h"
#include "parley/base/names.h"
#include "parley/json/members.h"
#include "parley/obs/log.h"
#include "parley/session/import.h"

enum { BATCH_BYTES = 8 * 1024 * 1024, ARENA_LIMIT = 512 * 1024 * 1024, FAULTS_SAID = 20 };

struct import {
    struct command_context *c;
    enum transfer_format format;
    bool checks; /* the first pass */
    int64_t ttl_s;
    size_t n_checked; /* the number of the last record of the first pass */
    struct stat file; /* as it was before the first pass */
    /* Since the end of the export before. */
    bool is_cut; /* the end of an export must follow */
    int64_t n_begun, n_read;
    /* The batch. Its records are in the arena of read. */
    struct request_ctx read;
    struct session_import items[SESSION_IMPORT_MAX];
    struct session_message messages[SESSION_IMPORT_MAX];
    size_t n, n_messages;
    bool is_open;            /* the last item may get more messages */
    int64_t summary_end;     /* the last seq of its summary; 0: none */
    char id[SESSION_ID_MAX]; /* its session_id after a flush */
    char tenant[AUTH_TENANT_MAX + 1];
    uint64_t secret; /* so that nobody can make ids of one hash */
    void *seen;      /* a tree of tsearch(3): hashes of the sessions that the first pass has seen */
    /* The outcome. */
    int64_t sessions[SESSION_IMPORT_STATES], stored, states, faults;
    struct progress progress;
    struct import_input in;
};

static void say_fault(struct import *im, size_t number, const char *why)
{
    progress_end(&im->progress);
    if (++im->faults <= FAULTS_SAID)
        command_say("%s %zu: %s", im->in.is_array ? "conversation" : "line", number, why);
}

/* ---- the batch ---- */

static void count_item(struct import *im, const struct session_import *item)
{
    char text[SESSION_ID_MAX + sizeof item->why + 16];
    im->sessions[item->state]++;
    if (item->state == SESSION_IMPORT_STORED)
        im->stored += item->session.message_count;
    if (item->state != SESSION_IMPORT_REFUSED)
        return;
    snprintf(text, sizeof text, "session %.*s: %s", SV_ARG(item->session.session_id), item->why);
    say_fault(im, item->line, text);
}

/* An open item stays, and no longer needs the arena of read. */
static enum err flush(struct import *im)
{
    const size_t n_ended = im->n - im->is_open;
    if (im->n > 0 && !im->checks) {
        command_begin_step(im->c);
        TRY(session_import(im->c->sessions, &im->c->ctx, im->items, im->n));
    }
    for (size_t i = 0; i < n_ended; i++)
        count_item(im, &im->items[i]);
    im->n = im->n_messages = 0;
    if (!im->is_open)
        return ERR_NONE;
    struct session *x = &im->items[n_ended].session;
    memmove(im->id, x->session_id.p, x->session_id.n);
    x->session_id.p = im->id;
    x->messages = im->messages;
    x->n_messages = 0;
    im->items[im->n++] = im->items[n_ended];
    return ERR_NONE;
}

static void end_session(struct import *im)
{
    if (!im->is_open)
        return;
    struct session_import *item = &im->items[im->n - 1];
    if (im->checks && im->summary_end > item->session.last_seq)
        say_fault(im, item->line, "session.summary.last_seq is above the seq of the last message");
    item->is_last = true;
    im->is_open = false;
}

static int compare_hashes(const void *a, const void *b)
{
    return ((uintptr_t)a > (uintptr_t)b) - ((uintptr_t)a < (uintptr_t)b);
}

/* Finds sessions whose lines do not follow each other: a part would be stored as the whole. */
static enum err check_is_first(struct import *im, struct sv id)
{
    const struct sv secret = {(const char *)&im->secret, sizeof im->secret};
    const struct sv parts[] = {secret, sv_from(im->tenant), id};
    unsigned char hash[SHA256_LEN];
    const void *key;
    sha256_parts(parts, ARRAY_LEN(parts), hash);
    memcpy(&key, hash, sizeof key);
    if (tfind(key, &im->seen, compare_hashes))
        say_fault(im, im->in.number, "the session began before; its lines must follow each other");
    return tsearch(key, &im->seen, compare_hashes) ? ERR_NONE : ctx_nomem(&im->c->ctx);
}

static void free_nothing(void *key)
{
    (void)key;
}

static enum err begin_session(struct import *im, const struct session *session)
{
    end_session(im);
    if (im->n == SESSION_IMPORT_MAX)
        TRY(flush(im));
    struct session_import *item = &im->items[im->n++];
    struct session *x = &item->session;
    *item = (struct session_import){.session = *session, .line = im->in.number};
    item->state = im->checks ? SESSION_IMPORT_STORED : SESSION_IMPORT_NEW;
    x->messages = im->messages + im->n_messages;
    if (!x->user_id.p)
        x->user_id = sv_from(im->c->options.user);
    if (im->ttl_s > 0) {
        x->ttl_seconds = im->ttl_s;
        x->expires_at = SESSION_ANY_TIME;
    } else if (x->expires_at <= clock_wall_us()) {
        item->state = SESSION_IMPORT_EXPIRED;
    }
    im->is_open = true;
    if (!sv_to_i64(json_member_get(x->summary, "last_seq"), &im->summary_end))
        im->summary_end = 0;
    return im->checks ? check_is_first(im, x->session_id) : ERR_NONE;
}

static enum err add_message(struct import *im, const struct session_message *message)
{
    struct session *x = &im->items[im->n - 1].session;
    if (x->message_count == 0 && x->created_at == 0)
        x->created_at = message->created_at;
    if (im->n_messages == SESSION_IMPORT_MAX)
        TRY(flush(im));
    x = &im->items[im->n - 1].session;
    struct session_message *m = &im->messages[im->n_messages++];
    *m = *message;
    m->seq = m->seq > 0 ? m->seq : x->last_seq + 1;
    if (m->seq <= x->last_seq)
        return ctx_fail(&im->read, ERR_INVALID, "invalid_field", "message.seq",
                        "message.seq must be greater than that of the message before.");
    x->last_seq = m->seq;
    x->n_messages++;
    x->message_count++;
    return ERR_NONE;
}

/* ---- a record ---- */

static enum err set_tenant(struct import *im, struct sv named)
{
    struct command_context *c = im->c;
    const struct sv tenant = c->options.tenant ? sv_from(c->options.tenant) : named;
    if (sv_eq(tenant, sv_from(im->tenant)) || (!tenant.p && im->tenant[0]))
        return ERR_NONE;
    if (!tenant.p)
        return ctx_fail(&im->read, ERR_INVALID, "missing_field", "tenant",
                        "tenant is missing: name it in the line, or with --tenant.");
    end_session(im);
    TRY(flush(im));
    memcpy(im->tenant, tenant.p, tenant.n);
    im->tenant[tenant.n] = '\0';
    command_begin_step(c);
    return command_check_tenant(c, im->tenant);
}

static enum err import_state(struct import *im, const struct session *state)
{
    bool stored = true;
    if (!im->checks) {
        command_begin_step(im->c);
        TRY(session_import_user_state(im->c->sessions, &im->c->ctx, state, &stored));
    }
    im->states += stored;
    return ERR_NONE;
}

/* Only the counts show that a message or a whole session is missing. */
static enum err end_export(struct import *im, const struct transfer *end)
{
    const int64_t sessions = im->n_begun, messages = im->n_read;
    im->n_begun = im->n_read = 0;
    im->is_cut = false;
    if (im->faults > 0 || (end->end_sessions == sessions && end->end_messages == messages))
        return ERR_NONE;
    return ctx_fail(&im->read, ERR_INVALID, NULL, NULL,
                    "the export had %" PRId64 " session%s and %" PRId64
                    " message%s, but the lines before have %" PRId64 " and %" PRId64,
                    COUNT(end->end_sessions), COUNT(end->end_messages), sessions, messages);
}

static enum err import_record(struct import *im, struct sv record)
{
    struct transfer t;
    if (record.n > IMPORT_RECORD_MAX)
        return ctx_fail(&im->read, ERR_TOO_LARGE, NULL, NULL, "it has more than 64 MiB");
    TRY(transfer_read(&im->read, im->format, record, &t));
    if (t.kind == TRANSFER_END)
        return end_export(im, &t);
    im->is_cut |= t.is_exported;
    TRY(set_tenant(im, t.tenant));
    if (t.kind == TRANSFER_STATE)
        return import_state(im, &t.session);
    im->n_begun += t.kind == TRANSFER_BEGINS;
    im->n_read += (int64_t)t.n_messages;
    if (t.kind == TRANSFER_BEGINS || !im->is_open ||
        !sv_eq(im->items[im->n - 1].session.session_id, t.session.session_id))
        TRY(begin_session(im, &t.session));
    for (size_t i = 0; i < t.n_messages; i++)
        TRY(add_message(im, &t.messages[i]));
    return ERR_NONE;
}

/* Nothing more is stored: a session would be without the records that are missing. */
static enum err file_changed(struct import *im)
{
    return ctx_fault(&im->c->ctx, ERR_CONFLICT, "%s has changed since it was checked",
                     im->c->argument);
}

static bool is_unchanged(const struct import *im)
{
    struct stat now;
    return fstat(fileno(im->in.file), &now) == 0 && now.st_size == im->file.st_size &&
           now.st_mtim.tv_sec == im->file.st_mtim.tv_sec &&
           now.st_mtim.tv_nsec == im->file.st_mtim.tv_nsec;
}

/* The first pass prints a fault of the record, and goes on. */
static enum err take_record(struct import *im, struct sv record)
{
    const struct err_info *why = &im->read.err;
    ctx_clear_error(&im->read);
    const struct sv copy = arena_dup(im->read.arena, record);
    const enum err e = copy.p ? import_record(im, copy) : ctx_nomem(&im->read);
    if (why->err == ERR_NONE)
        return e;
    const struct sv detail = sv_from(why->detail[0] ? why->detail : err_name(why->err));
    const bool names_field = sv_starts_with(detail, sv_from(why->field));
    char said[sizeof why->field + sizeof why->detail + 2];
    snprintf(said, sizeof said, "%s%s%s", names_field ? "" : why->field, names_field ? "" : ": ",
             detail.p);
    say_fault(im, im->in.number, said);
    return im->checks ? ERR_NONE : file_changed(im);
}

/* ---- all of it ---- */

static enum err run_pass(struct import *im, bool checks)
{
    struct sv record;
    im->checks = checks;
    memset(im->sessions, 0, sizeof im->sessions);
    im->stored = im->states = 0;
    im->tenant[0] = '\0';
    im->progress =
        (struct progress){.verb = checks ? "checked" : "stored", .total = ftello(im->in.file)};
    rewind(im->in.file);
    im->in.number = 0;
    /* The second pass goes on after faults: a repeated import would end at the same ones. */
    while ((!checks || im->faults < FAULTS_SAID) && import_input_next(&im->in, &record)) {
        TRY(take_record(im, record));
        const int64_t open = im->is_open ? im->items[im->n - 1].session.message_count : 0;
        /* The first message may say when the session was made. */
        if ((im->n_messages == SESSION_IMPORT_MAX || arena_used(im->read.arena) > BATCH_BYTES) &&
            !(im->is_open && open == 0)) {
            TRY(flush(im));
            arena_reset(im->read.arena);
        }
        progress_say(&im->progress, ftello(im->in.file), im->stored + open);
    }
    if (ferror(im->in.file))
        return ctx_fault(&im->c->ctx, ERR_INTERNAL, "%s: %s", im->c->argument, strerror(errno));
    if (!checks && (im->in.number != im->n_checked || !is_unchanged(im)))
        return file_changed(im);
    im->n_checked = im->in.number;
    if (im->in.is_array && !im->in.is_ended)
        say_fault(im, im->in.number, "the file was cut off after it: the array does not end");
    if (im->is_cut)
        say_fault(im, im->in.number,
                  "the export was cut off after it; export --resume continues it");
    end_session(im);
    return flush(im);
}

static enum err run(struct import *im)
{
    struct command_context *c = im->c;
    const int64_t *sessions = im->sessions;
    enum err e = run_pass(im, true);
    progress_end(&im->progress);
    if (e == ERR_NONE && im->faults == 0 && !c->options.dry_run) {
        e = run_pass(im, false);
        progress_end(&im->progress);
        const int64_t counts[] = {sessions[SESSION_IMPORT_STORED], im->stored, im->states};
        if (!c->options.tenant)
            c->ctx.tenant = SV("");
        log_audit(&c->ctx, c->cfg->log_file, "import", e == ERR_NONE && im->faults == 0, SV_NONE,
                  counts);
    }
    if (e == ERR_NONE && im->checks && im->faults > 0)
        fprintf(stderr, "parley: nothing was stored%s\n",
                im->faults < FAULTS_SAID ? "" : "; there may be more faults");
    else if (e == ERR_NONE)
        fprintf(stderr,
                "parley: %" PRId64 " session%s, %" PRId64 " message%s and %" PRId64
                " user state%s %s; sessions left out: %" PRId64 " there already, %" PRId64
                " expired, %" PRId64 " refused\n",
                COUNT(sessions[SESSION_IMPORT_STORED]), COUNT(im->stored), COUNT(im->states),
                im->checks ? "are valid" : "stored", sessions[SESSION_IMPORT_THERE],
                sessions[SESSION_IMPORT_EXPIRED], sessions[SESSION_IMPORT_REFUSED]);
    return e;
}

/* EXIT_GOOD, or the exit status after a line that says what is wrong. */
static int read_usage(struct import *im)
{
    const struct command_options *o = &im->c->options;
    const struct names formats = {transfer_names, TRANSFER_FORMATS, sizeof *transfer_names};
    const size_t format = o->from ? names_index(&formats, sv_from(o->from)) : TRANSFER_PARLEY;
    if (format == TRANSFER_FORMATS)
        return command_usage_error("--from must be parley, chat, langchain or chatgpt, and is ",
                                   o->from);
    if (o->tenant && !auth_tenant_valid(sv_from(o->tenant)))
        return command_usage_error("--tenant must be 1 to 64 of A-Z a-z 0-9 . _ -, and is ",
                                   o->tenant);
    if (o->user && !auth_user_valid(sv_from(o->user)))
        return command_usage_error("--user must be " AUTH_USER_RULE, NULL);
    if (o->expires && !command_parse_lifetime(o->expires, &im->ttl_s))
        return command_usage_error(COMMAND_LIFETIME_RULE, o->expires);
    im->format = (enum transfer_format)format;
    im->in.is_array = format == TRANSFER_CHATGPT;
    im->in.file = fopen(im->c->argument, "re");
    if (im->in.file && fstat(fileno(im->in.file), &im->file) == 0 &&
        fseeko(im->in.file, 0, SEEK_END) == 0)
        return EXIT_GOOD;
    fprintf(stderr, "parley: %s: %s\n", im->c->argument,
            errno == ESPIPE ? "it must be a regular file: it is read twice" : strerror(errno));
    return EXIT_FAULT;
}

int import_run(struct command_context *c)
{
    struct import *im = calloc(1, sizeof *im);
    struct arena *arena = im ? arena_create(ARENA_LIMIT) : NULL;
    int status = EXIT_FAULT;
    if (arena) {
        im->c = c;
        im->secret = random_u64();
        ctx_init(&im->read, arena, deadline_in_ms(INT32_MAX), SV(""), SV("command"));
        status = read_usage(im);
        if (status == EXIT_GOOD)
            status = command_open_sessions(c, c->cfg->database_url);
        if (status == EXIT_GOOD)
            status = command_finish(c, run(im));
        if (status == EXIT_GOOD && im->faults > 0)
            status = EXIT_FAULT;
        if (im->in.file)
            fclose(im->in.file);
        tdestroy(im->seen, free_nothing);
    }
    arena_destroy(arena);
    free(im);
    return status;
}
