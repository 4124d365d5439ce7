/* Steps of reductions: what comes out is what one after the other gives, from rank 0 on. */
#ifndef REDUCTIONS_H
#define REDUCTIONS_H

#include "collectives.h"

/* x -> a x + b in each item, a and b side by side or with gaps around them; one after
   the other, which does not commute. */
static void compose(void *in, void *inout, int *len, MPI_Datatype *type) {
    MPI_Aint lb, extent;
    if (MPI_Type_get_extent(*type, &lb, &extent) != MPI_SUCCESS) abort();
    int apart = extent > 8;
    for (int i = 0; i < *len; i++) {
        uint32_t *x = (uint32_t *)((char *)in + i * extent), *y = (uint32_t *)((char *)inout + i * extent);
        uint32_t *xa = x + apart, *xb = x + 1 + 2 * apart, *ya = y + apart, *yb = y + 1 + 2 * apart;
        *yb = *xa * *yb + *xb;
        *ya = *xa * *ya;
    }
}

struct reduction {
    MPI_Datatype type;
    MPI_Op op;
    int own, size;
};

static inline struct reduction some_reduction(struct rng *rng) {
    struct reduction it = {MPI_DATATYPE_NULL, MPI_OP_NULL, once_in(rng, 2), 0};
    MPI_Datatype whole[] = {MPI_INT32_T, MPI_UINT8_T, MPI_INT64_T, MPI_UINT16_T, MPI_INT8_T, MPI_UNSIGNED};
    MPI_Datatype pairs[] = {MPI_2INT, MPI_SHORT_INT, MPI_DOUBLE_INT, MPI_LONG_INT, MPI_FLOAT_INT};
    MPI_Datatype real[] = {MPI_DOUBLE, MPI_FLOAT};
    MPI_Op ops[] = {MPI_SUM, MPI_PROD, MPI_MIN, MPI_MAX, MPI_BAND, MPI_BOR, MPI_BXOR, MPI_LAND, MPI_LOR, MPI_LXOR};
    int pick = below(rng, 4);
    if (it.own) {
        if (once_in(rng, 2)) OK(MPI_Type_contiguous(2, MPI_UINT32_T, &it.type));
        else {
            MPI_Datatype raw;
            MPI_Aint away[] = {4, 12};
            OK(MPI_Type_create_hindexed_block(2, 1, away, MPI_UINT32_T, &raw));
            OK(MPI_Type_create_resized(raw, 0, 16, &it.type));
            OK(MPI_Type_free(&raw));
        }
        OK(MPI_Type_commit(&it.type));
        OK(MPI_Op_create(compose, 0, &it.op));
    } else if (pick == 0) {
        it.type = pairs[below(rng, 5)], it.op = once_in(rng, 2) ? MPI_MINLOC : MPI_MAXLOC;
    } else if (pick == 1) {
        it.type = real[below(rng, 2)], it.op = once_in(rng, 2) ? MPI_MIN : MPI_MAX;
    } else {
        it.type = whole[below(rng, 6)], it.op = ops[below(rng, 10)];
    }
    return it;
}

/* Small numbers in every basic type: pairs, floats and integers alike get 0 to 7. */
static inline void fill_numbers(const struct reduction *it, char *at, int count, uint64_t key, int who) {
    struct rng rng = stream(key, (uint64_t)who, 7);
    int64_t extent = extent_of(it->type);
    memset(at, 0, (size_t)(count * extent));
    for (int i = 0; i < count; i++) {
        char *item = at + i * extent;
        int value = below(&rng, 8), index = below(&rng, 5);
        double d = value;
        float f = (float)value;
        if (it->own) {
            for (int k = 0; k < extent; k += 4) memcpy(item + k, &(uint32_t){(uint32_t)draw(&rng)}, 4);
        } else if (it->type == MPI_DOUBLE || it->type == MPI_DOUBLE_INT) memcpy(item, &d, 8);
        else if (it->type == MPI_FLOAT || it->type == MPI_FLOAT_INT) memcpy(item, &f, 4);
        else item[0] = (char)value;
        if (it->type == MPI_DOUBLE_INT || it->type == MPI_LONG_INT) memcpy(item + 8, &index, 4);
        else if (it->op == MPI_MINLOC || it->op == MPI_MAXLOC) memcpy(item + 4, &index, 4);
    }
}

/* The items alone: not what lies between. */
static inline uint64_t hash_items(const struct reduction *it, const char *at, int count) {
    int room, position = 0;
    OK(MPI_Pack_size(count, it->type, MPI_COMM_WORLD, &room));
    char *packed = malloc((size_t)room + 1);
    if (count) OK(MPI_Pack(at, count, it->type, packed, room, &position, MPI_COMM_WORLD));
    uint64_t hash = hash_bytes(HASH, packed, (size_t)position);
    free(packed);
    return hash;
}

