//! What holds for every type.

use proptest::prelude::*;

use super::oracle::{Map, specs};
use crate::mpi::datatype::Datatype;

/// Memory that holds all that some items describe, and where their address is in it.
struct Memory {
    bytes: Vec<u8>,
    base: usize,
}

impl Memory {
    fn of(places: &[i64], fill: impl Fn(usize) -> u8) -> Self {
        let low = places.iter().copied().min().unwrap_or(0).min(0);
        let high = places.iter().copied().max().unwrap_or(0).max(0);
        let bytes = (0..(high - low + 1) as usize).map(fill).collect();
        Self { bytes, base: -low as usize }
    }

    fn index(&self, place: i64) -> usize {
        (self.base as i64 + place) as usize
    }

    fn pack(&self, datatype: &Datatype, count: usize, from: usize, len: usize) -> Vec<u8> {
        let mut out = vec![0xee; len];
        let base = self.bytes.as_ptr().wrapping_add(self.base);
        // SAFETY: the memory was made to hold all that the items describe.
        unsafe { datatype.pack(base, count, from, &mut out) };
        out
    }

    fn unpack(&mut self, datatype: &Datatype, count: usize, at: usize, bytes: &[u8]) {
        let base = self.bytes.as_mut_ptr().wrapping_add(self.base);
        // SAFETY: the memory was made to hold all that the items describe.
        unsafe { datatype.unpack(base, count, at, bytes) };
    }
}

fn noise(at: usize) -> u8 {
    (at.wrapping_mul(0x9e37_79b9) >> 11) as u8 | 1
}

/// The stream, cut at these places.
fn pieces(total: usize, cuts: &[prop::sample::Index]) -> Vec<(usize, usize)> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(total + 1)).collect();
    ends.extend([0, total]);
    ends.sort_unstable();
    ends.windows(2).map(|ends| (ends[0], ends[1] - ends[0])).collect()
}

fn distinct(places: &[i64]) -> bool {
    let mut sorted = places.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).all(|pair| pair[0] != pair[1])
}

fn elements(map: &Map, bytes: i64) -> Option<i64> {
    let mut rest = bytes;
    let mut count = 0;
    while rest > 0 {
        for (basic, _) in &map.entries {
            if rest == 0 {
                return Some(count);
            }
            rest -= basic.size();
            count += 1;
        }
        if rest < 0 || map.entries.is_empty() {
            return None;
        }
    }
    (rest == 0).then_some(count)
}

