/* Memory of MPI_Alloc_mem: taken, sent from in every way, given back. The environment says whether messages out of
 * it are to be copied by their receivers alone (LOANS=1) or never (LOANS=0). */
#include "check.h"
#include <stdint.h>

enum { MIB = 1 << 20, TAG = 7 };
static int me, ranks, next, before;

static unsigned char byte(size_t at, int seed) { return (unsigned char)(at * 7 + at / 251 + (size_t)seed * 31); }

static void fill(unsigned char *into, size_t len, int seed) {
    for (size_t i = 0; i < len; i++) into[i] = byte(i, seed);
}

static int holds(const unsigned char *from, size_t len, int seed) {
    for (size_t i = 0; i < len; i++)
        if (from[i] != byte(i, seed)) return 0;
    return 1;
}

static unsigned char *take(size_t len) {
    unsigned char *at = NULL;
    OK(MPI_Alloc_mem((MPI_Aint)len, MPI_INFO_NULL, &at));
    CHECK(at != NULL && (uintptr_t)at % 64 == 0);
    return at;
}

static void take_and_give_back(void) {
    unsigned char *at, *other = NULL, local = 0;
    for (size_t len = 0; len < 300000; len = len * 3 + 1) {
        at = take(len);
        fill(at, len, 1);
        CHECK(holds(at, len, 1));
        OK(MPI_Free_mem(at));
        FAILS(MPI_ERR_BASE, MPI_Free_mem(at));
    }
    at = take(5000);
    FAILS(MPI_ERR_BASE, MPI_Free_mem(&local));
    FAILS(MPI_ERR_BASE, MPI_Free_mem(at + 64));
    OK(MPI_Free_mem(at));
    FAILS(MPI_ERR_NO_MEM, MPI_Alloc_mem((MPI_Aint)1 << 60, MPI_INFO_NULL, &other));
    FAILS(MPI_ERR_ARG, MPI_Alloc_mem(-1, MPI_INFO_NULL, &other));
    CHECK(other == NULL);
    OK(MPI_Free_mem(NULL));
}

static void aligned(void) {
    const char *good[] = {"1", "64", "4096", "65536", "2097152"}, *bad[] = {"", "3", "-8", "x", "0"};
    unsigned char *at;
    MPI_Info info;
    OK(MPI_Info_create(&info));
    for (int i = 0; i < 5; i++) {
        OK(MPI_Info_set(info, "mpi_minimum_memory_alignment", good[i]));
        OK(MPI_Alloc_mem(100, info, &at));
        CHECK((uintptr_t)at % (uintptr_t)atol(good[i]) == 0);
        OK(MPI_Free_mem(at));
        OK(MPI_Info_set(info, "mpi_minimum_memory_alignment", bad[i]));
        OK(MPI_Alloc_mem(100, info, &at));
        OK(MPI_Free_mem(at));
    }
    OK(MPI_Info_free(&info));
}

/* A ring of ranks: each sends to the next while it receives from the one before. */
static void around(const unsigned char *from, size_t len, unsigned char *into, int mode, int late) {
    MPI_Request all[2];
    MPI_Status status;
    int got;
    if (!late) OK(MPI_Irecv(into, (int)len, MPI_BYTE, before, TAG, MPI_COMM_WORLD, &all[0]));
    OK(MPI_Barrier(MPI_COMM_WORLD));
    switch (mode) {
        case 0: OK(MPI_Isend(from, (int)len, MPI_BYTE, next, TAG, MPI_COMM_WORLD, &all[1])); break;
        case 1: OK(MPI_Issend(from, (int)len, MPI_BYTE, next, TAG, MPI_COMM_WORLD, &all[1])); break;
        case 2: OK(MPI_Irsend(from, (int)len, MPI_BYTE, next, TAG, MPI_COMM_WORLD, &all[1])); break;
        case 3: OK(MPI_Ibsend(from, (int)len, MPI_BYTE, next, TAG, MPI_COMM_WORLD, &all[1])); break;
        default:
            OK(MPI_Send_init(from, (int)len, MPI_BYTE, next, TAG, MPI_COMM_WORLD, &all[1]));
            OK(MPI_Start(&all[1]));
    }
    if (late && mode == 1) {
        MPI_Message message;
        OK(MPI_Mprobe(before, TAG, MPI_COMM_WORLD, &message, &status));
        OK(MPI_Imrecv(into, (int)len, MPI_BYTE, &message, &all[0]));
    } else if (late) {
        OK(MPI_Probe(before, TAG, MPI_COMM_WORLD, &status));
        OK(MPI_Get_count(&status, MPI_BYTE, &got));
        CHECK(got == (int)len);
        OK(MPI_Irecv(into, (int)len, MPI_BYTE, MPI_ANY_SOURCE, TAG, MPI_COMM_WORLD, &all[0]));
    }
    OK(MPI_Waitall(2, all, MPI_STATUSES_IGNORE));
    if (mode > 3) OK(MPI_Request_free(&all[1]));
    CHECK(holds(into, len, before));
}

