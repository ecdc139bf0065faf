//! Finds base64 in a message, so that it can be kept decoded, and soft line breaks, so that they needn't be kept, and writes it
//! again just as it was. Pure.
//!
//! No MIME is parsed: a run of lines of one length in the alphabet of base64 (RFC 4648 section 4), the last of them as long or
//! shorter, is decoded, encoded again and compared with what was there; only then is it left out. What the message says of
//! itself does not matter, and a signature over it stays right. The same is done with soft line breaks (`folded`).
//!
//! What stays is the content: the text and, in its place, what was decoded or unfolded. Parts of 64 KiB and more (decoded) are taken out,
//! to be kept once however many messages have them. The recipe says how the message is put together again: for each piece a
//! number (LEB128) with its length and, in the two lowest bits, its kind; what is behind the last piece is text.
//!
//! | kind | piece | more numbers |
//! |---|---|---|
//! | 0 | text | none |
//! | 1 | decoded bytes in the content | the lines: their length, CRLF or LF, whether the last one has it |
//! | 2 | a part | the same, and the part's 32-byte hash |
//! | 3 | text in the content without its soft breaks | the lines: their width, how the last of a folded line ends, CRLF or LF; how many breaks |
//!
//! Programs from before kind 3 refuse it as a damaged recipe, and this one reads all that they wrote.

use std::ops::Range;

use data_encoding::BASE64;

use crate::codec::DecodeError;
use crate::frame::{MOST, PartHash};
use folded::{Fold, Folding};

mod folded;

/// Parts with so many bytes decoded are kept apart.
pub const APART: usize = 64 << 10;

/// Characters that a run has at least: shorter ones are no gain.
const SHORTEST: usize = 192;

/// Lines that are encoded at a time.
const LINES: u64 = 2048;

/// Characters that are decoded at a time, a multiple of four.
const CHARACTERS: usize = 32 << 10;

/// A message, taken apart.
#[derive(Debug)]
pub struct Layout {
    /// How it is put together.
    pub recipe: Vec<u8>,
    /// Text and what was decoded. None if that is the message as it came.
    pub content: Option<Vec<u8>>,
    /// Its large parts, in their order.
    pub parts: Vec<Part>,
}

/// A large part of a message.
#[derive(Debug)]
pub struct Part {
    /// The keyed hash of what it holds.
    pub hash: PartHash,
    /// What it holds.
    pub content: Vec<u8>,
}

/// How a message is put together, read and found to be sound.
#[derive(Clone, Debug)]
pub struct Recipe {
    pieces: Vec<Piece>,
    parts: Vec<PartHash>,
    original: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Piece {
    /// From a place in the content on.
    Text { from: usize, length: usize },
    /// The same, in base64.
    Inline { from: usize, length: usize, shape: Shape },
    /// A part by its place in the list, in base64.
    Part { index: usize, length: usize, shape: Shape },
    /// From a place in the content on, folded.
    Folded { from: usize, length: usize, fold: Fold, breaks: u64 },
}

/// How base64 is broken into lines.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Shape {
    /// Characters of a line; the last may have fewer.
    width: u64,
    /// Lines end in CRLF, and not in LF alone.
    crlf: bool,
    /// The last line has an end as well.
    ended: bool,
}

impl Layout {
    /// Takes a message apart. `key` is what parts are hashed with.
    #[must_use]
    pub fn of(raw: &[u8], key: &[u8; 32]) -> Self {
        let mut taken = Taken::default();
        let mut folding: Option<Folding> = None;
        let mut looked_at = 0;
        let mut at = 0;
        while at < raw.len() {
            let line = Line::at(raw, at);
            if at >= looked_at
                && let Some(found) = Run::at(raw, &line)
            {
                if let Some((end, shape, decoded)) = found.decode(raw) {
                    taken.unfold(raw, folding.take());
                    taken.decoded(raw, at..end, shape, decoded, key);
                    at = end;
                    continue;
                }
                // Whatever it is, its lines are looked at once.
                looked_at = found.end;
            }
            let goes_on = folding.as_mut().is_some_and(|folding| folding.take(raw, &line));
            if !goes_on {
                taken.unfold(raw, folding.take());
                folding = Folding::at(raw, &line);
            }
            at = line.next;
        }
        taken.unfold(raw, folding);
        taken.finish(raw)
    }
}

/// What was taken of a message so far.
#[derive(Default)]
struct Taken {
    recipe: Vec<u8>,
    content: Vec<u8>,
    parts: Vec<Part>,
    /// Where in the message that ends.
    end: usize,
}

