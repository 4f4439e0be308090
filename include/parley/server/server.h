/*
 * The service: a supervisor and its workers. The supervisor reads the configuration, opens the
 * sockets, maps the memory that workers share, forks, restarts and reloads. It talks to no database
 * and starts no thread. A worker opens its connections after the fork.
 */
#pragma once

#include "parley/cache/cache.h"
#include "parley/config/config.h"
#include "parley/db/db.h"

/* Exit status of a command and of a worker. A first worker with EXIT_MISCONFIGURED ends the
 * service: a retry would not help. */
enum { EXIT_GOOD = 0, EXIT_FAULT = 1, EXIT_MISCONFIGURED = 2 };

struct worker_run;

/* Runs a worker, the signals of the supervisor blocked. Returns its exit status. */
typedef int (*worker_fn)(const struct worker_run *run);
int worker_main(const struct worker_run *run);

/* Runs the service; returns the exit status. A reload reads the file that cfg came from. argv: of
 * this process, for its successor. */
int supervisor_run(const struct config *cfg, char *const *argv, worker_fn worker);
/* cfg->workers, or if that is 0 one for each two cores. */
enum { SERVER_WORKERS_MAX = 256 };
size_t server_workers(const struct config *cfg);

/* Sends SIGHUP or SIGTERM to the supervisor of the service that listens there, never to another
 * process that got its pid, and waits until it has reloaded or ended. False, and one line in why:
 * no process holds its pid file here, or the reload was refused. */
MUSTCHECK bool supervisor_signal(const char *listen, int signo, char *why, size_t why_n);

/* Raises the soft limit of open files to the hard one. False, and one line in why: it is too low
 * for a worker. */
bool descriptors_enough(const struct config *cfg, char *why, size_t n);
/* What every pool has in common, for the login that serves; borrows from cfg. */
struct db_settings db_settings_from(const struct config *cfg);
/* Of the service that has this PARLEY_LISTEN. */
enum { PIDFILE_PATH_MAX = 256 };
void pidfile_path(const char *listen, char out[PIDFILE_PATH_MAX]);
/* The settings of a worker's cache, without shared memory. Borrows from cfg. */
struct cache_settings cache_settings_from(const struct config *cfg);
