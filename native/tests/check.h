/* check.h - what the test programs share: CHECK, and tables small enough to fill. */
#ifndef STATEKEEP_TESTS_CHECK_H
#define STATEKEEP_TESTS_CHECK_H

#include "internal.h"
#include "statekeep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                \
    do {                                                                                \
        if (!(condition)) {                                                             \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);      \
            exit(1);                                                                    \
        }                                                                               \
    } while (0)

static inline sk_limits small_limits(uint32_t erase) {
    return (sk_limits){.positions = 8, .symbols = 4, .steps = 6, .facts = 5, .heads = 6, .decisions = 7,
                       .loops = erase ? 8 : 0, .sparse = 4, .splits = 4, .cuts = 4, .decided = 8,
                       .erase = erase};
}

/* Tables with `positions` positions, each a loop of its own, and head 0 at position 0 with facts 0. */
static inline sk_tables *small_tables(uint32_t erase, uint32_t positions) {
    sk_limits limits = small_limits(erase);
    sk_error error;
    sk_tables *t = sk_tables_new(&limits, &error);
    CHECK(t != NULL);
    for (uint32_t p = 0; p < positions; p++) {
        CHECK(sk_add_position(t, p, p, 0) == SK_OK);
    }
    if (positions != 0) {
        CHECK(sk_add_head(t, 0, 0, 0) == SK_OK);
    }
    return t;
}

/* xorshift64*: the same numbers everywhere. */
static inline uint32_t random_below(uint64_t *state, uint32_t n) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (uint32_t)(((*state * UINT64_C(0x2545f4914f6cdd1d)) >> 32) * n >> 32);
}

/* A number from the environment, or the given one where it is unset or empty. */
static inline uint64_t from_environment(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);
    return text == NULL || *text == '\0' ? otherwise : strtoull(text, NULL, 10);
}

#endif
