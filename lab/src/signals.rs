//! Ctrl-C and its like take every lab of this process down before they end it.

use std::sync::Once;

/// From now on SIGINT, SIGTERM and SIGHUP remove all runs of this process and end it with exit
/// code 128 and the signal; one that this process was started to ignore, as under `nohup`, stays ignored.
/// To be called by a program's first thread before it makes others: the
/// signals are blocked in this thread and those it makes, and waited for by one of them.
pub fn take_down_on_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let signals = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];
        let set = block(signals.into_iter().filter(|&signal| !is_ignored(signal)));
        std::thread::spawn(move || {
            let signal = wait(&set);
            // A second Ctrl-C, while the first is being obeyed, ends it at once: leftovers are
            // then removed by the next lab.
            std::thread::spawn(move || {
                let signal = wait(&set);
                std::process::exit(128 + signal);
            });
            crate::take_down_all();
            std::process::exit(128 + signal);
        });
    });
}

fn is_ignored(signal: libc::c_int) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: no action is given, and `action` is writable for the one that holds now.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: the call above succeeded and has filled it in.
    asked == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

fn block(signals: impl Iterator<Item = libc::c_int>) -> libc::sigset_t {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `set` is valid for writes of a signal set, which this call initializes.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: initialized above.
    let mut set = unsafe { set.assume_init() };
    for signal in signals {
        // SAFETY: `set` is an initialized signal set.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    // SAFETY: `set` is initialized and outlives the call; the old set is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    set
}

fn wait(set: &libc::sigset_t) -> libc::c_int {
    let mut signal = 0;
    // SAFETY: both point to valid values of their types for the length of the call.
    unsafe { libc::sigwait(set, &raw mut signal) };
    signal
}
