/* Random numbers that are the same everywhere, hashes, and lines of output. */
#ifndef RANDOM_H
#define RANDOM_H

#include "../check.h"
#include <stdint.h>

/* A stream of random numbers (splitmix64). */
struct rng {
    uint64_t state;
};

static inline uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

static inline uint64_t draw(struct rng *rng) {
    return mix(rng->state += 0x9e3779b97f4a7c15ull);
}

/* 0 to below - 1. */
static inline int below(struct rng *rng, int below) {
    return below <= 1 ? 0 : (int)(draw(rng) % (uint64_t)below);
}

static inline int between(struct rng *rng, int low, int high) {
    return low + below(rng, high - low + 1);
}

/* True once in so many. */
static inline int once_in(struct rng *rng, int many) {
    return below(rng, many) == 0;
}

/* Another stream, that does not depend on how far this one was drawn from elsewhere. */
static inline struct rng stream(uint64_t a, uint64_t b, uint64_t c) {
    return (struct rng){mix(mix(mix(a + 0x1234567) + b) + c)};
}

static inline void shuffle(struct rng *rng, int *list, int n) {
    for (int i = n - 1; i > 0; i--) {
        int j = below(rng, i + 1), other = list[i];
        list[i] = list[j];
        list[j] = other;
    }
}

static inline uint64_t hash_bytes(uint64_t hash, const void *at, size_t len) {
    const unsigned char *bytes = at;
    for (size_t i = 0; i < len; i++) hash = (hash ^ bytes[i]) * 0x100000001b3ull;
    return hash;
}

static inline uint64_t hash_number(uint64_t hash, int64_t number) {
    return hash_bytes(hash, &number, sizeof number);
}

#define HASH 0xcbf29ce484222325ull

static int me, ranks;
static uint64_t seed;
static int step, verbose;
/* Leaves out what MPICH 5.0.2 gets wrong: external32 of some types dies of an illegal instruction,
   elements of some nested types are miscounted, and parts without data count for true bounds. */
static int peer;

/* What a step came to at this rank. */
static inline void say(const char *what, uint64_t hash) {
    printf("%llu %03d %d %s %016llx\n", (unsigned long long)seed, step, me, what,
           (unsigned long long)hash);
    fflush(stdout);
}

/* What a step is about to do, for whoever looks for a difference. */
#define TELL(...)                                                            \
    do {                                                                     \
        char line_[200];                                                     \
        snprintf(line_, sizeof line_, __VA_ARGS__);                          \
        if (verbose) printf("%llu %03d %d # %s\n", (unsigned long long)seed, \
                            step, me, line_);                                \
        if (verbose) fflush(stdout);                                         \
    } while (0)

#endif
