/* entries.c: what was added is found, and every id is compared with its bound first. */
#include "check.h"

static const uint32_t FAR = UINT32_MAX;

static void positions_and_heads(void) {
    sk_tables *t = small_tables(1, 0);
    CHECK(sk_add_position(t, 1, 0, 0) == SK_BAD_POSITION);
    CHECK(sk_add_head(t, 0, 0, 0) == SK_BAD_POSITION);
    CHECK(sk_add_position(t, 0, 8, 0) == SK_FULL); /* loops */
    for (uint32_t p = 0; p < 8; p++) {
        CHECK(sk_add_position(t, p, 7 - p, 0) == SK_OK);
    }
    CHECK(sk_add_position(t, 8, 0, 0) == SK_FULL);
    CHECK(sk_add_position(t, 3, 0, 0) == SK_BAD_POSITION);
    CHECK(sk_add_head(t, 1, 0, 0) == SK_BAD_HEAD && sk_add_decided_head(t, FAR, 0) == SK_BAD_HEAD);
    CHECK(sk_add_head(t, 0, 0, 5) == SK_FULL && sk_add_decided_head(t, 0, 7) == SK_FULL);
    CHECK(sk_add_head(t, 0, 7, 4) == SK_OK);
    for (uint32_t h = 1; h < 6; h++) {
        CHECK(sk_add_decided_head(t, h, h) == SK_OK);
    }
    CHECK(sk_add_head(t, 6, 0, 0) == SK_FULL && sk_add_decided_head(t, 6, 0) == SK_FULL);
    CHECK(sk_tables_check(t, NULL) == SK_OK);
    sk_tables_free(t);
}

static void moves(void) {
    sk_tables *t = small_tables(0, 3);
    uint32_t next = 77;
    uint32_t step = 77;
    CHECK(sk_add_move(t, 3, 0, 0, 0) == SK_BAD_POSITION && sk_add_move(t, 0, 0, 3, 0) == SK_BAD_POSITION);
    CHECK(sk_add_move(t, FAR, FAR, FAR, FAR) == SK_BAD_POSITION);
    CHECK(sk_add_move(t, 0, SK_ID_LIMIT, 0, 0) == SK_BAD_SYMBOL);
    CHECK(sk_add_move(t, 0, FAR, 0, 0) == SK_BAD_SYMBOL);
    CHECK(sk_add_move(t, 0, 0, 1, 6) == SK_FULL && sk_add_move(t, 0, 0, 1, FAR) == SK_FULL);
    const uint32_t symbols[] = {0, 3, 4, SK_ID_LIMIT - 1};
    for (int i = 0; i < 4; i++) {
        uint32_t s = symbols[i];
        CHECK(sk_get_move(t, 2, s, &next, &step) == SK_MISSING && next == 77 && step == 77);
        CHECK(sk_add_move(t, 2, s, 1, 5) == SK_OK && sk_add_move(t, 2, s, 1, 5) == SK_OK);
        CHECK(sk_add_move(t, 2, s, 0, 5) == SK_CONFLICT && sk_add_move(t, 2, s, 1, SK_SPLIT) == SK_CONFLICT);
        CHECK(sk_get_move(t, 2, s, &next, &step) == SK_OK && next == 1 && step == 5);
        next = step = 77;
    }
    CHECK(sk_add_move(t, 1, 0, FAR, SK_SPLIT) == SK_OK); /* next is ignored */
    CHECK(sk_get_move(t, 1, 0, &next, &step) == SK_OK && next == 0 && step == SK_SPLIT);
    CHECK(sk_add_move(t, 1, 9, FAR, SK_SPLIT) == SK_OK);
    CHECK(sk_get_move(t, 1, 9, &next, &step) == SK_OK && next == 0 && step == SK_SPLIT);
    CHECK(sk_add_move(t, 1, 10, 0, 0) == SK_OK && sk_add_move(t, 1, 11, 0, 0) == SK_FULL);
    CHECK(sk_get_move(t, 3, 0, &next, &step) == SK_BAD_POSITION);
    CHECK(sk_get_move(t, 0, FAR, &next, &step) == SK_BAD_SYMBOL);
    CHECK(sk_tables_check(t, NULL) == SK_OK);
    sk_tables_free(t);
}

