/* route.c - leading traces through the tables: one actor, or a batch. */
#include "internal.h"

#include <string.h>

/* Where a trace has led, or why it stopped. */
enum { GOES_ON = 0, STOP_OPEN = 6, STOP_SYMBOL = 7, STOP_DECIDED = 8 }; /* 1 to 5 are sk_miss_kind */

typedef struct sk_end {
    uint32_t row;
    uint32_t facts; /* a row too */
    uint32_t why;   /* GOES_ON if it led to the end */
    uint32_t a, b, c;
} sk_end;

static uint32_t stop(sk_end *e, uint32_t why, uint32_t a, uint32_t b, uint32_t c) {
    e->why = why;
    e->a = a;
    e->b = b;
    e->c = c;
    return why;
}

/* One symbol in full: whatever the fast loops leave to it. Moves e on and returns GOES_ON, or says in e
 * what is missing. *cut: whether the path was cut here. */
SK_COLD static uint32_t step_slowly(const sk_tables *t, uint32_t symbol, sk_end *e, int *cut) {
    *cut = 0;
    if (symbol >= SK_ID_LIMIT) {
        return stop(e, STOP_SYMBOL, 0, 0, 0);
    }
    uint64_t word = sk_find_move(t, e->row, symbol);
    if (word == 0) {
        return stop(e, SK_MISS_MOVE, sk_row_position(t, e->row), symbol, 0);
    }
    if (!(word & SK_PLAIN)) {
        if (t->limits.erase) {
            return stop(e, STOP_OPEN, 0, 0, 0);
        }
        uint64_t rest = sk_map_find(&t->splits, sk_pack(e->facts, e->row), symbol, 1);
        if (rest == 0) {
            return stop(e, SK_MISS_SPLIT, sk_row_position(t, e->row), sk_row_facts(t, e->facts), symbol);
        }
        e->row = sk_value(rest);
        e->facts = 0;
        return GOES_ON;
    }
    uint32_t next = sk_low(word);
    uint32_t step = sk_mid(word);
    uint64_t fact = step == 0 ? SK_PLAIN | e->facts : sk_load(&t->facts[(size_t)e->facts + step]);
    if (fact == 0) {
        return stop(e, SK_MISS_FACT, sk_row_facts(t, e->facts), step, 0);
    }
    if (!(fact & SK_PLAIN)) {
        uint64_t rest = sk_map_find(&t->cuts, sk_pack(sk_mid(fact), next), 0, 0);
        if (rest == 0) {
            return stop(e, SK_MISS_CUT, sk_row_position(t, next), sk_mid(fact), 0);
        }
        next = sk_value(rest);
        *cut = 1;
    }
    e->row = next;
    e->facts = sk_low(fact);
    return GOES_ON;
}

/* `loops: keep`: two chains of loads, positions and facts, that hardly wait for each other. Step 0 is no
 * special case: its column leads back to the same facts. */
SK_INLINE void walk_keep(const sk_tables *t, const uint32_t *symbol, const uint32_t *end, sk_end *e) {
    const sk_word *moves = t->moves + 1;
    const sk_word *facts = t->facts;
    const uint32_t dense = t->symbols;
    uint32_t row = e->row;
    uint32_t known = e->facts;
    for (; symbol != end; symbol++) {
        uint32_t here = *symbol; /* read once: what was compared is what is used */
        if (SK_LIKELY(here < dense)) {
            uint64_t move = sk_load(&moves[(size_t)row + here]);
            if (SK_LIKELY(move & SK_PLAIN)) {
                uint64_t fact = sk_load(&facts[(size_t)known + sk_mid(move)]);
                if (SK_LIKELY(fact & SK_PLAIN)) {
                    row = sk_low(move);
                    known = sk_low(fact);
                    continue;
                }
            }
        }
        int cut;
        e->row = row;
        e->facts = known;
        if (step_slowly(t, here, e, &cut) != GOES_ON) {
            return;
        }
        row = e->row;
        known = e->facts;
    }
    e->row = row;
    e->facts = known;
}

/* `loops: erase`: the same, with the stack of apv.md section 3. Whether a loop is on the stack is a single
 * branch on purpose, which `|` keeps in one piece where && and & are taken apart: what an earlier trace left
 * in mark is at random above or below top, and a branch of its own on that cost a third of the time. mark
 * holds depths only, so stack[depth] is always memory of the stack. */
