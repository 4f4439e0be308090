/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Bounds what hangs; no test depends on its length. */
enum { PATIENCE_MS = 20000, STEP_MS = 5, LOG_MAX = 256 * 1024 };

/* Workers inherit it by fork: a worker_fn has no argument for it. */
static struct shared_state *state;

static void count_serving(void)
{
    const int serving = atomic_fetch_add(&state->serving, 1) + 1;
    int most = atomic_load(&state->most_serving);
    while (serving > most && !atomic_compare_exchange_weak(&state->most_serving, &most, serving))
        continue;
}

static int simulate_worker(const struct worker_run *run)
{
    static const struct timespec step = {.tv_nsec = STEP_MS * 1000000};
    sigset_t term;
    const int behaviour = atomic_load(&state->behaviour);
    struct metrics_slot *slot = &run->shared->slots[run->worker];
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    atomic_fetch_add(&state->busy_at_start, (int)atomic_load(&slot->threads_busy));
    metrics_set(&slot->threads_busy, 7);
    const int order = atomic_fetch_add(&state->started, 1);
    atomic_store(&state->pids[order % PIDS], getpid());
    if (behaviour == MISCONFIGURED) {
        snprintf(run->shared->reports[run->worker].reason, API_REASON_MAX, "the schema is too old");
        return EXIT_MISCONFIGURED;
    }
    count_serving();
    if (behaviour != NEVER_READY) {
        atomic_store(&run->shared->reports[run->worker].ready, true);
        atomic_store(&run->shared->served, true);
        atomic_fetch_add(&state->ready, 1);
    }
    while (sigtimedwait(&term, NULL, &step) != SIGTERM)
        if (behaviour == RECYCLABLE && atomic_load(&state->recycle))
            atomic_store(&run->shared->reports[run->worker].wants_replacement, true);
    atomic_fetch_sub(&state->serving, 1);
    while (behaviour == NEVER_ENDS)
        pause();
    atomic_fetch_add(&state->ended, 1);
    return EXIT_GOOD;
}

static void run_supervisor(const struct harness *t)
{
    int fd = open(t->log, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
        _exit(99);
    _exit(supervisor_run(&t->cfg, NULL, simulate_worker));
}

void harness_configure(struct harness *t, int workers, int drain_s, const char *more)
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

void harness_open(struct harness *t)
{
    fflush(NULL);
    t->pid = fork();
    if (t->pid == 0)
        run_supervisor(t);
}

void harness_begin(struct harness *t, enum behaviour behaviour, int drain_s)
{
    char why[256];
    memset(t, 0, sizeof *t);
    state = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    t->state = state;
    atomic_store(&state->behaviour, behaviour);
    snprintf(t->dir, sizeof t->dir, "/tmp/parley-supervisor-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL(mkdtemp(t->dir));
    snprintf(t->file, sizeof t->file, "%s/settings", t->dir);
    snprintf(t->log, sizeof t->log, "%s/log", t->dir);
    clearenv();
    setenv("DATABASE_URL", "postgresql:///nowhere", 1);
    harness_configure(t, WORKERS, drain_s, "");
    CU_ASSERT_EQUAL(config_load(&t->cfg, t->file, why, sizeof why), ERR_NONE);
    harness_open(t);
}

bool harness_count(_Atomic int *count, int n)
{
    for (int i = 0; i < PATIENCE_MS / STEP_MS && atomic_load(count) < n; i++)
        poll(NULL, 0, STEP_MS);
    return atomic_load(count) >= n;
}

void harness_ready(struct harness *t, enum behaviour behaviour, int drain_s)
{
    harness_begin(t, behaviour, drain_s);
    CU_ASSERT_TRUE(harness_count(&t->state->ready, WORKERS));
}

int harness_said(const struct harness *t, const char *what)
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

bool harness_says(const struct harness *t, const char *what, int n)
{
    for (int i = 0; i < PATIENCE_MS / STEP_MS && harness_said(t, what) < n; i++)
        poll(NULL, 0, STEP_MS);
    return harness_said(t, what) == n;
}

int harness_wait(const struct harness *t)
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

void harness_end(struct harness *t, bool sockets_gone)
{
    struct stat st;
    CU_ASSERT_EQUAL(lstat(t->cfg.listen, &st) != 0, sockets_gone);
    CU_ASSERT_EQUAL(lstat(t->cfg.admin, &st) != 0, sockets_gone);
    unlink(t->cfg.listen);
    unlink(t->cfg.admin);
    char pidfile[128];
    snprintf(pidfile, sizeof pidfile, "%s.pid", t->cfg.listen);
    CU_ASSERT_EQUAL(unlink(pidfile) != 0, sockets_gone);
    unlink(t->log);
    unlink(t->file);
    CU_ASSERT_EQUAL(rmdir(t->dir), 0);
    config_free(&t->cfg);
    munmap(state, sizeof *state);
}

void harness_close(struct harness *t)
{
    kill(t->pid, SIGTERM);
    CU_ASSERT_EQUAL(harness_wait(t), EXIT_GOOD);
    harness_end(t, true);
}
