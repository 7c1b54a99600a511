/* model.h - what the router computes, written down naively: complete functions in plain arrays, ids instead
 * of rows, a stack that is searched from end to end. Tables are filled from it, and compared with it. */
#ifndef STATEKEEP_TESTS_MODEL_H
#define STATEKEEP_TESTS_MODEL_H

#include "check.h"

enum { M_POSITIONS = 24, M_SYMBOLS = 9, M_STEPS = 7, M_FACTS = 6, M_CUTS = 3, M_HEADS = 8, M_DECISIONS = 11 };

typedef struct model {
    uint32_t erase;
    uint32_t dense;                      /* symbols at or above are sparse: their ids are spread out */
    uint32_t positions, loops;
    uint32_t loop[M_POSITIONS];
    uint32_t absorbing[M_POSITIONS];
    uint32_t next[M_POSITIONS][M_SYMBOLS];
    uint32_t step[M_POSITIONS][M_SYMBOLS];
    uint32_t split[M_POSITIONS][M_FACTS][M_SYMBOLS];
    uint32_t facts[M_FACTS][M_STEPS];
    uint32_t cut[M_FACTS][M_STEPS];
    uint32_t cut_to[M_POSITIONS][M_CUTS];
    uint32_t head_position[M_HEADS];     /* SK_OPEN: the head is decided, as head_facts */
    uint32_t head_facts[M_HEADS];
    uint32_t decision[M_POSITIONS][M_FACTS][M_HEADS];
} model;

static inline uint32_t model_symbol(const model *m, uint32_t s) {
    return s < m->dense ? s : m->dense + (s - m->dense) * 1000003;
}

static inline uint32_t model_index(const model *m, uint32_t symbol) {
    return symbol < m->dense ? symbol : m->dense + (symbol - m->dense) / 1000003;
}

static inline void model_make(model *m, uint64_t *random, uint32_t erase) {
    memset(m, 0, sizeof *m);
    m->erase = erase;
    m->dense = random_below(random, M_SYMBOLS + 1);
    m->positions = 1 + random_below(random, M_POSITIONS);
    m->loops = 1 + random_below(random, m->positions);
    /* One in how many is a split, a cut, an absorbing position. */
    uint32_t rare = 2 + random_below(random, 30);
    for (uint32_t p = 0; p < m->positions; p++) {
        m->loop[p] = random_below(random, m->loops);
        m->absorbing[p] = random_below(random, rare) == 0;
        for (uint32_t s = 0; s < M_SYMBOLS; s++) {
            m->next[p][s] = random_below(random, m->positions);
            m->step[p][s] = random_below(random, rare) == 0 ? SK_SPLIT : random_below(random, M_STEPS);
            for (uint32_t f = 0; f < M_FACTS; f++) {
                m->split[p][f][s] = random_below(random, m->positions);
            }
        }
        for (uint32_t c = 1; c < M_CUTS; c++) {
            m->cut_to[p][c] = random_below(random, m->positions);
        }
        for (uint32_t f = 0; f < M_FACTS; f++) {
            for (uint32_t h = 0; h < M_HEADS; h++) {
                m->decision[p][f][h] = random_below(random, M_DECISIONS);
            }
        }
    }
    for (uint32_t f = 0; f < M_FACTS; f++) {
        for (uint32_t s = 1; s < M_STEPS; s++) {
            m->facts[f][s] = random_below(random, M_FACTS);
            m->cut[f][s] = random_below(random, rare) == 0 ? 1 + random_below(random, M_CUTS - 1) : 0;
        }
    }
    for (uint32_t h = 0; h < M_HEADS; h++) {
        if (random_below(random, 4) == 0) {
            m->head_position[h] = SK_OPEN;
            m->head_facts[h] = random_below(random, M_DECISIONS);
        } else {
            m->head_position[h] = random_below(random, m->positions);
            m->head_facts[h] = random_below(random, M_FACTS);
        }
    }
}

