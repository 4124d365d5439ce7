use super::*;

const IMB: &str = include_str!("../../tests/fixtures/compare/imb-2019.txt");
const OSU_LATENCY: &str = include_str!("../../tests/fixtures/compare/osu-latency.txt");
const OSU_ALLTOALL: &str = include_str!("../../tests/fixtures/compare/osu-alltoall-full.txt");

/// As printed by IMB-MPI1 2021.11 of Intel's MPI 2021.19 on a busy machine of two cores: four processes with little
/// time, so that most tables end with a line of words, and two with enough.
const IMB_FOUR: &str = include_str!("../../tests/fixtures/compare/imb-2021.11-four-processes.txt");
const IMB_TWO: &str = include_str!("../../tests/fixtures/compare/imb-2021.11-two-processes.txt");
const IMB_MEMORY: &str = include_str!("../../tests/fixtures/compare/imb-2021.11-out-of-memory.txt");
const IMB_MULTI: &str = include_str!("../../tests/fixtures/compare/imb-2021.11-multi.txt");

fn read_text(text: &str, hints: &Hints) -> Result<Document, String> {
    from_text(text, Path::new("x.txt"), hints).map_err(|e| e.to_string())
}

fn find<'a>(document: &'a Document, benchmark: &str, bytes: u64) -> &'a BenchResult {
    let found = document.results.iter().find(|r| r.benchmark == benchmark && r.bytes == bytes);
    found.unwrap_or_else(|| panic!("{benchmark} at {bytes}"))
}

fn two_by_four() -> Hints {
    Hints { layout: Some("2x4".to_owned()), path: Some("tcp".to_owned()), ranks: Some(8) }
}

#[test]
fn imb_text_becomes_figures_with_the_time_of_the_slowest_rank() {
    let document = read_text(IMB, &Hints::default()).unwrap();
    let short = find(&document, "PingPong", 8);
    assert_eq!((short.ranks, short.repetitions, short.t_us.mean), (2, 1000, 0.35));
    assert_eq!((short.layout.as_str(), short.path.as_str()), ("-", "unknown"));
    let alltoall = find(&document, "Alltoall", 65_536);
    assert_eq!((alltoall.ranks, alltoall.t_us.mean), (4, 61.18));
    assert_eq!(find(&document, "Sendrecv", 8).t_us.mean, 0.75);
    assert_eq!(find(&document, "Barrier", 0).t_us.mean, 1.06);
    assert_eq!(find(&document, "Exchange", 8).ranks, 4);
    assert_eq!(document.provenance.kernel, "Linux 6.1.0-18-amd64");
    assert!(document.provenance.versions["program"].contains("2021.3"));
}

#[test]
fn what_a_real_imb_prints_is_read_whole() {
    let document = read_text(IMB_TWO, &Hints::default()).unwrap();
    let names: std::collections::BTreeSet<&str> =
        document.results.iter().map(|r| r.benchmark.as_str()).collect();
    let all = ["Allreduce", "Alltoall", "Barrier", "Bcast", "PingPing", "PingPong", "Sendrecv"];
    assert_eq!(names, all.into());
    assert!(document.results.iter().all(|r| r.ranks == 2 && r.samples_us.len() == 1));
    assert_eq!(document.results.len(), 6 * 9 + 1, "0 and 8 to 1024 bytes, and one barrier");
    assert!(document.provenance.versions["program"].contains("2021.11"));
}

#[test]
fn real_tables_that_ran_out_of_time_or_memory_keep_the_rows_they_have() {
    let document = read_text(IMB_FOUR, &Hints::default()).unwrap();
    assert_eq!(find(&document, "PingPong", 0).ranks, 4, "two play and two wait");
    let document = read_text(IMB_MEMORY, &Hints::default()).unwrap();
    assert_eq!(find(&document, "Alltoall", 0).ranks, 4);
    assert!(document.results.iter().all(|r| r.bytes < 16_384));
}

/// IMB measures Barrier with 2, then 4 of 4 processes: they were taken for two launches of one figure.
#[test]
fn tables_of_a_part_of_the_job_are_figures_of_their_own_without_the_jobs_layout() {
    let hints = Hints { layout: Some("2x2".into()), path: Some("tcp".into()), ranks: Some(4) };
    let document = read_text(IMB_FOUR, &hints).unwrap();
    let of: Vec<(u32, &str, usize)> = document
        .results
        .iter()
        .filter(|r| r.benchmark == "Barrier")
        .map(|r| (r.ranks, r.layout.as_str(), r.samples_us.len()))
        .collect();
    assert_eq!(of, [(2, "-", 1), (4, "2x2", 1)]);
}

