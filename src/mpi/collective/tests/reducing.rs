use super::*;

/// `a op b` on two ints: composition of affine maps modulo a prime, which does not commute.
fn compose(a: [i32; 2], b: [i32; 2]) -> [i32; 2] {
    let number =
        |x: i32, y: i32, z: i32| ((i64::from(x) * i64::from(y) + i64::from(z)) % 65_521) as i32;
    [number(a[0], b[0], 0), number(a[0], b[1], a[1])]
}

/// That, on items of two ints as they lie in `types`.
fn composition() -> Op {
    Op::user(
        false,
        Box::new(|from, into, count, datatype| {
            for i in 0..count {
                let at = (i * datatype.extent()) as isize;
                let get = |base: *const u8, by: isize| {
                    // SAFETY: an int of an item.
                    unsafe { base.wrapping_offset(at + by).cast::<i32>().read() }
                };
                let (left, right) = (
                    [get(from, 0), get(from, 8)],
                    [get(into.cast_const(), 0), get(into.cast_const(), 8)],
                );
                for (by, value) in [0, 8].into_iter().zip(compose(left, right)) {
                    // SAFETY: an int of an item.
                    unsafe { into.wrapping_offset(at + by).cast::<i32>().write(value) };
                }
            }
        }),
    )
}

/// Items of two ints in each vector.
const COUNT: usize = 6;

fn vector(rank: u32) -> Vec<i32> {
    (0..2 * COUNT as i32).map(|i| 1 + i * 7 + 13 * rank as i32).collect()
}

/// The vectors of these ranks, combined in this order.
fn combined(ranks: impl Iterator<Item = u32>) -> Vec<i32> {
    let vectors = ranks.map(vector);
    let both = |a: Vec<i32>, b: Vec<i32>| {
        let pairs = a.chunks(2).zip(b.chunks(2));
        pairs.flat_map(|(a, b)| compose([a[0], a[1]], [b[0], b[1]])).collect()
    };
    vectors.reduce(both).unwrap()
}

