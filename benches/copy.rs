//! What copies cost through the door to shared bytes (`src/region/access.rs`), beside a plain copy
//! in private memory, and what it costs to keep a copy of a message until it is acknowledged.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use cohost::region::access::{Local, Mapping};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const SIZES: [usize; 5] = [8, 48, 1024, 8192, 65_536];

fn copies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("copy");
    for len in SIZES {
        let ours = Local::new(Arc::new(Mapping::heap(len)));
        let theirs = ours.as_remote();
        let (from, mut into, mut kept) = (vec![7_u8; len], vec![0_u8; len], Vec::new());
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::new("in", len), |bencher| {
            bencher.iter(|| ours.copy_in(0, black_box(&from)));
        });
        group.bench_function(BenchmarkId::new("out", len), |bencher| {
            bencher.iter(|| theirs.copy_out(0, black_box(&mut into)));
        });
        group.bench_function(BenchmarkId::new("private", len), |bencher| {
            bencher.iter(|| black_box(&mut into).copy_from_slice(black_box(&from)));
        });
        // As messages are kept over TCP: into the memory of the last copy that was let go.
        group.bench_function(BenchmarkId::new("kept_in_used_memory", len), |bencher| {
            bencher.iter(|| {
                kept.clear();
                kept.extend_from_slice(black_box(&from));
                black_box(&mut kept);
            });
        });
        group.bench_function(BenchmarkId::new("kept_in_fresh_memory", len), |bencher| {
            bencher.iter(|| black_box(black_box(&from).clone()));
        });
    }
}

fn quick() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! { name = benches; config = quick(); targets = copies }
criterion_main!(benches);
