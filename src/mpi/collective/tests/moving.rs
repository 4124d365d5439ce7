use super::*;

/// Calls `body` with every pair of types.
fn for_types(mut body: impl FnMut(&Datatype, &Datatype)) {
    for send in types() {
        for recv in types() {
            body(&send, &recv);
        }
    }
}

/// Ints in each message; whole items of all types.
const LEN: usize = 6;

#[test]
fn broadcast_gather_and_scatter_between_all_types_and_in_place() {
    job(4, |world| {
        let (me, size, place) = (world.rank(), world.size(), whole(world));
        for_types(|ours, roots| {
            for root in 0..size {
                let at_root = me == root;
                let datatype = if at_root { roots } else { ours };
                let count = LEN / ints(datatype);
                let given = block(root, root, LEN);
                let mut memory = Memory::new();
                if at_root {
                    memory.put(datatype, 0, &given);
                }
                // SAFETY: here and below the memory outlives the plan.
                run(world, unsafe {
                    bcast(&place, items(&mut memory, count, datatype), root as i32)
                });
                memory.assert("bcast", datatype, &[(0, &given)]);

                for in_place in [false, true] {
                    let own = block(me, root, LEN);
                    let mut mine = Memory::with(ours, &own);
                    let mut all = Memory::new();
                    let per_rank = LEN / ints(roots);
                    if at_root && in_place {
                        all.put(roots, (me as usize * per_rank) as i64, &own);
                    }
                    let send =
                        (!(at_root && in_place)).then(|| items(&mut mine, LEN / ints(ours), ours));
                    let recv = at_root.then(|| items(&mut all, per_rank, roots));
                    // SAFETY: as above.
                    run(world, unsafe { gather(&place, send, recv, root as i32) });
                    if at_root {
                        let values: Vec<i32> =
                            (0..size).flat_map(|from| block(from, root, LEN)).collect();
                        all.assert("gather", roots, &[(0, &values)]);
                    }

                    let (mut mine, mut all) = (Memory::new(), Memory::new());
                    let values: Vec<i32> = (0..size).flat_map(|to| block(root, to, LEN)).collect();
                    all.put(roots, 0, &values);
                    let send = at_root.then(|| items(&mut all, per_rank, roots));
                    let recv =
                        (!(at_root && in_place)).then(|| items(&mut mine, LEN / ints(ours), ours));
                    // SAFETY: as above.
                    run(world, unsafe { scatter(&place, send, recv, root as i32) });
                    let own = block(root, me, LEN);
                    mine.assert("scatter", ours, &[(0, &own[..])][..usize::from(recv.is_some())]);
                }
            }
        });
    });
}

/// Counts and displacements with gaps, in reverse order.
fn layout(counts: &[i64]) -> Vec<i64> {
    let mut end = 3;
    let mut displs = vec![0; counts.len()];
    for (displ, count) in displs.iter_mut().zip(counts).rev() {
        *displ = end;
        end += count + 2;
    }
    displs
}

#[test]
fn blocks_of_any_length_and_place_are_gathered_scattered_and_exchanged() {
    job(4, |world| {
        let (me, size, place) = (world.rank(), world.size(), whole(world));
        for_types(|ours, theirs| {
            let all_ranks = || 0..size;
            // Items of the type with two ints, so many from each rank.
            let pairs = |from: u32| (from as usize + 3) % 4;
            let counts: Vec<i64> =
                all_ranks().map(|from| (2 * pairs(from) / ints(theirs)) as i64).collect();
            let displs = layout(&counts);
            let values: Vec<Vec<i32>> =
                all_ranks().map(|from| block(from, 9, 2 * pairs(from))).collect();
            let puts: Vec<(i64, &[i32])> =
                displs.iter().copied().zip(values.iter().map(Vec::as_slice)).collect();
            let own = &values[me as usize];
            let mine = own.len() / ints(ours);
            let listed = |memory: &mut Memory| Pieces::Listed {
                base: memory.base(),
                counts: &counts,
                displs: &displs,
                datatype: theirs,
            };
            let (mut from, mut into) = (Memory::with(ours, own), Memory::new());
            let send = items(&mut from, mine, ours);
            // SAFETY: here and below the memory outlives the plan.
            run(world, unsafe { gatherv(&place, Some(send), Some(listed(&mut into)), 1) });
            into.assert("gatherv", theirs, if me == 1 { &puts } else { &[] });

            let mut into = Memory::new();
            // SAFETY: as above.
            run(world, unsafe { allgather(&place, Some(send), listed(&mut into)) });
            into.assert("allgatherv", theirs, &puts);
            let mut into = Memory::new();
            into.put(theirs, displs[me as usize], own);
            // SAFETY: as above.
            run(world, unsafe { allgather(&place, None, listed(&mut into)) });
            into.assert("allgatherv in place", theirs, &puts);

            let (mut from, mut into) = (Memory::new(), Memory::new());
            puts.iter().for_each(|(at, values)| from.put(theirs, *at, values));
            let recv = items(&mut into, mine, ours);
            // SAFETY: as above.
            run(world, unsafe { scatterv(&place, Some(listed(&mut from)), Some(recv), 2) });
            into.assert("scatterv", ours, &[(0, own)]);
        });
    });
}

