//! Machines and their devices.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cohost::config::{Config, RegionChoice};
use cohost::launch::in_process;
use cohost::link::select::PathPolicy;
use cohost::region::device::{Device, LeaseTime, Wanted};
use cohost::region::{Geometry, dax};
use cohost::{Communicator, Error, Job};

/// Bytes of most devices here: 8 slots with rings of 64 cells and 16 KiB.
pub const BYTES: u64 = 4 << 20;
/// Small rings, so that they are full now and then.
pub const GEOMETRY: Geometry = Geometry { cells: 64, bulk: 16 << 10 };

/// Short, since a test may have to wait for it; a living owner moves 32 times as often.
pub fn lease() -> LeaseTime {
    LeaseTime::at_least(Duration::from_millis(1000))
}

/// What ranks want of a device.
pub fn wanted() -> Wanted {
    Wanted { geometry: GEOMETRY, lease: lease(), ..Wanted::default() }
}

/// A directory with devices in it.
pub struct Shelf(tempfile::TempDir);

impl Shelf {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A device of `bytes` zeros.
    pub fn device(&self, name: &str, bytes: u64) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::File::create(&path).unwrap().set_len(bytes).unwrap();
        path
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// The device as one more machine has it.
pub fn attach(path: &Path) -> Device {
    Device::open(dax::open(path).unwrap(), &wanted()).unwrap()
}

/// The settings of a rank on machine `boot` with this device.
pub fn on_machine(boot: u32, device: &Path) -> Config {
    let mut config = Config {
        path: PathPolicy::Auto,
        boot: Some(format!("{boot:032x}")),
        region: RegionChoice::Named(device.to_owned()),
        geometry: GEOMETRY,
        lease: lease(),
        ..Config::default()
    };
    config.net.bind = cohost::net::BindPolicy::LoopbackOnly;
    config
}

/// Runs `body` in `n` ranks with these settings.
pub fn run(
    n: u32,
    config: impl Fn(u32) -> Config + Sync,
    body: impl Fn(&Communicator) -> Result<(), Error> + Sync,
) {
    std::thread::scope(|threads| {
        for start in in_process(n) {
            let (config, body) = (&config, &body);
            threads.spawn(move || {
                let rank = start.rank;
                let outcome = Job::connect(start, config(rank)).and_then(|job| {
                    body(job.world())?;
                    job.finalize()
                });
                outcome.unwrap_or_else(|error| panic!("rank {rank}: {error}"));
            });
        }
    });
}

pub fn pattern(len: usize, seed: u32) -> Vec<u8> {
    let byte = |i: u32| (i.wrapping_mul(2_654_435_761).wrapping_add(seed * 97) >> 13) as u8;
    (0..len as u32).map(byte).collect()
}

/// Path and reason of the way to a peer; "none" while it changes.
pub fn way(world: &Communicator, peer: u32) -> (&'static str, String) {
    let paths = world.peer_paths();
    let info = paths.iter().find(|info| info.peer == peer);
    info.map_or(("none", String::new()), |info| (info.path.as_str(), info.reason.clone()))
}

pub const SIZES: [usize; 12] =
    [0, 1, 8, 48, 49, 1000, 2049, 8193, 16_384, 65_536, 300_001, 2 << 20];

/// Messages of all sizes between ranks 0 and 1, there and back.
pub fn pingpong(world: &Communicator) -> Result<(), Error> {
    for (round, len) in SIZES.into_iter().enumerate() {
        let (there, back) = (pattern(len, round as u32), pattern(len, 1000 + round as u32));
        let mut got = vec![0; len];
        match world.rank() {
            0 => {
                world.send(&there, 1, 7)?;
                world.recv(&mut got, 1, 7)?;
                assert!(got == back, "{len} bytes came back wrong");
            }
            1 => {
                assert_eq!(world.recv(&mut got, 0, 7)?.len, len);
                assert!(got == there, "{len} bytes arrived wrong");
                world.send(&back, 0, 7)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Everybody talks to everybody, and checks every byte.
pub fn everything(world: &Communicator) -> Result<(), Error> {
    let (me, size) = (world.rank() as usize, world.size() as usize);
    for block in [0, 8, 100, 5000, 70_000] {
        let part = |from: usize, to: usize| pattern(block, (from * 64 + to) as u32);
        let send: Vec<u8> = (0..size).flat_map(|to| part(me, to)).collect();
        let mut recv = vec![0; send.len()];
        world.alltoall(&send, &mut recv)?;
        let expected: Vec<u8> = (0..size).flat_map(|from| part(from, me)).collect();
        assert!(recv == expected, "alltoall of {block} bytes");
        let mut buf = if me == 0 { part(9, 9) } else { vec![0; block] };
        world.bcast(&mut buf, 0)?;
        assert!(buf == part(9, 9), "bcast of {block} bytes");
        let values: Vec<f64> = (0..block).map(|i| (i + me) as f64).collect();
        let mut sum = vec![0.0; block];
        world.allreduce(&values, &mut sum, cohost::mpi::Op::Sum)?;
        let ranks: usize = (0..size).sum();
        let right = sum.iter().enumerate().all(|(i, s)| *s == (i * size + ranks) as f64);
        assert!(right, "allreduce of {block} elements");
        world.barrier()?;
    }
    Ok(())
}
