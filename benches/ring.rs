//! What a frame costs one thread: written into a ring over private memory, found, copied out and
//! given back. No peer and no cache line that moves: the price of the instructions.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use cohost::frame::{Header, Payload};
use cohost::region::Geometry;
use cohost::region::access::{Local, Mapping};
use cohost::ring::{CONTROL_LEN, Consumer, Producer, Size};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const SIZES: [usize; 4] = [8, 48, 1024, 8192];

fn ring() -> (Producer, Consumer) {
    let Geometry { cells, bulk } = Geometry::default();
    let size = Size { cells, bulk };
    let own = |len| Local::new(Arc::new(Mapping::heap(len)));
    let (cells, bulk, control) = (own(size.cell_bytes()), own(bulk as usize), own(CONTROL_LEN));
    let consumer = Consumer::new(cells.as_remote(), bulk.as_remote(), control.clone(), size);
    (Producer::new(cells, bulk, control.as_remote(), size), consumer)
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    for len in SIZES {
        let (mut producer, mut consumer) = ring();
        let (payload, mut into) = (vec![7; len], vec![0; len]);
        let header = Header { len: len as u32, total: len as u64, ..Header::default() };
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::new("push_peek_release", len), |bencher| {
            bencher.iter(|| {
                let pushed = producer.push(black_box(&header), black_box(&payload));
                assert_eq!(pushed, Ok(cohost::ring::Pushed::Done));
                let incoming = consumer.peek().expect("a sound ring").expect("a frame");
                consumer.payload(&incoming).copy_to(0, &mut into);
                consumer.release(incoming);
                black_box(&mut into);
            });
        });
    }
    let (_producer, consumer) = ring();
    group.throughput(Throughput::Elements(1));
    group.bench_function("look_at_an_empty_ring", |bencher| bencher.iter(|| consumer.ready()));
}

fn quick() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! { name = benches; config = quick(); targets = frames }
criterion_main!(benches);
