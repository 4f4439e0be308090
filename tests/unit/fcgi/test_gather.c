/* SPDX-License-Identifier: MIT */
/* Requests that arrive together and are read ahead together. */
#include "../../../src/fcgi/fcgi_internal.h"

#include "../suite.h"
#include "wire.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "parley/base/clock.h"

enum { TURNS_MAX = 24 };

/* A server whose threads are kept busy while the clients send. Each client sends one kind of
 * request; the letter at … names the client, from 'a':
 *   k GET /s/…k  to be gathered         r GET /s/…r  the same, and made ready by read_ahead
 *   s GET /s/…s  stays in the handler   b GET /s/…b  lacks the parameter that ends them
 *   p POST       o GET /o/…o            c closes its connection */
struct gathering {
    struct fixture b; /* first: it is the service */
    fcgi_answer_fn inner;
    atomic_bool off;    /* nothing is gathered */
    bool stay;          /* requests of kind s are not answered while it is set; under b.lock */
    int n_staying;      /* under b.lock */
    size_t connections; /* that were open at the last call of read_ahead */
    char ahead[256];    /* clients whose requests were read ahead, a blank after each call */
    char answered[256]; /* clients that were answered; upper case: whose arena was reset */
    unsigned wrong;     /* requests that got what was read ahead for another */
    int fd[TURNS_MAX];
    const char *kinds;
};

static bool is_gathered(struct sv target)
{
    return sv_starts_with(target, SV("/s/"));
}

static bool gathers(void *service, struct sv target)
{
    struct gathering *g = service;
    return is_gathered(target) && !atomic_load(&g->off);
}

static void append_char(struct gathering *g, char *to, char c)
{
    pthread_mutex_lock(&g->b.lock);
    const size_t n = strlen(to);
    if (n + 1 < sizeof g->ahead)
        to[n] = c;
    pthread_mutex_unlock(&g->b.lock);
}

/* What read_ahead makes for a request; lives in its arena. */
struct prepared {
    struct gathering *g;
    char client;
    const char *shared; /* in the first arena */
};

static void reset(void *arg)
{
    const struct prepared *k = arg;
    k->g->wrong += *k->shared != '!';
    append_char(k->g, k->g->answered, (char)(k->client - 'a' + 'A'));
}

static void read_ahead(void *service, struct arena *const *arenas, struct http_request *const *reqs,
                       size_t n)
{
    struct gathering *g = service;
    char *shared = arena_alloc(arenas[0], 1);
    g->connections = fcgi_server_connections(g->b.server);
    *shared = '!';
    for (size_t i = 0; i < n; i++) {
        struct prepared *k = arena_alloc(arenas[i], sizeof *k);
        for (size_t j = 0; j < i; j++)
            g->wrong += arenas[i] == arenas[j];
        *k = (struct prepared){g, reqs[i]->target.p[3], shared};
        g->wrong += arena_defer(arenas[i], reset, k) != ERR_NONE;
        reqs[i]->prepared = k;
        reqs[i]->ready = reqs[i]->target.p[4] == 'r';
        append_char(g, g->ahead, k->client);
    }
    append_char(g, g->ahead, ' ');
}

static void answer(void *service, struct arena *arena, struct http_request *req,
                   struct http_response *res)
{
    struct gathering *g = service;
    const struct prepared *k = req->prepared;
    if (k)
        g->wrong += k->client != req->target.p[3];
    if (req->target.n == 5 && req->target.p[4] == 's') {
        req->before_wait.fn(req->before_wait.arg);
        pthread_mutex_lock(&g->b.lock);
        g->n_staying++;
        pthread_cond_broadcast(&g->b.changed);
        while (g->stay)
            pthread_cond_wait(&g->b.changed, &g->b.lock);
        pthread_mutex_unlock(&g->b.lock);
    }
    if (req->target.n == 5 && req->target.p[2] == '/')
        append_char(g, g->answered, req->target.p[3]);
    if (is_gathered(req->target) && req->target.p[3] == 'z')
        (void)poll(NULL, 0, 1); /* so that they pile up */
    g->inner(service, arena, req, res);
}

static void adjust(struct fcgi_settings *s)
{
    struct gathering *g = s->service;
    g->inner = s->answer;
    s->answer = answer;
    s->gathers = gathers;
    s->read_ahead = read_ahead;
}

/* ---- clients ---- */

static void target_of(const struct gathering *g, int i, char out[16])
{
    const char kind = g->kinds[i];
    snprintf(out, 16, "/%c/%c%c", kind == 'o' ? 'o' : 's', 'a' + i, kind);
}

static void send_request(struct gathering *g, int i)
{
    struct wire w = {.n = 0};
    char target[16];
    target_of(g, i, target);
    switch (g->kinds[i]) {
    case 'p':
        wire_request(&w, WIRE_KEEP, "POST", target, "body");
        break;
    case 'b':
        wire_begin(&w, WIRE_KEEP);
        wire_param(&w, "REQUEST_METHOD", "GET");
        wire_param(&w, "REQUEST_URI", target);
        wire_body(&w, NULL, 0);
        break;
    case 'c':
        CU_ASSERT_EQUAL(shutdown(g->fd[i], SHUT_WR), 0);
        return;
    default:
        wire_request(&w, WIRE_KEEP, "GET", target, NULL);
    }
    CU_ASSERT_TRUE(client_send(g->fd[i], &w, w.n));
}