proptest! {
    #[test]
    fn bounds_are_those_of_the_typemap(spec in specs()) {
        let (made, map) = (spec.make(), spec.map());
        prop_assert_eq!(made.size(), map.size());
        prop_assert_eq!(made.true_lb(), map.true_lb());
        prop_assert_eq!(made.true_extent(), map.true_ub() - map.true_lb());
        prop_assert_eq!(made.lb(), map.lb());
        prop_assert_eq!(made.extent(), map.extent());
    }

    #[test]
    fn any_part_of_the_stream_is_packed_from_its_places(
        spec in specs(),
        count in prop_oneof![4 => 0..6_usize, 1 => 60..200_usize],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let (made, places) = (spec.make(), spec.map().places(count as i64));
        let memory = Memory::of(&places, noise);
        let expected: Vec<u8> = places.iter().map(|at| memory.bytes[memory.index(*at)]).collect();
        for (from, len) in pieces(places.len(), &cuts) {
            prop_assert_eq!(memory.pack(&made, count, from, len), &expected[from..from + len]);
        }
    }

    #[test]
    fn any_part_of_the_stream_is_unpacked_to_its_places_and_nothing_else_is_touched(
        spec in specs(),
        count in prop_oneof![4 => 0..6_usize, 1 => 60..200_usize],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let (made, places) = (spec.make(), spec.map().places(count as i64));
        if !distinct(&places) {
            return Ok(());
        }
        let stream: Vec<u8> = (0..places.len()).map(noise).collect();
        let mut memory = Memory::of(&places, |_| 0);
        let mut expected = memory.bytes.clone();
        for (byte, at) in stream.iter().zip(&places) {
            expected[memory.index(*at)] = *byte;
        }
        for (at, len) in pieces(places.len(), &cuts).into_iter().rev() {
            memory.unpack(&made, count, at, &stream[at..at + len]);
        }
        prop_assert_eq!(memory.bytes, expected);
    }

    #[test]
    fn what_is_said_to_be_one_run_is_one(spec in specs(), count in 0..4_i64) {
        let (made, places) = (spec.make(), spec.map().places(count));
        let run = made.run(count);
        if let Some((at, len)) = run {
            let expected: Vec<i64> = (at..at + len).collect();
            prop_assert_eq!(&places, &expected);
        }
        if made.is_dense() {
            prop_assert_eq!(run, Some((made.lb(), made.extent() * count)));
        }
        // The other way round: one run that begins at the beginning is recognized.
        let whole = spec.map().places(1);
        let together = whole.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        prop_assert_eq!(made.run(1).is_some(), together);
    }

    #[test]
    fn elements_are_counted_as_in_the_typemap(spec in specs()) {
        let (made, map) = (spec.make(), spec.map());
        let limit = (3 * made.size() + 3).min(500);
        for bytes in (0..limit).chain(made.size() - 3..made.size() * 2 + 3) {
            let bytes = bytes.max(0);
            prop_assert_eq!(made.elements_in(bytes), elements(&map, bytes), "{} bytes", bytes);
            if let Some(elements) = made.elements_in(bytes) {
                prop_assert_eq!(made.bytes_of_elements(elements), Some(bytes));
            }
        }
    }

    #[test]
    fn the_unit_is_the_only_type_there_is(spec in specs()) {
        let (made, map) = (spec.make(), spec.map());
        if let Some((basic, count)) = made.signature_unit() {
            prop_assert_eq!(basic.size() * count, made.size());
            if basic.pair().is_none() {
                prop_assert!(map.entries.iter().all(|(it, _)| *it == basic));
            }
        } else {
            let first = map.entries.first().map(|(basic, _)| *basic);
            let same = map.entries.iter().all(|(it, _)| Some(*it) == first);
            // Pairs beside their own parts, or nothing at all, have no unit either.
            prop_assert!(!same || made.size() == 0 || has_pair(&spec));
        }
    }

    #[test]
    fn external32_is_the_stream_with_every_number_turned_round(
        spec in specs(),
        count in prop_oneof![4 => 0..4_usize, 1 => 60..200_usize],
    ) {
        let (made, map) = (spec.make(), spec.map());
        let places = map.places(count as i64);
        if !distinct(&places) {
            return Ok(());
        }
        let memory = Memory::of(&places, noise);
        let mut expected = memory.pack(&made, count, 0, places.len());
        let mut at = 0;
        for (basic, _) in map.entries.iter().cycle().take(map.entries.len() * count) {
            let width = basic.number().1;
            for number in expected[at..at + basic.size() as usize].chunks_mut(width) {
                number.reverse();
            }
            at += basic.size() as usize;
        }
        let mut external = vec![0; made.external_size(count as i64).unwrap() as usize];
        let base = memory.bytes.as_ptr().wrapping_add(memory.base);
        // SAFETY: the memory was made to hold all that the items describe.
        let len = unsafe { made.pack_external(base, count as i64, &mut external) };
        prop_assert_eq!(len, Ok(expected.len()));
        prop_assert_eq!(&external, &expected);
        let mut back = Memory::of(&places, |_| 0);
        let base = back.bytes.as_mut_ptr().wrapping_add(back.base);
        // SAFETY: as above.
        let len = unsafe { made.unpack_external(base, count as i64, &external) };
        prop_assert_eq!(len, Ok(expected.len()));
        let same = |at: &i64| back.bytes[back.index(*at)] == memory.bytes[memory.index(*at)];
        prop_assert!(places.iter().all(same));
    }
}

fn has_pair(spec: &super::oracle::Spec) -> bool {
    let text = format!("{spec:?}");
    ["ShortInt", "DoubleInt", "TwoInteger"].iter().any(|name| text.contains(name))
}