impl Taken {
    /// Text, up to a place.
    fn text(&mut self, raw: &[u8], until: usize) {
        let text = raw.get(self.end..until).unwrap_or_default();
        if !text.is_empty() {
            push(&mut self.recipe, (text.len() as u64) << 2);
            self.content.extend_from_slice(text);
        }
        self.end = until;
    }

    /// What was decoded of a range.
    fn decoded(
        &mut self,
        raw: &[u8],
        range: Range<usize>,
        shape: Shape,
        decoded: Vec<u8>,
        key: &[u8; 32],
    ) {
        self.text(raw, range.start);
        let apart = decoded.len() >= APART;
        push(&mut self.recipe, (decoded.len() as u64) << 2 | if apart { 2 } else { 1 });
        push(&mut self.recipe, shape.to_number());
        if apart {
            let hash = PartHash(*blake3::keyed_hash(key, &decoded).as_bytes());
            self.recipe.extend_from_slice(&hash.0);
            self.parts.push(Part { hash, content: decoded });
        } else {
            self.content.extend_from_slice(&decoded);
        }
        self.end = range.end;
    }

    /// Folded text that has come to its end, if it is a gain.
    fn unfold(&mut self, raw: &[u8], folding: Option<Folding>) {
        let Some(folding) = folding.filter(Folding::is_gain) else { return };
        let range = folding.range();
        self.text(raw, range.start);
        let before = self.content.len();
        if let Some((fold, breaks)) = folding.unfold(raw, &mut self.content) {
            push(&mut self.recipe, ((self.content.len() - before) as u64) << 2 | 3);
            push(&mut self.recipe, fold.to_number());
            push(&mut self.recipe, breaks);
            self.end = range.end;
        }
    }

    fn finish(mut self, raw: &[u8]) -> Layout {
        let content = (!self.recipe.is_empty()).then(|| {
            self.content.extend_from_slice(raw.get(self.end..).unwrap_or_default());
            self.content
        });
        Layout { recipe: self.recipe, content, parts: self.parts }
    }
}

impl Recipe {
    /// Reads a recipe for content of a length, which must come out as a message of a length.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Recipe`].
    pub fn parse(mut bytes: &[u8], content: usize, original: usize) -> Result<Self, DecodeError> {
        if original > MOST || content > original {
            return Err(DecodeError::Recipe);
        }
        let mut pieces = Vec::new();
        let mut parts = Vec::new();
        let mut from = 0usize;
        let mut written = 0u64;
        while !bytes.is_empty() {
            // No layout has more, so that no recipe takes more memory than its message.
            if pieces.len() > original / (SHORTEST / 2) + 2 {
                return Err(DecodeError::Recipe);
            }
            let number = take(&mut bytes)?;
            let length = usize::try_from(number >> 2).map_err(|_| DecodeError::Recipe)?;
            if length == 0 || length > original {
                return Err(DecodeError::Recipe);
            }
            let kind = number & 3;
            if kind == 0 {
                pieces.push(Piece::Text { from, length });
                written = written.saturating_add(length as u64);
                from = from.saturating_add(length);
                continue;
            }
            if kind == 3 {
                let fold = Fold::of_number(take(&mut bytes)?).ok_or(DecodeError::Recipe)?;
                let breaks = take(&mut bytes)?;
                if breaks > fold.most_breaks(length) {
                    return Err(DecodeError::Recipe);
                }
                pieces.push(Piece::Folded { from, length, fold, breaks });
                written = written.saturating_add(fold.written(length, breaks));
                from = from.saturating_add(length);
                continue;
            }
            let shape = Shape::of_number(take(&mut bytes)?).ok_or(DecodeError::Recipe)?;
            written = written.saturating_add(shape.written(length));
            match kind {
                1 => {
                    pieces.push(Piece::Inline { from, length, shape });
                    from = from.saturating_add(length);
                }
                2 => {
                    let (hash, rest) =
                        bytes.split_first_chunk::<32>().ok_or(DecodeError::Recipe)?;
                    bytes = rest;
                    pieces.push(Piece::Part { index: parts.len(), length, shape });
                    parts.push(PartHash(*hash));
                }
                _ => return Err(DecodeError::Recipe),
            }
        }
        let rest = content.checked_sub(from).ok_or(DecodeError::Recipe)?;
        if rest > 0 {
            pieces.push(Piece::Text { from, length: rest });
            written = written.saturating_add(rest as u64);
        }
        if written == original as u64 {
            Ok(Self { pieces, parts, original: written })
        } else {
            Err(DecodeError::Recipe)
        }
    }

