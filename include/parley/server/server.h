/*
 * The service: a supervisor and its workers. The supervisor reads the configuration, opens the
 * sockets, maps the memory that workers share, forks, restarts and reloads. It talks to no database
 * and starts no thread. A worker opens its connections after the fork.
 */
#ifndef PARLEY_SERVER_SERVER_H
#define PARLEY_SERVER_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#include "parley/config/config.h"
#include "parley/db/db.h"

/* Exit status of a command and of a worker. A first worker with EXIT_MISCONFIGURED ends the
 * service: a retry would not help. */
enum { EXIT_GOOD = 0, EXIT_FAULT = 1, EXIT_MISCONFIGURED = 2 };

struct worker_run;

/* Runs a worker, the signals of the supervisor blocked. Returns its exit status. */
typedef int (*worker_fn)(const struct worker_run *run);
int worker_main(const struct worker_run *run);

/* Runs the service; returns the exit status. A reload reads the file that cfg came from. */
int supervisor_run(const struct config *cfg, worker_fn worker);
/* cfg->workers, or if that is 0 one for each core; at most 256. */
size_t server_workers(const struct config *cfg);

/* ---- the supervisor that a pid file names, for commands ---- */

enum { PIDFILE_PATH_MAX = 112 };
struct pidfile_found {
    int fd, process_fd; /* process_fd: a pidfd, which can be polled for the end of the process */
};
struct pidfile_reload {
    int64_t number;    /* of the last reload; 0: there was none */
    char outcome[512]; /* "running", "done", or "refused: …" */
};
/* PARLEY_PIDFILE, or its default. False: a setting that it depends on is wrong. */
bool pidfile_path(const struct config *cfg, char out[PIDFILE_PATH_MAX]);
/* Finds the process that holds the file's lock. False, and one line in why: there is none, or its
 * pid is not known here. To be released by pidfile_forget. */
MUSTCHECK bool pidfile_find(const char *path, struct pidfile_found *out, char *why, size_t why_n);
void pidfile_forget(struct pidfile_found *found);
/* Signals that process, never another one that got its pid. False: see errno. */
MUSTCHECK bool pidfile_signal(const struct pidfile_found *found, int signo);
/* False: it is being written; try again. */
MUSTCHECK bool pidfile_read(const struct pidfile_found *found, struct pidfile_reload *out);

/* Raises the soft limit of open files to the hard one. False, and one line in why: it is too low
 * for a worker. */
bool descriptors_enough(const struct config *cfg, char *why, size_t n);
/* What every pool has in common, for the login that serves; borrows from cfg. */
struct db_settings db_settings_from(const struct config *cfg);

#endif
