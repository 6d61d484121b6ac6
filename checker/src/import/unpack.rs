//! Unpacking gzip and Zstandard.
//!
//! Histories are cut off when a disk is full, and damaged when it is old. What was packed
//! before the damage is given out first, to the byte, so that whoever reads can say in
//! which line and column it is.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use flate2::{Crc, Decompress, FlushDecompress, Status};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Why it goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    Cut,
    Other,
}

impl Damage {
    fn error(self, name: &str) -> io::Error {
        let detail = match self {
            Self::Cut => format!("the {name} data ends too early, or is damaged"),
            Self::Other => format!("the {name} data is damaged"),
        };
        io::Error::new(io::ErrorKind::InvalidData, detail)
    }
}

/// A member of gzip after the other.
pub(super) struct Gzip<R> {
    packed: R,
    inflate: Decompress,
    sum: Crc,
    at: Part,
}

/// Which part of a member is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Header,
    Content,
    Sum,
    Damage(Damage),
    End,
}

/// Bits of the header that say what more there is in it.
mod flag {
    pub(super) const SUM: u8 = 1 << 1;
    pub(super) const EXTRA: u8 = 1 << 2;
    pub(super) const NAME: u8 = 1 << 3;
    pub(super) const COMMENT: u8 = 1 << 4;
}

impl<R: BufRead> Gzip<R> {
    pub(super) fn new(packed: R) -> Self {
        Self {
            packed,
            inflate: Decompress::new(false),
            sum: Crc::new(),
            at: Part::Header,
        }
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.packed.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Goes past bytes up to the first that is zero.
    fn skip_text(&mut self) -> io::Result<()> {
        while self.bytes::<1>()? != [0] {}
        Ok(())
    }

    /// Goes past a header; says which part is next.
    fn header(&mut self) -> io::Result<Part> {
        if self.packed.fill_buf()?.is_empty() {
            return Ok(Part::End);
        }
        let [0x1f, 0x8b, 8, flags, ..] = self.bytes::<10>()? else {
            return Ok(Part::Damage(Damage::Other));
        };
        let has = |flag: u8| flags & flag != 0;
        if has(flag::EXTRA) {
            for _ in 0..u16::from_le_bytes(self.bytes()?) {
                self.bytes::<1>()?;
            }
        }
        for text in [flag::NAME, flag::COMMENT] {
            if has(text) {
                self.skip_text()?;
            }
        }
        if has(flag::SUM) {
            self.bytes::<2>()?;
        }
        self.inflate.reset(false);
        self.sum.reset();
        Ok(Part::Content)
    }

    /// Unpacks as much as there is room for; says how much it was.
    fn content(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let input = self.packed.fill_buf()?;
        let is_end = input.is_empty();
        let before = (self.inflate.total_in(), self.inflate.total_out());
        let status = self
            .inflate
            .decompress(input, buffer, FlushDecompress::None);
        // Both count, too, what came before damage.
        let read = (self.inflate.total_in() - before.0) as usize;
        let written = (self.inflate.total_out() - before.1) as usize;
        self.packed.consume(read);
        self.sum.update(&buffer[..written]);
        match status {
            Ok(Status::StreamEnd) => self.at = Part::Sum,
            Ok(_) if is_end && written == 0 => self.at = Part::Damage(Damage::Cut),
            Ok(_) => {}
            Err(_) => self.at = Part::Damage(Damage::Other),
        }
        Ok(written)
    }

    /// Compares what stands behind a member with what was unpacked.
    fn check(&mut self) -> io::Result<Part> {
        let sum = u32::from_le_bytes(self.bytes()?);
        let length = u32::from_le_bytes(self.bytes()?);
        let is_right = (sum, length) == (self.sum.sum(), self.sum.amount());
        Ok(if is_right {
            Part::Header
        } else {
            Part::Damage(Damage::Other)
        })
    }
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !buffer.is_empty() {
            let next = match self.at {
                Part::Header => self.header(),
                Part::Content => match self.content(buffer)? {
                    0 => continue,
                    read => return Ok(read),
                },
                Part::Sum => self.check(),
                Part::Damage(damage) => return Err(damage.error("gzip")),
                Part::End => break,
            };
            self.at = match next {
                Ok(next) => next,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    Part::Damage(Damage::Cut)
                }
                Err(error) => return Err(error),
            };
        }
        Ok(0)
    }
}

/// A frame of Zstandard after the other.
pub(super) struct Zstd<R> {
    packed: R,
    frame: FrameDecoder,
    at: Frame,
    /// Of how many bytes of the frame the decoder may need to know later.
    window: u64,
    /// How many bytes of the frame it gave out.
    given: u64,
    /// How many bytes it holds.
    held: Rc<Cell<u64>>,
}

