/* Conjugate gradients for the five-point Laplacian, rows of the grid spread over the ranks, edges by
 * persistent requests. Dot products are added up twice: in the order of the ranks by Allgather, which
 * gives the same bits with any library, and by Iallreduce while the next product is computed. */

#include "common.h"

#include <math.h>

enum { WIDTH = 48, HEIGHT = 64, STEPS = 400 };

static int rank, size, first, rows;
static MPI_Comm world;

static double ordered_sum(double mine)
{
    double *all = room_for((size_t)size, sizeof(double)), sum = 0;
    MPI_Allgather(&mine, 1, MPI_DOUBLE, all, 1, MPI_DOUBLE, world);
    for (int i = 0; i < size; i++)
        sum += all[i];
    free(all);
    return sum;
}

/* Sums of rows, each added up alone, so that the cut into ranks does not show within a row. */
static double dot(const double *a, const double *b)
{
    double mine = 0, sum = 0;
    MPI_Request request;
    for (int i = 0; i < rows; i++) {
        double row = 0;
        for (int j = 0; j < WIDTH; j++)
            row += a[(i + 1) * WIDTH + j] * b[(i + 1) * WIDTH + j];
        mine += row;
    }
    MPI_Iallreduce(&mine, &sum, 1, MPI_DOUBLE, MPI_SUM, world, &request);
    double ordered = ordered_sum(mine);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    REQUIRE(fabs(sum - ordered) <= 1e-12 * fabs(ordered));
    return ordered;
}

static void multiply(const double *p, double *q)
{
    for (int i = 1; i <= rows; i++)
        for (int j = 0; j < WIDTH; j++) {
            double left = j > 0 ? p[i * WIDTH + j - 1] : 0;
            double right = j + 1 < WIDTH ? p[i * WIDTH + j + 1] : 0;
            double sides = left + right, ends = p[(i - 1) * WIDTH + j] + p[(i + 1) * WIDTH + j];
            q[i * WIDTH + j] = 4 * p[i * WIDTH + j] - sides - ends;
        }
}

static uint64_t solution_word(const double *x)
{
    int *counts = room_for((size_t)size, sizeof(int)), *starts = room_for((size_t)size, sizeof(int));
    int mine = rows * WIDTH, start = first * WIDTH;
    double *whole = room_for((size_t)WIDTH * HEIGHT, sizeof(double));
    MPI_Allgather(&mine, 1, MPI_INT, counts, 1, MPI_INT, world);
    MPI_Allgather(&start, 1, MPI_INT, starts, 1, MPI_INT, world);
    MPI_Gatherv(x + WIDTH, mine, MPI_DOUBLE, whole, counts, starts, MPI_DOUBLE, 0, world);
    uint64_t word = bytes_word(whole, sizeof(double) * WIDTH * HEIGHT);
    free(whole);
    free(counts);
    free(starts);
    return word;
}

int main(int argc, char **argv)
{
    MPI_Request edges[4];
    MPI_Init(&argc, &argv);
    MPI_Comm_dup(MPI_COMM_WORLD, &world);
    MPI_Comm_rank(world, &rank);
    MPI_Comm_size(world, &size);
    first = HEIGHT * rank / size;
    rows = HEIGHT * (rank + 1) / size - first;
    size_t room = (size_t)(rows + 2) * WIDTH;
    double *x = room_for(room, sizeof(double)), *r = room_for(room, sizeof(double));
    double *p = room_for(room, sizeof(double)), *q = room_for(room, sizeof(double));
    for (int i = 0; i < rows * WIDTH; i++)
        p[WIDTH + i] = r[WIDTH + i] = fraction_at((uint64_t)first * WIDTH + i);

    int above = rank > 0 ? rank - 1 : MPI_PROC_NULL;
    int below = rank + 1 < size ? rank + 1 : MPI_PROC_NULL;
    MPI_Recv_init(p, WIDTH, MPI_DOUBLE, above, 0, world, &edges[0]);
    MPI_Recv_init(p + (rows + 1) * WIDTH, WIDTH, MPI_DOUBLE, below, 1, world, &edges[1]);
    MPI_Send_init(p + WIDTH, WIDTH, MPI_DOUBLE, above, 1, world, &edges[2]);
    MPI_Send_init(p + rows * WIDTH, WIDTH, MPI_DOUBLE, below, 0, world, &edges[3]);

    double rho = dot(r, r);
    double start = rho;
    int steps = 0;
    for (; steps < STEPS && rho > 1e-16 * start; steps++) {
        MPI_Startall(4, edges);
        MPI_Waitall(4, edges, MPI_STATUSES_IGNORE);
        multiply(p, q);
        double alpha = rho / dot(p, q);
        for (size_t i = WIDTH; i < room - WIDTH; i++) {
            x[i] += alpha * p[i];
            r[i] -= alpha * q[i];
        }
        double next = dot(r, r);
        double beta = next / rho;
        rho = next;
        for (size_t i = WIDTH; i < room - WIDTH; i++)
            p[i] = r[i] + beta * p[i];
    }
    REQUIRE(rho <= 1e-16 * start);
    uint64_t word = solution_word(x);
    if (rank == 0)
        printf("cg %d steps: residual %a solution %016llx\n", steps, rho, (unsigned long long)word);
    for (int i = 0; i < 4; i++)
        MPI_Request_free(&edges[i]);
    MPI_Comm_free(&world);
    free(x), free(r), free(p), free(q);
    MPI_Finalize();
    return 0;
}
