//! Encoding: one packet at a time, into a buffer that has room.

use bytes::BytesMut;
use criterion::{Criterion, Throughput};
use stormpetrel::mqtt::wire::encode;

use crate::samples;

pub(crate) fn run(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Elements(1));
    let mut out = BytesMut::with_capacity(64 * 1024);
    for sample in samples::all() {
        group.bench_function(sample.name, |bencher| {
            bencher.iter(|| {
                out.clear();
                encode(&sample.packet, sample.version, &mut out)
            });
        });
    }
}
