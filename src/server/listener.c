/* SPDX-License-Identifier: MIT */
/* The sockets on which nginx and others reach the workers. */
#include "server_internal.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "parley/base/net.h"

/* nginx's connects fail at once when the queue is full; the kernel lowers it to somaxconn. */
enum { BACKLOG = 4096 };

static const char another[] = "another process answers there: stop it first, or set PARLEY_LISTEN, "
                              "PARLEY_ADMIN and PARLEY_HEALTH to other sockets";

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
    return report(why, why_n, a->sun_path, e == 0 || e == EAGAIN ? another : strerror(e));
}

void listener_own(struct listener *l, const char *path)
{
    struct stat st;
    l->inherited = !path;
    l->path[0] = '\0';
    if (!path || lstat(path, &st) != 0)
        return;
    snprintf(l->path, sizeof l->path, "%s", path);
    l->dev = st.st_dev;
    l->ino = st.st_ino;
}

enum err listener_open(struct listener *l, const char *path, char *why, size_t why_n)
{
    /* Connections inherit them. The last part of an answer does not wait for an acknowledgement,
     * and a connection whose peer has lost its power ends within 90 s. */
    static const int tcp_options[][3] = {
        {SOL_SOCKET, SO_REUSEADDR, 1},   {IPPROTO_IPV6, IPV6_V6ONLY, 0},
        {IPPROTO_TCP, TCP_NODELAY, 1},   {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, 60}, {IPPROTO_TCP, TCP_KEEPINTVL, 10},
        {IPPROTO_TCP, TCP_KEEPCNT, 3}};
    union {
        struct sockaddr any;
        struct sockaddr_storage tcp;
        struct sockaddr_un local;
    } a;
    socklen_t n = net_endpoint(path, &a.tcp);
    const bool tcp = n > 0;
    *l = (struct listener){.fd = -1};
    if (!tcp) {
        n = sizeof a.local;
        a.local = (struct sockaddr_un){.sun_family = AF_UNIX};
        if (strlen(path) >= sizeof a.local.sun_path)
            return report(why, why_n, path, "the path is too long");
        snprintf(a.local.sun_path, sizeof a.local.sun_path, "%s", path);
    }
    l->fd = service_manager_socket(&a.any, n);
    l->inherited = l->fd >= 0;
    if (!tcp && !l->inherited)
        TRY(check_path(&a.local, why, why_n));
    if (!l->inherited)
        l->fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    for (size_t i = 0; tcp && l->fd >= 0 && i < ARRAY_LEN(tcp_options); i++)
        (void)setsockopt(l->fd, tcp_options[i][0], tcp_options[i][1], &tcp_options[i][2],
                         sizeof(int));
    if (l->inherited)
        return ERR_NONE;
    /* Bound with its mode: nobody else may connect, not even for an instant. */
    const mode_t before = umask(0117);
    const bool bound =
        l->fd >= 0 && (tcp || unlink(path) == 0 || errno == ENOENT) && bind(l->fd, &a.any, n) == 0;
    (void)umask(before);
    if (bound && !tcp)
        listener_own(l, path);
    if (bound && listen(l->fd, BACKLOG) == 0)
        return ERR_NONE;
    (void)report(why, why_n, path, errno == EADDRINUSE ? another : strerror(errno));
    listener_close(l);
    return ERR_INVALID;
}

void listener_stop(const struct listener *l)
{
    if (l->fd >= 0 && !l->inherited)
        (void)shutdown(l->fd, SHUT_RD);
}

unsigned listeners_foreign(const struct listener l[LISTENERS])
{
    unsigned bits = 0;
    for (int i = 0; i < LISTENERS; i++)
        bits |= (unsigned)l[i].inherited << i;
    return bits;
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
