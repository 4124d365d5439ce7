/* Datatypes of one process: constructors and what they gave, arguments given back, packing, names,
   attributes, refusals. Positions are compared with lists written by hand. */
#include "check.h"
#include <stdint.h>

enum { ROOM = 512 };

/* `count` items of a type made of int pick these places of an array, in this order. */
static void picks(MPI_Datatype type, int count, const int *places, int n) {
    int from[ROOM], packed[ROOM], to[ROOM], size, position = 0;
    OK(MPI_Type_commit(&type));
    for (int i = 0; i < ROOM; i++) from[i] = i, packed[i] = -2, to[i] = -1;
    OK(MPI_Pack_size(count, type, MPI_COMM_SELF, &size));
    CHECK(size == n * (int)sizeof(int));
    OK(MPI_Pack(from, count, type, packed, sizeof packed, &position, MPI_COMM_SELF));
    CHECK(position == size);
    for (int i = 0; i < n; i++) CHECK(packed[i] == places[i]);
    CHECK(packed[n] == -2);
    position = 0;
    OK(MPI_Unpack(packed, size, &position, to, count, type, MPI_COMM_SELF));
    CHECK(position == size);
    int hit[ROOM] = {0};
    for (int i = 0; i < n; i++) hit[places[i]] = 1;
    for (int i = 0; i < ROOM; i++) CHECK(to[i] == (hit[i] ? i : -1));
}

#define PICKS(type, count, ...)                                           \
    do {                                                                  \
        const int places[] = {__VA_ARGS__};                               \
        picks(type, count, places, (int)(sizeof places / sizeof *places)); \
    } while (0)

static void bounds(MPI_Datatype type, int size, MPI_Aint lb, MPI_Aint extent, MPI_Aint true_lb,
                   MPI_Aint true_extent) {
    int found;
    MPI_Aint at, len;
    MPI_Count large, from, to;
    OK(MPI_Type_size(type, &found));
    CHECK(found == size);
    OK(MPI_Type_size_c(type, &large));
    CHECK(large == size);
    OK(MPI_Type_size_x(type, &large));
    CHECK(large == size);
    OK(MPI_Type_get_extent(type, &at, &len));
    CHECK(at == lb && len == extent);
    OK(MPI_Type_get_extent_c(type, &from, &to));
    CHECK(from == lb && to == extent);
    OK(MPI_Type_get_extent_x(type, &from, &to));
    CHECK(from == lb && to == extent);
    OK(MPI_Type_get_true_extent(type, &at, &len));
    CHECK(at == true_lb && len == true_extent);
    OK(MPI_Type_get_true_extent_c(type, &from, &to));
    CHECK(from == true_lb && to == true_extent);
    OK(MPI_Type_get_true_extent_x(type, &from, &to));
    CHECK(from == true_lb && to == true_extent);
}

static void release(MPI_Datatype type) {
    OK(MPI_Type_free(&type));
    CHECK(type == MPI_DATATYPE_NULL);
}

