/* statekeep.h - the router's native core: tables, and traces led through them.
 *
 * This header is the whole interface. The core knows numbers only: no strings, no files, no clock, no
 * Python. It keeps no globals, so any number of tables can live side by side. C11; the numbers mean what
 * apv.md section 9 calls symbols, positions, steps and facts. All ids are dense, counted from 0, and given
 * out by the caller (the compiler).
 *
 *
 * What one actor's route is
 * -------------------------
 *
 *      head of the actor ------> start position and start facts (or a decision right away)
 *
 *      for each symbol:   move(position, symbol) ------> next position, step
 *                         fact(facts, step) -----------> next facts, cut        step 0 changes no facts
 *                         cut(next position, cut) -----> next position          only where cut is not 0
 *
 *                         A move may be SK_SPLIT (facts decide where it leads):
 *                         split(position, facts, symbol) -> next position, and the facts become 0
 *
 *      at the end:        decision(position, facts, head) -> decision           and counts[decision] += 1
 *
 * In erase mode (apv.md section 3, `loops: erase`) each position belongs to a loop, which stands for its
 * source configuration, and a stack of (loop, position) goes along, from the start position on. Where a
 * move leads to a loop that is at the top, its position is replaced there; where the loop is further down,
 * the stack is popped to it and the route goes on from the position found; else it is pushed. A cut empties
 * the stack first. Facts see every symbol all the same.
 *
 * Tables are filled while they are used: an entry that is not there is reported as a *miss*, the actor's slot
 * stays SK_PENDING, the caller adds the entry and routes the slot again.
 *
 *
 * How the tables lie in memory
 * ----------------------------
 *
 *   moves: one row per position, `stride` words of 64 bits each, the position's own word in front
 *
 *            own word     symbol 0     symbol 1           symbol S-1   (S = limits.symbols)
 *          +------------+------------+------------+-----+------------+
 *   row 0  | 1 a loop p | m  step  r | m  step  r | ... | m  step  r |
 *          +------------+------------+------------+-----+------------+
 *   row 1  | 1 a loop p | ...
 *          +------------+--
 *
 *           63  62     32 31      0
 *          +---+---------+---------+   m     1 for a plain move; a missing entry is 64 zero bits; SK_SPLIT
 *   move   | m |  step   |    r    |         has m = 0 and every bit of step set
 *          +---+---------+---------+   r     where the next position's row begins (position * stride): no
 *                                            multiplication on the way from symbol to symbol
 *           63  62 61  32 31      0
 *          +---+--+------+---------+   a     1 if the position is absorbing: each of its moves leads back to
 *   own    | 1 |a | loop | position|         itself with step 0, so that the loop needs no test for it
 *          +---+--+------+---------+
 *
 *   facts: one row per state of the facts, a column per step; column 0 leads back to its own row
 *
 *           63  62     32 31      0
 *          +---+---------+---------+   n     1 if the path is not cut (cut is 0 then)
 *   fact   | n |   cut   |    r    |   r     where the next facts' row begins (facts * stride)
 *          +---+---------+---------+
 *
 *   Strides are odd numbers of words: rows of a power of two would all fall into the same few cache sets.
 *
 *   four hash maps: moves of symbols >= S (sparse), splits, cuts and decisions. Open addressing, 16 bytes a
 *   slot, at most half of the slots used, key first and then the published half:
 *
 *          +---------------------------+---------------------------+
 *   slot   | key: row, facts row / id  | rest: third id, value + 1 |   rest == 0: the slot is empty
 *          +---------------------------+---------------------------+
 *
 * Everything is allocated once at the sizes given at creation, zeroed by the operating system page by page
 * as it is touched, and never moved. Entries are only ever added. When something is full an insertion says
 * SK_FULL, and the caller starts new tables (a "flush"). After a flush it should see one trace through
 * before it fills for others: where all of them together need more than fits, filling for all would flush
 * for ever.
 *
 *
 * Threads
 * -------
 *
 * Any number of threads may route and look up in the same tables while one thread adds entries: an entry is a
 * single aligned word published with a release store. Two threads must not add at the same time, and tables
 * must not be freed while anybody uses them. A scratch belongs to one call at a time.
 *
 *
 * Errors
 * ------
 *
 * A call returns a status: SK_OK, or why the *call* failed. What happened to each actor is in its slot, never
 * in the status. sk_message() has a constant sentence for each status, and where a position helps, it is
 * reported with it (sk_error.index, sk_result.index). No id that comes in is trusted: every one is compared
 * with its bound before it is used as an index.
 */
#ifndef STATEKEEP_H
#define STATEKEEP_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* build.py hands what stands between the two marks to cffi, word for word: the binding cannot drift from this
 * header. In between: declarations, enums and #define NAME NUMBER only. */
