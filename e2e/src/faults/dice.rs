//! Pseudo-random moments that are the same for the same seed.

use runtime::Entropy;
use runtime::testing::SeededEntropy;

const USUAL_SEED: u64 = 20_260_101;

/// Decides when things happen.
pub struct Dice(SeededEntropy);

impl Dice {
    /// Seeded by `RINGBACK_FAULT_SEED` where that is set, to look for other moments.
    pub fn new() -> Self {
        let seed = std::env::var("RINGBACK_FAULT_SEED");
        let seed = seed.map_or(USUAL_SEED, |text| text.parse().expect("RINGBACK_FAULT_SEED is a number"));
        Self(SeededEntropy::new(seed))
    }

    /// A number below `end`.
    pub fn below(&self, end: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes) % end.max(1)
    }
}
