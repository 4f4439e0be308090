/* SPDX-License-Identifier: MIT */
/*
 * Replaces the program of a running service (parley reload --binary). The supervisor executes the
 * newly installed program as its successor, which inherits the sockets and the open pid file. Once
 * all workers of the successor are ready, it takes over the lock of the pid file, and the old
 * workers drain. If the successor fails before, the old service continues; if the old supervisor
 * dies before, the successor ends. The database sees the two as two hosts.
 */
#include "server_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* How the successor learns what it inherits (names with PARLEY_ in front are settings): the
 * descriptors of the pid file and of the channel to its predecessor, the number of this reload,
 * whether it will own the sockets, and the predecessor's pid. */
static const char variable[] = "SUCCESSOR_OF_PARLEY";

/* Messages over the channel, a byte each: the successor is ready; the predecessor lets it take
 * over; it has taken over. The predecessor serves until the last one, so that one of them always
 * does. */
enum { IS_READY = 'r', TAKE_OVER = 't', HAS_TAKEN = 'h' };

static const int64_t start_margin_us = 10 * 1000000;

static void say(int channel, char byte)
{
    (void)!write(channel, &byte, 1);
}

/* ---- the predecessor ---- */

/* The path of this process, for one that was found in PATH. It may name a newer program by now. */
static bool read_path(char path[4096])
{
    static const char deleted[] = " (deleted)"; /* replaced by another file */
    const ssize_t n = readlink("/proc/self/exe", path, 4095);
    path[n > 0 ? n : 0] = '\0';
    const size_t end = strlen(path), suffix = sizeof deleted - 1;
    if (end > suffix && strcmp(path + end - suffix, deleted) == 0)
        path[end - suffix] = '\0';
    return n > 0;
}

/* Runs in the child, and never returns. The sockets become descriptors 3 and up, as
 * sd_listen_fds(3) specifies. */
static void execute(const struct supervisor *s, int channel, pid_t predecessor)
{
    enum { FIRST = 3, HIGH = 100 };
    char path[4096], text[64];
    int fds[LISTENERS + 2], n = 0;
    if (!read_path(path))
        _exit(EXIT_FAULT);
    for (int i = 0; i < LISTENERS; i++)
        if (s->listeners[i].fd >= 0)
            fds[n++] = fcntl(s->listeners[i].fd, F_DUPFD, HIGH);
    const int sockets = n;
    fds[n++] = fcntl(s->pidfile_fd, F_DUPFD, HIGH);
    fds[n++] = fcntl(channel, F_DUPFD, HIGH);
    for (int i = 0; i < n; i++)
        if (dup2(fds[i], FIRST + i) < 0 || close(fds[i]) != 0)
            _exit(EXIT_FAULT);
    snprintf(text, sizeof text, "%d %d %lld %u %d", FIRST + sockets, FIRST + sockets + 1,
             (long long)s->reloads_begun, ~listeners_foreign(s->listeners), (int)predecessor);
    setenv(variable, text, 1);
    snprintf(text, sizeof text, "%d", sockets);
    setenv("LISTEN_FDS", text, 1);
    snprintf(text, sizeof text, "%ld", (long)getpid());
    setenv("LISTEN_PID", text, 1);
    setenv("WATCHDOG_PID", text, 1);
    execv(strchr(s->argv[0], '/') ? s->argv[0] : path, s->argv);
    log_say(LOG_ERROR, "exec_failed", "%s: %s", s->argv[0], strerror(errno));
    _exit(EXIT_FAULT);
}

/* Why the service would end with this process; NULL: it would not. */
static const char *tied_to_pid(void)
{
    if (getpid() == 1)
        return "process 1 of a container cannot be replaced: restart the container";
    if (getenv("INVOCATION_ID") && getppid() == 1 && !getenv("NOTIFY_SOCKET"))
        return "the unit of systemd needs Type=notify, to follow the service to another process";
    return NULL;
}

static void start(struct supervisor *s)
{
    const struct config *cfg = s->current->cfg;
    const pid_t parent = getpid();
    const char *tied = tied_to_pid();
    int pair[2];
    s->successor.wanted = false;
    reload_begin(s);
    if (tied || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) {
        reload_refuse(s, "%s", tied ? tied : strerror(errno));
        return;
    }
    const pid_t pid = fork();
    if (pid == 0)
        execute(s, pair[1], parent);
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        reload_refuse(s, "the new program cannot be started: %s", strerror(errno));
        return;
    }
    s->successor.pid = pid;
    s->successor.channel = pair[0];
    s->successor.due_us =
        clock_mono_us() + (cfg->connect_ms + cfg->statement_ms) * 1000 + start_margin_us;
}

