/* Random programs that are right, one per seed: what each step comes to does not depend on the
   library. Arguments: first seed, how many, steps of each; `-v` tells what the steps are. */
#include "types.h"
#include "communicators.h"
#include "messages.h"
#include "reductions.h"

/* Steps on the world, or on a part of it that goes on alone. */
static void on_some_comm(struct rng *rng, void (*make)(struct rng *, MPI_Comm)) {
    MPI_Comm comm = MPI_COMM_WORLD;
    if (once_in(rng, 2)) comm = some_comm(rng, MPI_COMM_WORLD);
    struct rng part = stream(rng->state, 1, 1);
    if (comm != MPI_COMM_NULL) make(&part, comm);
    free_comm(&comm);
}

static void run(int steps) {
    for (step = 0; step < steps; step++) {
        struct rng rng = stream(seed, (uint64_t)step, 0);
        switch (below(&rng, 8)) {
        case 0: types_step(&rng); break;
        case 1: communicators_step(&rng); break;
        case 2: case 3: on_some_comm(&rng, messages_step); break;
        default: on_some_comm(&rng, collectives_step);
        }
    }
}

int main(int argc, char **argv) {
    OK(MPI_Init(&argc, &argv));
    OK(MPI_Comm_rank(MPI_COMM_WORLD, &me));
    OK(MPI_Comm_size(MPI_COMM_WORLD, &ranks));
    CHECK(argc >= 4);
    uint64_t first = strtoull(argv[1], NULL, 10), many = strtoull(argv[2], NULL, 10);
    verbose = argc > 4 && strcmp(argv[4], "-v") == 0;
    peer = getenv("FUZZ_PEER") != NULL;
    begin_layouts();
    int room = 1 << 24;
    void *buffer = malloc((size_t)room);
    OK(MPI_Buffer_attach(buffer, room));
    for (seed = first; seed < first + many; seed++) run(atoi(argv[3]));
    OK(MPI_Buffer_detach(&buffer, &room));
    free(buffer);
    OK(MPI_Finalize());
    return 0;
}
