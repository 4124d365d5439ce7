//! The standard's definitions, word by word: a type is a list of basic types and displacements.

use proptest::prelude::*;

use crate::mpi::datatype::{Basic, Darray, Datatype, Form, Order};

const INT: Form = Form::Int;

/// A call of a constructor, with those that made its arguments.
#[derive(Clone, Debug)]
pub(super) enum Spec {
    Basic(Basic),
    Dup(Box<Spec>),
    Contiguous(i64, Box<Spec>),
    Vector(i64, i64, i64, Box<Spec>),
    Hvector(i64, i64, i64, Box<Spec>),
    Indexed(Vec<(i64, i64)>, Box<Spec>),
    Hindexed(Vec<(i64, i64)>, Box<Spec>),
    IndexedBlock(i64, Vec<i64>, Box<Spec>),
    HindexedBlock(i64, Vec<i64>, Box<Spec>),
    Struct(Vec<(i64, i64, Spec)>),
    Resized(i64, i64, Box<Spec>),
    /// Size, part and start of each dimension.
    Subarray(Vec<(i64, i64, i64)>, Order, Box<Spec>),
    /// Size, distribution, argument and processes of each dimension; a rank.
    Darray(Vec<(i64, i32, i32, i32)>, i32, Order, Box<Spec>),
}

impl Spec {
    /// The type, made by the library.
    pub(super) fn make(&self) -> Datatype {
        let made = match self {
            Spec::Basic(basic) => Ok(Datatype::of(*basic)),
            Spec::Dup(old) => Ok(old.make().dup()),
            Spec::Contiguous(count, old) => Datatype::contiguous(*count, &old.make(), INT),
            Spec::Vector(n, len, stride, old) => {
                Datatype::vector(*n, *len, *stride, &old.make(), INT)
            }
            Spec::Hvector(n, len, stride, old) => {
                Datatype::hvector(*n, *len, *stride, &old.make(), INT)
            }
            Spec::Indexed(blocks, old) => {
                let (lens, places): (Vec<_>, Vec<_>) = blocks.iter().copied().unzip();
                Datatype::indexed(&lens, &places, &old.make(), INT)
            }
            Spec::Hindexed(blocks, old) => {
                let (lens, places): (Vec<_>, Vec<_>) = blocks.iter().copied().unzip();
                Datatype::hindexed(&lens, &places, &old.make(), INT)
            }
            Spec::IndexedBlock(len, places, old) => {
                Datatype::indexed_block(*len, places, &old.make(), INT)
            }
            Spec::HindexedBlock(len, places, old) => {
                Datatype::hindexed_block(*len, places, &old.make(), INT)
            }
            Spec::Struct(members) => {
                let lens: Vec<_> = members.iter().map(|it| it.0).collect();
                let places: Vec<_> = members.iter().map(|it| it.1).collect();
                let types: Vec<_> = members.iter().map(|it| it.2.make()).collect();
                Datatype::structure(&lens, &places, &types, INT)
            }
            Spec::Resized(lb, extent, old) => Datatype::resized(&old.make(), *lb, *extent, INT),
            Spec::Subarray(dims, order, old) => {
                let sizes: Vec<_> = dims.iter().map(|it| it.0).collect();
                let parts: Vec<_> = dims.iter().map(|it| it.1).collect();
                let starts: Vec<_> = dims.iter().map(|it| it.2).collect();
                Datatype::subarray(&sizes, &parts, &starts, *order, &old.make(), INT)
            }
            Spec::Darray(dims, rank, order, old) => {
                let gsizes: Vec<_> = dims.iter().map(|it| it.0).collect();
                let distribs: Vec<_> = dims.iter().map(|it| it.1).collect();
                let dargs: Vec<_> = dims.iter().map(|it| it.2).collect();
                let psizes: Vec<_> = dims.iter().map(|it| it.3).collect();
                let grid = Darray {
                    size: psizes.iter().product(),
                    rank: *rank,
                    gsizes: &gsizes,
                    distribs: &distribs,
                    dargs: &dargs,
                    psizes: &psizes,
                    order: *order,
                };
                Datatype::darray(&grid, &old.make(), INT)
            }
        };
        made.unwrap()
    }

