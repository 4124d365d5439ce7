/* Random datatypes, with the list of places that the standard gives each (MPI 5.0, 5.1). */
#ifndef LAYOUTS_H
#define LAYOUTS_H

#include "random.h"

/* Items of predefined types, in the order of the typemap. */
#define PLACES_MAX 3000

struct layout {
    MPI_Datatype type;
    int n;
    int64_t *at;
    unsigned char *kind;
};

static struct {
    MPI_Datatype type;
    int size;
} kinds[9];

#define KINDS ((int)(sizeof kinds / sizeof *kinds))

/* Whether parts without data are made: MPICH 5.0.2 gives such types wrong bounds, or divides by 0. */
static int empties = 0;

static inline int up_to(struct rng *rng, int most) {
    return empties || most < 1 ? below(rng, most + 1) : between(rng, 1, most);
}

static inline void begin_layouts(void) {
    MPI_Datatype types[] = {MPI_CHAR,  MPI_INT,     MPI_DOUBLE, MPI_SHORT, MPI_FLOAT,
                            MPI_BYTE, MPI_INT64_T, MPI_UINT16_T, MPI_C_DOUBLE_COMPLEX};
    for (int i = 0; i < KINDS; i++) {
        kinds[i].type = types[i];
        OK(MPI_Type_size(types[i], &kinds[i].size));
    }
}

static inline struct layout no_layout(int room) {
    struct layout it = {MPI_DATATYPE_NULL, 0, malloc(sizeof(int64_t) * (size_t)(room + 1)),
                        malloc((size_t)room + 1)};
    return it;
}

static inline void drop_layout(struct layout *it) {
    int named, n;
    if (it->type != MPI_DATATYPE_NULL) {
        OK(MPI_Type_get_envelope(it->type, &n, &n, &n, &named));
        if (named != MPI_COMBINER_NAMED) OK(MPI_Type_free(&it->type));
    }
    free(it->at);
    free(it->kind);
}

static inline struct layout basic_layout(int kind) {
    struct layout it = no_layout(1);
    it.type = kinds[kind].type;
    it.n = 1;
    it.at[0] = 0;
    it.kind[0] = (unsigned char)kind;
    return it;
}

static inline int64_t extent_of(MPI_Datatype type) {
    MPI_Aint lb, extent;
    OK(MPI_Type_get_extent(type, &lb, &extent));
    return extent;
}

static inline void append(struct layout *to, const struct layout *from, int64_t away) {
    for (int i = 0; i < from->n; i++) {
        to->at[to->n] = from->at[i] + away;
        to->kind[to->n++] = from->kind[i];
    }
}

/* A block of several. */
static inline void append_block(struct layout *to, const struct layout *from, int64_t away, int n,
                                int64_t extent) {
    for (int i = 0; i < n; i++) append(to, from, away + i * extent);
}

#define PARTS 5

static inline struct layout some_layout(struct rng *rng, int depth, int room);

/* How many of it there is room for, at most `most`. */
static inline int fitting(const struct layout *of, int room, int most) {
    int fit = of->n ? room / of->n : most;
    return fit < most ? fit : most;
}

static inline void set_bounds(struct rng *rng, struct layout *it);

static inline struct layout of_vector(struct rng *rng, const struct layout *old, int room) {
    struct layout it = no_layout(room);
    int count = up_to(rng, 5), block = up_to(rng, 3);
    if ((int64_t)count * block > fitting(old, room, 100)) count = 1, block = 1;
    int64_t extent = extent_of(old->type);
    TELL("vector of %d times %d", count, block);
    if (once_in(rng, 2)) {
        int stride = between(rng, -6, 9);
        OK(MPI_Type_vector(count, block, stride, old->type, &it.type));
        for (int i = 0; i < count; i++) append_block(&it, old, i * stride * extent, block, extent);
    } else {
        int stride = between(rng, -100, 130);
        OK(MPI_Type_create_hvector(count, block, stride, old->type, &it.type));
        for (int i = 0; i < count; i++) append_block(&it, old, i * stride, block, extent);
        set_bounds(rng, &it);
    }
    return it;
}

static inline struct layout of_contiguous(struct rng *rng, const struct layout *old, int room) {
    struct layout it = no_layout(room);
    int count = up_to(rng, fitting(old, room, 9));
    TELL("contiguous %d", count);
    OK(MPI_Type_contiguous(count, old->type, &it.type));
    append_block(&it, old, 0, count, extent_of(old->type));
    return it;
}

