/* SPDX-License-Identifier: MIT */
/* The Unix sockets on which nginx reaches the workers. */
#include "server_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* nginx's connects fail at once when the queue is full; the kernel lowers it to somaxconn. */
enum { BACKLOG = 4096 };

static enum err report(char *why, size_t why_n, const char *path, const char *what)
{
    snprintf(why, why_n, "socket %s: %s", path, what);
    return ERR_INVALID;
}

static int unix_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* ERR_NONE: the name is free, or that of a socket on which nobody listens. */
static enum err check_path(const struct sockaddr_un *a, char *why, size_t why_n)
{
    struct stat st;
    if (lstat(a->sun_path, &st) != 0)
        return errno == ENOENT ? ERR_NONE : report(why, why_n, a->sun_path, strerror(errno));
    if (!S_ISSOCK(st.st_mode))
        return report(why, why_n, a->sun_path, "a file of that name exists and is no socket");
    int fd = unix_socket();
    if (fd < 0)
        return report(why, why_n, a->sun_path, strerror(errno));
    int e = connect(fd, (const struct sockaddr *)a, sizeof *a) == 0 ? 0 : errno;
    close(fd);
    if (e == ECONNREFUSED || e == ENOENT)
        return ERR_NONE;
    /* EAGAIN: somebody listens, and its queue is full. */
    return report(why, why_n, a->sun_path,
                  e == 0 || e == EAGAIN ? "another server answers there: stop it first, or set "
                                          "PARLEY_LISTEN and PARLEY_ADMIN to other paths"
                                        : strerror(e));
}

/* Under a temporary name until it listens: nginx never finds a socket that refuses. */
static enum err bind_and_listen(struct listener *l, const struct sockaddr_un *fresh, char *why,
                                size_t why_n)
{
    struct stat st;
    if (unlink(fresh->sun_path) != 0 && errno != ENOENT)
        return report(why, why_n, fresh->sun_path, strerror(errno));
    l->fd = unix_socket();
    if (l->fd < 0)
        return report(why, why_n, fresh->sun_path, strerror(errno));
    /* Bound with its mode: nobody else may connect, not even for an instant. */
    mode_t before = umask(0117);
    int bound = bind(l->fd, (const struct sockaddr *)fresh, sizeof *fresh);
    int e = errno;
    umask(before);
    if (bound != 0)
        return report(why, why_n, l->path, strerror(e));
    if (listen(l->fd, BACKLOG) != 0 || lstat(fresh->sun_path, &st) != 0 ||
        rename(fresh->sun_path, l->path) != 0) {
        e = errno;
        unlink(fresh->sun_path);
        return report(why, why_n, l->path, strerror(e));
    }
    l->dev = st.st_dev;
    l->ino = st.st_ino;
    return ERR_NONE;
}

enum err listener_open(struct listener *l, const char *path, char *why, size_t why_n)
{
    struct sockaddr_un final = {.sun_family = AF_UNIX}, fresh = {.sun_family = AF_UNIX};
    memset(l, 0, sizeof *l);
    l->fd = -1;
    int n = snprintf(fresh.sun_path, sizeof fresh.sun_path, "%s.new", path);
    if (n < 0 || (size_t)n >= sizeof fresh.sun_path)
        return report(why, why_n, path, "the path is too long");
    snprintf(final.sun_path, sizeof final.sun_path, "%s", path);
    snprintf(l->path, sizeof l->path, "%s", path);
    enum err e = check_path(&final, why, why_n);
    if (e == ERR_NONE)
        e = bind_and_listen(l, &fresh, why, why_n);
    if (e != ERR_NONE && l->fd >= 0) {
        close(l->fd);
        l->fd = -1;
    }
    return e;
}

void listener_close(struct listener *l)
{
    struct stat st;
    if (l->fd < 0)
        return;
    close(l->fd);
    l->fd = -1;
    if (lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
        unlink(l->path);
}