/* What ranks `first` to `last` make together. */
static inline uint64_t folded(const struct reduction *it, int total, uint64_t key, const int who[],
                              int last, int at, int count) {
    int64_t extent = extent_of(it->type);
    size_t len = (size_t)(total * extent) + 1;
    char *left = malloc(len), *next = malloc(len);
    fill_numbers(it, left, total, key, who[0]);
    for (int i = 1; i <= last; i++) {
        fill_numbers(it, next, total, key, who[i]);
        OK(MPI_Reduce_local(left, next, total, it->type, it->op));
        char *other = left;
        left = next, next = other;
    }
    uint64_t hash = hash_items(it, left + at * extent, count);
    free(left), free(next);
    return hash;
}

static inline void drop_reduction(struct reduction *it) {
    if (it->own && it->type != MPI_DATATYPE_NULL) OK(MPI_Type_free(&it->type));
    if (it->own && it->op != MPI_OP_NULL) OK(MPI_Op_free(&it->op));
}

static inline void reductions(struct rng *rng, MPI_Comm comm, int n, int rank, int form) {
    struct reduction it = some_reduction(rng);
    int kind = below(rng, 6), in_place = once_in(rng, 3), root = below(rng, n), count = below(rng, 6);
    int counts[RANKS_MAX], who[RANKS_MAX], total = 0, mine = 0, early = it.own && once_in(rng, 2);
    uint64_t key = draw(rng);
    if (once_in(rng, 3)) count = between(rng, 50, 400);
    if (once_in(rng, 9)) count = between(rng, 5000, 20000);
    for (int i = 0; i < n; i++) {
        counts[i] = kind == 5 ? count / n + (i < count % n) : below(rng, 4) * (count / 4 + 1);
        if (kind == 4) counts[i] = count;
        who[i] = i;
        if (i < rank) mine += counts[i];
        total += counts[i];
    }
    if (kind < 4) total = count;
    int64_t extent = extent_of(it.type);
    char *sent = malloc((size_t)(total * extent) + 1), *got = calloc((size_t)(total * extent) + 1, 1);
    if (kind == 0 && rank != root) in_place = 0;
    fill_numbers(&it, in_place ? got : sent, total, key, rank);
    const void *from = in_place ? MPI_IN_PLACE : sent;
    MPI_Request request = MPI_REQUEST_NULL;
    /* MPICH 5.0.2 frees what it did not get where these are persistent. */
    if (peer && form == 2) form = 1;
    TELL("reduction %d, own %d, in place %d, form %d, count %d, early %d", kind, it.own, in_place, form, total, early);
    if (early && form == 1 && kind == 1) {
        /* The type and the operation are freed while they are in use. */
        MPI_Datatype type = it.type;
        MPI_Op op = it.op;
        if (it.own) {
            OK(MPI_Type_dup(it.type, &type));
            OK(MPI_Op_create(compose, 0, &op));
        }
        OK(MPI_Iallreduce(from, got, count, type, op, comm, &request));
        OK(MPI_Type_free(&type));
        OK(MPI_Op_free(&op));
        OK(MPI_Wait(&request, MPI_STATUS_IGNORE));
    } else if (kind == 0) {
        CALL(form, Reduce, reduce, from, got, count, it.type, it.op, root, comm);
    } else if (kind == 1) CALL(form, Allreduce, allreduce, from, got, count, it.type, it.op, comm);
    else if (kind == 2) CALL(form, Scan, scan, from, got, count, it.type, it.op, comm);
    else if (kind == 3) CALL(form, Exscan, exscan, from, got, count, it.type, it.op, comm);
    else if (kind == 4) {
        CALL(form, Reduce_scatter_block, reduce_scatter_block, from, got, count, it.type, it.op, comm);
    } else CALL(form, Reduce_scatter, reduce_scatter, from, got, counts, it.type, it.op, comm);
    int wanted = kind < 4 ? count : counts[rank], at = kind < 4 ? 0 : mine;
    int last = kind == 2 ? rank : kind == 3 ? rank - 1 : n - 1;
    uint64_t hash = 0;
    if ((kind != 0 || rank == root) && last >= 0 && (kind != 3 || rank > 0)) {
        hash = hash_items(&it, got, wanted);
        CHECK(hash == folded(&it, total, key, who, last, at, wanted));
    }
    say("reduction", hash);
    free(sent), free(got);
    drop_reduction(&it);
}

static inline void collectives_step(struct rng *shared, MPI_Comm comm) {
    int n, rank, form = below(shared, 3);
    OK(MPI_Comm_size(comm, &n));
    OK(MPI_Comm_rank(comm, &rank));
    switch (below(shared, 10)) {
    case 0: case 1: all_to_all(shared, comm, n, rank, form); break;
    case 2: case 3: gathering(shared, comm, n, rank, form); break;
    case 4: scattering(shared, comm, n, rank, form); break;
    case 5: neighbors(shared, comm, form); break;
    case 6:
        if (n > 1) between_groups(shared, comm, form);
        break;
    default: reductions(shared, comm, n, rank, form);
    }
}

#endif
