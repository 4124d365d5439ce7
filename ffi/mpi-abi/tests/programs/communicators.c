/* Communicators: duplicated, split, created, compared, freed while messages are under way. */
#include "claim.h"

static int copies, deletes;

static int copy(MPI_Comm comm, int key, void *extra, void *value, void *out, int *flag)
{
    (void)comm, (void)key, (void)extra;
    copies++;
    *(void **)out = (char *)value + 1;
    *flag = 1;
    return MPI_SUCCESS;
}

static int refuse(MPI_Comm comm, int key, void *extra, void *value, void *out, int *flag)
{
    (void)comm, (void)key, (void)extra, (void)value, (void)out, (void)flag;
    return MPI_ERR_OTHER;
}

static int delete(MPI_Comm comm, int key, void *value, void *extra)
{
    (void)comm, (void)key, (void)value, (void)extra;
    deletes++;
    return MPI_SUCCESS;
}

static void duplicates_have_the_group_and_the_attributes_and_messages_of_their_own(void)
{
    MPI_Comm one, two, bad;
    int key, flag, result, rank = rank_in(MPI_COMM_WORLD), got = -1, sent = 7, other = 8;
    void *value;
    MPI_Request requests[2];

    OK(MPI_Comm_create_keyval(copy, delete, &key, NULL));
    OK(MPI_Comm_dup(MPI_COMM_WORLD, &one));
    OK(MPI_Comm_set_attr(one, key, (void *)40));
    OK(MPI_Comm_set_errhandler(one, MPI_ERRORS_RETURN));
    OK(MPI_Comm_dup(one, &two));
    OK(MPI_Comm_get_attr(two, key, &value, &flag));
    CLAIM(flag && (long)value == 41 && copies == 1);
    OK(MPI_Comm_compare(one, two, &result));
    CLAIM(result == MPI_CONGRUENT);
    OK(MPI_Comm_compare(two, two, &result));
    CLAIM(result == MPI_IDENT);
    /* The handler came along: this does not end the job. */
    FAILS(MPI_Send(&sent, 1, MPI_INT, 99, 0, two), MPI_ERR_RANK);

    /* The same peers and tag: only the communicator tells the messages apart. */
    OK(MPI_Isend(&sent, 1, MPI_INT, (rank + 1) % 4, 5, one, &requests[0]));
    OK(MPI_Isend(&other, 1, MPI_INT, (rank + 1) % 4, 5, two, &requests[1]));
    OK(MPI_Recv(&got, 1, MPI_INT, (rank + 3) % 4, 5, two, MPI_STATUS_IGNORE));
    CLAIM(got == 8);
    OK(MPI_Recv(&got, 1, MPI_INT, (rank + 3) % 4, 5, one, MPI_STATUS_IGNORE));
    CLAIM(got == 7);
    OK(MPI_Waitall(2, requests, MPI_STATUSES_IGNORE));

    OK(MPI_Comm_free(&two));
    CLAIM(two == MPI_COMM_NULL && deletes == 1);
    OK(MPI_Comm_free(&one));
    CLAIM(deletes == 2);
    OK(MPI_Comm_free_keyval(&key));

    OK(MPI_Comm_create_keyval(refuse, MPI_COMM_NULL_DELETE_FN, &key, NULL));
    OK(MPI_Comm_dup(MPI_COMM_WORLD, &one));
    OK(MPI_Comm_set_errhandler(one, MPI_ERRORS_RETURN));
    OK(MPI_Comm_set_attr(one, key, NULL));
    FAILS(MPI_Comm_dup(one, &bad), MPI_ERR_OTHER);
    /* All went on together: the next one works. */
    OK(MPI_Comm_delete_attr(one, key));
    OK(MPI_Comm_dup(one, &bad));
    CLAIM(sum(bad, 1) == 4);
    OK(MPI_Comm_free(&bad));
    OK(MPI_Comm_free(&one));
    OK(MPI_Comm_free_keyval(&key));
}

static void duplicates_in_the_background_overtake_each_other_and_work(void)
{
    MPI_Comm all[8];
    MPI_Request requests[8];
    int at, rank = rank_in(MPI_COMM_WORLD);

    for (at = 0; at < 8; at++)
        OK(MPI_Comm_idup(MPI_COMM_WORLD, &all[at], &requests[at]));
    for (at = 0; at < 8; at++) {
        int which = rank % 2 ? at : 7 - at;
        OK(MPI_Wait(&requests[which], MPI_STATUS_IGNORE));
    }
    for (at = 0; at < 8; at++) {
        CLAIM(sum(all[at], rank) == 6);
        OK(MPI_Comm_free(&all[at]));
    }
}

