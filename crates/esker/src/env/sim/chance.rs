//! Chance from a seed: SplitMix64, small, fast, and good enough to choose faults with.

/// A stream of numbers that its seed determines.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `limit`; 0 if that is 0.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        let product = u128::from(self.next()) * u128::from(limit);
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// An index below `limit`; 0 if that is 0.
    pub(super) fn index(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).unwrap_or(0)
    }

    pub(super) fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }

    /// True in so many of a thousand cases. Draws nothing for 0.
    pub(super) fn per_mille(&mut self, rate: u16) -> bool {
        rate > 0 && self.below(1000) < u64::from(rate)
    }
}

/// A hash of one word.
pub(super) fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reference vector of SplitMix64 for seed 1234567.
    #[test]
    fn a_seed_determines_its_numbers() {
        let mut chance = Chance::new(1_234_567);
        assert_eq!(chance.next(), 6_457_827_717_110_365_317);
        assert_eq!(chance.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn numbers_below_a_limit_reach_both_ends() {
        let mut chance = Chance::new(1);
        let mut seen = [false; 6];
        for _ in 0..200 {
            seen[chance.index(6)] = true;
        }
        assert_eq!(seen, [true; 6]);
        assert_eq!(chance.below(0), 0);
    }
}