/* cdef: begin */

/* What a decision slot holds besides a decision. */
#define SK_PENDING 0xffffffff /* to be routed; after a call: still to be routed, an entry was missing */
#define SK_OPEN 0xfffffffe    /* erase mode met SK_SPLIT: to be decided by the general form; not counted */

/* The step of a move whose next position depends on the facts. */
#define SK_SPLIT 0x7fffffff

/* Symbols, steps, cuts, loops and decisions lie below their own bounds, and all of them below this one. */
#define SK_ID_LIMIT 0x7fffffff

enum sk_status {
    SK_OK = 0,
    SK_MISSING = 1,       /* a getter: there is no such entry yet */
    SK_FULL = 2,          /* an insertion: this id or entry is beyond what the tables were created for */
    SK_NO_MEMORY = 3,     /* an allocation failed; nothing was changed */
    SK_BAD_LIMIT = 4,     /* a limit is 0 or too large; index: which field of sk_limits, from 0 */
    SK_BAD_POSITION = 5,  /* no such position (or, when adding one, not the next id) */
    SK_BAD_SYMBOL = 6,    /* a symbol at or above SK_ID_LIMIT; sk_route: index is the actor */
    SK_BAD_STEP = 7,      /* step 0 has no entry of its own: it changes no facts */
    SK_BAD_FACTS = 8,     /* facts at or above limits.facts */
    SK_BAD_CUT = 9,       /* cut 0, which means none, or at or above SK_ID_LIMIT */
    SK_BAD_HEAD = 10,     /* no such head, not the next id, or a decided one; sk_route: index is the actor */
    SK_BAD_OFFSET = 11,   /* offsets decrease or pass the symbols' end; index is the actor */
    SK_BAD_ARGUMENT = 12, /* a NULL, too little room, a scratch that does not fit, or the wrong mode */
    SK_CONFLICT = 13,     /* the entry exists with another value; entries are never changed */
    SK_BAD_TABLE = 14     /* sk_tables_check: a stored index is out of bounds; index is the word or slot */
};

/* Why a call failed, for calls that have a place to name. Owned by the caller; message is constant. */
typedef struct sk_error {
    int32_t status;
    const char *message;
    uint64_t index;
} sk_error;

/* A constant English sentence for a status, without a full stop; never NULL, also for unknown numbers. */
const char *sk_message(int status);

/* ---- tables -------------------------------------------------------------------------------------------- */

/* The sizes of tables, fixed at creation. Memory is reserved for all of it and used as it is filled. */
typedef struct sk_limits {
    uint32_t positions; /* >= 1; positions * (symbols + 2) must stay below 2^32 */
    uint32_t symbols;   /* how many symbols have a dense column; ids at or above are hashed. May be 0 */
    uint32_t steps;     /* >= 1: step 0 is always there */
    uint32_t facts;     /* >= 1: facts 0 are always there; facts * (steps + 1) must stay below 2^31 */
    uint32_t heads;     /* >= 1 */
    uint32_t decisions; /* >= 1: how many different decisions there can be, and the length of counts */
    uint32_t loops;     /* how many different loop ids; >= 1 in erase mode, not looked at otherwise */
    uint32_t sparse;    /* entries of each hash map, 2^30 at most, 0 allowed: moves of sparse symbols, */
    uint32_t splits;    /* splits, */
    uint32_t cuts;      /* cuts, */
    uint32_t decided;   /* and (position, facts, head) with a decision */
    uint32_t erase;     /* 1: `loops: erase` (apv.md section 3), 0: `loops: keep` */
} sk_limits;

/* How much of the tables is used. The fields up to `decided` are counts of what sk_limits bounds. */
typedef struct sk_usage {
    uint32_t positions;
    uint32_t steps; /* the highest id seen, plus one; the same for facts and decisions */
    uint32_t facts;
    uint32_t heads;
    uint32_t decisions;
    uint32_t sparse;
    uint32_t splits;
    uint32_t cuts;
    uint32_t decided;
    uint64_t reserved; /* bytes of address space; pages nobody touched take no memory */
} sk_usage;

typedef struct sk_tables sk_tables;

/* New, empty tables. limits: copied; NULL is an error. error: filled if and only if NULL is returned
 * (SK_BAD_LIMIT, SK_NO_MEMORY, SK_BAD_ARGUMENT); may be NULL. The caller owns the result and frees it with
 * sk_tables_free. */
sk_tables *sk_tables_new(const sk_limits *limits, sk_error *error);

/* Frees tables that nobody uses any more. NULL does nothing. */
void sk_tables_free(sk_tables *tables);

/* Fills usage. Neither may be NULL (SK_BAD_ARGUMENT). Safe beside routing and adding. */
int sk_tables_usage(const sk_tables *tables, sk_usage *usage);

