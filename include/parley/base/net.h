/* SPDX-License-Identifier: MIT */
/*
 * IP addresses, networks and TCP endpoints as text, for sockets that listen and for lists of who
 * may connect. Nothing here looks up a name, allocates memory or keeps state: any thread may call
 * it.
 *
 * An address is text such as 10.1.2.3 or fd00::5, an IPv4 address also in the form ::ffff:10.1.2.3.
 * "unix:" stands for the client of a Unix socket, which has no address.
 */
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include "parley/base/clock.h"
#include "parley/base/sv.h"

/* Whether an address is one of this machine: loopback, or "unix:". False for text that is none. */
bool net_is_local(struct sv address);
/* Whether text is an address, or a network in CIDR form (10.1.0.0/16) whose bits after the prefix
 * are 0. */
bool net_is_network(struct sv text);
/* Whether an address is local or in a network of the list. Spaces or commas separate its networks;
 * NULL and "": none. Entries that are no network match nothing. */
bool net_allows(const char *list, struct sv address);

/* Parses tcp://ADDRESS:PORT, with an IPv6 address in brackets, into *out. Returns the length of the
 * socket address, or 0 if text has another form. */
socklen_t net_endpoint(const char *text, struct sockaddr_storage *out);
/* Accepts a connection: accept4(2) with CLOEXEC. timeout_ms: of each receive and send. Returns the
 * descriptor, which the caller owns, or -1 with errno. peer: the address of the client. */
int net_accept(int listen_fd, int timeout_ms, char peer[INET6_ADDRSTRLEN]);
/* poll(2) for events on fd. Returns revents, 0 at the deadline, -1 with errno. */
int net_wait(int fd, short events, struct deadline until);