SK_INLINE void walk_erase(const sk_tables *t, sk_scratch *scratch, const uint32_t *symbol,
                          const uint32_t *end, sk_end *e) {
    const sk_word *moves = t->moves;
    const sk_word *facts = t->facts;
    const uint32_t dense = t->symbols;
    uint32_t *mark = scratch->mark;
    sk_frame *stack = scratch->stack;
    uint32_t row = e->row;
    uint32_t known = e->facts;
    uint32_t loop = sk_loop(sk_load(&moves[row]));
    uint32_t top = 0; /* of the last frame */
    stack[0] = (sk_frame){loop, row};
    mark[loop] = 0;
    for (; symbol != end; symbol++) {
        uint32_t here = *symbol;
        int cut = 0;
        uint64_t move, fact;
        if (SK_LIKELY(here < dense) &&
            SK_LIKELY((move = sk_load(&moves[(size_t)row + 1 + here])) & SK_PLAIN) &&
            SK_LIKELY((fact = sk_load(&facts[(size_t)known + sk_mid(move)])) & SK_PLAIN)) {
            row = sk_low(move);
            known = sk_low(fact);
        } else {
            e->row = row;
            e->facts = known;
            if (step_slowly(t, here, e, &cut) != GOES_ON) {
                return;
            }
            row = e->row;
            known = e->facts;
        }
        loop = sk_loop(sk_load(&moves[row]));
        if (SK_UNLIKELY(cut)) {
            top = 0;
        } else if (loop == stack[top].loop) {
            stack[top].row = row;
            continue;
        } else {
            uint32_t depth = mark[loop];
            sk_frame f = stack[depth];
            if (((f.loop ^ loop) | (depth > top)) == 0) {
                top = depth;
                row = f.row;
                continue;
            }
            top++;
        }
        stack[top] = (sk_frame){loop, row};
        mark[loop] = top;
    }
    e->row = row;
    e->facts = known;
}

/* The decision at an end, or 0 and the miss in e. */
SK_INLINE uint64_t find_decision(const sk_tables *t, uint32_t head, const sk_end *e) {
    return sk_map_find(&t->decided, sk_pack(e->facts, e->row), head, 1);
}

/* ---- one actor ----------------------------------------------------------------------------------------- */

int sk_route_one(const sk_tables *t, sk_scratch *scratch, const uint32_t *symbols, uint64_t count,
                 uint32_t head, uint32_t *decision) {
    if (decision == NULL) {
        return SK_BAD_ARGUMENT;
    }
    *decision = SK_PENDING;
    if (t == NULL || (symbols == NULL && count != 0) ||
        (t->limits.erase && (scratch == NULL || scratch->loops < t->limits.loops))) {
        return SK_BAD_ARGUMENT;
    }
    if (head >= sk_used(&t->heads_used)) {
        return SK_BAD_HEAD;
    }
    uint64_t word = sk_load(&t->heads[head]);
    if (!(word & SK_PLAIN)) {
        *decision = sk_low(word);
        return SK_OK;
    }
    sk_end e = {.row = sk_low(word), .facts = sk_mid(word)};
    if (count != 0) {
        if (t->limits.erase) {
            walk_erase(t, scratch, symbols, symbols + count, &e);
        } else {
            walk_keep(t, symbols, symbols + count, &e);
        }
    }
    if (e.why == GOES_ON) {
        uint64_t rest = find_decision(t, head, &e);
        if (rest != 0) {
            *decision = sk_value(rest);
        }
    } else if (e.why == STOP_OPEN) {
        *decision = SK_OPEN;
    } else if (e.why == STOP_SYMBOL) {
        return SK_BAD_SYMBOL;
    }
    return SK_OK;
}

/* ---- a batch ------------------------------------------------------------------------------------------- */

/* Traces are walked a block at a time, and then the block's decisions are looked up: a look-up that guessed
 * its branch wrongly does not throw away the next trace's loads. Measured with tests/bench.c, this is worth
 * a fifth where decisions are many. Walking several traces in turns, or by length, is not worth its code:
 * without it a processor already overlaps traces, whose lengths it knows long before their ends. */
enum { BLOCK = 64 };

typedef struct sk_walk {
    const uint32_t *symbol;
    const uint32_t *end;
    uint64_t actor;
    uint32_t head;
    sk_end at;
} sk_walk;

/* Whether the miss is recorded; 0 if there is no room for it. */
static int record_miss(sk_scratch *scratch, const sk_batch *b, sk_result *r, const sk_miss *miss) {
    if (r->misses == 0) {
        memset(scratch->index, 0, ((size_t)scratch->index_mask + 1) * sizeof *scratch->index);
    }
    uint32_t *slot;
    for (uint64_t i = sk_hash(sk_pack(miss->kind, miss->a), miss->b ^ miss->c << 16);; i++) {
        slot = &scratch->index[i & scratch->index_mask];
        if (*slot == 0) {
            break;
        }
        const sk_miss *known = &b->misses[*slot - 1];
        if (known->kind == miss->kind && known->a == miss->a && known->b == miss->b && known->c == miss->c) {
            return 1;
        }
    }
    if (r->misses == b->miss_room) {
        return 0;
    }
    b->misses[r->misses++] = *miss;
    *slot = r->misses;
    return 1;
}

/* Collects the next SK_PENDING slots from *next on. Each offset is read once, checked, and not read again.
 * Returns SK_OK, or what is wrong with actor *next. */
