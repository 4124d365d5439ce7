//! What every kind of shared memory must do, run against each of them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use cohost::region::device::{Device, DeviceLayout, Memory, Wanted};
use cohost::region::{
    Geometry, Identity, OwnSection, PeerSection, RegionError, SectionLayout, dax, file, heap, posix,
};

const GEOMETRY: Geometry = Geometry { cells: 64, bulk: 8192 };

fn layout(members: u32) -> SectionLayout {
    SectionLayout::new(members, GEOMETRY).unwrap()
}

/// One way of coming by shared memory.
trait Kind {
    /// A kind for one test, with nothing of another test's in it.
    fn new() -> Self;
    fn create(&self, layout: SectionLayout, index: u32) -> OwnSection;
    /// How `me` sees `own`, expecting it to be `expected`.
    fn view(
        &self,
        own: &OwnSection,
        expected: &Identity,
        me: u32,
    ) -> Result<PeerSection, RegionError>;
    /// Whether expectation and section are separate things, which can differ.
    const CHECKS: bool;
    /// Whether all sections are parts of one piece of memory, which is there in advance.
    const DEVICE: bool = false;
}

struct Memfd;

impl Kind for Memfd {
    fn new() -> Self {
        Self
    }
    fn create(&self, layout: SectionLayout, index: u32) -> OwnSection {
        posix::create_memfd(layout, index).unwrap()
    }
    fn view(
        &self,
        own: &OwnSection,
        expected: &Identity,
        me: u32,
    ) -> Result<PeerSection, RegionError> {
        posix::adopt(own.fd().unwrap().try_clone_to_owned().unwrap(), expected, me)
    }
    const CHECKS: bool = true;
}

struct File {
    directory: tempfile::TempDir,
    rank: AtomicU32,
}

impl Kind for File {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), rank: AtomicU32::new(0) }
    }
    fn create(&self, layout: SectionLayout, index: u32) -> OwnSection {
        let rank = self.rank.fetch_add(1, Ordering::Relaxed);
        file::create(self.directory.path(), "job", rank, layout, index).unwrap()
    }
    fn view(
        &self,
        own: &OwnSection,
        expected: &Identity,
        me: u32,
    ) -> Result<PeerSection, RegionError> {
        // A name of the expected epoch, as a stale or forged file would have it.
        let path = file::path(self.directory.path(), "job", 99, expected.epoch);
        std::fs::hard_link(own.path().unwrap(), &path).unwrap();
        let seen = file::open(self.directory.path(), "job", 99, expected, me);
        std::fs::remove_file(path).unwrap();
        seen
    }
    const CHECKS: bool = true;
}

struct Heap;

impl Kind for Heap {
    fn new() -> Self {
        Self
    }
    fn create(&self, layout: SectionLayout, index: u32) -> OwnSection {
        heap::create(layout, index).unwrap()
    }
    fn view(&self, own: &OwnSection, _: &Identity, me: u32) -> Result<PeerSection, RegionError> {
        heap::view(own, me)
    }
    const CHECKS: bool = false;
}

/// A device that has slots for just the members of `layout`, and the length it needs.
fn wanted(layout: SectionLayout) -> (Wanted, u64) {
    let wanted =
        Wanted { slots: Some(layout.members()), geometry: layout.geometry(), ..Wanted::default() };
    let huge = DeviceLayout::plan(1 << 40, &wanted).unwrap();
    let last = layout.members() - 1;
    let bytes = huge.section_offset(last).unwrap() + layout.total_bytes();
    (wanted, bytes as u64)
}

/// Takes slots until it is `index`, and gives the others back.
fn claim(device: &Device, index: u32) -> OwnSection {
    let mut claimed: Vec<_> = (0..=index).map(|_| device.claim().unwrap()).collect();
    let own = claimed.pop().unwrap();
    assert_eq!(own.identity().index, index);
    own
}

/// A device in the memory of one process; a fresh one for each section.
struct DeviceOnHeap(Mutex<Vec<(u64, Device)>>);

impl Kind for DeviceOnHeap {
    fn new() -> Self {
        Self(Mutex::default())
    }
    fn create(&self, layout: SectionLayout, index: u32) -> OwnSection {
        let (wanted, bytes) = wanted(layout);
        let device = Device::open(Memory::heap(bytes as usize), &wanted).unwrap();
        let own = claim(&device, index);
        self.0.lock().unwrap().push((own.identity().epoch, device));
        own
    }
    fn view(
        &self,
        own: &OwnSection,
        expected: &Identity,
        me: u32,
    ) -> Result<PeerSection, RegionError> {
        let devices = self.0.lock().unwrap();
        let epoch = own.identity().epoch;
        let (_, device) = devices.iter().find(|(of, _)| *of == epoch).unwrap();
        device.peer(expected, me)
    }
    const CHECKS: bool = true;
    const DEVICE: bool = true;
}

