//! The benchmarks: IMB-MPI1's meanings, repetition policy and text, over any layout of hosts and VMs, with the
//! machine's own limits beside every table.
//!
//! A benchmark job has two halves. The ranks (`worker`) time operations through the public communicator, as any
//! program would, and rank 0 hands out plain numbers. The parent (`campaign`) launches one fresh job for each
//! layout and run, and turns the numbers into tables and the result file. Rendering (`imb`, `text`) is pure.
//! The limits meter uses nothing of the transport. No algorithm and no shortcut of the library may live here.

mod buffers;
pub mod campaign;
pub mod campaign_file;
pub mod campaign_guests;
pub mod campaign_journal;
pub mod campaign_resume;
pub mod clocks;
pub mod export;
pub mod imb;
pub mod import;
pub mod in_job;
mod kernels;
pub mod limits;
pub mod name;
pub mod provenance;
pub mod sizes;
pub mod text;
mod usage;
pub mod worker;
