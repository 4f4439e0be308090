/*
 * The service: a supervisor and its workers. The supervisor reads the configuration, makes the
 * sockets, maps what the workers share, forks, watches and replaces. It talks to no database and
 * starts no thread. A worker opens everything it holds after the fork.
 */
#ifndef PARLEY_SERVER_SERVER_H
#define PARLEY_SERVER_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#include "parley/config/config.h"
#include "parley/db/db.h"

/* Of a command, and of a worker. EXIT_MISCONFIGURED ends the service: a retry would not help. */
enum { EXIT_GOOD = 0, EXIT_FAULT = 1, EXIT_MISCONFIGURED = 2 };

struct worker_run;

/* The life of a worker, signals blocked as signals_block does; the result is its exit status. */
typedef int (*worker_fn)(const struct worker_run *run);
int worker_main(const struct worker_run *run);

/* In a child of its own: whether the service could run with cfg; if not, said tells why. */
typedef bool (*check_fn)(const struct config *cfg, char *said, size_t n);

/* Runs the service; gives the exit status. A reload reads the file that cfg came from. */
int supervisor_run(const struct config *cfg, worker_fn worker, check_fn check);
/* How many cores this process may use. */
size_t supervisor_cores(void);
/* cfg->workers, or if that is 0 one for each core; at most 256. */
size_t supervisor_workers(const struct config *cfg);

/* Takes the soft limit of open files to the hard one. */
void descriptors_raise(void);
/* False, and one line, when the limit cannot be enough. */
bool descriptors_enough(const struct config *cfg, char *why, size_t n);
/* What every pool of cfg has in common, as the login that serves. */
struct db_settings db_settings_from(const struct config *cfg);

#endif
