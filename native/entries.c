/* entries.c - adding entries and looking them up, one at a time. */
#include "internal.h"

static void raise_to(_Atomic uint32_t *used, uint32_t least) {
    if (sk_used(used) < least) {
        atomic_store_explicit(used, least, memory_order_release);
    }
}

static int has_position(const sk_tables *t, uint32_t position) {
    return position < sk_used(&t->positions_used);
}

/* Whether the head exists and is routed. */
static int is_routed(const sk_tables *t, uint32_t head) {
    return head < sk_used(&t->heads_used) && (sk_load(&t->heads[head]) & SK_PLAIN) != 0;
}

/* Makes facts usable under step 0, before any word leads to them. */
static void open_facts(sk_tables *t, uint32_t facts) {
    uint32_t row = sk_facts_row(t, facts);
    sk_publish(&t->facts[row], SK_PLAIN | row);
    raise_to(&t->facts_used, facts + 1);
}

static int put_word(sk_word *word, uint64_t value) {
    uint64_t there = sk_load(word);
    if (there != 0) {
        return there == value ? SK_OK : SK_CONFLICT;
    }
    sk_publish(word, value);
    return SK_OK;
}

/* ---- adding -------------------------------------------------------------------------------------------- */

int sk_add_position(sk_tables *t, uint32_t position, uint32_t loop, int absorbing) {
    uint32_t used = sk_used(&t->positions_used);
    if (position != used) {
        return SK_BAD_POSITION;
    }
    if (position >= t->limits.positions || (t->limits.erase && loop >= t->limits.loops)) {
        return SK_FULL;
    }
    uint32_t row = sk_position_row(t, position);
    uint64_t own = SK_PLAIN | sk_pack(t->limits.erase ? loop : 0, position);
    if (absorbing) {
        own |= SK_ABSORBING;
        for (uint32_t symbol = 0; symbol < t->symbols; symbol++) {
            sk_publish(&t->moves[(size_t)row + 1 + symbol], SK_PLAIN | row);
        }
    }
    sk_publish(&t->moves[row], own);
    atomic_store_explicit(&t->positions_used, used + 1, memory_order_release);
    return SK_OK;
}

static int add_head(sk_tables *t, uint32_t head, uint64_t word) {
    sk_publish(&t->heads[head], word);
    atomic_store_explicit(&t->heads_used, head + 1, memory_order_release);
    return SK_OK;
}

int sk_add_head(sk_tables *t, uint32_t head, uint32_t position, uint32_t facts) {
    if (head != sk_used(&t->heads_used)) {
        return SK_BAD_HEAD;
    }
    if (head >= t->limits.heads || facts >= t->limits.facts) {
        return SK_FULL;
    }
    if (!has_position(t, position)) {
        return SK_BAD_POSITION;
    }
    open_facts(t, facts);
    return add_head(t, head, SK_PLAIN | sk_pack(sk_facts_row(t, facts), sk_position_row(t, position)));
}

int sk_add_decided_head(sk_tables *t, uint32_t head, uint32_t decision) {
    if (head != sk_used(&t->heads_used)) {
        return SK_BAD_HEAD;
    }
    if (head >= t->limits.heads || decision >= t->limits.decisions) {
        return SK_FULL;
    }
    raise_to(&t->decisions_used, decision + 1);
    return add_head(t, head, decision);
}

int sk_add_move(sk_tables *t, uint32_t position, uint32_t symbol, uint32_t next, uint32_t step) {
    if (!has_position(t, position) || (step != SK_SPLIT && !has_position(t, next))) {
        return SK_BAD_POSITION;
    }
    if (symbol >= SK_ID_LIMIT) {
        return SK_BAD_SYMBOL;
    }
    if (step != SK_SPLIT && step >= t->limits.steps) {
        return SK_FULL;
    }
    uint32_t row = sk_position_row(t, position);
    uint64_t word =
        step == SK_SPLIT ? sk_pack(SK_SPLIT, 0) : SK_PLAIN | sk_pack(step, sk_position_row(t, next));
    int status = SK_OK;
    if (symbol < t->symbols) {
        status = put_word(&t->moves[(size_t)row + 1 + symbol], word);
    } else if (sk_load(&t->moves[row]) & SK_ABSORBING) {
        status = word == (SK_PLAIN | row) ? SK_OK : SK_CONFLICT;
    } else {
        status = sk_map_add(&t->sparse, sk_pack(symbol, row), 0, 0, word);
    }
    if (status == SK_OK && step != SK_SPLIT) {
        raise_to(&t->steps_used, step + 1);
    }
    return status;
}

int sk_add_split(sk_tables *t, uint32_t position, uint32_t facts, uint32_t symbol, uint32_t next) {
    if (t->limits.erase) {
        return SK_BAD_ARGUMENT;
    }
    if (!has_position(t, position) || !has_position(t, next)) {
        return SK_BAD_POSITION;
    }
    if (facts >= t->limits.facts) {
        return SK_BAD_FACTS;
    }
    if (symbol >= SK_ID_LIMIT) {
        return SK_BAD_SYMBOL;
    }
    uint64_t key = sk_pack(sk_facts_row(t, facts), sk_position_row(t, position));
    uint64_t rest = (uint64_t)(sk_position_row(t, next) + 1) << 32 | symbol;
    return sk_map_add(&t->splits, key, symbol, 1, rest);
}

