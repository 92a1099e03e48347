//! Names of counters: two halves of 64 bits, keyed with a secret of the store. The low one names a
//! counter within its shard, the high one chooses the shard.

use std::hash::{BuildHasher, Hasher, RandomState};

/// What a counter is found by. Nothing else of its name is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    pub(crate) low: u64,
    pub(crate) high: u64,
}

/// What a counter is found by within its shard: the low half of a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name(pub(crate) u64);

impl From<Fingerprint> for Name {
    fn from(fingerprint: Fingerprint) -> Self {
        Self(fingerprint.low)
    }
}

/// A store's secret: two starting points and two multipliers, from the operating system's
/// randomness. They never leave the process, and no fingerprint is ever shown.
#[derive(Clone)]
pub(crate) struct Seeds {
    start: Fingerprint,
    factor: Fingerprint,
}

impl Seeds {
    pub(crate) fn random() -> Self {
        let random = RandomState::new();
        let pair = |salt: u64| Fingerprint {
            low: random.hash_one(salt) | 1,
            high: random.hash_one(!salt) | 1,
        };
        Self {
            start: pair(1),
            factor: pair(2),
        }
    }

    #[inline]
    pub(crate) fn hasher(&self) -> Fingerprinter {
        Fingerprinter {
            state: self.start,
            factor: self.factor,
        }
    }
}

impl std::fmt::Debug for Seeds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Two folded multiplications side by side, each under its own secret start and factor.
///
/// Ids are short, so this costs a tenth of two SipHashes. It is no MAC. What it must keep is that
/// a caller who sees neither seed nor fingerprint can't choose two names that meet: the low half is
/// met by chance once in 2^64, and only a meeting within one shard mixes two counters up.
#[derive(Clone, Copy)]
pub(crate) struct Fingerprinter {
    state: Fingerprint,
    factor: Fingerprint,
}

impl Fingerprinter {
    #[inline]
    pub(crate) fn fingerprint(self) -> Fingerprint {
        // Once more, under the other half's factor: one multiplication alone would leave numbers
        // that follow each other at even distances.
        Fingerprint {
            low: folded(self.state.low, self.factor.high),
            high: folded(self.state.high, self.factor.low),
        }
    }

    /// This name with one more word to it.
    #[cfg(test)]
    fn and(mut self, word: u64) -> Self {
        self.write_u64(word);
        self
    }

    /// The low half alone, for names whose shard is known: half the work.
    #[inline]
    pub(crate) const fn low(self) -> Namer {
        Namer {
            state: self.state.low,
            factor: self.factor.low,
            last: self.factor.high,
        }
    }
}

/// The low half of a [`Fingerprinter`].
#[derive(Clone, Copy)]
pub(crate) struct Namer {
    state: u64,
    factor: u64,
    last: u64,
}

impl Namer {
    #[inline]
    pub(crate) fn name(self) -> Name {
        Name(folded(self.state, self.last))
    }

    /// This name with one more word to it.
    #[inline]
    pub(crate) fn and(mut self, word: u64) -> Self {
        self.write_u64(word);
        self
    }

    /// What was hashed so far, for a hasher under the same secret to go on [`at`](Namer::at).
    #[inline]
    pub(crate) const fn state(self) -> u64 {
        self.state
    }

    #[inline]
    pub(crate) const fn at(self, state: u64) -> Self {
        Self { state, ..self }
    }
}

/// A hasher's other methods by its `write_u64`: a number is one word, or two.
macro_rules! in_words {
    () => {
        #[inline]
        fn write(&mut self, bytes: &[u8]) {
            write(self, bytes);
        }

        #[inline]
        fn write_u128(&mut self, words: u128) {
            self.write_u64(words as u64);
            self.write_u64((words >> 64) as u64);
        }

        in_words!(write_u8: u8, write_u16: u16, write_u32: u32, write_usize: usize);
    };
    ($($name:ident: $number:ty),*) => {$(
        #[inline]
        fn $name(&mut self, word: $number) {
            self.write_u64(word as u64);
        }
    )*};
}

