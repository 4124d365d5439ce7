/* Wrong use of every kind, between two ranks, with handlers that return: each call fails with the
   class that the standard has for it, and what was right before still works afterwards. */
#include "check.h"

static int rank, peer;
static MPI_Comm world;

/* Handles that name nothing: null, no longer, never. */
static void handles(void) {
    MPI_Comm comm, old_comm, never = (MPI_Comm)0x7654321;
    MPI_Datatype type, old_type;
    MPI_Op op, old_op;
    MPI_Group group, old_group;
    MPI_Info info, old_info;
    MPI_Errhandler handler, old_handler;
    MPI_Request request = MPI_REQUEST_NULL, old_request;
    int n = 0, other, key, flag, size;
    void *value;

    FAILS(MPI_ERR_COMM, MPI_Send(&n, 1, MPI_INT, 0, 0, MPI_COMM_NULL));
    FAILS(MPI_ERR_COMM, MPI_Comm_size(never, &size));
    FAILS(MPI_ERR_COMM, MPI_Barrier(MPI_COMM_NULL));
    OK(MPI_Comm_dup(world, &comm));
    old_comm = comm;
    OK(MPI_Comm_free(&comm));
    CHECK(comm == MPI_COMM_NULL);
    FAILS(MPI_ERR_COMM, MPI_Comm_rank(old_comm, &n));
    FAILS(MPI_ERR_COMM, MPI_Comm_free(&old_comm));
    comm = world == MPI_COMM_WORLD ? world : MPI_COMM_WORLD;
    FAILS(MPI_ERR_COMM, MPI_Comm_free(&comm));

    FAILS(MPI_ERR_TYPE, MPI_Send(&n, 1, MPI_DATATYPE_NULL, peer, 0, world));
    OK(MPI_Type_contiguous(2, MPI_INT, &type));
    FAILS(MPI_ERR_TYPE, MPI_Send(&n, 0, type, peer, 0, world));
    old_type = type;
    OK(MPI_Type_free(&type));
    CHECK(type == MPI_DATATYPE_NULL);
    FAILS(MPI_ERR_TYPE, MPI_Type_commit(&old_type));
    type = MPI_INT;
    FAILS(MPI_ERR_TYPE, MPI_Type_free(&type));

    FAILS(MPI_ERR_OP, MPI_Reduce_local(&n, &other, 1, MPI_INT, MPI_OP_NULL));
    op = MPI_SUM;
    FAILS(MPI_ERR_OP, MPI_Op_free(&op));
    OK(MPI_Op_create((MPI_User_function *)abort, 1, &op));
    old_op = op;
    OK(MPI_Op_free(&op));
    FAILS(MPI_ERR_OP, MPI_Op_commutative(old_op, &n));
    double x = 0, y = 0;
    FAILS(MPI_ERR_OP, MPI_Allreduce(&x, &y, 1, MPI_DOUBLE, MPI_BAND, world));

    FAILS(MPI_ERR_GROUP, MPI_Group_size(MPI_GROUP_NULL, &n));
    OK(MPI_Comm_group(world, &group));
    old_group = group;
    OK(MPI_Group_free(&group));
    FAILS(MPI_ERR_GROUP, MPI_Group_rank(old_group, &n));

    FAILS(MPI_ERR_INFO, MPI_Info_set(MPI_INFO_NULL, "a", "b"));
    OK(MPI_Info_create(&info));
    FAILS(MPI_ERR_INFO_NOKEY, MPI_Info_delete(info, "absent"));
    old_info = info;
    OK(MPI_Info_free(&info));
    FAILS(MPI_ERR_INFO, MPI_Info_get_nkeys(old_info, &n));

    OK(MPI_Comm_create_errhandler((MPI_Comm_errhandler_function *)abort, &handler));
    old_handler = handler;
    OK(MPI_Errhandler_free(&handler));
    FAILS(MPI_ERR_ERRHANDLER, MPI_Comm_set_errhandler(world, old_handler));

    OK(MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, MPI_COMM_NULL_DELETE_FN, &key, NULL));
    old_request = request;
    other = key;
    OK(MPI_Comm_free_keyval(&key));
    CHECK(key == MPI_KEYVAL_INVALID);
    FAILS(MPI_ERR_KEYVAL, MPI_Comm_get_attr(world, other, &value, &flag));
    FAILS(MPI_ERR_KEYVAL, MPI_Comm_set_attr(world, MPI_KEYVAL_INVALID, NULL));

    FAILS(MPI_ERR_REQUEST, MPI_Start(&request));
    FAILS(MPI_ERR_REQUEST, MPI_Request_free(&request));
    FAILS(MPI_ERR_REQUEST, MPI_Cancel(&request));
    OK(MPI_Wait(&request, MPI_STATUS_IGNORE));
    OK(MPI_Send_init(&n, 1, MPI_INT, peer, 0, world, &request));
    old_request = request;
    OK(MPI_Request_free(&request));
    FAILS(MPI_ERR_REQUEST, MPI_Start(&old_request));
    FAILS(MPI_ERR_REQUEST, MPI_Test(&old_request, &flag, MPI_STATUS_IGNORE));
    OK(MPI_Irecv(&n, 1, MPI_INT, peer, 9, world, &request));
    FAILS(MPI_ERR_REQUEST, MPI_Start(&request));
    OK(MPI_Cancel(&request));
    OK(MPI_Wait(&request, MPI_STATUS_IGNORE));
}

