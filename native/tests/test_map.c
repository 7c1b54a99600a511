/* map.c: finding what was added, conflicts, the bound, and keys that crowd one place. */
#include "check.h"

static void pairs_and_triples(void) {
    sk_map map = {0};
    uint64_t reserved = 0;
    CHECK(sk_map_init(&map, 4, &reserved) == SK_OK);
    CHECK(reserved == 8 * sizeof(sk_slot));
    CHECK(sk_map_find(&map, 7, 0, 0) == 0);
    CHECK(sk_map_add(&map, 7, 0, 0, 99) == SK_OK);
    CHECK(sk_map_add(&map, 7, 0, 0, 99) == SK_OK);
    CHECK(sk_map_add(&map, 7, 0, 0, 98) == SK_CONFLICT);
    CHECK(sk_map_find(&map, 7, 0, 0) == 99);
    sk_map_release(&map);

    map = (sk_map){0};
    CHECK(sk_map_init(&map, 4, &reserved) == SK_OK);
    for (uint32_t third = 0; third < 4; third++) {
        CHECK(sk_map_add(&map, 7, third, 1, (uint64_t)(third + 1) << 32 | third) == SK_OK);
    }
    for (uint32_t third = 0; third < 4; third++) {
        CHECK(sk_value(sk_map_find(&map, 7, third, 1)) == third);
    }
    CHECK(sk_map_find(&map, 7, 4, 1) == 0);
    CHECK(sk_map_add(&map, 7, 4, 1, (uint64_t)1 << 32 | 4) == SK_FULL);
    CHECK(sk_map_add(&map, 7, 3, 1, (uint64_t)4 << 32 | 3) == SK_OK); /* there already: not full */
    CHECK(sk_used(&map.used) == 4);
    sk_map_release(&map);
}

static void no_room(void) {
    sk_map map = {0};
    uint64_t reserved = 0;
    CHECK(sk_map_init(&map, 0, &reserved) == SK_OK);
    CHECK(sk_map_find(&map, 0, 0, 0) == 0);
    CHECK(sk_map_add(&map, 0, 0, 0, 1) == SK_FULL);
    sk_map_release(&map);
    sk_test_allocations_left = 0;
    CHECK(sk_map_init(&map, 4, &reserved) == SK_NO_MEMORY);
    sk_test_allocations_left = -1;
}

/* Full to the brim, with the regular keys that ids make: everything is found, nothing else is. */
static void many(void) {
    enum { ROOM = 20000 };
    sk_map map = {0};
    uint64_t reserved = 0;
    CHECK(sk_map_init(&map, ROOM, &reserved) == SK_OK);
    for (uint32_t i = 0; i < ROOM; i++) {
        CHECK(sk_map_add(&map, sk_pack(i % 100 * 13, i / 100 * 13), 0, 0, (uint64_t)(i + 1) << 32) == SK_OK);
    }
    uint64_t longest = 0;
    for (uint32_t i = 0; i < ROOM; i++) {
        CHECK(sk_value(sk_map_find(&map, sk_pack(i % 100 * 13, i / 100 * 13), 0, 0)) == i);
        CHECK(sk_map_find(&map, sk_pack(i % 100 * 13 + 1, i / 100 * 13), 0, 0) == 0);
    }
    uint64_t length = 0;
    for (uint64_t i = 0; i <= map.mask; i++) {
        length = sk_load(&map.slots[i].rest) == 0 ? 0 : length + 1;
        longest = length > longest ? length : longest;
    }
    CHECK(longest < 200); /* the hash spreads them */
    sk_map_release(&map);
}

int main(void) {
    pairs_and_triples();
    no_room();
    many();
    return 0;
}
