/* SPDX-License-Identifier: MIT */
/*
 * Random bytes and UUIDs (RFC 9562).
 *
 * uuid_v7 is what a session gets that its client did not name. uuid_v8_pack is a message's id
 * unless its client named it: generation and seq packed into the free bits of a version 8 UUID, so
 * that it needs no index of its own (docs/internals/decisions-storage.md).
 */
#ifndef PARLEY_BASE_UUID_H
#define PARLEY_BASE_UUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parley/base/sv.h"

enum { UUID_LEN = 36, UUID_HEX_LEN = 32 };

/* getrandom(2); aborts the process if the kernel has none to give, which it does not after boot. */
void random_bytes(void *p, size_t n);
uint64_t random_u64(void);

/* Lower-case text form with a NUL behind it. */
void uuid_v7(char out[UUID_LEN + 1]);
/* generation: 64 bits, seq: 1 .. 2^58 - 1. Bijective with uuid_v8_unpack. */
void uuid_v8_pack(uint64_t generation, uint64_t seq, char out[UUID_LEN + 1]);
/* False unless s is a lower-case version 8 UUID of the RFC's variant. */
MUSTCHECK bool uuid_v8_unpack(struct sv s, uint64_t *generation, uint64_t *seq);

/* Between the text form and its 32 digits alone, as other interfaces write an id. False unless s is
 * of lower case and wholly of the one form; out is the other, with a NUL behind it. */
MUSTCHECK bool uuid_to_hex(struct sv s, char out[UUID_HEX_LEN + 1]);
MUSTCHECK bool uuid_from_hex(struct sv s, char out[UUID_LEN + 1]);

#endif
