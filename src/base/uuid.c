/* SPDX-License-Identifier: MIT */
#include "parley/base/uuid.h"

#include <stdlib.h>

#include "parley/base/clock.h"
#include "parley/base/encode.h"

/* A UUID has two halves (RFC 9562). Upper: 48 bits, version (4), 12 bits. Lower: variant (2), 62
 * bits. Version 8 leaves 122 bits free: a generation (64), whose first 60 bits fill the upper half,
 * and a seq (58). */
enum { SEQ_BITS = 58, RANDOM_BITS = 62 };

static const uint64_t version_7 = UINT64_C(7) << 12;
static const uint64_t version_8 = UINT64_C(8) << 12;
static const uint64_t version_mask = UINT64_C(15) << 12;
static const uint64_t variant = UINT64_C(2) << RANDOM_BITS;
static const uint64_t variant_mask = UINT64_C(3) << RANDOM_BITS;

uint64_t random_u64(void)
{
    uint64_t v = 0;
    arc4random_buf(&v, sizeof(v));
    return v;
}

/* In the text form 8-4-4-4-12. */
static bool has_hyphen_before(int digit)
{
    return digit == 8 || digit == 12 || digit == 16 || digit == 20;
}

/* hyphens: the text form; else the 32 digits alone. */
static void write_halves(uint64_t high, uint64_t low, bool hyphens, char *out)
{
    char digits[UUID_HEX_LEN];
    hex_write(high, digits);
    hex_write(low, digits + HEX_U64_LEN);
    for (int i = 0; i < UUID_HEX_LEN; i++) {
        if (hyphens && has_hyphen_before(i))
            *out++ = '-';
        *out++ = digits[i];
    }
    *out = '\0';
}

void uuid_v7(char out[UUID_LEN + 1])
{
    uint64_t random[2];
    arc4random_buf(random, sizeof(random));
    uint64_t ms = (uint64_t)(clock_wall_us() / 1000);
    write_halves(ms << 16 | version_7 | (random[0] & 0xfff), variant | (random[1] & ~variant_mask),
                 true, out);
}

void uuid_v8_pack(uint64_t generation, uint64_t seq, char out[UUID_LEN + 1])
{
    if (seq >> SEQ_BITS)
        abort(); /* two messages would share an id; 2^58 appends to one session cannot happen */
    uint64_t high = generation >> 16 << 16 | version_8 | (generation >> 4 & 0xfff);
    uint64_t low = variant | (generation & 15) << SEQ_BITS | seq;
    write_halves(high, low, true, out);
}

static bool read_halves(struct sv s, bool hyphens, uint64_t half[2])
{
    char digits[UUID_HEX_LEN];
    const char *p = s.p;
    if (s.n != (hyphens ? UUID_LEN : UUID_HEX_LEN))
        return false;
    for (int i = 0; i < UUID_HEX_LEN; i++) {
        if (hyphens && has_hyphen_before(i) && *p++ != '-')
            return false;
        digits[i] = *p++;
    }
    return hex_read((struct sv){digits, HEX_U64_LEN}, &half[0]) &&
           hex_read((struct sv){digits + HEX_U64_LEN, HEX_U64_LEN}, &half[1]);
}

bool uuid_convert(struct sv s, bool to_hex, char *out)
{
    uint64_t half[2];
    if (!read_halves(s, to_hex, half))
        return false;
    write_halves(half[0], half[1], !to_hex, out);
    return true;
}

bool uuid_v8_unpack(struct sv s, uint64_t *generation, uint64_t *seq)
{
    uint64_t half[2];
    if (!read_halves(s, true, half))
        return false;
    if ((half[0] & version_mask) != version_8 || (half[1] & variant_mask) != variant)
        return false;
    uint64_t number = half[1] & ((UINT64_C(1) << SEQ_BITS) - 1);
    if (number == 0)
        return false; /* never packed */
    *generation = half[0] >> 16 << 16 | (half[0] & 0xfff) << 4 | (half[1] >> SEQ_BITS & 15);
    *seq = number;
    return true;
}
