/* Grids and graphs, and that neighbors exchange along them. Four ranks. */
#include "claim.h"

static int world;

static void grids(void)
{
    int dims[2] = {0, 0}, periods[2] = {1, 0}, coords[2], source, dest, ndims, rank, kind, result;
    int remain[2] = {0, 1}, got[4] = {-9, -9, -9, -9}, outside[2] = {0, 2};
    MPI_Comm grid, row, dup, line;

    OK(MPI_Dims_create(4, 2, dims));
    CLAIM(dims[0] == 2 && dims[1] == 2);
    OK(MPI_Cart_create(MPI_COMM_WORLD, 2, dims, periods, 1, &grid));
    OK(MPI_Topo_test(grid, &kind));
    OK(MPI_Cartdim_get(grid, &ndims));
    CLAIM(kind == MPI_CART && ndims == 2);
    dims[0] = dims[1] = periods[0] = periods[1] = -1;
    OK(MPI_Cart_get(grid, 2, dims, periods, coords));
    CLAIM(dims[0] == 2 && dims[1] == 2 && periods[0] == 1 && periods[1] == 0);
    CLAIM(coords[0] == world / 2 && coords[1] == world % 2);
    OK(MPI_Cart_rank(grid, coords, &rank));
    CLAIM(rank == rank_in(grid));
    OK(MPI_Cart_shift(grid, 0, 1, &source, &dest));
    CLAIM(source == (world + 2) % 4 && dest == source);
    OK(MPI_Cart_shift(grid, 1, 1, &source, &dest));
    CLAIM(source == (world % 2 ? world - 1 : MPI_PROC_NULL));
    CLAIM(dest == (world % 2 ? MPI_PROC_NULL : world + 1));

    OK(MPI_Neighbor_allgather(&world, 1, MPI_INT, got, 1, MPI_INT, grid));
    CLAIM(got[0] == (world + 2) % 4 && got[1] == got[0]);
    CLAIM(got[2] == (world % 2 ? world - 1 : -9) && got[3] == (world % 2 ? -9 : world + 1));

    OK(MPI_Cart_sub(grid, remain, &row));
    OK(MPI_Cart_get(row, 1, dims, periods, coords));
    CLAIM(size_of(row) == 2 && dims[0] == 2 && periods[0] == 0 && coords[0] == world % 2);
    CLAIM(sum(row, world) == (world < 2 ? 1 : 5));
    OK(MPI_Comm_free(&row));

    OK(MPI_Comm_dup(grid, &dup));
    OK(MPI_Topo_test(dup, &kind));
    OK(MPI_Comm_compare(dup, grid, &result));
    CLAIM(kind == MPI_CART && result == MPI_CONGRUENT);
    OK(MPI_Comm_free(&dup));

    dims[0] = 3;
    OK(MPI_Cart_map(MPI_COMM_WORLD, 1, dims, periods, &rank));
    CLAIM(rank == (world < 3 ? world : MPI_UNDEFINED));
    OK(MPI_Cart_create(MPI_COMM_WORLD, 1, dims, periods, 0, &line));
    CLAIM((line == MPI_COMM_NULL) == (world == 3));
    if (line != MPI_COMM_NULL) {
        CLAIM(sum(line, 1) == 3);
        OK(MPI_Comm_free(&line));
    }
    OK(MPI_Cart_create(MPI_COMM_WORLD, 0, NULL, NULL, 0, &line));
    CLAIM((line == MPI_COMM_NULL) == (world != 0));
    if (line != MPI_COMM_NULL)
        OK(MPI_Comm_free(&line));

    FAILS(MPI_Cart_rank(grid, outside, &rank), MPI_ERR_ARG);
    FAILS(MPI_Cart_coords(grid, 4, 2, coords), MPI_ERR_RANK);
    FAILS(MPI_Cart_coords(grid, 0, 1, coords), MPI_ERR_ARG);
    FAILS(MPI_Cart_shift(grid, 2, 1, &source, &dest), MPI_ERR_DIMS);
    FAILS(MPI_Cartdim_get(MPI_COMM_WORLD, &ndims), MPI_ERR_TOPOLOGY);
    FAILS(MPI_Graphdims_get(grid, &rank, &kind), MPI_ERR_TOPOLOGY);
    dims[0] = 5;
    FAILS(MPI_Cart_create(MPI_COMM_WORLD, 1, dims, periods, 0, &line), MPI_ERR_TOPOLOGY);
    dims[0] = 0;
    FAILS(MPI_Cart_create(MPI_COMM_WORLD, 1, dims, periods, 0, &line), MPI_ERR_DIMS);
    dims[0] = 3, dims[1] = 0;
    FAILS(MPI_Dims_create(4, 2, dims), MPI_ERR_DIMS);
    OK(MPI_Comm_free(&grid));
}

