/* repeats.c - finding equal hashes with bounded memory: split by range, then sort and compare neighbours. */
#include "internal.h"

int sk_partition(const uint64_t *hashes, uint64_t n, uint64_t base, uint32_t parts, uint32_t part,
                 uint64_t *out_hashes, uint64_t *out_ordinals, uint64_t room, uint64_t *found) {
    if (found == NULL || part >= parts || (n != 0 && hashes == NULL) ||
        (room != 0 && (out_hashes == NULL || out_ordinals == NULL))) {
        return SK_BAD_ARGUMENT;
    }
    uint64_t size = 0;
    for (uint64_t i = 0; i < n; i++) {
        /* The upper half scaled to 0 .. parts - 1. */
        if ((hashes[i] >> 32) * parts >> 32 != part) {
            continue;
        }
        if (size < room) {
            out_hashes[size] = hashes[i];
            out_ordinals[size] = base + i;
        }
        size++;
    }
    *found = size;
    return size > room ? SK_FULL : SK_OK;
}

/* ---- sorting ------------------------------------------------------------------------------------------- */

typedef struct pairs {
    uint64_t *hash;
    uint64_t *ordinal;
} pairs;

enum { DIGITS = 16, LAST_DIGIT = DIGITS - 1, FEW = 24 };

/* Byte `digit` of the pair read as one number of 16 bytes, hash first, most significant byte first. */
static unsigned digit_of(const pairs *p, uint64_t i, int digit) {
    uint64_t word = digit < 8 ? p->hash[i] : p->ordinal[i];
    return (unsigned)(word >> (8 * (7 - digit % 8))) & 0xffu;
}

static void swap(const pairs *p, uint64_t i, uint64_t j) {
    uint64_t hash = p->hash[i];
    uint64_t ordinal = p->ordinal[i];
    p->hash[i] = p->hash[j];
    p->ordinal[i] = p->ordinal[j];
    p->hash[j] = hash;
    p->ordinal[j] = ordinal;
}

static void sort_few(const pairs *p, uint64_t from, uint64_t to) {
    for (uint64_t i = from + 1; i < to; i++) {
        for (uint64_t j = i; j > from; j--) {
            if (p->hash[j - 1] < p->hash[j] ||
                (p->hash[j - 1] == p->hash[j] && p->ordinal[j - 1] <= p->ordinal[j])) {
                break;
            }
            swap(p, j - 1, j);
        }
    }
}

/* In-place radix sort ("American flag", McIlroy, Bostic and McIlroy 1993) from the most significant byte:
 * at most 16 passes over the data and 16 calls deep, for any input. */
static void sort(const pairs *p, uint64_t from, uint64_t to, int digit) {
    if (to - from <= FEW) {
        sort_few(p, from, to);
        return;
    }
    uint64_t next[256] = {0}; /* counts at first; then where each bucket's next element goes */
    uint64_t end[256];
    for (uint64_t i = from; i < to; i++) {
        next[digit_of(p, i, digit)]++;
    }
    uint64_t at = from;
    for (unsigned d = 0; d < 256; d++) {
        uint64_t count = next[d];
        next[d] = at;
        at += count;
        end[d] = at;
    }
    for (unsigned d = 0; d < 256; d++) {
        while (next[d] < end[d]) {
            unsigned belongs = digit_of(p, next[d], digit);
            if (belongs == d) {
                next[d]++;
            } else {
                swap(p, next[d], next[belongs]++);
            }
        }
    }
    if (digit == LAST_DIGIT) {
        return;
    }
    at = from;
    for (unsigned d = 0; d < 256; d++) {
        sort(p, at, end[d], digit + 1);
        at = end[d];
    }
}

int sk_repeats(uint64_t *hashes, uint64_t *ordinals, uint64_t n, uint64_t *out_first, uint64_t *out_again,
               uint64_t room, uint64_t *found) {
    if (found == NULL || (n != 0 && (hashes == NULL || ordinals == NULL)) ||
        (room != 0 && (out_first == NULL || out_again == NULL))) {
        return SK_BAD_ARGUMENT;
    }
    const pairs p = {hashes, ordinals};
    sort(&p, 0, n, 0);
    uint64_t size = 0;
    uint64_t first = 0;
    for (uint64_t i = 1; i < n; i++) {
        if (hashes[i] != hashes[first]) {
            first = i;
            continue;
        }
        if (size < room) {
            out_first[size] = ordinals[first];
            out_again[size] = ordinals[i];
        }
        size++;
    }
    *found = size;
    return size > room ? SK_FULL : SK_OK;
}