int sk_add_fact(sk_tables *t, uint32_t facts, uint32_t step, uint32_t next, uint32_t cut) {
    if (step == 0) {
        return SK_BAD_STEP;
    }
    if (cut >= SK_ID_LIMIT) {
        return SK_BAD_CUT;
    }
    if (facts >= t->limits.facts || next >= t->limits.facts || step >= t->limits.steps) {
        return SK_FULL;
    }
    sk_word *word = &t->facts[(size_t)sk_facts_row(t, facts) + step];
    uint64_t value = sk_pack(cut, sk_facts_row(t, next)) | (cut == 0 ? SK_PLAIN : 0);
    if (sk_load(word) != 0) {
        return put_word(word, value);
    }
    open_facts(t, facts);
    open_facts(t, next);
    raise_to(&t->steps_used, step + 1);
    return put_word(word, value);
}

int sk_add_cut(sk_tables *t, uint32_t position, uint32_t cut, uint32_t next) {
    if (!has_position(t, position) || !has_position(t, next)) {
        return SK_BAD_POSITION;
    }
    if (cut == 0 || cut >= SK_ID_LIMIT) {
        return SK_BAD_CUT;
    }
    return sk_map_add(&t->cuts, sk_pack(cut, sk_position_row(t, position)), 0, 0,
                      (uint64_t)(sk_position_row(t, next) + 1) << 32);
}

int sk_add_decision(sk_tables *t, uint32_t position, uint32_t facts, uint32_t head, uint32_t decision) {
    if (!has_position(t, position)) {
        return SK_BAD_POSITION;
    }
    if (facts >= t->limits.facts) {
        return SK_BAD_FACTS;
    }
    if (!is_routed(t, head)) {
        return SK_BAD_HEAD;
    }
    if (decision >= t->limits.decisions) {
        return SK_FULL;
    }
    uint64_t key = sk_pack(sk_facts_row(t, facts), sk_position_row(t, position));
    int status = sk_map_add(&t->decided, key, head, 1, (uint64_t)(decision + 1) << 32 | head);
    if (status == SK_OK) {
        raise_to(&t->decisions_used, decision + 1);
    }
    return status;
}

/* ---- looking up ---------------------------------------------------------------------------------------- */

uint64_t sk_find_move(const sk_tables *t, uint32_t row, uint32_t symbol) {
    if (symbol < t->symbols) {
        return sk_load(&t->moves[(size_t)row + 1 + symbol]);
    }
    if (sk_load(&t->moves[row]) & SK_ABSORBING) {
        return SK_PLAIN | row;
    }
    return sk_map_find(&t->sparse, sk_pack(symbol, row), 0, 0);
}

int sk_get_move(const sk_tables *t, uint32_t position, uint32_t symbol, uint32_t *next, uint32_t *step) {
    if (!has_position(t, position)) {
        return SK_BAD_POSITION;
    }
    if (symbol >= SK_ID_LIMIT) {
        return SK_BAD_SYMBOL;
    }
    uint64_t word = sk_find_move(t, sk_position_row(t, position), symbol);
    if (word == 0) {
        return SK_MISSING;
    }
    *next = sk_row_position(t, sk_low(word));
    *step = sk_mid(word);
    return SK_OK;
}

int sk_get_split(const sk_tables *t, uint32_t position, uint32_t facts, uint32_t symbol, uint32_t *next) {
    if (!has_position(t, position)) {
        return SK_BAD_POSITION;
    }
    if (facts >= t->limits.facts) {
        return SK_BAD_FACTS;
    }
    if (symbol >= SK_ID_LIMIT) {
        return SK_BAD_SYMBOL;
    }
    uint64_t key = sk_pack(sk_facts_row(t, facts), sk_position_row(t, position));
    uint64_t rest = sk_map_find(&t->splits, key, symbol, 1);
    if (rest == 0) {
        return SK_MISSING;
    }
    *next = sk_row_position(t, sk_value(rest));
    return SK_OK;
}

int sk_get_fact(const sk_tables *t, uint32_t facts, uint32_t step, uint32_t *next, uint32_t *cut) {
    if (facts >= t->limits.facts) {
        return SK_BAD_FACTS;
    }
    if (step >= t->limits.steps) {
        return SK_BAD_STEP;
    }
    uint64_t word = step == 0 ? SK_PLAIN | sk_facts_row(t, facts)
                              : sk_load(&t->facts[(size_t)sk_facts_row(t, facts) + step]);
    if (word == 0) {
        return SK_MISSING;
    }
    *next = sk_row_facts(t, sk_low(word));
    *cut = sk_mid(word);
    return SK_OK;
}

int sk_get_cut(const sk_tables *t, uint32_t position, uint32_t cut, uint32_t *next) {
    if (!has_position(t, position)) {
        return SK_BAD_POSITION;
    }
    if (cut == 0 || cut >= SK_ID_LIMIT) {
        return SK_BAD_CUT;
    }
    uint64_t rest = sk_map_find(&t->cuts, sk_pack(cut, sk_position_row(t, position)), 0, 0);
    if (rest == 0) {
        return SK_MISSING;
    }
    *next = sk_row_position(t, sk_value(rest));
    return SK_OK;
}

int sk_get_decision(const sk_tables *t, uint32_t position, uint32_t facts, uint32_t head,
                    uint32_t *decision) {
    if (!has_position(t, position)) {
        return SK_BAD_POSITION;
    }
    if (facts >= t->limits.facts) {
        return SK_BAD_FACTS;
    }
    if (!is_routed(t, head)) {
        return SK_BAD_HEAD;
    }
    uint64_t key = sk_pack(sk_facts_row(t, facts), sk_position_row(t, position));
    uint64_t rest = sk_map_find(&t->decided, key, head, 1);
    if (rest == 0) {
        return SK_MISSING;
    }
    *decision = sk_value(rest);
    return SK_OK;
}
