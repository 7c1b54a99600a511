/* memory.c - the only place that allocates. */
#include "internal.h"

#include <stdlib.h>

#ifdef SK_TEST
int64_t sk_test_allocations_left = -1;
#endif

void *sk_allocate(uint64_t count, uint64_t size) {
#ifdef SK_TEST
    if (sk_test_allocations_left == 0) {
        return NULL;
    }
    if (sk_test_allocations_left > 0) {
        sk_test_allocations_left--;
    }
#endif
    if (count > SIZE_MAX / size) {
        return NULL;
    }
    return calloc((size_t)count, (size_t)size);
}