static void absorbing(void) {
    sk_tables *t = small_tables(0, 1);
    uint32_t next;
    uint32_t step;
    CHECK(sk_add_position(t, 1, 0, 1) == SK_OK);
    const uint32_t symbols[] = {0, 3, 4, 1000};
    for (int i = 0; i < 4; i++) {
        CHECK(sk_get_move(t, 1, symbols[i], &next, &step) == SK_OK && next == 1 && step == 0);
        CHECK(sk_add_move(t, 1, symbols[i], 1, 0) == SK_OK);
        CHECK(sk_add_move(t, 1, symbols[i], 0, 0) == SK_CONFLICT);
        CHECK(sk_add_move(t, 1, symbols[i], 0, SK_SPLIT) == SK_CONFLICT);
    }
    sk_usage usage;
    CHECK(sk_tables_usage(t, &usage) == SK_OK && usage.sparse == 0);
    CHECK(sk_tables_check(t, NULL) == SK_OK);
    sk_tables_free(t);
}

static void splits(void) {
    sk_tables *t = small_tables(0, 3);
    uint32_t next = 77;
    CHECK(sk_add_split(t, 3, 0, 0, 0) == SK_BAD_POSITION && sk_add_split(t, 0, 0, 0, 3) == SK_BAD_POSITION);
    CHECK(sk_add_split(t, 0, 5, 0, 0) == SK_BAD_FACTS && sk_add_split(t, 0, 0, FAR, 0) == SK_BAD_SYMBOL);
    CHECK(sk_get_split(t, 0, 0, 0, &next) == SK_MISSING && next == 77);
    for (uint32_t facts = 0; facts < 4; facts++) {
        CHECK(sk_add_split(t, 1, facts, 2, facts % 3) == SK_OK);
    }
    CHECK(sk_add_split(t, 1, 3, 2, 0) == SK_OK && sk_add_split(t, 1, 3, 2, 1) == SK_CONFLICT);
    CHECK(sk_add_split(t, 1, 4, 2, 0) == SK_FULL);
    for (uint32_t facts = 0; facts < 4; facts++) {
        CHECK(sk_get_split(t, 1, facts, 2, &next) == SK_OK && next == facts % 3);
    }
    CHECK(sk_get_split(t, 3, 0, 0, &next) == SK_BAD_POSITION);
    CHECK(sk_get_split(t, 0, 5, 0, &next) == SK_BAD_FACTS);
    CHECK(sk_get_split(t, 0, 0, SK_ID_LIMIT, &next) == SK_BAD_SYMBOL);
    CHECK(sk_tables_check(t, NULL) == SK_OK);
    sk_tables_free(t);
    t = small_tables(1, 3);
    CHECK(sk_add_split(t, 0, 0, 0, 0) == SK_BAD_ARGUMENT);
    sk_tables_free(t);
}

static void facts(void) {
    sk_tables *t = small_tables(0, 1);
    uint32_t next = 77;
    uint32_t cut = 77;
    CHECK(sk_add_fact(t, 0, 0, 0, 0) == SK_BAD_STEP);
    CHECK(sk_add_fact(t, 0, 1, 0, SK_ID_LIMIT) == SK_BAD_CUT);
    CHECK(sk_add_fact(t, 5, 1, 0, 0) == SK_FULL && sk_add_fact(t, 0, 1, 5, 0) == SK_FULL);
    CHECK(sk_add_fact(t, 0, 6, 0, 0) == SK_FULL && sk_add_fact(t, FAR, FAR, FAR, 0) == SK_FULL);
    CHECK(sk_get_fact(t, 0, 5, &next, &cut) == SK_MISSING && next == 77 && cut == 77);
    CHECK(sk_get_fact(t, 4, 0, &next, &cut) == SK_OK && next == 4 && cut == 0);
    CHECK(sk_add_fact(t, 0, 5, 4, 0) == SK_OK && sk_add_fact(t, 0, 5, 4, 0) == SK_OK);
    CHECK(sk_add_fact(t, 0, 5, 4, 1) == SK_CONFLICT && sk_add_fact(t, 0, 5, 3, 0) == SK_CONFLICT);
    CHECK(sk_add_fact(t, 4, 1, 0, SK_ID_LIMIT - 1) == SK_OK);
    CHECK(sk_add_fact(t, 4, 1, 0, 0) == SK_CONFLICT);
    CHECK(sk_get_fact(t, 0, 5, &next, &cut) == SK_OK && next == 4 && cut == 0);
    CHECK(sk_get_fact(t, 4, 1, &next, &cut) == SK_OK && next == 0 && cut == SK_ID_LIMIT - 1);
    CHECK(sk_get_fact(t, 5, 0, &next, &cut) == SK_BAD_FACTS);
    CHECK(sk_get_fact(t, 0, 6, &next, &cut) == SK_BAD_STEP);
    CHECK(sk_tables_check(t, NULL) == SK_OK);
    sk_tables_free(t);
}

