//! Shared memory that several machines of a host can map, divided into sections with one writer each.

pub mod access;
