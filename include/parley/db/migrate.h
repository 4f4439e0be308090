/*
 * Numbered migrations, compiled into the program from src/db/migrations/NNN_name.{up,down}.sql.
 * Each is one transaction. They run under an advisory lock, so that several hosts may start at
 * once, and as the owner of the tables. At the end the serving role gets its rights.
 *
 * Thread rule: blocks; for a process that serves nobody at the time.
 */
#ifndef PARLEY_DB_MIGRATE_H
#define PARLEY_DB_MIGRATE_H

#include <stdbool.h>
#include <stddef.h>

#include "parley/base/err.h"

struct db_migration {
    int version;
    const char *name;
    const char *up, *down;
};

/* The version this program needs: that of the last migration. */
int db_schema_version(void);

/* line: a step that was taken, or (fault) what is wrong. Never with a password. */
typedef void db_migrate_say(void *arg, bool fault, const char *line);

/* Brings the schema at admin_url up or down to target (0: removes everything; -1: the newest), and
 * grants the login of url what it needs, even if no step was needed. ERR_INVALID: the configuration
 * is wrong (the login of url does not exist, …), and nothing was done. ERR_PRECONDITION: the schema
 * is newer than this program. */
MUSTCHECK enum err db_migrate(const char *admin_url, const char *url, int target,
                              db_migrate_say *say, void *arg);

#endif
