/* The same collective again and again, with one thing changed between two calls: nothing that the library
 * keeps from the call before may be seen in the next. With 2 ranks or more. */
#include <pthread.h>

#include "claim.h"

enum { ROUNDS = 50, MOST = 300 };

static int rank, size;

/* The sum over all ranks of what `fill` gives them. */
static int expected(int i, int round) { return size * (i + round) + size * (size - 1) / 2; }

static void fill(int *into, int count, int round)
{
    int i;
    for (i = 0; i < count; i++)
        into[i] = i + round + rank;
}

static int right(const int *found, int count, int round)
{
    int i;
    for (i = 0; i < count; i++)
        if (found[i] != expected(i, round)) return 0;
    return 1;
}

static void counts_change(void)
{
    static const int counts[] = {1, 300, 0, 2, 17, 1, 299};
    int from[MOST], into[MOST + 1], round;
    for (round = 0; round < ROUNDS; round++) {
        int count = counts[round % 7];
        fill(from, count, round);
        memset(into, 0x55, sizeof into);
        OK(MPI_Allreduce(from, into, count, MPI_INT, MPI_SUM, MPI_COMM_WORLD));
        CLAIM(right(into, count, round) && into[count] == 0x55555555);
    }
}

static void in_place_and_not(void)
{
    int from[9], into[9], round;
    for (round = 0; round < ROUNDS; round++) {
        fill(round % 2 ? into : from, 9, round);
        OK(MPI_Allreduce(round % 2 ? MPI_IN_PLACE : from, into, 9, MPI_INT, MPI_SUM, MPI_COMM_WORLD));
        CLAIM(right(into, 9, round));
    }
}

static void roots_and_operations_change(void)
{
    int round, mine, found;
    for (round = 0; round < ROUNDS; round++) {
        int root = round % size;
        mine = rank + round;
        found = -1;
        OK(MPI_Reduce(&mine, &found, 1, MPI_INT, round % 3 ? MPI_MAX : MPI_SUM, root, MPI_COMM_WORLD));
        CLAIM(rank != root ? found == -1 : found == (round % 3 ? size - 1 + round : expected(0, round)));
        OK(MPI_Bcast(&mine, 1, MPI_INT, root, MPI_COMM_WORLD));
        CLAIM(mine == root + round);
    }
}

/* A type is freed, and the next one, of another layout, may get its handle. */
static void types_come_and_go(void)
{
    MPI_Datatype made, before = MPI_DATATYPE_NULL;
    int round, i, room[2 * MOST], freed;
    for (round = 0; round < ROUNDS; round++) {
        int stride = 1 + round % 3;
        OK(MPI_Type_vector(4, 1, stride, MPI_INT, &made));
        OK(MPI_Type_commit(&made));
        if (before != MPI_DATATYPE_NULL && before != made) {
            freed = MPI_Bcast(room, 1, before, 0, MPI_COMM_WORLD);
            FAILS(freed, MPI_ERR_TYPE);
        }
        for (i = 0; i < 12; i++)
            room[i] = rank == 0 ? round + i : -1;
        OK(MPI_Bcast(room, 1, made, 0, MPI_COMM_WORLD));
        for (i = 0; i < 12; i++)
            CLAIM(room[i] == (rank == 0 || (i % stride == 0 && i < 4 * stride) ? round + i : -1));
        before = made;
        OK(MPI_Type_free(&made));
    }
}

static void first(void *in, void *inout, int *count, MPI_Datatype *datatype)
{
    (void)datatype;
    memcpy(inout, in, (size_t)*count * sizeof(int));
}

static void last(void *in, void *inout, int *count, MPI_Datatype *datatype)
{
    (void)in, (void)inout, (void)count, (void)datatype;
}

/* An operation is freed, and the next one does something else. */
static void operations_come_and_go(void)
{
    MPI_Op op, before = MPI_OP_NULL;
    int round, mine = rank, found;
    for (round = 0; round < ROUNDS; round++) {
        OK(MPI_Op_create(round % 2 ? last : first, 0, &op));
        if (before != MPI_OP_NULL && before != op)
            FAILS(MPI_Allreduce(&mine, &found, 1, MPI_INT, before, MPI_COMM_WORLD), MPI_ERR_OP);
        OK(MPI_Allreduce(&mine, &found, 1, MPI_INT, op, MPI_COMM_WORLD));
        CLAIM(found == (round % 2 ? size - 1 : 0));
        before = op;
        OK(MPI_Op_free(&op));
    }
}

/* What is wrong is refused each time, before and after what is right; an operation is not defined for
 * each type. */
