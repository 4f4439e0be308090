/* SPDX-License-Identifier: MIT */
#include "parley/base/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

/* IPv4 in the form that IPv6 has for it. */
static bool parse_address(struct sv text, struct in6_addr *out)
{
    const bool v6 = text.n > 0 && memchr(text.p, ':', text.n);
    char copy[INET6_ADDRSTRLEN];
    *out = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
    return snprintf(copy, sizeof copy, "%.*s", SV_ARG(text)) < (int)sizeof copy &&
           inet_pton(v6 ? AF_INET6 : AF_INET, copy, out->s6_addr + (v6 ? 0 : 12)) == 1;
}

/* Whether network is the first bits bits of a, and zeros. */
static bool has_prefix(const struct in6_addr *a, const struct in6_addr *network, uint64_t bits)
{
    bool same = true;
    for (size_t i = 0; i < sizeof a->s6_addr; i++, bits -= bits < 8 ? bits : 8)
        same = same && network->s6_addr[i] == (a->s6_addr[i] & (bits < 8 ? ~(0xff >> bits) : 0xff));
    return same;
}

static bool parse_network(struct sv text, struct in6_addr *out, uint64_t *bits)
{
    struct sv size = text;
    const struct sv address = sv_cut(&size, '/');
    const uint64_t most = address.n > 0 && memchr(address.p, ':', address.n) ? 128 : 32;
    *bits = most;
    if ((size.p && !sv_to_u64(size, bits)) || *bits > most || !parse_address(address, out))
        return false;
    *bits += 128 - most;
    return has_prefix(out, out, *bits);
}

bool net_is_local(struct sv address)
{
    struct in6_addr a;
    return sv_eq(address, SV("unix:")) ||
           (parse_address(address, &a) &&
            (IN6_IS_ADDR_LOOPBACK(&a) || (IN6_IS_ADDR_V4MAPPED(&a) && a.s6_addr[12] == 127)));
}

bool net_is_network(struct sv text)
{
    struct in6_addr network;
    uint64_t bits;
    return parse_network(text, &network, &bits);
}

bool net_allows(const char *list, struct sv address)
{
    struct in6_addr a, network;
    uint64_t bits;
    bool in = net_is_local(address);
    for (size_t n; list && *list && !in; list += n + strspn(list + n, " ,")) {
        n = strcspn(list, " ,");
        in = parse_address(address, &a) && parse_network((struct sv){list, n}, &network, &bits) &&
             has_prefix(&a, &network, bits);
    }
    return in;
}

socklen_t net_endpoint(const char *text, struct sockaddr_storage *out)
{
    struct sockaddr_in *in = (struct sockaddr_in *)out;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
    char host[INET6_ADDRSTRLEN];
    uint64_t port;
    const char *at = strncmp(text, "tcp://", 6) == 0 ? text + 6 : "", *colon = strrchr(at, ':');
    const bool v6 = *at == '[' && colon && colon[-1] == ']';
    const size_t n = colon ? (size_t)(colon - at) - (v6 ? 2 : 0) : 0;
    if (n == 0 || n >= sizeof host || !sv_to_u64(sv_from(colon + 1), &port) || port < 1 ||
        port > 65535)
        return 0;
    snprintf(host, sizeof host, "%.*s", (int)n, at + v6);
    memset(out, 0, sizeof *out);
    out->ss_family = v6 ? AF_INET6 : AF_INET;
    if (inet_pton(out->ss_family, host, v6 ? (void *)&in6->sin6_addr : &in->sin_addr) != 1)
        return 0;
    /* Both families have it in the same place. */
    in->sin_port = htons((uint16_t)port);
    return v6 ? sizeof *in6 : sizeof *in;
}

int net_accept(int listen_fd, int timeout_ms, char peer[INET6_ADDRSTRLEN])
{
    const struct timeval tv = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
    struct sockaddr_storage from = {.ss_family = AF_UNIX};
    socklen_t n = sizeof from;
    const int fd = accept4(listen_fd, (struct sockaddr *)&from, &n, SOCK_CLOEXEC);
    if (fd < 0)
        return -1;
    /* Else a silent peer would hold the thread. They cannot fail on a socket. */
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv);
    const void *address = from.ss_family == AF_INET
                              ? (void *)&((struct sockaddr_in *)&from)->sin_addr
                              : (void *)&((struct sockaddr_in6 *)&from)->sin6_addr;
    if (from.ss_family == AF_UNIX || !inet_ntop(from.ss_family, address, peer, INET6_ADDRSTRLEN))
        snprintf(peer, INET6_ADDRSTRLEN, "unix:");
    return fd;
}

int net_wait(int fd, short events, struct deadline until)
{
    struct pollfd waited = {.fd = fd, .events = events};
    int n;
    do
        n = poll(&waited, 1, deadline_left_ms(until));
    while (n < 0 && errno == EINTR);
    return n > 0 ? waited.revents : n;
}
