use super::*;

fn sample() -> Document {
    let result = BenchResult {
        benchmark: "PingPong".into(),
        layout: "1x2".into(),
        path: "ring".into(),
        ranks: 2,
        bytes: 8,
        repetitions: 1000,
        t_us: TimeStats { mean: 0.2, median: 0.2, min: 0.19, max: 0.21, ci95: Some([0.18, 0.22]) },
        mbytes_per_s: 40.0,
        cpu_us: CpuTime { user: 0.4, system: 0.0, steal: 0.0 },
        samples_us: vec![0.19, 0.21],
        clock_drift_ppm: None,
        clock_uncertainty_ppm: None,
    };
    Document {
        schema: SCHEMA.into(),
        provenance: Provenance { hypervisor: "kvm".into(), cores: 2, ..Provenance::default() },
        limits: Limits {
            cell_us: Some(0.06),
            two_copy_us: BTreeMap::from([(1024, 0.3), (4_194_304, 340.0)]),
            ..Limits::default()
        },
        results: vec![result.clone(), BenchResult { bytes: 16, ..result }],
        stated: Vec::new(),
        also: Vec::new(),
    }
}

fn refuse(text: &str) -> String {
    Document::from_text(text, Path::new("x.json")).unwrap_err().to_string()
}

#[test]
fn what_is_written_is_read_back_the_same() {
    let text = sample().to_text().unwrap();
    assert_eq!(Document::from_text(&text, Path::new("x")).unwrap(), sample());
}

#[test]
fn figures_of_several_places_are_read_back_and_can_be_taken_apart() {
    let mut both = sample();
    let other = Provenance { hypervisor: "uml".into(), ..Provenance::default() };
    for results in [sample().results, Vec::new()] {
        let (provenance, limits) = (other.clone(), Limits::default());
        both.also.push(Part { provenance, limits, results });
    }
    let back = Document::from_text(&both.to_text().unwrap(), Path::new("x")).unwrap();
    assert_eq!(back, both);
    let apart = back.by_place();
    let names: Vec<_> = apart.iter().map(|d| d.provenance.hypervisor.as_str()).collect();
    assert_eq!(names, ["kvm", "uml", "uml"]);
    assert_eq!(apart[0], sample(), "the first place alone is a file as of one place");
    assert_eq!(apart[1].results, sample().results);
}

/// The names are a contract: other programs read this file.
#[test]
fn the_names_in_the_file_are_those_of_the_contract() {
    let value: serde_json::Value = serde_json::from_str(&sample().to_text().unwrap()).unwrap();
    assert_eq!(value["schema"], "cohost-bench/1");
    assert_eq!(value["limits"]["cell_us"], 0.06);
    assert_eq!(value["limits"]["two_copy_us"]["4194304"], 340.0);
    assert!(value["limits"]["memcpy_mbytes_per_s"].is_object());
    assert!(value["limits"]["tcp_us"].is_object());
    let keys: Vec<_> = value["results"][0].as_object().unwrap().keys().cloned().collect();
    let mut expected = vec![
        "benchmark",
        "layout",
        "path",
        "ranks",
        "bytes",
        "repetitions",
        "t_us",
        "mbytes_per_s",
        "cpu_us",
        "samples_us",
    ];
    expected.sort_unstable();
    let mut keys: Vec<_> = keys.iter().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, expected);
    for key in ["mean", "median", "min", "max", "ci95"] {
        assert!(value["results"][0]["t_us"].get(key).is_some(), "{key}");
    }
    for key in ["user", "system", "steal"] {
        assert!(value["results"][0]["cpu_us"].get(key).is_some(), "{key}");
    }
}

#[test]
fn a_newer_schema_is_called_newer_whatever_else_it_holds() {
    let message = refuse("{\n\"surprise\": [1],\n\"schema\": \"cohost-bench/2\"}");
    assert!(message.contains("line 3") && message.contains("newer"), "{message}");
}

