/* SPDX-License-Identifier: MIT */
#include "fixture.h"

#include "../../unit/suite.h"

enum { ROWS = DB_BULK_ROWS_MAX, COLUMNS = 3 };

static const struct db_bulk_column columns[COLUMNS] = {
    {"id", "bigint"}, {"name", "text"}, {"n", "integer"}};

/* Rows 1 to ROWS; the n of row bad (from 1; 0: none) breaks the table's check. */
static void make_rows(struct fx *fx, struct sv *values, int bad)
{
    for (int i = 0; i < ROWS; i++) {
        values[i * COLUMNS] = arena_printf(fx->arena, "%d", i + 1);
        values[i * COLUMNS + 1] = i % 10 == 9 ? SV_NONE : arena_printf(fx->arena, "name '%d\\", i);
        values[i * COLUMNS + 2] = i + 1 == bad ? SV("-1") : SV("5");
    }
}

TEST(thousand_rows)
{
    struct sv values[ROWS * COLUMNS];
    fx_admin("TRUNCATE items");
    struct fx *fx = fx_open(NULL);
    make_rows(fx, values, 0);
    OK(db_bulk_insert(fx->db, &fx->ctx, "items", columns, COLUMNS, values, ROWS));
    CU_ASSERT_EQUAL(fx->ctx.trace.round_trips, 1);
    CU_ASSERT_EQUAL(fx_admin("SELECT count(*) FROM items"), ROWS);
    CU_ASSERT_EQUAL(fx_admin("SELECT count(*) FROM items WHERE name IS NULL"), ROWS / 10);
    CU_ASSERT_EQUAL(
        fx_admin(
            "SELECT count(*) FROM items WHERE name = 'name ''' || id - 1 || E'\\\\' AND n = 5"),
        ROWS - ROWS / 10);
    fx_close(fx);
}

/* Fails if the rows go in as statements of their own: tried with one call a row. */
TEST(bad_row_leaves_nothing)
{
    static const int bad[] = {1, 500, 1000};
    struct sv values[ROWS * COLUMNS];
    fx_admin("TRUNCATE items");
    struct fx *fx = fx_open(NULL);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        fx_request(fx, SV("t1"), 10000);
        make_rows(fx, values, bad[i]);
        CU_ASSERT_EQUAL(db_bulk_insert(fx->db, &fx->ctx, "items", columns, COLUMNS, values, ROWS),
                        ERR_INTERNAL);
        /* And one that is not even a number. */
        fx_request(fx, SV("t1"), 10000);
        make_rows(fx, values, 0);
        values[(bad[i] - 1) * COLUMNS + 2] = SV("5; DROP TABLE items");
        CU_ASSERT_EQUAL(db_bulk_insert(fx->db, &fx->ctx, "items", columns, COLUMNS, values, ROWS),
                        ERR_INVALID);
        CU_ASSERT_EQUAL(fx_admin("SELECT count(*) FROM items"), 0);
    }
    fx_close(fx);
}

TEST(bounds_are_kept)
{
    struct sv values[1] = {SV("1")};
    struct fx *fx = fx_open(NULL);
    CU_ASSERT_EQUAL(db_bulk_insert(fx->db, &fx->ctx, "items", columns, 1, values, 0), ERR_INTERNAL);
    CU_ASSERT_EQUAL(db_bulk_insert(fx->db, &fx->ctx, "items", columns, 1, values, ROWS + 1),
                    ERR_TOO_LARGE);
    CU_ASSERT_EQUAL(db_bulk_insert(fx->db, &fx->ctx, "items", columns, 33, values, 1),
                    ERR_INTERNAL);
    CU_ASSERT_EQUAL(fx->ctx.trace.round_trips, 0);
    fx_close(fx);
}
