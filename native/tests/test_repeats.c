/* repeats.c: against counting by hand, and on input made to hurt. */
#include "check.h"

static int by_hash_then_ordinal(const void *a, const void *b) {
    const uint64_t *x = a;
    const uint64_t *y = b;
    if (x[0] != y[0]) {
        return x[0] < y[0] ? -1 : 1;
    }
    return (x[1] > y[1]) - (x[1] < y[1]);
}

static void against_qsort(uint64_t *state, uint64_t n, uint32_t hashes, int spread) {
    uint64_t *hash = calloc(n + 1, sizeof *hash);
    uint64_t *ordinal = calloc(n + 1, sizeof *ordinal);
    uint64_t(*pair)[2] = calloc(n + 1, sizeof *pair);
    uint64_t *first = calloc(n + 1, sizeof *first);
    uint64_t *again = calloc(n + 1, sizeof *again);
    CHECK(hash && ordinal && pair && first && again);
    for (uint64_t i = 0; i < n; i++) {
        uint64_t value = random_below(state, hashes);
        pair[i][0] = hash[i] = spread ? value * UINT64_C(0x9e3779b97f4a7c15) : value;
        pair[i][1] = ordinal[i] = n - i;
    }
    qsort(pair, n, sizeof *pair, by_hash_then_ordinal);
    uint64_t found;
    CHECK(sk_repeats(hash, ordinal, n, first, again, n, &found) == SK_OK);
    uint64_t expected = 0;
    uint64_t start = 0;
    for (uint64_t i = 0; i < n; i++) {
        CHECK(hash[i] == pair[i][0] && ordinal[i] == pair[i][1]);
        if (i > 0 && pair[i][0] == pair[start][0]) {
            CHECK(first[expected] == pair[start][1] && again[expected] == pair[i][1]);
            expected++;
        } else {
            start = i;
        }
    }
    CHECK(found == expected);
    if (found > 0) { /* room for one less */
        memset(first, 0xff, (n + 1) * sizeof *first);
        uint64_t all;
        CHECK(sk_repeats(hash, ordinal, n, first, again, found - 1, &all) == SK_FULL && all == found);
        CHECK(first[found - 1] == UINT64_MAX);
    }
    free(hash);
    free(ordinal);
    free(pair);
    free(first);
    free(again);
}

/* All hashes equal, ordinals falling: the worst for a sort by hash. */
static void all_equal(void) {
    enum { N = 200000 };
    uint64_t *hash = calloc(N, sizeof *hash);
    uint64_t *ordinal = calloc(N, sizeof *ordinal);
    CHECK(hash && ordinal);
    for (uint64_t i = 0; i < N; i++) {
        ordinal[i] = N - i;
    }
    uint64_t found;
    CHECK(sk_repeats(hash, ordinal, N, NULL, NULL, 0, &found) == SK_FULL && found == N - 1);
    for (uint64_t i = 0; i < N; i++) {
        CHECK(ordinal[i] == i + 1);
    }
    memset(ordinal, 0, N * sizeof *ordinal); /* even the ordinals */
    CHECK(sk_repeats(hash, ordinal, N, NULL, NULL, 0, &found) == SK_FULL && found == N - 1);
    free(hash);
    free(ordinal);
}

/* Every hash is in exactly one part, with its ordinal. */
static void partition(uint64_t *state) {
    enum { N = 5000, PARTS = 7 };
    uint64_t hash[N];
    uint64_t out_hash[N];
    uint64_t out_ordinal[N];
    int seen[N] = {0};
    for (int i = 0; i < N; i++) {
        hash[i] = (uint64_t)random_below(state, UINT32_MAX) << 32 | random_below(state, UINT32_MAX);
    }
    hash[0] = 0;
    hash[1] = UINT64_MAX;
    uint64_t found;
    for (uint32_t part = 0; part < PARTS; part++) {
        CHECK(sk_partition(hash, N, 1000, PARTS, part, out_hash, out_ordinal, N, &found) == SK_OK);
        CHECK(found > N / PARTS / 2 && found < N / PARTS * 2);
        for (uint64_t i = 0; i < found; i++) {
            uint64_t at = out_ordinal[i] - 1000;
            CHECK(at < N && hash[at] == out_hash[i] && !seen[at]);
            seen[at] = 1;
        }
    }
    for (int i = 0; i < N; i++) {
        CHECK(seen[i]);
    }
    uint64_t all;
    out_hash[found - 1] = 42;
    CHECK(sk_partition(hash, N, 0, PARTS, PARTS - 1, out_hash, out_ordinal, found - 1, &all) == SK_FULL);
    CHECK(all == found && out_hash[found - 1] == 42);
    CHECK(sk_partition(hash, N, 0, 1, 0, out_hash, out_ordinal, N, &found) == SK_OK && found == N);
}

static void arguments(void) {
    uint64_t one[1] = {0};
    uint64_t found = 9;
    CHECK(sk_partition(NULL, 0, 0, 1, 0, NULL, NULL, 0, &found) == SK_OK && found == 0);
    CHECK(sk_partition(NULL, 1, 0, 1, 0, one, one, 1, &found) == SK_BAD_ARGUMENT);
    CHECK(sk_partition(one, 1, 0, 0, 0, one, one, 1, &found) == SK_BAD_ARGUMENT);
    CHECK(sk_partition(one, 1, 0, 2, 2, one, one, 1, &found) == SK_BAD_ARGUMENT);
    CHECK(sk_partition(one, 1, 0, 1, 0, NULL, one, 1, &found) == SK_BAD_ARGUMENT);
    CHECK(sk_partition(one, 1, 0, 1, 0, one, one, 1, NULL) == SK_BAD_ARGUMENT);
    CHECK(sk_repeats(NULL, NULL, 0, NULL, NULL, 0, &found) == SK_OK && found == 0);
    CHECK(sk_repeats(NULL, one, 1, one, one, 1, &found) == SK_BAD_ARGUMENT);
    CHECK(sk_repeats(one, one, 1, NULL, one, 1, &found) == SK_BAD_ARGUMENT);
    CHECK(sk_repeats(one, one, 1, one, one, 1, NULL) == SK_BAD_ARGUMENT);
}

int main(void) {
    uint64_t state = 42;
    for (uint64_t n = 0; n < 300; n += 1 + n / 8) {
        against_qsort(&state, n, 10, 0);
        against_qsort(&state, n, 100, 1);
    }
    against_qsort(&state, 50000, 1000000, 1);
    against_qsort(&state, 50000, 300, 0);
    all_equal();
    partition(&state);
    arguments();
    return 0;
}