/* Walks every stored word and compares every index in it with its bounds, as a reader of foreign tables
 * would. error: filled on SK_BAD_TABLE; may be NULL. Not beside sk_add_*: it would see half of an
 * insertion. */
int sk_tables_check(const sk_tables *tables, sk_error *error);

/* ---- adding entries: one thread at a time ----------------------------------------------------------------
 *
 * Each returns SK_OK when the entry is there afterwards, also if it was there before with the same value;
 * SK_CONFLICT if it is there with another value; SK_FULL if an id or the entry is beyond the limits;
 * SK_BAD_* if an id names nothing. Whatever is not SK_OK has changed nothing. tables: not NULL. */

/* The next position: position must be the number of positions added so far. loop: in erase mode the id of the
 * source configuration the position stands in, below limits.loops; ignored otherwise. absorbing: not 0 if
 * whatever comes leads back here and changes no facts (a path that is lost). */
int sk_add_position(sk_tables *tables, uint32_t position, uint32_t loop, int absorbing);

/* The next head: head must be the number of heads added so far (both kinds count). It starts at position with
 * facts. */
int sk_add_head(sk_tables *tables, uint32_t head, uint32_t position, uint32_t facts);

/* The same for a head that is decided whatever its trace: decision is below limits.decisions. */
int sk_add_decided_head(sk_tables *tables, uint32_t head, uint32_t decision);

/* move(position, symbol) -> (next, step). step 0: no facts change. step SK_SPLIT: next is ignored, and
 * found again as 0. */
int sk_add_move(sk_tables *tables, uint32_t position, uint32_t symbol, uint32_t next, uint32_t step);

/* split(position, facts, symbol) -> next. Keep mode only (SK_BAD_ARGUMENT): erase mode never reads it. */
int sk_add_split(sk_tables *tables, uint32_t position, uint32_t facts, uint32_t symbol, uint32_t next);

/* fact(facts, step) -> (next, cut). step is not 0. cut 0: the path goes on; else it is cut there. */
int sk_add_fact(sk_tables *tables, uint32_t facts, uint32_t step, uint32_t next, uint32_t cut);

/* cut(position, cut) -> next, where position is the one the move led to. cut is not 0. */
int sk_add_cut(sk_tables *tables, uint32_t position, uint32_t cut, uint32_t next);

/* decision(position, facts, head) -> decision, for a head that is not decided already. */
int sk_add_decision(sk_tables *tables, uint32_t position, uint32_t facts, uint32_t head, uint32_t decision);

/* ---- looking entries up ----------------------------------------------------------------------------------
 *
 * SK_OK and the values, or SK_MISSING, or SK_BAD_*; the values are written for SK_OK only. tables and the
 * pointers to values: not NULL. Safe beside routing and adding. */

int sk_get_move(const sk_tables *tables, uint32_t position, uint32_t symbol, uint32_t *next, uint32_t *step);
int sk_get_split(const sk_tables *tables, uint32_t position, uint32_t facts, uint32_t symbol, uint32_t *next);
int sk_get_fact(const sk_tables *tables, uint32_t facts, uint32_t step, uint32_t *next, uint32_t *cut);
int sk_get_cut(const sk_tables *tables, uint32_t position, uint32_t cut, uint32_t *next);
int sk_get_decision(const sk_tables *tables, uint32_t position, uint32_t facts, uint32_t head,
                    uint32_t *decision);

/* ---- routing ------------------------------------------------------------------------------------------- */

/* An entry that was missing, and the first actor of the batch that met it.
 *
 *      kind              a          b          c
 *      SK_MISS_MOVE      position   symbol     0
 *      SK_MISS_SPLIT     position   facts      symbol
 *      SK_MISS_FACT      facts      step       0
 *      SK_MISS_CUT       position   cut        0
 *      SK_MISS_DECISION  position   facts      head
 */
enum sk_miss_kind {
    SK_MISS_MOVE = 1,
    SK_MISS_SPLIT = 2,
    SK_MISS_FACT = 3,
    SK_MISS_CUT = 4,
    SK_MISS_DECISION = 5
};

typedef struct sk_miss {
    uint32_t kind;
    uint32_t a;
    uint32_t b;
    uint32_t c;
    uint64_t actor;
} sk_miss;

/* Working memory of one call: the stack of erase mode, and an index of the misses. Made once, used again and
 * again, by one call at a time; it may go with several tables of the same limits. */
typedef struct sk_scratch sk_scratch;

/* miss_room: the largest sk_batch.miss_room it will be used with. The caller owns the result and frees it
 * with sk_scratch_free. error: filled if and only if NULL is returned; may be NULL. */
