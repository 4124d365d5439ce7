//! Devices that several machines share: who gets which slot, what a device full of garbage, of
//! another version or of another user does, and what happens when an owner dies.
//!
//! A machine is played by a mapping of its own of one file, in this process or another.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "region_devices/hostile.rs"]
mod hostile;
#[path = "region_devices/slots.rs"]
mod slots;
#[path = "region_devices/support.rs"]
mod support;