/* The same type, made from the arguments that are given back; the inner ones are freed. */
static MPI_Datatype made_again(MPI_Datatype type) {
    int ni, na, nd, combiner;
    OK(MPI_Type_get_envelope(type, &ni, &na, &nd, &combiner));
    if (combiner == MPI_COMBINER_NAMED) return type;
    int i[64];
    MPI_Aint a[64];
    MPI_Datatype d[64], old, made = MPI_DATATYPE_NULL;
    CHECK(ni <= 64 && na <= 64 && nd <= 64);
    OK(MPI_Type_get_contents(type, ni, na, nd, i, a, d));
    for (int at = 0; at < nd; at++) {
        old = made_again(d[at]);
        if (old != d[at]) OK(MPI_Type_free(&d[at]));
        d[at] = old;
    }
    old = d[0];
    switch (combiner) {
    case MPI_COMBINER_DUP: OK(MPI_Type_dup(old, &made)); break;
    case MPI_COMBINER_CONTIGUOUS: OK(MPI_Type_contiguous(i[0], old, &made)); break;
    case MPI_COMBINER_VECTOR: OK(MPI_Type_vector(i[0], i[1], i[2], old, &made)); break;
    case MPI_COMBINER_HVECTOR: OK(MPI_Type_create_hvector(i[0], i[1], a[0], old, &made)); break;
    case MPI_COMBINER_INDEXED:
        OK(MPI_Type_indexed(i[0], i + 1, i + 1 + i[0], old, &made));
        break;
    case MPI_COMBINER_HINDEXED: OK(MPI_Type_create_hindexed(i[0], i + 1, a, old, &made)); break;
    case MPI_COMBINER_INDEXED_BLOCK:
        OK(MPI_Type_create_indexed_block(i[0], i[1], i + 2, old, &made));
        break;
    case MPI_COMBINER_HINDEXED_BLOCK:
        OK(MPI_Type_create_hindexed_block(i[0], i[1], a, old, &made));
        break;
    case MPI_COMBINER_STRUCT: OK(MPI_Type_create_struct(i[0], i + 1, a, d, &made)); break;
    case MPI_COMBINER_SUBARRAY: {
        int n = i[0];
        OK(MPI_Type_create_subarray(n, i + 1, i + 1 + n, i + 1 + 2 * n, i[1 + 3 * n], old, &made));
        break;
    }
    case MPI_COMBINER_DARRAY: {
        int n = i[2];
        OK(MPI_Type_create_darray(i[0], i[1], n, i + 3, i + 3 + n, i + 3 + 2 * n, i + 3 + 3 * n,
                                  i[3 + 4 * n], old, &made));
        break;
    }
    case MPI_COMBINER_RESIZED: OK(MPI_Type_create_resized(old, a[0], a[1], &made)); break;
    case MPI_COMBINER_F90_INTEGER: OK(MPI_Type_create_f90_integer(i[0], &made)); break;
    case MPI_COMBINER_F90_REAL: OK(MPI_Type_create_f90_real(i[0], i[1], &made)); break;
    case MPI_COMBINER_F90_COMPLEX: OK(MPI_Type_create_f90_complex(i[0], i[1], &made)); break;
    default: CHECK(!"a combiner that is known");
    }
    for (int at = 0; at < nd; at++) {
        int a1, b1, c1, named;
        OK(MPI_Type_get_envelope(d[at], &a1, &b1, &c1, &named));
        if (named != MPI_COMBINER_NAMED && named < MPI_COMBINER_F90_REAL) release(d[at]);
        if (named == MPI_COMBINER_RESIZED) release(d[at]);
    }
    return made;
}

/* Places as PICKS has them; then the same of the type made again from what is given back. */
#define CLAIM(type, count, ...)                                           \
    do {                                                                  \
        MPI_Datatype it = (type);                                         \
        PICKS(it, count, __VA_ARGS__);                                    \
        MPI_Datatype again = made_again(it);                              \
        CHECK(again != it);                                               \
        PICKS(again, count, __VA_ARGS__);                                 \
        release(again);                                                   \
        release(it);                                                      \
    } while (0)

static void constructors(void) {
    MPI_Datatype t, u;
    OK(MPI_Type_contiguous(3, MPI_INT, &t));
    bounds(t, 12, 0, 12, 0, 12);
    CLAIM(t, 2, 0, 1, 2, 3, 4, 5);
    OK(MPI_Type_vector(2, 2, 3, MPI_INT, &t));
    bounds(t, 16, 0, 20, 0, 20);
    CLAIM(t, 2, 0, 1, 3, 4, 5, 6, 8, 9);
    OK(MPI_Type_create_hvector(3, 1, 8, MPI_INT, &t));
    bounds(t, 12, 0, 20, 0, 20);
    CLAIM(t, 2, 0, 2, 4, 5, 7, 9);
    OK(MPI_Type_indexed(3, (int[]){2, 0, 1}, (int[]){4, 9, 0}, MPI_INT, &t));
    bounds(t, 12, 0, 24, 0, 24);
    CLAIM(t, 2, 4, 5, 0, 10, 11, 6);
    OK(MPI_Type_create_hindexed(2, (int[]){1, 2}, (MPI_Aint[]){20, 4}, MPI_INT, &t));
    bounds(t, 12, 4, 20, 4, 20);
    CLAIM(t, 2, 5, 1, 2, 10, 6, 7);
    OK(MPI_Type_create_indexed_block(2, 2, (int[]){3, 0}, MPI_INT, &t));
    CLAIM(t, 1, 3, 4, 0, 1);
    OK(MPI_Type_create_hindexed_block(2, 1, (MPI_Aint[]){12, 4}, MPI_INT, &t));
    CLAIM(t, 1, 3, 1);
    OK(MPI_Type_vector(2, 1, 2, MPI_INT, &u));
    OK(MPI_Type_create_struct(2, (int[]){1, 2}, (MPI_Aint[]){40, 4},
                              (MPI_Datatype[]){u, MPI_INT}, &t));
    release(u); /* What is made of it goes on. */
    bounds(t, 16, 4, 48, 4, 48);
    CLAIM(t, 1, 10, 12, 1, 2);
    OK(MPI_Type_create_resized(MPI_INT, -4, 12, &t));
    bounds(t, 4, -4, 12, 0, 4);
    CLAIM(t, 3, 0, 3, 6);
    OK(MPI_Type_vector(2, 1, 3, MPI_INT, &u));
    OK(MPI_Type_dup(u, &t));
    release(u);
    CLAIM(t, 1, 0, 3);
}

