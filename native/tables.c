/* tables.c - making and freeing tables, and how much of them is used. */
#include "internal.h"

#include <stdlib.h>

/* The first field of limits that is out of bounds, or -1. */
static int bad_limit(const sk_limits *l) {
    if (l->positions == 0) {
        return 0;
    }
    if (l->symbols >= SK_ID_LIMIT) {
        return 1;
    }
    if ((uint64_t)l->positions * ((uint64_t)l->symbols + 2) > UINT32_MAX) {
        return 0;
    }
    if (l->steps == 0 || l->steps >= SK_ID_LIMIT) {
        return 2;
    }
    if (l->facts == 0 || (uint64_t)l->facts * ((uint64_t)l->steps + 1) > SK_ID_LIMIT) {
        return 3;
    }
    if (l->heads == 0) {
        return 4;
    }
    if (l->decisions == 0 || l->decisions > SK_ID_LIMIT) {
        return 5;
    }
    if (l->erase > 1) {
        return 11;
    }
    if (l->erase && (l->loops == 0 || l->loops > SK_LOOP_LIMIT)) {
        return 6;
    }
    const uint32_t maps[] = {l->sparse, l->splits, l->cuts, l->decided};
    for (int i = 0; i < 4; i++) {
        if (maps[i] > SK_MAP_LIMIT) {
            return 7 + i;
        }
    }
    return -1;
}

static sk_word *new_words(sk_tables *t, uint64_t count) {
    t->reserved += count * sizeof(sk_word);
    return sk_allocate(count, sizeof(sk_word));
}

sk_tables *sk_tables_new(const sk_limits *limits, sk_error *error) {
    if (limits == NULL) {
        sk_fail(error, SK_BAD_ARGUMENT, 0);
        return NULL;
    }
    int field = bad_limit(limits);
    if (field >= 0) {
        sk_fail(error, SK_BAD_LIMIT, (uint64_t)field);
        return NULL;
    }
    sk_tables *t = sk_allocate(1, sizeof *t);
    if (t == NULL) {
        sk_fail(error, SK_NO_MEMORY, 0);
        return NULL;
    }
    t->limits = *limits;
    t->symbols = limits->symbols;
    t->move_stride = (limits->symbols + 1) | 1;
    t->fact_stride = limits->steps | 1;
    t->reserved = sizeof *t;
    t->moves = new_words(t, (uint64_t)limits->positions * t->move_stride);
    t->facts = new_words(t, (uint64_t)limits->facts * t->fact_stride);
    t->heads = new_words(t, limits->heads);
    if (t->moves == NULL || t->facts == NULL || t->heads == NULL ||
        sk_map_init(&t->sparse, limits->sparse, &t->reserved) != SK_OK ||
        sk_map_init(&t->splits, limits->splits, &t->reserved) != SK_OK ||
        sk_map_init(&t->cuts, limits->cuts, &t->reserved) != SK_OK ||
        sk_map_init(&t->decided, limits->decided, &t->reserved) != SK_OK) {
        sk_fail(error, SK_NO_MEMORY, 0);
        sk_tables_free(t);
        return NULL;
    }
    sk_publish(&t->facts[0], SK_PLAIN); /* facts 0 under step 0 */
    t->facts_used = 1;
    t->steps_used = 1;
    return t;
}

void sk_tables_free(sk_tables *t) {
    if (t == NULL) {
        return;
    }
    free(t->moves);
    free(t->facts);
    free(t->heads);
    sk_map_release(&t->sparse);
    sk_map_release(&t->splits);
    sk_map_release(&t->cuts);
    sk_map_release(&t->decided);
    free(t);
}

int sk_tables_usage(const sk_tables *t, sk_usage *usage) {
    if (t == NULL || usage == NULL) {
        return SK_BAD_ARGUMENT;
    }
    usage->positions = sk_used(&t->positions_used);
    usage->steps = sk_used(&t->steps_used);
    usage->facts = sk_used(&t->facts_used);
    usage->heads = sk_used(&t->heads_used);
    usage->decisions = sk_used(&t->decisions_used);
    usage->sparse = sk_used(&t->sparse.used);
    usage->splits = sk_used(&t->splits.used);
    usage->cuts = sk_used(&t->cuts.used);
    usage->decided = sk_used(&t->decided.used);
    usage->reserved = t->reserved;
    return SK_OK;
}
