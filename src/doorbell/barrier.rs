//! A memory barrier that the sleeper executes for its senders.
//!
//! Each side of a doorbell writes first and then reads what the other wrote; a fence in between
//! keeps the processor from turning that round. A fence in the sender costs every message the time
//! until its cache line has arrived here, though hardly any message finds a sleeper. On one kernel
//! the sleeper can pay instead: `membarrier` makes every core that runs a registered process
//! execute a full barrier now (Linux 4.16, `MEMBARRIER_CMD_GLOBAL_EXPEDITED`), and sleeping is
//! expensive anyway. Between kernels it cannot, and both sides use a fence.

use std::sync::OnceLock;

/// Registers this process. True when its cores take part in barriers from now on.
pub(super) fn register() -> bool {
    static DONE: OnceLock<bool> = OnceLock::new();
    *DONE.get_or_init(|| call(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED))
}

/// A full barrier on every core that runs a registered process.
pub(super) fn everywhere() -> bool {
    call(libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED)
}

fn call(command: libc::c_int) -> bool {
    // SAFETY: membarrier takes three integers and touches no memory of ours.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) };
    result == 0
}
