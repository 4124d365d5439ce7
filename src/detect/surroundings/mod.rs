//! What lies within reach of this process, beside the hypervisor: memory that could become a
//! region, interfaces, clock, processors, stolen time. It may read files and ask the system;
//! it decides nothing, opens no device and keeps nothing open.

mod interfaces;
mod machine;
mod regions;

use std::path::Path;

use serde::Serialize;

pub use interfaces::{Address, Interface, InterfaceKind};
pub use machine::{Clock, Machine, Steal};
pub use regions::{RegionHint, RegionKind};

use super::root::Root;

/// The surroundings of this process at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Surroundings {
    /// Kernel, boot, processors.
    pub machine: Machine,
    /// Clock sources of the kernel.
    pub clock: Clock,
    /// Time taken away by the hypervisor since boot; none when not readable.
    pub steal: Option<Steal>,
    /// Memory that could be shared with other machines or processes.
    pub regions: Vec<RegionHint>,
    /// Network interfaces, by name.
    pub interfaces: Vec<Interface>,
}

impl Surroundings {
    /// Looks around on this machine.
    pub fn look() -> Surroundings {
        Surroundings::look_from(Path::new("/"))
    }

    /// Looks around in a directory that stands for `/`. For any other than `/` itself, what only
    /// system calls can say (addresses, free bytes, affinity) is left out.
    pub fn look_from(root: &Path) -> Surroundings {
        let root = Root::new(root);
        Surroundings {
            machine: machine::look(&root),
            clock: machine::clock(&root),
            steal: machine::steal(&root),
            regions: regions::look(&root),
            interfaces: interfaces::look(&root),
        }
    }
}
