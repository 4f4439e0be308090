/* SPDX-License-Identifier: MIT */
/* Closed lists of names: the configuration, the readers of bodies and the query parameters use it.
 */
#include "parley/base/names.h"

#include <string.h>

#include "parley/base/buf.h"

enum { LENGTH_MAX = 64, CHANGES_MAX = 3 };

static const char *name_at(const struct names *names, size_t i)
{
    return *(const char *const *)((const char *)names->rows + i * names->stride);
}

size_t names_index(const struct names *names, struct sv name)
{
    size_t i = 0;
    while (i < names->n && !sv_eq(name, sv_from(name_at(names, i))))
        i++;
    return i;
}

/* Levenshtein's distance, in one row. */
static size_t distance(struct sv a, struct sv b)
{
    size_t row[LENGTH_MAX + 1];
    for (size_t j = 0; j <= b.n; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            const size_t change = diagonal + (a.p[i - 1] != b.p[j - 1]);
            const size_t less = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = change < less ? change : less;
        }
    }
    return row[b.n];
}

const char *names_nearest(const struct names *names, struct sv name)
{
    size_t best = 2 * CHANGES_MAX + 2;
    const char *nearest = NULL;
    if (name.n == 0 || name.n > LENGTH_MAX)
        return NULL;
    for (size_t i = 0; i < names->n; i++) {
        const struct sv known = sv_from(name_at(names, i));
        const size_t changes = known.n <= LENGTH_MAX ? distance(name, known) : SIZE_MAX / 4;
        /* Of two that are equally near, the one with the same first letter. */
        const size_t cost = 2 * changes + (name.p[0] != known.p[0]);
        /* Where half of the letters differ, it is another name. */
        if (2 * changes < known.n && cost < best) {
            best = cost;
            nearest = known.p;
        }
    }
    return nearest;
}

const char *names_hint(struct arena *a, const struct names *names, struct sv name)
{
    struct buf text;
    const char *nearest = names_nearest(names, name);
    buf_init(&text, a, 256);
    if (nearest)
        buf_printf(&text, " Did you mean `%s`?", nearest);
    for (size_t i = 0; i < names->n; i++)
        buf_printf(&text, "%s%s", i == 0 ? " Allowed: " : ", ", name_at(names, i));
    buf_printf(&text, names->n > 0 ? "." : " None is allowed.");
    buf_putc(&text, '\0');
    return text.failed ? "" : text.p;
}