static int collect(const sk_batch *b, const uint32_t *symbols, uint32_t heads, uint64_t *next, sk_walk *walks,
                   uint32_t *size) {
    uint32_t n = 0;
    uint64_t i = *next;
    int status = SK_OK;
    for (; i < b->actors && n < BLOCK; i++) {
        if (b->decisions[i] != SK_PENDING) {
            continue;
        }
        uint64_t from = b->offsets[i];
        uint64_t to = b->offsets[i + 1];
        uint32_t head = b->heads[i];
        if (SK_UNLIKELY(from > to || to > b->symbol_count)) {
            status = SK_BAD_OFFSET;
            break;
        }
        if (SK_UNLIKELY(head >= heads)) {
            status = SK_BAD_HEAD;
            break;
        }
        walks[n].symbol = symbols + from;
        walks[n].end = symbols + to;
        walks[n].actor = i;
        walks[n].head = head;
        n++;
    }
    *size = n;
    *next = i;
    return status;
}

static void walk_block(const sk_tables *t, sk_scratch *scratch, sk_walk *walks, uint32_t size) {
    for (uint32_t k = 0; k < size; k++) {
        sk_walk *w = &walks[k];
        uint64_t head = sk_load(&t->heads[w->head]);
        w->at.row = sk_low(head);
        w->at.facts = sk_mid(head);
        w->at.why = GOES_ON;
        if (SK_UNLIKELY(!(head & SK_PLAIN))) {
            w->at.why = STOP_DECIDED;
        } else if (t->limits.erase) {
            walk_erase(t, scratch, w->symbol, w->end, &w->at);
        } else {
            walk_keep(t, w->symbol, w->end, &w->at);
        }
    }
}

/* Writes what became of a block's actors, in order. Returns how many it got through: fewer than size where a
 * symbol is malformed, or a miss found no room. */
static uint32_t settle_block(const sk_tables *t, sk_scratch *scratch, const sk_batch *b, sk_walk *walks,
                             uint32_t size, sk_result *r) {
    for (uint32_t k = 0; k < size; k++) {
        sk_walk *w = &walks[k];
        uint32_t decision = w->at.row;
        if (SK_LIKELY(w->at.why == GOES_ON)) {
            uint64_t rest = find_decision(t, w->head, &w->at);
            decision = sk_value(rest);
            if (SK_UNLIKELY(rest == 0)) {
                stop(&w->at, SK_MISS_DECISION, sk_row_position(t, w->at.row), sk_row_facts(t, w->at.facts),
                     w->head);
            }
        }
        switch (w->at.why) {
        case GOES_ON:
        case STOP_DECIDED:
            b->decisions[w->actor] = decision;
            b->counts[decision]++;
            r->decided++;
            break;
        case STOP_OPEN:
            b->decisions[w->actor] = SK_OPEN;
            r->open++;
            break;
        case STOP_SYMBOL:
            return k;
        default: {
            sk_miss miss = {w->at.why, w->at.a, w->at.b, w->at.c, w->actor};
            if (!record_miss(scratch, b, r, &miss)) {
                return k;
            }
        }
        }
    }
    return size;
}

static int fits(const sk_tables *t, const sk_scratch *s, const sk_batch *b) {
    if (t == NULL || s == NULL || b == NULL) {
        return 0;
    }
    if (b->actors != 0 && (b->offsets == NULL || b->heads == NULL || b->decisions == NULL)) {
        return 0;
    }
    if (b->counts == NULL || b->count_room < t->limits.decisions ||
        (b->symbol_count != 0 && b->symbols == NULL)) {
        return 0;
    }
    if ((b->miss_room != 0 && b->misses == NULL) || b->miss_room > s->miss_room) {
        return 0;
    }
    return !t->limits.erase || s->loops >= t->limits.loops;
}

static int finish(const sk_batch *b, sk_result *r, int status, uint64_t index) {
    r->status = status;
    r->message = sk_message(status);
    r->index = index;
    for (uint64_t i = 0; b != NULL && i < b->actors; i++) {
        r->pending += b->decisions[i] == SK_PENDING;
    }
    return status;
}

int sk_route(const sk_tables *t, sk_scratch *scratch, const sk_batch *b, sk_result *r) {
    static const uint32_t nothing[1] = {0};
    sk_walk walks[BLOCK];
    if (r == NULL) {
        return SK_BAD_ARGUMENT;
    }
    *r = (sk_result){0};
    if (!fits(t, scratch, b)) {
        return finish(NULL, r, SK_BAD_ARGUMENT, 0);
    }
    const uint32_t *symbols = b->symbol_count == 0 ? nothing : b->symbols;
    const uint32_t heads = sk_used(&t->heads_used);
    for (uint64_t next = 0; next < b->actors;) {
        uint32_t size;
        int status = collect(b, symbols, heads, &next, walks, &size);
        walk_block(t, scratch, walks, size);
        uint32_t settled = settle_block(t, scratch, b, walks, size, r);
        if (settled < size) {
            uint64_t actor = walks[settled].actor;
            if (walks[settled].at.why == STOP_SYMBOL) {
                return finish(b, r, SK_BAD_SYMBOL, actor);
            }
            r->full = 1;
            return finish(b, r, SK_OK, actor);
        }
        if (status != SK_OK) {
            return finish(b, r, status, next);
        }
    }
    return finish(b, r, SK_OK, b->actors);
}
