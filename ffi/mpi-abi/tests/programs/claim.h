/* What the programs of the tests have in common: a claim that does not hold ends the job. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLAIM(it)                                                            \
    do {                                                                     \
        if (!(it)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #it); \
            fflush(stderr);                                                  \
            _Exit(1);                                                        \
        }                                                                    \
    } while (0)

#define OK(call) CLAIM((call) == MPI_SUCCESS)

/* That a call fails with this class. */
#define FAILS(call, class)                                     \
    do {                                                       \
        int code_ = (call), class_ = -1;                       \
        CLAIM(code_ != MPI_SUCCESS);                           \
        CLAIM(MPI_Error_class(code_, &class_) == MPI_SUCCESS); \
        CLAIM(class_ == (class));                              \
    } while (0)

/* All ranks of a communicator add up their numbers. */
static inline int sum(MPI_Comm comm, int mine)
{
    int all = -1;
    OK(MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_SUM, comm));
    return all;
}

static inline int rank_in(MPI_Comm comm)
{
    int rank;
    OK(MPI_Comm_rank(comm, &rank));
    return rank;
}

static inline int size_of(MPI_Comm comm)
{
    int size;
    OK(MPI_Comm_size(comm, &size));
    return size;
}

/* The last words of a program. */
static inline int done(void)
{
    puts("all claims hold");
    return 0;
}
