/* SPDX-License-Identifier: MIT */
#include "../../../src/fcgi/fcgi_internal.h"

#include "../suite.h"
#include "wire.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { IDLE = 100, ROUNDS = 20 };

/* Fails if a thread waits for the next request on the connection it has served: tried (the third
 * client hangs). */
TEST(idle_connections_hold_no_thread)
{
    int fd[IDLE];
    unsigned wrong = 0;
    struct fixture *f = fixture_open(2, 0);
    for (int i = 0; i < IDLE; i++) {
        fd[i] = client_connect(f);
        wrong += !client_get(fd[i], "/idle");
    }
    /* A thread that tries to accept counts one more for a moment. */
    CU_ASSERT_TRUE(fixture_has_connections(f, IDLE));
    for (int i = 0; i < ROUNDS; i++) {
        wrong += !fixture_works(f);
        wrong += !client_get(fd[i * 5], "/busy");
    }
    CU_ASSERT_EQUAL(wrong, 0);
    for (int i = 0; i < IDLE; i++)
        close(fd[i]);
    CU_ASSERT_TRUE(fixture_has_connections(f, 0));
}

/* Two threads stuck in a handler, and a third that serves the rest. */
static void busy_threads(int pollers)
{
    int fd[2];
    struct fixture *f = fixture_open(3, pollers);
    f->hold = true;
    for (int i = 0; i < 2; i++)
        fd[i] = fixture_hold(f, i + 1);
    CU_ASSERT_EQUAL(atomic_load(&f->slot.threads_busy), 2);
    CU_ASSERT_TRUE(fixture_works(f));
    fixture_clear(f, &f->hold);
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_TRUE(client_gets(fd[i], "GET /hold:"));
        close(fd[i]);
    }
    CU_ASSERT_TRUE(fixture_has_connections(f, 0));
    CU_ASSERT_TRUE(fcgi_server_stop(f->server, 20000));
    f->server = NULL;
    CU_ASSERT_EQUAL(atomic_load(&f->slot.threads_busy), 0);
}

/* Fails if nobody is woken when a thread stops polling, or if more threads are woken than there
 * are: both tried. */
TEST(busy_threads_leave_others_free)
{
    for (int pollers = 0; pollers <= 4; pollers++)
        busy_threads(pollers);
}

/* More requests wait than there are threads: those that finish take the next. */
TEST(all_threads_busy)
{
    int fd[6];
    struct fixture *f = fixture_open(3, 2);
    f->hold = true;
    for (int i = 0; i < 6; i++) {
        fd[i] = client_connect(f);
        CU_ASSERT_TRUE(client_request(fd[i], "GET", "/hold", NULL));
    }
    fixture_wait(f, &f->n_held, 3);
    fixture_clear(f, &f->hold);
    for (int i = 0; i < 6; i++) {
        CU_ASSERT_TRUE(client_gets(fd[i], "GET /hold:"));
        close(fd[i]);
    }
    CU_ASSERT_TRUE(fixture_works(f));
}

static int idle_threads(struct fcgi_server *s)
{
    int n = 0;
    pthread_mutex_lock(&s->lock);
    for (const struct fcgi_thread *t = s->idle; t; t = t->next)
        n++;
    pthread_mutex_unlock(&s->lock);
    return n;
}

/* Fails if a thread stops polling for an ordinary request: tried. */
TEST(running_thread_wakes_no_other)
{
    int fd[8];
    struct fixture *f = fixture_open(8, 1);
    /* A thread that starts late would poll, too. */
    for (int i = 0; i < 4000 && idle_threads(f->server) < 7; i++)
        poll(NULL, 0, 5);
    for (int i = 0; i < 8; i++)
        fd[i] = client_connect(f);
    for (int i = 0; i < 200; i++) {
        CU_ASSERT_TRUE(client_get(fd[i % 8], "/idle"));
    }
    CU_ASSERT_EQUAL(f->n_threads, 1);
    for (int i = 0; i < 8; i++)
        close(fd[i]);
}

/* The only poller must not wait for a peer either. Fails if it does not stop polling before it
 * reads what is not there yet, or sends what may not fit, or if it takes the end of any request for
 * that of this one: all tried. */