    /// The type, by definition.
    pub(super) fn map(&self) -> Map {
        match self {
            Spec::Basic(basic) => Map::basic(*basic),
            Spec::Dup(old) => old.map(),
            Spec::Contiguous(count, old) => {
                let old = old.map();
                Map::copies((0..*count).map(|at| (at * old.extent(), &old)))
            }
            Spec::Vector(n, len, stride, old) => {
                let old = old.map();
                old.blocks((0..*n).map(|at| (*len, at * stride * old.extent())))
            }
            Spec::Hvector(n, len, stride, old) => {
                old.map().blocks((0..*n).map(|at| (*len, at * stride)))
            }
            Spec::Indexed(blocks, old) => {
                let old = old.map();
                old.blocks(blocks.iter().map(|(len, at)| (*len, at * old.extent())))
            }
            Spec::Hindexed(blocks, old) => old.map().blocks(blocks.iter().copied()),
            Spec::IndexedBlock(len, places, old) => {
                let old = old.map();
                old.blocks(places.iter().map(|at| (*len, at * old.extent())))
            }
            Spec::HindexedBlock(len, places, old) => {
                old.map().blocks(places.iter().map(|at| (*len, *at)))
            }
            Spec::Struct(members) => {
                let members: Vec<_> =
                    members.iter().map(|(len, at, old)| (*len, *at, old.map())).collect();
                Map::copies(members.iter().flat_map(|(len, at, old)| {
                    (0..*len).map(move |copy| (at + copy * old.extent(), old))
                }))
            }
            Spec::Resized(lb, extent, old) => Map { marks: vec![(*lb, lb + extent)], ..old.map() },
            Spec::Subarray(dims, order, old) => {
                let sizes: Vec<_> = dims.iter().map(|it| it.0).collect();
                let inside =
                    |dim: usize, at| (dims[dim].2..dims[dim].2 + dims[dim].1).contains(&at);
                old.map().array(&sizes, *order, inside)
            }
            Spec::Darray(dims, rank, order, old) => {
                let sizes: Vec<_> = dims.iter().map(|it| it.0).collect();
                let mut here = vec![0; dims.len()];
                let mut rest = i64::from(*rank);
                for dim in (0..dims.len()).rev() {
                    here[dim] = rest % i64::from(dims[dim].3);
                    rest /= i64::from(dims[dim].3);
                }
                let inside = |dim: usize, at: i64| {
                    let (size, distribution, argument, processes) = dims[dim];
                    let processes = i64::from(processes);
                    let block = match (distribution, argument) {
                        (16, _) => return true,
                        (17, 19) => (size + processes - 1) / processes,
                        (_, 19) => 1,
                        (_, block) => i64::from(block),
                    };
                    at / block % processes == here[dim]
                };
                old.map().array(&sizes, *order, inside)
            }
        }
    }
}

/// Basic types and displacements, and the bounds that resized types left.
#[derive(Clone, Debug, Default)]
pub(super) struct Map {
    pub(super) entries: Vec<(Basic, i64)>,
    marks: Vec<(i64, i64)>,
    /// Behind the padding of each part.
    ends: Vec<i64>,
}

impl Map {
    fn basic(basic: Basic) -> Self {
        let entries = match basic.pair() {
            Some((first, at, second)) => vec![(first, 0), (second, at)],
            None => vec![(basic, 0)],
        };
        Self { entries, ..Self::default() }
    }

    fn copies<'a>(copies: impl Iterator<Item = (i64, &'a Map)>) -> Self {
        let mut all = Self::default();
        for (by, map) in copies {
            all.entries.extend(map.entries.iter().map(|(basic, at)| (*basic, at + by)));
            all.ends.extend(map.ends.iter().map(|end| end + by));
            if !map.entries.is_empty() {
                all.ends.push(map.lb() + map.extent() + by);
            }
            all.marks.extend(map.marks.iter().map(|(from, to)| (from + by, to + by)));
        }
        all
    }

    fn blocks(&self, blocks: impl Iterator<Item = (i64, i64)>) -> Self {
        let extent = self.extent();
        Self::copies(
            blocks.flat_map(|(len, at)| (0..len).map(move |copy| (at + copy * extent, self))),
        )
    }

    /// The items of an array whose index in every dimension is inside.
    fn array(&self, sizes: &[i64], order: Order, inside: impl Fn(usize, i64) -> bool) -> Self {
        let total: i64 = sizes.iter().product();
        let extent = self.extent();
        let mut places = Vec::new();
        for item in 0..total {
            let mut rest = item;
            let mut all = true;
            let dims: Vec<usize> = match order {
                Order::C => (0..sizes.len()).rev().collect(),
                Order::Fortran => (0..sizes.len()).collect(),
            };
            for dim in dims {
                all &= inside(dim, rest % sizes[dim]);
                rest /= sizes[dim];
            }
            if all {
                places.push((item * extent, self));
            }
        }
        Self { marks: vec![(0, total * extent)], ..Self::copies(places.into_iter()) }
    }

    pub(super) fn size(&self) -> i64 {
        self.entries.iter().map(|(basic, _)| basic.size()).sum()
    }

    pub(super) fn true_lb(&self) -> i64 {
        self.entries.iter().map(|(_, at)| *at).min().unwrap_or(0)
    }

    pub(super) fn true_ub(&self) -> i64 {
        self.entries.iter().map(|(basic, at)| at + basic.size()).max().unwrap_or(0)
    }

    pub(super) fn lb(&self) -> i64 {
        self.marks.iter().map(|mark| mark.0).min().unwrap_or(self.true_lb())
    }

    pub(super) fn extent(&self) -> i64 {
        if let Some(ub) = self.marks.iter().map(|mark| mark.1).max() {
            return ub - self.lb();
        }
        let align = self.entries.iter().map(|(basic, _)| basic.align()).max().unwrap_or(1);
        let end = self.ends.iter().copied().max().unwrap_or(0).max(self.true_ub());
        let mut extent = end - self.true_lb();
        while extent % align != 0 {
            extent += 1;
        }
        extent
    }

    /// Where each byte of the packed stream of `count` items is.
    pub(super) fn places(&self, count: i64) -> Vec<i64> {
        let extent = self.extent();
        let item = |at: i64| {
            let bytes = move |&(basic, place): &(Basic, i64)| {
                (0..basic.size()).map(move |byte| at * extent + place + byte)
            };
            self.entries.iter().flat_map(bytes)
        };
        (0..count).flat_map(item).collect()
    }
}