static void arrays(void) {
    MPI_Datatype t;
    const int sizes[] = {4, 5}, subsizes[] = {2, 3}, starts[] = {1, 2};
    OK(MPI_Type_create_subarray(2, sizes, subsizes, starts, MPI_ORDER_C, MPI_INT, &t));
    bounds(t, 24, 0, 80, 28, 32);
    CLAIM(t, 1, 7, 8, 9, 12, 13, 14);
    OK(MPI_Type_create_subarray(2, sizes, subsizes, starts, MPI_ORDER_FORTRAN, MPI_INT, &t));
    CLAIM(t, 1, 9, 10, 13, 14, 17, 18);
    /* Rank 3 of a grid of 2 x 2: row 1, column 1, whatever the order. */
    const int gsizes[] = {4, 6}, psizes[] = {2, 2};
    const int distribs[] = {MPI_DISTRIBUTE_BLOCK, MPI_DISTRIBUTE_CYCLIC};
    const int dargs[] = {MPI_DISTRIBUTE_DFLT_DARG, 2};
    OK(MPI_Type_create_darray(4, 3, 2, gsizes, distribs, dargs, psizes, MPI_ORDER_C, MPI_INT, &t));
    bounds(t, 16, 0, 96, 56, 32);
    CLAIM(t, 1, 14, 15, 20, 21);
    OK(MPI_Type_create_darray(4, 3, 2, gsizes, distribs, dargs, psizes, MPI_ORDER_FORTRAN, MPI_INT,
                              &t));
    CLAIM(t, 1, 10, 11, 14, 15);
    FAILS(MPI_ERR_ARG, MPI_Type_create_subarray(0, sizes, subsizes, starts, MPI_ORDER_C, MPI_INT,
                                                &t));
    FAILS(MPI_ERR_ARG, MPI_Type_create_subarray(2, sizes, subsizes, starts, 99, MPI_INT, &t));
    FAILS(MPI_ERR_ARG, MPI_Type_create_subarray(2, subsizes, sizes, starts, MPI_ORDER_C, MPI_INT,
                                                &t));
}