/* Each client gets what it has asked for; those of kinds b and c are closed. */
static void expect_answers(struct gathering *g)
{
    for (int i = 0; g->kinds[i]; i++) {
        char want[40], target[16];
        if (g->kinds[i] == 'b' || g->kinds[i] == 'c') {
            CU_ASSERT_TRUE(client_is_closed(g->fd[i]));
            continue;
        }
        target_of(g, i, target);
        snprintf(want, sizeof want, "\r\n\r\n%s %s:", g->kinds[i] == 'p' ? "POST" : "GET", target);
        CU_ASSERT_TRUE(client_gets(g->fd[i], want));
    }
}

/* Connects a client for each kind, and keeps all threads busy. */
static void begin(struct gathering *g, const char *kinds, int threads)
{
    memset(g, 0, sizeof *g);
    g->kinds = kinds;
    fixture_listen(&g->b);
    g->b.adjust = adjust;
    g->b.pollers = 1;
    g->b.server = fixture_start_server(&g->b, threads, 0);
    CU_ASSERT_PTR_NOT_NULL_FATAL(g->b.server);
    for (int i = 0; kinds[i]; i++) {
        g->fd[i] = client_connect(&g->b);
        CU_ASSERT_TRUE(client_get(g->fd[i], "/x"));
    }
    g->b.hold = true;
}

static void keep_busy(struct gathering *g, int *fd, int threads)
{
    for (int i = 0; i < threads; i++)
        fd[i] = fixture_hold(&g->b, i + 1);
}

/* Sends all while the threads are busy. */
static void send_all(struct gathering *g, int threads)
{
    int busy[2];
    keep_busy(g, busy, threads);
    for (int i = 0; g->kinds[i]; i++)
        send_request(g, i);
    fixture_clear(&g->b, &g->b.hold);
    for (int i = 0; i < threads; i++) {
        CU_ASSERT_TRUE(client_gets(busy[i], "GET /hold:"));
        close(busy[i]);
    }
}

static void end(struct gathering *g)
{
    for (int i = 0; g->kinds[i]; i++)
        close(g->fd[i]);
    CU_ASSERT_TRUE(!g->b.server || fixture_has_connections(&g->b, 0));
    fixture_close(&g->b);
    CU_ASSERT_EQUAL(atomic_load(&g->b.slot.threads_busy), 0);
    CU_ASSERT_EQUAL(g->wrong, 0);
}

/* ---- tests ---- */

/* By one thread. Fails if answers are mixed up (tests/mutants/gather-turns-swapped), if others are
 * gathered too (tests/mutants/gather-all), and if the ready ones do not come first: tried. */
