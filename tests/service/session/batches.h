/* SPDX-License-Identifier: MIT */
/* Writes of several threads that meet in one batch. */
#ifndef PARLEY_TESTS_SESSION_BATCHES_H
#define PARLEY_TESTS_SESSION_BATCHES_H

#include "hosts.h"
#include "threads.h"

struct batches {
    struct threads threads; /* the first member; t.w is the fixture */
    struct metrics_slot slot;
    bool creates; /* the writes that meet are creates, not appends */
    int n_late;   /* so many writers end only after the first write of the meeting */
    char key[32]; /* of that first write */
    void (*work)(struct batches *b, struct fixture *c, int me);
    int n;
    struct held_transaction *held;
    atomic_bool under_way;
    atomic_int done;
    _Atomic uint32_t largest; /* the largest batch since the last meeting began */
    enum err err[THREADS_MAX];
};

/* A service that counts its batches in slot. */
struct batches *batches_open(bool redis);
void batches_close(struct batches *b);

/* Runs work in n threads, at most DB_BATCHER_MAX, while another write (an append to b:gate, or a
 * create) waits for its key. Those that come within 50 ms become a batch when that time is over.
 * work makes one write and keeps its result by batches_wrote. The receipt of the other write is
 * threads.receipts[n]. Returns the size of the largest batch: a slow machine may make it smaller
 * than n. */
uint32_t batches_meet(struct batches *b, int n,
                      void (*work)(struct batches *b, struct fixture *c, int me));
void batches_wrote(struct batches *b, struct fixture *c, int me, enum err e);

/* Repeats meeting, which asserts what must hold in batches of any size, until it was one of so many
 * members. */
#define BATCHES_UNTIL(size, meeting)                                                \
    do {                                                                            \
        bool holds = false;                                                         \
        for (int step = 0; step < 30 && !holds; step++)                             \
            holds = (meeting) >= (size);                                            \
        CU_assertImplementation(holds, __LINE__, #meeting, __FILE__, "", CU_FALSE); \
    } while (0)

uint64_t batches_count(const struct metrics_batches *m);
/* The lines of PostgreSQL's log that have this text. */
int batches_logged(const char *text);
/* The same write: all numbers of the receipt, and its times. */
bool batches_same_receipt(const struct session_receipt *a, const struct session_receipt *b);

#endif
