/* Heat on a square grid, cut into blocks by a Cartesian topology. The edges go to the neighbours
 * in four ways that must agree: nonblocking with a vector type, Sendrecv with subarrays, persistent
 * requests, and a neighborhood collective. The whole grid is collected by subarrays at the end. */

#include "common.h"

enum { SIDE = 60, STEPS = 24, WAYS = 4 };

struct block {
    MPI_Comm grid;
    int rank, size, dims[2], at[2];
    int rows, columns;             /* of the inside */
    int first_row, first_column;   /* of the inside, in the whole */
    int up, down, left, right;
    double *now, *next;            /* (rows + 2) x (columns + 2) */
    MPI_Datatype row, column;      /* edges without corners */
    MPI_Datatype send[4], receive[4]; /* up, down, left, right as subarrays of the block */
};

static int first_of(int part, int parts)
{
    return (int)((long)SIDE * part / parts);
}

static double *cell(struct block *b, double *grid, int row, int column)
{
    return grid + (size_t)row * (b->columns + 2) + column;
}

static MPI_Datatype window(struct block *b, int row, int column, int rows, int columns)
{
    int sizes[2] = {b->rows + 2, b->columns + 2};
    int subsizes[2] = {rows, columns}, starts[2] = {row, column};
    MPI_Datatype made;
    MPI_Type_create_subarray(2, sizes, subsizes, starts, MPI_ORDER_C, MPI_DOUBLE, &made);
    MPI_Type_commit(&made);
    return made;
}

static void make(struct block *b, int periodic)
{
    int periods[2] = {0, periodic};
    MPI_Comm_size(MPI_COMM_WORLD, &b->size);
    b->dims[0] = b->dims[1] = 0;
    MPI_Dims_create(b->size, 2, b->dims);
    MPI_Cart_create(MPI_COMM_WORLD, 2, b->dims, periods, 1, &b->grid);
    MPI_Comm_rank(b->grid, &b->rank);
    MPI_Cart_coords(b->grid, b->rank, 2, b->at);
    MPI_Cart_shift(b->grid, 0, 1, &b->up, &b->down);
    MPI_Cart_shift(b->grid, 1, 1, &b->left, &b->right);
    b->first_row = first_of(b->at[0], b->dims[0]);
    b->first_column = first_of(b->at[1], b->dims[1]);
    b->rows = first_of(b->at[0] + 1, b->dims[0]) - b->first_row;
    b->columns = first_of(b->at[1] + 1, b->dims[1]) - b->first_column;
    b->now = room_for((size_t)(b->rows + 2) * (b->columns + 2), sizeof(double));
    b->next = room_for((size_t)(b->rows + 2) * (b->columns + 2), sizeof(double));
    for (int i = 1; i <= b->rows; i++)
        for (int j = 1; j <= b->columns; j++) {
            uint64_t row = b->first_row + i - 1, column = b->first_column + j - 1;
            *cell(b, b->now, i, j) = fraction_at(row * SIDE + column);
        }
    MPI_Type_contiguous(b->columns, MPI_DOUBLE, &b->row);
    MPI_Type_vector(b->rows, 1, b->columns + 2, MPI_DOUBLE, &b->column);
    MPI_Type_commit(&b->row);
    MPI_Type_commit(&b->column);
    b->send[0] = window(b, 1, 1, 1, b->columns);
    b->send[1] = window(b, b->rows, 1, 1, b->columns);
    b->send[2] = window(b, 1, 1, b->rows, 1);
    b->send[3] = window(b, 1, b->columns, b->rows, 1);
    b->receive[0] = window(b, 0, 1, 1, b->columns);
    b->receive[1] = window(b, b->rows + 1, 1, 1, b->columns);
    b->receive[2] = window(b, 1, 0, b->rows, 1);
    b->receive[3] = window(b, 1, b->columns + 1, b->rows, 1);
}

static void drop(struct block *b)
{
    for (int i = 0; i < 4; i++) {
        MPI_Type_free(&b->send[i]);
        MPI_Type_free(&b->receive[i]);
    }
    MPI_Type_free(&b->row);
    MPI_Type_free(&b->column);
    MPI_Comm_free(&b->grid);
    REQUIRE(b->grid == MPI_COMM_NULL && b->row == MPI_DATATYPE_NULL);
    free(b->now);
    free(b->next);
}

static void by_requests(struct block *b)
{
    MPI_Request all[8];
    double *g = b->now;
    MPI_Irecv(cell(b, g, 0, 1), 1, b->row, b->up, 1, b->grid, &all[0]);
    MPI_Irecv(cell(b, g, b->rows + 1, 1), 1, b->row, b->down, 0, b->grid, &all[1]);
    MPI_Irecv(cell(b, g, 1, 0), 1, b->column, b->left, 3, b->grid, &all[2]);
    MPI_Irecv(cell(b, g, 1, b->columns + 1), 1, b->column, b->right, 2, b->grid, &all[3]);
    MPI_Isend(cell(b, g, 1, 1), 1, b->row, b->up, 0, b->grid, &all[4]);
    MPI_Isend(cell(b, g, b->rows, 1), 1, b->row, b->down, 1, b->grid, &all[5]);
    MPI_Isend(cell(b, g, 1, 1), 1, b->column, b->left, 2, b->grid, &all[6]);
    MPI_Isend(cell(b, g, 1, b->columns), 1, b->column, b->right, 3, b->grid, &all[7]);
    MPI_Waitall(8, all, MPI_STATUSES_IGNORE);
}

