/* bench.c - nanoseconds per actor of sk_route over warm tables: `make -C native bench`.
 *
 * Two logs of a million actors, 8 events each on average:
 *   loan      a chain of 24 states with loops and exits; few distinct traces make up most of the log
 *   distinct  six interleaved regions of three states: 729 positions, 12 symbols, hardly two traces alike
 * each in keep and in erase mode, routed in batches as a caller would. Half of the steps change facts (six
 * states of them); now and then an anchor point cuts the path. Medians and the best of several runs.
 */
#include "../statekeep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ACTORS = 1000000, BATCH = 16384, RUNS = 11, FACTS = 6, STEPS = 40, MISSES = 4096 };

static uint64_t state = 88172645463325252u;

static uint32_t below(uint32_t n) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)((state >> 32) * n >> 32);
}

static void must(int status, const char *what) {
    if (status != SK_OK) {
        fprintf(stderr, "%s: %s\n", what, sk_message(status));
        exit(1);
    }
}

typedef struct machine {
    uint32_t positions;
    uint32_t symbols;
    uint32_t (*next)(uint32_t position, uint32_t symbol);
    uint32_t (*choose)(uint32_t position); /* a likely symbol */
} machine;

/* Symbol 2r turns region r on, 2r + 1 turns it back. */
static uint32_t parallel_next(uint32_t position, uint32_t symbol) {
    uint32_t scale = 1;
    for (uint32_t r = 0; r < symbol / 2; r++) {
        scale *= 3;
    }
    uint32_t digit = position / scale % 3;
    return position + scale * ((digit + (symbol % 2 ? 2 : 1)) % 3) - scale * digit;
}

static uint32_t parallel_choose(uint32_t position) {
    (void)position;
    return below(12);
}

static uint32_t loan_next(uint32_t position, uint32_t symbol) {
    switch (symbol) {
    case 0:
        return position < 23 ? position + 1 : position;
    case 1:
        return position > 2 ? position - 2 : 0;
    case 2:
        return position < 20 ? position + 3 : position;
    default:
        return position;
    }
}

static uint32_t loan_choose(uint32_t position) {
    uint32_t dice = below(100);
    (void)position;
    return dice < 80 ? 0 : dice < 88 ? 1 : dice < 94 ? 2 : 3 + below(11);
}

static uint32_t step_of(uint32_t position, uint32_t symbol) {
    uint32_t mix = position * 31 + symbol * 7;
    return mix % 2 ? 1 + mix / 2 % (STEPS - 1) : 0;
}

/* Fills whatever a batch of misses asks for. */
static void fill(sk_tables *t, const machine *m, const sk_miss *miss) {
    switch (miss->kind) {
    case SK_MISS_MOVE:
        must(sk_add_move(t, miss->a, miss->b, m->next(miss->a, miss->b), step_of(miss->a, miss->b)), "move");
        break;
    case SK_MISS_FACT:
        must(sk_add_fact(t, miss->a, miss->b, (miss->a * 5 + miss->b) % FACTS, (miss->a + miss->b) % 29 == 1),
             "fact");
        break;
    case SK_MISS_CUT:
        must(sk_add_cut(t, miss->a, miss->b, miss->a), "cut");
        break;
    case SK_MISS_DECISION:
        must(sk_add_decision(t, miss->a, miss->b, miss->c, (miss->a + miss->b) % 50), "decision");
        break;
    default:
        must(SK_BAD_ARGUMENT, "miss");
    }
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void run(const char *name, const machine *m, uint32_t erase) {
    const sk_limits limits = {.positions = 1 << 16, .symbols = m->symbols, .steps = 1 << 12, .facts = 1 << 10,
                              .heads = 1 << 16, .decisions = 1 << 12, .loops = 1 << 16, .sparse = 1 << 10,
                              .splits = 1 << 10, .cuts = 1 << 12, .decided = 1 << 18, .erase = erase};
    sk_tables *t = sk_tables_new(&limits, NULL);
    sk_scratch *scratch = t == NULL ? NULL : sk_scratch_new(t, MISSES, NULL);
    uint32_t *symbols = malloc(sizeof *symbols * ACTORS * 16);
    uint64_t *offsets = malloc(sizeof *offsets * (ACTORS + 1));
    uint32_t *heads = malloc(sizeof *heads * ACTORS);
    uint32_t *decisions = malloc(sizeof *decisions * ACTORS);
    uint64_t *counts = calloc(limits.decisions, sizeof *counts);
    sk_miss *misses = malloc(sizeof *misses * MISSES);
    if (scratch == NULL || !symbols || !offsets || !heads || !decisions || !counts || !misses) {
        must(SK_NO_MEMORY, name);
    }
    for (uint32_t p = 0; p < m->positions; p++) {
        must(sk_add_position(t, p, p, 0), "position");
    }
    for (uint32_t h = 0; h < m->positions; h++) { /* as many as there are current configurations */
        must(sk_add_head(t, h, 0, 0), "head");
    }
    offsets[0] = 0;
    state = 88172645463325252u;
    for (uint64_t i = 0; i < ACTORS; i++) {
        uint32_t length = 1 + below(15);
        uint32_t position = 0;
        uint64_t at = offsets[i];
        for (uint32_t k = 0; k < length; k++) {
            uint32_t symbol = m->choose(position);
            position = m->next(position, symbol);
            symbols[at++] = symbol;
        }
        offsets[i + 1] = at;
        heads[i] = position;
    }
    double times[RUNS];
    uint64_t rounds = 0;
    for (int r = -1; r < RUNS; r++) { /* the first fills the tables */
        double total = 0;
        for (uint64_t first = 0; first < ACTORS; first += BATCH) {
            uint64_t n = ACTORS - first < BATCH ? ACTORS - first : BATCH;
            for (uint64_t i = first; i < first + n; i++) {
                decisions[i] = SK_PENDING;
            }
            sk_batch batch = {.actors = n, .symbols = symbols, .symbol_count = offsets[ACTORS],
                              .offsets = offsets + first, .heads = heads + first,
                              .decisions = decisions + first, .counts = counts,
                              .count_room = limits.decisions, .misses = misses, .miss_room = MISSES};
            sk_result result;
            double start = now();
            for (;;) {
                must(sk_route(t, scratch, &batch, &result), "route");
                if (result.pending == 0) {
                    break;
                }
                for (uint32_t k = 0; k < result.misses; k++) {
                    fill(t, m, &misses[k]);
                }
                rounds++;
            }
            total += now() - start;
        }
        if (r >= 0) {
            times[r] = total / ACTORS;
        }
    }
    qsort(times, RUNS, sizeof *times, ascending);
    sk_usage usage;
    sk_tables_usage(t, &usage);
    printf("%-9s %-6s  %6.1f ns per actor (median of %d, best %.1f); %.2f events, %u decided entries, "
           "%llu fills\n",
           name, erase ? "erase" : "keep", times[RUNS / 2], RUNS, times[0], (double)offsets[ACTORS] / ACTORS,
           usage.decided, (unsigned long long)rounds);
    free(symbols);
    free(offsets);
    free(heads);
    free(decisions);
    free(counts);
    free(misses);
    sk_scratch_free(scratch);
    sk_tables_free(t);
}

int main(void) {
    const machine loan = {24, 14, loan_next, loan_choose};
    const machine parallel = {729, 12, parallel_next, parallel_choose};
    for (uint32_t erase = 0; erase < 2; erase++) {
        run("loan", &loan, erase);
        run("distinct", &parallel, erase);
    }
    return 0;
}