impl Hasher for Namer {
    in_words!();

    #[inline]
    fn finish(&self) -> u64 {
        self.name().0
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.state = folded(self.state ^ word, self.factor);
    }
}

impl Hasher for Fingerprinter {
    in_words!();

    #[inline]
    fn finish(&self) -> u64 {
        self.fingerprint().low
    }

    #[inline]
    fn write_u64(&mut self, word: u64) {
        self.state.low = folded(self.state.low ^ word, self.factor.low);
        self.state.high = folded(self.state.high ^ word, self.factor.high);
    }
}

/// Words of eight bytes; the length goes in first, so that no text is the beginning of another.
#[inline]
fn write(hasher: &mut impl Hasher, bytes: &[u8]) {
    hasher.write_u64(bytes.len() as u64);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hasher.write_u64(u64::from_le_bytes(*word));
    }
    if !rest.is_empty() {
        // The last eight bytes again, in one load, where there are eight.
        hasher.write_u64(match bytes.last_chunk::<8>() {
            Some(last) => u64::from_le_bytes(*last),
            None => rest
                .iter()
                .fold(0, |word, byte| word << 8 | u64::from(*byte)),
        });
    }
}

/// Both halves of the product, on top of each other.
#[inline]
fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn of(seeds: &Seeds, bytes: &[u8]) -> Fingerprint {
        let mut hasher = seeds.hasher();
        hasher.write(bytes);
        hasher.fingerprint()
    }

    #[test]
    fn neighbours_don_t_meet_in_either_half() {
        let seeds = Seeds::random();
        let (mut low, mut high) = (HashSet::new(), HashSet::new());
        for i in 0..200_000u64 {
            let fingerprint = seeds.hasher().and(i).fingerprint();
            assert!(low.insert(fingerprint.low) && high.insert(fingerprint.high));
        }
    }

    #[test]
    fn low_and_high_bits_spread_alike() {
        let seeds = Seeds::random();
        for shift in [0, 8, 24, 48, 56] {
            let mut slots = [0u32; 256];
            for i in 0..256_000u64 {
                let low = seeds.hasher().and(i).fingerprint().low;
                slots[(low >> shift & 255) as usize] += 1;
            }
            let worst = slots.iter().map(|n| n.abs_diff(1000)).max().unwrap();
            assert!(worst < 250, "{worst} off at bit {shift}");
        }
    }

    #[test]
    fn a_text_and_its_beginning_differ() {
        let seeds = Seeds::random();
        let texts: [&[u8]; 6] = [b"", b"\0", b"\0\0", b"abcdefgh", b"abcdefgh\0", b"abcdefg"];
        for (i, a) in texts.iter().enumerate() {
            for b in &texts[i + 1..] {
                assert_ne!(of(&seeds, a), of(&seeds, b));
            }
        }
    }

    #[test]
    fn the_low_half_alone_is_the_low_half() {
        let whole = Seeds::random().hasher();
        let feed = |hasher: &mut dyn Hasher| {
            hasher.write(b"company_12");
            hasher.write_u128(u128::MAX / 3);
            hasher.write_u8(7);
            hasher.write_u32(9);
        };
        let (mut both, mut low) = (whole, whole.low());
        feed(&mut both);
        feed(&mut low);
        assert_eq!(Name::from(both.and(5).fingerprint()), low.and(5).name());
        assert_eq!(both.low().and(5).name(), low.and(5).name());
    }

    #[test]
    fn each_store_has_its_own_secret() {
        let fingerprint = |seeds: Seeds| of(&seeds, b"company_12");
        assert_ne!(fingerprint(Seeds::random()), fingerprint(Seeds::random()));
        assert_eq!(format!("{:?}", Seeds::random()), "[redacted]");
    }
}