#[test]
fn several_groups_at_once_are_refused_by_name() {
    let error = read_text(IMB_MULTI, &Hints::default()).unwrap_err();
    assert!(error.contains("-multi"), "{error}");
}

/// Headings and columns as versions 5.6 to 7.5 print them with options that sites use.
#[test]
fn osu_tables_with_checks_and_tails_are_read() {
    let checked = "\n# OSU MPI All-to-All Personalized Exchange Latency Test v7.5\n# Datatype: MPI_CHAR.\n\
        # Size       Avg Latency(us)        Validation\n1                      12.50              Pass\n\
        4096                   13.75              Pass\n";
    let document = read_text(checked, &two_by_four()).unwrap();
    assert_eq!(find(&document, "Alltoall", 4096).t_us.mean, 13.75);
    let tails = "\n# OSU MPI All-to-Allv Personalized Exchange Latency Test v7.5\n# Datatype: MPI_CHAR.\n\
        # Size       Avg Latency(us)   Min Latency(us)   Max Latency(us)  Iterations  P50 Tail Lat(us)  \
        P90 Tail Lat(us)  P99 Tail Lat(us)\n\
        4096                  467.50            460.50            474.25        1000            407.25  \
        584.25            634.25\n";
    let document = read_text(tails, &two_by_four()).unwrap();
    assert_eq!(find(&document, "Alltoallv", 4096).t_us.mean, 474.25);
    let patched = "# OSU MPI Latency Test v7.0-site2\n# Size          Latency (us)\n8  1.25\n";
    assert_eq!(
        find(&read_text(patched, &Hints::default()).unwrap(), "PingPong", 8).t_us.mean,
        1.25
    );
    let overlap = "# OSU MPI Non-blocking Allgather Latency Test v5.6.3\n\
        # Overall = Coll. Init + Compute + MPI_Test + MPI_Wait\n\n\
        # Size           Overall(us)       Compute(us)    Pure Comm.(us)        Overlap(%)\n1 2.5 1.25 1.25 0.00\n";
    let error = read_text(overlap, &two_by_four()).unwrap_err();
    assert!(error.contains("line 1") && error.contains("cannot be compared"), "{error}");
}

#[test]
fn a_job_with_waiting_ranks_has_all_of_them() {
    let text = IMB.replace(
        "# #processes = 2 \n#----",
        "# #processes = 2 \n# ( 6 additional processes waiting in MPI_Barrier)\n#----",
    );
    assert_eq!(find(&read_text(&text, &Hints::default()).unwrap(), "PingPong", 8).ranks, 8);
}

#[test]
fn tables_of_the_same_benchmark_are_launches_of_one_figure() {
    let twice = format!("{IMB}{}", IMB.replace("0.35", "0.45"));
    let document = read_text(&twice, &Hints::default()).unwrap();
    assert_eq!(find(&document, "PingPong", 8).samples_us, [0.35, 0.45]);
}

#[test]
fn osu_latency_stands_where_pingpong_does() {
    let hints =
        Hints { layout: Some("2x1".to_owned()), path: Some("tcp".to_owned()), ranks: Some(2) };
    let document = read_text(OSU_LATENCY, &hints).unwrap();
    let short = find(&document, "PingPong", 8);
    assert_eq!(
        (short.ranks, short.t_us.mean, short.layout.as_str(), short.path.as_str()),
        (2, 22.39, "2x1", "tcp")
    );
    assert!(read_text(OSU_LATENCY, &Hints::default()).is_ok());
}

#[test]
fn osu_bandwidth_is_its_own_benchmark_for_it_is_no_pingpong() {
    let text = "# OSU MPI Bandwidth Test v5.6.2\n# Size      Bandwidth (MB/s)\n1                       7.59\n1048576              1000.00\n";
    let document = read_text(text, &Hints::default()).unwrap();
    let large = find(&document, "osu_bw", 1_048_576);
    assert!((large.mbytes_per_s - 1000.0).abs() < 1e-6);
}

