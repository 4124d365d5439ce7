//! Where am I running: the hypervisor, the container, and what lies within reach.
//!
//! The room has three parts that never mix. [`Evidence`] is gathered into a plain struct by
//! [`Evidence::gather`], with bounded reads that cannot fail: what is missing or forbidden is
//! recorded as such. [`verdict`] is a pure function over that struct, so every hypervisor ever
//! captured can be judged again in a test. [`Surroundings`] describes the rest: shared memory
//! that could become a region, network interfaces, clock source, stolen time.
//!
//! It may use the standard library, libc and serde, and knows no other module of this crate.
//! What must never reach it: a decision about paths. Names, identifiers and vendor strings can
//! be copied and forged, so a verdict is a label in a result file and a hint whom to try; that
//! two ranks share a host is proved by the live challenge of `link`.

mod acpi;
mod container;
mod cpuid;
mod dmi;
mod evidence;
mod gather;
mod kinds;
mod root;
pub mod surroundings;
mod verdict;
mod witness;
mod xen;

pub use cpuid::{Cpuid, HypervisorLeaf};
pub use evidence::{
    ContainerMarks, DeviceTree, Dmi, Evidence, HypervisorFiles, Namespaces, PciId, ProcFiles,
    Reading, XenFiles,
};
pub use kinds::{Container, Hypervisor, VmwareProduct, XenGuest};
pub use root::READ_BYTES_MAX;
pub use surroundings::Surroundings;
pub use verdict::{Verdict, verdict};