/* Numbers that are out of range. */
static void numbers(void) {
    int n = 0, many[2] = {1, -1}, zero[2] = {0, 0}, dims[2] = {4, 0}, *bound, flag;
    int four[4] = {0};
    MPI_Datatype type;
    MPI_Comm grid;
    FAILS(MPI_ERR_COUNT, MPI_Send(&n, -1, MPI_INT, peer, 0, world));
    FAILS(MPI_ERR_COUNT, MPI_Recv(&n, -1, MPI_INT, peer, 0, world, MPI_STATUS_IGNORE));
    FAILS(MPI_ERR_COUNT, MPI_Bcast(&n, -1, MPI_INT, 0, world));
    FAILS(MPI_ERR_COUNT, MPI_Type_contiguous(-1, MPI_INT, &type));
    FAILS(MPI_ERR_COUNT, MPI_Alltoallv(four, many, zero, MPI_INT, four + 2, zero, zero, MPI_INT,
                                       world));
    FAILS(MPI_ERR_RANK, MPI_Send(&n, 1, MPI_INT, 2, 0, world));
    FAILS(MPI_ERR_RANK, MPI_Send(&n, 1, MPI_INT, MPI_ANY_SOURCE, 0, world));
    FAILS(MPI_ERR_RANK, MPI_Recv(&n, 1, MPI_INT, -77, 0, world, MPI_STATUS_IGNORE));
    FAILS(MPI_ERR_TAG, MPI_Send(&n, 1, MPI_INT, peer, -5, world));
    FAILS(MPI_ERR_TAG, MPI_Send(&n, 1, MPI_INT, peer, MPI_ANY_TAG, world));
    OK(MPI_Comm_get_attr(world, MPI_TAG_UB, &bound, &flag));
    CHECK(flag && *bound >= 32767);
    if (*bound < 2147483647) {
        FAILS(MPI_ERR_TAG, MPI_Send(&n, 1, MPI_INT, peer, *bound + 1, world));
    }
    FAILS(MPI_ERR_ROOT, MPI_Bcast(&n, 1, MPI_INT, 2, world));
    FAILS(MPI_ERR_ROOT, MPI_Reduce(&n, &many, 1, MPI_INT, MPI_SUM, -1, world));
    FAILS(MPI_ERR_ROOT, MPI_Gather(&n, 1, MPI_INT, many, 1, MPI_INT, MPI_ROOT, world));
    FAILS(MPI_ERR_DIMS, MPI_Dims_create(6, 2, dims));
    FAILS(MPI_ERR_TOPOLOGY, MPI_Cart_coords(world, 0, 2, zero));
    FAILS(MPI_ERR_TOPOLOGY, MPI_Neighbor_allgather(&n, 1, MPI_INT, many, 1, MPI_INT, world));
    dims[1] = 4;
    CHECK(MPI_Cart_create(world, 2, dims, zero, 0, &grid) != MPI_SUCCESS);
    FAILS(MPI_ERR_BUFFER, MPI_Bsend(four, 4, MPI_INT, peer, 0, world));
    FAILS(MPI_ERR_BUFFER, MPI_Allreduce(&n, &n, 1, MPI_INT, MPI_SUM, world));
}

/* Messages that are longer than the room for them, received in all ways, short ones and long ones; the
   next message is the next one. */