static void graphs(void)
{
    /* The example of the standard: 0 with 1 and 3, 3 with 0 and 2. */
    int index[4] = {2, 3, 4, 6}, edges[6] = {1, 3, 0, 3, 0, 2};
    int nodes, count, kind, rank, there_index[4], there[6], near[2], got[2] = {-9, -9};
    MPI_Comm graph, small;

    OK(MPI_Graph_create(MPI_COMM_WORLD, 4, index, edges, 0, &graph));
    OK(MPI_Topo_test(graph, &kind));
    OK(MPI_Graphdims_get(graph, &nodes, &count));
    CLAIM(kind == MPI_GRAPH && nodes == 4 && count == 6);
    OK(MPI_Graph_get(graph, 4, 6, there_index, there));
    CLAIM(!memcmp(index, there_index, sizeof index) && !memcmp(edges, there, sizeof edges));
    OK(MPI_Graph_neighbors_count(graph, 3, &count));
    OK(MPI_Graph_neighbors(graph, 3, 2, near));
    CLAIM(count == 2 && near[0] == 0 && near[1] == 2);
    OK(MPI_Neighbor_allgather(&world, 1, MPI_INT, got, 1, MPI_INT, graph));
    CLAIM(got[0] == edges[world ? index[world - 1] : 0]);
    FAILS(MPI_Graph_neighbors(graph, 3, 1, near), MPI_ERR_ARG);
    FAILS(MPI_Graph_neighbors_count(graph, 4, &count), MPI_ERR_RANK);
    OK(MPI_Comm_free(&graph));

    index[0] = 1, index[1] = 2, edges[0] = 1, edges[1] = 0;
    OK(MPI_Graph_map(MPI_COMM_WORLD, 2, index, edges, &rank));
    CLAIM(rank == (world < 2 ? world : MPI_UNDEFINED));
    OK(MPI_Graph_create(MPI_COMM_WORLD, 2, index, edges, 0, &small));
    CLAIM((small == MPI_COMM_NULL) == (world >= 2));
    if (small != MPI_COMM_NULL)
        OK(MPI_Comm_free(&small));
    edges[1] = 2;
    FAILS(MPI_Graph_create(MPI_COMM_WORLD, 2, index, edges, 0, &small), MPI_ERR_TOPOLOGY);
}

static void distributed_graphs(void)
{
    int left = (world + 3) % 4, right = (world + 1) % 4, weight = 10 + world, rank = 3;
    int in, out, weighted, kind, source = -1, dest = -1, into = -1, from = -1, got = -9;
    int one[3], ones[3], degrees[3] = {1, 2, 0}, sources[3] = {2, 0, 1}, ends[3] = {1, 1, 1};
    int weights[3] = {5, 6, 7};
    MPI_Comm ring, star;

    OK(MPI_Dist_graph_create_adjacent(MPI_COMM_WORLD, 1, &left, &weight, 1, &right, &weight,
                                      MPI_INFO_NULL, 0, &ring));
    OK(MPI_Topo_test(ring, &kind));
    OK(MPI_Dist_graph_neighbors_count(ring, &in, &out, &weighted));
    CLAIM(kind == MPI_DIST_GRAPH && in == 1 && out == 1 && weighted);
    OK(MPI_Dist_graph_neighbors(ring, 1, &source, &into, 1, &dest, &from));
    CLAIM(source == left && dest == right && into == weight && from == weight);
    OK(MPI_Neighbor_allgather(&world, 1, MPI_INT, &got, 1, MPI_INT, ring));
    CLAIM(got == left);
    OK(MPI_Comm_free(&ring));

    /* All is said by rank 3: 2 -> 1, 0 -> 1 twice. */
    OK(MPI_Dist_graph_create(MPI_COMM_WORLD, world == rank ? 3 : 0, sources, degrees, ends,
                             world == rank ? weights : MPI_WEIGHTS_EMPTY, MPI_INFO_NULL, 0, &star));
    OK(MPI_Dist_graph_neighbors_count(star, &in, &out, &weighted));
    CLAIM(in == (world == 1 ? 3 : 0) && weighted);
    CLAIM(out == (world == 0 ? 2 : world == 2 ? 1 : 0));
    OK(MPI_Dist_graph_neighbors(star, in, one, ones, 0, NULL, NULL));
    if (world == 1)
        CLAIM(one[0] == 2 && one[1] == 0 && one[2] == 0 && ones[0] == 5 && ones[2] == 7);
    OK(MPI_Comm_free(&star));

    /* Each says one edge, without weights. */
    degrees[0] = 1;
    OK(MPI_Dist_graph_create(MPI_COMM_WORLD, 1, &left, degrees, &right, MPI_UNWEIGHTED,
                             MPI_INFO_NULL, 0, &ring));
    OK(MPI_Dist_graph_neighbors_count(ring, &in, &out, &weighted));
    OK(MPI_Dist_graph_neighbors(ring, 1, &source, MPI_UNWEIGHTED, 1, &dest, MPI_UNWEIGHTED));
    CLAIM(in == 1 && out == 1 && !weighted && source == (world + 2) % 4 && dest == source);
    OK(MPI_Comm_free(&ring));

    right = 4;
    FAILS(MPI_Dist_graph_create_adjacent(MPI_COMM_WORLD, 0, NULL, MPI_UNWEIGHTED, 1, &right,
                                         MPI_UNWEIGHTED, MPI_INFO_NULL, 0, &ring), MPI_ERR_RANK);
}

int main(int argc, char **argv)
{
    OK(MPI_Init(&argc, &argv));
    OK(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    OK(MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN));
    world = rank_in(MPI_COMM_WORLD);
    grids();
    graphs();
    distributed_graphs();
    OK(MPI_Finalize());
    return done();
}