static void cuts(void) {
    sk_tables *t = small_tables(0, 3);
    uint32_t next = 77;
    CHECK(sk_add_cut(t, 3, 1, 0) == SK_BAD_POSITION && sk_add_cut(t, 0, 1, 3) == SK_BAD_POSITION);
    CHECK(sk_add_cut(t, 0, 0, 0) == SK_BAD_CUT && sk_add_cut(t, 0, SK_ID_LIMIT, 0) == SK_BAD_CUT);
    CHECK(sk_get_cut(t, 0, 1, &next) == SK_MISSING && next == 77);
    for (uint32_t cut = 1; cut < 5; cut++) {
        CHECK(sk_add_cut(t, 2, cut, cut % 3) == SK_OK);
    }
    CHECK(sk_add_cut(t, 2, 1, 1) == SK_OK && sk_add_cut(t, 2, 1, 0) == SK_CONFLICT);
    CHECK(sk_add_cut(t, 2, 5, 0) == SK_FULL);
    for (uint32_t cut = 1; cut < 5; cut++) {
        CHECK(sk_get_cut(t, 2, cut, &next) == SK_OK && next == cut % 3);
    }
    CHECK(sk_get_cut(t, 3, 1, &next) == SK_BAD_POSITION && sk_get_cut(t, 0, 0, &next) == SK_BAD_CUT);
    CHECK(sk_get_cut(t, 0, FAR, &next) == SK_BAD_CUT);
    CHECK(sk_tables_check(t, NULL) == SK_OK);
    sk_tables_free(t);
}

static void decisions(void) {
    sk_tables *t = small_tables(0, 3);
    uint32_t decision = 77;
    CHECK(sk_add_decided_head(t, 1, 6) == SK_OK);
    CHECK(sk_add_decision(t, 3, 0, 0, 0) == SK_BAD_POSITION);
    CHECK(sk_add_decision(t, 0, 5, 0, 0) == SK_BAD_FACTS);
    CHECK(sk_add_decision(t, 0, 0, 1, 0) == SK_BAD_HEAD && sk_add_decision(t, 0, 0, 2, 0) == SK_BAD_HEAD);
    CHECK(sk_add_decision(t, 0, 0, 0, 7) == SK_FULL && sk_add_decision(t, 0, 0, 0, FAR) == SK_FULL);
    CHECK(sk_get_decision(t, 0, 0, 0, &decision) == SK_MISSING && decision == 77);
    for (uint32_t i = 0; i < 8; i++) {
        CHECK(sk_add_decision(t, i % 2, i / 2, 0, i % 7) == SK_OK);
    }
    CHECK(sk_add_decision(t, 1, 3, 0, 0) == SK_OK && sk_add_decision(t, 1, 3, 0, 1) == SK_CONFLICT);
    CHECK(sk_add_decision(t, 2, 0, 0, 0) == SK_FULL);
    for (uint32_t i = 0; i < 8; i++) {
        CHECK(sk_get_decision(t, i % 2, i / 2, 0, &decision) == SK_OK && decision == i % 7);
    }
    CHECK(sk_get_decision(t, 3, 0, 0, &decision) == SK_BAD_POSITION);
    CHECK(sk_get_decision(t, 0, 5, 0, &decision) == SK_BAD_FACTS);
    CHECK(sk_get_decision(t, 0, 0, 1, &decision) == SK_BAD_HEAD);
    CHECK(sk_get_decision(t, 0, 0, 2, &decision) == SK_BAD_HEAD);
    CHECK(sk_tables_check(t, NULL) == SK_OK);
    sk_tables_free(t);
}

int main(void) {
    positions_and_heads();
    moves();
    absorbing();
    splits();
    facts();
    cuts();
    decisions();
    return 0;
}