/* The form with MPI_Count gives its arguments back as large counts, and only in that form. */
static void large_form(void) {
    MPI_Datatype t, inner[1];
    int i[4], ni, na, nd, combiner;
    MPI_Aint a[1];
    MPI_Count c[8], cni, cna, cnc, cnd;
    OK(MPI_Type_vector_c(3, 1, (MPI_Count)1 << 33, MPI_INT, &t));
    MPI_Count lb, extent;
    OK(MPI_Type_get_extent_c(t, &lb, &extent));
    CHECK(extent == ((MPI_Count)1 << 36) + 4);
    OK(MPI_Type_get_envelope_c(t, &cni, &cna, &cnc, &cnd, &combiner));
    CHECK(cni == 0 && cna == 0 && cnc == 3 && cnd == 1 && combiner == MPI_COMBINER_VECTOR);
    OK(MPI_Type_get_contents_c(t, 0, 0, 3, 1, i, a, c, inner));
    CHECK(c[0] == 3 && c[1] == 1 && c[2] == (MPI_Count)1 << 33 && inner[0] == MPI_INT);
    FAILS(MPI_ERR_TYPE, MPI_Type_get_envelope(t, &ni, &na, &nd, &combiner));
    FAILS(MPI_ERR_ARG, MPI_Type_get_contents(t, 4, 1, 1, i, a, inner));
    FAILS(MPI_ERR_ARG, MPI_Type_get_contents_c(t, 0, 0, 2, 1, i, a, c, inner));
    release(t);
    OK(MPI_Type_create_struct_c(2, (MPI_Count[]){1, 2}, (MPI_Count[]){0, 8},
                                (MPI_Datatype[]){MPI_INT, MPI_INT}, &t));
    OK(MPI_Type_get_envelope_c(t, &cni, &cna, &cnc, &cnd, &combiner));
    CHECK(cni == 0 && cna == 0 && cnc == 5 && cnd == 2);
    PICKS(t, 1, 0, 2, 3);
    release(t);
    OK(MPI_Type_create_subarray_c(1, (MPI_Count[]){9}, (MPI_Count[]){2}, (MPI_Count[]){4},
                                  MPI_ORDER_C, MPI_INT, &t));
    OK(MPI_Type_get_contents_c(t, 2, 0, 3, 1, i, a, c, inner));
    CHECK(i[0] == 1 && i[1] == MPI_ORDER_C && c[0] == 9 && c[1] == 2 && c[2] == 4);
    PICKS(t, 1, 4, 5);
    release(t);
    /* Made by the small form, and asked with the large one. */
    OK(MPI_Type_create_hvector(2, 1, 12, MPI_INT, &t));
    OK(MPI_Type_get_envelope_c(t, &cni, &cna, &cnc, &cnd, &combiner));
    CHECK(cni == 2 && cna == 1 && cnc == 0 && cnd == 1);
    OK(MPI_Type_get_contents_c(t, 2, 1, 0, 1, i, a, c, inner));
    CHECK(i[0] == 2 && i[1] == 1 && a[0] == 12);
    release(t);
    int size;
    OK(MPI_Type_contiguous_c((MPI_Count)1 << 40, MPI_INT, &t));
    OK(MPI_Type_size(t, &size));
    CHECK(size == MPI_UNDEFINED);
    OK(MPI_Type_size_c(t, c));
    CHECK(c[0] == (MPI_Count)1 << 42);
    release(t);
}

/* Types inside are handed out as types of their own. */
static void inner_types(void) {
    MPI_Datatype inner, outer, given[2], other;
    char name[MPI_MAX_OBJECT_NAME];
    int i[1], len;
    OK(MPI_Type_vector(2, 1, 2, MPI_INT, &inner));
    OK(MPI_Type_set_name(inner, "inner"));
    OK(MPI_Type_contiguous(1, inner, &outer));
    OK(MPI_Type_get_contents(outer, 1, 0, 1, i, NULL, given));
    OK(MPI_Type_get_contents(outer, 1, 0, 1, i, NULL, given + 1));
    CHECK(given[0] != inner && given[0] != given[1]);
    OK(MPI_Type_get_name(given[0], name, &len));
    CHECK(len == 0);
    release(given[0]);
    PICKS(given[1], 1, 0, 2);
    release(given[1]);
    PICKS(inner, 1, 0, 2);
    other = inner;
    release(inner);
    FAILS(MPI_ERR_TYPE, MPI_Type_commit(&other));
    PICKS(outer, 1, 0, 2);
    release(outer);
    FAILS(MPI_ERR_TYPE, MPI_Type_get_contents(MPI_INT, 1, 1, 1, i, NULL, given));
}

