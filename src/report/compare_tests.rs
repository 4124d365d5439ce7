use super::gain::Gains;
use super::*;
use crate::report::bootstrap::Random;
use crate::report::figure::build::figures;
use crate::report::rank_test::Verdict;
use crate::report::schema::{BenchResult, ClockCheck, CpuTime, SCHEMA, TimeStats};

/// `n` launches around `t` microseconds.
pub(crate) fn result(
    benchmark: &str,
    layout: &str,
    path: &str,
    ranks: u32,
    bytes: u64,
    t: f64,
    n: usize,
) -> BenchResult {
    let mut random = Random::new(bytes ^ n as u64 ^ t.to_bits());
    let samples_us: Vec<f64> =
        (0..n).map(|_| t * (0.95 + random.below(1000) as f64 / 10_000.0)).collect();
    let s = summarise(&samples_us).unwrap();
    BenchResult {
        clock_drift_ppm: None,
        clock_uncertainty_ppm: None,
        benchmark: benchmark.into(),
        layout: layout.into(),
        path: path.into(),
        ranks,
        bytes,
        repetitions: 1000,
        t_us: TimeStats {
            mean: s.mean,
            median: s.median,
            min: s.min,
            max: s.max,
            ci95: s.mean_interval.ends(),
        },
        mbytes_per_s: bytes as f64 / s.mean,
        cpu_us: CpuTime::default(),
        samples_us,
    }
}

pub(crate) fn input(name: &str, hypervisor: &str, slow: f64, n: usize) -> Input {
    let sizes = [1u64, 8, 1024, 65_536, 1 << 20];
    let mut results = Vec::new();
    for (layout, ranks, paths) in [
        ("1x2", 2, &["ring", "tcp"][..]),
        ("1x4", 4, &["ring", "tcp"]),
        ("2x1", 2, &["tcp"]),
        ("2x2", 4, &["ring+tcp", "tcp"]),
    ] {
        for path in paths {
            for bytes in sizes {
                let base = if *path == "tcp" { 20.0 * slow } else { 1.0 };
                results.push(result(
                    "PingPong",
                    layout,
                    path,
                    ranks,
                    bytes,
                    base + bytes as f64 / 3000.0,
                    n,
                ));
                results.push(result(
                    "Alltoall",
                    layout,
                    path,
                    ranks,
                    bytes,
                    2.0 * base + bytes as f64 / 1000.0,
                    n,
                ));
            }
        }
    }
    Input {
        name: name.into(),
        label: None,
        document: Document {
            schema: SCHEMA.into(),
            provenance: Provenance {
                hypervisor: hypervisor.into(),
                machine: "Some Processor".into(),
                kernel: "Linux 6.1".into(),
                cores: 8,
                target: "guests".into(),
                clock: Some(ClockCheck {
                    against: "host".into(),
                    elapsed_s: 1000.0,
                    difference_s: 0.0,
                    resolution_s: 0.1,
                }),
                ..Provenance::default()
            },
            limits: Limits {
                cell_us: Some(0.06),
                two_copy_us: BTreeMap::from([(1024, 0.3), (1 << 20, 76.0)]),
                tcp_us: BTreeMap::from([(8, 3.2), (1 << 20, 150.0)]),
                ..Limits::default()
            },
            results,
            stated: Vec::new(),
            also: Vec::new(),
        },
    }
}

fn past() -> Input {
    let text = include_str!("../../data/virtual-supercomputer-2008.json");
    Input {
        name: "2008".into(),
        label: None,
        document: Document::from_text(text, std::path::Path::new("2008.json")).unwrap(),
    }
}

fn page_of(inputs: &[Input]) -> String {
    let c = Comparison::new(inputs);
    let gains = Gains::of(&c);
    page::html(&c, &gains, &figures(&c, &gains))
}

