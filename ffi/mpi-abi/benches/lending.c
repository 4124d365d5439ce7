/* PingPong out of memory of MPI_Alloc_mem and out of ordinary memory, in turn: `lending ROUNDS BYTES...`, two ranks. What
 * was received is sent back from where it is, so that every message is fresh in the sender's cache. A line for each
 * round: bytes, and half a round trip in microseconds with ordinary memory, with that of MPI_Alloc_mem, and
 * messages that were copied by their receiver alone. */
#include "sampling.h"

struct state {
    char *bytes;
    int len, rank;
};

static void bounce(void *about) {
    struct state *it = about;
    int peer = 1 - it->rank;
    if (it->rank == 0) MPI_Send(it->bytes, it->len, MPI_BYTE, peer, 1, MPI_COMM_WORLD);
    MPI_Recv(it->bytes, it->len, MPI_BYTE, peer, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    if (it->rank == 1) MPI_Send(it->bytes, it->len, MPI_BYTE, peer, 1, MPI_COMM_WORLD);
}

static MPI_T_pvar_session session;
static MPI_T_pvar_handle loans;

static unsigned long long lent(void) {
    unsigned long long value;
    MPI_T_pvar_read(session, loans, &value);
    return value;
}

int main(int argc, char **argv) {
    struct state ordinary, lending;
    int provided, at, count, i, j, ranks;
    MPI_T_init_thread(MPI_THREAD_SINGLE, &provided);
    MPI_T_pvar_session_create(&session);
    MPI_T_pvar_get_index("cohost_loan_messages_sent", MPI_T_PVAR_CLASS_COUNTER, &at);
    MPI_T_pvar_handle_alloc(session, at, NULL, &loans, &count);
    MPI_T_pvar_start(session, loans);
    MPI_Init(&argc, &argv);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    MPI_Comm_rank(MPI_COMM_WORLD, &ordinary.rank);
    if (argc < 3 || ranks != 2) MPI_Abort(MPI_COMM_WORLD, 2);
    sampling_pin(ordinary.rank);
    lending.rank = ordinary.rank;
    for (i = 2; i < argc; i++) {
        double once, times;
        ordinary.len = lending.len = atoi(argv[i]);
        ordinary.bytes = sampling_memory((size_t)ordinary.len);
        MPI_Alloc_mem(lending.len, MPI_INFO_NULL, &lending.bytes);
        for (j = 0; j < lending.len; j++) lending.bytes[j] = (char)j;
        sampling_batch(bounce, &lending, 2);
        sampling_batch(bounce, &ordinary, 2);
        once = sampling_calm(bounce, &ordinary, 4);
        times = 2 * BATCH_SECONDS / once;
        for (j = 0; j < atoi(argv[1]); j++) {
            double a = 0, b;
            unsigned long long before = lent();
            if (j % 2 == 0) a = sampling_batch(bounce, &ordinary, 1 + (long)times);
            b = sampling_batch(bounce, &lending, 1 + (long)times);
            if (j % 2 != 0) a = sampling_batch(bounce, &ordinary, 1 + (long)times);
            if (ordinary.rank == 0) printf("%d\t%.4f\t%.4f\t%llu\n", lending.len, 5e5 * a, 5e5 * b, lent() - before);
        }
        free(ordinary.bytes);
        MPI_Free_mem(lending.bytes);
    }
    MPI_Finalize();
    return 0;
}