/// Every reduction with the operation of the application, operands apart or in place.
fn reductions(world: &Communicator, datatype: &Datatype, in_place: bool) {
    let (me, size, place) = (world.rank(), world.size(), whole(world));
    let op = composition();
    let all = combined(0..size);
    let go = |what: &str,
              apart: bool,
              make: &dyn Fn(Vectors<'_>) -> Outcome<Plan>,
              puts: &[(i64, &[i32])]| {
        let (mut from, mut into) = (Memory::with(datatype, &vector(me)), Memory::new());
        if !apart {
            into.put(datatype, 0, &vector(me));
        }
        let send = apart.then(|| from.base().cast_const());
        run(world, make(Vectors { send, recv: into.base(), datatype, op: &op }));
        if apart {
            into.assert(what, datatype, puts);
            from.assert(what, datatype, &[(0, &vector(me))]);
        } else {
            let own = vector(me);
            let puts: Vec<_> = [(0, &own[..])].into_iter().chain(puts.iter().copied()).collect();
            into.assert(what, datatype, &puts);
        }
    };
    let count = COUNT as i64;
    // SAFETY: in all of these the memory outlives the plan.
    go("allreduce", !in_place, &|v| unsafe { allreduce(&place, v, count) }, &[(0, &all)]);
    for root in 0..size {
        let result: &[(i64, &[i32])] = if me == root { &[(0, &all)] } else { &[] };
        let apart = me != root || !in_place;
        // SAFETY: as above.
        go("reduce", apart, &|v| unsafe { reduce(&place, v, count, root as i32) }, result);
    }
    let upto = combined(0..me + 1);
    // SAFETY: as above.
    go("scan", !in_place, &|v| unsafe { scan(&place, v, count) }, &[(0, &upto)]);
    let before = if me > 0 { combined(0..me) } else { vec![] };
    let result: &[(i64, &[i32])] = if me > 0 { &[(0, &before)] } else { &[] };
    // SAFETY: as above.
    go("exscan", !in_place, &|v| unsafe { exscan(&place, v, count) }, result);
    let each = COUNT / size as usize;
    let own = &all[2 * each * me as usize..][..2 * each];
    // SAFETY: as above.
    go(
        "reduce_scatter_block",
        !in_place,
        &|v| unsafe { reduce_scatter_block(&place, v, each as i64) },
        &[(0, own)],
    );
    let mut counts = vec![0; size as usize];
    (counts[0], counts[size as usize - 1]) = (2, count - 2);
    let start: i64 = counts[..me as usize].iter().sum();
    let own = &all[2 * start as usize..][..2 * counts[me as usize] as usize];
    // SAFETY: as above.
    go(
        "reduce_scatter",
        !in_place,
        &|v| unsafe { reduce_scatter(&place, v, &counts) },
        &[(0, own)],
    );
}

#[test]
fn an_operation_of_the_application_gets_items_of_its_type_in_the_order_of_ranks() {
    job(3, |world| {
        let [_, wide, backwards] = types();
        for datatype in [wide, backwards] {
            reductions(world, &datatype, false);
            reductions(world, &datatype, true);
        }
    });
}

#[test]
fn predefined_operations_work_on_the_buffers_themselves() {
    job(3, |world| {
        let [int, ..] = types();
        let (me, place, op) = (world.rank() as i32, whole(world), Op::Basic(BasicOp::Max));
        let values: Vec<i32> = (0..30).map(|i| (i * 7 + me * 11) % 30).collect();
        let wanted: Vec<i32> =
            (0..30).map(|i| (0..3).map(|r| (i * 7 + r * 11) % 30).max().unwrap()).collect();
        let (mut from, mut into) = (Memory::with(&int, &values), Memory::new());
        let (send, recv) = (Some(from.base().cast_const()), into.base());
        let vectors = Vectors { send, recv, datatype: &int, op: &op };
        // SAFETY: the memory outlives the plan.
        run(world, unsafe { allreduce(&place, vectors, 30) });
        into.assert("allreduce", &int, &[(0, &wanted)]);
    });
}

#[test]
fn each_of_two_groups_gets_the_vectors_of_the_other_combined_in_order() {
    job(5, |world| {
        let place = halves(world, 2);
        let (me, group) = (world.rank(), u32::from(world.rank() >= 2));
        let [_, wide, backwards] = types();
        for datatype in [wide, backwards] {
            let op = composition();
            let theirs = combined(if group == 0 { 2..5 } else { 0..2 });
            let go = |what: &str,
                      make: &dyn Fn(Vectors<'_>) -> Outcome<Plan>,
                      puts: &[(i64, &[i32])]| {
                let (mut from, mut into) = (Memory::with(&datatype, &vector(me)), Memory::new());
                let send = Some(from.base().cast_const());
                let vectors = Vectors { send, recv: into.base(), datatype: &datatype, op: &op };
                run(world, make(vectors));
                into.assert(what, &datatype, puts);
            };
            let count = COUNT as i64;
            // SAFETY: in all of these the memory outlives the plan.
            go("allreduce", &|v| unsafe { allreduce(&place, v, count) }, &[(0, &theirs)]);
            let root = match (group, place.rank) {
                (1, 2) => -4,
                (1, _) => -3,
                _ => 2,
            };
            let result: &[(i64, &[i32])] = if root == -4 { &[(0, &theirs)] } else { &[] };
            // SAFETY: as above.
            go("reduce", &|v| unsafe { reduce(&place, v, count, root) }, result);
            let each = COUNT / place.local_size as usize;
            let own = &theirs[2 * each * place.rank as usize..][..2 * each];
            // SAFETY: as above.
            go(
                "reduce_scatter_block",
                &|v| unsafe { reduce_scatter_block(&place, v, each as i64) },
                &[(0, own)],
            );
        }
    });
}