#[test]
fn the_ring_is_compared_with_tcp_in_every_layout_that_has_both() {
    let c = Comparison::new(&[input("a", "kvm", 1.0, 12)]);
    let gains = Gains::of(&c);
    let layouts: BTreeSet<&str> = gains.within.iter().map(|g| g.layout.text.as_str()).collect();
    assert_eq!(layouts, BTreeSet::from(["1x2", "1x4", "2x2"]));
    let short = &gains.within[0];
    assert_eq!(
        (short.benchmark.as_str(), short.layout.text.as_str(), short.bytes),
        ("PingPong", "1x2", 8)
    );
    assert!((short.ratio.value - 20.0).abs() < 1.5, "{:?}", short.ratio);
    let [low, high] = short.ratio.interval.ends().unwrap();
    assert!(low < short.ratio.value && short.ratio.value < high);
    assert_eq!(short.test.verdict, Verdict::Faster);
}

#[test]
fn without_a_layout_over_both_the_hosts_are_compared_and_it_is_said() {
    let mut only = input("a", "kvm", 1.0, 12);
    only.document.results.retain(|r| (r.layout == "1x2" && r.path == "ring") || r.layout == "2x1");
    let page = page_of(&[only.clone()]);
    assert!(page.contains("no layout was measured over both paths"));
    only.document.results.retain(|r| r.layout == "2x1");
    assert!(page_of(&[only]).contains("These files cannot say"));
}

#[test]
fn files_of_one_hypervisor_are_one_sample_and_a_label_keeps_them_apart() {
    let (a, mut b) = (input("a", "kvm", 1.0, 4), input("b", "kvm", 2.0, 5));
    let together = Comparison::new(&[a.clone(), b.clone()]);
    assert_eq!(together.groups.len(), 1);
    let n = together.series.values().next().unwrap().values().next().unwrap().samples_us.len();
    assert_eq!(n, 9);
    b.label = Some("kvm, tuned".into());
    let apart = Comparison::new(&[a.clone(), b.clone()]);
    assert_eq!(
        apart.groups.iter().map(|g| g.name.as_str()).collect::<Vec<_>>(),
        ["kvm", "kvm, tuned"]
    );
    b.label = None;
    b.document.provenance.nic = "e1000".into();
    let mut c = a.clone();
    c.document.provenance.nic = "virtio-net".into();
    let nics = Comparison::new(&[b, c]);
    assert_eq!(nics.groups[0].name, "kvm (e1000)");
}

#[test]
fn layouts_are_in_the_order_of_their_hosts_and_machines() {
    let sorted: BTreeSet<LayoutName> =
        ["2x4", "-", "10x1", "1x4", "2x1"].map(LayoutName::new).into();
    let order: Vec<&str> = sorted.iter().map(|l| l.text.as_str()).collect();
    assert_eq!(order, ["1x4", "2x1", "2x4", "10x1", "-"]);
}

#[test]
fn the_interval_of_a_rate_is_that_of_its_time_turned_round() {
    let c = Comparison::new(&[input("a", "kvm", 1.0, 12)]);
    let cell = &c.series.values().next().unwrap()[&65_536];
    let (time, rate) = (cell.time(), cell.rate());
    let ([t_low, t_high], [r_low, r_high]) = (time.interval.unwrap(), rate.interval.unwrap());
    assert!(
        (r_low * t_high - cell.volume).abs() < 1e-6 && (r_high * t_low - cell.volume).abs() < 1e-6
    );
    assert!(r_low < rate.value && rate.value < r_high);
}

#[test]
fn an_outlier_is_counted_and_stays_in_the_mean() {
    let mut a = input("a", "kvm", 1.0, 20);
    a.document.results.retain(|r| {
        r.bytes == 8 && r.layout == "1x2" && r.path == "ring" && r.benchmark == "PingPong"
    });
    a.document.results[0].samples_us[7] = 100.0;
    let c = Comparison::new(&[a]);
    let cell = &c.series.values().next().unwrap()[&8];
    assert_eq!(cell.outliers_us(), [100.0]);
    assert!(cell.summary.mean > 5.0 && cell.summary.n == 20);
}

