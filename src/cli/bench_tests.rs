use super::*;
use clap::Parser;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    bench: BenchArgs,
}

fn parse(line: &str) -> Result<BenchArgs, String> {
    let words = std::iter::once("bench").chain(line.split_whitespace());
    Cli::try_parse_from(words).map(|cli| cli.bench).map_err(|e| {
        assert_eq!(e.exit_code(), 2, "{e}");
        e.to_string()
    })
}

#[test]
fn without_a_word_it_is_two_benchmarks_in_six_layouts() {
    let campaign = parse("").unwrap().campaign().unwrap();
    assert_eq!(campaign.work.benchmarks, [Benchmark::PingPong, Benchmark::Alltoall]);
    let layouts: Vec<_> = campaign.layouts.iter().map(Layout::to_string).collect();
    assert_eq!(layouts, LAYOUTS);
    assert_eq!((campaign.runs, campaign.work.sizes.len()), (1, 24));
}

#[test]
fn the_command_of_the_contract_is_understood() {
    let line = "pingpong alltoall --layout 1x2 --layout 2x4 --runs 5 --json out.json";
    let campaign = parse(line).unwrap().campaign().unwrap();
    assert_eq!(campaign.work.benchmarks, [Benchmark::PingPong, Benchmark::Alltoall]);
    assert_eq!((campaign.layouts.len(), campaign.runs), (2, 5));
    assert_eq!(campaign.json.as_deref(), Some(Path::new("out.json")));
    for line in ["--layout 1x2 2x4", "--layout 1x2,2x4 pingpong", "--layout 1x2 pingpong 2x4"] {
        let listed = parse(line).unwrap().campaign().unwrap();
        assert_eq!(listed.layouts, campaign.layouts, "{line}");
    }
}

#[test]
fn what_is_unknown_is_answered_with_what_is_known() {
    assert!(parse("pingpung").unwrap_err().contains("PingPong, PingPing"));
    assert!(parse("--layout 2by4").unwrap_err().contains("1x1, 1x2"));
    assert!(parse("--layout 0x4").unwrap_err().contains("1x1, 1x2"));
    assert!(parse("--path carrier").unwrap_err().contains("auto, ring, tcp"));
    for line in
        ["--runs 0", "--runs many", "--ranks-per-vm 0", "--sizes x", "--time 0", "--time nan"]
    {
        parse(line).unwrap_err();
    }
    parse("--sizes 8 --max-size 8").unwrap_err();
}

#[test]
fn a_rank_understands_what_its_parent_writes() {
    let args = parse("--worker --sizes 0,8 --time 10 --check --off-cache PingPong Reduce_scatter");
    let work = args.unwrap().work();
    assert_eq!(work.sizes, [0, 8]);
    assert_eq!(work.benchmarks, [Benchmark::PingPong, Benchmark::ReduceScatter]);
    assert!(work.check && work.off_cache);
}

#[test]
fn rings_alone_leave_the_layouts_of_one_host() {
    let campaign = parse("--path ring").unwrap().campaign().unwrap();
    assert!(campaign.layouts.iter().all(|l| l.hosts == 1));
    assert_eq!(campaign.layouts.len(), 3);
}

#[test]
fn limits_alone_are_no_benchmark() {
    assert!(parse("Limits").unwrap().only_limits());
    assert!(!parse("limits pingpong").unwrap().only_limits());
    assert!(!parse("").unwrap().only_limits());
}
