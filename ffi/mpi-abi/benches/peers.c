/* PingPong, Alltoall and Allreduce as IMB-MPI1 defines them, and PingPong of strided vectors (one of two
 * doubles): `peers pingpong|vector|alltoall|allreduce BYTES...`. Multiples of 8 for vectors. */
#include "sampling.h"
#include <string.h>

struct state {
    char *from, *into;
    int bytes, rank;
    /* What ping-pong sends: this many of these. */
    int count;
    MPI_Datatype datatype;
};

/* Both directions: half of it is reported. Ranks but the first two wait in the barrier of the batch. */
static void pingpong(void *about) {
    struct state *it = about;
    int peer = 1 - it->rank;
    if (it->rank > 1) return;
    if (it->rank == 0) MPI_Send(it->from, it->count, it->datatype, peer, 1, MPI_COMM_WORLD);
    MPI_Recv(it->into, it->count, it->datatype, peer, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    if (it->rank == 1) MPI_Send(it->from, it->count, it->datatype, peer, 1, MPI_COMM_WORLD);
}

static void alltoall(void *about) {
    struct state *it = about;
    MPI_Alltoall(it->from, it->bytes, MPI_BYTE, it->into, it->bytes, MPI_BYTE, MPI_COMM_WORLD);
}

static void allreduce(void *about) {
    struct state *it = about;
    int count = it->bytes / (int)sizeof(float);
    MPI_Allreduce(it->from, it->into, count, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD);
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        sampling_operation run;
        double parts;
    } all[] = {{"pingpong", pingpong, 2}, {"vector", pingpong, 2}, {"alltoall", alltoall, 1}, {"allreduce", allreduce, 1}};
    enum { VECTOR = 1, WAYS = 4 };
    struct state it;
    int ranks, i, which = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    MPI_Comm_rank(MPI_COMM_WORLD, &it.rank);
    while (which < WAYS && (argc < 3 || strcmp(argv[1], all[which].name) != 0)) which++;
    if (which == WAYS || ranks < 2) {
        if (it.rank == 0) fprintf(stderr, "usage, with 2 ranks or more: peers pingpong|vector|alltoall|allreduce BYTES...\n");
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    sampling_pin(it.rank);
    sampling_library();
    for (i = 2; i < argc; i++) {
        size_t blocks = all[which].run == alltoall ? (size_t)ranks : which == VECTOR ? 2 : 1;
        it.bytes = it.count = atoi(argv[i]);
        it.datatype = MPI_BYTE;
        if (which == VECTOR) {
            it.count = 1;
            MPI_Type_vector(it.bytes / (int)sizeof(double), 1, 2, MPI_DOUBLE, &it.datatype);
            MPI_Type_commit(&it.datatype);
        }
        it.from = sampling_memory(blocks * (size_t)it.bytes);
        it.into = sampling_memory(blocks * (size_t)it.bytes);
        /* Any bits would do but for sums, of which some are slow. */
        if (all[which].run == allreduce) memset(it.from, 0, (size_t)it.bytes);
        sampling_report(all[which].name, it.bytes, all[which].parts, all[which].run, &it);
        if (which == VECTOR) MPI_Type_free(&it.datatype);
        free(it.from);
        free(it.into);
    }
    MPI_Finalize();
    return 0;
}
