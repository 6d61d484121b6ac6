//! A set that costs little to copy and change.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Bits in a chunk.
const CHUNK: usize = 2048;

/// Numbers, in chunks of bits that copies share.
///
/// Invariant: `mark` is the exclusive or of the marks of all numbers, and there are no
/// empty chunks at the end; so equal sets have equal parts.
#[derive(Clone, Default)]
pub(crate) struct Elements {
    chunks: Vec<Option<Arc<[u64; CHUNK / 64]>>>,
    mark: u64,
}

impl Elements {
    pub(crate) fn contains(&self, number: u32) -> bool {
        let (chunk, word, bit) = place(number);
        let chunk = self.chunks.get(chunk).and_then(Option::as_ref);
        chunk.is_some_and(|chunk| chunk[word] & bit != 0)
    }

    /// Adds a number, or takes it out, if it is not in, or is.
    pub(crate) fn toggle(&mut self, number: u32) {
        let (chunk, word, bit) = place(number);
        if chunk >= self.chunks.len() {
            self.chunks.resize(chunk + 1, None);
        }
        let bits = self.chunks[chunk].get_or_insert_default_chunk();
        bits[word] ^= bit;
        if bits.iter().all(|word| *word == 0) {
            self.chunks[chunk] = None;
        }
        while let Some(None) = self.chunks.last() {
            self.chunks.pop();
        }
        self.mark ^= mark(number);
    }

    /// Whether all of them are in the other one too.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        let others = other
            .chunks
            .iter()
            .map(Option::as_ref)
            .chain(std::iter::repeat(None));
        let mut both = self.chunks.iter().map(Option::as_ref).zip(others);
        both.all(|(one, other)| match (one, other) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(one), Some(other)) => {
                let mut words = one.iter().zip(other.iter());
                Arc::ptr_eq(one, other) || words.all(|(one, other)| one & !other == 0)
            }
        })
    }

    /// Those that are in one of both and not in the other.
    pub(crate) fn differences<'e>(&'e self, other: &'e Self) -> impl Iterator<Item = u32> + 'e {
        let chunks = self.chunks.len().max(other.chunks.len());
        (0..chunks).flat_map(move |index| {
            let of = |elements: &'e Self| elements.chunks.get(index).and_then(Option::as_ref);
            let (one, other) = (of(self), of(other));
            let is_same = match (one, other) {
                (Some(one), Some(other)) => Arc::ptr_eq(one, other),
                _ => false,
            };
            let word = |chunk: Option<&'e Arc<[u64; CHUNK / 64]>>, word: usize| {
                chunk.map_or(0, |chunk| chunk[word])
            };
            let words = if is_same { 0 } else { CHUNK / 64 };
            (0..words).flat_map(move |place| {
                let differ = word(one, place) ^ word(other, place);
                let first = index * CHUNK + place * 64;
                bits(differ).map(move |bit| (first + bit) as u32)
            })
        })
    }

    /// The bytes of what it does not share with the set that it was made from.
    pub(crate) fn own_bytes(&self) -> usize {
        self.chunks.capacity() * size_of::<usize>() + CHUNK / 8 + 2 * size_of::<usize>()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        let chunks = self.chunks.iter().enumerate();
        let chunks = chunks.filter_map(|(index, chunk)| Some((index, chunk.as_ref()?)));
        chunks.flat_map(|(index, chunk)| {
            chunk.iter().enumerate().flat_map(move |(place, word)| {
                let first = index * CHUNK + place * 64;
                bits(*word).map(move |bit| (first + bit) as u32)
            })
        })
    }
}

/// The places of the bits that are set.
fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
        word &= word - 1;
        Some(bit)
    })
}

/// A chunk that can be changed.
trait OwnChunk {
    fn get_or_insert_default_chunk(&mut self) -> &mut [u64; CHUNK / 64];
}

impl OwnChunk for Option<Arc<[u64; CHUNK / 64]>> {
    fn get_or_insert_default_chunk(&mut self) -> &mut [u64; CHUNK / 64] {
        Arc::make_mut(self.get_or_insert_with(|| Arc::new([0; CHUNK / 64])))
    }
}

fn place(number: u32) -> (usize, usize, u64) {
    let number = number as usize;
    let bit = number % CHUNK;
    (number / CHUNK, bit / 64, 1 << (bit % 64))
}

/// A number that looks random (the finaliser of SplitMix64).
fn mark(number: u32) -> u64 {
    let mut z = u64::from(number).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl PartialEq for Elements {
    fn eq(&self, other: &Self) -> bool {
        let is_same = |(one, other): (&Option<Arc<_>>, &Option<Arc<_>>)| match (one, other) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one == other,
            (None, None) => true,
            _ => false,
        };
        self.mark == other.mark
            && self.chunks.len() == other.chunks.len()
            && self.chunks.iter().zip(&other.chunks).all(is_same)
    }
}

impl Eq for Elements {}

impl Hash for Elements {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.mark.hash(state);
    }
}

impl std::fmt::Debug for Elements {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
