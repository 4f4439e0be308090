/* SPDX-License-Identifier: MIT */
/* A real supervisor in a child process, with workers that only play their part. */
#include "../../../src/proc/proc_internal.h"
#include "../suite.h"

#include <errno.h>
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
enum { PATIENCE_MS = 20000, STEP_MS = 5, WORKERS = 2, PIDS = 16 };

enum part { PART_GOOD, PART_STUBBORN, PART_MISCONFIGURED };

static struct play {
    _Atomic int part, started, ended, pids[PIDS], busy_at_start;
} * play; /* shared with the workers */

struct theatre {
    char dir[40], listen[64], admin[64], log[64];
    struct config cfg;
    pid_t pid;
};

static int act(const struct worker_run *run)
{
    sigset_t term;
    struct metrics_slot *slot = &run->shared->slots[run->slot];
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    atomic_fetch_add(&play->busy_at_start, (int)atomic_load(&slot->threads_busy));
    metrics_set(&slot->threads_busy, 7);
    atomic_store(&play->pids[atomic_fetch_add(&play->started, 1) % PIDS], getpid());
    if (play->part == PART_MISCONFIGURED) {
        shared_set_reason(run->shared, "the schema is of yesterday");
        return EXIT_MISCONFIGURED;
    }
    while (signals_wait(&term, INT64_MAX) != SIGTERM || play->part == PART_STUBBORN)
        continue;
    atomic_fetch_add(&play->ended, 1);
    return EXIT_GOOD;
}

