//! What packing and unpacking cost beside a plain copy: items that lie apart, and the same bytes
//! side by side.

use std::hint::black_box;
use std::time::Duration;

use cohost::mpi::datatype::{Basic, Datatype, Form, Order};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Bytes of data in each case: within the second-level cache, and beyond the last.
const SIZES: [usize; 2] = [64 << 10, 64 << 20];

/// A name, and a type of about this many bytes.
fn types(bytes: usize) -> Vec<(&'static str, Datatype)> {
    let double = Datatype::of(Basic::Double);
    let n = (bytes / 8) as i64;
    let places: Vec<i64> = (0..n).map(|at| 2 * at + (at & 1)).collect();
    let member = |basic| Datatype::of(basic);
    let record = Datatype::structure(
        &[1, 1, 2],
        &[0, 8, 16],
        &[member(Basic::Int), member(Basic::Double), member(Basic::Short)],
        Form::Int,
    );
    let side = (n as f64).sqrt() as i64;
    let all = [
        ("contiguous", Datatype::contiguous(n, &double, Form::Large)),
        ("vector_1_of_2", Datatype::vector(n, 1, 2, &double, Form::Large)),
        ("vector_1_of_8", Datatype::vector(n, 1, 8, &double, Form::Large)),
        ("vector_4_of_8", Datatype::vector(n / 4, 4, 8, &double, Form::Large)),
        ("indexed_block", Datatype::indexed_block(1, &places, &double, Form::Large)),
        ("structs", record.and_then(|one| Datatype::contiguous(n / 2, &one, Form::Large))),
        (
            "inner_of_array",
            Datatype::subarray(&[side + 2; 2], &[side; 2], &[1; 2], Order::C, &double, Form::Large),
        ),
    ];
    all.into_iter().filter_map(|(name, made)| made.ok().map(|made| (name, made))).collect()
}

fn packing(criterion: &mut Criterion) {
    for bytes in SIZES {
        let mut group = criterion.benchmark_group(format!("datatype/{}KiB", bytes >> 10));
        for (name, datatype) in types(bytes) {
            let size = datatype.size() as usize;
            let mut memory = vec![1_u8; (datatype.true_lb() + datatype.true_extent()) as usize];
            let mut stream = vec![2_u8; size];
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(BenchmarkId::new("pack", name), |bencher| {
                // SAFETY: the memory holds one item.
                bencher.iter(|| unsafe {
                    datatype.pack(black_box(memory.as_ptr()), 1, 0, black_box(&mut stream));
                });
            });
            group.bench_function(BenchmarkId::new("unpack", name), |bencher| {
                // SAFETY: the memory holds one item.
                bencher.iter(|| unsafe {
                    datatype.unpack(black_box(memory.as_mut_ptr()), 1, 0, black_box(&stream));
                });
            });
            group.bench_function(BenchmarkId::new("pack_by_pieces_of_8KiB", name), |bencher| {
                bencher.iter(|| {
                    for (at, piece) in stream.chunks_mut(8 << 10).enumerate() {
                        // SAFETY: the memory holds one item.
                        unsafe { datatype.pack(black_box(memory.as_ptr()), 1, at << 13, piece) };
                    }
                });
            });
        }
    }
}

fn quick() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! { name = benches; config = quick(); targets = packing }
criterion_main!(benches);