static void truncation(int length) {
    int *out = calloc((size_t)length, sizeof(int)), in[2], index, flag, count;
    MPI_Request requests[3];
    MPI_Status statuses[3];
    out[0] = 11;
    out[1] = 22;
    if (rank == 0) {
        for (int i = 0; i < 5; i++) {
            OK(MPI_Send(out, length, MPI_INT, 1, i, world));
            OK(MPI_Send(out + 1, 1, MPI_INT, 1, 10 + i, world));
        }
    } else {
        FAILS(MPI_ERR_TRUNCATE, MPI_Recv(in, 1, MPI_INT, 0, 0, world, MPI_STATUS_IGNORE));
        OK(MPI_Recv(in, 1, MPI_INT, 0, 10, world, MPI_STATUS_IGNORE));
        CHECK(in[0] == 22);
        OK(MPI_Irecv(in, 1, MPI_INT, 0, 1, world, &requests[0]));
        FAILS(MPI_ERR_TRUNCATE, MPI_Wait(&requests[0], &statuses[0]));
        CHECK(requests[0] == MPI_REQUEST_NULL);

        OK(MPI_Irecv(in, 1, MPI_INT, 0, 2, world, &requests[0]));
        OK(MPI_Irecv(in + 1, 1, MPI_INT, 0, 11, world, &requests[1]));
        requests[2] = MPI_REQUEST_NULL;
        FAILS(MPI_ERR_IN_STATUS, MPI_Waitall(3, requests, statuses));
        CHECK(class_of(statuses[0].MPI_ERROR) == MPI_ERR_TRUNCATE);
        CHECK(statuses[1].MPI_ERROR == MPI_SUCCESS && in[1] == 22);
        CHECK(statuses[2].MPI_ERROR == MPI_SUCCESS);

        OK(MPI_Irecv(in, 1, MPI_INT, 0, 3, world, &requests[0]));
        FAILS(MPI_ERR_TRUNCATE, MPI_Waitany(1, requests, &index, &statuses[0]));
        CHECK(index == 0);
        OK(MPI_Irecv(in, 1, MPI_INT, 0, 4, world, &requests[0]));
        int code;
        do {
            code = MPI_Testall(1, requests, &flag, statuses);
        } while (code == MPI_SUCCESS && !flag);
        CHECK(class_of(code) == MPI_ERR_IN_STATUS);
        CHECK(class_of(statuses[0].MPI_ERROR) == MPI_ERR_TRUNCATE);
        for (int i = 2; i < 5; i++) {
            OK(MPI_Recv(in, 2, MPI_INT, 0, 10 + i, world, &statuses[0]));
            OK(MPI_Get_count(&statuses[0], MPI_INT, &count));
            CHECK(count == 1 && in[0] == 22);
        }
    }
    free(out);
}

static int calls, last_code;
static MPI_Comm last_comm;

static void counting(MPI_Comm *comm, int *code, ...) {
    calls++;
    last_comm = *comm;
    last_code = *code;
}

/* Whose handler runs, with what, and that duplicates inherit it. */
static void handlers(void) {
    MPI_Errhandler handler, found;
    MPI_Comm own, copy;
    MPI_Request request;
    int n = 0, code;
    OK(MPI_Comm_dup(world, &own));
    OK(MPI_Comm_create_errhandler(counting, &handler));
    OK(MPI_Comm_set_errhandler(own, handler));
    OK(MPI_Errhandler_free(&handler));
    OK(MPI_Comm_dup(own, &copy));

    code = MPI_Send(&n, 1, MPI_INT, 99, 0, copy);
    CHECK(calls == 1 && last_comm == copy && class_of(code) == MPI_ERR_RANK && last_code == code);
    code = MPI_Barrier(MPI_COMM_NULL);
    CHECK(class_of(code) == MPI_ERR_COMM && calls == 1);
    OK(MPI_Comm_call_errhandler(own, MPI_ERR_OTHER));
    CHECK(calls == 2 && last_comm == own && last_code == MPI_ERR_OTHER);

    /* A request reports on the communicator that it was started on. */
    int big[2] = {1, 2};
    OK(MPI_Irecv(&n, 1, MPI_INT, peer, 1, copy, &request));
    OK(MPI_Send(big, 2, MPI_INT, peer, 1, copy));
    code = MPI_Wait(&request, MPI_STATUS_IGNORE);
    CHECK(class_of(code) == MPI_ERR_TRUNCATE && calls == 3 && last_comm == copy);

    /* Its function stays as long as a communicator has the handler. */
    OK(MPI_Comm_get_errhandler(own, &found));
    CHECK(found != MPI_ERRORS_RETURN);
    OK(MPI_Errhandler_free(&found));
    OK(MPI_Comm_free(&own));
    code = MPI_Bcast(&n, 1, MPI_INT, -9, copy);
    CHECK(class_of(code) == MPI_ERR_ROOT && calls == 4);
    OK(MPI_Comm_free(&copy));
}

/* Everything still works. */
static void afterwards(void) {
    int n = rank + 1, all = 0;
    OK(MPI_Allreduce(&n, &all, 1, MPI_INT, MPI_SUM, world));
    CHECK(all == 3);
    OK(MPI_Sendrecv(&rank, 1, MPI_INT, peer, 3, &n, 1, MPI_INT, peer, 3, world, MPI_STATUS_IGNORE));
    CHECK(n == peer);
}

int main(int argc, char **argv) {
    int size;
    OK(MPI_Init(&argc, &argv));
    FAILS(MPI_ERR_OTHER, (MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN),
                          MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN),
                          MPI_Init(&argc, &argv)));
    OK(MPI_Comm_dup(MPI_COMM_WORLD, &world));
    OK(MPI_Comm_rank(world, &rank));
    OK(MPI_Comm_size(world, &size));
    CHECK(size == 2);
    peer = 1 - rank;
    handles();
    afterwards();
    numbers();
    afterwards();
    truncation(2);
    truncation(3000);
    truncation(300000);
    afterwards();
    handlers();
    afterwards();
    OK(MPI_Comm_free(&world));
    OK(MPI_Finalize());
    if (rank == 0) puts("all claims hold");
    return 0;
}