static void predefined(void) {
    MPI_Datatype t = MPI_INT, u, v;
    int i[2], n[3], combiner, len;
    char name[MPI_MAX_OBJECT_NAME];
    FAILS(MPI_ERR_TYPE, MPI_Type_free(&t));
    CHECK(t == MPI_INT);
    t = MPI_DATATYPE_NULL;
    FAILS(MPI_ERR_TYPE, MPI_Type_free(&t));
    FAILS(MPI_ERR_TYPE, MPI_Type_size(t, n));
    OK(MPI_Type_get_name(MPI_DOUBLE, name, &len));
    CHECK(!strcmp(name, "MPI_DOUBLE") && len == 10);
    OK(MPI_Type_match_size(MPI_TYPECLASS_REAL, 8, &t));
    CHECK(t == MPI_REAL8);
    OK(MPI_Type_match_size(MPI_TYPECLASS_INTEGER, 2, &t));
    CHECK(t == MPI_INTEGER2);
    FAILS(MPI_ERR_ARG, MPI_Type_match_size(MPI_TYPECLASS_COMPLEX, 5, &t));
    OK(MPI_Type_create_f90_integer(9, &t));
    OK(MPI_Type_create_f90_integer(9, &u));
    CHECK(t == u);
    FAILS(MPI_ERR_TYPE, MPI_Type_free(&u));
    OK(MPI_Type_get_envelope(t, n, n + 1, n + 2, &combiner));
    CHECK(n[0] == 1 && n[1] == 0 && n[2] == 0 && combiner == MPI_COMBINER_F90_INTEGER);
    OK(MPI_Type_get_contents(t, 1, 0, 0, i, NULL, NULL));
    CHECK(i[0] == 9);
    PICKS(t, 2, 0, 1); /* Committed from the beginning. */
    OK(MPI_Type_create_f90_real(15, 300, &t));
    OK(MPI_Type_get_contents(t, 2, 0, 0, i, NULL, NULL));
    CHECK(i[0] == 15 && i[1] == 300);
    bounds(t, 8, 0, 8, 0, 8);
    OK(MPI_Type_create_f90_complex(6, MPI_UNDEFINED, &t));
    bounds(t, 8, 0, 8, 0, 8);
    FAILS(MPI_ERR_ARG, MPI_Type_create_f90_real(1000, 10, &t));
    OK(MPI_Type_contiguous(2, t, &u));
    OK(MPI_Type_get_contents(u, 1, 0, 1, i, NULL, &v));
    CHECK(v == t);
    release(u);
    OK(MPI_Type_get_value_index(MPI_DOUBLE, MPI_INT, &t));
    CHECK(t == MPI_DOUBLE_INT);
    OK(MPI_Type_get_value_index(MPI_DOUBLE, MPI_INT64_T, &t));
    OK(MPI_Type_get_value_index(MPI_DOUBLE, MPI_INT64_T, &u));
    CHECK(t == u && t != MPI_DATATYPE_NULL);
    bounds(t, 16, 0, 16, 0, 16);
    OK(MPI_Type_get_value_index(MPI_C_DOUBLE_COMPLEX, MPI_INT, &t));
    CHECK(t == MPI_DATATYPE_NULL);
}

static int copied, deleted;

static int copy(MPI_Datatype type, int key, void *extra, void *value, void *out, int *flag) {
    (void)type, (void)key;
    CHECK(extra == &copied);
    copied++;
    *(void **)out = (char *)value + 1;
    *flag = 1;
    return MPI_SUCCESS;
}

static int delete(MPI_Datatype type, int key, void *value, void *extra) {
    (void)type, (void)key, (void)value, (void)extra;
    deleted++;
    return value == NULL ? MPI_ERR_OTHER : MPI_SUCCESS;
}

static void names_and_attributes(void) {
    MPI_Datatype t, u;
    char name[MPI_MAX_OBJECT_NAME];
    int len, key, plain, flag;
    char *value;
    OK(MPI_Type_contiguous(2, MPI_INT, &t));
    OK(MPI_Type_get_name(t, name, &len));
    CHECK(len == 0 && !*name);
    OK(MPI_Type_set_name(t, "pair"));
    OK(MPI_Type_create_keyval(copy, delete, &key, &copied));
    OK(MPI_Type_create_keyval(MPI_TYPE_NULL_COPY_FN, MPI_TYPE_NULL_DELETE_FN, &plain, NULL));
    OK(MPI_Type_set_attr(t, key, name));
    OK(MPI_Type_set_attr(t, plain, name));
    OK(MPI_Type_commit(&t));
    OK(MPI_Type_dup(t, &u));
    CHECK(copied == 1);
    OK(MPI_Type_get_name(u, name, &len));
    CHECK(len == 0);
    OK(MPI_Type_get_attr(u, key, &value, &flag));
    CHECK(flag && value == name + 1);
    OK(MPI_Type_get_attr(u, plain, &value, &flag));
    CHECK(!flag);
    release(u);
    CHECK(deleted == 1);
    OK(MPI_Type_get_attr(t, key, &value, &flag));
    CHECK(flag && value == name);
    OK(MPI_Type_get_name(t, name, &len));
    CHECK(len == 4 && !strcmp(name, "pair"));
    /* A type whose attribute will not go stays. */
    u = t;
    OK(MPI_Type_set_attr(t, key, NULL));
    FAILS(MPI_ERR_OTHER, MPI_Type_free(&u));
    CHECK(u == t);
    PICKS(t, 1, 0, 1);
    char endless[MPI_MAX_OBJECT_NAME + 1];
    memset(endless, 'x', sizeof endless);
    endless[MPI_MAX_OBJECT_NAME] = 0;
    FAILS(MPI_ERR_ARG, MPI_Type_set_name(t, endless));
    OK(MPI_Type_free_keyval(&plain));
}

