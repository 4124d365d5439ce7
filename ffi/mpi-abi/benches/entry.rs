//! What the C interface costs beside the library's own: messages of 8 bytes through `MPI_Send` and `MPI_Recv`,
//! and through the communicator of Rust, in the same two processes, in turn. The difference is that of
//! neighbours in time; its median is given with its order-statistic interval.
//!
//! `cargo bench -p mpi-abi --bench entry [-- ROUNDS]`

use std::collections::BTreeMap;
use std::ffi::{c_char, c_int, c_void};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::ptr::null_mut;
use std::time::Instant;

use cohost::bench::limits::{core_pair, pin_to};
use cohost::config::Config;
use cohost::launch::{Bootstrap, Kvs, LaunchError, LauncherKind, in_process};
use cohost::report::stats::summarise;
use cohost::{Communicator, Job};
use mpi_abi::args::{Handle, Status};
use mpi_abi::constants::{MPI_BYTE, MPI_COMM_SELF, MPI_COMM_WORLD};

unsafe extern "C" {
    fn MPI_Init(argc: *mut c_int, argv: *mut *mut *mut c_char) -> c_int;
    fn MPI_Finalize() -> c_int;
    fn MPI_Comm_rank(comm: Handle, rank: *mut c_int) -> c_int;
    fn MPI_Send(
        buf: *const c_void,
        count: c_int,
        datatype: Handle,
        dest: c_int,
        tag: c_int,
        comm: Handle,
    ) -> c_int;
    fn MPI_Recv(
        buf: *mut c_void,
        count: c_int,
        datatype: Handle,
        source: c_int,
        tag: c_int,
        comm: Handle,
        status: *mut Status,
    ) -> c_int;
    fn MPI_Allgather(
        sendbuf: *const c_void,
        sendcount: c_int,
        sendtype: Handle,
        recvbuf: *mut c_void,
        recvcount: c_int,
        recvtype: Handle,
        comm: Handle,
    ) -> c_int;
}

const PROC_NULL: c_int = -3;
const BYTES: usize = 8;
const ROUNDS: usize = 41;
/// Messages of one sample.
const MESSAGES: u32 = 4000;
/// Messages in flight before the receiver says that it has them.
const WINDOW: u32 = 16;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// One way to send and receive 8 bytes.
trait Way {
    fn send(&self, to: u32);
    fn recv(&self, from: u32);
}

/// Through the C interface.
struct C(Handle);

impl Way for C {
    #[inline]
    fn send(&self, to: u32) {
        let bytes = [1_u8; BYTES];
        // SAFETY: a buffer of that length, read within the call.
        unsafe {
            MPI_Send(bytes.as_ptr().cast(), BYTES as c_int, MPI_BYTE, to as c_int, 1, self.0)
        };
    }

    #[inline]
    fn recv(&self, from: u32) {
        let mut bytes = [0_u8; BYTES];
        let (into, from) = (bytes.as_mut_ptr().cast(), from as c_int);
        // SAFETY: a buffer of that length, written to within the call.
        unsafe { MPI_Recv(into, BYTES as c_int, MPI_BYTE, from, 1, self.0, null_mut()) };
    }
}

impl Way for Communicator {
    #[inline]
    fn send(&self, to: u32) {
        self.send(&[1; BYTES], to, 1).unwrap_or_else(|error| panic!("{error}"));
    }

    #[inline]
    fn recv(&self, from: u32) {
        let mut bytes = [0; BYTES];
        self.recv(&mut bytes, from, 1).unwrap_or_else(|error| panic!("{error}"));
    }
}

/// Half a round trip: one send and one receive.
fn ping_pong(way: &impl Way, rank: u32) {
    for _ in 0..MESSAGES / 2 {
        if rank == 0 {
            way.send(1);
            way.recv(1);
        } else {
            way.recv(0);
            way.send(0);
        }
    }
}

/// One send (and, on the other core, one receive).
fn stream(way: &impl Way, rank: u32) {
    for _ in 0..MESSAGES / WINDOW {
        for _ in 0..WINDOW {
            if rank == 0 { way.send(1) } else { way.recv(0) }
        }
        if rank == 0 { way.recv(1) } else { way.send(0) }
    }
}

/// A send and a receive, both here.
fn to_oneself(way: &impl Way) {
    for _ in 0..MESSAGES {
        way.send(0);
        way.recv(0);
    }
}

/// Nanoseconds of one message.
fn sample(run: impl Fn()) -> f64 {
    // Caches and predictors of this way.
    run();
    let begun = Instant::now();
    run();
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(MESSAGES)
}

/// The other job's key-value space, over the first.
struct OverMpi {
    mine: String,
    all: BTreeMap<String, String>,
}

const SPACE: usize = 1 << 14;

impl Kvs for OverMpi {
    fn put(&mut self, key: &str, value: &str) -> Result<(), LaunchError> {
        self.mine += &format!("{key} {value}\n");
        Ok(())
    }

    fn get(&mut self, key: &str) -> Result<Option<String>, LaunchError> {
        Ok(self.all.get(key).cloned())
    }