#[test]
fn all_to_all_goes_between_all_types_and_in_place() {
    job(3, |world| {
        let (me, size, place) = (world.rank(), world.size(), whole(world));
        for_types(|out, back| {
            let sent: Vec<i32> = (0..size).flat_map(|to| block(me, to, LEN)).collect();
            let came: Vec<i32> = (0..size).flat_map(|from| block(from, me, LEN)).collect();
            let (mut from, mut into) = (Memory::with(out, &sent), Memory::new());
            let send = Pieces::Equal(items(&mut from, LEN / ints(out), out));
            let recv = Pieces::Equal(items(&mut into, LEN / ints(back), back));
            // SAFETY: here and below the memory outlives the plan.
            run(world, unsafe { alltoall(&place, Some(send), recv) });
            into.assert("alltoall", back, &[(0, &came)]);

            let mut both = Memory::with(back, &sent);
            let recv = Pieces::Equal(items(&mut both, LEN / ints(back), back));
            // SAFETY: as above.
            run(world, unsafe { alltoall(&place, None, recv) });
            both.assert("alltoall in place", back, &[(0, &came)]);

            // Another length for each pair, and a type for each peer, by turns.
            let pairs = |from: u32, to: u32| ((from + 2 * to) % 3) as usize;
            let side = |len: &dyn Fn(u32) -> usize, first: &Datatype, second: &Datatype| {
                let one =
                    |peer: u32| if peer.is_multiple_of(2) { first.clone() } else { second.clone() };
                let datatypes: Vec<Datatype> = (0..size).map(one).collect();
                let counts: Vec<i64> = (0..size)
                    .map(|peer| (2 * len(peer) / ints(&datatypes[peer as usize])) as i64)
                    .collect();
                let displs: Vec<i64> = (0..size).map(|peer| 200 * i64::from(peer)).collect();
                (counts, displs, datatypes)
            };
            let (counts, displs, datatypes) = side(&|to| pairs(me, to), out, back);
            let (mut from, mut into) = (Memory::new(), Memory::new());
            let mut placed = Vec::new();
            for to in 0..size as usize {
                let values = block(me, to as u32, 2 * pairs(me, to as u32));
                placed.push((displs[to], datatypes[to].clone(), values));
            }
            let put_bytes = |memory: &mut Memory, blocks: &[(i64, Datatype, Vec<i32>)]| {
                for (displ, datatype, values) in blocks {
                    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                    let count = bytes.len() / datatype.size() as usize;
                    let base = memory.base().wrapping_offset(*displ as isize);
                    // SAFETY: in the middle of the memory.
                    unsafe { datatype.unpack(base, count, 0, &bytes) };
                }
            };
            put_bytes(&mut from, &placed);
            let send = Pieces::Mixed {
                base: from.base(),
                counts: &counts,
                displs: &displs,
                datatypes: &datatypes,
            };
            let (counts, displs, datatypes) = side(&|from| pairs(from, me), back, out);
            let recv = Pieces::Mixed {
                base: into.base(),
                counts: &counts,
                displs: &displs,
                datatypes: &datatypes,
            };
            // SAFETY: as above.
            run(world, unsafe { alltoall(&place, Some(send), recv) });
            let mut wanted = Memory::new();
            let blocks: Vec<_> = (0..size as usize)
                .map(|i| {
                    let values = block(i as u32, me, 2 * pairs(i as u32, me));
                    (displs[i], datatypes[i].clone(), values)
                })
                .collect();
            put_bytes(&mut wanted, &blocks);
            assert!(into.0 == wanted.0, "alltoallw");
        });
    });
}

