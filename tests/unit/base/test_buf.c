/* SPDX-License-Identifier: MIT */
#include "parley/base/buf.h"

#include <string.h>

#include "../suite.h"

TEST(numbers_and_text)
{
    struct arena *a = test_ctx()->arena;
    struct buf b;
    buf_init(&b, a, 0);
    CU_ASSERT_PTR_NOT_NULL(buf_get(&b).p); /* empty, not absent */
    CU_ASSERT_EQUAL(buf_get(&b).n, 0);

    buf_u64(&b, 0);
    buf_putc(&b, ' ');
    buf_u64(&b, UINT64_MAX);
    buf_putc(&b, ' ');
    buf_i64(&b, INT64_MIN);
    BUF_LIT(&b, " ");
    buf_i64(&b, -1);
    buf_sv(&b, SV(" x"));
    buf_sv(&b, SV_NONE);
    buf_put(&b, "\0y", 2);
    buf_printf(&b, "%s=%d", "k", 5);
    CU_ASSERT_TRUE(
        sv_eq(buf_get(&b), SV("0 18446744073709551615 -9223372036854775808 -1 x\0yk=5")));
    CU_ASSERT_FALSE(b.failed);
}

/* The text fits the rest of the buffer, fits it exactly, or does not fit. */
TEST(printf_at_every_fill)
{
    struct arena *a = test_ctx()->arena;
    for (int fill = 0; fill < 130; fill++) {
        struct buf b;
        buf_init(&b, a, 64);
        for (int i = 0; i < fill; i++)
            buf_putc(&b, '.');
        buf_printf(&b, "%s", "0123456789");
        struct sv s = buf_get(&b);
        CU_ASSERT_EQUAL(s.n, (size_t)fill + 10);
        CU_ASSERT_EQUAL(memcmp(s.p + fill, "0123456789", 10), 0);
        CU_ASSERT_TRUE(fill == 0 || s.p[fill - 1] == '.');
    }
}

TEST(failure_is_remembered)
{
    struct arena *a = arena_create(1024);
    struct buf b;
    buf_init(&b, a, 16);
    for (int i = 0; i < 1100; i++)
        buf_putc(&b, 'x');
    CU_ASSERT_TRUE(b.failed);
    size_t n = b.n;
    buf_putc(&b, 'y'); /* would fit, but the text would have a gap */
    buf_printf(&b, "%d", 1);
    CU_ASSERT_EQUAL(b.n, n);
    CU_ASSERT_TRUE(n <= 1024);

    buf_init(&b, a, 100000);
    CU_ASSERT_TRUE(b.failed);
    arena_destroy(a);
}
