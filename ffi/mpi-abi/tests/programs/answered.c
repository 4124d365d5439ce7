/* A rank that received a long message, asleep when it came, and makes no further call: its sender
   must be able to go on. The sender then makes a file, for which the receiver waits outside of MPI. */
#include "check.h"
#include <unistd.h>

enum { LEN = 1000000 };

int main(int argc, char **argv) {
    int rank;
    char *bytes = calloc(1, LEN), path[200];
    snprintf(path, sizeof path, "%s/answered.%s", getenv("ANSWERED_DIR"), getenv("COHOST_PATH"));
    OK(MPI_Init(&argc, &argv));
    OK(MPI_Comm_rank(MPI_COMM_WORLD, &rank));
    /* Without the answer it would wait for ever. */
    alarm(100);
    for (int i = 0; i < 20; i++) {
        char name[250];
        snprintf(name, sizeof name, "%s.%d", path, i);
        if (rank == 0) {
            usleep(5000);
            OK(MPI_Ssend(bytes, LEN, MPI_BYTE, 1, i, MPI_COMM_WORLD));
            FILE *made = fopen(name, "w");
            CHECK(made != NULL);
            fclose(made);
        } else {
            OK(MPI_Recv(bytes, LEN, MPI_BYTE, 0, i, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
            while (access(name, F_OK) != 0) usleep(1000);
            unlink(name);
        }
    }
    if (rank == 1) printf("all claims hold\n");
    OK(MPI_Finalize());
    return 0;
}
