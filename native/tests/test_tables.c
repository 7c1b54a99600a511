/* tables.c, scratch.c and memory.c: limits, failing allocations, usage. */
#include "check.h"

static void refused(sk_limits limits, uint64_t field) {
    sk_error error = {0};
    CHECK(sk_tables_new(&limits, &error) == NULL);
    CHECK(error.status == SK_BAD_LIMIT && error.index == field && error.message == sk_message(SK_BAD_LIMIT));
    CHECK(sk_tables_new(&limits, NULL) == NULL);
}

#define WITH(erase, name, value, field)             \
    do {                                            \
        sk_limits limits_ = small_limits(erase);     \
        limits_.name = (value);                     \
        refused(limits_, field);                    \
    } while (0)

static void limits(void) {
    WITH(0, positions, 0, 0);
    WITH(0, positions, UINT32_MAX / 6 + 1, 0); /* 4 symbols + 2 words a row, below 2^32 */
    WITH(0, symbols, SK_ID_LIMIT, 1);
    WITH(0, symbols, SK_ID_LIMIT - 1, 0);
    WITH(0, steps, 0, 2);
    WITH(0, steps, SK_ID_LIMIT, 2);
    WITH(0, facts, 0, 3);
    WITH(0, facts, SK_ID_LIMIT / 7 + 1, 3);
    WITH(0, heads, 0, 4);
    WITH(0, decisions, 0, 5);
    WITH(0, decisions, SK_ID_LIMIT + 1u, 5);
    WITH(1, loops, 0, 6);
    WITH(1, loops, SK_LOOP_LIMIT + 1, 6);
    WITH(0, sparse, SK_MAP_LIMIT + 1, 7);
    WITH(0, splits, SK_MAP_LIMIT + 1, 8);
    WITH(0, cuts, SK_MAP_LIMIT + 1, 9);
    WITH(0, decided, SK_MAP_LIMIT + 1, 10);
    WITH(0, erase, 2, 11);
    sk_error error;
    CHECK(sk_tables_new(NULL, &error) == NULL && error.status == SK_BAD_ARGUMENT);
}

static void smallest(void) {
    sk_limits limits = {.positions = 1, .steps = 1, .facts = 1, .heads = 1, .decisions = 1};
    sk_tables *t = sk_tables_new(&limits, NULL);
    CHECK(t != NULL && sk_tables_check(t, NULL) == SK_OK);
    CHECK(sk_add_position(t, 0, 0, 1) == SK_OK && sk_add_head(t, 0, 0, 0) == SK_OK);
    CHECK(sk_add_position(t, 1, 0, 0) == SK_FULL && sk_add_head(t, 1, 0, 0) == SK_FULL);
    CHECK(sk_add_decision(t, 0, 0, 0, 0) == SK_FULL);
    CHECK(sk_tables_check(t, NULL) == SK_OK);
    sk_tables_free(t);
    sk_tables_free(NULL);
}

/* The first, second, ... allocation fails; nothing leaks (the sanitizer looks), and the next try works. */
static void no_memory(void) {
    for (uint32_t erase = 0; erase < 2; erase++) {
        sk_limits limits = small_limits(erase);
        sk_error error = {0};
        int64_t n = 0;
        sk_tables *t = NULL;
        for (; t == NULL; n++) {
            sk_test_allocations_left = n;
            t = sk_tables_new(&limits, &error);
            CHECK(t != NULL || error.status == SK_NO_MEMORY);
        }
        CHECK(n == 9);
        sk_scratch *s = NULL;
        for (n = 0; s == NULL; n++) {
            sk_test_allocations_left = n;
            s = sk_scratch_new(t, 16, &error);
            CHECK(s != NULL || error.status == SK_NO_MEMORY);
        }
        CHECK(n == (erase ? 5 : 3));
        sk_test_allocations_left = -1;
        sk_scratch_free(s);
        sk_tables_free(t);
    }
    sk_scratch_free(NULL);
    CHECK(sk_allocate(UINT64_MAX, 16) == NULL);
}

static void scratch_arguments(void) {
    sk_error error;
    sk_tables *t = small_tables(0, 1);
    CHECK(sk_scratch_new(NULL, 1, &error) == NULL && error.status == SK_BAD_ARGUMENT);
    CHECK(sk_scratch_new(t, SK_MAP_LIMIT + 1, &error) == NULL && error.status == SK_BAD_ARGUMENT);
    CHECK(sk_scratch_new(t, SK_MAP_LIMIT + 1, NULL) == NULL);
    sk_scratch *s = sk_scratch_new(t, 0, NULL);
    CHECK(s != NULL);
    sk_scratch_free(s);
    sk_tables_free(t);
}

static void usage(void) {
    sk_tables *t = small_tables(0, 3);
    sk_usage u;
    CHECK(sk_tables_usage(NULL, &u) == SK_BAD_ARGUMENT && sk_tables_usage(t, NULL) == SK_BAD_ARGUMENT);
    CHECK(sk_tables_usage(t, &u) == SK_OK);
    CHECK(u.positions == 3 && u.steps == 1 && u.facts == 1 && u.heads == 1 && u.decisions == 0);
    CHECK(u.sparse == 0 && u.splits == 0 && u.cuts == 0 && u.decided == 0 && u.reserved > 1000);
    CHECK(sk_add_move(t, 0, 1, 1, 4) == SK_OK);
    CHECK(sk_add_move(t, 0, 100, 1, 0) == SK_OK);
    CHECK(sk_add_move(t, 0, 2, 0, SK_SPLIT) == SK_OK);
    CHECK(sk_add_split(t, 0, 0, 2, 1) == SK_OK);
    CHECK(sk_add_fact(t, 0, 2, 3, 9) == SK_OK);
    CHECK(sk_add_cut(t, 1, 9, 2) == SK_OK);
    CHECK(sk_add_decided_head(t, 1, 5) == SK_OK);
    CHECK(sk_add_decision(t, 0, 0, 0, 2) == SK_OK);
    CHECK(sk_tables_usage(t, &u) == SK_OK);
    CHECK(u.positions == 3 && u.steps == 5 && u.facts == 4 && u.heads == 2 && u.decisions == 6);
    CHECK(u.sparse == 1 && u.splits == 1 && u.cuts == 1 && u.decided == 1);
    sk_tables_free(t);
}

int main(void) {
    limits();
    smallest();
    no_memory();
    scratch_arguments();
    usage();
    return 0;
}
