/* Steps about datatypes alone: bounds, contents, pack, unpack, external32. */
#ifndef TYPES_H
#define TYPES_H

#include "layouts.h"

static inline uint64_t hash_contents(uint64_t hash, MPI_Datatype type, int depth) {
    int ni, na, nd, combiner;
    OK(MPI_Type_get_envelope(type, &ni, &na, &nd, &combiner));
    hash = hash_number(hash_number(hash_number(hash_number(hash, ni), na), nd), combiner);
    if (combiner == MPI_COMBINER_NAMED) return hash_number(hash, (int64_t)(intptr_t)type);
    int *ints = malloc(sizeof(int) * (size_t)(ni + 1));
    MPI_Aint *places = malloc(sizeof(MPI_Aint) * (size_t)(na + 1));
    MPI_Datatype *types = malloc(sizeof(MPI_Datatype) * (size_t)(nd + 1));
    OK(MPI_Type_get_contents(type, ni, na, nd, ints, places, types));
    hash = hash_bytes(hash, ints, sizeof(int) * (size_t)ni);
    hash = hash_bytes(hash, places, sizeof(MPI_Aint) * (size_t)na);
    for (int i = 0; i < nd; i++) {
        int n, named;
        if (depth > 0) hash = hash_contents(hash, types[i], depth - 1);
        OK(MPI_Type_get_envelope(types[i], &n, &n, &n, &named));
        if (named != MPI_COMBINER_NAMED) OK(MPI_Type_free(&types[i]));
    }
    free(ints), free(places), free(types);
    return hash;
}

static inline uint64_t hash_bounds(uint64_t hash, MPI_Datatype type) {
    MPI_Aint lb, extent, true_lb, true_extent;
    MPI_Count size;
    OK(MPI_Type_get_extent(type, &lb, &extent));
    OK(MPI_Type_get_true_extent(type, &true_lb, &true_extent));
    OK(MPI_Type_size_c(type, &size));
    TELL("lb %ld extent %ld true %ld %ld size %lld", (long)lb, (long)extent, (long)true_lb,
         (long)true_extent, (long long)size);
    hash = hash_number(hash_number(hash, lb), extent);
    return hash_number(hash, size);
}

static inline void true_bounds_hold(const struct layout *it) {
    MPI_Aint lb, extent;
    int64_t low = INT64_MAX, high = INT64_MIN;
    for (int i = 0; i < it->n; i++) {
        int64_t end = it->at[i] + kinds[it->kind[i]].size;
        if (it->at[i] < low) low = it->at[i];
        if (end > high) high = end;
    }
    if (it->n == 0 || peer) return;
    OK(MPI_Type_get_true_extent(it->type, &lb, &extent));
    CHECK(lb == low && extent == high - low);
}

/* Packs a few items in several pieces: the bytes are those of the typemap. */
static inline uint64_t pack_step(struct rng *rng, const struct layout *it, int count, int apart) {
    struct memory memory = memory_for(it, count), back = memory_for(it, count);
    fill(&memory, (uint64_t)step, 1);
    size_t len = gather_items(it, count, memory.at, NULL);
    char *wanted = malloc(len + 1), *packed;
    gather_items(it, count, memory.at, wanted);
    int room, position = 0;
    OK(MPI_Pack_size(count, it->type, MPI_COMM_WORLD, &room));
    CHECK((size_t)room >= len);
    packed = malloc((size_t)room + 9);
    int64_t extent = extent_of(it->type);
    for (int done = 0; done < count;) {
        int some = between(rng, 1, count - done);
        OK(MPI_Pack(memory.at + done * extent, some, it->type, packed, room, &position,
                    MPI_COMM_WORLD));
        done += some;
    }
    CHECK((size_t)position == len && memcmp(packed, wanted, len) == 0);
    empty(&back);
    position = 0;
    /* Back, where no two items come to one place. */
    for (int done = 0; done < count && apart;) {
        int some = between(rng, 1, count - done);
        OK(MPI_Unpack(packed, (int)len, &position, back.at + done * extent, some, it->type,
                      MPI_COMM_WORLD));
        done += some;
    }
    uint64_t hash = hash_bytes(hash_memory(HASH, &back), wanted, len);
    free(memory.base), free(back.base), free(wanted), free(packed);
    return hash;
}

static inline uint64_t external_step(const struct layout *it, int count) {
    struct memory memory = memory_for(it, count), back = memory_for(it, count);
    fill(&memory, (uint64_t)step, 2);
    MPI_Aint room, position = 0;
    OK(MPI_Pack_external_size("external32", count, it->type, &room));
    char *packed = malloc((size_t)room + 1);
    OK(MPI_Pack_external("external32", memory.at, count, it->type, packed, room, &position));
    CHECK(position == room);
    uint64_t hash = hash_bytes(hash_number(HASH, room), packed, (size_t)position);
    empty(&back);
    position = 0;
    OK(MPI_Unpack_external("external32", packed, room, &position, back.at, count, it->type));
    free(memory.base), free(back.base), free(packed);
    return hash;
}

/* Counts of a message of any number of predefined items. */
static inline uint64_t elements_step(struct rng *rng, const struct layout *it) {
    MPI_Status status;
    MPI_Count elements;
    int count;
    uint64_t hash = HASH;
    memset(&status, 0, sizeof status);
    OK(MPI_Status_set_elements(&status, it->type, it->n ? below(rng, 5) : 0));
    OK(MPI_Get_count(&status, it->type, &count));
    OK(MPI_Get_elements_c(&status, it->type, &elements));
    hash = hash_number(hash_number(hash, count), elements);
    if (it->n == 0) return hash;
    /* Some whole items, and part of one. */
    int whole = below(rng, 4), part = below(rng, it->n + 1);
    int64_t bytes = whole * (int64_t)gather_items(it, 1, NULL, NULL);
    for (int i = 0; i < part; i++) bytes += kinds[it->kind[i]].size;
    OK(MPI_Status_set_elements_c(&status, MPI_BYTE, bytes));
    OK(MPI_Get_count(&status, it->type, &count));
    OK(MPI_Get_elements_c(&status, it->type, &elements));
    CHECK(elements == (int64_t)whole * it->n + part);
    CHECK(count == (part == 0 ? whole : part == it->n ? whole + 1 : MPI_UNDEFINED));
    return hash_number(hash_number(hash, count), elements);
}

static inline void types_step(struct rng *shared) {
    struct rng rng = stream(shared->state, (uint64_t)me, 5);
    struct rng elements[] = {stream(shared->state, (uint64_t)me, 6)};
    empties = once_in(shared, 2);
    if (empties && peer) return;
    struct layout it = some_layout(&rng, between(&rng, 1, 4), 300);
    empties = 0;
    int count = below(&rng, 5);
    TELL("type of %d items, count %d", it.n, count);
    say("bounds", hash_bounds(HASH, it.type));
    say("contents", hash_contents(HASH, it.type, 9));
    true_bounds_hold(&it);
    OK(MPI_Type_commit(&it.type));
    say("elements", peer ? 0 : elements_step(elements, &it));
    say("pack", pack_step(&rng, &it, count, 0));
    say("external", peer ? 0 : external_step(&it, count));
    struct layout other = scattered(&rng, &it);
    OK(MPI_Type_commit(&other.type));
    say("bounds", hash_bounds(HASH, other.type));
    say("pack", pack_step(&rng, &other, count, 1));
    drop_layout(&other);
    drop_layout(&it);
}

#endif
