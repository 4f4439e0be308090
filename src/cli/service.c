/* SPDX-License-Identifier: MIT */
/* parley reload and parley stop: signals to the supervisor that the pid file names, and waits for
 * what comes of them. */
#include "cli_internal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { LOOK_MS = 50 };

static int fail(const char *why, const char *more)
{
    fprintf(stderr, "parley: %s%s\n", why, more);
    return EXIT_FAULT;
}

static bool has_ended(const struct pidfile_found *found, int within_ms)
{
    struct pollfd p = {.fd = found->process_fd, .events = POLLIN};
    return poll(&p, 1, within_ms) == 1;
}

static int await_reload(const struct pidfile_found *found, int64_t before)
{
    struct pidfile_reload now;
    while (!has_ended(found, LOOK_MS)) {
        /* A reload that began after this command has read the configuration as it was then, or a
         * later one. */
        if (!pidfile_read(found, &now) || now.number <= before ||
            strcmp(now.outcome, "running") == 0)
            continue;
        if (strcmp(now.outcome, "done") != 0)
            return fail("the reload was ", now.outcome);
        fprintf(stderr, "parley: reloaded\n");
        return EXIT_GOOD;
    }
    return fail("the service has ended", "");
}

static int signal_service(const struct command_context *c, int signo)
{
    char path[PIDFILE_PATH_MAX], why[320];
    struct pidfile_found found;
    struct pidfile_reload before = {.number = 0};
    int status = EXIT_GOOD;
    if (!pidfile_path(c->cfg, path))
        return command_usage_error(c->faults, NULL);
    if (!pidfile_find(path, &found, why, sizeof why))
        return fail(why, "");
    while (signo == SIGHUP && !pidfile_read(&found, &before) && !has_ended(&found, LOOK_MS))
        ;
    if (!pidfile_signal(&found, signo))
        status = fail("the service cannot be reached: ", strerror(errno));
    else if (signo == SIGHUP)
        status = await_reload(&found, before.number);
    else
        (void)has_ended(&found, -1);
    pidfile_forget(&found);
    return status;
}

int service_reload_run(struct command_context *c)
{
    return signal_service(c, SIGHUP);
}

int service_stop_run(struct command_context *c)
{
    return signal_service(c, SIGTERM);
}
