/*
 * Numbered migrations, compiled into the program from src/db/migrations/NNN_name.{up,down}.sql.
 * Each is one transaction, except for those that build an index of a big table. They run under an
 * advisory lock, so that several hosts may start at once, and as the owner of the tables. At the
 * end the serving role gets its rights.
 *
 * Thread rule: blocks; for a process that serves nobody at the time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "parley/base/err.h"

struct db_migration {
    int version;
    const char *name;
    const char *up, *down;
    /* The oldest program that can serve once this is applied, as the schema version that it knows.
     * 0: none but those that know this one. */
    int min_compatible;
    /* up is one CREATE INDEX CONCURRENTLY, and down one DROP INDEX CONCURRENTLY IF EXISTS. Neither
     * may be in a transaction. An attempt that failed may have left an invalid index, so down runs
     * before up. */
    bool concurrently;
};

/* Ascending from 1 without a gap; made by migrations/embed.sh. */
extern const struct db_migration db_migration_table[];
extern const size_t db_migration_count;
/* The version that this program knows: that of the last migration. It needs this version, or a
 * newer one that supports it (min_compatible). */
int db_schema_version(void);

/* line: a step that was taken, or (fault) what is wrong. Never with a password. */
typedef void db_migrate_say(void *arg, bool fault, const char *line);

/* Brings the schema at admin_url up or down to target (0: removes everything; -1: the newest) by
 * the table, which is db_migration_table but in tests, and grants the login of url what it needs,
 * even if no step was needed. ERR_INVALID: the configuration is wrong (the login of url does not
 * exist, …), and nothing was done. ERR_PRECONDITION: the schema is newer than this program, and
 * does not support it or is to be taken down. */
MUSTCHECK enum err db_migrate(const char *admin_url, const char *url,
                              const struct db_migration *table, size_t n, int target,
                              db_migrate_say *say, void *arg);

/* An owner of the tables can lift row-level security, so it must not serve requests, unless the
 * installation has one login for everything. */
/* An SQL expression: true if the role u of pg_roles is the owner of the tables, of their schema or
 * of the database, or can become it by SET ROLE (hence MEMBER); false where there are no tables.
 * Before PostgreSQL 16, CREATEROLE is enough to become a member. */
#define DB_OWNS_TABLES                                                                       \
    "coalesce((SELECT pg_has_role(u.oid, c.relowner, 'MEMBER')"                              \
    " OR pg_has_role(u.oid, n.nspowner, 'MEMBER') OR pg_has_role(u.oid, d.datdba, 'MEMBER')" \
    " OR u.rolcreaterole AND current_setting('server_version_num')::int < 160000"            \
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, pg_database d"          \
    " WHERE c.oid = to_regclass('sessions') AND d.datname = current_database()), false)"
#define DB_OWNER_SERVES                                                                        \
    "the login of DATABASE_URL owns the tables, and can lift their row-level security: let a " \
    "login that owns nothing serve, and give the owner's in DATABASE_ADMIN_URL"
/* For SQLSTATE 42501, insufficient_privilege. */
#define DB_NEEDS_OWNER "DATABASE_ADMIN_URL must name the login that owns the tables"
