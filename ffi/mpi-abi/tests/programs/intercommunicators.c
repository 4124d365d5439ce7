/* Two groups that talk to each other: {0, 1} and {2, 3, 4}. */
#include "claim.h"

static int world;

static MPI_Comm joined(MPI_Comm half)
{
    MPI_Comm inter;
    /* The leader of the low half is its last rank; of the high half, its first. */
    OK(MPI_Intercomm_create(half, world < 2 ? 1 : 0, MPI_COMM_WORLD, world < 2 ? 2 : 1, 9, &inter));
    return inter;
}

static void ranks_mean_the_remote_group(MPI_Comm inter)
{
    MPI_Group group;
    MPI_Status status;
    int flag, size, got = -1, peer = world < 2 ? world : world - 2;

    OK(MPI_Comm_test_inter(inter, &flag));
    OK(MPI_Comm_remote_size(inter, &size));
    CLAIM(flag && size == (world < 2 ? 3 : 2) && size_of(inter) == (world < 2 ? 2 : 3));
    OK(MPI_Comm_remote_group(inter, &group));
    OK(MPI_Group_size(group, &size));
    CLAIM(size == (world < 2 ? 3 : 2));
    OK(MPI_Group_rank(group, &flag));
    CLAIM(flag == MPI_UNDEFINED);
    OK(MPI_Group_free(&group));
    if (peer < 2) {
        OK(MPI_Sendrecv(&world, 1, MPI_INT, peer, 3, &got, 1, MPI_INT, MPI_ANY_SOURCE, 3, inter,
                        &status));
        CLAIM(got == (world < 2 ? world + 2 : world - 2) && status.MPI_SOURCE == peer);
    }
}

/* What the other group gives together. */
static int theirs(MPI_Comm inter, int mine)
{
    int all = -1;
    OK(MPI_Allreduce(&mine, &all, 1, MPI_INT, MPI_SUM, inter));
    return all;
}

static void duplicates_splits_and_parts_are_intercommunicators(MPI_Comm inter)
{
    MPI_Comm made;
    MPI_Request request;
    MPI_Group group, part;
    int result, first = 0;

    OK(MPI_Comm_dup(inter, &made));
    OK(MPI_Comm_compare(inter, made, &result));
    CLAIM(result == MPI_CONGRUENT);
    OK(MPI_Comm_compare(inter, MPI_COMM_WORLD, &result));
    CLAIM(result == MPI_UNEQUAL);
    CLAIM(theirs(made, world) == (world < 2 ? 9 : 1));
    OK(MPI_Comm_free(&made));

    OK(MPI_Comm_idup(inter, &made, &request));
    OK(MPI_Wait(&request, MPI_STATUS_IGNORE));
    CLAIM(theirs(made, world) == (world < 2 ? 9 : 1));
    ranks_mean_the_remote_group(made);
    OK(MPI_Comm_disconnect(&made));

    /* Colors by parity: {0} with {2, 4}, {1} with {3}. */
    OK(MPI_Comm_split(inter, world % 2, -world, &made));
    CLAIM(theirs(made, world) == (world == 0 ? 6 : world == 1 ? 3 : world == 3 ? 1 : 0));
    OK(MPI_Comm_free(&made));
    /* A color that one side does not have. */
    OK(MPI_Comm_split(inter, world == 4 ? 7 : 0, 0, &made));
    CLAIM((made == MPI_COMM_NULL) == (world == 4));
    if (made != MPI_COMM_NULL) {
        CLAIM(theirs(made, world) == (world < 2 ? 5 : 1));
        OK(MPI_Comm_free(&made));
    }

    OK(MPI_Comm_group(inter, &group));
    OK(MPI_Group_incl(group, 1, &first, &part));
    OK(MPI_Comm_create(inter, part, &made));
    CLAIM((made == MPI_COMM_NULL) == (world != 0 && world != 2));
    if (made != MPI_COMM_NULL) {
        CLAIM(theirs(made, world) == 2 - world);
        OK(MPI_Comm_free(&made));
    }
    OK(MPI_Comm_create(inter, world < 2 ? MPI_GROUP_EMPTY : group, &made));
    CLAIM(made == MPI_COMM_NULL);
    OK(MPI_Group_free(&part));
    OK(MPI_Group_free(&group));
}

static void merging_puts_the_high_group_last(MPI_Comm inter)
{
    MPI_Comm made;

    OK(MPI_Intercomm_merge(inter, world < 2, &made));
    CLAIM(rank_in(made) == (world < 2 ? world + 3 : world - 2) && sum(made, world) == 10);
    OK(MPI_Comm_free(&made));
    OK(MPI_Intercomm_merge(inter, 0, &made));
    CLAIM(size_of(made) == 5 && sum(made, world) == 10);
    OK(MPI_Comm_free(&made));
    FAILS(MPI_Intercomm_merge(MPI_COMM_WORLD, 0, &made), MPI_ERR_COMM);
}

static void groups_with_a_name_are_joined_without_a_communicator(void)
{
    MPI_Group all, low, high;
    MPI_Comm made;
    int ranks[5] = {1, 0, 2, 3, 4};

    OK(MPI_Comm_group(MPI_COMM_WORLD, &all));
    OK(MPI_Group_incl(all, 2, ranks, &low));
    OK(MPI_Group_incl(all, 3, ranks + 2, &high));
    OK(MPI_Intercomm_create_from_groups(world < 2 ? low : high, 0, world < 2 ? high : low, 0,
                                        "org.example.halves", MPI_INFO_NULL, MPI_ERRORS_RETURN,
                                        &made));
    CLAIM(rank_in(made) == (world < 2 ? 1 - world : world - 2));
    CLAIM(theirs(made, world) == (world < 2 ? 9 : 1));
    OK(MPI_Comm_free(&made));
    OK(MPI_Group_free(&low));
    OK(MPI_Group_free(&high));
    OK(MPI_Group_free(&all));
}

static void what_cannot_be_joined_is_refused_at_all_ranks(MPI_Comm half, MPI_Comm inter)
{
    MPI_Comm made;

    FAILS(MPI_Intercomm_create(half, 7, MPI_COMM_WORLD, 0, 9, &made), MPI_ERR_RANK);
    FAILS(MPI_Intercomm_create(inter, 0, MPI_COMM_WORLD, 0, 9, &made), MPI_ERR_COMM);
    /* Both groups are the world: the leaders are ranks 0 and 0. */
    FAILS(MPI_Intercomm_create(MPI_COMM_WORLD, 0, MPI_COMM_WORLD, 0, 9, &made), MPI_ERR_COMM);
    CLAIM(sum(MPI_COMM_WORLD, 1) == 5);
}

int main(int argc, char **argv)
{
    MPI_Comm half, inter;

    OK(MPI_Init(&argc, &argv));
    OK(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    world = rank_in(MPI_COMM_WORLD);
    OK(MPI_Comm_split(MPI_COMM_WORLD, world < 2, world, &half));
    inter = joined(half);
    ranks_mean_the_remote_group(inter);
    duplicates_splits_and_parts_are_intercommunicators(inter);
    merging_puts_the_high_group_last(inter);
    groups_with_a_name_are_joined_without_a_communicator();
    what_cannot_be_joined_is_refused_at_all_ranks(half, inter);
    OK(MPI_Comm_free(&inter));
    OK(MPI_Comm_free(&half));
    OK(MPI_Finalize());
    return done();
}
