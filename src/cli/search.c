/* SPDX-License-Identifier: MIT */
/* parley search: builds the index of all messages while hosts serve, or removes it. */
#include "cli_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "parley/session/search.h"

enum { LOCK_TRIES = 60, PAUSE_MS = 1000, STEP_MS = 100, SAY_MS = 10000 };

/* While a change of a table waits for its lock, writes to the table wait, too. So the change gives
 * up soon, and is tried again. */
static enum err try_locked(struct command_context *c,
                           enum err (*change)(struct sessions *, struct request_ctx *))
{
    enum err e = ERR_BUSY;
    for (int i = 0; i < LOCK_TRIES && e == ERR_BUSY; i++) {
        if (i > 0)
            deadline_wait(deadline_in_ms(PAUSE_MS));
        command_begin_step(c);
        e = change(c->sessions, &c->ctx);
    }
    return e;
}

static void say_progress(int64_t total, int64_t left)
{
    const bool terminal = isatty(STDERR_FILENO);
    fprintf(stderr, "%sparley: %" PRId64 " of %" PRId64 " sessions are indexed%s",
            terminal ? "\r" : "", total - left, total, terminal && left > 0 ? "" : "\n");
}

/* Indexes the rest of the queue, from which hosts may index at the same time. */
static enum err index_all(struct command_context *c)
{
    const int64_t pause = isatty(STDERR_FILENO) ? PAUSE_MS : SAY_MS;
    struct deadline say = deadline_in_ms(pause);
    bool more = true;
    int64_t failures = 0;
    for (int64_t total = 0, left = 1; left > 0;) {
        command_begin_step(c);
        const enum err e = session_index_step(c->sessions, &c->ctx, failures, &more);
        failures = e == ERR_TIMEOUT ? failures + 1 : 0;
        if (e != ERR_NONE && e != ERR_TIMEOUT)
            return e;
        if (more && !deadline_passed(say))
            continue;
        TRY(session_index_progress(c->sessions, &c->ctx, &total, &left));
        if (left == 0 || deadline_passed(say)) {
            say_progress(total, left);
            say = deadline_in_ms(pause);
        }
        if (left > 0 && !more)
            deadline_wait(deadline_in_ms(STEP_MS));
    }
    return ERR_NONE;
}

/* What is queued stays queued if this command is interrupted. */
static enum err queue_all(struct command_context *c)
{
    bool more = true;
    TRY(try_locked(c, session_index_begin));
    while (more) {
        command_begin_step(c);
        TRY(session_index_queue(c->sessions, &c->ctx, &more));
    }
    return ERR_NONE;
}

int search_build_run(struct command_context *c)
{
    const int status = command_open_sessions(c, command_admin_url(c->cfg));
    if (status != EXIT_GOOD)
        return status;
    enum err e = queue_all(c);
    if (e == ERR_NONE)
        e = index_all(c);
    if (e == ERR_NONE && !c->cfg->search)
        fprintf(stderr, "parley: messages can be searched where PARLEY_SEARCH=on\n");
    return command_finish(c, e);
}

int search_drop_run(struct command_context *c)
{
    const int status = command_open_sessions(c, command_admin_url(c->cfg));
    if (status != EXIT_GOOD)
        return status;
    return command_finish(c, try_locked(c, session_index_drop));
}
