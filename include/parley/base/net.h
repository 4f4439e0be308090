/* SPDX-License-Identifier: MIT */
/* IP addresses, networks and sockets as text. */
#ifndef PARLEY_BASE_NET_H
#define PARLEY_BASE_NET_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "parley/base/sv.h"

/* Whether an address is one of this machine: loopback, or "unix:" of a client on a Unix socket. */
bool net_is_local(struct sv address);
/* An address, or a network in CIDR form without bits beyond its prefix. */
bool net_is_network(struct sv text);
/* Whether an address is local, or in a network of list, which are separated by spaces or commas. An
 * IPv4 address may be in the form that IPv6 has for it. */
bool net_allows(const char *list, struct sv address);

/* tcp://ADDRESS:PORT, an IPv6 address in brackets. The length of *out; 0: text is none. */
socklen_t net_endpoint(const char *text, struct sockaddr_storage *out);
/* accept4, CLOEXEC. timeout_ms: of each receive and send. peer: the client's address, as above. */
int net_accept(int listen_fd, int timeout_ms, char peer[INET6_ADDRSTRLEN]);

#endif
