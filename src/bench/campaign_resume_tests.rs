use std::cell::RefCell;

use super::*;
use crate::launch::{Outcome, RunOptions};
use crate::report::schema::{ClockCheck, CpuTime};

const FILE: &str = "layouts = [\"1x2\", \"2x1\"]\nbenchmarks = [\"PingPong\"]\nruns = 4\npaths = [\"auto\", \"tcp\"]\nsizes = \"8\"\n";

fn good(options: &RunOptions) -> Outcome {
    let sample = super::super::worker::Sample {
        clock: None,
        benchmark: "PingPong".into(),
        ranks: options.ranks,
        path: "tcp".into(),
        bytes: 8,
        repetitions: 1000,
        t_min_us: 1.0,
        t_max_us: 1.0,
        t_avg_us: 1.0,
        cpu_us: CpuTime::default(),
        defects: None,
    };
    Outcome { captured: serde_json::to_vec(&sample).unwrap(), ..Outcome::default() }
}

struct Seen {
    result: Result<Verdict, ResumeError>,
    started: usize,
    progress: Vec<String>,
}

fn carry_out(text: &str, dir: &Path, mut job: impl FnMut(usize, &RunOptions) -> Outcome) -> Seen {
    let file = CampaignFile::from_text(text, &dir.join("c.toml")).unwrap();
    let started = RefCell::new(0);
    let mut progress = Vec::new();
    let result = run(
        &file,
        Some(&dir.join("r.json")),
        &"cohost".into(),
        &mut Stage {
            open: &mut |_| Ok(None),
            launch: &mut |options| {
                *started.borrow_mut() += 1;
                let n = *started.borrow();
                Ok(job(n, options))
            },
            limits: &mut || Ok(Limits::default()),
            print: &mut |_| Ok(()),
            complain: &mut |_| {},
            progress: &mut |_, _, what| progress.push(what.to_owned()),
        },
        &mut super::campaign_guests::NoGuests,
    );
    let started = *started.borrow();
    Seen { result, started, progress }
}

fn interrupted() -> Outcome {
    Outcome { exit_code: 130, ..Outcome::default() }
}

#[test]
fn a_campaign_interrupted_after_every_launch_measures_each_once_and_ends_complete() {
    let dir = tempfile::tempdir().unwrap();
    let mut launches = 0;
    for _ in 0..11 {
        let seen = carry_out(FILE, dir.path(), |n, options| match n {
            1 => good(options),
            _ => interrupted(),
        });
        launches += 1;
        if seen.result.unwrap().is_good() {
            break;
        }
    }
    assert!(launches <= 12);
    let seen = carry_out(FILE, dir.path(), |_, options| good(options));
    assert!(seen.result.unwrap().is_good());
    let document = Document::read(&dir.path().join("r.json")).unwrap();
    let samples: usize = document.results.iter().map(|r| r.samples_us.len()).sum();
    assert_eq!(samples, 12, "1x2 over two paths, 2x1 over TCP, four runs");
    assert!(document.provenance.seed.is_some());
    assert!(!dir.path().join("r.json.journal").exists());
    let again = carry_out(FILE, dir.path(), |_, _| panic!("measured twice"));
    assert!(again.result.unwrap().is_good());
}

#[test]
fn a_launch_that_failed_is_repeated_when_the_campaign_is_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    let seen = carry_out(FILE, dir.path(), |n, options| match n {
        3 => Outcome { exit_code: 9, ..Outcome::default() },
        _ => good(options),
    });
    assert_eq!((seen.result.unwrap().failed, seen.started), (1, 12));
    let seen = carry_out(FILE, dir.path(), |_, options| good(options));
    assert_eq!((seen.result.unwrap().failed, seen.started), (0, 1));
}

#[test]
fn the_time_remaining_is_said_from_the_second_launch_on() {
    let dir = tempfile::tempdir().unwrap();
    let seen = carry_out(FILE, dir.path(), |_, options| good(options));
    assert!(!seen.progress[1].contains("left"), "{:?}", seen.progress);
    assert!(seen.progress[2].contains(", about 0 s left"), "{:?}", seen.progress);
    assert_eq!(
        (duration(89.0), duration(600.0), duration(7200.0)),
        ("89 s".into(), "10 min".into(), "2.0 h".into())
    );
}

#[test]
fn another_file_in_the_place_of_the_result_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("r.json"), "precious").unwrap();
    let seen = carry_out(FILE, dir.path(), |_, _| panic!("started"));
    assert!(seen.result.unwrap_err().is_usage());
    assert_eq!(std::fs::read_to_string(dir.path().join("r.json")).unwrap(), "precious");
}

#[test]
fn a_campaign_begun_elsewhere_is_not_mixed_with_this_machine() {
    let here = Provenance { kernel: "Linux 6".into(), ..Provenance::default() };
    let there = Provenance { kernel: "Linux 5".into(), ..Provenance::default() };
    assert!(same_place(&here, &here, Path::new("j")).is_ok());
    let error = same_place(&there, &here, Path::new("j")).unwrap_err().to_string();
    assert!(error.contains("the kernel was \"Linux 5\""), "{error}");
}

