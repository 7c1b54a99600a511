/* check.c: each kind of stored index, spoilt one at a time, is found, and named. */
#include "check.h"

static sk_tables *filled(uint32_t erase) {
    sk_tables *t = small_tables(erase, 3);
    CHECK(sk_add_position(t, 3, 3, 1) == SK_OK);
    CHECK(sk_add_decided_head(t, 1, 4) == SK_OK);
    CHECK(sk_add_move(t, 0, 1, 2, 3) == SK_OK);
    CHECK(sk_add_move(t, 1, 1, 0, SK_SPLIT) == SK_OK);
    CHECK(sk_add_move(t, 0, 50, 2, 3) == SK_OK);
    CHECK(erase || sk_add_split(t, 1, 0, 1, 2) == SK_OK);
    CHECK(sk_add_fact(t, 0, 3, 2, 0) == SK_OK);
    CHECK(sk_add_fact(t, 0, 2, 2, 1) == SK_OK);
    CHECK(sk_add_cut(t, 2, 1, 0) == SK_OK);
    CHECK(sk_add_decision(t, 2, 2, 0, 5) == SK_OK);
    CHECK(sk_tables_check(t, NULL) == SK_OK);
    return t;
}

/* With the word changed the check must fail and name the place; with the word back it must pass. */
static void spoil(sk_tables *t, sk_word *word, uint64_t value, uint64_t index) {
    sk_error error = {0};
    uint64_t good = *word;
    *word = value;
    CHECK(sk_tables_check(t, &error) == SK_BAD_TABLE);
    CHECK(error.status == SK_BAD_TABLE && error.index == index && error.message == sk_message(SK_BAD_TABLE));
    CHECK(sk_tables_check(t, NULL) == SK_BAD_TABLE);
    *word = good;
    CHECK(sk_tables_check(t, NULL) == SK_OK);
}

static void words(uint32_t erase) {
    sk_tables *t = filled(erase);
    uint32_t stride = t->move_stride;
    uint64_t own = t->moves[stride];
    spoil(t, &t->moves[stride], own & ~SK_PLAIN, stride);
    spoil(t, &t->moves[stride], own + 1, stride);                        /* another position's */
    spoil(t, &t->moves[stride], own | (uint64_t)SK_LOOP_LIMIT << 32, stride); /* a loop beyond */
    spoil(t, &t->moves[2], SK_PLAIN | sk_pack(3, 1), 2);                 /* no row begins there */
    spoil(t, &t->moves[2], SK_PLAIN | sk_pack(3, 4 * stride), 2);        /* no such position */
    spoil(t, &t->moves[2], SK_PLAIN | sk_pack(4, stride), 2);            /* a step nobody added */
    spoil(t, &t->moves[2], sk_pack(3, stride), 2);                       /* neither plain nor split */
    spoil(t, &t->moves[3 * stride + 1], SK_PLAIN, 3 * stride + 1);       /* absorbing, and leads away */
    spoil(t, &t->facts[0], 0, 2);                                        /* facts with words, not open */
    spoil(t, &t->facts[0], SK_PLAIN | 1, 0);
    spoil(t, &t->facts[3], SK_PLAIN | 1, 3);
    spoil(t, &t->facts[3], SK_PLAIN | sk_pack(0, 3 * t->fact_stride), 3);
    spoil(t, &t->facts[3], SK_PLAIN | sk_pack(1, 0), 3);                 /* plain with a cut */
    spoil(t, &t->facts[3], sk_pack(0, t->fact_stride), 3);               /* neither */
    spoil(t, &t->facts[3], SK_PLAIN | t->fact_stride, 3);                /* leads to facts not open */
    spoil(t, &t->heads[0], SK_PLAIN | 1, 0);
    spoil(t, &t->heads[0], SK_PLAIN | sk_pack(1, 0), 0);
    spoil(t, &t->heads[0], SK_PLAIN | sk_pack(t->fact_stride, 0), 0);    /* not open */
    spoil(t, &t->heads[1], 6, 1);                                        /* a decision nobody added */
    sk_tables_free(t);
}

/* The only slot in use. */
static uint64_t used_slot(const sk_map *map) {
    uint64_t i = 0;
    while (map->slots[i].rest == 0) {
        i++;
    }
    return i;
}

static void slots(void) {
    sk_tables *t = filled(0);
    uint64_t i = used_slot(&t->sparse);
    sk_slot *slot = &t->sparse.slots[i];
    spoil(t, &slot->key, sk_pack(50, 1), i);
    spoil(t, &slot->key, sk_pack(3, 0), i); /* a dense symbol */
    spoil(t, &slot->key, sk_pack(SK_ID_LIMIT, 0), i);
    spoil(t, &slot->rest, SK_PLAIN | 1, i);
    spoil(t, &slot->rest, 0, i); /* a key without a rest */
    spoil(t, &t->sparse.slots[(i + 1) & t->sparse.mask].key, 5, (i + 1) & t->sparse.mask);

    i = used_slot(&t->splits);
    slot = &t->splits.slots[i];
    spoil(t, &slot->key, 1, i);
    spoil(t, &slot->key, sk_pack(1, 0), i);
    spoil(t, &slot->key, sk_pack(5 * t->fact_stride, 0), i);
    spoil(t, &slot->rest, (uint64_t)1 << 32 | SK_ID_LIMIT, i);
    spoil(t, &slot->rest, (uint64_t)2 << 32, i);

    i = used_slot(&t->cuts);
    slot = &t->cuts.slots[i];
    spoil(t, &slot->key, sk_pack(1, 1), i);
    spoil(t, &slot->key, 0, i); /* cut 0 */
    spoil(t, &slot->key, sk_pack(SK_ID_LIMIT, 0), i);
    spoil(t, &slot->rest, (uint64_t)1 << 32 | 1, i);
    spoil(t, &slot->rest, (uint64_t)2 << 32, i);

    i = used_slot(&t->decided);
    slot = &t->decided.slots[i];
    spoil(t, &slot->key, 1, i);
    spoil(t, &slot->key, sk_pack(1, 0), i);
    spoil(t, &slot->key, sk_pack(5 * t->fact_stride, 0), i);
    spoil(t, &slot->rest, (uint64_t)1 << 32 | 1, i); /* a decided head */
    spoil(t, &slot->rest, (uint64_t)1 << 32 | 2, i); /* no head */
    spoil(t, &slot->rest, (uint64_t)7 << 32, i);

    sk_error error;
    t->decided.used = 2; /* entries that are not there */
    CHECK(sk_tables_check(t, &error) == SK_BAD_TABLE && error.index == t->decided.mask + 1);
    sk_tables_free(t);
}

static void counts(void) {
    sk_tables *t = filled(0);
    _Atomic uint32_t *used[] = {&t->positions_used, &t->heads_used, &t->facts_used, &t->steps_used,
                                &t->decisions_used};
    for (int i = 0; i < 5; i++) {
        uint32_t good = *used[i];
        *used[i] = 100;
        CHECK(sk_tables_check(t, NULL) == SK_BAD_TABLE);
        *used[i] = good;
    }
    CHECK(sk_tables_check(t, NULL) == SK_OK);
    CHECK(sk_tables_check(NULL, NULL) == SK_BAD_ARGUMENT);
    sk_tables_free(t);
}

int main(void) {
    words(0);
    words(1);
    slots();
    counts();
    return 0;
}