static void elements(void) {
    MPI_Datatype t;
    MPI_Status status = {0};
    int count;
    MPI_Count large;
    OK(MPI_Type_create_struct(3, (int[]){1, 1, 2}, (MPI_Aint[]){0, 8, 16},
                              (MPI_Datatype[]){MPI_INT, MPI_DOUBLE, MPI_SHORT}, &t));
    OK(MPI_Type_commit(&t));
    OK(MPI_Status_set_elements(&status, t, 6)); /* An item, and an int and a double. */
    OK(MPI_Get_count(&status, t, &count));
    CHECK(count == MPI_UNDEFINED);
    OK(MPI_Get_elements(&status, t, &count));
    CHECK(count == 6);
    OK(MPI_Get_elements_x(&status, t, &large));
    CHECK(large == 6);
    OK(MPI_Get_count(&status, MPI_BYTE, &count));
    CHECK(count == 16 + 12);
    OK(MPI_Status_set_elements_c(&status, t, 8));
    OK(MPI_Get_count_c(&status, t, &large));
    CHECK(large == 2);
    OK(MPI_Status_set_elements(&status, MPI_BYTE, 18)); /* Ends within the int. */
    OK(MPI_Get_elements(&status, t, &count));
    CHECK(count == MPI_UNDEFINED);
    release(t);
}

static void external32(void) {
    MPI_Datatype t;
    MPI_Aint size, position = 0;
    MPI_Count large_size, large_position = 0;
    struct { int32_t a; double b; short c[2]; } items[2] = {{1, 1.0, {-2, 3}}, {-4, 0.5, {5, 6}}};
    struct { int32_t a; double b; short c[2]; } back[2];
    const unsigned char expected[] = {0, 0, 0, 1, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0, 3};
    unsigned char bytes[64] = {0};
    OK(MPI_Type_create_struct(3, (int[]){1, 1, 2}, (MPI_Aint[]){0, 8, 16},
                              (MPI_Datatype[]){MPI_INT, MPI_DOUBLE, MPI_SHORT}, &t));
    OK(MPI_Type_commit(&t));
    OK(MPI_Pack_external_size("external32", 2, t, &size));
    CHECK(size == 32);
    OK(MPI_Pack_external_size_c("external32", 2, t, &large_size));
    CHECK(large_size == 32);
    OK(MPI_Pack_external("external32", items, 2, t, bytes, sizeof bytes, &position));
    CHECK(position == 32 && !memcmp(bytes, expected, sizeof expected));
    memset(back, 0, sizeof back);
    OK(MPI_Unpack_external_c("external32", bytes, size, &large_position, back, 2, t));
    CHECK(large_position == 32);
    for (int i = 0; i < 2; i++) {
        CHECK(back[i].a == items[i].a && back[i].b == items[i].b);
        CHECK(!memcmp(back[i].c, items[i].c, sizeof back[i].c));
    }
    position = 0;
    FAILS(MPI_ERR_UNSUPPORTED_DATAREP,
          MPI_Pack_external("internal", items, 2, t, bytes, sizeof bytes, &position));
    FAILS(MPI_ERR_TRUNCATE, MPI_Pack_external("external32", items, 2, t, bytes, 31, &position));
    CHECK(position == 0);
    /* A long has four bytes there: what does not fit is refused. */
    long small = -7, big = 1L << 40, found = 0;
    OK(MPI_Pack_external("external32", &small, 1, MPI_LONG, bytes, sizeof bytes, &position));
    CHECK(position == 4);
    position = 0;
    OK(MPI_Unpack_external("external32", bytes, 4, &position, &found, 1, MPI_LONG));
    CHECK(found == -7);
    FAILS(MPI_ERR_CONVERSION,
          MPI_Pack_external("external32", &big, 1, MPI_LONG, bytes, 64, &position));
    release(t);
}

