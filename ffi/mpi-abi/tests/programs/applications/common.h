/* What the programs share: the same numbers everywhere, and a word for an array's exact bytes. */

#ifndef PROGRAMS_COMMON_H
#define PROGRAMS_COMMON_H

#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUIRE(condition)                                                                 \
    do {                                                                                   \
        if (!(condition)) {                                                                \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
            MPI_Abort(MPI_COMM_WORLD, 3);                                                  \
        }                                                                                  \
    } while (0)

/* The number at a place of an endless sequence (SplitMix64): no rank needs another's state. */
static inline uint64_t number_at(uint64_t place)
{
    uint64_t z = (place + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* The same between -0.5 and 0.5; exact. */
static inline double fraction_at(uint64_t place)
{
    return (double)(number_at(place) >> 11) / 9007199254740992.0 - 0.5;
}

/* FNV-1a of the bytes: equal only for results that are equal in each bit. */
static inline uint64_t bytes_word(const void *data, size_t length)
{
    const unsigned char *bytes = (const unsigned char *)data;
    uint64_t word = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < length; i++)
        word = (word ^ bytes[i]) * UINT64_C(0x100000001b3);
    return word;
}

static inline void *room_for(size_t count, size_t size)
{
    void *room = calloc(count ? count : 1, size);
    REQUIRE(room != NULL);
    return room;
}

#endif
