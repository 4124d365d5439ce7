/* Steps of making communicators and groups, and random communicators for the other steps. */
#ifndef COMMUNICATORS_H
#define COMMUNICATORS_H

#include "random.h"

static inline uint64_t hash_group(uint64_t hash, MPI_Group group) {
    MPI_Group world;
    int size, rank;
    OK(MPI_Comm_group(MPI_COMM_WORLD, &world));
    OK(MPI_Group_size(group, &size));
    OK(MPI_Group_rank(group, &rank));
    hash = hash_number(hash_number(hash, size), rank);
    for (int i = 0; i < size; i++) {
        int there;
        OK(MPI_Group_translate_ranks(group, 1, &i, world, &there));
        hash = hash_number(hash, there);
    }
    OK(MPI_Group_free(&world));
    return hash;
}

static inline uint64_t hash_comm(uint64_t hash, MPI_Comm comm) {
    MPI_Group group;
    int inter, result;
    if (comm == MPI_COMM_NULL) return hash_number(hash, -1);
    OK(MPI_Comm_group(comm, &group));
    hash = hash_group(hash, group);
    OK(MPI_Group_free(&group));
    OK(MPI_Comm_test_inter(comm, &inter));
    if (inter) {
        OK(MPI_Comm_remote_group(comm, &group));
        hash = hash_group(hash, group);
        OK(MPI_Group_free(&group));
    }
    OK(MPI_Comm_compare(comm, MPI_COMM_WORLD, &result));
    return hash_number(hash_number(hash, inter), result);
}

/* A group of some ranks of another, in any order. */
static inline MPI_Group some_group(struct rng *rng, MPI_Group of) {
    int size, list[64], n;
    MPI_Group group;
    OK(MPI_Group_size(of, &size));
    for (int i = 0; i < size; i++) list[i] = i;
    shuffle(rng, list, size);
    n = below(rng, size + 1);
    OK(MPI_Group_incl(of, n, list, &group));
    return group;
}

/* A communicator made of another, by all of it. Null where this rank is not in. */
static inline MPI_Comm some_comm(struct rng *rng, MPI_Comm of) {
    MPI_Comm comm = MPI_COMM_NULL;
    MPI_Group all, group;
    MPI_Request request;
    int rank, size, how = below(rng, 9), dims[2] = {0}, periods[2], keep[2];
    OK(MPI_Comm_rank(of, &rank));
    OK(MPI_Comm_size(of, &size));
    uint64_t colors = draw(rng), keys = draw(rng);
    TELL("comm %d of %d ranks", how, size);
    switch (how) {
    case 0: OK(MPI_Comm_dup(of, &comm)); break;
    case 1:
        OK(MPI_Comm_idup(of, &comm, &request));
        OK(MPI_Wait(&request, MPI_STATUS_IGNORE));
        break;
    case 2: case 3: case 4: {
        int color = (int)(mix(colors + (uint64_t)rank) % 3), key = (int)(mix(keys + (uint64_t)rank) % 5);
        if (how == 3 && color == 2) color = MPI_UNDEFINED;
        OK(MPI_Comm_split(of, color, key - 2, &comm));
        break;
    }
    case 5: case 6:
        OK(MPI_Comm_group(of, &all));
        group = some_group(rng, all);
        if (how == 5) OK(MPI_Comm_create(of, group, &comm));
        else {
            int in;
            OK(MPI_Group_rank(group, &in));
            if (in != MPI_UNDEFINED) OK(MPI_Comm_create_group(of, group, 12, &comm));
        }
        OK(MPI_Group_free(&group));
        OK(MPI_Group_free(&all));
        break;
    case 7:
        OK(MPI_Dims_create(size, 2, dims));
        periods[0] = below(rng, 2), periods[1] = below(rng, 2);
        MPI_Comm grid;
        OK(MPI_Cart_create(of, 2, dims, periods, 0, &grid));
        keep[0] = below(rng, 2), keep[1] = below(rng, 2);
        OK(MPI_Cart_sub(grid, keep, &comm));
        OK(MPI_Comm_free(&grid));
        break;
    default:
        OK(MPI_Comm_split(of, 0, -rank, &comm));
    }
    return comm;
}

