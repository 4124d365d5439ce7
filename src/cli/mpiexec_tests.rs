//! What the arguments of `cohost run` and `mpiexec` come to.

use super::*;
use proptest::prelude::*;

fn read_as(caller: Caller, line: &str) -> Result<RunOptions, String> {
    let arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
    match read(caller, &arguments)? {
        Request::Start { options, .. } => Ok(*options),
        other => Err(format!("{other:?}")),
    }
}

fn mpiexec(line: &str) -> RunOptions {
    read_as(Caller::Mpiexec, line).unwrap()
}

#[test]
fn the_number_of_ranks_has_many_names() {
    for line in ["-n 4 a", "-np 4 a", "--np 4 a", "-c 4 a", "-n4 a", "--ranks=4 a", "-N 4 a"] {
        assert_eq!(mpiexec(line).ranks, 4, "{line}");
    }
    for line in ["-ppn 4 a", "-map-by ppr:4:node a", "-hosts localhost:4 a", "-H ::1:4 a"] {
        assert_eq!(mpiexec(line).ranks, 4, "{line}");
        assert_eq!(mpiexec(&format!("-n 2 {line}")).ranks, 2, "{line}");
    }
    assert_eq!(mpiexec("a").ranks, 1);
    let options = mpiexec("--layout 2x2 -ppn 3 a");
    assert_eq!((options.ranks, options.ranks_per_vm), (12, 3));
}

#[test]
fn everything_after_the_program_is_the_programs() {
    for line in ["-n 1 a -n 7 --layout 9x9 -- x", "-n 1 -- a -n 7 --layout 9x9 -- x"] {
        let options = mpiexec(line);
        assert_eq!(options.program, "a");
        assert_eq!(options.args, ["-n", "7", "--layout", "9x9", "--", "x"]);
    }
}

#[test]
fn variables_are_for_all_programs_or_for_one() {
    let options = mpiexec("-genv A 1 -n 1 -env B 2 -x C=3 a : -n 2 -x A=9 b");
    let pairs = |env: &[(OsString, OsString)]| -> Vec<String> {
        env.iter().map(|(name, value)| format!("{}={}", name.display(), value.display())).collect()
    };
    assert_eq!(pairs(&options.env), ["A=1", "B=2", "C=3"]);
    // The later one wins.
    assert_eq!(pairs(&options.more[0].env), ["A=1", "A=9"]);
    assert_eq!((options.ranks, options.more[0].ranks), (3, 2));
    assert_eq!(options.more[0].program, "b");
    let only = Inherit::Only(vec!["PATH".into(), "HOME".into()]);
    assert_eq!(mpiexec("-genvlist PATH,HOME a").inherit, only);
    let options = mpiexec("-genvnone a : -envlist PATH,HOME b : -envall c : d");
    let inherited: Vec<_> = options.more.iter().map(|it| it.inherit.clone()).collect();
    assert_eq!(options.inherit, Inherit::Only(Vec::new()));
    assert_eq!(inherited, [only, Inherit::All, Inherit::Only(Vec::new())]);
    assert_eq!(mpiexec("-genvnone -genvall a").inherit, Inherit::All);
    let error = read_as(Caller::Mpiexec, "-x NO_SUCH_VARIABLE_HERE a").unwrap_err();
    assert!(error.contains("NO_SUCH_VARIABLE_HERE") && error.contains("NAME=VALUE"), "{error}");
}

#[test]
fn a_colon_divides_programs_for_mpiexec_only() {
    let options = mpiexec("-n 1 a x : -n 2 -wdir / b y : c");
    let programs: Vec<_> = options.more.iter().map(|it| (it.ranks, it.args.len())).collect();
    assert_eq!((options.ranks, programs), (4, vec![(2, 1), (1, 0)]));
    assert_eq!(options.more[0].directory.as_deref(), Some(Path::new("/")));
    let options = read_as(Caller::Run, "-n 1 echo : b").unwrap();
    assert_eq!(options.args, [":", "b"]);
}

#[test]
fn what_has_no_effect_here_is_taken_with_its_values() {
    let line = "--bind-to core --map-by socket --mca btl tcp --allow-run-as-root --oversubscribe \
                -launcher ssh -n 2 -timeout 7 -q -v -l -wd /tmp a";
    let options = mpiexec(line);
    assert_eq!((options.ranks, options.timeout), (2, Some(Duration::from_secs(7))));
    assert!(options.quiet && options.tag_output);
}

#[test]
fn wrong_arguments_are_refused_with_the_remedy() {
    for (line, words) in [
        ("-n", &["-n", "needs N"][..]),
        ("-n x a", &["-n x", "number"]),
        ("-n 2", &["no program"]),
        ("-n 1 a :", &["no program"]),
        ("-n 0 a : b", &["at least 1"]),
        ("-genv A", &["-genv", "needs NAME and VALUE"]),
        ("-hosts node7 a", &["node7", "localhost", "srun"]),
        ("-gnev A 1 a", &["-gnev", "`-genv`"]),
        ("--pmi 3 a", &["--pmi 3", "1 and 2"]),
        ("--map-by ppr:2:socket a", &["ppr:N:node"]),
        ("-env A=B 1 a", &["`=`"]),
    ] {
        let error = read_as(Caller::Mpiexec, line).unwrap_err();
        for word in words {
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}

proptest! {
    #[test]
    fn any_arguments_give_a_request_or_an_error(
        words in proptest::collection::vec(
            prop_oneof!["-{0,2}[a-z]{0,6}", "[a-z0-9:=]{0,6}", Just("-n".to_owned()), Just(":".to_owned())],
            0..12))
    {
        let arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
        for caller in [Caller::Run, Caller::Mpiexec] {
            if let Ok(Request::Start { options, .. }) = read(caller, &arguments) {
                prop_assert!(options.more.iter().all(|segment| segment.ranks > 0));
            }
        }
    }
}