sk_scratch *sk_scratch_new(const sk_tables *tables, uint32_t miss_room, sk_error *error);

/* NULL does nothing. */
void sk_scratch_free(sk_scratch *scratch);

/* Actors to route. All memory is the caller's, is not kept after the call, and nobody else may write it
 * meanwhile. Where a length is 0 the pointer may be NULL. */
typedef struct sk_batch {
    uint64_t actors;
    const uint32_t *symbols;  /* the traces, one after the other */
    uint64_t symbol_count;    /* how many symbols there are */
    const uint64_t *offsets;  /* actors + 1 of them: actor i's symbols are offsets[i] .. offsets[i + 1] - 1 */
    const uint32_t *heads;    /* per actor */
    uint32_t *decisions;      /* per actor, in and out: SK_PENDING slots are routed, all others left alone */
    uint64_t *counts;         /* counts[d] grows by one for each slot that became d in this call */
    uint64_t count_room;      /* at least limits.decisions */
    sk_miss *misses;          /* out: distinct missing entries, in the order of their first actors:
                               * misses[0] is what the first slot that is SK_PENDING now lacks */
    uint32_t miss_room;       /* how many fit; at most the scratch's */
} sk_batch;

typedef struct sk_result {
    int32_t status;      /* as returned */
    const char *message; /* constant */
    uint64_t index;      /* SK_BAD_SYMBOL, SK_BAD_HEAD, SK_BAD_OFFSET: the first actor that has it */
    uint64_t decided;    /* slots that got a decision in this call */
    uint64_t open;       /* slots that became SK_OPEN in this call */
    uint64_t pending;    /* slots of the whole batch that are SK_PENDING now */
    uint32_t misses;     /* entries of misses that were written */
    uint32_t full;       /* 1: stopped early, for a further miss found no room. Fill, and call again */
} sk_result;

/* Routes every SK_PENDING slot from the start of its trace. Returns result->status:
 *   SK_OK            each slot that was SK_PENDING has a decision, or is SK_OPEN, or is SK_PENDING because of
 *                    an entry in misses (or because full is 1);
 *   SK_BAD_SYMBOL, SK_BAD_HEAD, SK_BAD_OFFSET
 *                    actor `index` is malformed: the slots before it are as with SK_OK, it and those after
 *                    it are untouched;
 *   SK_BAD_ARGUMENT  nothing was touched.
 * A symbol is looked at when the route gets there: a malformed one behind a missing entry is found later.
 * tables, scratch, batch, result: not NULL. */
int sk_route(const sk_tables *tables, sk_scratch *scratch, const sk_batch *batch, sk_result *result);

/* The same for a single actor, with nothing counted. decision (out, not NULL): a decision, SK_OPEN, or
 * SK_PENDING if an entry is missing (sk_route on a batch of one says which). symbols: NULL if count is 0.
 * scratch: may be NULL in keep mode. Returns SK_OK, SK_BAD_HEAD, SK_BAD_SYMBOL or SK_BAD_ARGUMENT;
 * *decision is SK_PENDING on failure. */
int sk_route_one(const sk_tables *tables, sk_scratch *scratch, const uint32_t *symbols, uint64_t count,
                 uint32_t head, uint32_t *decision);

/* ---- repeated ids ----------------------------------------------------------------------------------------
 *
 * To find ids that occur twice in a file of any length in bounded memory: keep a 64-bit hash per record, take
 * one part of the hash's range after the other (sk_partition), and look for equal hashes in it (sk_repeats).
 * Equal hashes are candidates: the caller compares the ids themselves. No state; safe everywhere. */

/* Appends to out_hashes and out_ordinals those of hashes[0 .. n] that fall into part `part` of `parts` equal
 * parts, with their ordinals base + index. found (out): how many there are, which may be more than room: then
 * the first room of them are written and SK_FULL is returned. Also SK_BAD_ARGUMENT: part >= parts, or a NULL
 * where something is to be read or written. */
int sk_partition(const uint64_t *hashes, uint64_t n, uint64_t base, uint32_t parts, uint32_t part,
                 uint64_t *out_hashes, uint64_t *out_ordinals, uint64_t room, uint64_t *found);

/* Sorts the pairs (hashes[i], ordinals[i]) in place, in linear time whatever they are, and reports for each
 * hash that occurs k times the k - 1 pairs (first ordinal, later ordinal), in that order. found (out): how
 * many such pairs there are; if more than room, the first room are written and SK_FULL is returned. */
int sk_repeats(uint64_t *hashes, uint64_t *ordinals, uint64_t n, uint64_t *out_first, uint64_t *out_again,
               uint64_t room, uint64_t *found);

/* cdef: end */

#ifdef __cplusplus
}
#endif

#endif
