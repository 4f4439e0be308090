/* SPDX-License-Identifier: MIT */
/* The migrations of this program, and the version of the schema that it needs. */
#include "db_internal.h"

int db_schema_version(void)
{
    return (int)db_migration_count;
}

enum err db_migrate(const char *admin_url, const char *url, int target, db_migrate_say *say,
                    void *arg)
{
    return db_migrate_table(admin_url, url, db_migration_table, db_migration_count, target, say,
                            arg);
}