TEST(slow_peers_block_no_other)
{
    struct wire w = {.n = 0};
    struct reply r;
    int fd[5];
    struct fixture *f = fixture_open(6, 1);
    /* Three stop within a request: after the first record, in the parameters, in the body. */
    wire_request(&w, WIRE_KEEP, "POST", "/slow", "some words");
    const size_t cuts[] = {16, 100, w.n - 12};
    for (size_t i = 0; i < ARRAY_LEN(cuts); i++) {
        fd[i] = client_connect(f);
        CU_ASSERT_TRUE(client_send(fd[i], &w, cuts[i]));
    }
    /* One reads nothing of a million bytes. */
    fd[3] = client_connect(f);
    CU_ASSERT_TRUE(client_request(fd[3], "GET", "/pieces", NULL));
    while (!fixture_saw(f, "GET /pieces"))
        poll(NULL, 0, 1);
    /* And one ends another request than it began; libfcgi skips that. */
    struct wire other = {.n = 0};
    wire_request(&other, WIRE_KEEP, "GET", "/other", NULL);
    unsigned char end[8];
    memcpy(end, other.p + other.n - sizeof end, sizeof end);
    other.p[other.n - sizeof end + 3] ^= 8;
    fd[4] = client_connect(f);
    CU_ASSERT_TRUE(client_send(fd[4], &other, other.n));
    for (int i = 0; i < 10; i++)
        CU_ASSERT_TRUE(fixture_works(f));
    CU_ASSERT_EQUAL(send(fd[4], end, sizeof end, MSG_NOSIGNAL), (ssize_t)sizeof end);
    CU_ASSERT_TRUE(client_gets(fd[4], "GET /other"));
    close(fd[4]);
    for (size_t i = 0; i < ARRAY_LEN(cuts); i++) {
        const ssize_t left = (ssize_t)(w.n - cuts[i]);
        CU_ASSERT_EQUAL(send(fd[i], w.p + cuts[i], (size_t)left, MSG_NOSIGNAL), left);
        CU_ASSERT_TRUE(client_gets(fd[i], "POST /slow:some words"));
    }
    client_read(fd[3], &r);
    CU_ASSERT_TRUE(r.ended && r.n > 1000000);
    for (int i = 0; i < 4; i++)
        close(fd[i]);
    CU_ASSERT_TRUE(fixture_has_connections(f, 0));
}

/* Fails if drain closes parked connections, or keeps the listener in the epoll: both tried. */
TEST(draining_serves_parked_connections)
{
    struct fixture *f = fixture_open(2, 0);
    int parked = client_connect(f);
    CU_ASSERT_TRUE(client_get(parked, "/before"));
    fcgi_server_drain(f->server);
    fcgi_server_drain(f->server);
    CU_ASSERT_TRUE(client_get(parked, "/after"));
    /* A new connection is for another server on the same listener. */
    int fresh = client_connect(f);
    CU_ASSERT_TRUE(client_request(fresh, "GET", "/fresh", NULL));
    CU_ASSERT_TRUE(client_get(parked, "/still"));
    CU_ASSERT_FALSE(fixture_saw(f, "GET /fresh"));
    CU_ASSERT_TRUE(fixture_has_connections(f, 1));
    struct fcgi_server *next = fixture_start_server(f, 1, 0);
    CU_ASSERT_TRUE(client_gets(fresh, "GET /fresh:"));
    close(parked);
    CU_ASSERT_TRUE(fixture_has_connections(f, 0));
    close(fresh);
    CU_ASSERT_TRUE(fcgi_server_stop(next, 20000));
}

/* The kernel may have told this server alone of what waits in the queue when it drains. Fails if
 * drain does not accept: tried. */
TEST(draining_accepts_what_waits)
{
    struct fixture *f = fixture_open(1, 0);
    f->hold = true;
    int busy = fixture_hold(f, 1);
    int waiting = client_connect(f);
    CU_ASSERT_TRUE(client_request(waiting, "GET", "/waiting", NULL));
    fcgi_server_drain(f->server);
    CU_ASSERT_EQUAL(fcgi_server_connections(f->server), 2);
    fixture_clear(f, &f->hold);
    CU_ASSERT_TRUE(client_gets(waiting, "GET /waiting:"));
    close(waiting);
    close(busy);
}

/* Fails if stop leaves parked connections open, or waits for ever: tried. */
TEST(stopping)
{
    struct fixture *f = fixture_open(2, 0);
    f->hold = true;
    int parked = client_connect(f);
    CU_ASSERT_TRUE(client_get(parked, "/"));
    int busy = fixture_hold(f, 1);
    CU_ASSERT_FALSE(fcgi_server_stop(f->server, 50));
    /* A request under way is answered all the same. */
    fixture_clear(f, &f->hold);
    CU_ASSERT_TRUE(client_gets(busy, "GET /hold:"));
    CU_ASSERT_TRUE(fcgi_server_stop(f->server, 20000));
    f->server = NULL;
    CU_ASSERT_TRUE(client_is_closed(parked));
    CU_ASSERT_TRUE(client_is_closed(busy));
    close(parked);
    close(busy);
}

/* Waits until both together hold n connections; false after a long time. */
static bool open_in_both(struct fcgi_server *one, struct fcgi_server *other, size_t n)
{
    for (int i = 0; i < 4000; i++) {
        if (fcgi_server_connections(one) + fcgi_server_connections(other) == n)
            return true;
        (void)poll(NULL, 0, 5);
    }
    return false;
}

/* As of two workers. A busy machine may run one of them late, so the second one gets some attempts.
 * Fails if a server does not requeue the listener: tried (one of them gets all, each time). */
