//! A hash table of numbers: what they stand for is kept elsewhere.

/// Open addressing with linear probing.
///
/// Invariant: at least a quarter of the places are free.
#[derive(Default)]
pub(super) struct Table {
    /// A number and the upper half of its hash, or [`FREE`].
    places: Vec<(u32, u32)>,
    numbers: usize,
}

const FREE: u32 = u32::MAX;
const PLACES_MIN: usize = 64;

impl Table {
    /// The first number of this hash that is the one sought.
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        if self.places.is_empty() {
            return None;
        }
        let (mut place, upper) = self.start(hash);
        loop {
            let (number, mark) = self.places[place];
            if number == FREE {
                return None;
            }
            if mark == upper && is_it(number) {
                return Some(number);
            }
            place = (place + 1) & (self.places.len() - 1);
        }
    }

    /// Adds a number, which must not be [`u32::MAX`].
    pub(super) fn insert(&mut self, hash: u64, number: u32) {
        assert!(number != FREE, "no more than 2^32 - 2 entries");
        if self.is_full() {
            self.grow();
        }
        let (place, upper) = self.start(hash);
        put(&mut self.places, place, (number, upper));
        self.numbers += 1;
    }

    pub(super) fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<(u32, u32)>()
    }

    /// The bytes that one more number may add at once.
    pub(super) fn growth(&self) -> usize {
        if self.is_full() { 2 * self.bytes() } else { 0 }
    }

    fn is_full(&self) -> bool {
        4 * (self.numbers + 1) > 3 * self.places.len()
    }

    fn start(&self, hash: u64) -> (usize, u32) {
        place_of(spread(hash), self.places.len())
    }

    /// Twice as many places. The upper half of the hash is enough to find them.
    fn grow(&mut self) {
        let size = (2 * self.places.len()).max(PLACES_MIN);
        let mut places = vec![(FREE, 0); size];
        for entry in self.places.drain(..).filter(|(number, _)| *number != FREE) {
            put(&mut places, place_of_mark(entry.1, size), entry);
        }
        self.places = places;
    }
}

fn put(places: &mut [(u32, u32)], mut place: usize, entry: (u32, u32)) {
    while places[place].0 != FREE {
        place = (place + 1) & (places.len() - 1);
    }
    places[place] = entry;
}

fn place_of(hash: u64, size: usize) -> (usize, u32) {
    let mark = (hash >> 32) as u32;
    (place_of_mark(mark, size), mark)
}

/// Fibonacci hashing of the mark alone, so that growing needs nothing else.
fn place_of_mark(mark: u32, size: usize) -> usize {
    let spread = u64::from(mark).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (spread >> (64 - size.trailing_zeros())) as usize
}

/// Fx hashes have weak bits.
fn spread(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93)
}
