/* Claims of a program: the first that does not hold is named, and the job ends. */
#ifndef CHECK_H
#define CHECK_H

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(claim)                                                      \
    do {                                                                  \
        if (!(claim)) {                                                   \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #claim);   \
            MPI_Abort(MPI_COMM_WORLD, 3);                                 \
        }                                                                 \
    } while (0)

/* The call succeeds. */
#define OK(call) CHECK((call) == MPI_SUCCESS)

/* The call fails with this class. */
#define FAILS(expected, call) CHECK(class_of(call) == (expected))

static inline int class_of(int code) {
    int found = -1;
    MPI_Error_class(code, &found);
    return found;
}

#endif
