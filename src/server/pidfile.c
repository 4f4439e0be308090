/* SPDX-License-Identifier: MIT */
/*
 * The pid file: the supervisor's pid, and how its last reload ended. The supervisor holds a POSIX
 * lock on it. The kernel releases that lock when the process ends, and workers do not inherit it.
 * So the holder of the lock is the supervisor, whatever the file says.
 */
#include "server_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The length never changes, so a full disk cannot refuse a later write. */
enum { TEXT_N = 512 };

bool pidfile_path(const struct config *cfg, char out[PIDFILE_PATH_MAX])
{
    const bool given = cfg->pidfile && cfg->pidfile[0];
    snprintf(out, PIDFILE_PATH_MAX, "%s%s",
             given         ? cfg->pidfile
             : cfg->listen ? cfg->listen
                           : "",
             given ? "" : ".pid");
    return cfg->pidfile && (given || cfg->listen);
}

bool pidfile_write(int fd, int64_t reload, const char *outcome)
{
    char text[TEXT_N];
    const int n =
        snprintf(text, sizeof text, "%ld\nreload %lld ", (long)getpid(), (long long)reload);
    size_t end = (size_t)n;
    for (; *outcome && end < TEXT_N - 1; outcome++)
        text[end++] = *outcome == '\n' ? ' ' : *outcome;
    memset(text + end, ' ', TEXT_N - end);
    text[TEXT_N - 1] = '\n';
    return pwrite(fd, text, TEXT_N, 0) == TEXT_N;
}

/* NULL: fd is locked. Else why not. */
static const char *lock_file(int fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct stat st;
    char first;
    if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode))
        return "a file of that name exists and is not regular";
    /* A configuration that the setting names by mistake must not be written over. */
    if (pread(fd, &first, 1, 0) == 1 && (first < '0' || first > '9'))
        return "a file of that name exists and does not begin with a pid";
    if (fcntl(fd, F_SETLK, &lock) == 0)
        return NULL;
    return errno == EAGAIN || errno == EACCES ? "another service holds it" : strerror(errno);
}

int pidfile_open(const char *path, char *why, size_t why_n)
{
    for (;;) {
        const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);
        const char *fault = fd < 0 ? strerror(errno) : lock_file(fd);
        /* Its last holder may have removed it since it was opened. */
        const bool named = fault || listener_has_name(fd, path);
        if (!fault && named && pidfile_write(fd, 0, "done"))
            return fd;
        if (named)
            snprintf(why, why_n, "pid file %s: %s", path, fault ? fault : strerror(errno));
        if (fd >= 0)
            close(fd);
        if (named)
            return -1;
    }
}

void pidfile_close(int fd, const char *path)
{
    if (fd < 0)
        return;
    if (listener_has_name(fd, path))
        unlink(path);
    close(fd);
}

/* The process that holds the lock; 0: none. */
static pid_t holder(int fd)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK ? lock.l_pid : 0;
}

bool pidfile_find(const char *path, struct pidfile_found *out, char *why, size_t why_n)
{
    out->process_fd = -1;
    out->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    const pid_t pid = out->fd < 0 ? 0 : holder(out->fd);
    if (pid > 0)
        out->process_fd = (int)syscall(SYS_pidfd_open, pid, 0);
    /* The descriptor is of that very process if it still holds the lock. */
    if (out->process_fd >= 0 && holder(out->fd) == pid)
        return true;
    const bool absent = out->fd < 0 && errno != ENOENT;
    snprintf(why, why_n, "no service was found: pid file %s: %s", path,
             absent || (pid > 0 && out->process_fd < 0) ? strerror(errno)
             : pid < 0                                  ? "held by a process of another machine"
                                                        : "no process holds it");
    pidfile_forget(out);
    return false;
}

void pidfile_forget(struct pidfile_found *found)
{
    if (found->fd >= 0)
        close(found->fd);
    if (found->process_fd >= 0)
        close(found->process_fd);
}

bool pidfile_signal(const struct pidfile_found *found, int signo)
{
    return syscall(SYS_pidfd_send_signal, found->process_fd, signo, NULL, 0) == 0;
}

bool pidfile_read(const struct pidfile_found *found, struct pidfile_reload *out)
{
    char text[TEXT_N + 1] = "", again[TEXT_N + 1] = "";
    long long number = 0;
    int at = 0;
    /* Not in the middle of a write. */
    if (pread(found->fd, text, TEXT_N, 0) != TEXT_N ||
        pread(found->fd, again, TEXT_N, 0) != TEXT_N || memcmp(text, again, TEXT_N) != 0 ||
        sscanf(text, "%*d reload %lld %n", &number, &at) != 1)
        return false;
    for (char *p = text + TEXT_N; p > text + at && (p[-1] == ' ' || p[-1] == '\n'); p--)
        p[-1] = '\0';
    out->number = number;
    snprintf(out->outcome, sizeof out->outcome, "%s", text + at);
    return true;
}
