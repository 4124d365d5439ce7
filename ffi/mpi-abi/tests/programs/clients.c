/* What mpi4py asks of an MPI and does not say: each part once went wrong. */
#include "check.h"

/* The first group has a root and ranks that stand by, whose arguments do not count, not even handles. */
static void stand_by(void) {
    int rank, size, sum = -1, got[2] = {-1, -1};
    MPI_Comm group, inter;
    OK(MPI_Comm_rank(MPI_COMM_WORLD, &rank));
    OK(MPI_Comm_size(MPI_COMM_WORLD, &size));
    int first = rank < 2, mine = rank * 10;
    OK(MPI_Comm_split(MPI_COMM_WORLD, first, rank, &group));
    OK(MPI_Intercomm_create(group, 0, MPI_COMM_WORLD, first ? 2 : 0, 5, &inter));
    if (rank == 0) {
        OK(MPI_Reduce(NULL, &sum, 1, MPI_INT, MPI_SUM, MPI_ROOT, inter));
        OK(MPI_Gather(NULL, 0, MPI_INT, got, 1, MPI_INT, MPI_ROOT, inter));
        OK(MPI_Bcast(&mine, 1, MPI_INT, MPI_ROOT, inter));
        CHECK(sum == 20 + 30 && got[0] == 20 && got[1] == 30);
    } else if (rank == 1) {
        OK(MPI_Reduce(NULL, NULL, 0, MPI_DATATYPE_NULL, MPI_OP_NULL, MPI_PROC_NULL, inter));
        OK(MPI_Gather(NULL, 0, MPI_DATATYPE_NULL, NULL, 0, MPI_DATATYPE_NULL, MPI_PROC_NULL, inter));
        OK(MPI_Bcast(NULL, 0, MPI_DATATYPE_NULL, MPI_PROC_NULL, inter));
    } else {
        OK(MPI_Reduce(&mine, NULL, 1, MPI_INT, MPI_SUM, 0, inter));
        OK(MPI_Gather(&mine, 1, MPI_INT, NULL, 0, MPI_DATATYPE_NULL, 0, inter));
        OK(MPI_Bcast(&mine, 1, MPI_INT, 0, inter));
        CHECK(mine == 0);
    }
    OK(MPI_Comm_free(&inter));
    OK(MPI_Comm_free(&group));
}

/* In place, what is behind the result of a reduce-scatter stays. */
static void reduce_scatter_in_place(void) {
    int rank, size;
    OK(MPI_Comm_rank(MPI_COMM_WORLD, &rank));
    OK(MPI_Comm_size(MPI_COMM_WORLD, &size));
    int vector[8];
    for (int i = 0; i < 2 * size; i++) vector[i] = rank;
    OK(MPI_Reduce_scatter_block(MPI_IN_PLACE, vector, 2, MPI_INT, MPI_SUM, MPI_COMM_WORLD));
    for (int i = 0; i < 2 * size; i++) CHECK(vector[i] == (i < 2 ? size * (size - 1) / 2 : rank));
}

static void empty_status(void) {
    MPI_Request requests[2] = {MPI_REQUEST_NULL, MPI_REQUEST_NULL};
    MPI_Status status;
    int index = 0, flag = 0;
    memset(&status, 7, sizeof status);
    OK(MPI_Request_get_status_any(2, requests, &index, &flag, &status));
    CHECK(flag && index == MPI_UNDEFINED && status.MPI_ERROR == MPI_SUCCESS);
    memset(&status, 7, sizeof status);
    OK(MPI_Wait(&requests[0], &status));
    CHECK(status.MPI_ERROR == MPI_SUCCESS && status.MPI_SOURCE == MPI_ANY_SOURCE);
}

static void names_and_codes(void) {
    char name[MPI_MAX_OBJECT_NAME];
    int len, class, code;
    MPI_Comm parent = MPI_COMM_SELF;
    OK(MPI_Type_get_name(MPI_DATATYPE_NULL, name, &len));
    CHECK(strcmp(name, "MPI_DATATYPE_NULL") == 0);
    OK(MPI_Comm_get_parent(&parent));
    CHECK(parent == MPI_COMM_NULL);
    OK(MPI_Add_error_class(&class));
    OK(MPI_Add_error_code(class, &code));
    OK(MPI_Add_error_string(code, "text"));
    CHECK(MPI_Remove_error_code(code) != MPI_SUCCESS);
    OK(MPI_Remove_error_string(code));
    OK(MPI_Remove_error_code(code));
    OK(MPI_Remove_error_class(class));
}

int main(int argc, char **argv) {
    OK(MPI_Init(&argc, &argv));
    OK(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    OK(MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN));
    stand_by();
    reduce_scatter_in_place();
    empty_status();
    names_and_codes();
    OK(MPI_Finalize());
    puts("all claims hold");
    return 0;
}