#[test]
fn every_warning_of_a_file_stands_beside_the_figures_that_show_it() {
    let mut a = input("a.json", "kvm", 1.0, 4);
    let p = &mut a.document.provenance;
    p.clock = Some(ClockCheck {
        against: "host".into(),
        elapsed_s: 1000.0,
        difference_s: -41.0,
        resolution_s: 1.0,
    });
    p.mhz = Some([1200.0, 3000.0]);
    p.host_cores = Some(2);
    a.document.results.iter_mut().for_each(|r| r.cpu_us.steal = r.t_us.mean * 0.2);
    let mut b = a.clone();
    b.name = "b.json".into();
    b.document.provenance.versions.insert("cohost".into(), "9".into());
    b.document.provenance.policy.insert("eager".into(), "64K".into());
    let c = Comparison::new(&[a, b]);
    let gains = Gains::of(&c);
    for figure in figures(&c, &gains) {
        let all = figure.warnings.join("\n");
        for words in [
            "drifted by -4.10 %",
            "changed between 1200 and 3000 MHz",
            "took time away: up to 20 %",
            "differ in version",
            "differ in message policy",
        ] {
            assert!(all.contains(words), "{}: {words}: {all}", figure.id);
        }
        let crowded = matches!(figure.id, "gain" | "alltoall" | "layouts" | "paths");
        assert_eq!(all.contains("overcommitted in 1x4, 2x2"), crowded, "{}: {all}", figure.id);
    }
    let few = Comparison::new(&[input("a", "kvm", 1.0, 3)]);
    let figures = figures(&few, &Gains::of(&few));
    assert!(figures.iter().all(|f| f.warnings.iter().any(|w| w.contains("only 3 launches"))));
    let good = Comparison::new(&[input("a", "kvm", 1.0, 12)]);
    let quiet = super::super::figure::build::figures(&good, &Gains::of(&good));
    assert!(quiet.iter().all(|f| f.warnings.is_empty()), "{:?}", quiet[0].warnings);
}

#[test]
fn the_figures_of_2008_are_those_of_the_paper_and_what_it_does_not_state_is_empty() {
    let document = past().document;
    let value =
        |layout: &str, product: &str, measure: crate::report::schema::Measure, benchmark: &str| {
            let found: Vec<_> = document
                .stated
                .iter()
                .filter(|s| {
                    s.layout == layout
                        && s.product.starts_with(product)
                        && s.measure == measure
                        && s.benchmark == benchmark
                })
                .collect();
            assert!(found.len() <= 1);
            found.first().and_then(|s| s.value)
        };
    use crate::report::schema::Measure::{AccumulatedBandwidth, Bandwidth, Latency};
    for (layout, product, measure, expected) in [
        ("2x1", "native", Bandwidth, Some(110.0)),
        ("2x1", "Xen", Bandwidth, None),
        ("2x1", "VMware", Bandwidth, Some(55.0)),
        ("2x1", "VirtualBox", Latency, Some(1500.0)),
        ("2x1", "Xen", Latency, Some(73.0)),
        ("1x2", "native", Bandwidth, Some(1200.0)),
        ("1x2", "native", Latency, Some(0.9)),
        ("1x2", "Xen", Latency, Some(30.0)),
        ("1x2", "VirtualBox", Bandwidth, Some(40.0)),
    ] {
        assert_eq!(
            value(layout, product, measure, "PingPong"),
            expected,
            "{layout} {product} {measure:?}"
        );
    }
    for (layout, product, expected) in [
        ("1x2", "Xen", 380.0),
        ("1x4", "Xen", 160.0),
        ("2x1", "native", 190.0),
        ("2x2", "Xen", 170.0),
        ("2x4", "Xen", 80.0),
    ] {
        assert_eq!(value(layout, product, AccumulatedBandwidth, "Alltoall"), Some(expected));
    }
    assert!(
        document.results.is_empty() && document.provenance.source.contains("LRZ-Bericht 2008-03")
    );
    let back =
        Document::from_text(&document.to_text().unwrap(), std::path::Path::new("x")).unwrap();
    assert_eq!(back, document);
}

