/* scratch.c - the working memory of a call. */
#include "internal.h"

#include <stdlib.h>

sk_scratch *sk_scratch_new(const sk_tables *t, uint32_t miss_room, sk_error *error) {
    if (t == NULL || miss_room > SK_MAP_LIMIT) {
        sk_fail(error, SK_BAD_ARGUMENT, 0);
        return NULL;
    }
    sk_scratch *s = sk_allocate(1, sizeof *s);
    if (s == NULL) {
        sk_fail(error, SK_NO_MEMORY, 0);
        return NULL;
    }
    uint64_t slots = 2;
    while (slots < (uint64_t)miss_room * 2) {
        slots *= 2;
    }
    s->miss_room = miss_room;
    s->index_mask = (uint32_t)(slots - 1);
    s->index = sk_allocate(slots, sizeof *s->index);
    if (t->limits.erase) {
        s->loops = t->limits.loops;
        s->mark = sk_allocate(s->loops, sizeof *s->mark);
        s->stack = sk_allocate(s->loops, sizeof *s->stack);
    }
    if (s->index == NULL || (s->loops != 0 && (s->mark == NULL || s->stack == NULL))) {
        sk_fail(error, SK_NO_MEMORY, 0);
        sk_scratch_free(s);
        return NULL;
    }
    return s;
}

void sk_scratch_free(sk_scratch *s) {
    if (s == NULL) {
        return;
    }
    free(s->index);
    free(s->mark);
    free(s->stack);
    free(s);
}