static inline struct layout of_indexed(struct rng *rng, const struct layout *old, int room) {
    struct layout it = no_layout(room);
    int count = up_to(rng, PARTS), fit = fitting(old, room, 20), how = below(rng, 4);
    int lengths[PARTS] = {0}, places[PARTS] = {0}, common = up_to(rng, 3);
    MPI_Aint away[PARTS] = {0};
    if (!empties && count > fit) count = fit < 1 ? 1 : fit;
    if (count * common > fit) common = !empties;
    int64_t extent = extent_of(old->type), at = 0;
    for (int i = 0; i < count; i++) {
        int spare = empties ? 0 : count - 1 - i, length = up_to(rng, 3);
        lengths[i] = length > fit - spare ? !empties : length;
        fit -= lengths[i];
        at += once_in(rng, 6) ? -between(rng, 0, 9) : between(rng, 0, 6);
        places[i] = (int)at;
        away[i] = at * (how & 1 ? 8 : 3);
        if (how >= 2) lengths[i] = common;
        append_block(&it, old, how & 1 ? away[i] : places[i] * extent, lengths[i], extent);
    }
    TELL("indexed (%d) %d", how, count);
    switch (how) {
    case 0: OK(MPI_Type_indexed(count, lengths, places, old->type, &it.type)); break;
    case 1: OK(MPI_Type_create_hindexed(count, lengths, away, old->type, &it.type)); break;
    case 2:
        OK(MPI_Type_create_indexed_block(count, common, places, old->type, &it.type));
        break;
    default:
        OK(MPI_Type_create_hindexed_block(count, common, away, old->type, &it.type));
        break;
    }
    if (how & 1) set_bounds(rng, &it);
    return it;
}

static inline struct layout of_struct(struct rng *rng, int depth, int room) {
    struct layout it = no_layout(room), olds[PARTS];
    int count = up_to(rng, PARTS), lengths[PARTS] = {0};
    MPI_Aint away[PARTS] = {0};
    MPI_Datatype types[PARTS] = {0};
    int64_t at = 0;
    for (int i = 0; i < count; i++) {
        olds[i] = some_layout(rng, depth - 1, (room - it.n) / 2);
        if (olds[i].n > room - it.n || (olds[i].n == 0 && !empties)) {
            drop_layout(&olds[i]);
            olds[i] = basic_layout(below(rng, KINDS));
        }
        types[i] = olds[i].type;
        int fit = fitting(&olds[i], room - it.n, 3);
        lengths[i] = up_to(rng, fit);
        if (!empties && fit < 1) {
            drop_layout(&olds[i]);
            count = i;
            break;
        }
        at += once_in(rng, 5) ? -between(rng, 0, 60) : between(rng, 0, 90);
        away[i] = at;
        append_block(&it, &olds[i], at, lengths[i], extent_of(types[i]));
    }
    TELL("struct of %d", count);
    OK(MPI_Type_create_struct(count, lengths, away, types, &it.type));
    for (int i = 0; i < count; i++) drop_layout(&olds[i]);
    TELL("extent %ld", (long)extent_of(it.type));
    set_bounds(rng, &it);
    return it;
}

/* Indices of each dimension in order, those of the first or the last dimension change fastest. */
static inline void append_grid(struct layout *it, const struct layout *old, int dims, int sizes[],
                               int counts[], int (*indices)[16], int fortran) {
    int64_t extent = extent_of(old->type);
    int at[3] = {0}, total = 1;
    for (int d = 0; d < dims; d++) total *= counts[d];
    for (int i = 0; i < total; i++) {
        int64_t place = 0;
        for (int k = 0; k < dims; k++) {
            int d = fortran ? dims - 1 - k : k;
            place = place * sizes[d] + indices[d][at[d]];
        }
        append(it, old, place * extent);
        for (int k = 0; k < dims; k++) {
            int d = fortran ? k : dims - 1 - k;
            if (++at[d] < counts[d]) break;
            at[d] = 0;
        }
    }
}