const IN_GUESTS: &str = "layouts = [\"1x2\", \"2x1\"]\nbenchmarks = [\"PingPong\"]\nruns = 4\npaths = [\"auto\", \"tcp\"]\nsizes = \"8\"\n[target]\nkind = \"uml\"\nprocesses = true\n";

/// Guests that are only pretended, with a diary.
#[derive(Default)]
struct Pretended {
    up: bool,
    boots: Vec<String>,
    launches: usize,
    /// The first launch that is interrupted.
    until: usize,
    fails: bool,
}

impl Guests for Pretended {
    fn check(&self, _: &Place, _: Layout) -> Result<(), String> {
        Ok(())
    }

    fn open(&mut self, place: &Place, layout: Layout) -> Result<(Provenance, Limits), String> {
        assert!(!self.up, "the last guests were not taken down");
        self.up = true;
        self.boots.push(format!("{place} {layout}"));
        let provenance = Provenance {
            hypervisor: "uml".into(),
            target: "guests".into(),
            nic: "tap".into(),
            ..Provenance::default()
        };
        Ok((provenance, Limits::default()))
    }

    fn launch(&mut self, options: &RunOptions) -> Result<Outcome, crate::launch::LaunchError> {
        assert!(self.up, "a launch without guests");
        assert_eq!(options.program, "cohost", "the program of the guests, not of this machine");
        self.launches += 1;
        match self.fails {
            true => Err(crate::launch::LaunchError::NotStarted { rank: 1, reason: "gone".into() }),
            false if self.launches >= self.until => Ok(interrupted()),
            false => Ok(good(options)),
        }
    }

    fn clock(&mut self) -> Option<ClockCheck> {
        let (elapsed_s, difference_s, resolution_s) = (10.0, self.boots.len() as f64, 0.02);
        let against = "the host's".to_owned();
        self.up.then_some(ClockCheck { against, elapsed_s, difference_s, resolution_s })
    }

    fn close(&mut self) {
        self.up = false;
    }
}

fn in_guests(dir: &Path, guests: &mut Pretended) -> Result<Verdict, ResumeError> {
    let file = CampaignFile::from_text(IN_GUESTS, &dir.join("c.toml")).unwrap();
    let outcome = run(
        &file,
        Some(&dir.join("r.json")),
        &"/this/machines/cohost".into(),
        &mut Stage {
            open: &mut |_| Ok(None),
            launch: &mut |options| {
                assert_eq!(options.program, "/this/machines/cohost");
                Ok(good(options))
            },
            limits: &mut || Ok(Limits::default()),
            print: &mut |_| Ok(()),
            complain: &mut |_| {},
            progress: &mut |_, _, _| {},
        },
        guests,
    );
    assert!(!guests.up, "no guest stays");
    outcome
}

#[test]
fn guests_are_booted_once_for_a_layout_and_again_only_after_an_interruption() {
    let dir = tempfile::tempdir().unwrap();
    let mut guests = Pretended { until: 3, ..Pretended::default() };
    assert!(in_guests(dir.path(), &mut guests).unwrap().interrupted);
    assert_eq!((guests.boots.len(), guests.launches), (1, 3), "two launches were kept");
    let mut guests = Pretended { until: usize::MAX, ..Pretended::default() };
    assert!(in_guests(dir.path(), &mut guests).unwrap().is_good());
    assert_eq!(guests.launches, 10, "1x2 over two paths, 2x1 over TCP, four times, but for two");
    guests.boots.sort();
    assert_eq!(guests.boots, ["uml 1x2", "uml 2x1"]);
}

#[test]
fn each_place_has_its_own_figures_conditions_and_clock_in_the_result() {
    let dir = tempfile::tempdir().unwrap();
    let mut guests = Pretended { until: usize::MAX, ..Pretended::default() };
    assert!(in_guests(dir.path(), &mut guests).unwrap().is_good());
    let document = Document::read(&dir.path().join("r.json")).unwrap();
    let [uml, processes] = &document.by_place()[..] else { panic!("not two places") };
    let samples = |d: &Document| d.results.iter().map(|r| r.samples_us.len()).sum::<usize>();
    assert_eq!((samples(uml), samples(processes)), (12, 8));
    assert_eq!((uml.provenance.hypervisor.as_str(), uml.provenance.nic.as_str()), ("uml", "tap"));
    assert_eq!(processes.provenance.target, "processes");
    assert!(processes.results.iter().all(|r| r.layout == "1x2"));
    let worst = uml.provenance.clock.as_ref().map(|c| c.difference_s);
    assert_eq!(worst, Some(2.0), "the worst clock of all boots");
}

#[test]
fn guests_that_only_fail_end_the_campaign_and_its_result_stays_unwritten() {
    let dir = tempfile::tempdir().unwrap();
    let mut guests = Pretended { fails: true, ..Pretended::default() };
    let error = in_guests(dir.path(), &mut guests).unwrap_err().to_string();
    assert!(error.contains("3 launches in a row failed"), "{error}");
    assert_eq!((guests.launches, guests.boots.len()), (3, 3), "fresh guests after each failure");
    assert!(!dir.path().join("r.json").exists());
}