static void run_supervisor(const struct theatre *t)
{
    int fd = open(t->log, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
        _exit(99);
    const struct supervisor_settings settings = {.cfg = &t->cfg, .worker = act};
    _exit(supervisor_run(&settings));
}

static void begin(struct theatre *t, enum part part, int64_t drain_s)
{
    memset(t, 0, sizeof *t);
    play = mmap(NULL, sizeof *play, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    atomic_store(&play->part, part);
    snprintf(t->dir, sizeof t->dir, "/tmp/parley-supervisor-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL(mkdtemp(t->dir));
    snprintf(t->listen, sizeof t->listen, "%s/main.sock", t->dir);
    snprintf(t->admin, sizeof t->admin, "%s/admin.sock", t->dir);
    snprintf(t->log, sizeof t->log, "%s/log", t->dir);
    t->cfg.listen = t->listen;
    t->cfg.admin = t->admin;
    t->cfg.workers = WORKERS;
    t->cfg.drain_s = drain_s;
    fflush(NULL);
    t->pid = fork();
    if (t->pid == 0)
        run_supervisor(t);
}

static bool wait_count(_Atomic int *count, int n)
{
    for (int i = 0; i < PATIENCE_MS / STEP_MS && atomic_load(count) < n; i++)
        poll(NULL, 0, STEP_MS);
    return atomic_load(count) >= n;
}

static size_t read_log(const struct theatre *t, char *text, size_t size)
{
    FILE *f = fopen(t->log, "re");
    size_t n = f ? fread(text, 1, size - 1, f) : 0;
    text[n] = '\0';
    if (f)
        fclose(f);
    return n;
}

static bool wait_log(const struct theatre *t, const char *what)
{
    char text[16384];
    for (int i = 0; i < PATIENCE_MS / STEP_MS; i++) {
        read_log(t, text, sizeof text);
        if (strstr(text, what))
            return true;
        poll(NULL, 0, STEP_MS);
    }
    return false;
}

/* The exit status, or -1 if it had to be killed or was. */
static int wait_end(const struct theatre *t)
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

/* No worker lives: their parent is gone, having waited for them. The sockets are gone, too. */
static void end(struct theatre *t, bool sockets_gone)
{
    struct stat st;
    CU_ASSERT_EQUAL(lstat(t->listen, &st) != 0, sockets_gone);
    CU_ASSERT_EQUAL(lstat(t->admin, &st) != 0, sockets_gone);
    unlink(t->listen);
    unlink(t->admin);
    unlink(t->log);
    CU_ASSERT_EQUAL(rmdir(t->dir), 0);
    munmap(play, sizeof *play);
}

static void sigterm_drains(void)
{
    struct theatre t;
    begin(&t, PART_GOOD, 1000);
    CU_ASSERT_TRUE(wait_count(&play->started, WORKERS));
    kill(t.pid, SIGTERM);
    CU_ASSERT_EQUAL(wait_end(&t), EXIT_GOOD);
    CU_ASSERT_EQUAL(play->ended, WORKERS);
    CU_ASSERT_EQUAL(play->started, WORKERS);
    end(&t, true);
}

/* Fails if the supervisor does not clear the gauges, or does not start another: tried. */
static void killed_worker_is_replaced(void)
{
    struct theatre t;
    begin(&t, PART_GOOD, 1000);
    CU_ASSERT_TRUE(wait_count(&play->started, WORKERS));
    /* Whoever counted last has written its id an instant later. */
    CU_ASSERT_TRUE(wait_count(&play->pids[0], 1) && wait_count(&play->pids[1], 1));
    kill(play->pids[0], SIGKILL);
    CU_ASSERT_TRUE(wait_count(&play->started, WORKERS + 1));
    CU_ASSERT_EQUAL(play->busy_at_start, 0);
    CU_ASSERT_TRUE(wait_log(&t, "\"signal\":9"));
    kill(t.pid, SIGINT);
    CU_ASSERT_EQUAL(wait_end(&t), EXIT_GOOD);
    CU_ASSERT_EQUAL(play->ended, WORKERS);
    end(&t, true);
}

/* Fails if such a worker is replaced like any other: tried. */
static void wrong_configuration_ends_the_service(void)
{
    char text[16384];
    struct theatre t;
    begin(&t, PART_MISCONFIGURED, 1000);
    CU_ASSERT_EQUAL(wait_end(&t), EXIT_MISCONFIGURED);
    read_log(&t, text, sizeof text);
    const char *line = strstr(text, "parley: the schema is of yesterday\n");
    CU_ASSERT_PTR_NOT_NULL(line);
    CU_ASSERT_PTR_NULL(line ? strstr(line + 1, "parley: ") : NULL);
    CU_ASSERT_TRUE(play->started <= WORKERS);
    end(&t, true);
}

/* Fails if the second signal only repeats the first: tried (the drain time is half an hour). */
static void second_sigterm_ends_at_once(void)
{
    struct theatre t;
    begin(&t, PART_STUBBORN, 1800);
    CU_ASSERT_TRUE(wait_count(&play->started, WORKERS));
    kill(t.pid, SIGTERM);
    CU_ASSERT_TRUE(wait_log(&t, "draining"));
    kill(t.pid, SIGTERM);
    CU_ASSERT_EQUAL(wait_end(&t), EXIT_GOOD);
    CU_ASSERT_EQUAL(play->ended, 0);
    end(&t, true);
}

/* Fails if nobody is killed when the time is over: tried. */
static void stubborn_workers_are_killed(void)
{
    struct theatre t;
    begin(&t, PART_STUBBORN, 0);
    CU_ASSERT_TRUE(wait_count(&play->started, WORKERS));
    kill(t.pid, SIGTERM);
    CU_ASSERT_EQUAL(wait_end(&t), EXIT_GOOD);
    CU_ASSERT_EQUAL(play->ended, 0);
    end(&t, true);
}

/* Fails without PR_SET_PDEATHSIG: tried. */
static void workers_end_with_the_supervisor(void)
{
    struct theatre t;
    begin(&t, PART_GOOD, 1000);
    CU_ASSERT_TRUE(wait_count(&play->started, WORKERS));
    kill(t.pid, SIGKILL);
    CU_ASSERT_EQUAL(wait_end(&t), -1);
    CU_ASSERT_TRUE(wait_count(&play->ended, WORKERS));
    end(&t, false);
}

static void sighup_changes_nothing(void)
{
    struct theatre t;
    begin(&t, PART_GOOD, 1000);
    CU_ASSERT_TRUE(wait_count(&play->started, WORKERS));
    kill(t.pid, SIGHUP);
    CU_ASSERT_TRUE(wait_log(&t, "signal_ignored"));
    kill(t.pid, SIGTERM);
    CU_ASSERT_EQUAL(wait_end(&t), EXIT_GOOD);
    CU_ASSERT_EQUAL(play->started, WORKERS);
    end(&t, true);
}

static void second_service_on_the_same_sockets(void)
{
    struct theatre t;
    begin(&t, PART_GOOD, 1000);
    CU_ASSERT_TRUE(wait_count(&play->started, WORKERS));
    struct theatre second = t;
    fflush(NULL);
    second.pid = fork();
    if (second.pid == 0)
        run_supervisor(&second);
    CU_ASSERT_EQUAL(wait_end(&second), EXIT_FAULT);
    CU_ASSERT_TRUE(wait_log(&t, "parley: socket "));
    CU_ASSERT_EQUAL(play->started, WORKERS);
    CU_ASSERT_EQUAL(play->ended, 0);
    kill(t.pid, SIGTERM);
    CU_ASSERT_EQUAL(wait_end(&t), EXIT_GOOD);
    end(&t, true);
}

SUITE(supervisor, "proc/supervisor", {"SIGTERM drains", sigterm_drains},
      {"a killed worker is replaced", killed_worker_is_replaced},
      {"a wrong configuration ends the service", wrong_configuration_ends_the_service},
      {"a second SIGTERM ends at once", second_sigterm_ends_at_once},
      {"stubborn workers are killed", stubborn_workers_are_killed},
      {"workers end with the supervisor", workers_end_with_the_supervisor},
      {"SIGHUP changes nothing", sighup_changes_nothing},
      {"a second service on the same sockets", second_service_on_the_same_sockets})