static void errors_in_between(void)
{
    int round, from[2] = {rank, 1}, into[2];
    double real[2] = {0, 0}, reals[2];
    MPI_Datatype raw;
    OK(MPI_Type_contiguous(2, MPI_INT, &raw));
    for (round = 0; round < ROUNDS; round++) {
        FAILS(MPI_Allreduce(from, into, -1, MPI_INT, MPI_SUM, MPI_COMM_WORLD), MPI_ERR_COUNT);
        FAILS(MPI_Allreduce(real, reals, 2, MPI_DOUBLE, MPI_BAND, MPI_COMM_WORLD), MPI_ERR_OP);
        FAILS(MPI_Allreduce(from, into, 0, MPI_INT, MPI_OP_NULL, MPI_COMM_WORLD), MPI_ERR_OP);
        FAILS(MPI_Allreduce(from, into, 2, MPI_DATATYPE_NULL, MPI_SUM, MPI_COMM_WORLD), MPI_ERR_TYPE);
        FAILS(MPI_Allreduce(from, from, 2, MPI_INT, MPI_SUM, MPI_COMM_WORLD), MPI_ERR_BUFFER);
        FAILS(MPI_Allreduce(NULL, into, 2, MPI_INT, MPI_SUM, MPI_COMM_WORLD), MPI_ERR_BUFFER);
        FAILS(MPI_Bcast(from, 2, MPI_INT, size, MPI_COMM_WORLD), MPI_ERR_ROOT);
        FAILS(MPI_Alltoall(from, 0, MPI_INT, into, 0, MPI_DATATYPE_NULL, MPI_COMM_WORLD), MPI_ERR_TYPE);
        FAILS(MPI_Alltoall(from, 0, raw, into, 0, MPI_INT, MPI_COMM_WORLD), MPI_ERR_TYPE);
        FAILS(MPI_Alltoall(from, 0, MPI_INT, into, 1, MPI_INT, MPI_COMM_WORLD), MPI_ERR_COUNT);
        FAILS(MPI_Alltoall(from, 0, MPI_INT, MPI_IN_PLACE, 0, MPI_INT, MPI_COMM_WORLD), MPI_ERR_BUFFER);
        FAILS(MPI_Allreduce(real, reals, 0, MPI_DOUBLE, MPI_BAND, MPI_COMM_WORLD), MPI_ERR_OP);
        OK(MPI_Alltoall(from, 0, MPI_INT, into, 0, MPI_INT, MPI_COMM_WORLD));
        OK(MPI_Alltoall(MPI_IN_PLACE, 7, MPI_DATATYPE_NULL, into, 0, MPI_INT, MPI_COMM_WORLD));
        OK(MPI_Allreduce(from, into, 2, MPI_INT, MPI_SUM, MPI_COMM_WORLD));
        CLAIM(into[0] == size * (size - 1) / 2 && into[1] == size);
    }
    OK(MPI_Type_free(&raw));
}

/* A communicator is freed, and the next one has other ranks, in another order. */
static void communicators_come_and_go(void)
{
    int round;
    for (round = 0; round < ROUNDS; round++) {
        MPI_Comm made, gone;
        int found = -1, root = 0;
        OK(MPI_Comm_split(MPI_COMM_WORLD, round % 3 ? 0 : rank % 2, round % 2 ? rank : -rank, &made));
        CLAIM(sum(made, 1) == size_of(made));
        if (rank_in(made) == 0) found = rank;
        OK(MPI_Bcast(&found, 1, MPI_INT, root, made));
        CLAIM(round % 3 == 0 || found == (round % 2 ? 0 : size - 1));
        gone = made;
        OK(MPI_Comm_free(&made));
        FAILS(MPI_Allreduce(&found, &root, 1, MPI_INT, MPI_SUM, gone), MPI_ERR_COMM);
    }
}

/* Background operations that overtake each other, with blocking ones in between. */
static void in_the_background(void)
{
    int from[4][MOST], into[4][MOST], round, i;
    MPI_Request requests[4];
    for (round = 0; round < ROUNDS; round++) {
        for (i = 0; i < 4; i++) {
            fill(from[i], MOST - i, round + i);
            OK(MPI_Iallreduce(from[i], into[i], MOST - i, MPI_INT, MPI_SUM, MPI_COMM_WORLD, &requests[i]));
        }
        CLAIM(sum(MPI_COMM_WORLD, 1) == size);
        OK(MPI_Waitall(4, requests, MPI_STATUSES_IGNORE));
        for (i = 0; i < 4; i++)
            CLAIM(right(into[i], MOST - i, round + i));
    }
}

static MPI_Comm of_threads[2];

static void *one_thread(void *argument)
{
    int number = (int)(long)argument, from[MOST], into[MOST], round;
    for (round = 0; round < 20 * ROUNDS; round++) {
        int count = 1 + (round * (number + 3)) % MOST;
        fill(from, count, round);
        OK(MPI_Allreduce(from, into, count, MPI_INT, MPI_SUM, of_threads[number]));
        CLAIM(right(into, count, round));
    }
    return NULL;
}

static void two_threads(void)
{
    pthread_t threads[2];
    long i;
    for (i = 0; i < 2; i++)
        OK(MPI_Comm_dup(MPI_COMM_WORLD, &of_threads[i]));
    for (i = 0; i < 2; i++)
        CLAIM(pthread_create(&threads[i], NULL, one_thread, (void *)i) == 0);
    for (i = 0; i < 2; i++) {
        CLAIM(pthread_join(threads[i], NULL) == 0);
        OK(MPI_Comm_free(&of_threads[i]));
    }
}

int main(int argc, char **argv)
{
    int provided;
    OK(MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided));
    CLAIM(provided == MPI_THREAD_MULTIPLE);
    OK(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    OK(MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN));
    rank = rank_in(MPI_COMM_WORLD);
    size = size_of(MPI_COMM_WORLD);
    counts_change();
    in_place_and_not();
    roots_and_operations_change();
    types_come_and_go();
    operations_come_and_go();
    errors_in_between();
    communicators_come_and_go();
    in_the_background();
    two_threads();
    OK(MPI_Finalize());
    return done();
}
