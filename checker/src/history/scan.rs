//! The simple kind of JSON, taken apart by hand: strings without escapes, whole numbers,
//! and lists and objects of them. Whoever meets anything else, malformed or not, asks the
//! general parser.

use super::Json;
use super::read::NESTING_MAX;

/// So many digits never overflow.
const DIGITS_MAX: usize = 18;

/// The fields of a value that is an object, each taken by its name.
pub(crate) fn plain_object<'t>(
    json: &'t Json,
    take: impl FnMut(&'t str, &mut Scanner<'t>) -> Option<()>,
) -> Option<()> {
    let mut scanner = Scanner::new(json.as_str());
    scanner.object(take)?;
    scanner.is_at_end().then_some(())
}

/// Sets what must not be there twice.
pub(crate) fn put<T>(field: &mut Option<T>, value: T) -> Option<()> {
    field.replace(value).is_none().then_some(())
}

/// A place in a text. What its methods take is JSON; none when it is not, or not of the
/// simple kind.
pub(crate) struct Scanner<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Scanner<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub(crate) fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    pub(crate) fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    pub(crate) fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    /// What lies between quotation marks.
    pub(crate) fn string(&mut self) -> Option<&'t str> {
        self.expect(b'"')?;
        let rest = &self.text.as_bytes()[self.at..];
        let length = until_special(rest)?;
        if rest[length] != b'"' {
            return None;
        }
        let text = &self.text[self.at..self.at + length];
        self.at += length + 1;
        Some(text)
    }

    /// The digits of a whole number.
    fn digits(&mut self) -> Option<&'t str> {
        let rest = &self.text.as_bytes()[self.at..];
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        // What follows may make another number of it.
        let is_whole = !matches!(rest.get(length), Some(b'.' | b'e' | b'E'));
        let is_short = length == 1 || length > 1 && rest[0] != b'0';
        if !is_whole || !is_short {
            return None;
        }
        let text = &self.text[self.at..self.at + length];
        self.at += length;
        Some(text)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let digits = self.digits()?;
        if digits.len() > DIGITS_MAX {
            return None;
        }
        let add = |number: u64, digit: u8| number * 10 + u64::from(digit - b'0');
        Some(digits.bytes().fold(0, add))
    }

    /// A whole number that is not negative.
    pub(crate) fn signed(&mut self) -> Option<i64> {
        i64::try_from(self.number()?).ok()
    }

    /// A string, or a whole number taken as its decimal digits.
    pub(crate) fn text(&mut self) -> Option<&'t str> {
        if self.peek()? == b'"' {
            return self.string();
        }
        self.digits().filter(|digits| digits.len() <= DIGITS_MAX)
    }

    pub(crate) fn or_null<T>(
        &mut self,
        take: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        if self.peek()? == b'n' {
            self.word("null")?;
            return Some(None);
        }
        take(self).map(Some)
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let is_there = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        self.at += word.len();
        is_there.then_some(())
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self) -> Option<bool> {
        let value = self.peek()? == b't';
        self.word(if value { "true" } else { "false" })?;
        Some(value)
    }

    /// The fields of an object, each taken by its name.
    pub(crate) fn object(
        &mut self,
        mut take: impl FnMut(&'t str, &mut Self) -> Option<()>,
    ) -> Option<()> {
        self.expect(b'{')?;
        loop {
            self.skip_space();
            let name = self.string()?;
            self.skip_space();
            self.expect(b':')?;
            self.skip_space();
            take(name, self)?;
            self.skip_space();
            match self.next()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// Any value, as it is written.
    pub(crate) fn any(&mut self) -> Option<&'t str> {
        let start = self.at;
        self.skip_value(1)?;
        Some(&self.text[start..self.at])
    }

    /// `depth` counts the brackets that are open around it.
    fn skip_value(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(drop),
            b'0'..=b'9' => self.digits().map(drop),
            b'-' => {
                self.at += 1;
                self.digits().map(drop)
            }
            b'n' => self.word("null"),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'[' => self.skip_list(b']', depth + 1, Self::skip_value),
            b'{' => self.skip_list(b'}', depth + 1, |scanner, depth| {
                scanner.string()?;
                scanner.skip_space();
                scanner.expect(b':')?;
                scanner.skip_space();
                scanner.skip_value(depth)
            }),
            _ => None,
        }
    }

    fn skip_list(
        &mut self,
        end: u8,
        depth: usize,
        skip_one: impl Fn(&mut Self, usize) -> Option<()>,
    ) -> Option<()> {
        if depth > NESTING_MAX {
            return None;
        }
        self.at += 1;
        self.skip_space();
        if self.peek()? == end {
            self.at += 1;
            return Some(());
        }
        loop {
            skip_one(self, depth)?;
            self.skip_space();
            match self.next()? {
                b',' => self.skip_space(),
                byte if byte == end => return Some(()),
                _ => return None,
            }
        }
    }
}

/// How many bytes stand before the first that ends a string, or that no plain string has.
pub(super) fn until_special(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(word) = bytes[at..].first_chunk() {
        let special = specials(u64::from_le_bytes(*word));
        if special != 0 {
            return Some(at + special.trailing_zeros() as usize / 8);
        }
        at += size_of::<u64>();
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
    let after = bytes[at..].iter().position(is_special)?;
    Some(at + after)
}

/// Looks at eight bytes at once: the lowest bit that is set lies in the first special one.
///
/// Where a subtraction borrows from the next byte that one may be marked too, but only above a
/// byte that is marked rightly.
fn specials(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH_BITS: u64 = 0x80 * EACH;
    let is_below = |word: u64, limit: u64| word.wrapping_sub(limit * EACH) & !word & HIGH_BITS;
    let is = |byte: u8| is_below(word ^ (u64::from(byte) * EACH), 1);
    is(b'"') | is(b'\\') | is_below(word, 0x20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_special_byte_is_found_wherever_it_stands() {
        let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
        let mut bytes = vec![b'a'; 20];
        for at in 0..bytes.len() {
            for byte in 0..=u8::MAX {
                for next in [b'a', b'"', b'#', b'!', b']', 0x1f, 0x20, 0x80, 0xff] {
                    bytes[at] = byte;
                    if let Some(after) = bytes.get_mut(at + 1) {
                        *after = next;
                    }
                    let found = until_special(&bytes);
                    assert_eq!(found, bytes.iter().position(is_special), "{bytes:?}");
                }
            }
            bytes.fill(b'a');
        }
    }
}