static void by_sendrecv(struct block *b)
{
    int ranks[4] = {b->up, b->down, b->left, b->right};
    for (int i = 0; i < 4; i++) {
        MPI_Status status;
        int across = i ^ 1, count;
        MPI_Sendrecv(b->now, 1, b->send[i], ranks[i], i, b->now, 1, b->receive[across],
                     ranks[across], i, b->grid, &status);
        MPI_Get_count(&status, b->receive[across], &count);
        REQUIRE(count == (ranks[across] == MPI_PROC_NULL ? 0 : 1));
    }
}

static void by_persistent(struct block *b)
{
    int ranks[4] = {b->up, b->down, b->left, b->right};
    MPI_Request all[8];
    for (int i = 0; i < 4; i++) {
        MPI_Recv_init(b->now, 1, b->receive[i], ranks[i], i ^ 1, b->grid, &all[i]);
        MPI_Send_init(b->now, 1, b->send[i], ranks[i], i, b->grid, &all[4 + i]);
    }
    MPI_Startall(8, all);
    /* Libraries differ in whether they count those without a partner; in the end none is active. */
    int done, which[8];
    do
        MPI_Waitsome(8, all, &done, which, MPI_STATUSES_IGNORE);
    while (done != MPI_UNDEFINED);
    for (int i = 0; i < 8; i++)
        MPI_Request_free(&all[i]);
}

static void by_neighborhood(struct block *b)
{
    int counts[4] = {1, 1, 1, 1};
    MPI_Aint zero[4] = {0, 0, 0, 0};
    MPI_Neighbor_alltoallw(b->now, counts, zero, b->send, b->now, counts, zero, b->receive,
                           b->grid);
}

static double step(struct block *b)
{
    double most = 0;
    for (int i = 1; i <= b->rows; i++)
        for (int j = 1; j <= b->columns; j++) {
            double sides = *cell(b, b->now, i - 1, j) + *cell(b, b->now, i + 1, j);
            double ends = *cell(b, b->now, i, j - 1) + *cell(b, b->now, i, j + 1);
            double new = 0.25 * (sides + ends), old = *cell(b, b->now, i, j);
            double change = new > old ? new - old : old - new;
            most = change > most ? change : most;
            *cell(b, b->next, i, j) = new;
        }
    double *now = b->next;
    b->next = b->now;
    b->now = now;
    return most;
}

/* The whole grid on rank 0, each block received straight into its place. */
static uint64_t collect(struct block *b)
{
    uint64_t word = 0;
    MPI_Request sent;
    MPI_Datatype inside = window(b, 1, 1, b->rows, b->columns);
    MPI_Isend(b->now, 1, inside, 0, 9, b->grid, &sent);
    if (b->rank == 0) {
        double *whole = room_for((size_t)SIDE * SIDE, sizeof(double));
        for (int from = 0; from < b->size; from++) {
            int at[2], sizes[2] = {SIDE, SIDE}, subsizes[2], starts[2];
            MPI_Datatype place;
            MPI_Cart_coords(b->grid, from, 2, at);
            for (int d = 0; d < 2; d++) {
                starts[d] = first_of(at[d], b->dims[d]);
                subsizes[d] = first_of(at[d] + 1, b->dims[d]) - starts[d];
            }
            MPI_Type_create_subarray(2, sizes, subsizes, starts, MPI_ORDER_C, MPI_DOUBLE, &place);
            MPI_Type_commit(&place);
            MPI_Recv(whole, 1, place, from, 9, b->grid, MPI_STATUS_IGNORE);
            MPI_Type_free(&place);
        }
        word = bytes_word(whole, sizeof(double) * SIDE * SIDE);
        free(whole);
    }
    MPI_Wait(&sent, MPI_STATUS_IGNORE);
    MPI_Type_free(&inside);
    MPI_Bcast(&word, 1, MPI_UINT64_T, 0, b->grid);
    return word;
}

int main(int argc, char **argv)
{
    static void (*const ways[WAYS])(struct block *) = {by_requests, by_sendrecv, by_persistent,
                                                       by_neighborhood};
    MPI_Init(&argc, &argv);
    for (int periodic = 0; periodic < 2; periodic++) {
        uint64_t words[WAYS];
        /* Only since MPI 5.0 two edges between the same two ranks cannot be taken for each other. */
        int usable = periodic && MPI_VERSION < 5 ? WAYS - 1 : WAYS;
        for (int way = 0; way < usable; way++) {
            struct block b;
            double most = 0, all = 0;
            make(&b, periodic);
            for (int i = 0; i < STEPS; i++) {
                ways[way](&b);
                most = step(&b);
            }
            MPI_Allreduce(&most, &all, 1, MPI_DOUBLE, MPI_MAX, b.grid);
            words[way] = collect(&b);
            REQUIRE(words[way] == words[0]);
            if (b.rank == 0 && way == 0)
                printf("halo %d: %016llx change %a\n", periodic, (unsigned long long)words[0], all);
            drop(&b);
        }
    }
    MPI_Finalize();
    return 0;
}
