/* SPDX-License-Identifier: MIT */
#include "theatre.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "parley/base/clock.h"

/* Bounds what hangs; no test depends on its length. */
enum { PATIENCE_MS = 20000, STEP_MS = 5, LOG_MAX = 256 * 1024 };

/* The workers inherit it by fork: they are called without an argument of the test's. */
static struct play *play;

static void come(void)
{
    const int here = atomic_fetch_add(&play->here, 1) + 1;
    int most = atomic_load(&play->most);
    while (here > most && !atomic_compare_exchange_weak(&play->most, &most, here))
        continue;
}

static int act(const struct worker_run *run)
{
    sigset_t term;
    const int part = atomic_load(&play->part);
    struct metrics_slot *slot = &run->shared->slots[run->slot];
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    atomic_fetch_add(&play->busy_at_start, (int)atomic_load(&slot->threads_busy));
    metrics_set(&slot->threads_busy, 7);
    const int order = atomic_fetch_add(&play->started, 1);
    atomic_store(&play->pids[order % PIDS], getpid());
    if (part == PART_MISCONFIGURED) {
        shared_set_reason(run->shared, "the schema is of yesterday");
        return EXIT_MISCONFIGURED;
    }
    come();
    if (part != PART_SILENT) {
        atomic_store(&run->shared->words[run->slot].ready, true);
        atomic_store(&run->shared->served, true);
        atomic_fetch_add(&play->ready, 1);
    }
    while (signals_wait(&term, clock_mono_us() + STEP_MS * 1000) != SIGTERM)
        if (part == PART_TIRED && atomic_load(&play->tired))
            atomic_store(&run->shared->words[run->slot].wishes, true);
    atomic_fetch_sub(&play->here, 1);
    while (part == PART_STUBBORN)
        pause();
    atomic_fetch_add(&play->ended, 1);
    return EXIT_GOOD;
}

static bool check(const struct config *cfg, char *why, size_t why_n)
{
    (void)cfg;
    atomic_fetch_add(&play->checks, 1);
    if (atomic_load(&play->check) == PART_SILENT)
        for (;;)
            pause();
    snprintf(why, why_n, "the server is of stone");
    return atomic_load(&play->check) == PART_GOOD;
}

static void run_supervisor(const struct theatre *t)
{
    int fd = open(t->log, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
        _exit(99);
    _exit(supervisor_run(&t->cfg, act, check));
}

void theatre_configure(struct theatre *t, int workers, int drain_s, const char *more)
{
    char fresh[80];
    snprintf(fresh, sizeof fresh, "%s.new", t->file);
    FILE *f = fopen(fresh, "we");
    CU_ASSERT_PTR_NOT_NULL(f);
    fprintf(f, "PARLEY_WORKERS=%d\nPARLEY_DRAIN=%d\n", workers, drain_s);
    fprintf(f, "PARLEY_CONNECT_MS=1\nPARLEY_STATEMENT_MS=1\n%s\n", more);
    if (!strstr(more, "PARLEY_LISTEN"))
        fprintf(f, "PARLEY_LISTEN=%s/main.sock\n", t->dir);
    fprintf(f, "PARLEY_ADMIN=%s/admin.sock\n", t->dir);
    CU_ASSERT_EQUAL(fclose(f), 0);
    CU_ASSERT_EQUAL(rename(fresh, t->file), 0);
}

void theatre_open(struct theatre *t)
{
    fflush(NULL);
    t->pid = fork();
    if (t->pid == 0)
        run_supervisor(t);
}

void theatre_begin(struct theatre *t, enum part part, int drain_s)
{
    char why[256];
    memset(t, 0, sizeof *t);
    play = mmap(NULL, sizeof *play, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    t->play = play;
    atomic_store(&play->part, part);
    snprintf(t->dir, sizeof t->dir, "/tmp/parley-supervisor-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL(mkdtemp(t->dir));
    snprintf(t->file, sizeof t->file, "%s/settings", t->dir);
    snprintf(t->log, sizeof t->log, "%s/log", t->dir);
    clearenv();
    setenv("DATABASE_URL", "postgresql:///nowhere", 1);
    theatre_configure(t, WORKERS, drain_s, "");
    CU_ASSERT_EQUAL(config_load(&t->cfg, t->file, why, sizeof why), ERR_NONE);
    theatre_open(t);
}

bool theatre_count(_Atomic int *count, int n)
{
    for (int i = 0; i < PATIENCE_MS / STEP_MS && atomic_load(count) < n; i++)
        poll(NULL, 0, STEP_MS);
    return atomic_load(count) >= n;
}

void theatre_ready(struct theatre *t, enum part part, int drain_s)
{
    theatre_begin(t, part, drain_s);
    CU_ASSERT_TRUE(theatre_count(&t->play->ready, WORKERS));
}

int theatre_said(const struct theatre *t, const char *what)
{
    char *text = calloc(1, LOG_MAX);
    FILE *f = fopen(t->log, "re");
    int n = 0;
    if (f && text && fread(text, 1, LOG_MAX - 1, f) > 0)
        for (const char *p = text; (p = strstr(p, what)); p++)
            n++;
    if (f)
        fclose(f);
    free(text);
    return n;
}

bool theatre_says(const struct theatre *t, const char *what, int n)
{
    for (int i = 0; i < PATIENCE_MS / STEP_MS && theatre_said(t, what) < n; i++)
        poll(NULL, 0, STEP_MS);
    return theatre_said(t, what) == n;
}

int theatre_wait(const struct theatre *t)
{
    int status;
    for (int i = 0; i < PATIENCE_MS / STEP_MS; i++) {
        if (waitpid(t->pid, &status, WNOHANG) == t->pid)
            return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        poll(NULL, 0, STEP_MS);
    }
    kill(t->pid, SIGKILL);
    waitpid(t->pid, &status, 0);
    return -1;
}

void theatre_end(struct theatre *t, bool sockets_gone)
{
    struct stat st;
    CU_ASSERT_EQUAL(lstat(t->cfg.listen, &st) != 0, sockets_gone);
    CU_ASSERT_EQUAL(lstat(t->cfg.admin, &st) != 0, sockets_gone);
    unlink(t->cfg.listen);
    unlink(t->cfg.admin);
    char lock[128];
    snprintf(lock, sizeof lock, "%s.lock", t->cfg.listen);
    CU_ASSERT_EQUAL(unlink(lock) != 0, sockets_gone);
    unlink(t->log);
    unlink(t->file);
    CU_ASSERT_EQUAL(rmdir(t->dir), 0);
    config_free(&t->cfg);
    munmap(play, sizeof *play);
}

void theatre_close(struct theatre *t)
{
    kill(t->pid, SIGTERM);
    CU_ASSERT_EQUAL(theatre_wait(t), EXIT_GOOD);
    theatre_end(t, true);
}
