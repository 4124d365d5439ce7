/* How every program here takes and reports times: batches long enough for the clock, each a sample; the samples of one
 * size are summed up by their least and their median. One line on standard output for each size, by tabs:
 * what, ranks, bytes, samples, least and median time of one operation in microseconds. */
#ifndef SAMPLING_H
#define SAMPLING_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <mpi.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

enum { SAMPLES = 11 };
/* A batch takes this long, unless a single operation takes longer. */
static const double BATCH_SECONDS = 1.5e-3;
/* No size takes longer than this, however slow its operation: fewer samples are taken then. */
static const double SIZE_SECONDS = 0.12;

typedef void (*sampling_operation)(void *state);

/* On the core of its number, both libraries alike: their launchers bind in different ways. */
static void sampling_pin(int rank) {
    cpu_set_t all, one;
    int cores, core = 0, wanted;
    if (sched_getaffinity(0, sizeof all, &all) != 0) return;
    cores = CPU_COUNT(&all);
    for (wanted = rank % cores; !CPU_ISSET(core, &all) || wanted-- > 0; core++) continue;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    sched_setaffinity(0, sizeof one, &one);
}

static int sampling_ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Seconds of one operation in a batch; that of the slowest rank. */
static double sampling_batch(sampling_operation run, void *state, long times) {
    double begun, took, slowest;
    long i;
    MPI_Barrier(MPI_COMM_WORLD);
    begun = MPI_Wtime();
    for (i = 0; i < times; i++) run(state);
    took = MPI_Wtime() - begun;
    MPI_Allreduce(&took, &slowest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return slowest / (double)times;
}

/* The least of three: how long a batch must be should not be decided by one that was interrupted. */
static double sampling_calm(sampling_operation run, void *state, long times) {
    double least = sampling_batch(run, state, times), next;
    int i;
    for (i = 0; i < 2; i++) {
        next = sampling_batch(run, state, times);
        least = next < least ? next : least;
    }
    return least;
}

/* Measures and reports. `parts` is how many operations count as one: 2 for half a round trip. */
static void sampling_report(const char *what, long bytes, double parts, sampling_operation run, void *state) {
    double all[SAMPLES], once;
    long times = 1, count;
    int i, rank, ranks;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    /* Warm, and find out how many operations make a batch. All ranks see the same times. */
    sampling_batch(run, state, 2);
    for (once = sampling_calm(run, state, times); once * (double)times < BATCH_SECONDS / 4 && times < 1 << 16;) {
        times *= 4;
        once = sampling_calm(run, state, times);
    }
    times = (long)(BATCH_SECONDS / once);
    times = times < 1 ? 1 : times;
    count = (long)(SIZE_SECONDS / (once * (double)times));
    count = count < 3 ? 3 : count > SAMPLES ? SAMPLES : count;
    for (i = 0; i < count; i++) all[i] = 1e6 * sampling_batch(run, state, times) / parts;
    qsort(all, (size_t)count, sizeof all[0], sampling_ascending);
    if (rank == 0) {
        double median = (all[(count - 1) / 2] + all[count / 2]) / 2;
        printf("%s\t%d\t%ld\t%ld\t%.4f\t%.4f\n", what, ranks, bytes, count, all[0], median);
        fflush(stdout);
    }
}

/* Which library answers: the reader must be able to see that. Printed as a comment. */
static void sampling_library(void) {
    char text[MPI_MAX_LIBRARY_VERSION_STRING];
    int length, rank, i;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Get_library_version(text, &length);
    for (i = 0; i < length && text[i] != '\n'; i++) continue;
    if (rank == 0) printf("# %.*s\n", i, text);
}

/* Memory of its own pages, written once. */
static char *sampling_memory(size_t bytes) {
    size_t i, length = (bytes / 4096 + 1) * 4096;
    char *memory = aligned_alloc(4096, length);
    if (memory == NULL) {
        fprintf(stderr, "no memory for a buffer of %zu bytes\n", bytes);
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    for (i = 0; i < length; i++) memory[i] = (char)i;
    return memory;
}

#endif