static inline uint32_t model_route(const model *m, const uint32_t *symbols, uint64_t n, uint32_t head) {
    uint32_t stack_loop[M_POSITIONS];
    uint32_t stack_position[M_POSITIONS];
    uint32_t depth = 0;
    uint32_t position = m->head_position[head];
    uint32_t facts = m->head_facts[head];
    if (position == SK_OPEN) {
        return facts;
    }
    stack_loop[0] = m->loop[position];
    stack_position[0] = position;
    for (uint64_t i = 0; i < n && !m->absorbing[position]; i++) {
        uint32_t s = model_index(m, symbols[i]);
        uint32_t step = m->step[position][s];
        if (step == SK_SPLIT) {
            if (m->erase) {
                return SK_OPEN;
            }
            position = m->split[position][facts][s];
            facts = 0;
            continue;
        }
        uint32_t next = m->next[position][s];
        uint32_t cut = 0;
        if (step != 0) {
            cut = m->cut[facts][step];
            facts = m->facts[facts][step];
        }
        if (cut != 0) {
            position = m->cut_to[next][cut];
            stack_loop[0] = m->loop[position];
            stack_position[0] = position;
            depth = 0;
            continue;
        }
        position = next;
        if (!m->erase) {
            continue;
        }
        uint32_t d = 0;
        while (d <= depth && stack_loop[d] != m->loop[next]) {
            d++;
        }
        if (d < depth) { /* back in an earlier configuration */
            position = stack_position[d];
        } else {         /* in the same one, or in a new one */
            stack_loop[d] = m->loop[next];
            stack_position[d] = next;
        }
        depth = d;
    }
    return m->decision[position][facts][head];
}

static inline sk_tables *model_tables(const model *m, uint32_t room) {
    sk_limits limits = {.positions = M_POSITIONS, .symbols = m->dense, .steps = M_STEPS, .facts = M_FACTS,
                        .heads = M_HEADS, .decisions = M_DECISIONS, .loops = M_POSITIONS, .sparse = room,
                        .splits = room, .cuts = room, .decided = room, .erase = m->erase};
    sk_tables *t = sk_tables_new(&limits, NULL);
    CHECK(t != NULL);
    for (uint32_t p = 0; p < m->positions; p++) {
        CHECK(sk_add_position(t, p, m->loop[p], (int)m->absorbing[p]) == SK_OK);
    }
    for (uint32_t h = 0; h < M_HEADS; h++) {
        CHECK((m->head_position[h] == SK_OPEN
                   ? sk_add_decided_head(t, h, m->head_facts[h])
                   : sk_add_head(t, h, m->head_position[h], m->head_facts[h])) == SK_OK);
    }
    return t;
}

/* SK_OK or SK_FULL. The miss must name a place in the model that is not filled yet. */
static inline int model_fill(const model *m, sk_tables *t, const sk_miss *miss) {
    uint32_t x;
    uint32_t y;
    uint32_t a = miss->a;
    uint32_t b = miss->b;
    uint32_t c = miss->c;
    switch (miss->kind) {
    case SK_MISS_MOVE:
        CHECK(a < m->positions && model_index(m, b) < M_SYMBOLS && c == 0 && !m->absorbing[a]);
        return sk_add_move(t, a, b, m->next[a][model_index(m, b)], m->step[a][model_index(m, b)]);
    case SK_MISS_SPLIT:
        CHECK(a < m->positions && b < M_FACTS && model_index(m, c) < M_SYMBOLS);
        CHECK(sk_get_move(t, a, c, &x, &y) == SK_OK && y == SK_SPLIT);
        return sk_add_split(t, a, b, c, m->split[a][b][model_index(m, c)]);
    case SK_MISS_FACT:
        CHECK(a < M_FACTS && b > 0 && b < M_STEPS && c == 0);
        return sk_add_fact(t, a, b, m->facts[a][b], m->cut[a][b]);
    case SK_MISS_CUT:
        CHECK(a < m->positions && b > 0 && b < M_CUTS && c == 0);
        return sk_add_cut(t, a, b, m->cut_to[a][b]);
    default:
        CHECK(miss->kind == SK_MISS_DECISION);
        CHECK(a < m->positions && b < M_FACTS && c < M_HEADS && m->head_position[c] != SK_OPEN);
        return sk_add_decision(t, a, b, c, m->decision[a][b][c]);
    }
}

#endif
