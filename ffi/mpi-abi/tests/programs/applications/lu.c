/* LU with partial pivoting as HPL does it: a grid of processes, the matrix in cyclic blocks, the
 * pivot found by an operation on (value, row) pairs within a column of the grid, rows exchanged by
 * vectors, panels sent along the rows of the grid by a ring in pieces, or by Ibcast, the rest updated
 * by all. The factors do not depend on the library or on the number of ranks. */

#include "common.h"

#include <math.h>

enum { ORDER = 96, BLOCK = 8, PIECES = 3 };

struct pair {
    double value;
    int row;
};

static MPI_Comm row_comm, column_comm, grid;
static int rank, size, dims[2], at[2], rows, columns;
static double *matrix; /* rows x columns, mine */

static int owner(int global, int parts)
{
    return global / BLOCK % parts;
}

static int local(int global, int parts)
{
    return global / (BLOCK * parts) * BLOCK + global % BLOCK;
}

static int global(int local, int part, int parts)
{
    return (local / BLOCK * parts + part) * BLOCK + local % BLOCK;
}

static int owned(int part, int parts)
{
    int count = 0;
    for (int i = 0; i < ORDER; i++)
        count += owner(i, parts) == part;
    return count;
}

/* First of my rows (columns) that is at or behind this one of the whole. */
static int from(int wanted, int part, int parts, int count)
{
    int i = 0;
    while (i < count && global(i, part, parts) < wanted)
        i++;
    return i;
}

static double *entry(int i, int j)
{
    return matrix + (size_t)i * columns + j;
}

/* The greatest value and of equal ones the lowest row; once predefined, once made here. */
static void greater(void *in, void *inout, int *count, MPI_Datatype *type)
{
    const struct pair *a = in;
    struct pair *b = inout;
    (void)type;
    for (int i = 0; i < *count; i++)
        if (a[i].value > b[i].value || (a[i].value == b[i].value && a[i].row < b[i].row))
            b[i] = a[i];
}

static int pivot_of(int k, MPI_Op mine)
{
    struct pair best = {-1, ORDER}, found, again;
    int j = local(k, dims[1]);
    for (int i = from(k, at[0], dims[0], rows); i < rows; i++)
        if (fabs(*entry(i, j)) > best.value) {
            best.value = fabs(*entry(i, j));
            best.row = global(i, at[0], dims[0]);
        }
    MPI_Allreduce(&best, &found, 1, MPI_DOUBLE_INT, MPI_MAXLOC, column_comm);
    MPI_Allreduce(&best, &again, 1, MPI_DOUBLE_INT, mine, column_comm);
    REQUIRE(found.value == again.value && found.row == again.row && found.row < ORDER);
    return found.row;
}

static void exchange_rows(int a, int b)
{
    int owner_a = owner(a, dims[0]), owner_b = owner(b, dims[0]);
    int mine = at[0] == owner_a ? a : b;
    if (a == b || (at[0] != owner_a && at[0] != owner_b))
        return;
    if (owner_a == owner_b) {
        double *x = entry(local(a, dims[0]), 0), *y = entry(local(b, dims[0]), 0);
        for (int j = 0; j < columns; j++) {
            double kept = x[j];
            x[j] = y[j];
            y[j] = kept;
        }
        return;
    }
    int other = at[0] == owner_a ? owner_b : owner_a;
    MPI_Sendrecv_replace(entry(local(mine, dims[0]), 0), columns, MPI_DOUBLE, other, 5, other, 5,
                         column_comm, MPI_STATUS_IGNORE);
}

/* The panel goes round the ring of my row of the grid, in pieces that follow one another. */
static void ring(double *panel, int count, int root)
{
    int parts = dims[1], distance = (at[1] - root + parts) % parts;
    int before = (at[1] + parts - 1) % parts, after = (at[1] + 1) % parts;
    MPI_Request sent[PIECES], got[PIECES];
    for (int i = 0; i < PIECES; i++) {
        int begin = count * i / PIECES, length = count * (i + 1) / PIECES - begin;
        sent[i] = got[i] = MPI_REQUEST_NULL;
        if (distance > 0)
            MPI_Irecv(panel + begin, length, MPI_DOUBLE, before, 6, row_comm, &got[i]);
    }
    for (int i = 0; i < PIECES; i++) {
        int begin = count * i / PIECES, length = count * (i + 1) / PIECES - begin;
        MPI_Wait(&got[i], MPI_STATUS_IGNORE);
        if (distance + 1 < parts)
            MPI_Isend(panel + begin, length, MPI_DOUBLE, after, 6, row_comm, &sent[i]);
    }
    MPI_Waitall(PIECES, sent, MPI_STATUSES_IGNORE);
}

