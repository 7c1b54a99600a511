/* internal.h - what the .c files share: how words are packed (drawn in statekeep.h), and the tables
 * themselves. */
#ifndef STATEKEEP_INTERNAL_H
#define STATEKEEP_INTERNAL_H

#include "statekeep.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define SK_LIKELY(x) __builtin_expect(!!(x), 1)
#define SK_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define SK_COLD __attribute__((noinline, cold))
#define SK_INLINE static inline __attribute__((always_inline))
#else
#define SK_LIKELY(x) (x)
#define SK_UNLIKELY(x) (x)
#define SK_COLD
#define SK_INLINE static inline
#endif

/* ---- words --------------------------------------------------------------------------------------------- */

typedef _Atomic uint64_t sk_word;

#define SK_PLAIN (UINT64_C(1) << 63)
#define SK_ABSORBING (UINT64_C(1) << 62)
#define SK_LOOP_LIMIT 0x3fffffffu
#define SK_MAP_LIMIT (UINT32_C(1) << 30)

/* Every reader loads with acquire: what was written before the word was published (the row it leads to) is
 * then visible too. On x86 such a load is an ordinary one. */
SK_INLINE uint64_t sk_load(const sk_word *word) {
    return atomic_load_explicit(word, memory_order_acquire);
}

SK_INLINE void sk_publish(sk_word *word, uint64_t value) {
    atomic_store_explicit(word, value, memory_order_release);
}

SK_INLINE uint32_t sk_low(uint64_t word) {
    return (uint32_t)(word & 0xffffffffu);
}

/* The 31 bits above the low half: a step, a cut, or the facts of a head. */
SK_INLINE uint32_t sk_mid(uint64_t word) {
    return (uint32_t)(word >> 32) & 0x7fffffffu;
}

SK_INLINE uint64_t sk_pack(uint32_t mid, uint32_t low) {
    return (uint64_t)mid << 32 | low;
}

/* The loop of a position's own word. */
SK_INLINE uint32_t sk_loop(uint64_t own) {
    return (uint32_t)(own >> 32) & SK_LOOP_LIMIT;
}

/* ---- hash maps ----------------------------------------------------------------------------------------- */

typedef struct sk_slot {
    sk_word key;
    sk_word rest; /* published last; 0: empty */
} sk_slot;

typedef struct sk_map {
    sk_slot *slots;
    uint64_t mask; /* number of slots - 1 */
    uint32_t room; /* how many entries may be added: at most half of the slots */
    _Atomic uint32_t used;
} sk_map;

SK_INLINE uint64_t sk_hash(uint64_t key, uint32_t third) {
    uint64_t h = key + third * UINT64_C(0x9e3779b97f4a7c15);
    h ^= h >> 32;
    h *= UINT64_C(0xd6e8feb86659fd93);
    h ^= h >> 32;
    return h;
}

/* The rest of the slot with this key, or 0. With triple, the low half of the rest is the third id of the
 * key and has to be equal too; without, third is 0 and the rest is all value. Ends because half of the
 * slots are empty. */
SK_INLINE uint64_t sk_map_find(const sk_map *map, uint64_t key, uint32_t third, int triple) {
    for (uint64_t i = sk_hash(key, third) & map->mask;; i = (i + 1) & map->mask) {
        uint64_t rest = sk_load(&map->slots[i].rest);
        if (rest == 0) {
            return 0;
        }
        if (atomic_load_explicit(&map->slots[i].key, memory_order_relaxed) == key &&
            (!triple || sk_low(rest) == third)) {
            return rest;
        }
    }
}

/* Value of a triple's rest. The stored half is value + 1, so that no rest is 0. */
SK_INLINE uint32_t sk_value(uint64_t rest) {
    return (uint32_t)(rest >> 32) - 1;
}

int sk_map_init(sk_map *map, uint32_t room, uint64_t *reserved);
void sk_map_release(sk_map *map);

/* SK_OK (also if there with the same rest), SK_CONFLICT or SK_FULL. */
int sk_map_add(sk_map *map, uint64_t key, uint32_t third, int triple, uint64_t rest);

/* ---- tables -------------------------------------------------------------------------------------------- */

struct sk_tables {
    /* Read for every symbol. */
    sk_word *moves;
    sk_word *facts;
    uint32_t symbols;
    uint32_t move_stride;
    uint32_t fact_stride;

    /* Read once per actor, or rarely. */
    sk_word *heads;
    sk_map decided; /* row | facts row << 32, head   -> decision */
    sk_map sparse;  /* row | symbol << 32            -> a move's word */
    sk_map splits;  /* row | facts row << 32, symbol -> row */
    sk_map cuts;    /* row | cut << 32, 0            -> row */

    sk_limits limits;
    uint64_t reserved;

    /* How far they are filled; written by the adding thread only. */
    _Atomic uint32_t positions_used;
    _Atomic uint32_t heads_used;
    _Atomic uint32_t facts_used;
    _Atomic uint32_t steps_used;
    _Atomic uint32_t decisions_used;
};

SK_INLINE uint32_t sk_position_row(const sk_tables *t, uint32_t position) {
    return position * t->move_stride; /* below 2^32 by sk_tables_new */
}

SK_INLINE uint32_t sk_facts_row(const sk_tables *t, uint32_t facts) {
    return facts * t->fact_stride; /* below 2^31 by sk_tables_new */
}

SK_INLINE uint32_t sk_row_position(const sk_tables *t, uint32_t row) {
    return row / t->move_stride;
}

SK_INLINE uint32_t sk_row_facts(const sk_tables *t, uint32_t row) {
    return row / t->fact_stride;
}

SK_INLINE uint32_t sk_used(const _Atomic uint32_t *used) {
    return atomic_load_explicit(used, memory_order_acquire);
}

/* The word of move(row, symbol), dense or sparse or by absorption; 0 if missing. symbol < SK_ID_LIMIT. */
uint64_t sk_find_move(const sk_tables *t, uint32_t row, uint32_t symbol);

/* ---- working memory ------------------------------------------------------------------------------------ */

typedef struct sk_frame {
    uint32_t loop;
    uint32_t row;
} sk_frame;

/* A sparse set: loop l stands at depth mark[l] if mark[l] < top and stack[mark[l]].loop == l. Whatever an
 * earlier actor left in mark fails that test, so nothing is cleared between actors. Each loop is on the
 * stack at most once, so `loops` frames are enough. */
struct sk_scratch {
    uint32_t loops; /* 0: made for keep mode */
    uint32_t *mark;
    sk_frame *stack;

    uint32_t miss_room;
    uint32_t index_mask;
    uint32_t *index; /* open addressing over the batch's misses: number of the miss + 1, or 0 */
};

/* ---- memory -------------------------------------------------------------------------------------------- */

/* calloc, or NULL where count * size does not fit. Tests replace it to make any allocation fail. */
void *sk_allocate(uint64_t count, uint64_t size);

#ifdef SK_TEST
extern int64_t sk_test_allocations_left; /* negative: no bound */
#endif

SK_INLINE int sk_fail(sk_error *error, int status, uint64_t index) {
    if (error != NULL) {
        error->status = status;
        error->message = sk_message(status);
        error->index = index;
    }
    return status;
}

#endif
