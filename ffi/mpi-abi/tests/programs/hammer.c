/* Eight threads of each of two ranks on one communicator: each by its own tag, in all ways to send
   and to wait; then collectives, each thread on a communicator of its own. Every byte is checked. */
#include "check.h"
#include <pthread.h>
#include <sched.h>

enum { THREADS = 8, BATCH = 6, LONGEST = 150000 };

static int rank, peer, rounds = 60, collectives;
static MPI_Comm comms[THREADS];

static unsigned char byte_of(int tag, int round, int message, int at) {
    return (unsigned char)(tag * 31 + round * 7 + message * 3 + at);
}

static void fill(unsigned char *bytes, int len, int tag, int round, int message) {
    for (int i = 0; i < len; i++) bytes[i] = byte_of(tag, round, message, i);
}

static void check(const unsigned char *bytes, int len, int tag, int round, int message) {
    for (int i = 0; i < len; i++) CHECK(bytes[i] == byte_of(tag, round, message, i));
}

/* Lengths from nothing to rendezvous. */
static int length(int tag, int round, int message) {
    static const int lengths[] = {0, 1, 8, 500, 9000, 70000, LONGEST};
    return lengths[(tag + round + message) % 7];
}

static void there_and_back(int tag, int round, unsigned char *bytes) {
    int len = length(tag, round, 0);
    MPI_Status status;
    int count;
    if (rank == 0) {
        fill(bytes, len, tag, round, 0);
        OK(MPI_Send(bytes, len, MPI_BYTE, peer, tag, MPI_COMM_WORLD));
        memset(bytes, 0, (size_t)len);
    }
    OK(MPI_Recv(bytes, LONGEST, MPI_BYTE, peer, tag, MPI_COMM_WORLD, &status));
    OK(MPI_Get_count(&status, MPI_BYTE, &count));
    CHECK(count == len && status.MPI_TAG == tag && status.MPI_SOURCE == peer);
    check(bytes, len, tag, round, 0);
    if (rank == 1) OK(MPI_Ssend(bytes, len, MPI_BYTE, peer, tag, MPI_COMM_WORLD));
}

static void many_at_once(int tag, int round, unsigned char *in[BATCH], unsigned char *out[BATCH]) {
    MPI_Request requests[2 * BATCH];
    for (int i = 0; i < BATCH; i++) {
        OK(MPI_Irecv(in[i], LONGEST, MPI_BYTE, peer, tag, MPI_COMM_WORLD, &requests[i]));
    }
    for (int i = 0; i < BATCH; i++) {
        int len = length(tag, round, i);
        fill(out[i], len, tag, round, i);
        OK(MPI_Isend(out[i], len, MPI_BYTE, peer, tag, MPI_COMM_WORLD, &requests[BATCH + i]));
    }
    if (round % 3 == 0) {
        OK(MPI_Waitall(2 * BATCH, requests, MPI_STATUSES_IGNORE));
    } else if (round % 3 == 1) {
        for (int left = 2 * BATCH; left > 0; left--) {
            int at;
            OK(MPI_Waitany(2 * BATCH, requests, &at, MPI_STATUS_IGNORE));
            CHECK(at != MPI_UNDEFINED);
        }
    } else {
        for (int done = 0; !done;) {
            OK(MPI_Testall(2 * BATCH, requests, &done, MPI_STATUSES_IGNORE));
            if (!done) sched_yield();
        }
    }
    for (int i = 0; i < BATCH; i++) check(in[i], length(tag, round, i), tag, round, i);
}

static void probed(int tag, int round, unsigned char *in, unsigned char *out) {
    int len = length(tag, round, 1), count;
    MPI_Message message;
    MPI_Status status;
    MPI_Request request;
    fill(out, len, tag, round, 1);
    OK(MPI_Isend(out, len, MPI_BYTE, peer, tag, MPI_COMM_WORLD, &request));
    OK(MPI_Mprobe(MPI_ANY_SOURCE, tag, MPI_COMM_WORLD, &message, &status));
    OK(MPI_Get_count(&status, MPI_BYTE, &count));
    CHECK(count == len);
    OK(MPI_Mrecv(in, count, MPI_BYTE, &message, MPI_STATUS_IGNORE));
    check(in, len, tag, round, 1);
    OK(MPI_Wait(&request, MPI_STATUS_IGNORE));
}

static void to_oneself(int tag, int round, unsigned char *in, unsigned char *out) {
    int len = length(tag, round, 2);
    fill(out, len, tag, round, 2);
    OK(MPI_Sendrecv(out, len, MPI_BYTE, 0, tag, in, LONGEST, MPI_BYTE, 0, tag, MPI_COMM_SELF,
                    MPI_STATUS_IGNORE));
    check(in, len, tag, round, 2);
}

static void together(int tag, int round) {
    int mine = rank + tag + round, sum = -1, all[2] = {-1, -1};
    MPI_Request request;
    OK(MPI_Allreduce(&mine, &sum, 1, MPI_INT, MPI_SUM, comms[tag]));
    CHECK(sum == 1 + 2 * (tag + round));
    OK(MPI_Iallgather(&mine, 1, MPI_INT, all, 1, MPI_INT, comms[tag], &request));
    OK(MPI_Wait(&request, MPI_STATUS_IGNORE));
    CHECK(all[0] == tag + round && all[1] == 1 + tag + round);
    OK(MPI_Barrier(comms[tag]));
}

static void *work(void *argument) {
    int tag = (int)(size_t)argument;
    unsigned char *in[BATCH], *out[BATCH];
    for (int i = 0; i < BATCH; i++) in[i] = malloc(LONGEST), out[i] = malloc(LONGEST);
    for (int round = 0; round < rounds; round++) {
        there_and_back(tag, round, in[0]);
        many_at_once(tag, round, in, out);
        probed(tag, round, in[0], out[0]);
        to_oneself(tag, round, in[0], out[0]);
        if (collectives) together(tag, round);
    }
    for (int i = 0; i < BATCH; i++) free(in[i]), free(out[i]);
    return NULL;
}

int main(int argc, char **argv) {
    int provided;
    pthread_t threads[THREADS];
    OK(MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided));
    CHECK(provided == MPI_THREAD_MULTIPLE);
    if (argc > 1) rounds = atoi(argv[1]);
    OK(MPI_Comm_rank(MPI_COMM_WORLD, &rank));
    peer = 1 - rank;
    OK(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    collectives = 1;
    for (int i = 0; i < THREADS; i++) {
        if (MPI_Comm_dup(MPI_COMM_WORLD, &comms[i]) != MPI_SUCCESS) collectives = 0;
    }
    double start = MPI_Wtime();
    for (size_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, work, (void *)i);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    double took = MPI_Wtime() - start;
    for (int i = 0; i < THREADS && collectives; i++) OK(MPI_Comm_free(&comms[i]));
    if (rank == 0) printf("%d rounds in %.3f s, collectives %d\nall claims hold\n", rounds, took, collectives);
    OK(MPI_Finalize());
    return 0;
}
