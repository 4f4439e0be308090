/* SPDX-License-Identifier: MIT */
#include "parley/base/nearest.h"

#include <string.h>

enum { LENGTH_MAX = 64, DISTANCE_MAX = 3 };

/* Levenshtein's distance, in one row. b is at most LENGTH_MAX long. */
static size_t edit_distance(struct sv a, struct sv b)
{
    size_t row[LENGTH_MAX + 1];
    for (size_t j = 0; j <= b.n; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            const size_t change = diagonal + (a.p[i - 1] != b.p[j - 1]);
            const size_t less = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            diagonal = row[j];
            row[j] = change < less ? change : less;
        }
    }
    return row[b.n];
}

const char *nearest_name(struct sv unknown, const char *const *names, size_t n, size_t stride)
{
    const size_t third = unknown.n < 6 ? 1 : unknown.n / 3;
    size_t best = (third < DISTANCE_MAX ? third : DISTANCE_MAX) + 1;
    const char *nearest = NULL;
    for (size_t i = 0; i < n && unknown.n <= LENGTH_MAX; i++) {
        const void *row = (const char *)names + i * stride;
        const struct sv name = sv_from(*(const char *const *)row);
        const size_t distance = name.n <= LENGTH_MAX ? edit_distance(unknown, name) : best;
        if (distance < best) {
            best = distance;
            nearest = name.p;
        }
    }
    return nearest;
}
