/*
 * The check whether a login owns the tables. An owner can lift row-level security, so it must not
 * serve requests, unless the installation has one login for everything.
 */
#ifndef PARLEY_DB_OWNER_H
#define PARLEY_DB_OWNER_H

/* An SQL expression: true if the role u of pg_roles is the owner of the tables, of their schema or
 * of the database, or can become it by SET ROLE (hence MEMBER); false where there are no tables.
 * Before PostgreSQL 16, CREATEROLE is enough to become a member. */
/* clang-format off */
#define DB_OWNS_TABLES                                                                            \
    "coalesce((SELECT pg_has_role(u.oid, c.relowner, 'MEMBER')"                                   \
    " OR pg_has_role(u.oid, n.nspowner, 'MEMBER') OR pg_has_role(u.oid, d.datdba, 'MEMBER')"      \
    " OR u.rolcreaterole AND current_setting('server_version_num')::int < 160000"                 \
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, pg_database d"               \
    " WHERE c.oid = to_regclass('sessions') AND d.datname = current_database()), false)"
/* clang-format on */
#define DB_OWNER_SERVES                                                                        \
    "the login of DATABASE_URL owns the tables, and can lift their row-level security: let a " \
    "login that owns nothing serve, and give the owner's in DATABASE_ADMIN_URL"

#endif