static void a_split_orders_by_key_and_leaves_out_who_says_undefined(void)
{
    MPI_Comm part;
    int rank = rank_in(MPI_COMM_WORLD);

    OK(MPI_Comm_split(MPI_COMM_WORLD, rank % 2, -rank, &part));
    CLAIM(size_of(part) == 2 && rank_in(part) == (rank < 2));
    CLAIM(sum(part, rank) == (rank % 2 ? 4 : 2));
    OK(MPI_Comm_free(&part));

    OK(MPI_Comm_split(MPI_COMM_WORLD, rank == 2 ? MPI_UNDEFINED : 0, 0, &part));
    CLAIM((part == MPI_COMM_NULL) == (rank == 2));
    if (part != MPI_COMM_NULL) {
        CLAIM(sum(part, 1) == 3);
        OK(MPI_Comm_free(&part));
    }
    FAILS(MPI_Comm_split(MPI_COMM_WORLD, -5, 0, &part), MPI_ERR_ARG);
    CLAIM(sum(MPI_COMM_WORLD, 1) == 4);
}

static void a_split_by_type_tells_who_shares_a_machine(void)
{
    MPI_Comm part;
    MPI_Info info;

    OK(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &part));
    CLAIM(size_of(part) == 4 && sum(part, 1) == 4);
    OK(MPI_Comm_free(&part));
    OK(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_UNDEFINED, 0, MPI_INFO_NULL, &part));
    CLAIM(part == MPI_COMM_NULL);
    OK(MPI_Info_create(&info));
    OK(MPI_Info_set(info, "mpi_hw_resource_type", "cohost://host"));
    OK(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_HW_GUIDED, 0, info, &part));
    CLAIM(size_of(part) == 4);
    OK(MPI_Comm_free(&part));
    OK(MPI_Info_set(info, "mpi_hw_resource_type", "of no kind"));
    OK(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_HW_GUIDED, 0, info, &part));
    CLAIM(part == MPI_COMM_NULL);
    /* One machine: there is no level that divides it. */
    OK(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_HW_UNGUIDED, 0, info, &part));
    CLAIM(part == MPI_COMM_NULL);
    OK(MPI_Info_set(info, "mpi_pset_name", "mpi://SELF"));
    OK(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_RESOURCE_GUIDED, 0, info, &part));
    CLAIM(size_of(part) == 1);
    OK(MPI_Comm_free(&part));
    OK(MPI_Info_free(&info));
    FAILS(MPI_Comm_split_type(MPI_COMM_WORLD, 12345, 0, MPI_INFO_NULL, &part), MPI_ERR_ARG);
}

static void groups_become_communicators_with_and_without_the_others(void)
{
    MPI_Group world, part;
    MPI_Comm made;
    int rank = rank_in(MPI_COMM_WORLD), ranks[3] = {3, 0, 2};

    OK(MPI_Comm_group(MPI_COMM_WORLD, &world));
    OK(MPI_Group_incl(world, 3, ranks, &part));
    OK(MPI_Comm_create(MPI_COMM_WORLD, part, &made));
    CLAIM((made == MPI_COMM_NULL) == (rank == 1));
    if (made != MPI_COMM_NULL) {
        CLAIM(rank_in(made) == (rank == 3 ? 0 : rank == 0 ? 1 : 2));
        CLAIM(sum(made, rank) == 5);
        OK(MPI_Comm_free(&made));
        OK(MPI_Comm_create_group(MPI_COMM_WORLD, part, 17, &made));
        CLAIM(sum(made, rank) == 5);
        OK(MPI_Comm_free(&made));
        OK(MPI_Comm_create_from_group(part, "org.example.test", MPI_INFO_NULL, MPI_ERRORS_RETURN,
                                      &made));
        CLAIM(sum(made, rank) == 5);
        FAILS(MPI_Barrier(MPI_COMM_NULL), MPI_ERR_COMM);
        OK(MPI_Comm_free(&made));
    }
    OK(MPI_Comm_create(MPI_COMM_WORLD, MPI_GROUP_EMPTY, &made));
    CLAIM(made == MPI_COMM_NULL);
    FAILS(MPI_Comm_create(MPI_COMM_SELF, world, &made), MPI_ERR_GROUP);
    FAILS(MPI_Comm_create_group(MPI_COMM_WORLD, world, -1, &made), MPI_ERR_TAG);
    OK(MPI_Group_free(&part));
    OK(MPI_Group_free(&world));
}

