/* SPDX-License-Identifier: MIT */
/*
 * The operations routes over HTTP, for load balancers and probes: as much of HTTP/1 as these send.
 * A library would be larger than what is here, and would bring threads and time-outs of its own.
 */
#include "server_internal.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "parley/base/net.h"

enum { WAIT_MS = 100, ARENA_LIMIT = 8 * 1024 * 1024 };

/* Up to the end of the headers; less if there is no room for them or no time, so that a slow client
 * delays the next one by WAIT_MS at most. */
static size_t receive(int fd, char *head, size_t most)
{
    const struct deadline until = deadline_in_ms(WAIT_MS);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    size_t n = 0;
    for (ssize_t got = 1; got > 0 && n < most && !memmem(head, n, "\n\r\n", 3) &&
                          !memmem(head, n, "\n\n", 2) && poll(&p, 1, deadline_left_ms(until)) > 0;
         n += got > 0 ? (size_t)got : 0)
        got = recv(fd, head + n, most - n, MSG_DONTWAIT);
    return n;
}

/* The request line is used, and the rest is not. But a client that writes it line by line would
 * find the connection closed. */
static void answer(int fd, const char *peer, struct api_service *service, struct arena *arena)
{
    struct http_request req = {.remote_addr = sv_from(peer)};
    struct http_response res;
    struct buf out;
    char head[4096];
    struct sv rest = {head, receive(fd, head, sizeof head)};
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
    /* A client that is not allowed must not cost WAIT_MS. */
    const bool allowed = fd >= 0 && net_allows(service->operations_allow, sv_from(peer));
    struct arena *arena = allowed ? arena_create(ARENA_LIMIT) : NULL;
    if (arena)
        answer(fd, peer, service, arena);
    arena_destroy(arena);
    if (fd >= 0)
        close(fd);
    else if (p.revents)
        (void)poll(NULL, 0, 1); /* another worker accepted it, or descriptors are short */
}
