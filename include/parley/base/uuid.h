/* SPDX-License-Identifier: MIT */
/*
 * Random numbers and UUIDs (RFC 9562).
 *
 * uuid_v7 makes the ids of sessions, and uuid_v8_pack those of messages, unless the client gives
 * them. A message's id is its generation and seq in the free bits of a version 8 UUID, so that it
 * needs no index of its own (docs/internals/decisions-storage.md).
 */
#pragma once

#include "parley/base/sv.h"

enum { UUID_LEN = 36, UUID_HEX_LEN = 32 };

/* From getrandom(2), which cannot fail once the machine has booted; aborts if it does. */
uint64_t random_u64(void);

/* The text form in lower case, and a NUL. */
void uuid_v7(char out[UUID_LEN + 1]);
/* seq: 1 .. 2^58 - 1. uuid_v8_unpack returns the same numbers. */
void uuid_v8_pack(uint64_t generation, uint64_t seq, char out[UUID_LEN + 1]);
/* False unless s is a lower-case version 8 UUID of the RFC's variant. */
MUSTCHECK bool uuid_v8_unpack(struct sv s, uint64_t *generation, uint64_t *seq);

/* From the text form to its 32 digits alone, as OpenAI's ids have them (to_hex), or back. False
 * unless s is exactly of the one form, in lower case; out gets the other form, and a NUL. */
MUSTCHECK bool uuid_convert(struct sv s, bool to_hex, char *out);
