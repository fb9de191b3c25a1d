//! All randomness of a run: one stream for each purpose, so that one more draw in one place
//! shifts nothing in another.
//!
//! Knows nothing of what is drawn. The network's latencies come from turmoil's own generator.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// One stream of random numbers.
#[derive(Clone, Debug)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream for a purpose; `ordinal` tells those of the same purpose apart.
    pub fn new(seed: u64, purpose: &str, ordinal: u64) -> Dice {
        let mut numbers = ChaCha8Rng::seed_from_u64(seed ^ fnv(purpose));
        numbers.set_stream(ordinal);
        Dice(numbers)
    }

    /// True in so many of a thousand cases.
    pub fn chance(&mut self, per_mille: u16) -> bool {
        self.below(1_000) < u64::from(per_mille)
    }

    /// 0 to `end - 1`; 0 if `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // Slightly more of the low numbers, which is of no consequence here.
        self.0.next_u64().checked_rem(end).unwrap_or(0)
    }

    /// One of those, inclusive.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below((high - low).saturating_add(1))
    }

    /// One of these, of which there is one at least.
    pub fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize].clone()
    }

    /// A seed for somebody else's generator.
    pub fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.0.fill_bytes(&mut seed);
        seed
    }
}

/// FNV-1a: the same number for the same text, today and in ten years.
fn fnv(text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
    text.bytes().fold(0xCBF2_9CE4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_purpose_and_ordinal_has_a_stream_of_its_own() {
        let first = |seed, purpose, ordinal| Dice::new(seed, purpose, ordinal).seed();
        assert_eq!(first(7, "chaos", 0), first(7, "chaos", 0));
        for other in [first(8, "chaos", 0), first(7, "faults", 0), first(7, "chaos", 1)] {
            assert_ne!(first(7, "chaos", 0), other);
        }
    }

    #[test]
    fn a_chance_is_of_a_thousand() {
        let mut dice = Dice::new(1, "test", 0);
        let mut hits = |per_mille| (0..10_000).filter(|_| dice.chance(per_mille)).count();
        assert_eq!(hits(0), 0);
        assert_eq!(hits(1_000), 10_000);
        assert!((2_000..3_000).contains(&hits(250)));
    }

    #[test]
    fn between_reaches_both_ends() {
        let mut dice = Dice::new(1, "test", 0);
        let mut seen = [false; 3];
        (0..100).for_each(|_| seen[dice.between(0, 2) as usize] = true);
        assert_eq!(seen, [true; 3]);
    }

    #[test]
    fn streams_are_those_of_every_release() {
        // A new version of the generator must not change what old seeds mean unnoticed.
        assert_eq!(Dice::new(7, "chaos", 3).below(1_000_000), 944_737);
    }
}
