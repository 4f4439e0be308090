/* SPDX-License-Identifier: MIT */
/*
 * The pid file, PARLEY_LISTEN with .pid at its end, has two locks. That of tcp://ADDRESS:PORT is in
 * the directory that systemd names, or in /run/parley. Workers inherit that of flock,
 * which is free only when the whole service has ended. They do not inherit the POSIX lock, which
 * the kernel releases when the process ends. So the holder of that one is the supervisor, whatever
 * the text says: its pid, and how its last reload ended.
 */
#include "server_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The length of the text never changes, so a full disk cannot refuse a later write. */
enum { TEXT_N = 512, LOOK_MS = 50 };

bool pidfile_write(int fd, int64_t reload, const char *outcome, const char *why)
{
    char text[TEXT_N];
    snprintf(text, sizeof text, "%ld\nreload %lld %s%s", (long)getpid(), (long long)reload, outcome,
             why);
    const size_t n = strlen(text);
    memset(text + n, ' ', TEXT_N - n);
    text[TEXT_N - 1] = '\n';
    return pwrite(fd, text, TEXT_N, 0) == TEXT_N;
}

void pidfile_path(const char *listen, char out[PIDFILE_PATH_MAX])
{
    const char *named = getenv("RUNTIME_DIRECTORY");
    const char *dir = named && *named ? named : "/run/parley";
    if (*listen == '/')
        snprintf(out, PIDFILE_PATH_MAX, "%s.pid", listen);
    else /* systemd separates several by colons */
        snprintf(out, PIDFILE_PATH_MAX, "%.*s/%s.pid", (int)strcspn(dir, ":"), dir,
                 strrchr(listen, '/') + 1);
}

/* The last holder of the locks removes the name before it releases them. */
static bool has_name(int fd, const char *name)
{
    struct stat own, named;
    return fstat(fd, &own) == 0 && stat(name, &named) == 0 && own.st_dev == named.st_dev &&
           own.st_ino == named.st_ino;
}

static bool set_lock(int fd, bool held)
{
    struct flock lock = {.l_type = held ? F_WRLCK : F_UNLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_SETLK, &lock) == 0;
}

int pidfile_open(const char *listen, char *why, size_t why_n)
{
    char path[PIDFILE_PATH_MAX];
    int fd;
    pidfile_path(listen, path);
    while ((fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644)) >= 0 &&
           flock(fd, LOCK_EX | LOCK_NB) == 0) {
        const bool named = has_name(fd, path);
        if (named && set_lock(fd, true) && pidfile_write(fd, 0, "done", ""))
            return fd;
        if (named)
            break;
        close(fd);
    }
    snprintf(why, why_n, "pid file %s: %s", path,
             fd >= 0 && errno == EWOULDBLOCK
                 ? "another server is running, or workers of one still end: wait, or set "
                   "PARLEY_LISTEN and PARLEY_ADMIN to other sockets"
                 : strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

void pidfile_close(int fd, const char *listen)
{
    char path[PIDFILE_PATH_MAX];
    if (fd < 0)
        return;
    pidfile_path(listen, path);
    unlink(path);
    close(fd);
}

void pidfile_lock(int fd, bool held)
{
    if (!set_lock(fd, held) && held)
        log_say(LOG_ERROR, "bug", "the pid file cannot be locked: %s", strerror(errno));
}

bool pidfile_is(int fd, const char *listen)
{
    char path[PIDFILE_PATH_MAX];
    pidfile_path(listen, path);
    return has_name(fd, path);
}

/* ---- for commands ---- */

/* The pid file of a service, and a pidfd of its supervisor. */
struct service {
    int fd, process;
};

/* The process that holds the lock; 0: none. */
static pid_t holder(int fd)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK ? lock.l_pid : 0;
}

static void forget_service(const struct service *s)
{
    if (s->fd >= 0)
        close(s->fd);
    if (s->process >= 0)
        close(s->process);
}

/* The pid of the lock's holder; 0: none. Looks several times, because for a moment between two
 * supervisors nobody holds it. */
