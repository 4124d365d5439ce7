//! Small tools of these tests: jobs as threads and as processes, both with a deadline.

use std::io::Write;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use cohost::config::Config;
use cohost::launch::{Bootstrap, in_process};
use cohost::link::select::PathPolicy;
use cohost::net::BindPolicy;
use cohost::{Communicator, Job};

/// Longest wait for something that must happen; far above what it takes, on a loaded machine too.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// In the environment of all processes of one test's job, to find them again.
const MARK: &str = "COHOST_TEST_MARK";

/// Variables of an outer launcher or of the caller, which a job under test must not see.
const FOREIGN: [&str; 9] = [
    "PMI_FD",
    "PMI_PORT",
    "PMI_RANK",
    "PMI_SIZE",
    "COHOST_LAYOUT",
    "COHOST_PATH",
    "COHOST_HOST",
    "COHOST_VM",
    "COHOST_SHM_DIR",
];

/// A command that knows nothing of the surroundings and has no input.
pub fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    FOREIGN.iter().for_each(|name| {
        command.env_remove(name);
    });
    command.args(args).stdin(Stdio::null());
    command
}

/// The `cohost` command.
pub fn cohost(args: &[&str]) -> Command {
    command(env!("CARGO_BIN_EXE_cohost"), args)
}

/// This test program as the program of a rank: it runs one of its ignored tests.
pub fn as_rank(test: &str) -> Vec<String> {
    let program = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    let options = ["--ignored", "--exact", test, "--nocapture", "--test-threads=1"];
    std::iter::once(program).chain(options.map(str::to_owned)).collect()
}

/// `cohost run OPTIONS -- TEST`, where the test is one of the ignored ones here.
pub fn run_rank(options: &[&str], test: &str) -> Command {
    let rank = as_rank(test);
    let mut all = vec!["run"];
    all.extend(options);
    all.push("--");
    all.extend(rank.iter().map(String::as_str));
    cohost(&all)
}

/// A started command, whose processes can be found and whose end is awaited.
pub struct Started {
    pub child: Child,
    mark: String,
}

/// Starts a command, marked.
pub fn start(command: &mut Command) -> Started {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let mark = format!("{}-{count}-{:?}", std::process::id(), Instant::now());
    let child = command.env(MARK, &mark).stdout(Stdio::piped()).stderr(Stdio::piped());
    Started { child: child.spawn().unwrap(), mark }
}

impl Started {
    /// The end of it. A command that hangs is killed and fails the test; one that leaves a process
    /// behind fails it too.
    #[track_caller]
    pub fn finish(self) -> Output {
        let pid = self.child.id();
        let (done, ended) = mpsc::channel();
        std::thread::spawn(move || done.send(self.child.wait_with_output()));
        let Ok(output) = ended.recv_timeout(PATIENCE) else {
            signal(pid, libc::SIGKILL);
            panic!("it did not end");
        };
        expect_gone(&self.mark);
        output.unwrap()
    }

    /// The first rank found that is running a program, with its process: `(rank, pid)`.
    pub fn ranks(&self) -> Vec<(u32, u32)> {
        let rank = |pid: u32| variable(pid, "PMI_RANK")?.parse().ok();
        marked(&self.mark).into_iter().filter_map(|pid| Some((rank(pid)?, pid))).collect()
    }

    /// Waits until all `count` ranks run; `None` when the command has ended before.
    pub fn await_ranks(&mut self, count: usize) -> Option<Vec<(u32, u32)>> {
        let start = Instant::now();
        loop {
            let ranks = self.ranks();
            if ranks.len() == count {
                return Some(ranks);
            }
            if self.child.try_wait().unwrap().is_some() {
                return None;
            }
            assert!(start.elapsed() < PATIENCE, "the ranks did not start");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Kills the command itself and expects everything to be gone.
    #[track_caller]
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        expect_gone(&self.mark);
    }
}

/// Runs a command to its end, within a bound.
#[track_caller]
pub fn run(command: &mut Command) -> Output {
    start(command).finish()
}

/// Standard output of a command that succeeds.
#[track_caller]
pub fn stdout_of(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{}\n{}", said(&output), output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Everything that was said.
pub fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// The processes that carry this mark.
fn marked(mark: &str) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| variable(pid, MARK).as_deref() == Some(mark)).collect()
}

