/* errors.c - the sentence for each status. */
#include "statekeep.h"

const char *sk_message(int status) {
    switch (status) {
    case SK_OK:
        return "done";
    case SK_MISSING:
        return "there is no such entry yet";
    case SK_FULL:
        return "the tables are full: start new ones, or give more room";
    case SK_NO_MEMORY:
        return "memory could not be allocated";
    case SK_BAD_LIMIT:
        return "a limit of the tables is 0 or too large";
    case SK_BAD_POSITION:
        return "a position does not exist or is not the next one";
    case SK_BAD_SYMBOL:
        return "a symbol is at or above the largest id";
    case SK_BAD_STEP:
        return "step 0 changes no facts and has no entry";
    case SK_BAD_FACTS:
        return "a state of the facts does not exist";
    case SK_BAD_CUT:
        return "a cut is 0 or too large";
    case SK_BAD_HEAD:
        return "a head does not exist, is not the next one, or is decided already";
    case SK_BAD_OFFSET:
        return "the offsets of the traces decrease or pass the end of the symbols";
    case SK_BAD_ARGUMENT:
        return "an argument is NULL, too small, or does not go with the tables";
    case SK_CONFLICT:
        return "the entry is there with another value";
    case SK_BAD_TABLE:
        return "the tables hold an index that is out of bounds";
    default:
        return "unknown status";
    }
}