fn basics() -> impl Strategy<Value = Spec> {
    let some = [
        Basic::Char,
        Basic::Short,
        Basic::Int,
        Basic::Double,
        Basic::DoubleComplex,
        Basic::ShortInt,
        Basic::DoubleInt,
        Basic::Real16,
        Basic::TwoInteger,
    ];
    proptest::sample::select(some.to_vec()).prop_map(Spec::Basic)
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![Just(Order::C), Just(Order::Fortran)]
}

fn dimension() -> impl Strategy<Value = (i64, i64, i64)> {
    (1..6_i64)
        .prop_flat_map(|size| (Just(size), 1..=size))
        .prop_flat_map(|(size, part)| (Just(size), Just(part), 0..=size - part))
}

/// Size, distribution, argument, processes.
fn distributed() -> impl Strategy<Value = (i64, i32, i32, i32)> {
    (1..9_i64, 1..4_i32).prop_flat_map(|(size, processes)| {
        let least = (size as i32 + processes - 1) / processes;
        prop_oneof![
            Just((size, 16, 19, 1)),
            Just((size, 17, 19, processes)),
            (least..least + 3).prop_map(move |block| (size, 17, block, processes)),
            Just((size, 18, 19, processes)),
            (1..4_i32).prop_map(move |block| (size, 18, block, processes)),
        ]
    })
}

/// Displacements and lengths small enough that a few levels stay countable.
fn derived(old: BoxedStrategy<Spec>) -> BoxedStrategy<Spec> {
    let boxed = || old.clone().prop_map(Box::new);
    let blocks = |span: i64| proptest::collection::vec((0..4_i64, -span..span), 0..5);
    let places = |span: i64| proptest::collection::vec(-span..span, 0..5);
    prop_oneof![
        boxed().prop_map(Spec::Dup),
        (0..5_i64, boxed()).prop_map(|(n, old)| Spec::Contiguous(n, old)),
        (0..5_i64, 0..4_i64, -4..7_i64, boxed())
            .prop_map(|(n, len, stride, old)| Spec::Vector(n, len, stride, old)),
        (0..5_i64, 0..4_i64, -50..90_i64, boxed())
            .prop_map(|(n, len, stride, old)| Spec::Hvector(n, len, stride, old)),
        (blocks(8), boxed()).prop_map(|(blocks, old)| Spec::Indexed(blocks, old)),
        (blocks(99), boxed()).prop_map(|(blocks, old)| Spec::Hindexed(blocks, old)),
        (0..4_i64, places(8), boxed()).prop_map(|(n, at, old)| Spec::IndexedBlock(n, at, old)),
        (0..4_i64, places(99), boxed()).prop_map(|(n, at, old)| Spec::HindexedBlock(n, at, old)),
        proptest::collection::vec((0..3_i64, -60..90_i64, old.clone()), 0..4)
            .prop_map(Spec::Struct),
        (-20..20_i64, -40..90_i64, boxed()).prop_map(|(lb, len, old)| Spec::Resized(lb, len, old)),
        (proptest::collection::vec(dimension(), 1..4), order(), boxed())
            .prop_map(|(dims, order, old)| Spec::Subarray(dims, order, old)),
        (proptest::collection::vec(distributed(), 1..4), 0..1000_i32, order(), boxed()).prop_map(
            |(dims, rank, order, old)| {
                let size: i32 = dims.iter().map(|dim| dim.3).product();
                Spec::Darray(dims, rank % size, order, old)
            }
        ),
    ]
    .boxed()
}

/// Random types, some levels deep, of not too many bytes.
pub(super) fn specs() -> impl Strategy<Value = Spec> {
    let none = basics().boxed();
    let one = derived(none.clone());
    let two = derived(prop_oneof![none.clone(), one.clone()].boxed());
    let three = derived(prop_oneof![one.clone(), two.clone()].boxed());
    prop_oneof![1 => none, 3 => one, 4 => two, 4 => three]
        .prop_filter("too long to go through byte by byte", |spec| spec.make().size() < 8_000)
}
