/*
 * Numbered migrations, compiled into the program from src/db/migrations/NNN_name.{up,down}.sql,
 * applied one transaction each under an advisory lock, so that several hosts may start at once.
 * They run as the login role of the URL (the owner of the tables), not as the role that serves.
 */
#ifndef PARLEY_DB_MIGRATE_H
#define PARLEY_DB_MIGRATE_H

#include <stddef.h>

#include "parley/base/err.h"

struct db_migration {
    int version;
    const char *name;
    const char *up, *down;
};

/* All migrations, ascending from 1 without a gap. Static storage. */
const struct db_migration *db_migrations(size_t *n);
/* The version this program needs: that of the last migration. */
int db_schema_version(void);

/* Brings the schema at url up or down to target (0: nothing of parley is left; -1: the newest).
 * role: the serving role that is granted access, made if absent. Tells each step and each problem
 * in one line through say (never with the password of the URL). */
MUSTCHECK enum err db_migrate(const char *url, const char *role, int target,
                              void (*say)(void *arg, const char *line), void *arg);

#endif
