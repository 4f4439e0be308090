/* SPDX-License-Identifier: MIT */
/*
 * The service manager: tells systemd how the service is, and takes the sockets that it has opened.
 * Both protocols are stable and need a few lines each. libsystemd would bring five more libraries
 * into the process; sd_notify(3) itself advises programs to implement the first protocol.
 */
#include "server_internal.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void service_manager_notify(const char *fmt, ...)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char text[512];
    if (!path || (*path != '/' && *path != '@') || strlen(path) >= sizeof a.sun_path)
        return;
    memcpy(a.sun_path, path, strlen(path));
    if (*path == '@') /* an abstract socket */
        a.sun_path[0] = '\0';
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap); /* a long reason is cut */
    va_end(ap);
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    /* A failure is ignored: nothing depends on the message. */
    if (fd < 0)
        return;
    (void)!sendto(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT, (const struct sockaddr *)&a,
                  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)));
    close(fd);
}

/* A number in the environment that is meant for this process; 0: none. of_anybody: also if no
 * process is named. */
static int64_t number_of(const char *name, const char *pid_name, bool of_anybody)
{
    const char *number = getenv(name), *pid = getenv(pid_name);
    int64_t n = 0, of = of_anybody ? getpid() : 0;
    if (!number || (pid && !sv_to_i64(sv_from(pid), &of)) || of != getpid() ||
        !sv_to_i64(sv_from(number), &n))
        return 0;
    return n;
}

int64_t service_manager_watchdog_us(void)
{
    return number_of("WATCHDOG_USEC", "WATCHDOG_PID", true) / 2;
}

int64_t service_manager_sockets(void)
{
    return number_of("LISTEN_FDS", "LISTEN_PID", false);
}

int service_manager_socket(const struct sockaddr *address, socklen_t address_n)
{
    enum { FIRST = 3, MOST = 64 };
    const int64_t n = service_manager_sockets();
    for (int fd = FIRST; fd < FIRST + n && fd < FIRST + MOST; fd++) {
        struct sockaddr_storage bound = {.ss_family = AF_UNSPEC};
        socklen_t bound_n = sizeof bound, flag_n = sizeof(int);
        int listens = 0, type = 0;
        const bool same = getsockname(fd, (struct sockaddr *)&bound, &bound_n) == 0 &&
                          bound.ss_family == address->sa_family &&
                          memcmp(&bound, address, bound_n < address_n ? bound_n : address_n) == 0;
        if (same && getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &flag_n) == 0 && listens &&
            getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &flag_n) == 0 && type == SOCK_STREAM &&
            fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 &&
            fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0)
            return fd;
    }
    return -1;
}
