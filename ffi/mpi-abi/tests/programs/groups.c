/* Groups: made of each other, compared, translated; wrong ranks are refused. */
#include "claim.h"

int main(int argc, char **argv)
{
    MPI_Group world, odd, rest, made, evens;
    int rank, size, result, ranks[4] = {3, 1, 0, MPI_PROC_NULL}, found[4];
    int ranges[2][3] = {{3, 2, -1}, {0, 0, 1}};

    OK(MPI_Init(&argc, &argv));
    OK(MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN));
    OK(MPI_Comm_group(MPI_COMM_WORLD, &world));
    OK(MPI_Group_size(world, &size));
    OK(MPI_Group_rank(world, &rank));
    CLAIM(size == 4 && rank == rank_in(MPI_COMM_WORLD));

    OK(MPI_Group_incl(world, 2, ranks, &odd));
    OK(MPI_Group_excl(world, 2, ranks, &evens));
    OK(MPI_Group_difference(world, odd, &rest));
    OK(MPI_Group_compare(rest, evens, &result));
    CLAIM(result == MPI_IDENT);
    OK(MPI_Group_free(&evens));
    OK(MPI_Group_rank(odd, &result));
    CLAIM(result == (rank == 3 ? 0 : rank == 1 ? 1 : MPI_UNDEFINED));

    OK(MPI_Group_translate_ranks(world, 4, ranks, odd, found));
    CLAIM(found[0] == 0 && found[1] == 1 && found[2] == MPI_UNDEFINED && found[3] == MPI_PROC_NULL);

    OK(MPI_Group_union(odd, rest, &made));
    OK(MPI_Group_compare(made, world, &result));
    CLAIM(result == MPI_SIMILAR);
    OK(MPI_Group_free(&made));
    CLAIM(made == MPI_GROUP_NULL);

    OK(MPI_Group_intersection(odd, rest, &made));
    CLAIM(made == MPI_GROUP_EMPTY);
    OK(MPI_Group_size(made, &size));
    OK(MPI_Group_compare(made, odd, &result));
    CLAIM(size == 0 && result == MPI_UNEQUAL);

    OK(MPI_Group_range_incl(world, 2, ranges, &made));
    OK(MPI_Group_size(made, &size));
    OK(MPI_Group_translate_ranks(world, 1, ranks, made, found));
    CLAIM(size == 3 && found[0] == 0);
    OK(MPI_Group_free(&made));
    OK(MPI_Group_range_excl(world, 2, ranges, &made));
    OK(MPI_Group_size(made, &size));
    CLAIM(size == 1);
    OK(MPI_Group_free(&made));

    ranks[1] = 3;
    FAILS(MPI_Group_incl(world, 2, ranks, &made), MPI_ERR_RANK);
    ranks[1] = 4;
    FAILS(MPI_Group_excl(world, 2, ranks, &made), MPI_ERR_RANK);
    FAILS(MPI_Group_size(MPI_GROUP_NULL, &size), MPI_ERR_GROUP);
    ranges[0][2] = 0;
    FAILS(MPI_Group_range_incl(world, 1, ranges, &made), MPI_ERR_ARG);

    made = odd;
    OK(MPI_Group_free(&odd));
    FAILS(MPI_Group_size(made, &size), MPI_ERR_GROUP);
    OK(MPI_Group_free(&rest));
    OK(MPI_Group_free(&world));
    OK(MPI_Finalize());
    return done();
}