/// A device in a file, attached anew for each view, as by another machine.
struct DeviceInFile {
    directory: tempfile::TempDir,
    made: Mutex<Vec<(u64, PathBuf, Wanted)>>,
}

impl Kind for DeviceInFile {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), made: Mutex::default() }
    }
    fn create(&self, layout: SectionLayout, index: u32) -> OwnSection {
        let (wanted, bytes) = wanted(layout);
        let mut made = self.made.lock().unwrap();
        let path = self.directory.path().join(made.len().to_string());
        // Old garbage, which must not show anywhere; but slots that nobody has, so that no test
        // depends on who seems dead when.
        let mut garbage = vec![0xa5; bytes as usize];
        let layout = DeviceLayout::plan(bytes, &wanted).unwrap();
        garbage[4096..layout.section_offset(0).unwrap()].fill(0);
        std::fs::write(&path, garbage).unwrap();
        let quick = Wanted {
            lease: cohost::region::device::LeaseTime::at_least(std::time::Duration::ZERO),
            ..wanted
        };
        let device = Device::open(dax::open(&path).unwrap(), &quick).unwrap();
        let own = claim(&device, index);
        made.push((own.identity().epoch, path, quick));
        own
    }
    fn view(
        &self,
        own: &OwnSection,
        expected: &Identity,
        me: u32,
    ) -> Result<PeerSection, RegionError> {
        let made = self.made.lock().unwrap();
        let epoch = own.identity().epoch;
        let (_, path, wanted) = made.iter().find(|(of, _, _)| *of == epoch).unwrap();
        let device = Device::open(dax::open(path).unwrap(), wanted).unwrap();
        device.peer(expected, me)
    }
    const CHECKS: bool = true;
    const DEVICE: bool = true;
}

fn a_peer_sees_identity_and_geometry<K: Kind>() {
    let kind = K::new();
    let own = kind.create(layout(4), 2);
    let peer = kind.view(&own, own.identity(), 0).unwrap();
    assert_eq!(peer.identity(), own.identity());
    assert_eq!(peer.identity().layout.geometry(), GEOMETRY);
    peer.check_header().unwrap();
}

fn every_section_has_an_epoch_of_its_own<K: Kind>() {
    let kind = K::new();
    let (first, second) = (kind.create(layout(2), 0), kind.create(layout(2), 0));
    assert_ne!(first.identity().epoch, second.identity().epoch);
}

fn what_the_owner_writes_its_peer_reads<K: Kind>() {
    let kind = K::new();
    let mut own = kind.create(layout(3), 0);
    own.activate(2).unwrap();
    let peer = kind.view(&own, own.identity(), 2).unwrap();
    let (ours, theirs) = (own.pair(2).unwrap(), peer.pair().unwrap());
    assert_eq!(theirs.cells.len(), 64 * 64);
    assert_eq!(theirs.bulk.len(), 8192);
    ours.control.store_u64(0, 1);
    ours.cells.store_u64(64 * 63, 2);
    ours.bulk.copy_in(8192 - 5, b"hello");
    assert_eq!(theirs.control.load_u64(0), 1);
    assert_eq!(theirs.cells.load_u64(64 * 63), 2);
    let mut out = [0; 5];
    theirs.bulk.copy_out(8192 - 5, &mut out);
    assert_eq!(&out, b"hello");
}

fn blocks_of_different_peers_are_different_memory<K: Kind>() {
    let kind = K::new();
    let mut own = kind.create(layout(4), 1);
    for peer in [0, 2, 3] {
        own.activate(peer).unwrap();
        let pair = own.pair(peer).unwrap();
        pair.control.store_u32(0, peer + 10);
        pair.bulk.copy_in(0, &[peer as u8; 8192]);
    }
    for me in [0, 2, 3] {
        let seen = kind.view(&own, own.identity(), me).unwrap().pair().unwrap();
        assert_eq!(seen.control.load_u32(0), me + 10);
        let mut out = [0xff; 8192];
        seen.bulk.copy_out(0, &mut out);
        assert_eq!(out, [me as u8; 8192]);
    }
}