#[test]
fn osu_collectives_give_the_slowest_rank_when_printed_and_need_a_layout() {
    let document = read_text(OSU_ALLTOALL, &two_by_four()).unwrap();
    let large = find(&document, "Alltoall", 1_048_576);
    assert_eq!((large.ranks, large.t_us.mean), (8, 1300.0));
    assert!(document.provenance.policy.is_empty());
    let error = read_text(OSU_ALLTOALL, &Hints::default()).unwrap_err();
    assert!(error.contains("line 2") && error.contains("--where"), "{error}");
    let mean = "# OSU MPI Barrier Latency Test v7.3\n# Avg Latency(us)\n             3.21\n";
    let document = read_text(mean, &two_by_four()).unwrap();
    assert_eq!(find(&document, "Barrier", 0).t_us.mean, 3.21);
    assert!(!document.provenance.policy.is_empty());
}

#[test]
fn what_is_damaged_or_foreign_is_refused_with_line_and_reason() {
    let hints = Hints::default();
    let cut_in_a_row = &IMB[..IMB.find("0.35").unwrap() + 2];
    let no_rows = &IMB[..IMB.find("            0         1000").unwrap()];
    for (text, words) in [
        ("hello\n".to_owned(), "line 1: neither a result file"),
        (cut_in_a_row.to_owned(), "line 31: the file ends in the middle"),
        (no_rows.to_owned(), "this table has no rows"),
        (IMB.replace("         0.35", "         fast"), "line 31: \"fast\" is no time"),
        (IMB.replace("         0.35", "         -1.0"), "line 31: \"-1.0\" is no time"),
        (
            IMB.replace("         0.35", "    0.35 0.36"),
            "line 31: 5 columns, where the heading names 4",
        ),
        (IMB.replace("#processes = 2 ", "#processes = 0 "), "no processes"),
        ("# OSU MPI Latency Test v7\n# Size Latency (us)\n".to_owned(), "has no rows"),
        (
            "# OSU MPI Latency Test v7\n8 1.0\n".to_owned(),
            "line 2: a row of numbers before its heading",
        ),
        (
            "# OSU MPI Latency Test v7\n# Size Latency (us) Validation\n8 1.0 Fail\n".to_owned(),
            "line 3: data arrived wrong",
        ),
        (
            "# OSU MPI Put Bandwidth Test v7\n# Size Bandwidth (MB/s)\n8 1.0\n".to_owned(),
            "cannot be compared",
        ),
    ] {
        let error = read_text(&text, &hints).unwrap_err();
        assert!(error.contains(words), "expected {words:?}: {error}");
    }
}

#[test]
fn a_file_cut_anywhere_is_refused_or_holds_only_whole_rows() {
    let whole = read_text(IMB, &Hints::default()).unwrap();
    for end in (0..IMB.len()).filter(|e| IMB.is_char_boundary(*e)) {
        if let Ok(document) = read_text(&IMB[..end], &Hints::default()) {
            assert!(document.results.iter().all(|r| whole.results.contains(r)), "cut at {end}");
        }
    }
}

/// What we print is read back, with layout, path and hypervisor, and so is what we export.
#[test]
fn our_own_tables_are_read_back_with_their_place() {
    use crate::report::compare::{Comparison, Input};
    let document = read_text(IMB, &two_by_four()).unwrap();
    let input =
        Input { name: "a".to_owned(), label: Some("kvm".to_owned()), document: document.clone() };
    let text = crate::bench::export::imb_text(&Comparison::new(&[input]));
    let back = read_text(&text, &Hints::default()).unwrap();
    assert_eq!(back.provenance.hypervisor, "kvm");
    assert_eq!(back.results.len(), document.results.len());
    for (a, b) in back.results.iter().zip(&document.results) {
        assert_eq!((&a.layout, &a.path, a.ranks, a.bytes), (&b.layout, &b.path, b.ranks, b.bytes));
        assert!((a.t_us.mean - b.t_us.mean).abs() < 0.006);
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_readers_panic(rows in "[ -~\n]{0,200}", osu in proptest::bool::ANY) {
        let head = if osu { "# OSU MPI Latency Test v7\n# Size Latency (us)\n" } else { "# Benchmarking PingPong\n# #processes = 2\n#bytes #repetitions t[usec] Mbytes/sec\n" };
        let _ = read_text(&format!("{head}{rows}"), &Hints::default());
        let _ = read_text(&rows, &two_by_four());
    }
}
