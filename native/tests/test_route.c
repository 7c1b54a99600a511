/* route.c: one situation at a time; test_random.c does all of them at once. */
#include "check.h"

enum { ROOM = 16 };

/* A batch of up to eight actors with its memory. */
typedef struct run {
    sk_batch batch;
    sk_result result;
    uint32_t symbols[64];
    uint64_t offsets[9];
    uint32_t heads[8];
    uint32_t decisions[8];
    uint64_t counts[7];
    sk_miss misses[ROOM];
    sk_scratch *scratch;
} run;

static void prepare(run *r, const sk_tables *t) {
    memset(r, 0, sizeof *r);
    r->scratch = sk_scratch_new(t, ROOM, NULL);
    CHECK(r->scratch != NULL);
    r->batch = (sk_batch){.symbols = r->symbols, .offsets = r->offsets, .heads = r->heads,
                          .decisions = r->decisions, .counts = r->counts, .count_room = 7,
                          .misses = r->misses,
                          .miss_room = ROOM};
}

/* Appends an actor; symbols end with END. */
static void actor(run *r, uint32_t head, const int64_t *symbols) {
    uint64_t i = r->batch.actors++;
    for (; *symbols >= 0; symbols++) {
        r->symbols[r->batch.symbol_count++] = (uint32_t)*symbols;
    }
    r->offsets[i + 1] = r->batch.symbol_count;
    r->heads[i] = head;
    r->decisions[i] = SK_PENDING;
}

#define END (-1)
#define TRACE(...) ((const int64_t[]){__VA_ARGS__})

static int route(run *r, const sk_tables *t) {
    int status = sk_route(t, r->scratch, &r->batch, &r->result);
    CHECK(status == r->result.status && r->result.message == sk_message(status));
    return status;
}

static void missed(const run *r, uint32_t i, uint32_t kind, uint32_t a, uint32_t b, uint32_t c,
                   uint64_t who) {
    const sk_miss *m = &r->misses[i];
    CHECK(i < r->result.misses);
    CHECK(m->kind == kind && m->a == a && m->b == b && m->c == c && m->actor == who);
}

/* The same decision as in the batch's slot, by the other door. */
static void one_by_one(run *r, const sk_tables *t) {
    for (uint64_t i = 0; i < r->batch.actors; i++) {
        uint32_t decision = 77;
        uint64_t from = r->offsets[i];
        uint64_t n = r->offsets[i + 1] - from;
        CHECK(sk_route_one(t, r->scratch, r->symbols + from, n, r->heads[i], &decision) == SK_OK);
        CHECK(decision == r->decisions[i]);
    }
}

static void release(run *r, sk_tables *t) {
    CHECK(sk_tables_check(t, NULL) == SK_OK);
    sk_scratch_free(r->scratch);
    sk_tables_free(t);
}

/* An empty trace, a decided head, a slot that is not pending, an empty batch. */
static void the_least(void) {
    run r;
    sk_tables *t = small_tables(0, 1);
    CHECK(sk_add_decided_head(t, 1, 6) == SK_OK && sk_add_decided_head(t, 2, 0) == SK_OK);
    prepare(&r, t);
    r.batch.symbols = NULL;
    CHECK(route(&r, t) == SK_OK && r.result.decided == 0 && r.result.pending == 0 && r.result.misses == 0);
    actor(&r, 0, TRACE(END));
    actor(&r, 1, TRACE(END));
    actor(&r, 9, TRACE(END));
    actor(&r, 2, TRACE(END));
    r.decisions[2] = 4; /* decided before: not even its head is looked at */
    CHECK(route(&r, t) == SK_OK && r.result.decided == 2 && r.result.pending == 1 && r.result.misses == 1);
    missed(&r, 0, SK_MISS_DECISION, 0, 0, 0, 0);
    CHECK(r.decisions[0] == SK_PENDING && r.decisions[1] == 6 && r.decisions[2] == 4 && r.decisions[3] == 0);
    CHECK(r.counts[6] == 1 && r.counts[0] == 1 && r.counts[4] == 0);
    CHECK(sk_add_decision(t, 0, 0, 0, 3) == SK_OK);
    CHECK(route(&r, t) == SK_OK && r.result.decided == 1 && r.result.pending == 0 && r.result.misses == 0);
    CHECK(r.decisions[0] == 3 && r.counts[3] == 1 && r.counts[6] == 1);
    release(&r, t);
}

