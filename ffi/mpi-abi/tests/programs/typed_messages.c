/* Messages of derived types between two ranks, byte for byte: what each layout picks is listed here
   by hand, gaps must stay as they were. Short and long messages, all ways to send. */
#include "check.h"
#include <stddef.h>
#include <stdint.h>

static int rank;

/* A type, and the places of the bytes of one item in the order of its typemap. */
struct layout {
    const char *name;
    MPI_Datatype type;
    ptrdiff_t extent;
    int n;
    ptrdiff_t *places;
};

static void place(struct layout *it, ptrdiff_t at, int len) {
    it->places = realloc(it->places, sizeof *it->places * (size_t)(it->n + len));
    for (int i = 0; i < len; i++) it->places[it->n++] = at + i;
}

static struct layout new_layout(const char *name, ptrdiff_t extent) {
    return (struct layout){name, MPI_DATATYPE_NULL, extent, 0, NULL};
}

/* 1 of 2 doubles, 1000 times. */
static struct layout vector(void) {
    struct layout it = new_layout("vector", 1999 * 8);
    OK(MPI_Type_vector(1000, 1, 2, MPI_DOUBLE, &it.type));
    for (int i = 0; i < 1000; i++) place(&it, 16 * i, 8);
    return it;
}

/* Blocks of 3 of every 5 ints, from the last to the first. */
static struct layout backwards(void) {
    struct layout it = new_layout("backwards", 200 * 20 - 8);
    OK(MPI_Type_create_hvector(200, 3, -20, MPI_INT, &it.type));
    for (int i = 0; i < 200; i++) place(&it, -20 * i, 12);
    return it;
}

static struct layout record(void) {
    struct layout it = new_layout("record", 24);
    OK(MPI_Type_create_struct(3, (int[]){1, 1, 3}, (MPI_Aint[]){0, 8, 16},
                              (MPI_Datatype[]){MPI_INT, MPI_DOUBLE, MPI_SHORT}, &it.type));
    place(&it, 0, 4);
    place(&it, 8, 8);
    place(&it, 16, 6);
    return it;
}

/* A struct of a vector and a char, with a lower bound of its own. */
static struct layout nested(void) {
    struct layout it = new_layout("nested", 64);
    MPI_Datatype column, both;
    OK(MPI_Type_vector(3, 1, 2, MPI_INT, &column));
    OK(MPI_Type_create_struct(2, (int[]){2, 1}, (MPI_Aint[]){4, 50},
                              (MPI_Datatype[]){column, MPI_CHAR}, &both));
    OK(MPI_Type_create_resized(both, -8, 64, &it.type));
    OK(MPI_Type_free(&column));
    OK(MPI_Type_free(&both));
    for (int block = 0; block < 2; block++)
        for (int i = 0; i < 3; i++) place(&it, 4 + 20 * block + 8 * i, 4);
    place(&it, 50, 1);
    return it;
}

/* Items that lie in each other: the extent is less than the span. */
static struct layout interleaved(void) {
    struct layout it = new_layout("interleaved", 4);
    MPI_Datatype column;
    OK(MPI_Type_create_hvector(2, 1, 1 << 22, MPI_INT, &column));
    OK(MPI_Type_create_resized(column, 0, 4, &it.type));
    OK(MPI_Type_free(&column));
    place(&it, 0, 4);
    place(&it, 1 << 22, 4);
    return it;
}

static struct layout indexed(void) {
    struct layout it = new_layout("indexed", 30 * 2);
    OK(MPI_Type_indexed(4, (int[]){2, 5, 0, 1}, (int[]){25, 3, 7, 29}, MPI_SHORT, &it.type));
    MPI_Datatype wide;
    OK(MPI_Type_create_resized(it.type, 0, it.extent, &wide));
    OK(MPI_Type_free(&it.type));
    it.type = wide;
    place(&it, 50, 4);
    place(&it, 6, 10);
    place(&it, 58, 2);
    return it;
}

static struct layout inner_part(void) {
    struct layout it = new_layout("inner part of an array", 100 * 100 * 8);
    OK(MPI_Type_create_subarray(2, (int[]){100, 100}, (int[]){98, 98}, (int[]){1, 1}, MPI_ORDER_C,
                                MPI_DOUBLE, &it.type));
    for (int row = 1; row < 99; row++) place(&it, (100 * row + 1) * 8, 98 * 8);
    return it;
}

static struct layout plain(void) {
    struct layout it = new_layout("contiguous", 12);
    OK(MPI_Type_contiguous(3, MPI_INT, &it.type));
    place(&it, 0, 12);
    return it;
}

/* Memory in which `count` items lie, wherever their places are. */
struct memory {
    unsigned char *bytes;
    size_t len;
    unsigned char *base;
};

static struct memory memory_for(const struct layout *it, int count) {
    ptrdiff_t low = 0, high = 0, last = it->extent * (count - 1);
    for (int i = 0; i < it->n; i++) {
        if (it->places[i] < low) low = it->places[i];
        if (it->places[i] >= high) high = it->places[i] + 1;
    }
    struct memory memory;
    memory.len = (size_t)(high - low + last) + 64;
    memory.bytes = malloc(memory.len);
    memory.base = memory.bytes + 32 - low;
    return memory;
}