static inline struct layout of_subarray(struct rng *rng, const struct layout *old, int room) {
    int dims = between(rng, 1, 3), sizes[3], parts[3], starts[3], indices[3][16], total = 1;
    int fortran = below(rng, 2);
    for (int d = 0; d < dims; d++) {
        sizes[d] = between(rng, 1, 5);
        parts[d] = between(rng, 1, sizes[d]);
        starts[d] = below(rng, sizes[d] - parts[d] + 1);
        total *= parts[d];
    }
    if (total > fitting(old, room, 200)) dims = 1, parts[0] = old->n > room ? 1 : 1;
    struct layout it = no_layout(room > old->n ? room : old->n);
    for (int d = 0; d < dims; d++) {
        for (int i = 0; i < parts[d]; i++) indices[d][i] = starts[d] + i;
    }
    TELL("subarray of %d dimensions", dims);
    OK(MPI_Type_create_subarray(dims, sizes, parts, starts,
                                fortran ? MPI_ORDER_FORTRAN : MPI_ORDER_C, old->type, &it.type));
    append_grid(&it, old, dims, sizes, parts, indices, fortran);
    return it;
}

static inline struct layout of_darray(struct rng *rng, const struct layout *old, int room) {
    int dims = between(rng, 1, 3), sizes[3], how[3], args[3], grid[3], size = 1, total = 1;
    int counts[3], indices[3][16], fortran = below(rng, 2);
    for (int d = 0; d < dims; d++) {
        sizes[d] = between(rng, 1, 9);
        grid[d] = between(rng, 1, 3);
        how[d] = (int[]){MPI_DISTRIBUTE_BLOCK, MPI_DISTRIBUTE_CYCLIC, MPI_DISTRIBUTE_NONE}[below(rng, 3)];
        args[d] = MPI_DISTRIBUTE_DFLT_DARG;
        if (how[d] == MPI_DISTRIBUTE_NONE) grid[d] = 1;
        if (how[d] == MPI_DISTRIBUTE_CYCLIC && once_in(rng, 2)) args[d] = between(rng, 1, 4);
        if (how[d] == MPI_DISTRIBUTE_BLOCK && once_in(rng, 3)) {
            args[d] = (sizes[d] + grid[d] - 1) / grid[d] + below(rng, 2);
        }
        size *= grid[d];
    }
    int rank = below(rng, size), rest = rank, all = size;
    for (int d = 0; d < dims; d++) {
        /* The grid of processes is always in C order. */
        all /= grid[d];
        int mine = rest / all, block = args[d];
        rest %= all;
        if (how[d] == MPI_DISTRIBUTE_NONE) block = sizes[d];
        else if (block == MPI_DISTRIBUTE_DFLT_DARG) {
            block = how[d] == MPI_DISTRIBUTE_CYCLIC ? 1 : (sizes[d] + grid[d] - 1) / grid[d];
        }
        counts[d] = 0;
        for (int i = 0; i < sizes[d]; i++) {
            if (i / block % grid[d] == mine) indices[d][counts[d]++] = i;
        }
        total *= counts[d];
    }
    struct layout it = no_layout(room);
    if (total > fitting(old, room, 200) || (total == 0 && !empties)) {
        OK(MPI_Type_dup(old->type, &it.type));
        append(&it, old, 0);
        return it;
    }
    TELL("darray of %d dimensions, %d items", dims, total);
    OK(MPI_Type_create_darray(size, rank, dims, sizes, how, args, grid,
                              fortran ? MPI_ORDER_FORTRAN : MPI_ORDER_C, old->type, &it.type));
    append_grid(&it, old, dims, sizes, counts, indices, fortran);
    return it;
}

static inline struct layout of_resized(struct rng *rng, const struct layout *old, int room) {
    struct layout it = no_layout(room > old->n ? room : old->n);
    int low = between(rng, -40, 40), extent = between(rng, 0, 120);
    TELL("resized to %d, %d", low, extent);
    OK(MPI_Type_create_resized(old->type, low, extent, &it.type));
    append(&it, old, 0);
    return it;
}

/* The same with bounds of its own, where the libraries do not agree about them. By the standard a
   type without data begins and ends at 0, in a struct bounds that were set hide the others, and
   extents are rounded up to the alignment, also where MPICH does not: of vectors with odd strides,
   and of structs that begin below 0. */
static inline void set_bounds(struct rng *rng, struct layout *it) {
    MPI_Datatype old = it->type;
    int low = between(rng, -40, 40), extent = between(rng, 0, 120);
    OK(MPI_Type_create_resized(old, low, extent, &it->type));
    TELL("set to %d, %d: %ld", low, extent, (long)extent_of(it->type));
    OK(MPI_Type_free(&old));
}