/* Every kind of miss in the order in which one actor meets them, through dense and sparse symbols. */
static void from_miss_to_miss(void) {
    run r;
    sk_tables *t = small_tables(0, 4);
    prepare(&r, t);
    actor(&r, 0, TRACE(1, 70, 2, END));
    actor(&r, 0, TRACE(1, 70, 2, END)); /* the same: each miss is reported once */
    CHECK(route(&r, t) == SK_OK && r.result.misses == 1 && r.result.pending == 2);
    missed(&r, 0, SK_MISS_MOVE, 0, 1, 0, 0);
    CHECK(sk_add_move(t, 0, 1, 1, 3) == SK_OK && route(&r, t) == SK_OK && r.result.misses == 1);
    missed(&r, 0, SK_MISS_FACT, 0, 3, 0, 0);
    CHECK(sk_add_fact(t, 0, 3, 2, 5) == SK_OK && route(&r, t) == SK_OK && r.result.misses == 1);
    missed(&r, 0, SK_MISS_CUT, 1, 5, 0, 0);
    CHECK(sk_add_cut(t, 1, 5, 3) == SK_OK && route(&r, t) == SK_OK && r.result.misses == 1);
    missed(&r, 0, SK_MISS_MOVE, 3, 70, 0, 0);
    CHECK(sk_add_move(t, 3, 70, 0, SK_SPLIT) == SK_OK && route(&r, t) == SK_OK && r.result.misses == 1);
    missed(&r, 0, SK_MISS_SPLIT, 3, 2, 70, 0);
    CHECK(sk_add_split(t, 3, 2, 70, 2) == SK_OK && route(&r, t) == SK_OK && r.result.misses == 1);
    missed(&r, 0, SK_MISS_MOVE, 2, 2, 0, 0);
    CHECK(sk_add_move(t, 2, 2, 1, 0) == SK_OK && route(&r, t) == SK_OK && r.result.misses == 1);
    missed(&r, 0, SK_MISS_DECISION, 1, 0, 0, 0); /* a split leaves facts 0 */
    one_by_one(&r, t);
    CHECK(sk_add_decision(t, 1, 0, 0, 2) == SK_OK && route(&r, t) == SK_OK);
    CHECK(r.result.misses == 0 && r.result.decided == 2 && r.counts[2] == 2);
    one_by_one(&r, t);
    release(&r, t);
}

/* Steps through a dense split and a sparse plain move; step 0 keeps facts; an absorbing position keeps it. */
static void ways_to_move(void) {
    run r;
    sk_tables *t = small_tables(0, 3);
    CHECK(sk_add_position(t, 3, 0, 1) == SK_OK && sk_add_head(t, 1, 3, 2) == SK_OK);
    CHECK(sk_add_move(t, 0, 0, 1, 1) == SK_OK && sk_add_fact(t, 0, 1, 4, 0) == SK_OK);
    CHECK(sk_add_move(t, 1, 1, 2, 0) == SK_OK);
    CHECK(sk_add_move(t, 2, 9, 1, 2) == SK_OK && sk_add_fact(t, 4, 2, 3, 0) == SK_OK);
    CHECK(sk_add_move(t, 1, 2, 0, SK_SPLIT) == SK_OK && sk_add_split(t, 1, 3, 2, 3) == SK_OK);
    CHECK(sk_add_decision(t, 2, 4, 0, 1) == SK_OK && sk_add_decision(t, 1, 3, 0, 2) == SK_OK);
    CHECK(sk_add_decision(t, 3, 0, 0, 3) == SK_OK && sk_add_decision(t, 3, 2, 1, 4) == SK_OK);
    prepare(&r, t);
    actor(&r, 0, TRACE(0, 1, END));
    actor(&r, 0, TRACE(0, 1, 9, END));
    actor(&r, 0, TRACE(0, 1, 9, 2, 0, 1, 2, 3, 9, 1000, END));
    actor(&r, 1, TRACE(0, 9, 3, END));
    CHECK(route(&r, t) == SK_OK && r.result.misses == 0 && r.result.decided == 4);
    for (uint32_t i = 0; i < 4; i++) {
        CHECK(r.decisions[i] == i + 1 && r.counts[i + 1] == 1);
    }
    one_by_one(&r, t);
    release(&r, t);
}