static unsigned char pattern(size_t at, int seed) {
    uint64_t mixed = (at + 1) * 0x9e3779b97f4a7c15u + (uint64_t)seed * 0xbf58476d1ce4e5b9u;
    return (unsigned char)(mixed >> 56);
}

static void fill(struct memory memory, int seed) {
    for (size_t i = 0; i < memory.len; i++) memory.bytes[i] = pattern(i, seed);
}

/* The items of `memory`, one after another. */
static void gather(const struct layout *it, int count, struct memory memory, unsigned char *packed) {
    for (ptrdiff_t item = 0; item < count; item++)
        for (int i = 0; i < it->n; i++) *packed++ = memory.base[item * it->extent + it->places[i]];
}

/* All of `memory` is as it was filled, but for the items, which came from a memory filled with
   `from`. */
static void same(const struct layout *it, int count, struct memory memory, int from, int seed) {
    struct memory model = memory_for(it, count), sent = memory_for(it, count);
    fill(model, seed);
    fill(sent, from);
    for (ptrdiff_t item = 0; item < count; item++)
        for (int i = 0; i < it->n; i++) {
            ptrdiff_t at = item * it->extent + it->places[i];
            model.base[at] = sent.base[at];
        }
    for (size_t i = 0; i < memory.len; i++)
        if (memory.bytes[i] != model.bytes[i]) {
            fprintf(stderr, "%s, %d items: byte %zu\n", it->name, count, i);
            MPI_Abort(MPI_COMM_WORLD, 4);
        }
    free(model.bytes);
    free(sent.bytes);
}

static void whole(const MPI_Status *status, const struct layout *it, int count) {
    int found;
    OK(MPI_Get_count(status, it->type, &found));
    CHECK(found == count);
    OK(MPI_Get_count(status, MPI_BYTE, &found));
    CHECK(found == count * it->n);
}

static void blocking(const struct layout *it, int count, struct memory memory) {
    MPI_Status status;
    for (int round = 0; round < 3; round++) {
        fill(memory, rank == 0 ? round : -1);
        if (rank == 0 && round < 2) OK(MPI_Send(memory.base, count, it->type, 1, 7, MPI_COMM_WORLD));
        if (rank == 0 && round == 2)
            OK(MPI_Ssend(memory.base, count, it->type, 1, 7, MPI_COMM_WORLD));
        if (rank == 1) {
            OK(MPI_Recv(memory.base, count, it->type, 0, 7, MPI_COMM_WORLD, &status));
            whole(&status, it, count);
            same(it, count, memory, round, -1);
        }
    }
}

/* Both ways at once; the type is freed while the operations are under way. */
static void nonblocking(const struct layout *it, int count, struct memory memory) {
    struct memory other = memory_for(it, count);
    MPI_Request requests[2];
    MPI_Status statuses[2];
    MPI_Datatype type;
    fill(memory, 10 + rank);
    fill(other, -1);
    OK(MPI_Type_dup(it->type, &type));
    OK(MPI_Irecv(other.base, count, type, 1 - rank, 8, MPI_COMM_WORLD, &requests[0]));
    OK(MPI_Isend(memory.base, count, type, 1 - rank, 8, MPI_COMM_WORLD, &requests[1]));
    OK(MPI_Type_free(&type));
    OK(MPI_Waitall(2, requests, statuses));
    whole(&statuses[0], it, count);
    same(it, count, other, 11 - rank, -1);
    fill(other, -1);
    OK(MPI_Sendrecv(memory.base, count, it->type, 1 - rank, 9, other.base, count, it->type, 1 - rank,
                    9, MPI_COMM_WORLD, &statuses[0]));
    whole(&statuses[0], it, count);
    same(it, count, other, 11 - rank, -1);
    free(other.bytes);
}

static void persistent(const struct layout *it, int count, struct memory memory) {
    MPI_Request request;
    MPI_Status status;
    MPI_Datatype type;
    OK(MPI_Type_dup(it->type, &type));
    if (rank == 0)
        OK(MPI_Send_init(memory.base, count, type, 1, 11, MPI_COMM_WORLD, &request));
    else
        OK(MPI_Recv_init(memory.base, count, type, 0, 11, MPI_COMM_WORLD, &request));
    OK(MPI_Type_free(&type));
    for (int round = 0; round < 3; round++) {
        fill(memory, rank == 0 ? 20 + round : -1);
        OK(MPI_Start(&request));
        OK(MPI_Wait(&request, &status));
        if (rank == 1) {
            whole(&status, it, count);
            same(it, count, memory, 20 + round, -1);
        }
    }
    OK(MPI_Request_free(&request));
}

