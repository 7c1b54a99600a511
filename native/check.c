/* check.c - reading tables as if a stranger had filled them. */
#include "internal.h"

/* Whether a row that leads to a position, or to facts, is one that is in use. */
static int is_position_row(const sk_tables *t, uint32_t row) {
    return row % t->move_stride == 0 && sk_row_position(t, row) < sk_used(&t->positions_used);
}

static int is_facts_row(const sk_tables *t, uint32_t row) {
    return row % t->fact_stride == 0 && sk_row_facts(t, row) < sk_used(&t->facts_used);
}

static int good_move(const sk_tables *t, uint64_t word) {
    if (!(word & SK_PLAIN)) {
        return word == 0 || word == sk_pack(SK_SPLIT, 0);
    }
    return is_position_row(t, sk_low(word)) && sk_mid(word) < sk_used(&t->steps_used);
}

static int good_own(const sk_tables *t, uint64_t own, uint32_t position) {
    return (own & SK_PLAIN) != 0 && sk_low(own) == position &&
           (t->limits.erase ? sk_loop(own) < t->limits.loops : sk_loop(own) == 0);
}

static int good_fact(const sk_tables *t, uint64_t word) {
    return word == 0 || (is_facts_row(t, sk_low(word)) && ((word & SK_PLAIN) != 0) == (sk_mid(word) == 0));
}

static int good_head(const sk_tables *t, uint64_t word) {
    if (!(word & SK_PLAIN)) {
        return word < sk_used(&t->decisions_used);
    }
    return is_position_row(t, sk_low(word)) && is_facts_row(t, sk_mid(word));
}

static int check_moves(const sk_tables *t, sk_error *error) {
    for (uint32_t position = 0; position < sk_used(&t->positions_used); position++) {
        size_t row = sk_position_row(t, position);
        uint64_t own = sk_load(&t->moves[row]);
        if (!good_own(t, own, position)) {
            return sk_fail(error, SK_BAD_TABLE, row);
        }
        for (size_t i = row + 1; i <= row + t->symbols; i++) {
            uint64_t word = sk_load(&t->moves[i]);
            if (!good_move(t, word) || ((own & SK_ABSORBING) && word != (SK_PLAIN | row))) {
                return sk_fail(error, SK_BAD_TABLE, i);
            }
        }
    }
    return SK_OK;
}

static int check_facts(const sk_tables *t, sk_error *error) {
    for (uint32_t facts = 0; facts < sk_used(&t->facts_used); facts++) {
        size_t row = sk_facts_row(t, facts);
        uint64_t own = sk_load(&t->facts[row]);
        if (own != 0 && own != (SK_PLAIN | row)) {
            return sk_fail(error, SK_BAD_TABLE, row);
        }
        for (size_t i = row; i < row + sk_used(&t->steps_used); i++) {
            uint64_t word = sk_load(&t->facts[i]);
            /* Facts that a word leads to, or that have words, are open under step 0. */
            if (!good_fact(t, word) || (word != 0 && (own == 0 || sk_load(&t->facts[sk_low(word)]) == 0))) {
                return sk_fail(error, SK_BAD_TABLE, i);
            }
        }
    }
    return SK_OK;
}

static int check_heads(const sk_tables *t, sk_error *error) {
    for (uint32_t head = 0; head < sk_used(&t->heads_used); head++) {
        uint64_t word = sk_load(&t->heads[head]);
        if (!good_head(t, word) || ((word & SK_PLAIN) && sk_load(&t->facts[sk_mid(word)]) == 0)) {
            return sk_fail(error, SK_BAD_TABLE, head);
        }
    }
    return SK_OK;
}

/* What a slot's halves have to satisfy, one function per map. */
typedef int (*good_slot)(const sk_tables *t, uint64_t key, uint64_t rest);

static int good_sparse(const sk_tables *t, uint64_t key, uint64_t rest) {
    return is_position_row(t, sk_low(key)) && key >> 32 >= t->symbols && key >> 32 < SK_ID_LIMIT &&
           good_move(t, rest);
}

static int good_split(const sk_tables *t, uint64_t key, uint64_t rest) {
    uint32_t facts = sk_mid(key);
    return is_position_row(t, sk_low(key)) && facts % t->fact_stride == 0 &&
           sk_row_facts(t, facts) < t->limits.facts && sk_low(rest) < SK_ID_LIMIT &&
           is_position_row(t, sk_value(rest));
}

static int good_cut(const sk_tables *t, uint64_t key, uint64_t rest) {
    return is_position_row(t, sk_low(key)) && key >> 32 != 0 && key >> 32 < SK_ID_LIMIT &&
           sk_low(rest) == 0 && is_position_row(t, sk_value(rest));
}

static int good_decision(const sk_tables *t, uint64_t key, uint64_t rest) {
    uint32_t facts = sk_mid(key);
    uint32_t head = sk_low(rest);
    return is_position_row(t, sk_low(key)) && facts % t->fact_stride == 0 &&
           sk_row_facts(t, facts) < t->limits.facts && head < sk_used(&t->heads_used) &&
           (sk_load(&t->heads[head]) & SK_PLAIN) != 0 && sk_value(rest) < sk_used(&t->decisions_used);
}

static int check_map(const sk_tables *t, const sk_map *map, good_slot good, sk_error *error) {
    uint64_t used = 0;
    for (uint64_t i = 0; i <= map->mask; i++) {
        uint64_t key = sk_load(&map->slots[i].key);
        uint64_t rest = sk_load(&map->slots[i].rest);
        if (rest == 0) {
            if (key != 0) {
                return sk_fail(error, SK_BAD_TABLE, i);
            }
            continue;
        }
        used++;
        if (!good(t, key, rest)) {
            return sk_fail(error, SK_BAD_TABLE, i);
        }
    }
    /* Fewer empty slots than that, and a search might not end. */
    if (used != sk_used(&map->used) || used > map->room) {
        return sk_fail(error, SK_BAD_TABLE, map->mask + 1);
    }
    return SK_OK;
}

int sk_tables_check(const sk_tables *t, sk_error *error) {
    if (t == NULL) {
        return sk_fail(error, SK_BAD_ARGUMENT, 0);
    }
    if (sk_used(&t->positions_used) > t->limits.positions || sk_used(&t->heads_used) > t->limits.heads ||
        sk_used(&t->facts_used) > t->limits.facts || sk_used(&t->steps_used) > t->limits.steps ||
        sk_used(&t->decisions_used) > t->limits.decisions) {
        return sk_fail(error, SK_BAD_TABLE, 0);
    }
    int status = check_moves(t, error);
    status = status != SK_OK ? status : check_facts(t, error);
    status = status != SK_OK ? status : check_heads(t, error);
    status = status != SK_OK ? status : check_map(t, &t->sparse, good_sparse, error);
    status = status != SK_OK ? status : check_map(t, &t->splits, good_split, error);
    status = status != SK_OK ? status : check_map(t, &t->cuts, good_cut, error);
    return status != SK_OK ? status : check_map(t, &t->decided, good_decision, error);
}
