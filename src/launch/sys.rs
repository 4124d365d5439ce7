//! Thin safe wrappers over the system calls of the launcher.
//!
//! Everything here is one system call and no allocation, so that [`super::keeper`] may use it after
//! `fork`. What does allocate says so.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use libc::{c_char, c_int, pid_t};

/// Turns the `-1` convention into an [`io::Error`].
fn check(value: c_int) -> io::Result<c_int> {
    if value < 0 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

/// A pipe, read end first; both ends close on exec.
pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: `ends` has room for the two descriptors pipe2 writes.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
    Ok((own(ends[0]), own(ends[1])))
}

/// A pair of connected stream sockets; both close on exec.
pub(super) fn socketpair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: `ends` has room for the two descriptors socketpair writes.
    check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) })?;
    Ok((own(ends[0]), own(ends[1])))
}

/// Takes ownership of a descriptor the kernel has just handed out.
fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: only called with a descriptor returned by a system call that succeeded, owned by nobody else.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Adopts a descriptor inherited through the environment, after checking that it is open.
pub(super) fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD reads a flag; a bad descriptor is reported as EBADF.
    check(unsafe { libc::fcntl(fd, libc::F_GETFD) })?;
    Ok(own(fd))
}

/// A copy of `fd` that closes on exec, numbered 4 or higher.
pub(super) fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC touches no memory; a bad descriptor is reported as EBADF.
    check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 4) }).map(own)
}

/// Sets or clears the close-on-exec flag.
pub(super) fn set_cloexec(fd: RawFd, on: bool) -> io::Result<()> {
    let flag = if on { libc::FD_CLOEXEC } else { 0 };
    // SAFETY: F_SETFD touches no memory.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, flag) }).map(drop)
}

/// Makes reads and writes on `fd` return at once.
pub(super) fn set_nonblocking(fd: RawFd) -> io::Result<()> {
    // SAFETY: F_GETFL touches no memory.
    let flags = check(unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
    // SAFETY: F_SETFL touches no memory.
    check(unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) }).map(drop)
}

/// Reads once, again after a signal.
pub(super) fn read(fd: RawFd, into: &mut [u8]) -> io::Result<usize> {
    loop {
        // SAFETY: the pointer and length are those of a live, writable slice.
        let got = unsafe { libc::read(fd, into.as_mut_ptr().cast(), into.len()) };
        match usize::try_from(got) {
            Ok(got) => return Ok(got),
            Err(_) => retry_if_interrupted()?,
        }
    }
}

/// Writes once, again after a signal; may write less than everything.
pub(super) fn write(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    loop {
        // SAFETY: the pointer and length are those of a live slice.
        let put = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
        match usize::try_from(put) {
            Ok(put) => return Ok(put),
            Err(_) => retry_if_interrupted()?,
        }
    }
}

/// Sends once on a socket without ever raising SIGPIPE (a C program has not ignored it).
pub(super) fn send(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    loop {
        // SAFETY: the pointer and length are those of a live slice.
        let put = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
        match usize::try_from(put) {
            Ok(put) => return Ok(put),
            Err(_) => retry_if_interrupted()?,
        }
    }
}

/// `Ok` when the last call was only interrupted by a signal.
fn retry_if_interrupted() -> io::Result<()> {
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::EINTR) { Ok(()) } else { Err(error) }
}

/// What to wait for on one descriptor.
pub(super) fn interest(fd: RawFd, events: i16) -> libc::pollfd {
    libc::pollfd { fd, events, revents: 0 }
}

