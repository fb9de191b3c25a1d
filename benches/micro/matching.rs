//! Matching: the filters of a thousand or a million subscriptions, nine in ten of them exact.
//!
//! `named` topics are those of exact filters, or are matched by a wildcard in their place; of
//! `not named` ones there is no filter. `same` asks for one topic again and again, so that the
//! processor's caches have all that it takes; `other` for another one each time.

use std::cell::LazyCell;

use criterion::{BenchmarkId, Criterion, Throughput};
use stormpetrel::mqtt::topic::tree::FilterTree;
use stormpetrel::mqtt::topic::{TopicFilter, TopicName};

use crate::kit::packets::topic;

const FEW: u32 = 1_000;
const MANY: u32 = 1_000_000;
/// Far from the one before, so that no cache line serves twice.
const STRIDE: u32 = 7_919;

pub(crate) fn run(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("matching");
    group.throughput(Throughput::Elements(1));
    for count in [FEW, MANY] {
        // Made when they are asked for: whoever runs other benches does not wait for them.
        let tree = LazyCell::new(|| tree(count));
        let names_from = |first| (first..first + count).map(|n| topic(&name(n))).collect();
        for (what, first) in [("named", 0), ("not named", count)] {
            let names: LazyCell<Vec<TopicName>, _> = LazyCell::new(|| names_from(first));
            group.bench_function(BenchmarkId::new(format!("{what}, same"), count), |bencher| {
                bencher.iter(|| matches(&tree, &names[0]));
            });
            let mut next = 0;
            group.bench_function(BenchmarkId::new(format!("{what}, other"), count), |bencher| {
                bencher.iter(|| {
                    next = (next + STRIDE) % count;
                    matches(&tree, &names[next as usize])
                });
            });
        }
    }
}

/// `count` filters: of each ten devices nine are named, and the tenth's filter has wildcards.
fn tree(count: u32) -> FilterTree<u32> {
    let mut tree = FilterTree::new(7);
    for n in 0..count {
        let text = match n % 20 {
            9 => format!("site/{}/device/{n}/#", n % 100),
            19 => format!("site/+/device/{n}/state"),
            _ => name(n),
        };
        let filter = TopicFilter::try_from(text.as_str()).expect("a valid filter");
        tree.get_or_insert_with(&filter, || n);
    }
    tree
}

fn name(n: u32) -> String {
    format!("site/{}/device/{n}/state", n % 100)
}

fn matches(tree: &FilterTree<u32>, name: &TopicName) -> u32 {
    let mut sum = 0;
    let _ = tree.for_each_match(name, usize::MAX, |value| sum += value);
    sum
}