#[test]
fn a_report_with_a_column_of_vmware_says_what_its_licence_restricts() {
    let note = "licence restricts publishing";
    assert!(!page_of(&[input("a", "kvm", 1.0, 6)]).contains(note));
    assert!(page_of(&[input("a", "vmware", 1.0, 6)]).contains(note));
    assert!(page_of(&[input("a", "kvm", 1.0, 6), past()]).contains(note));
    let mut named = input("a", "unknown", 1.0, 6);
    named.label = Some("VMware ESX".into());
    let c = Comparison::new(&[named]);
    assert!(tables::text(&c, &Gains::of(&c)).contains(note));
}

#[test]
fn the_page_needs_nothing_else_and_hostile_names_stay_text() {
    let mut a = input("<script>alert(1)</script>", "kvm", 1.0, 6);
    a.label = Some("\"><img src=x onerror=alert(1)>&\u{1}".into());
    a.document.provenance.machine = "</style><script>".into();
    let page = page_of(&[a, past()]);
    for forbidden in ["<script", "<img", "<link", "@import", "src=", "url(http", "href="] {
        let found = page.contains(forbidden) && !page.contains(&format!("&lt;img {forbidden}"));
        assert!(!found, "{forbidden}");
    }
    assert!(page.contains("prefers-color-scheme:dark") && page.contains("@media print"));
    assert!(
        page.find("What the ring gains").unwrap() < page.find("<figure").unwrap(),
        "the answer comes first"
    );
}

#[test]
fn the_table_of_values_has_as_many_fields_in_every_line_and_defuses_formulas() {
    let mut a = input("a", "kvm", 1.0, 6);
    a.label = Some("=HYPERLINK(1),\"x\"".into());
    let c = Comparison::new(&[a, past()]);
    let text = csv::table(&c, &Gains::of(&c));
    let fields = |line: &str| {
        let mut quoted = false;
        1 + line
            .chars()
            .filter(|c| {
                quoted ^= *c == '"';
                *c == ',' && !quoted
            })
            .count()
    };
    let counts: BTreeSet<usize> = text.lines().map(fields).collect();
    assert_eq!(counts, BTreeSet::from([27]));
    assert!(text.contains("\"'=HYPERLINK(1),\"\"x\"\"\""), "{}", text.lines().nth(1).unwrap());
}

#[test]
fn the_terminal_says_gains_verdicts_and_how_groups_compare() {
    let c = Comparison::new(&[input("a", "kvm", 1.0, 12), input("b", "uml", 2.0, 12)]);
    let text = tables::text(&c, &Gains::of(&c));
    for words in
        ["What the ring gains", "TCP over the virtual NIC", "than kvm", "slower", "not told apart"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(text.lines().all(|l| !l.ends_with(' ')));
}

#[test]
fn numbers_have_three_digits_and_sizes_their_unit() {
    let expected = [
        (0.9, "0.900"),
        (1500.0, "1500"),
        (12.345, "12.3"),
        (0.0, "0"),
        (1_234_567.0, "1\u{202f}234\u{202f}567"),
        (412_907_351_636_772.0, "4.13e14"),
        (0.000_02, "2.00e-5"),
    ];
    for (value, text) in expected {
        assert_eq!(number(value), text);
    }
    assert_eq!(
        (bytes_text(8), bytes_text(65_536), bytes_text(4 << 20)),
        ("8 B".into(), "64 KiB".into(), "4 MiB".into())
    );
}