#[test]
fn a_foreign_file_is_refused_with_what_it_says_of_itself() {
    assert!(refuse("{\"schema\":\"imb/1\"}").contains("\"imb/1\""));
    assert!(refuse("{\"schema\":7}").contains("the schema is 7"));
    assert!(refuse("{}").contains("missing"));
    assert!(refuse("{\"schema\":\"cohost-bench/01x\"}").contains("not written by"));
    assert!(refuse("#bytes #repetitions").contains("line 1"));
}

#[test]
fn a_file_cut_short_anywhere_is_refused_with_a_line() {
    let text = sample().to_text().unwrap();
    for end in 0..text.len() - 2 {
        let message = refuse(&text[..end]);
        assert!(message.contains("line "), "cut at {end}: {message}");
    }
}

#[test]
fn an_impossible_value_is_refused_with_its_line() {
    let text = sample().to_text().unwrap();
    for (from, to, why) in [
        ("\"ranks\":2", "\"ranks\":0", "at least 1"),
        ("\"samples_us\":[0.19,0.21]", "\"samples_us\":[]", "0 samples"),
        ("\"min\":0.19", "\"min\":9.0", "above the maximum"),
        ("\"mbytes_per_s\":40.0", "\"mbytes_per_s\":-1.0", "neither a time nor a rate"),
        ("[0.18,0.22]", "[0.3,0.22]", "is none"),
        ("\"bytes\":16", "\"bytes\":\"many\"", "invalid type"),
    ] {
        let at = text.rfind(from).unwrap();
        let broken = format!("{}{to}{}", &text[..at], &text[at + from.len()..]);
        let message = refuse(&broken);
        assert!(message.contains("line 6") && message.contains(why), "{message}");
    }
}

#[test]
fn a_single_launch_has_a_null_interval() {
    let mut document = sample();
    document.results[0].t_us.ci95 = None;
    let text = document.to_text().unwrap();
    assert!(text.contains("\"ci95\":null"));
    assert_eq!(Document::from_text(&text, Path::new("x")).unwrap(), document);
}

#[test]
fn writing_replaces_the_file_whole_and_leaves_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.json");
    check_writable(&path).unwrap();
    assert!(!path.exists());
    fs::write(&path, "old").unwrap();
    check_writable(&path).unwrap();
    sample().write(&path).unwrap();
    assert_eq!(Document::read(&path).unwrap(), sample());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let path = Path::new("/nonexistent/dir/out.json");
    assert!(check_writable(path).unwrap_err().to_string().contains("/nonexistent/dir/out.json"));
    assert!(sample().write(path).is_err());
}

#[test]
fn a_full_device_is_an_error_and_stays_a_device() {
    let path = Path::new("/dev/full");
    if !path.exists() {
        return;
    }
    let message = sample().write(path).unwrap_err().to_string();
    assert!(message.contains("/dev/full"), "{message}");
    assert!(path.exists() && !path.is_file());
}

#[test]
fn binary_noise_is_refused_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("noise");
    fs::write(&path, [0xff, b'\n', 0xfe]).unwrap();
    assert!(Document::read(&path).unwrap_err().to_string().contains("line 2"));
    assert!(Document::read(&dir.path().join("absent")).is_err());
}

proptest::proptest! {
    /// Whatever a file holds, reading it ends in a document or a complaint.
    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,300}") {
        let _ = Document::from_text(&text, Path::new("x"));
    }

    /// A document with one byte changed is still valid or refused with a line; never half read.
    #[test]
    fn a_changed_byte_is_no_panic(at in 0usize..1200, byte in 0x20u8..0x7f) {
        let mut bytes = sample().to_text().unwrap().into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        let text = String::from_utf8(bytes).unwrap();
        match Document::from_text(&text, Path::new("x")) {
            Ok(document) => proptest::prop_assert_eq!(document.results.len(), 2),
            Err(error) => proptest::prop_assert!(error.to_string().contains("line ")),
        }
    }
}
