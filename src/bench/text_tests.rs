use super::*;
use crate::report::schema::CpuTime;

fn machine() -> Limits {
    Limits {
        cell_us: Some(0.06),
        two_copy_us: BTreeMap::from([(1024, 0.3), (65_536, 7.0), (4_194_304, 340.0)]),
        memcpy_mbytes_per_s: BTreeMap::from([(1024, 20_000.0)]),
        tcp_us: BTreeMap::from([(8, 3.0), (65_536, 13.0), (1_048_576, 110.0)]),
        skipped: None,
    }
}

fn made(layout: &str, path: &str, times: &[(u64, &[f64])]) -> Series {
    let sample = |bytes: u64, t: f64| Sample {
        benchmark: "PingPong".into(),
        ranks: 2,
        path: path.into(),
        bytes,
        repetitions: 1000,
        t_min_us: t,
        t_max_us: t,
        t_avg_us: t,
        cpu_us: CpuTime { user: 1.0, system: 0.5, steal: 0.0 },
        defects: None,
        clock: None,
    };
    let samples = times.iter().map(|(b, ts)| (*b, ts.iter().map(|t| sample(*b, *t)).collect()));
    let samples = samples.collect();
    Series { benchmark: Benchmark::PingPong, layout: layout.into(), ranks: 2, samples }
}

#[test]
fn the_limit_of_a_path_is_its_own() {
    let limits = machine();
    assert_eq!(limit_us(&limits, "ring", 8), Some(0.06));
    assert_eq!(limit_us(&limits, "ring", 48), Some(0.06));
    assert_eq!(limit_us(&limits, "ring", 65_536), Some(7.0));
    assert_eq!(limit_us(&limits, "tcp", 0), Some(3.0));
    assert_eq!(limit_us(&limits, "tcp", 2 << 20), Some(220.0));
    assert_eq!(limit_us(&limits, "ring+tcp", 8), Some(3.0));
    assert_eq!(limit_us(&limits, "self", 1024), Some(0.0512));
    assert_eq!(limit_us(&limits, "unknown", 8), None);
    let between = limit_us(&limits, "ring", 512).unwrap();
    assert!(0.06 < between && between < 0.3, "{between}");
}

#[test]
fn without_a_second_core_there_is_no_limit_and_the_reason_is_given() {
    let limits = Limits { skipped: Some("one core".into()), ..Limits::default() };
    assert_eq!(limit_us(&limits, "ring", 8), None);
    assert_eq!(limit_us(&limits, "ring", 4096), None);
    assert_eq!(limit_us(&limits, "tcp", 8), None);
    let text = series(&made("1x2", "ring", &[(8, &[0.2])]), &limits, false);
    assert!(text.contains("not measured: one core"), "{text}");
}

#[test]
fn beside_a_table_each_time_is_a_multiple_of_the_limit() {
    let text = series(&made("1x2", "ring", &[(8, &[0.12]), (65_536, &[14.0])]), &machine(), false);
    let expected = "
# layout 1x2, path ring, 1 launch
# limits [usec]: one cache line 0.06; two copies 64 KiB 7.0, 1 MiB 0; TCP 8 B 3.0, 1 MiB 110
#---------------------------------------------------
# Benchmarking PingPong 
# #processes = 2 
#---------------------------------------------------
       #bytes #repetitions      t[usec]   Mbytes/sec
            8         1000         0.12        66.67
        65536         1000        14.00      4681.14
# beside the least time of one message of that size on this path, and processor time of one repetition:
#      #bytes      t[usec]  limit[usec]     multiple   user[usec]    sys[usec]
#           8        0.120        0.060         2.00        1.000        0.500
#       65536       14.000        7.000         2.00        1.000        0.500
";
    assert_eq!(text, expected);
}

#[test]
fn every_line_that_imb_does_not_have_is_a_comment() {
    let two = made("1x2", "ring", &[(8, &[0.1, 0.2])]);
    let allowed = machine();
    let mut text = series(&two, &allowed, false);
    text.push_str(&limits(&allowed));
    text.push_str(&opening(&Provenance::default(), &[Benchmark::PingPong]));
    text.push_str(
        &comparison(&[two, made("2x1", "tcp", &[(8, &[4.0])])], |_| Some(&allowed)).unwrap(),
    );
    let plain: Vec<_> = text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).collect();
    let heading = "       #bytes #repetitions      t[usec]   Mbytes/sec";
    assert_eq!(plain, [heading, "            8         1000         0.15        53.33"]);
}

#[test]
fn few_launches_say_that_the_median_has_no_interval() {
    let text = series(&made("1x2", "ring", &[(8, &[1.0, 2.0, 3.0])]), &machine(), false);
    assert!(
        text.contains("no interval of the median: 3 launches cannot reach 95 %, 6 can (--runs 6)")
    );
    let enough = series(&made("1x2", "ring", &[(8, &[1.0; 6])]), &machine(), false);
    assert!(!enough.contains("no interval"));
}

#[test]
fn the_comparison_needs_both_paths() {
    let ring = made("1x2", "ring", &[(8, &[0.2]), (1024, &[0.5])]);
    let tcp = made("2x1", "tcp", &[(8, &[4.0])]);
    let allowed = machine();
    assert_eq!(comparison(std::slice::from_ref(&ring), |_| Some(&allowed)), None);
    let text = comparison(&[ring, tcp], |_| Some(&allowed)).unwrap();
    let line = "#           8         0.20         3.33           40         4.00         1.33            2         20.0";
    assert!(text.contains(line), "{text}");
    assert!(!text.contains("1024"), "a size measured on one path only is no comparison");
}
