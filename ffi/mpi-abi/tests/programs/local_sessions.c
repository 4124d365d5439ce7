/* Opening a session is local: rank 0 opens and closes some before another rank has begun, and rank 1
   never uses MPI. A child that is forked meanwhile ends without a word to the job. */
#include "check.h"
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

static void *open_one(void *at) {
    MPI_Session *session = at;
    if (MPI_Session_init(MPI_INFO_NULL, MPI_ERRORS_ARE_FATAL, session) != MPI_SUCCESS) abort();
    MPI_Group group;
    if (MPI_Group_from_session_pset(*session, "mpi://WORLD", &group) != MPI_SUCCESS) abort();
    if (MPI_Group_free(&group) != MPI_SUCCESS) abort();
    return NULL;
}

static void alone(void) {
    MPI_Session session;
    int sets, len = MPI_MAX_PSET_NAME_LEN;
    char name[MPI_MAX_PSET_NAME_LEN];
    for (int i = 0; i < 3; i++) {
        if (MPI_Session_init(MPI_INFO_NULL, MPI_ERRORS_ARE_FATAL, &session) != MPI_SUCCESS) abort();
        if (MPI_Session_get_num_psets(session, MPI_INFO_NULL, &sets) != MPI_SUCCESS) abort();
        if (MPI_Session_get_nth_pset(session, MPI_INFO_NULL, 0, &len, name) != MPI_SUCCESS) abort();
        if (MPI_Session_finalize(&session) != MPI_SUCCESS) abort();
    }
}

/* All ranks; threads are the first to need the job, all at once. */
static void together(void) {
    MPI_Session sessions[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, open_one, &sessions[i]);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    MPI_Group group;
    MPI_Comm comm;
    OK(MPI_Group_from_session_pset(sessions[0], "mpi://WORLD", &group));
    OK(MPI_Comm_create_from_group(group, "together", MPI_INFO_NULL, MPI_ERRORS_ARE_FATAL, &comm));
    pid_t child = fork();
    if (child == 0) exit(0);
    int status, rank, size, sum;
    waitpid(child, &status, 0);
    OK(MPI_Comm_rank(comm, &rank));
    OK(MPI_Comm_size(comm, &size));
    OK(MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, comm));
    CHECK(sum == size * (size - 1) / 2);
    OK(MPI_Comm_free(&comm));
    OK(MPI_Group_free(&group));
    for (int i = 0; i < 4; i++) OK(MPI_Session_finalize(&sessions[i]));
    if (rank == 0) puts("all claims hold");
}

int main(int argc, char **argv) {
    (void)argv;
    if (argc > 1) {
        together();
        return 0;
    }
    const char *rank = getenv("PMI_RANK");
    if (rank && atoi(rank) == 1) return 0;
    alone();
    puts("all claims hold");
    return 0;
}
