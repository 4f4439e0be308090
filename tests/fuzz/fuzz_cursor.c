/* SPDX-License-Identifier: MIT */
/*
 * Input: owner, separator, 16 bytes of a position, two bytes that choose a change, a text. If the
 * text is read as a cursor, it must be the cursor made for the position read. The cursor made for
 * the position of the input must be read as that position, for its own tenant and owner only,
 * and not with any character changed, added or removed.
 */
#include "fuzz.h"

#include <string.h>

#include "../../src/api/native/native.h"

enum { NUMBERS = 2 };

static void list_of(struct sv owner, struct native_list *out)
{
    native_list_of(&(struct session_list_query){.user = owner}, out);
}

static bool reads(struct fuzz *f, struct sv owner, struct sv text, int64_t at[NUMBERS])
{
    struct native_list list;
    list_of(owner, &list);
    enum err e = native_position_read(&f->ctx, &list, text, at);
    if (e != ERR_NONE)
        fuzz_refused(&f->ctx, e);
    ctx_clear_error(&f->ctx);
    return e == ERR_NONE;
}

static void belongs_to_one(struct fuzz *f, struct sv owner, struct sv text)
{
    int64_t got[NUMBERS];
    struct sv longer = arena_printf(f->arena, "%.*s.", SV_ARG(owner));
    DEMAND(longer.p);
    DEMAND(!reads(f, longer, text, got));
    if (owner.n > 0)
        DEMAND(!reads(f, (struct sv){owner.p, owner.n - 1}, text, got));
    f->ctx.tenant = SV("another");
    DEMAND(!reads(f, owner, text, got));
    f->ctx.tenant = SV("default");
}

static void refuses_changes(struct fuzz *f, struct sv owner, struct sv text, const uint8_t *how)
{
    int64_t got[NUMBERS];
    char copy[64];
    DEMAND(text.n + 1 < sizeof(copy));
    memcpy(copy, text.p, text.n);
    if (how[1] == 0) {
        DEMAND(!reads(f, owner, (struct sv){copy, how[0] % text.n}, got));
        copy[text.n] = text.p[how[0] % text.n];
        DEMAND(!reads(f, owner, (struct sv){copy, text.n + 1}, got));
        return;
    }
    copy[how[0] % text.n] = (char)(copy[how[0] % text.n] ^ how[1]);
    DEMAND(!reads(f, owner, (struct sv){copy, text.n}, got));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct fuzz f;
    struct native_list list;
    int64_t place[NUMBERS], got[NUMBERS];
    struct sv made = SV_NONE, text = {(const char *)data, n};
    struct sv owner = sv_cut(&text, FUZZ_CUT);
    list_of(owner, &list);
    fuzz_open(&f);
    if (text.n >= sizeof(place) + 2) {
        const uint8_t *how = (const uint8_t *)text.p + sizeof(place);
        memcpy(place, text.p, sizeof(place));
        text.p += sizeof(place) + 2;
        text.n -= sizeof(place) + 2;
        DEMAND(native_position_make(&f.ctx, &list, place, &made) == ERR_NONE);
        DEMAND(reads(&f, owner, made, got));
        DEMAND(got[0] == place[0] && got[1] == place[1]);
        belongs_to_one(&f, owner, made);
        refuses_changes(&f, owner, made, how);
    }
    if (text.p && reads(&f, owner, text, got)) {
        DEMAND(native_position_make(&f.ctx, &list, got, &made) == ERR_NONE);
        DEMAND(sv_eq(made, text));
    }
    fuzz_close(&f);
    return 0;
}