    /// The parts it needs, in their order; one may be there twice.
    #[must_use]
    pub fn parts(&self) -> &[PartHash] {
        &self.parts
    }

    /// Which of the parts a range of the message needs, by their place in the list.
    #[must_use]
    pub fn needed(&self, range: &Range<u64>) -> Vec<usize> {
        let mut at = 0;
        let mut needed = Vec::new();
        for piece in &self.pieces {
            let end = at + piece.written();
            if let Piece::Part { index, .. } = piece
                && at < range.end
                && end > range.start
            {
                needed.push(*index);
            }
            at = end;
        }
        needed
    }

    /// Bytes of the message before its first part.
    #[must_use]
    pub fn first_part(&self) -> Option<u64> {
        let mut at = 0;
        for piece in &self.pieces {
            if let Piece::Part { .. } = piece {
                return Some(at);
            }
            at += piece.written();
        }
        None
    }

    /// Writes a range of the message. `part` gives what a part holds, by its place in the list.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Part`] if a part isn't there or isn't as long as it must be.
    pub fn join<'a>(
        &self,
        range: &Range<u64>,
        content: &'a [u8],
        part: impl Fn(usize) -> Option<&'a [u8]>,
    ) -> Result<Vec<u8>, DecodeError> {
        let range = range.start.min(self.original)..range.end.min(self.original);
        let range = range.start..range.end.max(range.start);
        let length = usize::try_from(range.end - range.start).unwrap_or_default();
        let mut joined = Vec::with_capacity(length);
        let mut at = 0;
        for piece in &self.pieces {
            let end = at + piece.written();
            if length > 0 && at < range.end && end > range.start {
                let inside = range.start.max(at) - at..range.end.min(end) - at;
                match *piece {
                    Piece::Text { from, length } => {
                        let text = slice(content, from, length)?;
                        let inside = inside.start as usize..inside.end as usize;
                        joined.extend_from_slice(text.get(inside).unwrap_or_default());
                    }
                    Piece::Inline { from, length, shape } => {
                        shape.write(slice(content, from, length)?, &inside, &mut joined);
                    }
                    Piece::Part { index, length, shape } => {
                        let part = part(index).filter(|part| part.len() == length);
                        shape.write(part.ok_or(DecodeError::Part)?, &inside, &mut joined);
                    }
                    Piece::Folded { from, length, fold, .. } => {
                        fold.write(slice(content, from, length)?, &inside, &mut joined);
                    }
                }
            }
            at = end;
        }
        if joined.len() == length { Ok(joined) } else { Err(DecodeError::Recipe) }
    }

    /// The message as it is in the content, if it lies there whole.
    pub(crate) fn is_content(&self) -> bool {
        matches!(self.pieces.as_slice(), [] | [Piece::Text { from: 0, .. }])
    }

    /// All of the message.
    #[must_use]
    pub fn whole(&self) -> Range<u64> {
        0..self.original
    }
}

impl Piece {
    /// Bytes of the message that it is.
    fn written(&self) -> u64 {
        match self {
            Self::Text { length, .. } => *length as u64,
            Self::Inline { length, shape, .. } | Self::Part { length, shape, .. } => {
                shape.written(*length)
            }
            Self::Folded { length, fold, breaks, .. } => fold.written(*length, *breaks),
        }
    }
}

impl Shape {
    fn to_number(self) -> u64 {
        self.width << 2 | u64::from(self.crlf) << 1 | u64::from(self.ended)
    }

    fn of_number(number: u64) -> Option<Self> {
        let width = number >> 2;
        // A line is no longer than a message.
        (1..=2 * MOST as u64).contains(&width).then_some(Self {
            width,
            crlf: number & 2 != 0,
            ended: number & 1 != 0,
        })
    }

