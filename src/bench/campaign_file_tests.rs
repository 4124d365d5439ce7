use super::*;

fn read(text: &str) -> Result<CampaignFile, String> {
    CampaignFile::from_text(text, Path::new("dir/c.toml")).map_err(|e| e.to_string())
}

const GOOD: &str = "layouts = [\"1x2\", \"2x1\"]\nruns = 3\npaths = [\"ring\", \"tcp\"]\nsizes = \"8,64K\"\nresult = \"r.json\"\n";

#[test]
fn a_plan_holds_every_launch_once_in_an_order_that_the_seed_decides() {
    let file = read(GOOD).unwrap();
    let (a, b) = (file.plan(1), file.plan(2));
    assert_eq!(a.len(), 9, "1x2 over ring and tcp, 2x1 over tcp, three times");
    assert_ne!(a, b);
    assert_eq!(a, file.plan(1));
    let sorted = |mut plan: Vec<Planned>| {
        plan.sort_by_key(|p| p.id);
        plan
    };
    assert_eq!(sorted(a), sorted(b));
    assert_eq!(file.result, Some(PathBuf::from("dir/r.json")));
}

#[test]
fn the_digest_changes_with_what_is_measured_and_not_with_seed_or_place() {
    let digest = |text: &str| read(text).unwrap().digest();
    assert_eq!(digest(GOOD), digest(&format!("{GOOD}seed = 5\n")));
    assert_ne!(digest(GOOD), digest(&GOOD.replace("runs = 3", "runs = 4")));
}

#[test]
fn what_is_wrong_is_named_with_its_line_or_reason() {
    for (text, words) in [
        ("layouts = [\"1x2\"]\nruns = 1\nlayuots = 3\n", "line 3: unknown field"),
        ("layouts = [\"1x2\"\nruns = 1\n", "line "),
        ("layouts = []\nruns = 1\n", "layouts is empty"),
        ("layouts = [\"1x2\"]\nruns = 0\n", "runs must be 1 to"),
        ("layouts = [\"2x1\"]\nruns = 1\npaths = [\"ring\"]\n", "rings alone cannot join"),
        ("layouts = [\"1x2\", \"1x2\"]\nruns = 1\n", "named twice"),
        (
            "layouts = [\"1x2\"]\nruns = 1\n[target]\nkind = \"uml\"\nnic = [\"e1000\"]\n",
            "nic names devices of QEMU, and the target is uml",
        ),
        (
            "layouts = [\"1x2\"]\nruns = 1\n[target]\nkind = \"qemu\"\nnic = [\"e1000\", \"e1000\"]\n",
            "qemu with e1000 is named twice",
        ),
        ("layouts = [\"1x2\"]\nruns = 1\n[target]\nmemory = 256\n", "name a target kind"),
        (
            "layouts = [\"1x2\"]\nruns = 1\nnetns = true\n[target]\nkind = \"uml\"\n",
            "netns is for processes",
        ),
        ("layouts = [\"1x2\"]\nruns = 1\n[target]\nkind = \"moon\"\n", "line 4"),
        ("layouts = [\"1x2\"]\nruns = 1\nbenchmarks = [\"pong\"]\n", "known are PingPong"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(words), "{text}: {error}");
    }
}

const GUESTS: &str = "layouts = [\"1x1\", \"1x2\", \"2x1\", \"2x2\"]\nruns = 5\npaths = [\"auto\", \"tcp\"]\n[target]\nkind = \"qemu\"\nnic = [\"e1000\", \"pcnet\"]\nprocesses = true\n";

#[test]
fn guests_are_booted_once_for_each_device_and_layout_and_their_launches_stay_together() {
    let file = read(GUESTS).unwrap();
    let names: Vec<String> = file.places.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["qemu with e1000", "qemu with pcnet", "processes"]);
    for seed in 0..20 {
        let plan = file.plan(seed);
        let mut boots: Vec<(usize, Layout)> = plan
            .iter()
            .filter(|p| file.places[p.series.place].has_guests())
            .map(|p| (p.series.place, p.series.layout))
            .collect();
        boots.dedup();
        assert_eq!(boots.len(), 8, "four layouts, two devices, each booted once: {boots:?}");
        let mut layouts: Vec<Layout> = plan.iter().map(|p| p.series.layout).collect();
        layouts.dedup();
        assert!(layouts.len() <= 8, "processes are measured while guests of their layout are");
        let mut ids: Vec<u64> = plan.iter().map(|p| p.id).collect();
        ids.sort_unstable();
        assert_eq!(ids, (0..plan.len() as u64).collect::<Vec<_>>());
    }
}

#[test]
fn what_would_be_the_same_launches_is_planned_once() {
    let file = read(GUESTS).unwrap();
    let of = |place: usize| -> Vec<String> {
        let here = file.series.iter().filter(|s| s.place == place);
        here.map(|s| format!("{} {}", s.layout, s.path)).collect()
    };
    // A rank with itself has one path; between hosts of one rank each there is only TCP.
    assert_eq!(of(0), ["1x1 auto", "1x2 auto", "1x2 tcp", "2x1 tcp", "2x2 auto", "2x2 tcp"]);
    assert_eq!(of(2), ["1x1 auto", "1x2 auto", "1x2 tcp"], "processes: layouts of one host");
}