/* One side has the items where they lie, the other one after another. */
static void packed(const struct layout *it, int count, struct memory memory) {
    int len = count * it->n, position = 0;
    unsigned char *stream = malloc((size_t)len), *expected = malloc((size_t)len);
    fill(memory, 30);
    gather(it, count, memory, expected);
    if (rank == 0) {
        OK(MPI_Send(memory.base, count, it->type, 1, 12, MPI_COMM_WORLD));
        OK(MPI_Pack(memory.base, count, it->type, stream, len, &position, MPI_COMM_WORLD));
        CHECK(!memcmp(stream, expected, (size_t)len));
        OK(MPI_Send(stream, position, MPI_PACKED, 1, 13, MPI_COMM_WORLD));
    } else {
        OK(MPI_Recv(stream, len, MPI_PACKED, 0, 12, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
        CHECK(!memcmp(stream, expected, (size_t)len));
        fill(memory, -1);
        OK(MPI_Recv(memory.base, count, it->type, 0, 13, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
        same(it, count, memory, 30, -1);
    }
    free(stream);
    free(expected);
}

/* Less arrives than there is room for. */
static void part(const struct layout *it, int count, struct memory memory) {
    int found, one, less = count / 2;
    MPI_Status status;
    fill(memory, rank == 0 ? 40 : -1);
    if (rank == 0) {
        OK(MPI_Send(memory.base, less, it->type, 1, 14, MPI_COMM_WORLD));
        return;
    }
    OK(MPI_Recv(memory.base, count, it->type, 0, 14, MPI_COMM_WORLD, &status));
    OK(MPI_Get_count(&status, it->type, &found));
    CHECK(found == less);
    MPI_Status unit = {0};
    OK(MPI_Status_set_elements(&unit, MPI_BYTE, it->n));
    OK(MPI_Get_elements(&unit, it->type, &one));
    OK(MPI_Get_elements(&status, it->type, &found));
    CHECK(found == one * less);
    struct memory model = memory_for(it, count), sent = memory_for(it, count);
    fill(model, -1);
    fill(sent, 40);
    for (ptrdiff_t item = 0; item < less; item++)
        for (int i = 0; i < it->n; i++) {
            ptrdiff_t at = item * it->extent + it->places[i];
            model.base[at] = sent.base[at];
        }
    CHECK(!memcmp(memory.bytes, model.bytes, memory.len));
    free(model.bytes);
    free(sent.bytes);
}

/* The items of types at absolute addresses, of one block and of two. */
static void from_bottom(void) {
    int a[3] = {-1, -1, -1}, b[2] = {-1, -1};
    MPI_Aint at[2];
    OK(MPI_Get_address(a, &at[0]));
    OK(MPI_Get_address(b, &at[1]));
    for (int blocks = 1; blocks <= 2; blocks++) {
        MPI_Datatype type;
        OK(MPI_Type_create_hindexed(blocks, (int[]){3, 2}, at, MPI_INT, &type));
        OK(MPI_Type_commit(&type));
        if (rank == 0) {
            memcpy(a, (int[]){1, 2, 3}, sizeof a);
            memcpy(b, (int[]){4, 5}, sizeof b);
            OK(MPI_Send(MPI_BOTTOM, 1, type, 1, 15, MPI_COMM_WORLD));
        } else {
            OK(MPI_Recv(MPI_BOTTOM, 1, type, 0, 15, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
            CHECK(a[0] == 1 && a[1] == 2 && a[2] == 3);
            CHECK(blocks == 1 ? b[0] == -1 && b[1] == -1 : b[0] == 4 && b[1] == 5);
        }
        OK(MPI_Type_free(&type));
    }
}

static void refusals(void) {
    MPI_Datatype type;
    int value = 0;
    OK(MPI_Type_contiguous(1, MPI_INT, &type));
    FAILS(MPI_ERR_TYPE, MPI_Send(&value, 1, type, 1 - rank, 16, MPI_COMM_WORLD));
    FAILS(MPI_ERR_BUFFER, MPI_Send(NULL, 1, MPI_INT, 1 - rank, 16, MPI_COMM_WORLD));
    OK(MPI_Type_free(&type));
    FAILS(MPI_ERR_TYPE, MPI_Send(&value, 1, type, 1 - rank, 16, MPI_COMM_WORLD));
}

int main(void) {
    OK(MPI_Init(NULL, NULL));
    OK(MPI_Comm_rank(MPI_COMM_WORLD, &rank));
    OK(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    struct layout layouts[] = {vector(),  backwards(),  record(), nested(), interleaved(),
                               indexed(), inner_part(), plain()};
    for (size_t at = 0; at < sizeof layouts / sizeof *layouts; at++) {
        struct layout *it = &layouts[at];
        OK(MPI_Type_commit(&it->type));
        /* One item, some, and a message of 3 MiB and a little. */
        const int counts[] = {1, 7, (3 << 20) / it->n + 1};
        for (int size = 0; size < 3; size++) {
            int count = counts[size];
            struct memory memory = memory_for(it, count);
            blocking(it, count, memory);
            nonblocking(it, count, memory);
            persistent(it, count, memory);
            packed(it, count, memory);
            part(it, count, memory);
            free(memory.bytes);
        }
        OK(MPI_Type_free(&it->type));
        free(it->places);
    }
    from_bottom();
    refusals();
    OK(MPI_Finalize());
    if (rank == 0) puts("all claims hold");
    return 0;
}
