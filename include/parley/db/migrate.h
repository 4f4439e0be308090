/*
 * Numbered migrations, compiled into the program from src/db/migrations/NNN_name.{up,down}.sql,
 * applied one transaction each under an advisory lock, so that several hosts may start at once.
 * They run as the owner of the tables, and end with what the role that serves may do with these.
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

/* One line, never with a password: a step that was taken, or what is wrong. */
typedef void db_migrate_say(void *arg, bool fault, const char *line);

/* Brings the schema at admin_url up or down to target (0: nothing of parley is left; -1: the
 * newest) and grants what is needed to the login of url, also where no step was to be taken.
 * ERR_INVALID: the configuration is wrong, such as a url whose login does not exist, and nothing
 * was done. */
MUSTCHECK enum err db_migrate(const char *admin_url, const char *url, int target,
                              db_migrate_say *say, void *arg);

#endif