/* An intercommunicator between two parts of a communicator of two ranks or more. */
static inline MPI_Comm some_intercomm(struct rng *rng, MPI_Comm of) {
    int rank, size, cut, side;
    MPI_Comm half, inter;
    OK(MPI_Comm_rank(of, &rank));
    OK(MPI_Comm_size(of, &size));
    cut = between(rng, 1, size - 1);
    int odd = below(rng, 2), reverse = below(rng, 2);
    side = odd && size > 1 ? rank % 2 : rank >= cut;
    int other = odd ? 1 : cut, leader = side ? 0 : other;
    OK(MPI_Comm_split(of, side, reverse ? -rank : rank, &half));
    int local = 0;
    OK(MPI_Comm_size(half, &local));
    local = reverse ? local - 1 : 0;
    OK(MPI_Intercomm_create(half, local, of, leader, 17, &inter));
    OK(MPI_Comm_free(&half));
    return inter;
}

static inline void groups_step(struct rng *shared) {
    MPI_Group world, a, b, c;
    int result, size;
    uint64_t hash = HASH;
    OK(MPI_Comm_group(MPI_COMM_WORLD, &world));
    a = some_group(shared, world), b = some_group(shared, world);
    OK(MPI_Group_union(a, b, &c));
    hash = hash_group(hash, c);
    OK(MPI_Group_free(&c));
    OK(MPI_Group_intersection(a, b, &c));
    hash = hash_group(hash, c);
    OK(MPI_Group_free(&c));
    OK(MPI_Group_difference(a, b, &c));
    hash = hash_group(hash, c);
    OK(MPI_Group_compare(a, c, &result));
    hash = hash_number(hash, result);
    OK(MPI_Group_free(&c));
    OK(MPI_Group_size(a, &size));
    if (size > 0) {
        int last = size - 1, step_ = between(shared, 1, 3), range[1][3] = {{last, 0, -step_}};
        OK(MPI_Group_range_incl(a, 1, range, &c));
    hash = hash_group(hash, c);
        OK(MPI_Group_free(&c));
        OK(MPI_Group_range_excl(a, 1, range, &c));
    hash = hash_group(hash, c);
        OK(MPI_Group_free(&c));
        OK(MPI_Group_excl(a, 1, &last, &c));
    hash = hash_group(hash, c);
        OK(MPI_Group_free(&c));
    }
    OK(MPI_Group_free(&a));
    OK(MPI_Group_free(&b));
    OK(MPI_Group_free(&world));
    say("groups", hash);
}

static inline void free_comm(MPI_Comm *comm) {
    if (*comm != MPI_COMM_NULL && *comm != MPI_COMM_WORLD) OK(MPI_Comm_free(comm));
}

static inline void communicators_step(struct rng *shared) {
    groups_step(shared);
    MPI_Comm one = some_comm(shared, MPI_COMM_WORLD), two = MPI_COMM_NULL, inter, merged;
    say("comm", hash_comm(HASH, one));
    /* Each part goes on alone, alike. */
    struct rng part = *shared;
    if (one != MPI_COMM_NULL) two = some_comm(&part, one);
    say("comm", hash_comm(HASH, two));
    free_comm(&two);
    free_comm(&one);
    if (ranks < 2) return;
    inter = some_intercomm(shared, MPI_COMM_WORLD);
    say("inter", hash_comm(HASH, inter));
    MPI_Group local;
    int first = 0, here, high, how = below(shared, 3);
    OK(MPI_Comm_group(inter, &local));
    MPI_Group world;
    OK(MPI_Comm_group(MPI_COMM_WORLD, &world));
    OK(MPI_Group_translate_ranks(world, 1, &first, local, &here));
    OK(MPI_Group_free(&world));
    OK(MPI_Group_free(&local));
    high = (here == MPI_UNDEFINED) ^ (how & 1);
    OK(MPI_Intercomm_merge(inter, high, &merged));
    say("merged", hash_comm(HASH, merged));
    if (how == 2) {
        MPI_Comm copy;
        OK(MPI_Comm_dup(inter, &copy));
        say("inter", hash_comm(HASH, copy));
        OK(MPI_Comm_free(&copy));
        int rank;
        OK(MPI_Comm_rank(inter, &rank));
        OK(MPI_Comm_split(inter, rank % 2, -rank, &copy));
        /* A color that only one side has: the standard says MPI_COMM_NULL. */
        say("inter", hash_comm(HASH, copy));
        free_comm(&copy);
    }
    OK(MPI_Comm_free(&merged));
    OK(MPI_Comm_free(&inter));
}

#endif