/* One column of factors at a time: right-looking, the simplest that has all the traffic. */
static void factor(MPI_Op mine, int with_ring)
{
    double *panel = room_for((size_t)rows + 1, sizeof(double));
    double *top = room_for((size_t)columns, sizeof(double));
    for (int k = 0; k < ORDER; k++) {
        int holder = owner(k, dims[1]), upper = owner(k, dims[0]), pivot = 0;
        if (at[1] == holder)
            pivot = pivot_of(k, mine);
        MPI_Bcast(&pivot, 1, MPI_INT, holder, row_comm);
        exchange_rows(k, pivot);

        int first = from(k + 1, at[0], dims[0], rows);
        int right = from(k + 1, at[1], dims[1], columns);
        double diagonal = 0;
        if (at[0] == upper && at[1] == holder)
            diagonal = *entry(local(k, dims[0]), local(k, dims[1]));
        if (at[1] == holder) {
            int j = local(k, dims[1]);
            MPI_Bcast(&diagonal, 1, MPI_DOUBLE, upper, column_comm);
            for (int i = first; i < rows; i++)
                panel[i - first] = *entry(i, j) /= diagonal;
        }
        if (at[0] == upper)
            memcpy(top, entry(local(k, dims[0]), 0), sizeof(double) * columns);
        MPI_Request down;
        MPI_Ibcast(top + right, columns - right, MPI_DOUBLE, upper, column_comm, &down);
        if (with_ring)
            ring(panel, rows - first, holder);
        else
            MPI_Bcast(panel, rows - first, MPI_DOUBLE, holder, row_comm);
        MPI_Wait(&down, MPI_STATUS_IGNORE);
        for (int i = first; i < rows; i++)
            for (int j = right; j < columns; j++)
                *entry(i, j) -= panel[i - first] * top[j];
    }
    free(panel);
    free(top);
}

/* Collected by types that place cyclic blocks: the distributed array of the standard. */
static uint64_t factors_word(void)
{
    uint64_t word = 0;
    MPI_Request sent;
    MPI_Isend(matrix, rows * columns, MPI_DOUBLE, 0, 7, grid, &sent);
    if (rank == 0) {
        double *whole = room_for((size_t)ORDER * ORDER, sizeof(double));
        for (int i = 0; i < size; i++) {
            int sizes[2] = {ORDER, ORDER}, blocks[2] = {BLOCK, BLOCK};
            int kinds[2] = {MPI_DISTRIBUTE_CYCLIC, MPI_DISTRIBUTE_CYCLIC};
            MPI_Datatype place;
            MPI_Type_create_darray(size, i, 2, sizes, kinds, blocks, dims, MPI_ORDER_C, MPI_DOUBLE,
                                   &place);
            MPI_Type_commit(&place);
            MPI_Recv(whole, 1, place, i, 7, grid, MPI_STATUS_IGNORE);
            MPI_Type_free(&place);
        }
        word = bytes_word(whole, sizeof(double) * ORDER * ORDER);
        free(whole);
    }
    MPI_Wait(&sent, MPI_STATUS_IGNORE);
    return word;
}

int main(int argc, char **argv)
{
    MPI_Op mine;
    uint64_t words[2];
    int periods[2] = {1, 1}, rows_remain[2] = {0, 1}, columns_remain[2] = {1, 0};
    MPI_Init(&argc, &argv);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Dims_create(size, 2, dims);
    MPI_Cart_create(MPI_COMM_WORLD, 2, dims, periods, 0, &grid);
    MPI_Comm_rank(grid, &rank);
    MPI_Cart_coords(grid, rank, 2, at);
    MPI_Cart_sub(grid, rows_remain, &row_comm);
    MPI_Cart_sub(grid, columns_remain, &column_comm);
    MPI_Op_create(greater, 1, &mine);
    rows = owned(at[0], dims[0]);
    columns = owned(at[1], dims[1]);
    for (int with_ring = 0; with_ring < 2; with_ring++) {
        matrix = room_for((size_t)rows * columns, sizeof(double));
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < columns; j++) {
                uint64_t row = global(i, at[0], dims[0]), column = global(j, at[1], dims[1]);
                *entry(i, j) = fraction_at(row * ORDER + column);
            }
        factor(mine, with_ring);
        words[with_ring] = factors_word();
        free(matrix);
    }
    REQUIRE(words[0] == words[1]);
    if (rank == 0)
        printf("lu: %016llx\n", (unsigned long long)words[0]);
    MPI_Op_free(&mine);
    MPI_Comm_free(&row_comm);
    MPI_Comm_free(&column_comm);
    MPI_Comm_free(&grid);
    MPI_Finalize();
    return 0;
}
