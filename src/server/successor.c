/* SPDX-License-Identifier: MIT */
/*
 * Replaces the program of a running service (parley reload --binary). The supervisor executes the
 * program that is installed now, as its successor, which inherits the sockets and the lock of the
 * pid file. Once all workers of the successor are ready, it takes over, and the old workers drain.
 * Until then the old service goes on if the successor fails, and the successor is killed if the old
 * supervisor dies. To the database the two are two hosts.
 */
#include "server_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* How the successor learns what it inherits (names with PARLEY_ in front are settings): the
 * descriptors of the pid file and of the channel to its predecessor, the number of this reload, and
 * whether it will own the sockets. */
static const char variable[] = "SUCCESSOR_OF_PARLEY";

/* What is said over the channel, a byte each. */
enum { IS_READY = 'r', TAKE_OVER = 't' };

static const int64_t start_margin_us = 10 * 1000000;

/* ---- the predecessor ---- */

/* The program that is installed where this one was, and the arguments of this process. */
static bool read_command(char path[4096], char args[8192], char *argv[64])
{
    static const char deleted[] = " (deleted)"; /* replaced by another file */
    const ssize_t n = readlink("/proc/self/exe", path, 4095);
    const int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    const ssize_t args_n = fd < 0 ? -1 : read(fd, args, 8191);
    if (fd >= 0)
        close(fd);
    if (n <= 0 || args_n <= 0)
        return false;
    path[n] = args[args_n] = '\0';
    const size_t end = strlen(path), suffix = sizeof deleted - 1;
    if (end > suffix && strcmp(path + end - suffix, deleted) == 0)
        path[end - suffix] = '\0';
    size_t argc = 0;
    for (char *p = args; p < args + args_n && argc < 63; p += strlen(p) + 1)
        argv[argc++] = p;
    argv[argc] = NULL;
    return true;
}

/* In the child: never returns. The sockets become descriptors 3 and up, as sd_listen_fds(3) has
 * them. */
static void execute(const struct supervisor *s, int channel, pid_t parent)
{
    enum { FIRST = 3, HIGH = 100 };
    char path[4096], args[8192], *argv[64], text[64];
    int fds[LISTENERS + 2], n = 0;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent ||
        !read_command(path, args, argv))
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
    snprintf(text, sizeof text, "%d %d %lld %d", FIRST + sockets, FIRST + sockets + 1,
             (long long)s->reloads_begun, !s->listeners[LISTENER_CLIENTS].inherited);
    setenv(variable, text, 1);
    snprintf(text, sizeof text, "%d", sockets);
    setenv("LISTEN_FDS", text, 1);
    snprintf(text, sizeof text, "%ld", (long)getpid());
    setenv("LISTEN_PID", text, 1);
    setenv("WATCHDOG_PID", text, 1);
    execv(path, argv);
    _exit(EXIT_FAULT);
}

static void start(struct supervisor *s)
{
    const struct config *cfg = s->current->cfg;
    const pid_t parent = getpid();
    int pair[2];
    s->successor.wanted = false;
    reload_begin(s);
    if (parent == 1) {
        reload_refuse(s, "process 1 of a container cannot be replaced: restart the container");
        return;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0) {
        reload_refuse(s, "no channel to the new program: %s", strerror(errno));
        return;
    }
    s->successor.pid = fork();
    if (s->successor.pid == 0)
        execute(s, pair[1], parent);
    close(pair[1]);
    s->successor.channel = pair[0];
    s->successor.due_us =
        clock_mono_us() + (cfg->connect_ms + cfg->statement_ms) * 1000 + start_margin_us;
    if (s->successor.pid < 0)
        successor_ended(s, s->successor.pid, 0);
}

bool successor_ended(struct supervisor *s, pid_t pid, int status)
{
    if (!s->successor.pid || s->successor.pid != pid)
        return false;
    s->successor.pid = 0;
    close(s->successor.channel);
    if (!s->stopping)
        reload_refuse(s, "the new program ended before it was ready, with %s %d",
                      WIFSIGNALED(status) ? "signal" : "exit status",
                      WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return true;
}

/* From here on the sockets, the pid file and the name of the service are the successor's. */
static void hand_over(struct supervisor *s)
{
    const char byte = TAKE_OVER;
    atomic_store(&s->run.shared->handed_over, true);
    for (int i = 0; i < LISTENERS; i++)
        listener_disown(&s->listeners[i]);
    pidfile_release(s->pidfile_fd);
    s->pidfile_fd = -1;
    service_manager_notify("MAINPID=%ld", (long)s->successor.pid);
    log_say(LOG_INFO, "handed_over", "to process %ld", (long)s->successor.pid);
    /* If it has died by now, the service manager starts another one. */
    (void)!write(s->successor.channel, &byte, 1);
}

void successor_request(struct supervisor *s)
{
    s->successor.wanted = true;
}

/* ---- the successor ---- */

bool successor_inherit(struct supervisor *s)
{
    const char *text = getenv(variable);
    long long reload;
    int owns;
    if (!text ||
        sscanf(text, "%d %d %lld %d", &s->pidfile_fd, &s->predecessor.channel, &reload, &owns) != 4)
        return false;
    unsetenv(variable);
    fcntl(s->pidfile_fd, F_SETFD, FD_CLOEXEC);
    fcntl(s->predecessor.channel, F_SETFD, FD_CLOEXEC);
    s->reloads_begun = reload;
    s->predecessor.owned = owns;
    s->predecessor.pid = getppid();
    return true;
}

static bool is_ready(const struct supervisor *s)
{
    size_t ready = 0;
    while (ready < s->current->n && worker_table_is_ready(s, s->current->slots[ready].worker))
        ready++;
    return ready == s->current->n;
}

static void take_over(struct supervisor *s)
{
    const struct config *cfg = s->current->cfg;
    const char *const sockets[LISTENERS] = {cfg->listen, cfg->admin, cfg->health};
    (void)prctl(PR_SET_PDEATHSIG, 0);
    for (int i = 0; i < LISTENERS && s->predecessor.owned; i++)
        listener_own(&s->listeners[i], sockets[i]);
    pidfile_take(s->pidfile_fd, s->reloads_begun);
    close(s->predecessor.channel);
    s->predecessor.channel = -1;
    log_say(LOG_INFO, "took_over", "version %s", PARLEY_VERSION);
}

/* ---- both ---- */

void successor_step(struct supervisor *s)
{
    char byte = 0;
    if (s->successor.pid > 0) {
        if (read(s->successor.channel, &byte, 1) == 1 && byte == IS_READY)
            hand_over(s);
        else if (clock_mono_us() >= s->successor.due_us)
            (void)kill(s->successor.pid, SIGKILL); /* see successor_ended */
    } else if (s->successor.wanted && !s->next && reload_may_begin(s)) {
        start(s);
    }
    if (s->predecessor.channel < 0)
        return;
    if (!s->predecessor.told && is_ready(s)) {
        byte = IS_READY;
        s->predecessor.told = write(s->predecessor.channel, &byte, 1) == 1;
    }
    if (read(s->predecessor.channel, &byte, 1) == 1 && byte == TAKE_OVER)
        take_over(s);
}
