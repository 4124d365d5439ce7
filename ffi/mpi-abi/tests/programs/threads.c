/* Eight threads make communicators from different parents, at once. */
#include <pthread.h>

#include "claim.h"

#define THREADS 8
#define ROUNDS 20

static MPI_Comm parents[THREADS];

static void *make(void *argument)
{
    int number = (int)(long)argument, round, rank = rank_in(parents[number]);
    MPI_Comm parent = parents[number], made, next;
    MPI_Group group;

    OK(MPI_Comm_group(parent, &group));
    for (round = 0; round < ROUNDS; round++) {
        OK(MPI_Comm_dup(parent, &made));
        OK(MPI_Comm_split(made, rank % 2, 0, &next));
        CLAIM(sum(next, number) == number * size_of(next));
        OK(MPI_Comm_free(&next));
        OK(MPI_Comm_free(&made));
        /* All have one parent here: their tags tell them apart. */
        OK(MPI_Comm_create_group(MPI_COMM_WORLD, group, number, &made));
        CLAIM(sum(made, number) == number * size_of(made));
        OK(MPI_Comm_free(&made));
    }
    OK(MPI_Group_free(&group));
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    int provided, at;

    OK(MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided));
    CLAIM(provided == MPI_THREAD_MULTIPLE);
    for (at = 0; at < THREADS; at++)
        OK(MPI_Comm_dup(MPI_COMM_WORLD, &parents[at]));
    for (at = 0; at < THREADS; at++)
        CLAIM(pthread_create(&threads[at], NULL, make, (void *)(long)at) == 0);
    for (at = 0; at < THREADS; at++)
        CLAIM(pthread_join(threads[at], NULL) == 0);
    for (at = 0; at < THREADS; at++)
        OK(MPI_Comm_free(&parents[at]));
    OK(MPI_Finalize());
    return done();
}
