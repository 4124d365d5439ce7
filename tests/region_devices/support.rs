//! A region in a file, and machines played by mappings of their own of it.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use cohost::region::device::{Device, DeviceError, LeaseTime, Wanted};
use cohost::region::{Geometry, Identity, dax};

pub const BYTES: u64 = 1 << 20;

/// Small rings, and leases long enough for a machine under load.
pub fn wanted(slots: u32) -> Wanted {
    Wanted {
        slots: Some(slots),
        geometry: Geometry::MIN,
        lease: LeaseTime::at_least(Duration::from_millis(1000)),
    }
}

pub struct File {
    pub directory: tempfile::TempDir,
}

impl File {
    pub fn filled(byte: u8) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("region"), vec![byte; BYTES as usize]).unwrap();
        Self { directory }
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("region")
    }

    /// The device as one more machine has it.
    pub fn attach(&self, wanted: &Wanted) -> Result<Device, DeviceError> {
        attach(&self.path(), wanted)
    }
}

pub fn attach(path: &Path, wanted: &Wanted) -> Result<Device, DeviceError> {
    Device::open(dax::open(path)?, wanted)
}

pub fn identity(device: &Device, said: &str) -> Identity {
    let (slot, epoch) = said.split_once(' ').unwrap();
    Identity {
        layout: device.section_layout(),
        index: slot.parse().unwrap(),
        epoch: epoch.parse().unwrap(),
    }
}

/// Starts the test `name` of this file in a process of its own.
pub fn child(name: &str, path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env("COHOST_TEST_REGION", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The next line of a child that holds `key`, from behind it.
pub fn said(from: &mut impl BufRead, key: &str) -> String {
    let mut line = String::new();
    while from.read_line(&mut line).unwrap() > 0 {
        if let Some((_, rest)) = line.split_once(key) {
            return rest.trim().to_owned();
        }
        line.clear();
    }
    panic!("the child ended before it said {key}");
}

/// What is asked of a child, when this process is one.
pub fn region_of_parent() -> Option<PathBuf> {
    std::env::var_os("COHOST_TEST_REGION").map(PathBuf::from)
}