    fn end(&self) -> &'static [u8] {
        if self.crlf { b"\r\n" } else { b"\n" }
    }

    /// Lines that so many bytes make.
    fn lines(&self, length: usize) -> u64 {
        characters(length).div_ceil(self.width)
    }

    /// Bytes that so many bytes make in base64.
    fn written(&self, length: usize) -> u64 {
        let ends = self.lines(length) - u64::from(!self.ended);
        characters(length) + ends * self.end().len() as u64
    }

    /// Writes a range of what some bytes make.
    fn write(&self, decoded: &[u8], range: &Range<u64>, to: &mut Vec<u8>) {
        let stride = self.width + self.end().len() as u64;
        let lines = range.start / stride..range.end.div_ceil(stride).min(self.lines(decoded.len()));
        let before = to.len();
        let first = lines.start * stride;
        let mut line = lines.start;
        while line < lines.end {
            let next = (line + self.at_a_time()).min(lines.end);
            self.write_lines(decoded, line..next, to);
            line = next;
        }
        let end = before + usize::try_from(range.end - first).unwrap_or(usize::MAX);
        to.truncate(end);
        let skipped = usize::try_from(range.start - first).unwrap_or_default();
        if skipped > 0 {
            to.drain(before..(before + skipped).min(to.len()));
        }
    }

    /// Lines to encode together, so that what is encoded stays in the processor's cache.
    fn at_a_time(&self) -> u64 {
        (LINES * 76 / self.width).max(1)
    }

    fn write_lines(&self, decoded: &[u8], lines: Range<u64>, to: &mut Vec<u8>) {
        let all = characters(decoded.len());
        let from = lines.start * self.width;
        let until = (lines.end * self.width).min(all);
        // Four characters are three bytes.
        let groups = from / 4..until.div_ceil(4);
        let start = usize::try_from(groups.start * 3).unwrap_or(usize::MAX);
        let end = usize::try_from(groups.end * 3).unwrap_or(usize::MAX).min(decoded.len());
        let bytes = decoded.get(start..end).unwrap_or_default();
        let mut encoded = vec![0; BASE64.encode_len(bytes.len())];
        BASE64.encode_mut(bytes, &mut encoded);
        let skipped = usize::try_from(from - groups.start * 4).unwrap_or_default();
        let count = usize::try_from(until - from).unwrap_or_default();
        let encoded = encoded.get(skipped..).unwrap_or_default();
        let encoded = encoded.get(..count).unwrap_or(encoded);
        let last = self.lines(decoded.len()) - 1;
        let width = usize::try_from(self.width).unwrap_or(usize::MAX);
        to.reserve(encoded.len() + encoded.len() / width * 2 + 4);
        for (number, line) in lines.zip(encoded.chunks(width)) {
            to.extend_from_slice(line);
            if number < last || self.ended {
                to.extend_from_slice(self.end());
            }
        }
    }
}

/// Lines in the alphabet of base64, which may be some.
struct Run {
    from: usize,
    /// Behind the last line and its end.
    end: usize,
    /// Characters of the first line, and of all but the last.
    width: usize,
    crlf: bool,
    /// How many lines there are.
    lines: usize,
    /// Where the last line begins, and its characters.
    last: Range<usize>,
    /// Whether the last line has an end.
    ended: bool,
}

impl Run {
    /// Looks at a line, and if it may be base64, at those that follow.
    fn at(raw: &[u8], line: &Line) -> Option<Self> {
        let text = raw.get(line.text.clone()).unwrap_or_default();
        // Most lines have a space or another sign soon, and needn't be looked at to their end for that.
        let head = text.get(..24).unwrap_or(text);
        if text.len() < 4 || !head.iter().all(|byte| is_digit(*byte) || *byte == b'=') {
            return None;
        }
        let (width, crlf) = (line.text.len(), line.crlf);
        let mut run = Self {
            from: line.text.start,
            end: line.next,
            width,
            crlf,
            lines: 1,
            last: line.text.clone(),
            ended: line.ended,
        };
        match kind(text) {
            LineKind::Other => return None,
            LineKind::Padded => return Some(run),
            LineKind::Plain => {}
        }
        while run.ended && run.end < raw.len() {
            let line = Line::at(raw, run.end);
            let length = line.text.len();
            if length == 0 || length > width || (line.ended && line.crlf != crlf) {
                break;
            }
            let kind = kind(raw.get(line.text.clone()).unwrap_or_default());
            if kind == LineKind::Other {
                break;
            }
            run.end = line.next;
            run.ended = line.ended;
            run.last = line.text;
            run.lines += 1;
            if length < width || kind == LineKind::Padded {
                break;
            }
        }
        Some(run)
    }

    /// Decodes it, if it is base64 that can be written again as it is: its end, its shape, and what it says.
    fn decode(&self, raw: &[u8]) -> Option<(usize, Shape, Vec<u8>)> {
        self.try_lines(raw, self.lines).or_else(|| {
            // A short line that doesn't belong to it, such as a word.
            let whole = self.last.len() == self.width;
            if whole || self.lines < 2 { None } else { self.try_lines(raw, self.lines - 1) }
        })
    }

