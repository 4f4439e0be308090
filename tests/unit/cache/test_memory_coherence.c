/* SPDX-License-Identifier: MIT */
/* No order of readers and writers gives a version older than what was known; see interleave.h. */
#include "../suite.h"

#include "interleave.h"

/* Fails if a fill is stored under the epoch of its own time instead of its reader's, if a
 * settling does not raise the epoch, if a value is stored although another writer has raised it,
 * if a burial does not raise the epoch of all or sets no bar, or if a write in doubt
 * sets none: tests/plants/cache-*.patch. */
static void any_order(void)
{
    struct interleave it;
    interleave_run(NULL, 10000, 0, &it);
    interleave_judge(&it);
}

SUITE(memory_coherence, "cache/memory_coherence", {"10,000 orders", any_order})