fn a_challenge_reaches_the_peer_it_is_for<K: Kind>() {
    let kind = K::new();
    let own = kind.create(layout(3), 0);
    own.set_challenge(1, b"0123456789abcdef").unwrap();
    own.set_challenge(2, b"fedcba9876543210").unwrap();
    assert_eq!(&kind.view(&own, own.identity(), 1).unwrap().challenge(), b"0123456789abcdef");
    assert_eq!(&kind.view(&own, own.identity(), 2).unwrap().challenge(), b"fedcba9876543210");
    assert!(own.set_challenge(3, &[0; 16]).is_err());
}

fn a_pair_is_usable_only_once_active<K: Kind>() {
    let kind = K::new();
    let mut own = kind.create(layout(3), 1);
    let peer = kind.view(&own, own.identity(), 0).unwrap();
    assert!(!peer.is_active());
    assert!(matches!(own.pair(0), Err(RegionError::NotActive { owner: 1, peer: 0 })));
    assert!(matches!(peer.pair(), Err(RegionError::NotActive { owner: 1, peer: 0 })));
    own.activate(0).unwrap();
    assert!(peer.is_active());
    let pair = own.pair(0).unwrap();
    pair.control.store_u64(0, 7);
    own.activate(0).unwrap();
    assert_eq!(pair.control.load_u64(0), 7, "activating again must not clear");
    assert_eq!(peer.pair().unwrap().control.load_u64(0), 7);
    assert!(!kind.view(&own, own.identity(), 2).unwrap().is_active());
}

fn members_that_do_not_exist_are_refused<K: Kind>() {
    let kind = K::new();
    let mut own = kind.create(layout(2), 1);
    assert!(matches!(own.activate(2), Err(RegionError::Layout(_))));
    assert!(matches!(own.activate(1), Err(RegionError::Layout(_))), "a block for itself");
    assert!(matches!(kind.view(&own, own.identity(), 2), Err(RegionError::Layout(_))));
    assert!(matches!(kind.view(&own, own.identity(), 1), Err(RegionError::Layout(_))));
}

fn another_size_is_refused<K: Kind>() {
    if !K::CHECKS {
        return;
    }
    let kind = K::new();
    let own = kind.create(layout(2), 0);
    for other in [
        SectionLayout::new(3, GEOMETRY).unwrap(),
        SectionLayout::new(2, Geometry { bulk: 4096, ..GEOMETRY }).unwrap(),
        SectionLayout::new(2, Geometry { bulk: 1 << 20, ..GEOMETRY }).unwrap(),
    ] {
        let expected = Identity { layout: other, ..*own.identity() };
        let refused = kind.view(&own, &expected, 1);
        assert!(matches!(refused, Err(RegionError::WrongSize { .. })), "{refused:?}");
    }
}

