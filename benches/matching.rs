//! What it costs to match a message with others before it in the queue: posted receives that a
//! message finds, and waiting messages that a receive finds; exact, and by any source and any tag.
//!
//! The depth is that of entries which do not match. An exact search should not see them; one for
//! any source and tag takes the first of its context.

use std::hint::black_box;
use std::time::Duration;

use cohost::proto::matching::{Envelope, Matcher, Pattern};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

const DEPTHS: [u32; 3] = [1, 64, 4096];
const CONTEXT: u32 = 2;
/// The tag that is looked for; the others in the queue have lower ones.
const WANTED: i32 = i32::MAX;

fn envelope(tag: i32) -> Envelope {
    Envelope { context: CONTEXT, source: 1, tag }
}

fn exact(tag: i32) -> Pattern {
    Pattern { context: CONTEXT, source: Some(1), tag: Some(tag) }
}

/// Any source, but a tag: it has to be told from all others before it.
fn any_source(tag: i32) -> Pattern {
    Pattern { source: None, ..exact(tag) }
}

fn posted(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("posted");
    for depth in DEPTHS {
        for (name, pattern) in [("exact", exact as fn(i32) -> Pattern), ("any_source", any_source)]
        {
            let mut matcher = Matcher::default();
            for tag in 1..depth {
                matcher.post(pattern(tag as i32), u64::from(tag));
            }
            group.bench_function(BenchmarkId::new(name, depth), |bencher| {
                bencher.iter(|| {
                    matcher.post(pattern(WANTED), 0);
                    let taken = matcher.take_posted(black_box(&envelope(WANTED)));
                    assert_eq!(taken, Some(0));
                });
            });
        }
    }
}

fn unexpected(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("unexpected");
    for depth in DEPTHS {
        for (name, pattern) in [("exact", exact as fn(i32) -> Pattern), ("any_source", any_source)]
        {
            let mut matcher = Matcher::default();
            for tag in 1..depth {
                matcher.wait(envelope(tag as i32), u64::from(tag));
            }
            group.bench_function(BenchmarkId::new(name, depth), |bencher| {
                bencher.iter(|| {
                    matcher.wait(envelope(WANTED), 0);
                    let taken = matcher.take_waiting(black_box(&pattern(WANTED)));
                    assert_eq!(taken, Some((envelope(WANTED), 0)));
                });
            });
        }
    }
}

fn quick() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! { name = benches; config = quick(); targets = posted, unexpected }
criterion_main!(benches);
