#!/bin/sh
# Strided vectors with this library and with another, in turn: cores of a busy machine change within
# minutes, so only neighbours in time are compared.
#
#   vector.sh PREFIX [ROUNDS [OTHER_MPICC [OTHER_MPIEXEC]]]
#
# PREFIX is where `cohost mpi install` put the library. The other library is MPICH unless named.
# Printed for each size: the median bandwidth in MB/s of each, for strided and for contiguous
# messages, and the median of the ratios of neighbours.
set -eu
prefix=$1
rounds=${2:-9}
other_cc=${3:-mpicc.mpich}
other_run=${4:-mpiexec.mpich}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
source=$(dirname "$0")/vector.c

"$prefix/bin/mpicc" -O2 "$source" -o "$folder/ours"
"$other_cc" -O2 "$source" -o "$folder/other"

round=0
while [ "$round" -lt "$rounds" ]; do
    "$prefix/bin/mpiexec" -n 2 "$folder/ours" | sed "s/^/ours $round /"
    "$other_run" -n 2 "$folder/other" | sed "s/^/other $round /"
    round=$((round + 1))
done | tee "$folder/all" >&2

python3 - "$folder/all" <<'PYTHON'
import collections, statistics, sys

found = collections.defaultdict(dict)
for line in open(sys.argv[1]):
    words = line.split()
    who, turn, size = words[0], words[1], int(words[2])
    for kind in ("vector", "contiguous"):
        found[size, kind][who, turn] = float(words[words.index(kind) + 3])
print("bytes kind ours_MB/s other_MB/s ratio")
for (size, kind), by in sorted(found.items()):
    turns = sorted({turn for _, turn in by})
    ours, other = ([by[who, turn] for turn in turns] for who in ("ours", "other"))
    ratio = statistics.median(a / b for a, b in zip(ours, other))
    print(size, kind, round(statistics.median(ours)), round(statistics.median(other)),
          f"{ratio:.2f}")
PYTHON