static void a_freed_communicator_lives_until_its_messages_are_there(void)
{
    static char out[1 << 20], in[1 << 20];
    MPI_Comm dup;
    MPI_Request requests[2];
    int rank = rank_in(MPI_COMM_WORLD);

    memset(out, rank + 1, sizeof out);
    OK(MPI_Comm_dup(MPI_COMM_WORLD, &dup));
    OK(MPI_Irecv(in, sizeof in, MPI_CHAR, (rank + 3) % 4, 0, dup, &requests[0]));
    OK(MPI_Isend(out, sizeof out, MPI_CHAR, (rank + 1) % 4, 0, dup, &requests[1]));
    OK(MPI_Comm_free(&dup));
    CLAIM(dup == MPI_COMM_NULL);
    OK(MPI_Waitall(2, requests, MPI_STATUSES_IGNORE));
    CLAIM(in[0] == (rank + 3) % 4 + 1 && in[sizeof in - 1] == in[0]);
    FAILS(MPI_Comm_free(&dup), MPI_ERR_COMM);
    dup = MPI_COMM_WORLD;
    FAILS(MPI_Comm_free(&dup), MPI_ERR_COMM);

    OK(MPI_Comm_dup(MPI_COMM_WORLD, &dup));
    OK(MPI_Isend(&rank, 1, MPI_INT, (rank + 1) % 4, 0, dup, &requests[0]));
    OK(MPI_Recv(in, 1, MPI_INT, MPI_ANY_SOURCE, 0, dup, MPI_STATUS_IGNORE));
    OK(MPI_Wait(&requests[0], MPI_STATUS_IGNORE));
    OK(MPI_Comm_disconnect(&dup));
    CLAIM(dup == MPI_COMM_NULL);
}

static void names_and_hints_are_kept(void)
{
    char name[MPI_MAX_OBJECT_NAME], value[8], longer[300];
    MPI_Comm dup;
    MPI_Info info;
    int len, flag, room = sizeof value;

    OK(MPI_Comm_get_name(MPI_COMM_WORLD, name, &len));
    CLAIM(strcmp(name, "MPI_COMM_WORLD") == 0 && len == 14);
    OK(MPI_Comm_get_name(MPI_COMM_SELF, name, &len));
    CLAIM(strcmp(name, "MPI_COMM_SELF") == 0);
    OK(MPI_Info_create(&info));
    OK(MPI_Info_set(info, "mpi_assert_no_any_tag", "true"));
    OK(MPI_Info_set(info, "unheard_of", "true"));
    OK(MPI_Comm_dup_with_info(MPI_COMM_WORLD, info, &dup));
    OK(MPI_Info_free(&info));
    OK(MPI_Comm_get_name(dup, name, &len));
    CLAIM(len == 0 && name[0] == 0);
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = 0;
    OK(MPI_Comm_set_name(dup, longer));
    OK(MPI_Comm_get_name(dup, name, &len));
    CLAIM(len == MPI_MAX_OBJECT_NAME - 1 && strlen(name) == (size_t)len);
    OK(MPI_Comm_get_info(dup, &info));
    OK(MPI_Info_get_string(info, "mpi_assert_no_any_tag", &room, value, &flag));
    CLAIM(flag && strcmp(value, "true") == 0);
    room = sizeof value;
    OK(MPI_Info_get_string(info, "unheard_of", &room, value, &flag));
    CLAIM(!flag);
    OK(MPI_Info_set(info, "mpi_assert_no_any_tag", "false"));
    OK(MPI_Comm_set_info(dup, info));
    OK(MPI_Info_free(&info));
    OK(MPI_Comm_get_info(dup, &info));
    room = sizeof value;
    OK(MPI_Info_get_string(info, "mpi_assert_no_any_tag", &room, value, &flag));
    CLAIM(flag && strcmp(value, "false") == 0);
    OK(MPI_Info_free(&info));
    OK(MPI_Comm_free(&dup));
}

int main(int argc, char **argv)
{
    OK(MPI_Init(&argc, &argv));
    OK(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    OK(MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN));
    duplicates_have_the_group_and_the_attributes_and_messages_of_their_own();
    duplicates_in_the_background_overtake_each_other_and_work();
    a_split_orders_by_key_and_leaves_out_who_says_undefined();
    a_split_by_type_tells_who_shares_a_machine();
    groups_become_communicators_with_and_without_the_others();
    a_freed_communicator_lives_until_its_messages_are_there();
    names_and_hints_are_kept();
    OK(MPI_Finalize());
    return done();
}