    fn try_lines(&self, raw: &[u8], lines: usize) -> Option<(usize, Shape, Vec<u8>)> {
        let all = lines == self.lines;
        let last = if all { self.last.len() } else { self.width };
        let length = self.width.checked_mul(lines - 1)?.checked_add(last)?;
        if length < SHORTEST || !length.is_multiple_of(4) {
            return None;
        }
        let (end, ended) = if all { (self.end, self.ended) } else { (self.last.start, true) };
        let shape = Shape { width: self.width as u64, crlf: self.crlf, ended };
        let stride = self.width + shape.end().len();
        let mut decoded = Vec::with_capacity(length / 4 * 3);
        let mut characters = Vec::with_capacity(CHARACTERS.min(length) + self.width);
        for line in 0..lines {
            let from = self.from + line * stride;
            let width = if line + 1 == lines { last } else { self.width };
            characters.extend_from_slice(raw.get(from..from + width)?);
            if characters.len() >= CHARACTERS || line + 1 == lines {
                let whole = characters.len() / 4 * 4;
                decode(characters.get(..whole)?, &mut decoded)?;
                characters.drain(..whole);
            }
        }
        let written = shape.written(decoded.len());
        let as_it_was = raw.get(self.from..end)?;
        if decoded.is_empty() || written != as_it_was.len() as u64 {
            return None;
        }
        // It follows from what was decoded strictly; but a message is more than an argument.
        let mut again = Vec::new();
        let mut line = 0;
        let mut compared = 0;
        while line < lines as u64 {
            let next = (line + shape.at_a_time()).min(lines as u64);
            again.clear();
            shape.write_lines(&decoded, line..next, &mut again);
            if as_it_was.get(compared..compared + again.len()) != Some(&again) {
                return None;
            }
            compared += again.len();
            line = next;
        }
        (compared == as_it_was.len()).then_some((end, shape, decoded))
    }
}

/// Decodes whole groups of four, strictly.
fn decode(characters: &[u8], to: &mut Vec<u8>) -> Option<()> {
    let before = to.len();
    to.resize(before + BASE64.decode_len(characters.len()).ok()?, 0);
    let count = BASE64.decode_mut(characters, to.get_mut(before..)?).ok()?;
    to.truncate(before + count);
    Some(())
}

struct Line {
    text: Range<usize>,
    next: usize,
    crlf: bool,
    ended: bool,
}

impl Line {
    fn at(raw: &[u8], from: usize) -> Self {
        let rest = raw.get(from..).unwrap_or_default();
        match memchr::memchr(b'\n', rest) {
            Some(length) => {
                let crlf = length > 0 && rest.get(length - 1) == Some(&b'\r');
                let end = from + length - usize::from(crlf);
                Self { text: from..end, next: from + length + 1, crlf, ended: true }
            }
            None => Self { text: from..raw.len(), next: raw.len(), crlf: false, ended: false },
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum LineKind {
    /// Digits of base64 alone.
    Plain,
    /// And one or two signs that fill the last group.
    Padded,
    Other,
}

fn kind(line: &[u8]) -> LineKind {
    let padding = line.iter().rev().take(3).take_while(|byte| **byte == b'=').count();
    let digits = line.get(..line.len() - padding).unwrap_or_default();
    // In pieces, so that the compiler makes wide operations of each.
    let digits =
        digits.chunks(32).all(|piece| piece.iter().fold(true, |all, byte| all & is_digit(*byte)));
    match (digits, padding) {
        (true, 0) => LineKind::Plain,
        (true, 1 | 2) => LineKind::Padded,
        _ => LineKind::Other,
    }
}

const fn is_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() | (byte == b'+') | (byte == b'/')
}

/// Characters of so many bytes in base64.
fn characters(length: usize) -> u64 {
    (length as u64).div_ceil(3) * 4
}

fn slice(content: &[u8], from: usize, length: usize) -> Result<&[u8], DecodeError> {
    let end = from.checked_add(length).ok_or(DecodeError::Recipe)?;
    content.get(from..end).ok_or(DecodeError::Recipe)
}

/// Writes a number in groups of seven bits, the lowest first (LEB128).
pub(crate) fn push(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 & 0x7f | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

/// Reads such a number.
pub(crate) fn take(from: &mut &[u8]) -> Result<u64, DecodeError> {
    let mut number = 0;
    for at in 0..10 {
        let (byte, rest) = from.split_first().ok_or(DecodeError::Recipe)?;
        *from = rest;
        let bits = u64::from(byte & 0x7f);
        number |= bits.checked_shl(7 * at).ok_or(DecodeError::Recipe)?;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(DecodeError::Recipe)
}

#[cfg(test)]
mod tests;
