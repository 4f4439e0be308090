/* SPDX-License-Identifier: MIT */
/*
 * The operations routes over HTTP, for load balancers and probes: as much of HTTP/1 as these send.
 * A library would be larger than what is here, and would bring threads and time-outs of its own.
 * Whoever sends no request line in time gets a 400 and holds up the next one no longer.
 */
#include "server_internal.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "parley/base/clock.h"
#include "parley/base/net.h"

enum {
    LINE_MAX_N = 4096,
    READ_MS = 100,
    SEND_BUFFER = 512 * 1024 /* room for an answer, so that sending it never waits */
};

/* Reads up to the end of a line, the buffer or the time. What follows the line is of no use here.
 */
static struct sv read_line(int fd, char buffer[LINE_MAX_N])
{
    const struct deadline until = deadline_in_ms(READ_MS);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    size_t n = 0;
    while (n < LINE_MAX_N && !memchr(buffer, '\n', n) &&
           poll(&p, 1, deadline_left_ms(until)) == 1) {
        const ssize_t got = recv(fd, buffer + n, LINE_MAX_N - n, MSG_DONTWAIT);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    struct sv text = {buffer, n};
    struct sv line = sv_cut(&text, '\n');
    line.n -= line.n > 0 && line.p[line.n - 1] == '\r';
    return text.p ? line : SV_NONE;
}

void health_answer(int listen_fd, struct api_service *service, struct arena *arena)
{
    char peer[INET6_ADDRSTRLEN], buffer[LINE_MAX_N];
    const int size = SEND_BUFFER, fd = net_accept(listen_fd, peer);
    struct http_response res;
    struct buf head;
    if (fd < 0) {
        if (errno != EAGAIN) /* there: another worker was first */
            (void)poll(NULL, 0, READ_MS);
        return;
    }
    struct sv rest = read_line(fd, buffer);
    struct http_request req = {.method_text = sv_cut(&rest, ' '),
                               .target = sv_cut(&rest, ' '),
                               .remote_addr = sv_from(peer)};
    req.method = http_method_parse(req.method_text);
    if (!rest.p || !sv_starts_with(rest, SV("HTTP/1.")))
        req.target = SV(""); /* which is answered with 400 */
    http_response_init(&res, arena);
    ops_dispatch(service, arena, &req, &res);
    http_response_header(&res, "Connection", SV("close"));
    buf_init(&head, arena, 0);
    BUF_LIT(&head, "HTTP/1.1 ");
    http_response_head(&head, &res);
    if (req.method != HTTP_HEAD && res.content_type)
        buf_sv(&head, buf_get(&res.body));
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    if (!head.failed)
        (void)send(fd, buf_get(&head).p, buf_get(&head).n, MSG_DONTWAIT | MSG_NOSIGNAL);
    /* Bytes that were not read would make the kernel reset the connection, and the answer with it.
     */
    (void)shutdown(fd, SHUT_WR);
    while (recv(fd, buffer, sizeof buffer, MSG_DONTWAIT) > 0)
        continue;
    close(fd);
    arena_reset(arena);
}