/// What the decoder has besides the window: a block, its parts and tables.
const ZSTD_TABLES: u64 = 1 << 20;

/// The largest window that is unpacked, as by zstd itself when it is not asked for more.
const WINDOW_MAX: u64 = 128 << 20;

/// Keeps what was read.
struct Kept<'r, R> {
    reader: &'r mut R,
    kept: Vec<u8>,
}

impl<R: Read> Read for Kept<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.kept.extend_from_slice(&buffer[..read]);
        Ok(read)
    }
}

/// What the decoder does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    /// It waits for the next frame.
    None,
    Open,
    /// It has all that came before the damage.
    Damaged(Damage),
}

/// A block that ends a frame and has no content, and a sum behind it, should there be one.
/// With it the decoder gives out what it keeps for blocks to come.
const LAST_BLOCK: [u8; 7] = [1, 0, 0, 0, 0, 0, 0];

impl<R: BufRead> Zstd<R> {
    /// Says in `held` how many bytes it holds.
    pub(super) fn new(packed: R, held: Rc<Cell<u64>>) -> Self {
        Self {
            packed,
            frame: FrameDecoder::new(),
            at: Frame::None,
            window: 0,
            given: 0,
            held,
        }
    }

    /// Reads the header of a frame. The decoder says how large its window is only where that is
    /// too large, so at first nothing is allowed.
    fn header(&mut self) -> Result<(), FrameDecoderError> {
        let mut header = Kept {
            reader: &mut self.packed,
            kept: Vec::new(),
        };
        (self.window, self.given) = (0, 0);
        self.frame.set_max_window_size(0);
        match self.frame.reset(&mut header) {
            Err(FrameDecoderError::WindowSizeTooBig { requested, .. }) => {
                self.window = requested;
                self.frame.set_max_window_size(WINDOW_MAX);
                self.frame.reset(header.kept.as_slice())
            }
            other => other,
        }
    }

    /// So many bytes were given out.
    fn give(&mut self, bytes: usize) {
        self.given += bytes as u64;
        // It touches no more of its window than was unpacked.
        let window = self.window.next_power_of_two().min(self.given);
        self.held.set(ZSTD_TABLES + window);
    }

    /// Goes to the next frame; whether there is one.
    fn open(&mut self) -> io::Result<bool> {
        if self.packed.fill_buf()?.is_empty() {
            return Ok(false);
        }
        match self.header() {
            Ok(()) => self.at = Frame::Open,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => {
                let mut skipped = (&mut self.packed).take(length.into());
                let skipped = io::copy(&mut skipped, &mut io::sink())?;
                if skipped < length.into() {
                    self.at = Frame::Damaged(Damage::Cut);
                }
            }
            Err(FrameDecoderError::WindowSizeTooBig { requested, .. }) => {
                let detail = format!(
                    "unpacking the zstd data takes a window of {} MiB, and {} MiB are allowed; \
                     pack them with a smaller one",
                    requested >> 20,
                    WINDOW_MAX >> 20
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, detail));
            }
            Err(error) => self.at = Frame::Damaged(damage(&error)),
        }
        Ok(true)
    }

    fn next_block(&mut self) {
        let one = || BlockDecodingStrategy::UptoBlocks(1);
        if let Err(error) = self.frame.decode_blocks(&mut self.packed, one()) {
            self.at = Frame::Damaged(damage(&error));
            // A frame that is complete but for its sum has ended.
            self.frame.decode_blocks(&LAST_BLOCK[..], one()).ok();
        }
    }

    /// Whether the sum of a frame that was given out, if it has one, is that of its content.
    fn is_right(&self) -> bool {
        let said = self.frame.get_checksum_from_data();
        said.is_none() || said == self.frame.get_calculated_checksum()
    }
}

/// What the decoder says in many ways.
fn damage(error: &FrameDecoderError) -> Damage {
    let said = format!("{error:?}");
    let is_cut = ["UnexpectedEof", "NotEnoughBytes"]
        .iter()
        .any(|sign| said.contains(sign));
    if is_cut { Damage::Cut } else { Damage::Other }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !buffer.is_empty() {
            if self.at != Frame::None && self.frame.can_collect() > 0 {
                let read = self.frame.read(buffer)?;
                self.give(read);
                return Ok(read);
            }
            match self.at {
                Frame::None => {
                    if !self.open()? {
                        break;
                    }
                }
                Frame::Damaged(damage) => return Err(damage.error("zstd")),
                Frame::Open if !self.frame.is_finished() => self.next_block(),
                Frame::Open if self.is_right() => self.at = Frame::None,
                Frame::Open => self.at = Frame::Damaged(Damage::Other),
            }
        }
        Ok(0)
    }
}
