/* SPDX-License-Identifier: MIT */
#include "../../../src/db/db_internal.h"

#include <string.h>

#include "../suite.h"

TEST(table)
{
    static const struct {
        const char *state;
        enum err err;
        unsigned flags;
    } expected[] = {
        {"40001", ERR_BUSY, SQLSTATE_CONFLICT},
        {"40P01", ERR_BUSY, SQLSTATE_CONFLICT},
        {"55P03", ERR_BUSY, 0},
        {"57014", ERR_TIMEOUT, 0},
        {"57P01", ERR_UNAVAILABLE, 0},
        {"53300", ERR_UNAVAILABLE, 0},
        {"08006", ERR_UNAVAILABLE, 0},
        {"23505", ERR_CONFLICT, 0},
        {"23503", ERR_INTERNAL, 0},
        {"22P02", ERR_INVALID, 0},
        {"22021", ERR_INVALID, 0},
        {"0A000", ERR_INTERNAL, SQLSTATE_STALE},
        {"26000", ERR_INTERNAL, SQLSTATE_STALE},
        {"58P01", ERR_UNAVAILABLE, SQLSTATE_STALE},
        {"58030", ERR_UNAVAILABLE, SQLSTATE_STALE},
        {"25006", ERR_UNAVAILABLE, SQLSTATE_SUSPECT},
        {"22012", ERR_UNAVAILABLE, SQLSTATE_SUSPECT},
        {"55000", ERR_UNAVAILABLE, SQLSTATE_SUSPECT},
        {"PL428", ERR_BUSY, 0},
        {"PL429", ERR_LIMITED, 0},
        {"PL000", ERR_INTERNAL, 0},
        {"42501", ERR_INTERNAL, 0},
        {"XX000", ERR_INTERNAL, 0},
        {"", ERR_INTERNAL, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        unsigned flags = 99;
        CU_ASSERT_EQUAL(db_sqlstate_err(expected[i].state, &flags), expected[i].err);
        CU_ASSERT_EQUAL(flags, expected[i].flags);
    }
}

TEST(message_of_libpq)
{
    static const struct {
        const char *message, *state, *rest;
    } rows[] = {
        {"connection to server on socket \"/x\" failed: FATAL:  53300: sorry, too many", "53300",
         "sorry, too many"},
        {"… failed: FATALE:  3D000: il database non esiste", "3D000", "il database non esiste"},
        {"could not connect: Connection refused\n\tIs it there?", "",
         "could not connect: Connection refused\n\tIs it there?"},
        {"a:  1234: b:  ABCDEF: c:  ", "", "a:  1234: b:  ABCDEF: c:  "},
        {"a:  12345:", "", "a:  12345:"},
        {"", "", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char state[6];
        CU_ASSERT_STRING_EQUAL(db_message_parse(rows[i].message, state), rows[i].rest);
        CU_ASSERT_STRING_EQUAL(state, rows[i].state);
    }
}

TEST(report)
{
    struct request_ctx ctx;
    struct db_failure failure;
    struct db_fault f = {.kind = FAULT_SERVER,
                         .err = ERR_CONFLICT,
                         .failure = {.sqlstate = "23505", .constraint = "items_name"},
                         .text = "duplicate key"};
    ctx_init(&ctx, NULL, deadline_in_ms(1000), SV("t"), SV("r"));
    CU_ASSERT_EQUAL(db_fault_report(&ctx, &f, &failure), ERR_CONFLICT);
    CU_ASSERT_STRING_EQUAL(ctx.err.cause, "postgres 23505: duplicate key");
    CU_ASSERT_STRING_EQUAL(failure.sqlstate, "23505");
    CU_ASSERT_STRING_EQUAL(failure.constraint, "items_name");
    struct db_fault away = {.kind = FAULT_LOST};
    db_fault_set(&away, FAULT_LOST, ERR_UNAVAILABLE, "the connection was lost");
    ctx_clear_error(&ctx);
    CU_ASSERT_EQUAL(db_fault_report(&ctx, &away, NULL), ERR_UNAVAILABLE);
    CU_ASSERT_STRING_EQUAL(ctx.err.cause, "postgres: the connection was lost");
}