/// Waits for events or for `timeout_ms` (negative: for ever). A signal counts as no event.
pub(super) fn poll(fds: &mut [libc::pollfd], timeout_ms: i32) -> io::Result<()> {
    let count = fds.len() as libc::nfds_t;
    // SAFETY: the pointer and count are those of a live, writable slice.
    match check(unsafe { libc::poll(fds.as_mut_ptr(), count, timeout_ms) }) {
        Ok(_) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EINTR) => {
            fds.iter_mut().for_each(|fd| fd.revents = 0);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Sends a signal; a negative `pid` names a process group.
pub(super) fn kill(pid: pid_t, signal: c_int) -> io::Result<()> {
    // SAFETY: kill touches no memory.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Collects a dead child: its id and wait status; `None` when `WNOHANG` found none.
pub(super) fn wait(pid: pid_t, flags: c_int) -> io::Result<Option<(pid_t, c_int)>> {
    loop {
        let mut status = 0;
        // SAFETY: `status` is a live, writable int.
        let got = unsafe { libc::waitpid(pid, &raw mut status, flags) };
        match got {
            0 => return Ok(None),
            got if got > 0 => return Ok(Some((got, status))),
            _ => retry_if_interrupted()?,
        }
    }
}

/// A set of the given signals.
fn signal_set(signals: &[c_int]) -> libc::sigset_t {
    let mut set = empty_signal_set();
    for &signal in signals {
        // SAFETY: `set` is an initialized signal set; a bad number is refused with EINVAL.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    set
}

fn empty_signal_set() -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initializes the set it is given.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: initialized by the line above.
    unsafe { set.assume_init() }
}

/// Blocks `signals` in the calling thread, also returning the mask that was set before.
pub(super) fn block_signals(signals: &[c_int]) -> io::Result<libc::sigset_t> {
    let set = signal_set(signals);
    let mut old = empty_signal_set();
    // SAFETY: both sets are live and initialized.
    match unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, &raw mut old) } {
        0 => Ok(old),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// Blocks every signal that can be blocked.
pub(super) fn block_all_signals() {
    let mut set = empty_signal_set();
    // SAFETY: `set` is live and writable.
    unsafe { libc::sigfillset(&raw mut set) };
    // SAFETY: `set` is initialized and the old mask is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) };
}

/// Replaces the calling thread's signal mask.
pub(super) fn set_signal_mask(mask: &libc::sigset_t) {
    // SAFETY: `mask` is an initialized set and the old mask is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask, std::ptr::null_mut()) };
}

/// Gives a signal its default action.
pub(super) fn default_action(signal: c_int) {
    // SAFETY: SIG_DFL installs no handler of ours.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Whether this process was started with `signal` ignored, as `nohup` and shells do it.
pub(super) fn is_ignored(signal: c_int) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: no action is given, and `action` is writable for the one that holds now.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: the call above succeeded and has filled it in.
    asked == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// A descriptor that becomes readable when one of `signals` (blocked already) is pending.
pub(super) fn signal_descriptor(signals: &[c_int]) -> io::Result<OwnedFd> {
    let set = signal_set(signals);
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: `set` is an initialized set.
    check(unsafe { libc::signalfd(-1, &raw const set, flags) }).map(own)
}

/// The number of the next pending signal of a [`signal_descriptor`].
pub(super) fn next_signal(fd: RawFd) -> Option<c_int> {
    let mut record = [0u8; size_of::<libc::signalfd_siginfo>()];
    let got = read(fd, &mut record).ok()?;
    // `ssi_signo` is the first field of the record.
    let number = record.first_chunk::<4>().filter(|_| got == record.len())?;
    c_int::try_from(u32::from_ne_bytes(*number)).ok()
}

/// Soft and hard limit of a resource.
pub(super) fn limit(resource: libc::__rlimit_resource_t) -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a live, writable struct of the expected type.
    check(unsafe { libc::getrlimit(resource, &raw mut limit) })?;
    Ok(limit)
}

/// Sets both limits of a resource.
pub(super) fn set_limit(
    resource: libc::__rlimit_resource_t,
    limit: &libc::rlimit,
) -> io::Result<()> {
    // SAFETY: `limit` is a live struct of the expected type.
    check(unsafe { libc::setrlimit(resource, limit) }).map(drop)
}

/// Closes the descriptors from `first` to `last`, both included.
pub(super) fn close_range(first: RawFd, last: RawFd) {
    let (low, high) = (first.max(0) as libc::c_uint, last.max(0) as libc::c_uint);
    // SAFETY: closing descriptors touches no memory; the caller uses none of them afterwards.
    let done = unsafe { libc::syscall(libc::SYS_close_range, low, high, 0) };
    if done < 0 {
        // Before Linux 5.9: one by one, as far as descriptors can reach.
        for fd in first..=last.min(1 << 16) {
            close(fd);
        }
    }
}

/// Closes a descriptor that no `OwnedFd` of this process will use again.
pub(super) fn close(fd: RawFd) {
    // SAFETY: closing touches no memory; see the contract above.
    unsafe { libc::close(fd) };
}

/// Makes `to` a copy of `from`.
pub(super) fn dup2(from: RawFd, to: RawFd) -> io::Result<()> {
    // SAFETY: dup2 touches no memory.
    check(unsafe { libc::dup2(from, to) }).map(drop)
}

/// Opens an existing file for reading; `path` ends with NUL.
pub(super) fn open_read(path: &std::ffi::CStr) -> io::Result<RawFd> {
    // SAFETY: `path` is a live C string.
    check(unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) })
}

/// Adopts the orphaned descendants of this process.
pub(super) fn become_subreaper() {
    // SAFETY: sets a flag of the process; touches no memory.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
}

/// Names this process in `ps`.
pub(super) fn set_name(name: &std::ffi::CStr) {
    // SAFETY: `name` is a live C string; the kernel copies at most 16 bytes.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Asks for `signal` when the parent dies.
pub(super) fn signal_on_parent_death(signal: c_int) {
    // SAFETY: sets a flag of the process; touches no memory.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal, 0, 0, 0) };
}

/// Makes the calling process the leader of a new process group.
pub(super) fn lead_process_group(pid: pid_t) -> io::Result<()> {
    // SAFETY: touches no memory.
    check(unsafe { libc::setpgid(pid, pid) }).map(drop)
}

/// This process.
pub(super) fn process_id() -> pid_t {
    // SAFETY: cannot fail and touches no memory.
    unsafe { libc::getpid() }
}

/// The parent of this process.
pub(super) fn parent_id() -> pid_t {
    // SAFETY: cannot fail and touches no memory.
    unsafe { libc::getppid() }
}

/// Is the caller's effective user root?
pub(super) fn is_root() -> bool {
    // SAFETY: cannot fail and touches no memory.
    unsafe { libc::geteuid() == 0 }
}

/// Is `fd` a terminal whose foreground process group is ours?
pub(super) fn is_foreground(fd: RawFd) -> bool {
    // SAFETY: touches no memory; not a terminal gives -1.
    let foreground = unsafe { libc::tcgetpgrp(fd) };
    // SAFETY: cannot fail and touches no memory.
    foreground == unsafe { libc::getpgrp() }
}

/// Moves the calling thread into the network namespace of `fd`.
pub(super) fn enter_network(fd: RawFd) -> io::Result<()> {
    // SAFETY: touches no memory.
    check(unsafe { libc::setns(fd, libc::CLONE_NEWNET) }).map(drop)
}

/// Lets a command start in the network namespace of `fd`. Allocates.
pub(super) fn start_in_network(command: &mut std::process::Command, fd: RawFd) {
    use std::os::unix::process::CommandExt;
    // SAFETY: between fork and exec this makes one system call and allocates nothing.
    unsafe { command.pre_exec(move || enter_network(fd)) };
}

/// Moves the calling thread into a new, empty network namespace.
pub(super) fn new_network() -> io::Result<()> {
    // SAFETY: touches no memory.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) }).map(drop)
}

/// Splits the process in two: 0 in the child. The child may only call what allocates nothing.
pub(super) fn fork() -> io::Result<pid_t> {
    // SAFETY: the callers' child branches make system calls on prepared data only and never return.
    check(unsafe { libc::fork() })
}

/// Ends the process at once, without running destructors.
pub(super) fn exit_now(code: c_int) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Makes `path` the working directory of this process.
pub(super) fn change_directory(path: &std::ffi::CStr) -> io::Result<()> {
    // SAFETY: `path` is a live C string.
    check(unsafe { libc::chdir(path.as_ptr()) }).map(drop)
}

/// Replaces the program of this process; returns only the error. The arrays end with a null pointer.
pub(super) fn execute(
    path: &std::ffi::CStr,
    arguments: &[*const c_char],
    environment: &[*const c_char],
) -> io::Error {
    debug_assert!(arguments.last().is_some_and(|end| end.is_null()));
    debug_assert!(environment.last().is_some_and(|end| end.is_null()));
    // SAFETY: `path` is a C string, both arrays are null-terminated arrays of live C strings
    // (`keeper::Strings` guarantees it).
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Sleeps for about `ms` milliseconds (less than 1000) without allocating.
pub(super) fn nap(ms: u32) {
    // Waiting on no descriptor is a sleep.
    let _ = poll(&mut [], ms.min(999) as i32);
}

/// Text of a signal number, such as `SIGKILL`. Allocates for unknown numbers only.
pub(super) fn signal_name(signal: c_int) -> String {
    let name = match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGSYS => "SIGSYS",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

/// The raw number of an owned descriptor, or -1 (which `poll` skips).
pub(super) fn raw(fd: Option<&OwnedFd>) -> RawFd {
    fd.map_or(-1, AsRawFd::as_raw_fd)
}
