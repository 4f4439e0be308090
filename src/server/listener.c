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

/* ERR_NONE: the name is free, or that of a socket on which nobody listens. */
static enum err check_path(const struct sockaddr_un *a, char *why, size_t why_n)
{
    struct stat st;
    if (lstat(a->sun_path, &st) != 0)
        return errno == ENOENT ? ERR_NONE : report(why, why_n, a->sun_path, strerror(errno));
    if (!S_ISSOCK(st.st_mode))
        return report(why, why_n, a->sun_path, "a file of that name exists and is no socket");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
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

enum err listener_open(struct listener *l, const char *path, char *why, size_t why_n)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct stat st;
    *l = (struct listener){.fd = -1};
    if (strlen(path) >= sizeof a.sun_path)
        return report(why, why_n, path, "the path is too long");
    snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
    snprintf(l->path, sizeof l->path, "%s", path);
    TRY(check_path(&a, why, why_n));
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0)
        return report(why, why_n, path, strerror(errno));
    /* Bound with its mode: nobody else may connect, not even for an instant. */
    const mode_t before = umask(0117);
    const bool bound = (unlink(path) == 0 || errno == ENOENT) &&
                       bind(l->fd, (const struct sockaddr *)&a, sizeof a) == 0;
    (void)umask(before);
    if (bound && listen(l->fd, BACKLOG) == 0 && lstat(path, &st) == 0) {
        l->dev = st.st_dev;
        l->ino = st.st_ino;
        return ERR_NONE;
    }
    (void)report(why, why_n, path, strerror(errno));
    if (bound)
        unlink(path);
    close(l->fd);
    l->fd = -1;
    return ERR_INVALID;
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