/* Positions 0 .. 4 in a row by symbol 0; symbol 1 back to 1; symbol 2 stays; symbol 3 turns to 5, which is
 * the same source configuration as 2 (loop 2) met on another target side. */
static sk_tables *a_loop(run *r) {
    sk_tables *t = small_tables(1, 5);
    CHECK(sk_add_position(t, 5, 2, 0) == SK_OK);
    for (uint32_t p = 0; p < 5; p++) {
        CHECK(p == 4 || sk_add_move(t, p, 0, p + 1, 0) == SK_OK);
        CHECK(sk_add_move(t, p, 1, 1, 0) == SK_OK);
        CHECK(sk_add_move(t, p, 2, p, 0) == SK_OK);
        CHECK(sk_add_move(t, p, 3, 5, 0) == SK_OK);
    }
    CHECK(sk_add_move(t, 5, 0, 3, 0) == SK_OK && sk_add_move(t, 5, 3, 4, 0) == SK_OK);
    for (uint32_t p = 0; p < 6; p++) {
        CHECK(sk_add_decision(t, p, 0, 0, p) == SK_OK);
    }
    prepare(r, t);
    return t;
}

static void erased_loops(void) {
    run r;
    sk_tables *t = a_loop(&r);
    actor(&r, 0, TRACE(END));
    actor(&r, 0, TRACE(0, 0, 0, 1, END));    /* 3 back to 1, which is on the stack */
    actor(&r, 0, TRACE(0, 0, 0, 1, 0, END)); /* and on from there */
    actor(&r, 0, TRACE(0, 0, 0, 3, END));    /* 5 is loop 2: the position held there is 2 */
    actor(&r, 0, TRACE(3, END));             /* without 2 on the stack it is 5 */
    actor(&r, 0, TRACE(0, 0, 3, END));       /* at the top: replaced, not erased */
    actor(&r, 0, TRACE(0, 0, 3, 0, 3, END)); /* 5 is not a loop of 3; back in loop 2 the stack has 5 */
    actor(&r, 0, TRACE(2, 2, 0, 2, END));    /* steps that stay */
    CHECK(route(&r, t) == SK_OK);
    /* 3 -> 5 by symbol 3, where the stack holds 5 already */
    const uint32_t expected[] = {0, 1, 2, 2, 5, 5, 5, 1};
    for (uint32_t i = 0; i < 8; i++) {
        CHECK(r.decisions[i] == expected[i]);
    }
    one_by_one(&r, t);
    release(&r, t);
}

