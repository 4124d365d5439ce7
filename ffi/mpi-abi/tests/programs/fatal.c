/* Wrong use that ends the job, by name, in a job of two ranks. Rank 1 does it; rank 0 waits for a message that
   never comes, and must not wait for ever. */
#include "check.h"
#include <signal.h>
#include <unistd.h>

static const char *wanted;

static int is(const char *name) {
    return strcmp(wanted, name) == 0;
}

static void before_the_start(void) {
    int rank = 0;
    MPI_Comm comm;
    if (is("size-before")) MPI_Comm_size(MPI_COMM_WORLD, &rank);
    if (is("send-before")) MPI_Send(&rank, 1, MPI_INT, 0, 0, MPI_COMM_WORLD);
    if (is("dup-before")) MPI_Comm_dup(MPI_COMM_WORLD, &comm);
    if (is("finalize-before")) MPI_Finalize();
}

static void wrong_use(void) {
    int n[2] = {1, 2};
    MPI_Request request;
    MPI_Comm comm;
    if (is("truncated")) {
        MPI_Isend(n, 2, MPI_INT, 0, 1, MPI_COMM_SELF, &request);
        MPI_Recv(n, 1, MPI_INT, 0, 1, MPI_COMM_SELF, MPI_STATUS_IGNORE);
    }
    if (is("rank")) MPI_Send(n, 1, MPI_INT, 7, 0, MPI_COMM_WORLD);
    if (is("null-comm")) MPI_Barrier(MPI_COMM_NULL);
    if (is("type")) MPI_Type_contiguous(-3, MPI_INT, &(MPI_Datatype){0});
    if (is("aborting-handler")) {
        MPI_Comm_dup(MPI_COMM_SELF, &comm);
        MPI_Comm_set_errhandler(comm, MPI_ERRORS_ABORT);
        MPI_Bcast(n, 1, MPI_INT, 9, comm);
    }
    if (is("abort")) MPI_Abort(MPI_COMM_WORLD, 42);
    if (is("leave")) exit(0);
    if (is("leave-with-code")) exit(9);
    if (is("leave-suddenly")) _exit(0);
    if (is("signal")) raise(SIGSEGV);
}

static void after_the_end(void) {
    int n = 0;
    MPI_Datatype type;
    if (is("send-after")) MPI_Send(&n, 1, MPI_INT, 0, 0, MPI_COMM_WORLD);
    if (is("size-after")) MPI_Comm_size(MPI_COMM_WORLD, &n);
    if (is("type-after")) MPI_Type_contiguous(1, MPI_INT, &type);
    if (is("init-after")) MPI_Init(NULL, NULL);
    if (is("finalize-after")) MPI_Finalize();
}

/* What may be called at any time. */
static void always(int initialized, int finalized) {
    int flag, len, major, minor;
    char text[MPI_MAX_LIBRARY_VERSION_STRING], value[8];
    MPI_Info info;
    MPI_Errhandler handler;
    CHECK(MPI_Initialized(&flag) == MPI_SUCCESS && flag == initialized);
    CHECK(MPI_Finalized(&flag) == MPI_SUCCESS && flag == finalized);
    OK(MPI_Get_version(&major, &minor));
    CHECK(major == MPI_VERSION && minor == MPI_SUBVERSION);
    OK(MPI_Get_library_version(text, &len));
    OK(MPI_Info_create(&info));
    OK(MPI_Info_set(info, "a", "b"));
    len = sizeof value;
    OK(MPI_Info_get_string(info, "a", &len, value, &flag));
    CHECK(flag && strcmp(value, "b") == 0);
    OK(MPI_Info_free(&info));
    OK(MPI_Session_create_errhandler((MPI_Session_errhandler_function *)abort, &handler));
    OK(MPI_Errhandler_free(&handler));
    FAILS(MPI_ERR_ARG, MPI_ERR_ARG);
    OK(MPI_Error_string(MPI_ERR_TRUNCATE, text, &len));
}

int main(int argc, char **argv) {
    int rank, n;
    wanted = getenv("MISUSE") != NULL ? getenv("MISUSE") : "nothing";
    always(0, 0);
    before_the_start();
    OK(MPI_Init(&argc, &argv));
    always(1, 0);
    OK(MPI_Comm_rank(MPI_COMM_WORLD, &rank));
    if (is("nothing") || strstr(wanted, "-after") != NULL) {
        OK(MPI_Finalize());
        always(1, 1);
        after_the_end();
        if (is("nothing")) puts("all claims hold");
        return 0;
    }
    if (rank == 1) wrong_use();
    MPI_Recv(&n, 1, MPI_INT, 1, 99, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    puts("went on");
    return 0;
}
