//! What a guest boots from: kernels taken out of packages, modules in the order of their
//! dependencies, and a small initramfs with busybox, the static program and an init of our own.
//! It may use files and the tools that unpack them; it knows nothing of running guests.

pub mod cpio;
pub mod dom0;
pub mod initramfs;
pub mod kernel;
pub mod modules;