/* A cut empties the stack: what was on it is no loop any more, and comes back when it is met again. */
static void cut_stack(void) {
    run r;
    sk_tables *t = a_loop(&r);
    CHECK(sk_add_move(t, 0, 40, 2, 1) == SK_OK && sk_add_fact(t, 0, 1, 0, 1) == SK_OK);
    CHECK(sk_add_cut(t, 2, 1, 5) == SK_OK);
    CHECK(sk_add_move(t, 1, 40, 2, 1) == SK_OK && sk_add_move(t, 2, 40, 2, 1) == SK_OK);
    CHECK(sk_add_move(t, 5, 1, 1, 0) == SK_OK);
    actor(&r, 0, TRACE(0, 40, END));          /* cut to 5 */
    actor(&r, 0, TRACE(0, 40, 1, END));       /* 1 is pushed anew */
    actor(&r, 0, TRACE(0, 0, 40, 0, 3, END)); /* cut in the loop at the top; 3, then back to loop 2: 5 */
    actor(&r, 0, TRACE(0, 40, 0, 1, 0, END)); /* 5 3 1, then 2 is loop 2: back to 5 */
    CHECK(route(&r, t) == SK_OK && r.result.misses == 0);
    CHECK(r.decisions[0] == 5 && r.decisions[1] == 1 && r.decisions[2] == 5 && r.decisions[3] == 5);
    one_by_one(&r, t);
    release(&r, t);
}

static void open_slots(void) {
    run r;
    sk_tables *t = a_loop(&r);
    CHECK(sk_add_move(t, 0, 40, 0, SK_SPLIT) == SK_OK && sk_add_move(t, 5, 2, 0, SK_SPLIT) == SK_OK);
    actor(&r, 0, TRACE(40, END));
    actor(&r, 0, TRACE(3, 2, 0, END));
    actor(&r, 0, TRACE(0, END));
    CHECK(route(&r, t) == SK_OK);
    CHECK(r.result.open == 2 && r.result.decided == 1 && r.result.pending == 0 && r.result.misses == 0);
    CHECK(r.decisions[0] == SK_OPEN && r.decisions[1] == SK_OPEN && r.decisions[2] == 1);
    one_by_one(&r, t);
    CHECK(route(&r, t) == SK_OK && r.result.open == 0 && r.decisions[0] == SK_OPEN); /* not routed again */
    release(&r, t);
}

static void full_misses(void) {
    run r;
    sk_tables *t = small_tables(0, 1);
    prepare(&r, t);
    actor(&r, 0, TRACE(0, END));
    actor(&r, 0, TRACE(1, END));
    actor(&r, 0, TRACE(0, END));
    actor(&r, 0, TRACE(2, END));
    actor(&r, 0, TRACE(3, END));
    r.batch.miss_room = 2;
    CHECK(route(&r, t) == SK_OK && r.result.full == 1 && r.result.misses == 2 && r.result.index == 3);
    missed(&r, 0, SK_MISS_MOVE, 0, 0, 0, 0);
    missed(&r, 1, SK_MISS_MOVE, 0, 1, 0, 1);
    CHECK(r.result.pending == 5 && r.misses[2].kind == 0);
    r.batch.miss_room = 4; /* as many as there are: not full */
    CHECK(route(&r, t) == SK_OK && r.result.full == 0 && r.result.misses == 4 && r.result.index == 5);
    r.batch.miss_room = 0;
    r.batch.misses = NULL;
    CHECK(route(&r, t) == SK_OK && r.result.full == 1 && r.result.misses == 0 && r.result.index == 0);
    release(&r, t);
}