#[test]
fn two_groups_exchange_their_items() {
    job(5, |world| {
        let place = halves(world, 2);
        let (me, group) = (world.rank(), u32::from(world.rank() >= 2));
        let remote: Vec<u32> = place.group[place.local_size as usize..].to_vec();
        run(world, Ok(barrier(&place)));
        for_types(|out, back| {
            let (sent, came) = (LEN / ints(out), LEN / ints(back));
            let (mut from, mut into) = (Memory::with(out, &block(me, 0, LEN)), Memory::new());
            let send = items(&mut from, sent, out);
            let recv = Pieces::Equal(items(&mut into, came, back));
            // SAFETY: here and below the memory outlives the plan.
            run(world, unsafe { allgather(&place, Some(send), recv) });
            let all: Vec<i32> = remote.iter().flat_map(|from| block(*from, 0, LEN)).collect();
            into.assert("allgather", back, &[(0, &all)]);

            let values: Vec<i32> = remote.iter().flat_map(|to| block(me, *to, LEN)).collect();
            let (mut from, mut into) = (Memory::with(out, &values), Memory::new());
            let send = Pieces::Equal(items(&mut from, sent, out));
            let recv = Pieces::Equal(items(&mut into, came, back));
            // SAFETY: as above.
            run(world, unsafe { alltoall(&place, Some(send), recv) });
            let all: Vec<i32> = remote.iter().flat_map(|from| block(*from, me, LEN)).collect();
            into.assert("alltoall", back, &[(0, &all)]);

            // The root is rank 1 of the first group.
            let root = match (group, place.rank) {
                (0, 1) => -4,
                (0, _) => -3,
                _ => 1,
            };
            let mut memory = Memory::new();
            if root == -4 {
                memory.put(out, 0, &block(1, 1, LEN));
            }
            // SAFETY: as above.
            run(world, unsafe { bcast(&place, items(&mut memory, sent, out), root) });
            let given = block(1, 1, LEN);
            memory.assert("bcast", out, &[(0, &given[..])][..usize::from(root != -3)]);

            let (mut from, mut into) = (Memory::with(out, &block(me, 1, LEN)), Memory::new());
            let send = items(&mut from, sent, out);
            let recv = items(&mut into, came, back);
            // SAFETY: as above.
            run(world, unsafe { gather(&place, Some(send), Some(recv), root) });
            let all: Vec<i32> = remote.iter().flat_map(|from| block(*from, 1, LEN)).collect();
            into.assert("gather", back, &[(0, &all[..])][..usize::from(root == -4)]);

            let values: Vec<i32> = remote.iter().flat_map(|to| block(1, *to, LEN)).collect();
            let (mut from, mut into) = (Memory::with(out, &values), Memory::new());
            let send = items(&mut from, sent, out);
            let recv = items(&mut into, came, back);
            // SAFETY: as above.
            run(world, unsafe { scatter(&place, Some(send), Some(recv), root) });
            let own = block(1, me, LEN);
            into.assert("scatter", back, &[(0, &own[..])][..usize::from(group == 1)]);
        });
    });
}

#[test]
fn neighbors_on_a_ring_of_two_and_at_a_border_exchange_their_items() {
    job(2, |world| {
        // A grid of 2 by 1: a ring of two in the first dimension, a border in the second.
        let (me, other) = (world.rank(), 1 - world.rank());
        let neighbors = vec![Some(other), Some(other), None, None];
        let hood = Neighborhood { sources: neighbors.clone(), destinations: neighbors, grid: true };
        let place = Place { neighbors: Some(&hood), ..whole(world) };
        for_types(|out, back| {
            let (sent, came) = (LEN / ints(out), LEN / ints(back));
            let (mut from, mut into) = (Memory::with(out, &block(me, 0, LEN)), Memory::new());
            let send = items(&mut from, sent, out);
            let recv = Pieces::Equal(items(&mut into, came, back));
            // SAFETY: here and below the memory outlives the plan.
            run(world, unsafe { neighbor_allgather(&place, send, recv) });
            let theirs = block(other, 0, LEN);
            into.assert("allgather", back, &[(0, &theirs), (came as i64, &theirs)]);

            let values: Vec<i32> = (0..4).flat_map(|to| block(me, to, LEN)).collect();
            let (mut from, mut into) = (Memory::with(out, &values), Memory::new());
            let send = Pieces::Equal(items(&mut from, sent, out));
            let recv = Pieces::Equal(items(&mut into, came, back));
            // SAFETY: as above.
            run(world, unsafe { neighbor_alltoall(&place, send, recv) });
            // From the lower neighbor comes what it sent to its upper one.
            let (up, down) = (block(other, 1, LEN), block(other, 0, LEN));
            into.assert("alltoall", back, &[(0, &up), (came as i64, &down)]);
        });
    });
}
