//! Processes that other processes started (MPI 5.0, 11.8): there are none.

use cohost::mpi::failure::Outcome;

use crate::args::Handle;
use crate::constants::MPI_COMM_NULL;

/// Every process was started by the launcher.
pub(crate) unsafe fn comm_get_parent(parent: *mut Handle) -> Outcome<()> {
    // SAFETY: the application gives an address to write to.
    unsafe { *parent = MPI_COMM_NULL };
    Ok(())
}