bool successor_ended(struct supervisor *s, pid_t pid, int status)
{
    if (!s->successor.pid || s->successor.pid != pid)
        return false;
    s->successor.pid = 0;
    close(s->successor.channel);
    if (s->successor.serves) {
        s->exit_status = EXIT_FAULT; /* so that a service manager starts another one */
        return true;
    }
    pidfile_lock(s->pidfile_fd, true); /* it may have been released for the successor */
    if (!s->stopping)
        reload_refuse(s, "the new program ended before it was ready, with %s %d",
                      WIFSIGNALED(status) ? "signal" : "exit status",
                      WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return true;
}

/* From here on the sockets, the pid file and the name of the service are the successor's. */
static void hand_over(struct supervisor *s)
{
    s->successor.serves = true;
    for (int i = 0; i < LISTENERS; i++)
        listener_own(&s->listeners[i], NULL);
    atomic_store(&s->run.shared->foreign, listeners_foreign(s->listeners));
    close(s->pidfile_fd);
    s->pidfile_fd = -1;
    /* MAINPID first: systemd then accepts what the successor sends. */
    service_manager_notify("MAINPID=%ld\nREADY=1\nSTATUS=serving", (long)s->successor.pid);
    log_say(LOG_INFO, "handed_over", "to process %ld", (long)s->successor.pid);
    if (s->reload_wanted)
        successor_forward(s, SIGHUP);
    if (s->successor.wanted)
        successor_forward(s, SIGUSR2);
}

void successor_forward(const struct supervisor *s, int signo)
{
    if (s->successor.pid > 0)
        (void)kill(s->successor.pid, signo);
}

/* ---- the successor ---- */

bool successor_inherit(struct supervisor *s)
{
    const char *text = getenv(variable);
    long long reload;
    if (!text || sscanf(text, "%d %d %lld %u %d", &s->pidfile_fd, &s->predecessor.channel, &reload,
                        &s->predecessor.owned, &s->predecessor.pid) != 5)
        return false;
    unsetenv(variable);
    fcntl(s->pidfile_fd, F_SETFD, FD_CLOEXEC);
    fcntl(s->predecessor.channel, F_SETFD, FD_CLOEXEC);
    s->reloads_begun = reload;
    return true;
}

static void take_over(struct supervisor *s)
{
    const struct config *cfg = s->current->cfg;
    const char *const sockets[LISTENERS] = {cfg->listen, cfg->admin, cfg->health};
    for (int i = 0; i < LISTENERS; i++)
        if (s->listeners[i].fd >= 0 && s->predecessor.owned >> i & 1)
            listener_own(&s->listeners[i], sockets[i]);
    atomic_store(&s->run.shared->foreign, listeners_foreign(s->listeners));
    pidfile_lock(s->pidfile_fd, true);
    (void)pidfile_write(s->pidfile_fd, s->reloads_begun, "done", "");
    for (size_t i = 0; i < s->current->n; i++)
        atomic_store(&s->run.shared->host.workers[s->current->slots[i].worker].state,
                     API_WORKER_SERVING);
    say(s->predecessor.channel, HAS_TAKEN);
    close(s->predecessor.channel);
    s->predecessor.channel = -1;
    s->watchdog_us = 0;
    log_say(LOG_INFO, "took_over", "version %s", PARLEY_VERSION);
}

/* ---- both ---- */

/* The next message; 0: none. */
static char heard(int channel)
{
    char byte = 0;
    return read(channel, &byte, 1) == 1 ? byte : '\0';
}

static void step_predecessor(struct supervisor *s)
{
    const char byte = heard(s->successor.channel);
    if (byte == IS_READY) {
        pidfile_lock(s->pidfile_fd, false);
        say(s->successor.channel, TAKE_OVER);
    } else if (byte == HAS_TAKEN) {
        hand_over(s);
    } else if (clock_mono_us() >= s->successor.due_us) {
        (void)kill(s->successor.pid, SIGKILL); /* see successor_ended */
    }
}

static void step_successor(struct supervisor *s)
{
    if (getppid() != s->predecessor.pid) {
        (void)raise(SIGTERM);
    } else if (!s->predecessor.told && worker_set_is_ready(s, s->current)) {
        s->predecessor.told = true;
        say(s->predecessor.channel, IS_READY);
    } else if (heard(s->predecessor.channel) == TAKE_OVER) {
        take_over(s);
    }
}

void successor_step(struct supervisor *s)
{
    if (s->predecessor.channel >= 0)
        step_successor(s);
    else if (s->successor.pid > 0)
        step_predecessor(s);
    else if (s->successor.wanted && !s->next && reload_may_begin(s))
        start(s);
}