/// A variable in the environment of another process.
fn variable(pid: u32, name: &str) -> Option<String> {
    let all = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let line = all.split(|&byte| byte == 0).map(String::from_utf8_lossy);
    line.into_iter().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
}

#[track_caller]
fn expect_gone(mark: &str) {
    eventually("every process of the job is gone", || marked(mark).is_empty());
}

/// Waits until `condition` holds.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn signal(pid: u32, signal: i32) {
    // SAFETY: kill takes numbers only; a process that is gone is no error here.
    unsafe { libc::kill(pid.cast_signed(), signal) };
}

/// Says by name that a test could not run; past the capture of the test harness.
pub fn skipped(name: &str, remedy: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {remedy}");
}

/// Settings of a rank that is a thread: loopback only, on a host of the layout.
pub fn config(path: PathPolicy, host: u32) -> Config {
    let mut config = Config { path, host: Some(host), ..Config::default() };
    config.net.bind = BindPolicy::LoopbackOnly;
    config
}

/// Runs a job of `n` ranks as threads and returns what each found, by rank. A rank that hangs or
/// panics fails the test.
#[track_caller]
pub fn threads<T: Send + 'static>(
    n: u32,
    config: impl Fn(u32) -> Config,
    body: impl Fn(Job) -> T + Send + Sync + 'static,
) -> Vec<T> {
    threads_of(in_process(n), config, body)
}

/// As [`threads`], for these ranks.
#[track_caller]
pub fn threads_of<T: Send + 'static>(
    starts: Vec<Bootstrap>,
    config: impl Fn(u32) -> Config,
    body: impl Fn(Job) -> T + Send + Sync + 'static,
) -> Vec<T> {
    let (body, n) = (Arc::new(body), starts.len());
    let (done, ends) = mpsc::channel();
    for start in starts {
        let (body, done, rank) = (Arc::clone(&body), done.clone(), start.rank);
        let config = config(rank);
        std::thread::spawn(move || {
            let found = body(Job::connect(start, config).unwrap());
            done.send((rank, found))
        });
    }
    drop(done);
    let deadline = Instant::now() + PATIENCE;
    let mut found: Vec<(u32, T)> = Vec::new();
    while found.len() < n {
        match ends.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(end) => found.push(end),
            Err(why) => {
                let ended: Vec<u32> = found.iter().map(|(rank, _)| *rank).collect();
                panic!("{why}: only ranks {ended:?} of {n} ended well");
            }
        }
    }
    found.sort_by_key(|(rank, _)| *rank);
    found.into_iter().map(|(_, found)| found).collect()
}

/// Bytes that are easy to know again.
pub fn pattern(len: usize, seed: u32) -> Vec<u8> {
    let mixed = |i: u32| i.wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(97)) >> 13;
    (0..len as u32).map(|i| mixed(i) as u8).collect()
}

/// The path to a peer, and why.
pub fn path_to(world: &Communicator, peer: u32) -> (String, String) {
    let paths = world.peer_paths();
    let info = paths.iter().find(|info| info.peer == peer).unwrap();
    (info.path.as_str().to_owned(), info.reason.clone())
}

/// Numbers that differ from run to run; the seed is printed, so that a failure can be repeated.
pub struct Random(u64);

impl Random {
    pub fn new(test: &str) -> Self {
        let given = std::env::var("COHOST_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| getrandom::u64().unwrap());
        println!("{test}: repeat with COHOST_TEST_SEED={seed}");
        Self(seed)
    }

    /// The next number below `below`.
    pub fn below(&mut self, below: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }
}
