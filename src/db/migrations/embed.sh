#!/bin/sh
# SPDX-License-Identifier: MIT
# embed.sh GRANTS.sql FILE.sql…: prints the C file with db_grants and the table db_migration_table.
# Each migration is a pair NNN_name.up.sql and NNN_name.down.sql; the numbers run from 001 without a
# gap. From 012 on the first line of NNN_name.up.sql is "-- min_compatible: N". The second may be
# "-- concurrently".
set -eu

fail()
{
    echo "embed.sh: $*" >&2
    exit 1
}

# The file's bytes as a C array: string literals may not be as long as a migration is.
bytes()
{
    printf '%s[] = {\n' "$1"
    od -An -v -to1 "$2" | awk '{ for (i = 1; i <= NF; i++) printf "\047\\%s\047,", $i; print "" }'
    printf '0};\n'
}

echo '/* Made by src/db/migrations/embed.sh. Not to be edited. */'
echo '#include <stddef.h>'
echo '#include "parley/db/migrate.h"'
echo 'extern const char db_grants[];'
bytes 'const char db_grants' "$1"
shift

table=''
n=0
for up in $(printf '%s\n' "$@" | sort); do
    case $up in
    *.down.sql) [ -f "${up%.down.sql}.up.sql" ] || fail "$up has no .up.sql" ;;
    *.up.sql) ;;
    *) fail "$up is neither .up.sql nor .down.sql" ;;
    esac
    case $up in *.down.sql) continue ;; esac
    down=${up%.up.sql}.down.sql
    [ -f "$down" ] || fail "$up has no .down.sql"
    base=$(basename "$up" .up.sql)
    n=$((n + 1))
    [ "${base%%_*}" = "$(printf '%03d' "$n")" ] || fail "$up: migration $n was expected here"
    needs=$(sed -n '1s/^-- min_compatible: \([0-9]*\)$/\1/p' "$up")
    [ "$n" -lt 12 ] || [ -n "$needs" ] || fail "$up does not begin with -- min_compatible: N"
    concurrently=$(sed -n '2s/^-- concurrently$/true/p' "$up")
    bytes "static const char up_$n" "$up"
    bytes "static const char down_$n" "$down"
    table="$table    {$n, \"${base#*_}\", up_$n, down_$n, ${needs:-0}, ${concurrently:-false}},
"
done

printf 'const struct db_migration db_migration_table[] = {\n%s    {0, NULL, NULL, NULL, 0, false},\n};\n' "$table"
echo "const size_t db_migration_count = $n;"