/* A datatype of at most `room` predefined items; it may overlap itself. Not committed. */
static inline struct layout some_layout(struct rng *rng, int depth, int room) {
    if (room < 1) room = 1;
    if (depth <= 0 || once_in(rng, 8)) return basic_layout(below(rng, KINDS));
    if (once_in(rng, 4)) return of_struct(rng, depth, room);
    struct layout old = some_layout(rng, depth - 1, room), it;
    switch (below(rng, 8)) {
    case 0: it = of_contiguous(rng, &old, room); break;
    case 1: it = of_vector(rng, &old, room); break;
    case 2: case 3: it = of_indexed(rng, &old, room); break;
    case 4: it = of_subarray(rng, &old, room); break;
    case 5: it = of_darray(rng, &old, room); break;
    case 6: it = of_resized(rng, &old, room); break;
    default:
        it = no_layout(old.n);
        OK(MPI_Type_dup(old.type, &it.type));
        append(&it, &old, 0);
    }
    if (it.n == 0) set_bounds(rng, &it);
    drop_layout(&old);
    TELL("extent %ld", (long)extent_of(it.type));
    return it;
}

/* A datatype of the same items in the same order, at other places that do not overlap; any number
   of them can follow each other. */
static inline struct layout scattered(struct rng *rng, const struct layout *like) {
    struct layout it = no_layout(like->n);
    int *order = malloc(sizeof(int) * (size_t)(like->n + 1));
    int *lengths = malloc(sizeof(int) * (size_t)(like->n + 1));
    MPI_Aint *away = malloc(sizeof(MPI_Aint) * (size_t)(like->n + 1));
    MPI_Datatype *types = malloc(sizeof(MPI_Datatype) * (size_t)(like->n + 1)), raw;
    for (int i = 0; i < like->n; i++) order[i] = i;
    if (once_in(rng, 2)) shuffle(rng, order, like->n);
    int gaps = below(rng, 3);
    int64_t at = between(rng, -30, 30), low = at;
    for (int i = 0; i < like->n; i++) {
        int k = order[i];
        at += gaps && once_in(rng, 3) ? between(rng, 1, 17) : 0;
        it.at[k] = away[k] = at;
        at += kinds[like->kind[k]].size;
    }
    it.n = like->n;
    memcpy(it.kind, like->kind, (size_t)like->n);
    for (int i = 0; i < like->n; i++) lengths[i] = 1, types[i] = kinds[like->kind[i]].type;
    OK(MPI_Type_create_struct(like->n, lengths, away, types, &raw));
    OK(MPI_Type_create_resized(raw, low, at - low + below(rng, 9), &it.type));
    OK(MPI_Type_free(&raw));
    free(order), free(lengths), free(away), free(types);
    return it;
}

/* Memory for `count` items: where the first begins is `at`, as the type sees it. */
struct memory {
    char *base, *at;
    size_t len;
};

static inline struct memory memory_for(const struct layout *it, int64_t count) {
    int64_t low = 0, high = 0, extent = extent_of(it->type);
    for (int i = 0; i < it->n; i++) {
        int64_t first = it->at[i], last = first + (count > 0 ? count - 1 : 0) * extent;
        int64_t end = (first > last ? first : last) + kinds[it->kind[i]].size;
        if (first < low) low = first;
        if (last < low) low = last;
        if (end > high) high = end;
    }
    struct memory memory = {NULL, NULL, (size_t)(high - low) + 32};
    memory.base = malloc(memory.len);
    memory.at = memory.base - low + 16;
    return memory;
}

/* Fills memory with what nobody else has. */
static inline void fill(struct memory *memory, uint64_t a, uint64_t b) {
    struct rng rng = stream(seed + 77, a, b);
    for (size_t i = 0; i < memory->len; i++) memory->base[i] = (char)(draw(&rng) >> 9);
}

static inline void empty(struct memory *memory) { memset(memory->base, 0x5a, memory->len); }

static inline uint64_t hash_memory(uint64_t hash, const struct memory *memory) {
    return hash_bytes(hash, memory->base, memory->len);
}

/* The bytes of so many items in the order of the typemap; how many there are. */
static inline size_t gather_items(const struct layout *it, int64_t count, const char *at, char *to) {
    int64_t extent = extent_of(it->type);
    size_t len = 0;
    for (int64_t k = 0; k < count; k++) {
        for (int i = 0; i < it->n; i++) {
            size_t size = (size_t)kinds[it->kind[i]].size;
            if (to) memcpy(to + len, at + it->at[i] + k * extent, size);
            len += size;
        }
    }
    return len;
}

#endif
