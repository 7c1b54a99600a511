/* map.c - hash maps of fixed capacity that only grow: see "slot" in statekeep.h. */
#include "internal.h"

#include <stdlib.h>

int sk_map_init(sk_map *map, uint32_t room, uint64_t *reserved) {
    uint64_t slots = 2; /* never full, so that a search ends */
    while (slots < (uint64_t)room * 2) {
        slots *= 2;
    }
    map->slots = sk_allocate(slots, sizeof(sk_slot));
    if (map->slots == NULL) {
        return SK_NO_MEMORY;
    }
    map->mask = slots - 1;
    map->room = room;
    *reserved += slots * sizeof(sk_slot);
    return SK_OK;
}

void sk_map_release(sk_map *map) {
    free(map->slots);
}

int sk_map_add(sk_map *map, uint64_t key, uint32_t third, int triple, uint64_t rest) {
    uint64_t there = sk_map_find(map, key, third, triple);
    if (there != 0) {
        return there == rest ? SK_OK : SK_CONFLICT;
    }
    uint32_t used = sk_used(&map->used);
    if (used == map->room) {
        return SK_FULL;
    }
    uint64_t i = sk_hash(key, third) & map->mask;
    while (sk_load(&map->slots[i].rest) != 0) {
        i = (i + 1) & map->mask;
    }
    atomic_store_explicit(&map->slots[i].key, key, memory_order_relaxed);
    sk_publish(&map->slots[i].rest, rest);
    atomic_store_explicit(&map->used, used + 1, memory_order_release);
    return SK_OK;
}
