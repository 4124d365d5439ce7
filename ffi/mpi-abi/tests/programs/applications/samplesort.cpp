// Sample sort: samples gathered, splitters broadcast, keys exchanged by Alltoallv, places found by
// Exscan. Keys travel as records of a derived type, too, with the place where each came from.

#include "common.h"

#include <algorithm>
#include <vector>

struct Record {
    uint64_t key;
    int32_t rank;
    int16_t place;
    char spare[2];
};

static bool operator<(const Record &a, const Record &b)
{
    return a.key != b.key ? a.key < b.key : a.rank != b.rank ? a.rank < b.rank : a.place < b.place;
}

static MPI_Datatype record_type()
{
    Record sample{};
    MPI_Aint base, places[3];
    MPI_Get_address(&sample, &base);
    MPI_Get_address(&sample.key, &places[0]);
    MPI_Get_address(&sample.rank, &places[1]);
    MPI_Get_address(&sample.place, &places[2]);
    for (MPI_Aint &place : places)
        place = MPI_Aint_diff(place, base);
    const int lengths[3] = {1, 1, 1};
    const MPI_Datatype types[3] = {MPI_UINT64_T, MPI_INT32_T, MPI_INT16_T};
    MPI_Datatype tight, made;
    MPI_Type_create_struct(3, lengths, places, types, &tight);
    MPI_Type_create_resized(tight, 0, sizeof(Record), &made);
    MPI_Type_free(&tight);
    MPI_Type_commit(&made);
    return made;
}

static std::vector<uint64_t> splitters(const std::vector<Record> &mine, int rank, int size)
{
    const int each = 16;
    std::vector<uint64_t> samples, all(rank == 0 ? size_t(each) * size : 0), cuts(size - 1);
    for (int i = 0; i < each; i++)
        samples.push_back(mine.empty() ? UINT64_MAX : mine[mine.size() * i / each].key);
    MPI_Gather(samples.data(), each, MPI_UINT64_T, all.data(), each, MPI_UINT64_T, 0,
               MPI_COMM_WORLD);
    std::sort(all.begin(), all.end());
    for (int i = 0; rank == 0 && i + 1 < size; i++)
        cuts[i] = all[size_t(each) * (i + 1)];
    MPI_Bcast(cuts.data(), size - 1, MPI_UINT64_T, 0, MPI_COMM_WORLD);
    return cuts;
}

static std::vector<Record> exchange(const std::vector<Record> &mine,
                                    const std::vector<uint64_t> &cuts, int size)
{
    std::vector<int> sends(size), receives(size), from(size), to(size);
    for (const Record &it : mine)
        sends[std::upper_bound(cuts.begin(), cuts.end(), it.key) - cuts.begin()]++;
    MPI_Alltoall(sends.data(), 1, MPI_INT, receives.data(), 1, MPI_INT, MPI_COMM_WORLD);
    int total = 0, begin = 0;
    for (int i = 0; i < size; i++) {
        from[i] = begin;
        begin += sends[i];
        to[i] = total;
        total += receives[i];
    }
    std::vector<Record> got(total);
    MPI_Datatype type = record_type();
    MPI_Alltoallv(mine.data(), sends.data(), from.data(), type, got.data(), receives.data(),
                  to.data(), type, MPI_COMM_WORLD);
    MPI_Type_free(&type);
    std::sort(got.begin(), got.end());
    return got;
}

// My last key is no greater than the next rank's first; empty ranks pass on what they heard.
static void require_order(const std::vector<Record> &mine, int rank, int size)
{
    uint64_t before = 0;
    if (rank > 0)
        MPI_Recv(&before, 1, MPI_UINT64_T, rank - 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    REQUIRE(mine.empty() || mine.front().key >= before);
    uint64_t last = mine.empty() ? before : mine.back().key;
    if (rank + 1 < size)
        MPI_Send(&last, 1, MPI_UINT64_T, rank + 1, 0, MPI_COMM_WORLD);
}

// A word for the whole sequence: sums of words that depend on key and place.
static void report(const std::vector<Record> &mine, uint64_t count, int rank)
{
    uint64_t here = mine.size(), first = 0, total = 0, word = 0, sum = 0;
    MPI_Exscan(&here, &first, 1, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
    first = rank == 0 ? 0 : first;
    for (size_t i = 0; i < mine.size(); i++)
        sum += number_at(mine[i].key ^ number_at(first + i)) + uint64_t(mine[i].rank) * 31 +
               uint64_t(mine[i].place);
    MPI_Reduce(&here, &total, 1, MPI_UINT64_T, MPI_SUM, 0, MPI_COMM_WORLD);
    MPI_Reduce(&sum, &word, 1, MPI_UINT64_T, MPI_SUM, 0, MPI_COMM_WORLD);
    if (rank == 0) {
        REQUIRE(total == count);
        printf("sorted %llu: %016llx\n", (unsigned long long)total, (unsigned long long)word);
    }
}

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    int rank, size;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    // Nothing at all, fewer keys than ranks, messages of every protocol; many equal keys last.
    for (uint64_t count : {0, 1, 7, 1000, 20000, 200000, 30000}) {
        uint64_t kinds = count == 30000 ? 5 : UINT64_MAX;
        uint64_t begin = count * rank / size, end = count * (rank + 1) / size;
        std::vector<Record> mine;
        for (uint64_t i = begin; i < end; i++)
            mine.push_back({number_at(i) % kinds, rank, int16_t(i % 30000), {0, 0}});
        std::sort(mine.begin(), mine.end());
        mine = exchange(mine, splitters(mine, rank, size), size);
        require_order(mine, rank, size);
        report(mine, count, rank);
    }
    MPI_Finalize();
    return 0;
}
