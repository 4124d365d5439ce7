//! Communicators and what they can do.

mod types;
use crate::mpi::Error as E;
pub use types::{Op, Path, PathInfo, Source, Status, Tag};

/// Error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Stub
    #[error("not landed yet")]
    Stub,
}

/// Types that reductions work on.
pub trait Reducible: Copy {}
impl Reducible for f64 {}
impl Reducible for f32 {}
impl Reducible for i32 {}
impl Reducible for i64 {}
impl Reducible for u8 {}
impl Reducible for u32 {}
impl Reducible for u64 {}

/// A rank's membership in a running job.
pub struct Job {
    world: Communicator,
}
/// Joins the job.
pub fn init() -> Result<Job, E> {
    Err(E::Stub)
}
impl Job {
    /// All ranks.
    pub fn world(&self) -> &Communicator {
        &self.world
    }
    /// Ends.
    pub fn finalize(self) -> Result<(), E> {
        Ok(())
    }
}
/// Communicator.
pub struct Communicator {}
/// Nonblocking.
pub struct Scope<'s> {
    x: &'s (),
}
/// Handle.
pub struct Request<'s> {
    x: &'s (),
}
#[allow(unused_variables, missing_docs)]
impl<'s> Scope<'s> {
    pub fn isend(&self, buf: &'s [u8], dest: u32, tag: i32) -> Result<Request<'s>, E> {
        Err(E::Stub)
    }
    pub fn irecv(
        &self,
        buf: &'s mut [u8],
        source: impl Into<Source>,
        tag: impl Into<Tag>,
    ) -> Result<Request<'s>, E> {
        Err(E::Stub)
    }
    pub fn wait(&self, request: Request<'s>) -> Result<Status, E> {
        Err(E::Stub)
    }
}
#[allow(unused_variables, missing_docs)]
impl Communicator {
    pub fn rank(&self) -> u32 {
        0
    }
    pub fn size(&self) -> u32 {
        0
    }
    pub fn send(&self, buf: &[u8], dest: u32, tag: i32) -> Result<(), E> {
        Err(E::Stub)
    }
    pub fn recv(
        &self,
        buf: &mut [u8],
        source: impl Into<Source>,
        tag: impl Into<Tag>,
    ) -> Result<Status, E> {
        Err(E::Stub)
    }
    pub fn sendrecv(
        &self,
        send: &[u8],
        dest: u32,
        stag: i32,
        recv: &mut [u8],
        source: impl Into<Source>,
        rtag: impl Into<Tag>,
    ) -> Result<Status, E> {
        Err(E::Stub)
    }
    pub fn probe(&self, source: impl Into<Source>, tag: impl Into<Tag>) -> Result<Status, E> {
        Err(E::Stub)
    }
    pub fn iprobe(
        &self,
        source: impl Into<Source>,
        tag: impl Into<Tag>,
    ) -> Result<Option<Status>, E> {
        Err(E::Stub)
    }
    /// All requests begun in it are complete when it returns.
    pub fn scope<'s, T>(&'s self, f: impl FnOnce(&Scope<'s>) -> Result<T, E>) -> Result<T, E> {
        Err(E::Stub)
    }
    pub fn barrier(&self) -> Result<(), E> {
        Err(E::Stub)
    }
    pub fn bcast(&self, buf: &mut [u8], root: u32) -> Result<(), E> {
        Err(E::Stub)
    }
    pub fn gather(&self, send: &[u8], recv: &mut [u8], root: u32) -> Result<(), E> {
        Err(E::Stub)
    }
    pub fn gatherv(
        &self,
        send: &[u8],
        recv: &mut [u8],
        counts: &[usize],
        displs: &[usize],
        root: u32,
    ) -> Result<(), E> {
        Err(E::Stub)
    }
    pub fn scatter(&self, send: &[u8], recv: &mut [u8], root: u32) -> Result<(), E> {
        Err(E::Stub)
    }
    pub fn scatterv(
        &self,
        send: &[u8],
        counts: &[usize],
        displs: &[usize],
        recv: &mut [u8],
        root: u32,
    ) -> Result<(), E> {
        Err(E::Stub)
    }
    pub fn allgather(&self, send: &[u8], recv: &mut [u8]) -> Result<(), E> {
        Err(E::Stub)
    }
    pub fn allgatherv(
        &self,
        send: &[u8],
        recv: &mut [u8],
        counts: &[usize],
        displs: &[usize],
    ) -> Result<(), E> {
        Err(E::Stub)
    }
    pub fn alltoall(&self, send: &[u8], recv: &mut [u8]) -> Result<(), E> {
        Err(E::Stub)
    }
    #[allow(clippy::too_many_arguments)]
    pub fn alltoallv(
        &self,
        send: &[u8],
        scounts: &[usize],
        sdispls: &[usize],
        recv: &mut [u8],
        rcounts: &[usize],
        rdispls: &[usize],
    ) -> Result<(), E> {
        Err(E::Stub)
    }
    pub fn reduce<T: Reducible>(
        &self,
        send: &[T],
        recv: &mut [T],
        op: Op,
        root: u32,
    ) -> Result<(), E> {
        Err(E::Stub)
    }
    pub fn allreduce<T: Reducible>(&self, send: &[T], recv: &mut [T], op: Op) -> Result<(), E> {
        Err(E::Stub)
    }
    pub fn reduce_scatter<T: Reducible>(
        &self,
        send: &[T],
        recv: &mut [T],
        counts: &[usize],
        op: Op,
    ) -> Result<(), E> {
        Err(E::Stub)
    }
    pub fn scan<T: Reducible>(&self, send: &[T], recv: &mut [T], op: Op) -> Result<(), E> {
        Err(E::Stub)
    }
    pub fn peer_paths(&self) -> Vec<PathInfo> {
        Vec::new()
    }
}