static void packing(void) {
    int values[4] = {1, 2, 3, 4}, back[4] = {0}, position = 0;
    double real = 2.5, found = 0;
    char bytes[64];
    MPI_Datatype t;
    MPI_Count large = 0;
    OK(MPI_Pack(values, 4, MPI_INT, bytes, sizeof bytes, &position, MPI_COMM_WORLD));
    OK(MPI_Pack(&real, 1, MPI_DOUBLE, bytes, sizeof bytes, &position, MPI_COMM_WORLD));
    CHECK(position == 24);
    OK(MPI_Unpack_c(bytes, 24, &large, back, 4, MPI_INT, MPI_COMM_WORLD));
    OK(MPI_Unpack_c(bytes, 24, &large, &found, 1, MPI_DOUBLE, MPI_COMM_WORLD));
    CHECK(large == 24 && found == real && !memcmp(values, back, sizeof back));
    FAILS(MPI_ERR_TRUNCATE, MPI_Unpack_c(bytes, 24, &large, back, 1, MPI_CHAR, MPI_COMM_WORLD));
    FAILS(MPI_ERR_TRUNCATE, MPI_Pack(values, 4, MPI_INT, bytes, 39, &position, MPI_COMM_WORLD));
    FAILS(MPI_ERR_ARG, MPI_Pack(values, 1, MPI_INT, bytes, 20, &position, MPI_COMM_WORLD));
    FAILS(MPI_ERR_COUNT, MPI_Pack(values, -1, MPI_INT, bytes, 64, &position, MPI_COMM_WORLD));
    FAILS(MPI_ERR_COMM, MPI_Pack(values, 1, MPI_INT, bytes, 64, &position, MPI_COMM_NULL));
    OK(MPI_Pack(NULL, 0, MPI_INT, NULL, 0, (int[]){0}, MPI_COMM_WORLD));
    OK(MPI_Type_contiguous(2, MPI_INT, &t));
    FAILS(MPI_ERR_TYPE, MPI_Pack(values, 1, t, bytes, 64, &position, MPI_COMM_WORLD));
    release(t);
    /* Addresses, from MPI_BOTTOM. */
    MPI_Aint at;
    OK(MPI_Get_address(&values[1], &at));
    OK(MPI_Type_create_hindexed(1, (int[]){2}, &at, MPI_INT, &t));
    OK(MPI_Type_commit(&t));
    position = 0;
    OK(MPI_Pack(MPI_BOTTOM, 1, t, bytes, sizeof bytes, &position, MPI_COMM_WORLD));
    CHECK(position == 8 && !memcmp(bytes, &values[1], 8));
    release(t);
}

static void refusals(void) {
    MPI_Datatype t = MPI_BYTE;
    FAILS(MPI_ERR_COUNT, MPI_Type_contiguous(-1, MPI_INT, &t));
    FAILS(MPI_ERR_COUNT, MPI_Type_vector(2, -1, 2, MPI_INT, &t));
    FAILS(MPI_ERR_COUNT, MPI_Type_indexed(-1, NULL, NULL, MPI_INT, &t));
    FAILS(MPI_ERR_ARG, MPI_Type_indexed(1, NULL, NULL, MPI_INT, &t));
    FAILS(MPI_ERR_COUNT,
          MPI_Type_create_hindexed(1, (int[]){-1}, (MPI_Aint[]){0}, MPI_INT, &t));
    FAILS(MPI_ERR_TYPE, MPI_Type_contiguous(1, MPI_DATATYPE_NULL, &t));
    FAILS(MPI_ERR_TYPE, MPI_Type_create_struct(1, (int[]){1}, (MPI_Aint[]){0},
                                               (MPI_Datatype[]){MPI_DATATYPE_NULL}, &t));
    CHECK(t == MPI_BYTE);
    OK(MPI_Type_indexed(0, NULL, NULL, MPI_INT, &t));
    bounds(t, 0, 0, 0, 0, 0);
    release(t);
}

int main(void) {
    OK(MPI_Init(NULL, NULL));
    OK(MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN));
    OK(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    constructors();
    arrays();
    large_form();
    inner_types();
    predefined();
    names_and_attributes();
    elements();
    external32();
    packing();
    refusals();
    OK(MPI_Finalize());
    puts("all claims hold");
    return 0;
}