/* Three actors, the middle one malformed: the first is decided, the others are left alone. */
static void malformed(void) {
    for (int what = 0; what < 6; what++) {
        run r;
        sk_tables *t = small_tables(0, 1);
        CHECK(sk_add_decision(t, 0, 0, 0, 1) == SK_OK && sk_add_move(t, 0, 0, 0, 0) == SK_OK);
        prepare(&r, t);
        actor(&r, 0, TRACE(0, END));
        actor(&r, 0, TRACE(0, END));
        actor(&r, 0, TRACE(0, END));
        int expected = SK_BAD_OFFSET;
        uint64_t who = 1;
        switch (what) {
        case 0:
            r.symbols[1] = SK_ID_LIMIT;
            expected = SK_BAD_SYMBOL;
            break;
        case 1:
            r.symbols[1] = UINT32_MAX;
            expected = SK_BAD_SYMBOL;
            break;
        case 2:
            r.heads[1] = 1;
            expected = SK_BAD_HEAD;
            break;
        case 3:
            r.heads[1] = UINT32_MAX;
            expected = SK_BAD_HEAD;
            break;
        case 4:
            r.offsets[2] = 0; /* falls */
            break;
        default:
            r.offsets[2] = 4; /* past the end */
        }
        CHECK(route(&r, t) == expected && r.result.index == who);
        CHECK(r.decisions[0] == 1 && r.decisions[1] == SK_PENDING && r.decisions[2] == SK_PENDING);
        CHECK(r.result.decided == 1 && r.result.pending == 2 && r.counts[1] == 1);
        uint32_t decision = 77;
        if (expected != SK_BAD_OFFSET) {
            CHECK(sk_route_one(t, r.scratch, &r.symbols[1], 1, r.heads[1], &decision) == expected);
            CHECK(decision == SK_PENDING);
        }
        release(&r, t);
    }
}

static void arguments(void) {
    run r;
    sk_tables *t = small_tables(0, 1);
    sk_tables *erasing = small_tables(1, 1);
    prepare(&r, t);
    actor(&r, 0, TRACE(0, END));
    CHECK(sk_route(NULL, r.scratch, &r.batch, &r.result) == SK_BAD_ARGUMENT);
    CHECK(r.result.status == SK_BAD_ARGUMENT && r.result.message == sk_message(SK_BAD_ARGUMENT));
    CHECK(sk_route(t, NULL, &r.batch, &r.result) == SK_BAD_ARGUMENT);
    CHECK(sk_route(t, r.scratch, NULL, &r.result) == SK_BAD_ARGUMENT);
    CHECK(sk_route(t, r.scratch, &r.batch, NULL) == SK_BAD_ARGUMENT);
    CHECK(sk_route(erasing, r.scratch, &r.batch, &r.result) == SK_BAD_ARGUMENT); /* a scratch of keep mode */
#define REFUSED(field, value)                               \
    do {                                                    \
        sk_batch good_ = r.batch;                           \
        r.batch.field = (value);                            \
        CHECK(route(&r, t) == SK_BAD_ARGUMENT);             \
        r.batch = good_;                                    \
    } while (0)
    REFUSED(symbols, NULL);
    REFUSED(offsets, NULL);
    REFUSED(heads, NULL);
    REFUSED(decisions, NULL);
    REFUSED(counts, NULL);
    REFUSED(count_room, 6);
    REFUSED(misses, NULL);
    REFUSED(miss_room, ROOM + 1);
    CHECK(r.decisions[0] == SK_PENDING);

    uint32_t decision = 77;
    CHECK(sk_route_one(NULL, NULL, r.symbols, 1, 0, &decision) == SK_BAD_ARGUMENT && decision == SK_PENDING);
    CHECK(sk_route_one(t, NULL, NULL, 1, 0, &decision) == SK_BAD_ARGUMENT);
    CHECK(sk_route_one(t, NULL, r.symbols, 1, 0, NULL) == SK_BAD_ARGUMENT);
    CHECK(sk_route_one(erasing, NULL, r.symbols, 1, 0, &decision) == SK_BAD_ARGUMENT);
    CHECK(sk_route_one(erasing, r.scratch, r.symbols, 1, 0, &decision) == SK_BAD_ARGUMENT);
    CHECK(sk_add_decided_head(t, 1, 5) == SK_OK);
    CHECK(sk_route_one(t, NULL, NULL, 0, 1, &decision) == SK_OK && decision == 5);
    CHECK(sk_route_one(t, NULL, r.symbols, 1, 0, &decision) == SK_OK && decision == SK_PENDING);
    release(&r, t);
    sk_tables_free(erasing);
}

int main(void) {
    the_least();
    from_miss_to_miss();
    ways_to_move();
    erased_loops();
    cut_stack();
    open_slots();
    full_misses();
    malformed();
    arguments();
    return 0;
}