TEST(gathered_requests)
{
    static const struct {
        const char *kinds, *ahead, *answered;
    } rows[] = {
        {"k", "", "a"},
        {"kkkkk", "abcde ", "abBcCdDeEA"},
        {"kkrkr", "abcde ", "cCeEabBdDA"},
        {"rkr", "abc ", "acCbBA"},
        {"kpkok", "ace ", "acCeEAbd"},
        {"pkokk", "bde ", "abdDeEBc"},
        {"ocpb", "", "ac"},
        {"kbkck", "ace ", "acCeEA"},
        {"bkk", "bc ", "bcCB"},
        {"bk", "", "b"},
        {"bb", "", ""},
        {"kkkkkkkkkkkkkkkkkkkk", "abcdefghijklmnop qrst ",
         "abBcCdDeEfFgGhHiIjJkKlLmMnNoOpPAqrRsStTQ"},
        /* With gathering off: */
        {"kkrk", "", "abcd"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct gathering g;
        begin(&g, rows[i].kinds, 1);
        atomic_store(&g.off, i + 1 == ARRAY_LEN(rows));
        send_all(&g, 1);
        expect_answers(&g);
        end(&g);
        CU_ASSERT_STRING_EQUAL(g.ahead, rows[i].ahead);
        CU_ASSERT_STRING_EQUAL(g.answered, rows[i].answered);
        if (strcmp(g.answered, rows[i].answered) != 0)
            printf("%s: %s\n", rows[i].kinds, g.answered);
    }
}

/* Deferred requests are answered while the thread that deferred them waits. Fails if they have to
 * wait until it has finished: tried. */
TEST(deferred_requests_do_not_wait)
{
    struct gathering g;
    begin(&g, "skpok", 2);
    g.stay = true;
    send_all(&g, 2);
    fixture_wait(&g.b, &g.n_staying, 1);
    CU_ASSERT_TRUE(client_gets(g.fd[2], "POST /s/cp:body"));
    CU_ASSERT_TRUE(client_gets(g.fd[3], "GET /o/do:"));
    /* And they may ask again. */
    send_request(&g, 2);
    send_request(&g, 3);
    fixture_clear(&g.b, &g.stay);
    expect_answers(&g);
    end(&g);
    CU_ASSERT_STRING_EQUAL(g.ahead, "abe ");
}

/* Fails if gather ignores the listener: tried. */
TEST(new_connection_while_gathering)
{
    struct gathering g;
    int busy;
    begin(&g, "kkp", 1);
    keep_busy(&g, &busy, 1);
    send_request(&g, 0);
    const int fresh = client_connect(&g.b);
    CU_ASSERT_TRUE(client_request(fresh, "GET", "/s/zk", NULL));
    send_request(&g, 1);
    send_request(&g, 2);
    fixture_clear(&g.b, &g.b.hold);
    expect_answers(&g);
    CU_ASSERT_TRUE(client_gets(fresh, "GET /s/zk:"));
    close(fresh);
    close(busy);
    end(&g);
    CU_ASSERT_STRING_EQUAL(g.ahead, "ab ");
    CU_ASSERT_EQUAL(g.connections, 5);
}

/* Requests under way are answered, and then the connections are closed. */
TEST(stopping)
{
    struct gathering g;
    begin(&g, "skrk", 1);
    g.stay = true;
    send_all(&g, 1);
    fixture_wait(&g.b, &g.n_staying, 1);
    fcgi_server_drain(g.b.server);
    CU_ASSERT_FALSE(fcgi_server_stop(g.b.server, 50));
    fixture_clear(&g.b, &g.stay);
    expect_answers(&g);
    CU_ASSERT_TRUE(fcgi_server_stop(g.b.server, 20000));
    g.b.server = NULL;
    for (int i = 0; g.kinds[i]; i++)
        CU_ASSERT_TRUE(client_is_closed(g.fd[i]));
    end(&g);
    CU_ASSERT_STRING_EQUAL(g.answered, "cCabBdDA");
}

static void send_again(int fd, bool writes)
{
    CU_ASSERT_TRUE(client_request(fd, writes ? "POST" : "GET", "/s/zk", writes ? "body" : NULL));
}

/* Clients that read again at once share the thread with some that write. Fails if deferred
 * connections go back to the epoll: tests/mutants/gather-passes-by (up to 46,000 reads before a
 * write). */
TEST(writers_do_not_starve)
{
    enum { CLIENTS = 62, ROUNDS = 20 };
    static struct gathering g;
    for (int writers = 1; writers <= 13; writers += 3) {
        struct pollfd fd[CLIENTS];
        struct reply r;
        int busy, most = 0, others[CLIENTS] = {0};
        begin(&g, "", 1);
        for (int i = 0; i < CLIENTS; i++) {
            fd[i] = (struct pollfd){.fd = client_connect(&g.b), .events = POLLIN};
            CU_ASSERT_TRUE(client_get(fd[i].fd, "/x"));
        }
        keep_busy(&g, &busy, 1);
        for (int i = 0; i < CLIENTS; i++)
            send_again(fd[i].fd, i < writers);
        fixture_clear(&g.b, &g.b.hold);
        for (int done = 0; done < ROUNDS && most < 400 * CLIENTS && poll(fd, CLIENTS, 20000) > 0;)
            for (int i = 0; i < CLIENTS; i++) {
                if (!fd[i].revents)
                    continue;
                client_read(fd[i].fd, &r);
                for (int k = 0; k < writers; k++) {
                    others[k] = i == k ? 0 : others[k] + 1;
                    most = others[k] > most ? others[k] : most;
                }
                done += i == 0;
                send_again(fd[i].fd, i < writers);
            }
        CU_ASSERT_TRUE(most < 100 * CLIENTS);
        if (most >= 10 * CLIENTS)
            printf("%d of %d write: one waited for %d others\n", writers, CLIENTS, most);
        for (int i = 0; i < CLIENTS; i++)
            close(fd[i].fd);
        close(busy);
        end(&g);
    }
}

/* Whether n threads become pollers while requests for target are answered one by one. */
static bool becomes_pollers(struct gathering *g, int n, const char *target)
{
    struct fcgi_server *s = g->b.server;
    int pollers = 0;
    for (int i = 0; i < 1000 && pollers != n; i++) {
        CU_ASSERT_TRUE(client_get(g->fd[0], target));
        (void)poll(NULL, 0, i < 20 ? 0 : 5);
        pthread_mutex_lock(&s->lock);
        pollers = s->n_pollers;
        pthread_mutex_unlock(&s->lock);
    }
    return pollers == n;
}

/* One thread polls while requests are gathered, and two while none are. Fails if the number does
 * not rise, if it does not fall again, or if gathers is not asked: tried. */
TEST(more_pollers_when_nothing_is_gathered)
{
    struct gathering g;
    begin(&g, "s", 4);
    CU_ASSERT_TRUE(becomes_pollers(&g, 2, "/x/as"));
    CU_ASSERT_TRUE(becomes_pollers(&g, 1, "/s/ak"));
    atomic_store(&g.off, true);
    CU_ASSERT_TRUE(becomes_pollers(&g, 2, "/s/as"));
    end(&g);
}
