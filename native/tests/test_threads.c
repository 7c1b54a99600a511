/* Three threads route the same batch while a fourth fills the tables: nobody sees half an entry, and all
 * agree with the model. Meant for ThreadSanitizer (`make threads`), and worth running without. */
#include "model.h"

#include <pthread.h>
#include <sched.h>

enum { ACTORS = 500, LENGTH = 30, READERS = 3 };

typedef struct shared {
    model m;
    sk_tables *tables;
    uint32_t symbols[ACTORS * LENGTH];
    uint64_t offsets[ACTORS + 1];
    uint32_t heads[ACTORS];
    uint32_t expected[ACTORS];
} shared;

/* Routes until every slot is settled; with fill, adds what is missing. */
static void settle(shared *s, int fill) {
    uint32_t decisions[ACTORS];
    uint64_t counts[M_DECISIONS] = {0};
    sk_miss misses[8];
    sk_scratch *scratch = sk_scratch_new(s->tables, 8, NULL);
    CHECK(scratch != NULL);
    for (uint32_t i = 0; i < ACTORS; i++) {
        decisions[i] = SK_PENDING;
    }
    sk_batch batch = {.actors = ACTORS, .symbols = s->symbols, .symbol_count = s->offsets[ACTORS],
                      .offsets = s->offsets, .heads = s->heads, .decisions = decisions, .counts = counts,
                      .count_room = M_DECISIONS, .misses = misses, .miss_room = 8};
    sk_result r;
    do {
        CHECK(sk_route(s->tables, scratch, &batch, &r) == SK_OK);
        for (uint32_t i = 0; fill && i < r.misses; i++) {
            CHECK(model_fill(&s->m, s->tables, &misses[i]) == SK_OK);
        }
        if (!fill) {
            sched_yield();
        }
    } while (r.pending != 0);
    for (uint32_t i = 0; i < ACTORS; i++) {
        CHECK(decisions[i] == s->expected[i]);
    }
    sk_scratch_free(scratch);
}

static void *reader(void *argument) {
    settle(argument, 0);
    return NULL;
}

int main(void) {
    uint64_t random = from_environment("SEED", 1) * UINT64_C(0x9e3779b97f4a7c15) + 1;
    shared *s = calloc(1, sizeof *s);
    CHECK(s != NULL);
    for (int round = 0; round < 40; round++) {
        model_make(&s->m, &random, (uint32_t)round % 2);
        for (uint32_t i = 0; i < ACTORS; i++) {
            uint32_t n = random_below(&random, LENGTH);
            s->offsets[i + 1] = s->offsets[i] + n;
            for (uint32_t k = 0; k < n; k++) {
                s->symbols[s->offsets[i] + k] = model_symbol(&s->m, random_below(&random, M_SYMBOLS));
            }
            s->heads[i] = random_below(&random, M_HEADS);
            s->expected[i] = model_route(&s->m, s->symbols + s->offsets[i], n, s->heads[i]);
        }
        s->tables = model_tables(&s->m, 4000);
        pthread_t threads[READERS];
        for (int i = 0; i < READERS; i++) {
            CHECK(pthread_create(&threads[i], NULL, reader, s) == 0);
        }
        settle(s, 1);
        for (int i = 0; i < READERS; i++) {
            CHECK(pthread_join(threads[i], NULL) == 0);
        }
        CHECK(sk_tables_check(s->tables, NULL) == SK_OK);
        sk_tables_free(s->tables);
    }
    free(s);
    return 0;
}