fn another_identity_is_refused<K: Kind>() {
    if !K::CHECKS {
        return;
    }
    let kind = K::new();
    let own = kind.create(layout(3), 0);
    let good = *own.identity();
    // The same length in total, by another number of cells: 16 and 32 fill the same page.
    let small = SectionLayout::new(2, Geometry::MIN).unwrap();
    let same_length = SectionLayout::new(2, Geometry { cells: 32, ..Geometry::MIN }).unwrap();
    assert_eq!(small.total_bytes(), same_length.total_bytes());
    let other = kind.create(small, 0);
    for (own, expected, name) in [
        (&own, Identity { epoch: good.epoch ^ 1, ..good }, "epoch"),
        (&own, Identity { index: 2, ..good }, "member index"),
        (&other, Identity { layout: same_length, ..*other.identity() }, "cell count"),
    ] {
        match kind.view(own, &expected, 1) {
            // Another member's section is another place in a device, which holds anything.
            Err(RegionError::WrongHeader { .. }) if K::DEVICE && name == "member index" => {}
            Err(RegionError::WrongHeader { field, .. }) => assert_eq!(field, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}

fn a_garbage_header_is_refused_whatever_it_says<K: Kind>() {
    let kind = K::new();
    let own = kind.create(layout(2), 0);
    let peer = kind.view(&own, own.identity(), 1).unwrap();
    let mut good = [0; 48];
    own.window().copy_out(0, &mut good);
    // Bytes 12 to 15 are padding.
    for at in (0..48).filter(|at| !(12..16).contains(at)) {
        let mut bad = good;
        bad[at] ^= 0x81;
        own.window().copy_in(0, &bad);
        let found = peer.check_header();
        assert!(matches!(found, Err(RegionError::WrongHeader { .. })), "byte {at}: {found:?}");
        assert!(kind.view(&own, own.identity(), 1).is_err(), "byte {at}");
    }
    own.window().copy_in(0, &[0xff; 4096]);
    assert!(kind.view(&own, own.identity(), 1).is_err());
    own.window().copy_in(0, &good);
    assert!(kind.view(&own, own.identity(), 1).is_ok());
}

fn nothing_is_taken_for_inactive_pairs<K: Kind>() {
    if K::DEVICE {
        return;
    }
    let kind = K::new();
    let members = 64;
    let mut own = kind.create(SectionLayout::new(members, Geometry::default()).unwrap(), 0);
    let Some(fd) = own.fd() else { return };
    let store = std::fs::File::from(fd.try_clone_to_owned().unwrap());
    let taken = || {
        use std::os::unix::fs::MetadataExt;
        store.metadata().unwrap().blocks() * 512
    };
    let layout = own.identity().layout;
    // A file system may take a page or two for itself.
    let slack = 64 * 1024;
    assert!(taken() <= layout.header_bytes() as u64 + slack, "{}", taken());
    own.activate(5).unwrap();
    let active = (layout.header_bytes() + layout.block_bytes()) as u64;
    assert!((active..=active + slack).contains(&taken()), "{}", taken());
}

fn two_jobs_at_once_do_not_collide<K: Kind>() {
    let kind = K::new();
    let mut sections: Vec<_> = (0..8).map(|_| kind.create(layout(2), 0)).collect();
    for (i, own) in sections.iter_mut().enumerate() {
        own.activate(1).unwrap();
        own.pair(1).unwrap().control.store_u64(0, i as u64);
    }
    for (i, own) in sections.iter().enumerate() {
        let seen = kind.view(own, own.identity(), 1).unwrap().pair().unwrap();
        assert_eq!(seen.control.load_u64(0), i as u64);
    }
}

fn memory_lives_as_long_as_a_peer_sees_it<K: Kind>() {
    let kind = K::new();
    let mut own = kind.create(layout(2), 0);
    own.activate(1).unwrap();
    own.pair(1).unwrap().control.store_u64(0, 42);
    let peer = kind.view(&own, own.identity(), 1).unwrap();
    let pair = peer.pair().unwrap();
    drop((own, peer));
    assert_eq!(pair.control.load_u64(0), 42);
}

macro_rules! conformance {
    ($($kind:ident as $name:ident: $tests:tt)*) => {
        $(mod $name { conformance!(@each $kind $tests); })*
    };
    (@each $kind:ident { $($test:ident)* }) => {
        $(#[test] fn $test() { super::$test::<super::$kind>(); })*
    };
}

macro_rules! every_kind {
    ($($test:ident)*) => {
        conformance! { Memfd as over_a_memfd: { $($test)* } }
        conformance! { File as over_a_file: { $($test)* } }
        conformance! { Heap as over_the_heap: { $($test)* } }
        conformance! { DeviceOnHeap as over_a_device_on_the_heap: { $($test)* } }
        conformance! { DeviceInFile as over_a_device_full_of_garbage: { $($test)* } }
    };
}

every_kind! {
    a_peer_sees_identity_and_geometry
    every_section_has_an_epoch_of_its_own
    what_the_owner_writes_its_peer_reads
    blocks_of_different_peers_are_different_memory
    a_challenge_reaches_the_peer_it_is_for
    a_pair_is_usable_only_once_active
    members_that_do_not_exist_are_refused
    another_size_is_refused
    another_identity_is_refused
    a_garbage_header_is_refused_whatever_it_says
    nothing_is_taken_for_inactive_pairs
    two_jobs_at_once_do_not_collide
    memory_lives_as_long_as_a_peer_sees_it
}

#[test]
fn a_file_section_leaves_nothing_behind_when_dropped() {
    let kind = File::new();
    let own = kind.create(layout(2), 0);
    assert_eq!(std::fs::read_dir(kind.directory.path()).unwrap().count(), 1);
    drop(own);
    assert_eq!(std::fs::read_dir(kind.directory.path()).unwrap().count(), 0);
    let mut own = kind.create(layout(2), 0);
    own.unlink();
    assert_eq!(std::fs::read_dir(kind.directory.path()).unwrap().count(), 0);
    own.activate(1).unwrap();
    assert!(own.fd().unwrap().as_fd().try_clone_to_owned().is_ok());
}
