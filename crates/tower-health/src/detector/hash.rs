//! Hashes the names of targets. They come from one's own workers, and a beat is looked up each
//! time, so a few multiplications do; the seed differs from table to table.

use std::hash::{BuildHasher, Hasher, RandomState};

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

#[derive(Clone, Debug)]
pub(crate) struct Names {
    seed: u64,
}

impl Default for Names {
    fn default() -> Self {
        Self { seed: RandomState::new().hash_one(0) }
    }
}

impl BuildHasher for Names {
    type Hasher = NameHasher;

    fn build_hasher(&self) -> NameHasher {
        NameHasher(self.seed)
    }
}

#[derive(Debug)]
pub(crate) struct NameHasher(u64);

impl NameHasher {
    fn mix(&mut self, word: u64) {
        // The halves of the long product: each bit of the word reaches all bits.
        let product = u128::from(self.0 ^ word) * u128::from(ODD);
        self.0 = (product as u64) ^ ((product >> 64) as u64) ^ ODD.rotate_left(32);
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.mix(u64::from_le_bytes(word.try_into().unwrap_or_default()));
        }
        let rest = words.remainder();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.mix(u64::from_le_bytes(last) ^ ((bytes.len() as u64) << 56));
    }

    fn write_u8(&mut self, byte: u8) {
        // What ends a text: no other text begins with the same bytes and has the same length.
        self.0 ^= u64::from(byte);
    }

    fn finish(&self) -> u64 {
        let product = u128::from(self.0) * u128::from(ODD);
        (product as u64) ^ ((product >> 64) as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_that_differ_a_little_scatter_over_the_whole_range() {
        let names = Names::default();
        let hashes = (0..100_000_u32).map(|n| names.hash_one(format!("worker-{n}").as_str()));
        let hashes: Vec<u64> = hashes.collect();
        assert_eq!(hashes.iter().collect::<HashSet<_>>().len(), 100_000);
        // Both ends serve: the low bits choose the place, the high ones are compared there.
        for bits in [|hash: &u64| hash & 0xff, |hash: &u64| hash >> 56] {
            let mut counts = [0_u32; 256];
            hashes.iter().for_each(|hash| counts[bits(hash) as usize] += 1);
            // About 390 each; six deviations are 120.
            assert!(counts.iter().all(|count| (270..=510).contains(count)), "{counts:?}");
        }
        assert_ne!(names.hash_one("a"), names.hash_one("a\0"));
        assert_ne!(Names::default().hash_one("a"), Names::default().hash_one("a"));
    }
}
