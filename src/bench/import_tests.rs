use super::*;

const IMB: &str = include_str!("../../tests/fixtures/compare/imb-2019.txt");
const OSU_LATENCY: &str = include_str!("../../tests/fixtures/compare/osu-latency.txt");
const OSU_ALLTOALL: &str = include_str!("../../tests/fixtures/compare/osu-alltoall-full.txt");

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