static pid_t open_holder(struct service *s)
{
    enum { LOOKS = 5 };
    pid_t pid = 0;
    s->process = -1;
    for (int i = 0; i < LOOKS && s->fd >= 0 && s->process < 0; i++) {
        if (i > 0)
            (void)poll(NULL, 0, LOOK_MS);
        pid = holder(s->fd);
        if (pid > 0)
            s->process = (int)syscall(SYS_pidfd_open, pid, 0);
        /* If the process still holds the lock, its pid was not reused before the descriptor was
         * opened. */
        if (s->process >= 0 && holder(s->fd) != pid) {
            close(s->process);
            s->process = -1;
        }
    }
    return pid;
}

static bool find_service(struct service *s, const char *listen, char *why, size_t why_n)
{
    char path[PIDFILE_PATH_MAX];
    pidfile_path(listen, path);
    s->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    const pid_t pid = open_holder(s);
    if (s->process >= 0)
        return true;
    snprintf(why, why_n, "no service was found: pid file %s: %s", path,
             s->fd < 0 || pid > 0 ? strerror(errno) : "no process of this machine holds it");
    forget_service(s);
    return false;
}

static bool has_ended(const struct service *s, int within_ms)
{
    struct pollfd p = {.fd = s->process, .events = POLLIN};
    return poll(&p, 1, within_ms) == 1;
}

/* What pidfile_write wrote. False: that is under way. */
static bool read_reload(const struct service *s, long long *number, char outcome[TEXT_N])
{
    char text[TEXT_N], again[TEXT_N];
    int at = 0;
    if (pread(s->fd, text, TEXT_N, 0) != TEXT_N || pread(s->fd, again, TEXT_N, 0) != TEXT_N ||
        memcmp(text, again, TEXT_N) != 0)
        return false;
    text[TEXT_N - 1] = '\0';
    if (sscanf(text, "%*d reload %lld %n", number, &at) != 1)
        return false;
    snprintf(outcome, TEXT_N, "%.*s", SV_ARG(sv_trim(sv_from(text + at))));
    return true;
}

/* A reload that began after this command has read the configuration as it was then, or a later
 * one. */
static bool await_reload(struct service *s, long long before, char *why, size_t why_n)
{
    char outcome[TEXT_N];
    long long number;
    for (;;) {
        if (has_ended(s, LOOK_MS)) { /* unless it has a successor */
            close(s->process);
            if (open_holder(s) == 0)
                break;
        }
        if (!read_reload(s, &number, outcome) || number <= before ||
            strcmp(outcome, "running") == 0)
            continue;
        snprintf(why, why_n, "the reload was %s", outcome);
        return strcmp(outcome, "done") == 0;
    }
    snprintf(why, why_n, "the service has ended");
    return false;
}

/* SIGUSR2 would end a program from before --binary. See block_signals. */
static bool ignores(pid_t pid, int signo)
{
    char path[64], line[128];
    unsigned long long mask = 0;
    snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "SigIgn: %llx", &mask) == 1)
            break;
    if (f)
        fclose(f);
    return mask >> (signo - 1) & 1;
}

bool supervisor_signal(const char *listen, int signo, char *why, size_t why_n)
{
    struct service s;
    char outcome[TEXT_N];
    long long before = 0;
    if (!find_service(&s, listen, why, why_n))
        return false;
    while (signo != SIGTERM && !read_reload(&s, &before, outcome) && !has_ended(&s, LOOK_MS))
        continue;
    if (signo == SIGUSR2 && !ignores(holder(s.fd), signo)) {
        snprintf(why, why_n, "the running program is older than --binary: restart it once");
        forget_service(&s);
        return false;
    }
    bool good = syscall(SYS_pidfd_send_signal, s.process, signo, NULL, 0) == 0;
    if (!good)
        snprintf(why, why_n, "the service cannot be reached: %s", strerror(errno));
    else if (signo != SIGTERM)
        good = await_reload(&s, before, why, why_n);
    else
        (void)has_ended(&s, -1);
    forget_service(&s);
    return good;
}