TEST(servers_share_the_connections)
{
    enum { CLIENTS = 60, ATTEMPTS = 4, FEW = 3 };
    int fd[CLIENTS];
    bool shared = false;
    struct fixture *f = fixture_open(2, 0);
    for (int attempt = 0; attempt < ATTEMPTS && !shared; attempt++) {
        struct fcgi_server *other = fixture_start_server(f, 2, 0);
        CU_ASSERT_PTR_NOT_NULL(other);
        for (int i = 0; i < CLIENTS; i++) {
            fd[i] = client_connect(f);
            CU_ASSERT_TRUE(client_get(fd[i], "/"));
        }
        /* A thread that looks for another connection counts it for that moment. */
        CU_ASSERT_TRUE(open_in_both(f->server, other, CLIENTS));
        const size_t mine = fcgi_server_connections(f->server);
        shared = mine >= FEW && mine <= CLIENTS - FEW;
        for (int i = 0; i < CLIENTS; i++)
            close(fd[i]);
        CU_ASSERT_TRUE(open_in_both(f->server, other, 0));
        CU_ASSERT_TRUE(fcgi_server_stop(other, 20000));
    }
    CU_ASSERT_TRUE(shared);
}

/* The kernel tells one server of a connection; that one may be full by the time it looks. Fails if
 * it does not accept it then: tried (one pair in ten waits for ever). */
TEST(full_server_leaves_none_waiting)
{
    enum { PAIRS = 100, THREADS = 4 };
    struct fixture *f = fixture_open(0, 0);
    struct fcgi_server *one = fixture_start_server(f, THREADS, 1),
                       *other = fixture_start_server(f, THREADS, 1);
    CU_ASSERT_TRUE_FATAL(one && other);
    bool taken = true;
    for (int i = 0; i < PAIRS && taken; i++) {
        const int fd[2] = {client_connect(f), client_connect(f)};
        taken = open_in_both(one, other, 2);
        close(fd[0]);
        close(fd[1]);
        CU_ASSERT_TRUE(open_in_both(one, other, 0));
    }
    CU_ASSERT_TRUE(taken);
    CU_ASSERT_TRUE(fcgi_server_stop(other, 20000));
    f->server = one;
}

/* Each open connection costs a descriptor. Fails if a full server takes all that wait: tried. */
TEST(open_connections_are_bounded)
{
    enum { CLIENTS = 40, ROOM = 5, THREADS = 4 };
    int fd[CLIENTS];
    struct fixture *f = fixture_open(0, 0);
    f->server = fixture_start_server(f, THREADS, ROOM);
    CU_ASSERT_PTR_NOT_NULL_FATAL(f->server);
    for (int i = 0; i < CLIENTS; i++)
        fd[i] = client_connect(f);
    for (int i = 0; i < CLIENTS; i++) {
        (void)poll(NULL, 0, 1);
        const size_t n = fcgi_server_connections(f->server);
        CU_ASSERT_TRUE(n <= ROOM + THREADS);
        close(fd[i]);
    }
    CU_ASSERT_TRUE(fixture_has_connections(f, 0));
}

/* Clients that ask again at once share the thread with those that are not accepted yet. Fails if
 * one is accepted for each round of the others: tried (the last one waits for 300 to 1,900
 * requests). */
TEST(new_clients_do_not_starve)
{
    enum { CLIENTS = 60 };
    struct reply r;
    struct pollfd fd[CLIENTS];
    bool answered[CLIENTS] = {false};
    struct fixture *f = fixture_open(1, 0);
    f->hold = true;
    const int first = fixture_hold(f, 1);
    for (int i = 0; i < CLIENTS; i++) {
        fd[i] = (struct pollfd){.fd = client_connect(f), .events = POLLIN};
        CU_ASSERT_TRUE(client_request(fd[i].fd, "GET", "/slow", NULL));
    }
    fixture_clear(f, &f->hold);
    int n_answered = 0, n_asked = CLIENTS;
    while (n_answered < CLIENTS && poll(fd, CLIENTS, 20000) > 0)
        for (int i = 0; i < CLIENTS; i++) {
            if (!fd[i].revents)
                continue;
            client_read(fd[i].fd, &r);
            n_answered += !answered[i];
            answered[i] = true;
            n_asked += client_request(fd[i].fd, "GET", "/slow", NULL);
        }
    CU_ASSERT_EQUAL(n_answered, CLIENTS);
    CU_ASSERT_TRUE(n_asked < 4 * CLIENTS);
    if (n_asked >= 4 * CLIENTS)
        printf("%d requests before the last client's first\n", n_asked);
    for (int i = 0; i < CLIENTS; i++)
        close(fd[i].fd);
    close(first);
}

TEST(no_listener)
{
    struct fcgi_server *s;
    const struct fcgi_settings bad = {.listen_fd = -1,
                                      .threads = 1,
                                      .connections = 1,
                                      .max_body = 1024,
                                      .arena_limit = 1024 * 1024,
                                      .io_timeout_ms = 1000};
    CU_ASSERT_EQUAL(fcgi_server_start(&bad, &s), ERR_INTERNAL);
    CU_ASSERT_PTR_NULL(s);
}
