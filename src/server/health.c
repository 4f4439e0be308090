/* SPDX-License-Identifier: MIT */
/*
 * The operations routes over HTTP, for load balancers and probes: as much of HTTP/1 as these send.
 * A library would be larger than what is here, and would bring threads and time-outs of its own.
 */
#include "server_internal.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "parley/base/net.h"

enum { WAIT_MS = 100, ARENA_LIMIT = 8 * 1024 * 1024 };

/* The request line is used, and the rest is not. It must come at once and in one piece, so that a
 * slow client delays the next one by WAIT_MS at most. */
static void answer(int fd, const char *peer, struct api_service *service, struct arena *arena)
{
    struct http_request req = {.remote_addr = sv_from(peer)};
    struct http_response res;
    struct buf out;
    char head[4096];
    const ssize_t n = recv(fd, head, sizeof head, 0);
    struct sv rest = {head, n > 0 ? (size_t)n : 0};
    struct sv line = sv_cut(&rest, '\n');
    req.method_text = sv_cut(&line, ' ');
    req.method = http_method_parse(req.method_text);
    req.target = sv_cut(&line, ' ');
    if (!rest.p || !sv_starts_with(line, SV("HTTP/1.")))
        req.target = SV(""); /* which is answered with 400 */
    http_response_init(&res, arena);
    ops_dispatch(service, arena, &req, &res);
    http_response_header(&res, "Connection", SV("close"));
    buf_init(&out, arena, 0);
    BUF_LIT(&out, "HTTP/1.1 ");
    http_response_head(&out, &res);
    if (req.method != HTTP_HEAD && res.content_type)
        buf_sv(&out, buf_get(&res.body));
    if (!out.failed)
        (void)send(fd, out.p, out.n, MSG_NOSIGNAL);
    /* Where bytes are left unread, close resets the connection: not before the answer has ended. */
    (void)shutdown(fd, SHUT_WR);
}

void health_answer(int listen_fd, struct api_service *service, int ms)
{
    char peer[INET6_ADDRSTRLEN];
    struct pollfd p = {.fd = listen_fd, .events = POLLIN};
    const int fd = poll(&p, 1, ms) > 0 ? net_accept(listen_fd, WAIT_MS, peer) : -1;
    /* Nobody else may hold it up, not even for WAIT_MS. */
    const bool allowed = fd >= 0 && net_allows(service->operations_allow, sv_from(peer));
    struct arena *arena = allowed ? arena_create(ARENA_LIMIT) : NULL;
    if (arena)
        answer(fd, peer, service, arena);
    arena_destroy(arena);
    if (fd >= 0)
        close(fd);
    else if (p.revents)
        (void)poll(NULL, 0, 1); /* another worker was first, or something is short */
}