static void every_mode(void) {
    static const size_t lens[] = {1, 65535, 65536, 65537, MIB, 3 * MIB + 7};
    size_t most = 3 * MIB + 7, space = most + MPI_BSEND_OVERHEAD;
    unsigned char *from = take(most + 64), *into = take(most);
    void *attached = malloc(space);
    OK(MPI_Buffer_attach(attached, (int)space));
    for (int i = 0; i < 6; i++)
        for (int mode = 0; mode < 5; mode++)
            for (int late = 0; late < (mode == 2 ? 1 : 2); late++) {
                size_t at = (size_t)(i * 5 + mode);
                fill(from + at, lens[i], me);
                memset(into, 0xee, most);
                around(from + at, lens[i], into, mode, late);
                CHECK(lens[i] == most || into[lens[i]] == 0xee);
            }
    OK(MPI_Buffer_detach(&attached, &(int){0}));
    free(attached);
    OK(MPI_Free_mem(from));
    OK(MPI_Free_mem(into));
}

/* Out of lent memory straight to scattered places, and from scattered places, which cannot be lent. */
static void derived_types(void) {
    enum { COUNT = 200000 };
    int *from = (int *)(void *)take(2 * COUNT * sizeof(int)), *into = malloc(2 * COUNT * sizeof(int));
    MPI_Datatype strided;
    OK(MPI_Type_vector(COUNT, 1, 2, MPI_INT, &strided));
    OK(MPI_Type_commit(&strided));
    for (int scattered = 0; scattered < 2; scattered++) {
        for (int i = 0; i < 2 * COUNT; i++) from[i] = i + me, into[i] = -1;
        OK(MPI_Sendrecv(from, scattered ? 1 : COUNT, scattered ? strided : MPI_INT, next, TAG, into, 1, strided, before,
                        TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
        for (int i = 0; i < COUNT; i++) {
            CHECK(into[2 * i] == (scattered ? 2 * i : i) + before);
            CHECK(i == COUNT - 1 || into[2 * i + 1] == -1);
        }
    }
    OK(MPI_Type_free(&strided));
    OK(MPI_Free_mem(from));
    free(into);
}

static void truncated_and_cancelled(void) {
    unsigned char *from = take(MIB), *into = malloc(MIB);
    MPI_Request request;
    MPI_Status status;
    int flag;
    fill(from, MIB, me);
    for (int room = 0; room <= 100000; room += 50000) {
        memset(into, 0xee, MIB);
        OK(MPI_Isend(from, MIB, MPI_BYTE, next, TAG, MPI_COMM_WORLD, &request));
        FAILS(MPI_ERR_TRUNCATE, MPI_Recv(into, room, MPI_BYTE, before, TAG, MPI_COMM_WORLD, &status));
        OK(MPI_Wait(&request, MPI_STATUS_IGNORE));
        CHECK(holds(into, (size_t)room, before) && into[room] == 0xee);
    }
    OK(MPI_Isend(from, MIB, MPI_BYTE, next, TAG + 1, MPI_COMM_WORLD, &request));
    OK(MPI_Cancel(&request));
    OK(MPI_Wait(&request, &status));
    OK(MPI_Test_cancelled(&status, &flag));
    CHECK(flag);
    OK(MPI_Barrier(MPI_COMM_WORLD));
    OK(MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &flag, MPI_STATUS_IGNORE));
    CHECK(!flag);
    OK(MPI_Free_mem(from));
    free(into);
}

/* Large pieces come and go, so that their readers must let go of them too. */
static void come_and_go(void) {
    unsigned char *into = malloc(40 * MIB);
    for (int i = 0; i < 2; i++) {
        unsigned char *from = take(40 * MIB), *more = take(70 * MIB);
        memset(from, i + me, 40 * MIB);
        OK(MPI_Sendrecv(from, 40 * MIB, MPI_BYTE, next, TAG, into, 40 * MIB, MPI_BYTE, before, TAG, MPI_COMM_WORLD,
                        MPI_STATUS_IGNORE));
        CHECK(into[0] == (unsigned char)(i + before) && memcmp(into, into + 1, 40 * MIB - 1) == 0);
        memset(more, i - me, MIB);
        OK(MPI_Sendrecv(more, MIB, MPI_BYTE, next, TAG, into, MIB, MPI_BYTE, before, TAG, MPI_COMM_WORLD,
                        MPI_STATUS_IGNORE));
        CHECK(into[0] == (unsigned char)(i - before) && memcmp(into, into + 1, MIB - 1) == 0);
        OK(MPI_Free_mem(from));
        OK(MPI_Free_mem(more));
    }
    free(into);
}

static void many(void) {
    enum { MANY = 300 };
    unsigned char *all[MANY], *into = malloc(200000);
    for (int i = 0; i < MANY; i++) fill(all[i] = take(200000), 200000, i + me);
    for (int i = MANY - 1; i >= 0; i -= 3) {
        OK(MPI_Sendrecv(all[i], 200000, MPI_BYTE, next, TAG, into, 200000, MPI_BYTE, before, TAG, MPI_COMM_WORLD,
                        MPI_STATUS_IGNORE));
        CHECK(holds(into, 200000, i + before));
    }
    for (int i = 0; i < MANY; i++) {
        CHECK(holds(all[i], 200000, i + me));
        OK(MPI_Free_mem(all[i]));
    }
    free(into);
}

static void collectives(void) {
    size_t len = 300000;
    unsigned char *from = take(len * (size_t)ranks), *into = take(len * (size_t)ranks);
    fill(from, len * (size_t)ranks, me);
    OK(MPI_Alltoall(from, (int)len, MPI_BYTE, into, (int)len, MPI_BYTE, MPI_COMM_WORLD));
    for (int peer = 0; peer < ranks; peer++)
        for (size_t i = 0; i < len; i++)
            CHECK(into[(size_t)peer * len + i] == byte((size_t)me * len + i, peer));
    OK(MPI_Bcast(from, (int)len, MPI_BYTE, ranks - 1, MPI_COMM_WORLD));
    CHECK(holds(from, len, ranks - 1));
    OK(MPI_Free_mem(from));
    OK(MPI_Free_mem(into));
}

static MPI_T_pvar_session session;

static MPI_T_pvar_handle counter(const char *name, int class) {
    MPI_T_pvar_handle handle;
    int at, count;
    OK(MPI_T_pvar_get_index(name, class, &at));
    OK(MPI_T_pvar_handle_alloc(session, at, NULL, &handle, &count));
    OK(MPI_T_pvar_start(session, handle));
    return handle;
}

/* The sum over all ranks. */
static unsigned long long total(MPI_T_pvar_handle handle) {
    unsigned long long mine, all;
    OK(MPI_T_pvar_read(session, handle, &mine));
    OK(MPI_Allreduce(&mine, &all, 1, MPI_UNSIGNED_LONG_LONG, MPI_SUM, MPI_COMM_WORLD));
    return all;
}

int main(int argc, char **argv) {
    int provided;
    OK(MPI_T_init_thread(MPI_THREAD_SINGLE, &provided));
    OK(MPI_T_pvar_session_create(&session));
    MPI_T_pvar_handle sent = counter("cohost_loan_messages_sent", MPI_T_PVAR_CLASS_COUNTER);
    MPI_T_pvar_handle bytes = counter("cohost_loan_bytes_sent", MPI_T_PVAR_CLASS_AGGREGATE);
    MPI_T_pvar_handle received = counter("cohost_loan_messages_received", MPI_T_PVAR_CLASS_COUNTER);
    MPI_T_pvar_handle copied = counter("cohost_loan_bytes_received", MPI_T_PVAR_CLASS_AGGREGATE);
    MPI_T_pvar_handle declined = counter("cohost_loans_declined", MPI_T_PVAR_CLASS_COUNTER);
    OK(MPI_Init(&argc, &argv));
    OK(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    OK(MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN));
    OK(MPI_Comm_rank(MPI_COMM_WORLD, &me));
    OK(MPI_Comm_size(MPI_COMM_WORLD, &ranks));
    next = (me + 1) % ranks;
    before = (me + ranks - 1) % ranks;
    take_and_give_back();
    aligned();
    CHECK(total(sent) == 0);
    every_mode();
    /* Of six lengths three are long enough; of five modes one copies; all but one are begun before and after. */
    const char *loans = getenv("LOANS");
    unsigned long long expected = loans[0] == '1' ? 3 * 7 * (unsigned long long)ranks : 0;
    CHECK(total(sent) == expected && total(received) == expected);
    CHECK(total(bytes) == total(copied) && total(bytes) == expected / 3 * (65537 + MIB + 3 * MIB + 7));
    derived_types();
    truncated_and_cancelled();
    come_and_go();
    many();
    collectives();
    CHECK(total(sent) == total(received) && (total(sent) > expected) == (loans[0] == '1'));
    CHECK(total(declined) == 0);
    OK(MPI_Barrier(MPI_COMM_WORLD));
    if (me == 0) printf("all claims hold\n");
    OK(MPI_Finalize());
    return 0;
}
