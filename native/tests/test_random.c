/* Random machines, tables that start empty, traces routed in batches: every decision is the naive model's,
 * whatever the batch size, the room for misses, and the number of times the tables were full and started
 * anew. */
#include "model.h"

enum { ACTORS = 200, LENGTH = 40 };

static uint64_t flushes;
static uint64_t opened;

static void one_case(uint64_t seed) {
    uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    model m;
    model_make(&m, &random, random_below(&random, 2));

    static uint32_t symbols[ACTORS * LENGTH];
    uint64_t offsets[ACTORS + 1] = {0};
    uint32_t heads[ACTORS];
    uint32_t decisions[ACTORS];
    uint32_t expected[ACTORS];
    uint64_t counts[M_DECISIONS] = {0};
    uint64_t expected_counts[M_DECISIONS] = {0};
    sk_miss misses[64];
    uint32_t used_symbols = 1 + random_below(&random, M_SYMBOLS);
    for (uint32_t i = 0; i < ACTORS; i++) {
        uint32_t n = random_below(&random, LENGTH);
        offsets[i + 1] = offsets[i] + n;
        for (uint32_t k = 0; k < n; k++) {
            symbols[offsets[i] + k] = model_symbol(&m, random_below(&random, used_symbols));
        }
        heads[i] = random_below(&random, M_HEADS);
        decisions[i] = SK_PENDING;
        expected[i] = model_route(&m, symbols + offsets[i], n, heads[i]);
        if (expected[i] != SK_OPEN) {
            expected_counts[expected[i]]++;
        }
        opened += expected[i] == SK_OPEN;
    }

    /* One trace can need this many entries of a map, so that with less there is no end. */
    uint32_t room = LENGTH + random_below(&random, 400);
    sk_tables *t = model_tables(&m, room);
    sk_scratch *scratch = sk_scratch_new(t, 64, NULL);
    CHECK(scratch != NULL);
    uint32_t size = 1 + random_below(&random, ACTORS);
    for (uint32_t first = 0; first < ACTORS; first += size) {
        sk_batch batch = {.actors = first + size < ACTORS ? size : ACTORS - first, .symbols = symbols,
                          .symbol_count = offsets[ACTORS], .offsets = offsets + first, .heads = heads + first,
                          .decisions = decisions + first, .counts = counts, .count_room = M_DECISIONS,
                          .misses = misses, .miss_room = 1 + random_below(&random, 64)};
        sk_result r;
        int careful = 0;
        do {
            CHECK(sk_route(t, scratch, &batch, &r) == SK_OK);
            careful = careful && r.decided + r.open == 0;
            CHECK(r.full || r.pending == 0 || r.misses > 0);
            CHECK(!r.full || r.misses == batch.miss_room);
            /* The first miss is the first pending actor's. After a flush only that one is filled until an
             * actor is through: else the entries of all of them might fill the tables again and again. */
            for (uint32_t i = 0; i < (careful ? 1 : r.misses); i++) {
                for (uint32_t k = 0; k < i; k++) {
                    CHECK(misses[k].kind != misses[i].kind || misses[k].a != misses[i].a ||
                          misses[k].b != misses[i].b || misses[k].c != misses[i].c);
                    CHECK(misses[k].actor < misses[i].actor);
                }
                CHECK(misses[i].actor < batch.actors && batch.decisions[misses[i].actor] == SK_PENDING);
                if (model_fill(&m, t, &misses[i]) == SK_FULL) {
                    CHECK(sk_tables_check(t, NULL) == SK_OK);
                    sk_tables_free(t);
                    t = model_tables(&m, room);
                    flushes++;
                    careful = 1;
                    break; /* the other misses belong to the old tables, and this one is met again */
                }
            }
        } while (r.pending != 0);
    }
    for (uint32_t i = 0; i < ACTORS; i++) {
        CHECK(decisions[i] == expected[i]);
    }
    CHECK(memcmp(counts, expected_counts, sizeof counts) == 0);
    CHECK(sk_tables_check(t, NULL) == SK_OK);
    for (uint32_t i = 0; i < ACTORS; i++) { /* alone: the same, or an entry that a flush took away */
        uint32_t decision;
        uint64_t n = offsets[i + 1] - offsets[i];
        CHECK(sk_route_one(t, scratch, symbols + offsets[i], n, heads[i], &decision) == SK_OK);
        CHECK(decision == expected[i] || decision == SK_PENDING);
    }
    sk_scratch_free(scratch);
    sk_tables_free(t);
}

int main(void) {
    uint64_t seed = from_environment("SEED", 1);
    uint64_t cases = from_environment("CASES", 2000);
    printf("test_random: SEED=%llu CASES=%llu\n", (unsigned long long)seed, (unsigned long long)cases);
    fflush(stdout);
    for (uint64_t i = 0; i < cases; i++) {
        one_case(seed + i);
    }
    printf("test_random: the tables were full %llu times, %llu traces were open\n",
           (unsigned long long)flushes, (unsigned long long)opened);
    CHECK(cases < 500 || (flushes > 0 && opened > 0));
    return 0;
}
