//! Decoding: one packet at a time, of a client.

use std::slice;

use bytes::Bytes;
use criterion::{Criterion, Throughput};
use stormpetrel::mqtt::wire::{CONNECT_BYTES_MAX, Decoder, Packet, Sender};

use crate::kit::packets::bytes;
use crate::samples;

pub(crate) fn run(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(1));
    for sample in samples::all() {
        let encoded = bytes(slice::from_ref(&sample.packet), sample.version);
        let decoder = match sample.packet {
            Packet::Connect(_) => Decoder::new(Sender::Client, CONNECT_BYTES_MAX),
            _ => Decoder::with_version(Sender::Client, sample.version, CONNECT_BYTES_MAX),
        };
        assert_eq!(decode(decoder.clone(), encoded.clone()), sample.packet);
        group.bench_function(sample.name, |bencher| {
            bencher.iter(|| decode(decoder.clone(), encoded.clone()));
        });
    }
}

fn decode(mut decoder: Decoder, mut encoded: Bytes) -> Packet {
    decoder.decode(&mut encoded).expect("a packet").expect("a whole packet")
}
