/* Ping-pong of strided vectors (1 of 2 doubles) against the same bytes side by side, between two
   ranks of one machine. For each size it prints the least time of one way, of several batches.

   Any MPI will do, so that libraries can be compared; vector.sh runs two of them in turn:
   mpicc -O2 vector.c -o vector && mpiexec -n 2 ./vector */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCHES = 8, BATCH_BYTES = 32 << 20 };

/* Microseconds of one way: the best batch. */
static double play(int rank, double *buffer, int count, MPI_Datatype type, int rounds) {
    double best = 1e30;
    for (int batch = 0; batch <= BATCHES; batch++) {
        MPI_Barrier(MPI_COMM_WORLD);
        double begun = MPI_Wtime();
        for (int i = 0; i < rounds; i++) {
            if (rank == 0) {
                MPI_Send(buffer, count, type, 1, 1, MPI_COMM_WORLD);
                MPI_Recv(buffer, count, type, 1, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
            } else {
                MPI_Recv(buffer, count, type, 0, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
                MPI_Send(buffer, count, type, 0, 1, MPI_COMM_WORLD);
            }
        }
        double took = (MPI_Wtime() - begun) * 1e6 / (2.0 * rounds);
        if (batch > 0 && took < best) best = took;
    }
    return best;
}

int main(void) {
    MPI_Init(NULL, NULL);
    int rank;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    const int sizes[] = {64 << 10, 1 << 20, 4 << 20};
    for (int at = 0; at < 3; at++) {
        int bytes = sizes[at], items = bytes / (int)sizeof(double);
        double *buffer = malloc(2 * (size_t)bytes);
        memset(buffer, 0, 2 * (size_t)bytes);
        MPI_Datatype vector;
        MPI_Type_vector(items, 1, 2, MPI_DOUBLE, &vector);
        MPI_Type_commit(&vector);
        int rounds = BATCH_BYTES / bytes;
        double strided = play(rank, buffer, 1, vector, rounds);
        double side_by_side = play(rank, buffer, items, MPI_DOUBLE, rounds);
        if (rank == 0)
            printf("%d vector %.1f us %.0f MB/s contiguous %.1f us %.0f MB/s\n", bytes, strided,
                   bytes / strided, side_by_side, bytes / side_by_side);
        MPI_Type_free(&vector);
        free(buffer);
    }
    MPI_Finalize();
    return 0;
}
