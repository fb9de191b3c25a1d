//! tmp
use std::time::Instant;
use stormpetrel_sim::*;
fn main() {
    let a: Vec<u64> = std::env::args().skip(1).map(|x| x.parse().unwrap()).collect();
    let (from, to) = (a[0], a[1]);
    let t = Instant::now();
    let mut marks = Marks::default();
    let (mut ops, mut events, mut fails, mut quiet, mut sims) = (0usize, 0usize, 0, 0, 0u64);
    let mut gen_t = std::time::Duration::ZERO;
    for seed in from..to {
        let g = Instant::now();
        let s = Plan::drawn(seed).scenario();
        gen_t += g.elapsed();
        let r = machine_level::run(&s);
        ops += s.ops.len();
        events += r.history.events().len();
        sims += r.elapsed_ms;
        marks.add(&r.marks);
        if let Some(f) = &r.failure {
            fails += 1;
            if fails < 20 {
                println!("seed {seed}: {f}");
            }
        }
        match r
            .history
            .events()
            .iter()
            .rev()
            .find(|e| matches!(e.what, What::Ended { .. }))
            .map(|e| &e.what)
        {
            Some(What::Ended { is_quiet: true }) => {}
            _ => {
                quiet += 1;
                if quiet < 12 {
                    println!("seed {seed} not quiet");
                }
            }
        }
    }
    let e = t.elapsed();
    println!(
        "{} seeds, {} ops, {} events, {} failures, {} not quiet, {:?}, gen {:?}, {:.0} seeds/s, sim s {}",
        to - from,
        ops,
        events,
        fails,
        quiet,
        e,
        gen_t,
        (to - from) as f64 / e.as_secs_f64(),
        sims / 1000
    );
    println!("{marks}");
}
