/* Steps of collectives that move: each block says whose it is, so that every rank knows what it
   must get. */
#ifndef COLLECTIVES_H
#define COLLECTIVES_H

#include "communicators.h"
#include "messages.h"

#define RANKS_MAX 16

/* One call in one of three forms. */
#define CALL(form, Name, name, ...)                                        \
    do {                                                                   \
        MPI_Request request_;                                              \
        if ((form) == 0) OK(MPI_##Name(__VA_ARGS__));                      \
        if ((form) == 1) OK(MPI_I##name(__VA_ARGS__, &request_));          \
        if ((form) == 2) {                                                 \
            OK(MPI_##Name##_init(__VA_ARGS__, MPI_INFO_NULL, &request_));  \
            OK(MPI_Start(&request_));                                      \
        }                                                                  \
        if ((form) != 0) OK(MPI_Wait(&request_, MPI_STATUS_IGNORE));       \
        if ((form) == 2) OK(MPI_Request_free(&request_));                  \
    } while (0)

/* How many items go from each to each, and where they lie there, in items. */
struct plan {
    int n, counts[RANKS_MAX][RANKS_MAX], from[RANKS_MAX][RANKS_MAX], to[RANKS_MAX][RANKS_MAX];
    int room;
    uint64_t key;
    struct layout out, in;
    struct memory sent, got;
};

/* Blocks in any order, with gaps. */
static inline int spread(struct rng *rng, int n, const int counts[], int places[]) {
    int order[RANKS_MAX], at = 0;
    for (int i = 0; i < n; i++) order[i] = i;
    shuffle(rng, order, n);
    for (int i = 0; i < n; i++) {
        at += below(rng, 3);
        places[order[i]] = at;
        at += counts[order[i]];
    }
    return at;
}

/* Evenly: without v, blocks are all of one length, side by side. */
static inline void make_plan(struct rng *rng, struct plan *it, int n, int even, int symmetric) {
    int common = once_in(rng, 5) ? between(rng, 100, 300) : between(rng, 1, 4);
    *it = (struct plan){.n = n, .key = draw(rng)};
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++) {
            it->counts[i][j] = even ? common : once_in(rng, 9) ? between(rng, 50, 100) : below(rng, 4);
            if (symmetric && j < i) it->counts[i][j] = it->counts[j][i];
        }
    }
    for (int i = 0; i < n; i++) {
        int column[RANKS_MAX], places[RANKS_MAX];
        for (int j = 0; j < n; j++) {
            it->from[i][j] = j * common;
            it->to[j][i] = j * common;
            column[j] = it->counts[j][i];
        }
        if (!even) {
            int a = spread(rng, n, it->counts[i], it->from[i]), b = spread(rng, n, column, places);
            for (int j = 0; j < n; j++) it->to[j][i] = places[j];
            it->room = it->room > a ? it->room : a;
            it->room = it->room > b ? it->room : b;
        } else it->room = n * common;
    }
    struct rng a = stream(it->key, 1, 1), b = stream(it->key, 2, 2);
    struct layout like = some_layout(&a, below(&a, 4), 12);
    it->out = scattered(&b, &like), it->in = scattered(&b, &like);
    drop_layout(&like);
    OK(MPI_Type_commit(&it->out.type));
    OK(MPI_Type_commit(&it->in.type));
    it->sent = memory_for(&it->out, it->room), it->got = memory_for(&it->in, it->room);
}

static inline void drop_plan(struct plan *it) {
    drop_layout(&it->out), drop_layout(&it->in);
    free(it->sent.base), free(it->got.base);
}

/* `count` items at `there` are those of `who` at `place`. */
static inline void block_is(struct plan *it, int who, int place, int there, int count, int in_place) {
    const struct layout *layout = in_place ? &it->in : &it->out;
    struct memory memory = memory_for(layout, it->room);
    fill(&memory, it->key, (uint64_t)who);
    size_t len = gather_items(layout, count, memory.at + place * extent_of(layout->type), NULL);
    char *wanted = malloc(len + 1), *found = malloc(len + 1);
    gather_items(layout, count, memory.at + place * extent_of(layout->type), wanted);
    gather_items(&it->in, count, it->got.at + there * extent_of(it->in.type), found);
    if (memcmp(wanted, found, len)) {
        fprintf(stderr, "seed %llu step %d rank %d: the block of %d is wrong\n",
                (unsigned long long)seed, step, me, who);
    }
    CHECK(memcmp(wanted, found, len) == 0);
    free(memory.base), free(wanted), free(found);
}

static inline void bytes_of(int n, const int from[], int to[], int64_t extent) {
    for (int i = 0; i < n; i++) to[i] = (int)(from[i] * extent);
}

static inline void all_to_all(struct rng *rng, MPI_Comm comm, int n, int rank, int form) {
    int kind = below(rng, 3), in_place = once_in(rng, 3), column[RANKS_MAX], places[RANKS_MAX];
    struct plan plan;
    make_plan(rng, &plan, n, kind == 0, in_place);
    for (int i = 0; i < n; i++) column[i] = plan.counts[i][rank], places[i] = plan.to[i][rank];
    fill(&plan.sent, plan.key, (uint64_t)rank);
    if (in_place) fill(&plan.got, plan.key, (uint64_t)rank);
    else empty(&plan.got);
    const void *sent = in_place ? MPI_IN_PLACE : plan.sent.at;
    const int *counts = plan.counts[rank], *from = plan.from[rank];
    TELL("all to all %d, in place %d, form %d", kind, in_place, form);
    if (kind == 0) {
        CALL(form, Alltoall, alltoall, sent, counts[0], plan.out.type, plan.got.at, column[0],
             plan.in.type, comm);
    } else if (kind == 1) {
        CALL(form, Alltoallv, alltoallv, sent, counts, from, plan.out.type, plan.got.at, column,
             places, plan.in.type, comm);
    } else {
        int a[RANKS_MAX], b[RANKS_MAX];
        MPI_Datatype outs[RANKS_MAX], ins[RANKS_MAX];
        for (int i = 0; i < n; i++) outs[i] = plan.out.type, ins[i] = plan.in.type;
        bytes_of(n, from, a, extent_of(plan.out.type));
        bytes_of(n, places, b, extent_of(plan.in.type));
        CALL(form, Alltoallw, alltoallw, sent, counts, a, outs, plan.got.at, column, b, ins, comm);
    }
    for (int i = 0; i < n; i++) {
        /* In place, what is sent lies where the answer comes. */
        int place = in_place ? plan.to[rank][i] : plan.from[i][rank];
        block_is(&plan, i, place, places[i], column[i], in_place);
    }
    say("alltoall", hash_memory(HASH, &plan.got));
    drop_plan(&plan);
}

/* Every rank has one block, that all or the root gets: the column of rank 0 in the plan. */
static inline void gathering(struct rng *rng, MPI_Comm comm, int n, int rank, int form) {
    int kind = below(rng, 4), root = below(rng, n), in_place = once_in(rng, 3);
    int column[RANKS_MAX], places[RANKS_MAX], all = kind & 1, to_me = all || rank == root;
    struct plan plan;
    make_plan(rng, &plan, n, kind < 2, 0);
    for (int i = 0; i < n; i++) column[i] = plan.counts[i][0], places[i] = plan.to[i][0];
    in_place = in_place && to_me;
    fill(&plan.sent, plan.key, (uint64_t)rank);
    if (in_place) fill(&plan.got, plan.key, (uint64_t)rank);
    else empty(&plan.got);
    const void *sent = in_place ? MPI_IN_PLACE : plan.sent.at;
    void *got = plan.got.at;
    MPI_Datatype out = plan.out.type, in = plan.in.type;
    TELL("gather %d, in place %d, form %d", kind, in_place, form);
    switch (kind) {
    case 0: CALL(form, Gather, gather, sent, column[rank], out, got, column[0], in, root, comm); break;
    case 1: CALL(form, Allgather, allgather, sent, column[rank], out, got, column[0], in, comm); break;
    case 2:
        CALL(form, Gatherv, gatherv, sent, column[rank], out, got, column, places, in, root, comm);
        break;
    default:
        CALL(form, Allgatherv, allgatherv, sent, column[rank], out, got, column, places, in, comm);
    }
    for (int i = 0; i < n && to_me; i++) {
        int own = in_place && (all || i == rank);
        block_is(&plan, i, own ? places[i] : 0, places[i], column[i], own);
    }
    say("gather", hash_memory(HASH, &plan.got));
    drop_plan(&plan);
}

static inline void scattering(struct rng *rng, MPI_Comm comm, int n, int rank, int form) {
    int kind = below(rng, 3), root = below(rng, n), in_place = once_in(rng, 3) && rank == root;
    struct plan plan;
    make_plan(rng, &plan, n, kind == 0, 0);
    const int *counts = plan.counts[root], *places = plan.from[root];
    fill(&plan.sent, plan.key, (uint64_t)rank);
    empty(&plan.got);
    void *got = in_place ? MPI_IN_PLACE : plan.got.at;
    MPI_Datatype out = plan.out.type, in = plan.in.type;
    TELL("scatter %d, in place %d, form %d", kind, in_place, form);
    if (kind == 0) {
        CALL(form, Scatter, scatter, plan.sent.at, counts[0], out, got, counts[0], in, root, comm);
    } else if (kind == 1) {
        CALL(form, Scatterv, scatterv, plan.sent.at, counts, places, out, got, counts[rank], in,
             root, comm);
    } else {
        /* A broadcast, of which all have the same type. */
        if (rank == root) fill(&plan.got, plan.key, (uint64_t)root);
        CALL(form, Bcast, bcast, plan.got.at, plan.room, in, root, comm);
        block_is(&plan, root, 0, 0, plan.room, 1);
    }
    if (kind < 2 && !in_place) block_is(&plan, root, places[rank], 0, counts[rank], 0);
    say(kind < 2 ? "scatter" : "bcast", rank == root && kind < 2 ? 0 : hash_memory(HASH, &plan.got));
    drop_plan(&plan);
}

/* Between the neighbours of a grid or a graph. */
static inline void neighbors(struct rng *rng, MPI_Comm of, int form) {
    MPI_Comm comm;
    int n, rank, sources[RANKS_MAX], targets[RANKS_MAX], blocks[RANKS_MAX], ins = 0, outs = 0;
    OK(MPI_Comm_size(of, &n));
    int grid = below(rng, 2), whole = below(rng, 2), dims[2] = {0}, periods[2];
    if (grid) {
        OK(MPI_Dims_create(n, 2, dims));
        periods[0] = below(rng, 2), periods[1] = below(rng, 2);
        OK(MPI_Cart_create(of, 2, dims, periods, 0, &comm));
        OK(MPI_Comm_rank(comm, &rank));
        for (int d = 0; d < 2; d++) {
            OK(MPI_Cart_shift(comm, d, 1, &sources[ins], &sources[ins + 1]));
            blocks[ins] = ins + 1, blocks[ins + 1] = ins;
            ins += 2;
        }
        outs = ins;
        memcpy(targets, sources, sizeof targets);
    } else {
        int edges = below(rng, 9), sent[RANKS_MAX] = {0};
        OK(MPI_Comm_rank(of, &rank));
        for (int i = 0; i < edges; i++) {
            int from = below(rng, n), to = below(rng, n);
            if (to == rank) sources[ins] = from, blocks[ins++] = sent[from];
            if (from == rank) targets[outs++] = to;
            sent[from]++;
        }
        OK(MPI_Dist_graph_create_adjacent(of, ins, sources, MPI_UNWEIGHTED, outs, targets,
                                          MPI_UNWEIGHTED, MPI_INFO_NULL, 0, &comm));
    }
    struct plan plan;
    make_plan(rng, &plan, RANKS_MAX, 1, 0);
    int count = plan.counts[0][0], kind = below(rng, 4), counts[RANKS_MAX], places[RANKS_MAX];
    for (int i = 0; i < RANKS_MAX; i++) counts[i] = count, places[i] = (RANKS_MAX - 1 - i) * count;
    fill(&plan.sent, plan.key, (uint64_t)rank);
    empty(&plan.got);
    void *sent = plan.sent.at, *got = plan.got.at;
    MPI_Datatype out = plan.out.type, in = plan.in.type;
    TELL("neighbors, grid %d of %d %d (%d, %d), %d in, %d out, kind %d, form %d", grid, dims[0], dims[1],
         grid ? periods[0] : 0, grid ? periods[1] : 0, ins, outs, kind, form);
    switch (kind) {
    case 0:
        CALL(form, Neighbor_allgather, neighbor_allgather, sent, count, out, got, count, in, comm);
        break;
    case 1:
        CALL(form, Neighbor_allgatherv, neighbor_allgatherv, sent, count, out, got, counts, places,
             in, comm);
        break;
    case 2:
        CALL(form, Neighbor_alltoall, neighbor_alltoall, sent, count, out, got, count, in, comm);
        break;
    default:
        CALL(form, Neighbor_alltoallv, neighbor_alltoallv, sent, counts, places, out, got, counts,
             places, in, comm);
    }
    for (int i = 0; i < ins; i++) {
        int there = kind & 1 ? places[i] : i * count, block = blocks[i];
        int place = kind < 2 ? 0 : kind == 2 ? block * count : places[block];
        if (sources[i] == MPI_PROC_NULL) continue;
        block_is(&plan, sources[i], place, there, count, 0);
    }
    (void)whole;
    say("neighbors", hash_memory(HASH, &plan.got));
    drop_plan(&plan);
    OK(MPI_Comm_free(&comm));
}

/* From one group to the other. Ranks are told apart by their numbers in the world. */
static inline void between_groups(struct rng *rng, MPI_Comm of, int form) {
    MPI_Comm comm = some_intercomm(rng, of);
    MPI_Group world, local, remote;
    int here, there, rank, theirs[RANKS_MAX], kind = below(rng, 5), all[RANKS_MAX], my_side;
    OK(MPI_Comm_size(comm, &here));
    OK(MPI_Comm_remote_size(comm, &there));
    OK(MPI_Comm_rank(comm, &rank));
    OK(MPI_Comm_group(MPI_COMM_WORLD, &world));
    OK(MPI_Comm_group(comm, &local));
    OK(MPI_Comm_remote_group(comm, &remote));
    for (int i = 0; i < RANKS_MAX; i++) all[i] = i;
    OK(MPI_Group_translate_ranks(remote, there, all, world, theirs));
    int mine;
    OK(MPI_Group_translate_ranks(local, 1, all, world, &mine));
    my_side = mine < theirs[0];
    OK(MPI_Group_free(&world));
    OK(MPI_Group_free(&local));
    OK(MPI_Group_free(&remote));
    struct plan plan;
    make_plan(rng, &plan, RANKS_MAX, 1, 0);
    int count = plan.counts[0][0], giving = below(rng, 2) == my_side, pick = below(rng, 16);
    int root = giving ? pick % here : pick % there;
    int as = giving ? root == rank ? MPI_ROOT : MPI_PROC_NULL : root;
    fill(&plan.sent, plan.key, (uint64_t)me);
    empty(&plan.got);
    void *sent = plan.sent.at, *got = plan.got.at;
    MPI_Datatype out = plan.out.type, in = plan.in.type;
    TELL("between groups of %d and %d, kind %d, form %d", here, there, kind, form);
    switch (kind) {
    case 0:
        CALL(form, Bcast, bcast, giving ? sent : got, count, giving ? out : in, as, comm);
        if (!giving) block_is(&plan, theirs[root], 0, 0, count, 0);
        break;
    case 1:
        CALL(form, Scatter, scatter, sent, count, out, got, count, in, as, comm);
        if (!giving) block_is(&plan, theirs[root], rank * count, 0, count, 0);
        break;
    case 2:
        CALL(form, Gather, gather, sent, count, out, got, count, in, as, comm);
        for (int i = 0; i < there && as == MPI_ROOT; i++) {
            block_is(&plan, theirs[i], 0, i * count, count, 0);
        }
        break;
    case 3:
        CALL(form, Allgather, allgather, sent, count, out, got, count, in, comm);
        for (int i = 0; i < there; i++) block_is(&plan, theirs[i], 0, i * count, count, 0);
        break;
    default:
        CALL(form, Alltoall, alltoall, sent, count, out, got, count, in, comm);
        for (int i = 0; i < there; i++) block_is(&plan, theirs[i], rank * count, i * count, count, 0);
    }
    CALL(form, Barrier, barrier, comm);
    say("between", hash_memory(HASH, &plan.got));
    drop_plan(&plan);
    OK(MPI_Comm_free(&comm));
}

#endif