    fn barrier(&mut self) -> Result<(), LaunchError> {
        let mut mine = std::mem::take(&mut self.mine).into_bytes();
        assert!(mine.len() <= SPACE, "{} bytes of entries at once", mine.len());
        mine.resize(SPACE, b'\n');
        let mut all = vec![0_u8; 2 * SPACE];
        let (from, into, len) = (mine.as_ptr().cast(), all.as_mut_ptr().cast(), SPACE as c_int);
        // SAFETY: buffers of one and of two such lengths, in a world of two.
        unsafe { MPI_Allgather(from, len, MPI_BYTE, into, len, MPI_BYTE, MPI_COMM_WORLD) };
        let text = String::from_utf8_lossy(&all);
        let entries = text.lines().filter_map(|line| line.split_once(' '));
        self.all.extend(entries.map(|(key, value)| (key.to_owned(), value.to_owned())));
        Ok(())
    }

    fn abort(&mut self, code: i32, message: &str) {
        eprintln!("{message}");
        std::process::exit(code);
    }

    fn finalize(&mut self) -> Result<(), LaunchError> {
        Ok(())
    }
}

/// Times of both ways, round by round.
#[derive(Default)]
struct Pair {
    c: Vec<f64>,
    own: Vec<f64>,
}

impl Pair {
    fn round(&mut self, round: usize, c: impl Fn(), own: impl Fn()) {
        if round.is_multiple_of(2) {
            self.c.push(sample(&c));
            self.own.push(sample(&own));
        } else {
            self.own.push(sample(&own));
            self.c.push(sample(&c));
        }
    }

    fn print(&self, what: &str) -> Outcome<()> {
        let apart: Vec<_> = self.c.iter().zip(&self.own).map(|(c, own)| c - own).collect();
        let apart = summarise(&apart)?;
        let ends = apart.median_interval.ends();
        let ends = ends.map_or("-".to_owned(), |[low, high]| format!("{low:.1} to {high:.1}"));
        let (c, own) = (summarise(&self.c)?.median, summarise(&self.own)?.median);
        println!("| {what} | {c:.1} | {own:.1} | {:.1} | {ends} |", apart.median);
        Ok(())
    }
}

/// One of the two ranks.
fn rank(rounds: usize) -> Outcome<()> {
    // SAFETY: no arguments; nobody called it before.
    unsafe { MPI_Init(null_mut(), null_mut()) };
    let mut rank = 0;
    // SAFETY: an address to write to.
    unsafe { MPI_Comm_rank(MPI_COMM_WORLD, &raw mut rank) };
    let rank = u32::try_from(rank)?;
    if let Some(pair) = core_pair() {
        pin_to(if rank == 0 { pair.first } else { pair.second });
    }
    let kvs = Box::new(OverMpi { mine: String::new(), all: BTreeMap::new() });
    let (job, kind) =
        (format!("entry-{}", std::env::var("PMI_JOBID").unwrap_or_default()), LauncherKind::Cohost);
    let start = Bootstrap { rank, size: 2, job, kind, local_peers: Some(vec![0, 1]), kvs };
    let job = Job::connect(start, Config::default())?;
    let alone = in_process(1).into_iter().next().ok_or("no job of one")?;
    let alone = Job::connect(alone, Config::default())?;
    let (mut pairs, mut nobody) = ([Pair::default(), Pair::default(), Pair::default()], Vec::new());
    for round in 0..rounds {
        job.world().barrier()?;
        let (c, own) = (C(MPI_COMM_WORLD), job.world());
        pairs[0].round(round, || ping_pong(&c, rank), || ping_pong(own, rank));
        pairs[1].round(round, || stream(&c, rank), || stream(own, rank));
        if rank == 0 {
            let (c, own) = (C(MPI_COMM_SELF), alone.world());
            pairs[2].round(round, || to_oneself(&c), || to_oneself(own));
            let c = C(MPI_COMM_WORLD);
            nobody.push(sample(|| (0..MESSAGES).for_each(|_| c.send(PROC_NULL as u32))));
        }
    }
    if rank == 0 {
        println!("Nanoseconds of one message of {BYTES} bytes, medians of {rounds} rounds\n");
        println!("| | C | own | difference | interval |\n|---|---|---|---|---|");
        pairs[0].print("half round trip: a send and a receive")?;
        pairs[1].print("stream: a send, the receive elsewhere")?;
        pairs[2].print("to oneself: a send and a receive")?;
        println!(
            "| `MPI_Send` to `MPI_PROC_NULL` | {:.1} | - | - | - |",
            summarise(&nobody)?.median
        );
    }
    alone.finalize()?;
    job.finalize()?;
    // SAFETY: the last call.
    unsafe { MPI_Finalize() };
    Ok(())
}

/// Starts this program again, as two ranks.
fn launch(rounds: usize) -> Outcome<()> {
    let command = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("release").join("cohost");
    if !command.exists() {
        let command = command.display();
        return Err(format!("{command} is missing: run `cargo build --release` first").into());
    }
    let program = std::env::current_exe()?;
    let mut run = Command::new(command);
    run.args(["run", "--timeout", "120", "-n", "2"])
        .arg(program)
        .args(["rank", &rounds.to_string()]);
    if run.status()?.success() { Ok(()) } else { Err(format!("{run:?} failed").into()) }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let rounds = words.iter().find_map(|word| word.parse().ok()).unwrap_or(ROUNDS);
    let ended = if words.iter().any(|word| word == "rank") { rank(rounds) } else { launch(rounds) };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("entry: {why}");
            ExitCode::FAILURE
        }
    }
}
