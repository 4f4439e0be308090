/* SPDX-License-Identifier: MIT */
#include "parley/base/net.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "../suite.h"

/* Fails if a prefix is compared a bit too short or too long, or IPv4 with the prefix of IPv6. */
TEST(networks)
{
    static const struct {
        const char *list, *in, *out; /* addresses; NULL: none */
    } t[] = {
        {"10.1.0.0/16", "10.1.0.0 10.1.255.255 ::ffff:10.1.2.3",
         "10.0.255.255 10.2.0.0 ::10.1.2.3"},
        {"10.128.0.0/9", "10.128.0.0 10.255.255.255", "10.127.255.255 11.128.0.0"},
        {"192.0.2.7", "192.0.2.7", "192.0.2.6 192.0.2.8 ::192.0.2.7"},
        {"192.0.2.6/31", "192.0.2.6 192.0.2.7", "192.0.2.5 192.0.2.8"},
        {"0.0.0.0/0", "0.0.0.0 255.255.255.255 192.0.2.1", "2001:db8::1 fe80::1"},
        {"::/0", "2001:db8::1 192.0.2.1", ""},
        {"::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.0"},
        {"2001:db8::/33", "2001:db8::1 2001:db8:7fff::", "2001:db8:8000:: 2001:db9::"},
        {"fd00::1", "fd00::1", "fd00:: fd00::2"},
        {" ,10.0.0.0/8,, 172.16.0.0/12 fd00::/8 ", "10.1.1.1 172.31.0.1 fdff::1",
         "172.32.0.1 9.9.9.9 fc00::1"},
        {"",
         "127.0.0.1 127.255.0.9 ::1 ::ffff:127.0.0.1 unix:", "128.0.0.1 ::2 ::127.0.0.1 0.0.0.0"},
        {"10.0.0.0/8", "127.0.0.1 unix:",
         "x a ffff 10.1 10.1.1.1x 10.1.1.1%lo 010.1.1.1 unix 10.1.1.1.1 fe80::1%lo "
         "10.1.1.1,10.1.1.1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        for (int inside = 0; inside < 2; inside++)
            for (struct sv rest = sv_from(inside ? t[i].in : t[i].out); rest.n > 0;) {
                const struct sv address = sv_cut(&rest, ' ');
                if (net_allows(t[i].list, address) != inside)
                    printf("\n    %s: %.*s", t[i].list, SV_ARG(address));
                CU_ASSERT_EQUAL(net_allows(t[i].list, address), inside);
            }
    CU_ASSERT_TRUE(net_allows(NULL, SV("127.0.0.1")));
    CU_ASSERT_FALSE(net_allows(NULL, SV("10.0.0.1")));
    CU_ASSERT_FALSE(net_allows("::/0", SV("")) || net_allows("::/0", SV_NONE));
}

/* Fails if "a" is taken for ::ffff:a: tried. */
TEST(what_is_a_network)
{
    static const char *const good[] = {"10.0.0.0/8", "1.2.3.4",  "1.2.3.4/32", "0.0.0.0/0",
                                       "::/0",       "fd00::/8", "::1/128",    "::ffff:1.2.3.4"};
    static const char *const bad[] = {
        "",     "/8",         "10.0.0.0/",   "10.0.0.0/33", "10.0.0.1/8",
        "10/8", "10.0.0.0/x", "::/129",      "fd00::1/64",  "localhost",
        "a",    "7f/8",       "1.2.3.4/8/8", "10.0.0.0/08", "10.0.0.0/-1",
        "*",    "[::1]",      "unix:"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        CU_ASSERT_TRUE(net_is_network(sv_from(good[i])));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CU_ASSERT_FALSE(net_is_network(sv_from(bad[i])));
    CU_ASSERT_FALSE(net_is_network(SV_NONE));
}

TEST(endpoints)
{
    static const struct {
        const char *text, *address;
        int port;
    } good[] = {{"tcp://127.0.0.1:8184", "127.0.0.1", 8184},
                {"tcp://0.0.0.0:1", "0.0.0.0", 1},
                {"tcp://255.255.255.255:65535", "255.255.255.255", 65535},
                {"tcp://[::]:80", "::", 80},
                {"tcp://[fd00::1:2]:8184", "fd00::1:2", 8184},
                {"tcp://[1111:2222:3333:4444:5555:6666:255.255.255.255]:65535",
                 "1111:2222:3333:4444:5555:6666:ffff:ffff", 65535}};
    static const char *const bad[] = {
        "",
        "/run/x",
        "127.0.0.1:80",
        "tcp://",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:",
        "tcp://:80",
        "tcp://127.0.0.1:0",
        "tcp://127.0.0.1:65536",
        "tcp://127.0.0.1:080",
        "tcp://127.0.0.1:+80",
        "tcp://127.0.0.1: 80",
        "tcp://127.0.0.1:80/",
        "tcp://localhost:80",
        "tcp://::1:80",
        "tcp://[::1]80",
        "tcp://[::1",
        "tcp://[]:80",
        "tcp://[127.0.0.1]:80",
        "tcp://[:80",
        "tcp://]:80",
        "tcp://[::1]",
        "TCP://127.0.0.1:80",
        "unix:///run/x",
        "tcp://127.1:80",
        "tcp://[:",
        "tcp://[1111:2222:3333:4444:5555:6666:7777:8888:9999:1111:2222]:80"};
    struct sockaddr_storage a;
    char text[INET6_ADDRSTRLEN];
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&a;
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&a;
        const socklen_t n = net_endpoint(good[i].text, &a);
        const bool v6 = a.ss_family == AF_INET6;
        CU_ASSERT_EQUAL(n, v6 ? sizeof *in6 : sizeof *in);
        CU_ASSERT_PTR_NOT_NULL_FATAL(inet_ntop(
            a.ss_family, v6 ? (const void *)&in6->sin6_addr : &in->sin_addr, text, sizeof text));
        CU_ASSERT_STRING_EQUAL(text, good[i].address);
        CU_ASSERT_EQUAL(ntohs(v6 ? in6->sin6_port : in->sin_port), good[i].port);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        CU_ASSERT_EQUAL(net_endpoint(bad[i], &a), 0);
}

/* Connects to a listener of that family; what net_accept says of the client. */
static void accepted(const struct sockaddr *a, socklen_t n, char peer[INET6_ADDRSTRLEN])
{
    struct sockaddr_storage bound;
    socklen_t bound_n = sizeof bound;
    const int l = socket(a->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int c = socket(a->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CU_ASSERT_EQUAL_FATAL(bind(l, a, n) + listen(l, 1), 0);
    CU_ASSERT_EQUAL(getsockname(l, (struct sockaddr *)&bound, &bound_n), 0);
    CU_ASSERT_EQUAL_FATAL(connect(c, (struct sockaddr *)&bound, bound_n), 0);
    const int fd = net_accept(l, 1000, peer);
    CU_ASSERT_TRUE(fd >= 0);
    close(fd);
    close(c);
    close(l);
}

TEST(peers)
{
    char peer[INET6_ADDRSTRLEN];
    const struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    const struct sockaddr_un un = {.sun_family = AF_UNIX};
    accepted((const struct sockaddr *)&in, sizeof in, peer);
    CU_ASSERT_STRING_EQUAL(peer, "127.0.0.1");
    accepted((const struct sockaddr *)&un, sizeof un.sun_family, peer);
    CU_ASSERT_STRING_EQUAL(peer, "unix:");
    if (access("/proc/net/if_inet6", F_OK) == 0) {
        accepted((const struct sockaddr *)&in6, sizeof in6, peer);
        CU_ASSERT_STRING_EQUAL(peer, "::1");
    }
}
