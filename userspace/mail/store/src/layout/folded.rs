//! Finds text that was folded with soft line breaks (`=` before the end of a line, RFC 2045 section 6.7), so that it can be kept without
//! them, and folds it again just as it was. Pure.
//!
//! Programs fill their lines as far as they go: what follows a break says where it must have been. Not all go to the same column, and
//! not all let the end of a line go where the `=` would be. A run of lines is held against all these habits, in one go,
//! until none is left that makes it.

use std::ops::Range;

use memchr::{memchr, memmem};

use super::Line;

/// Breaks that a run has at least: fewer are no gain.
const FEWEST: u64 = 8;

/// Characters of the line that a run begins with, at least.
const SHORTEST: usize = 40;

/// Characters of a line: it must be longer than what it may not be broken within, and is no longer than RFC 5322 lets it be.
const WIDTHS: std::ops::RangeInclusive<usize> = 8..=998;

/// A line is never broken within `=XX`, and so may be so many characters shorter than others.
const SHORTER: usize = 2;

/// How lines are folded: filled with characters and a `=`, and never broken within `=XX`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Fold {
    /// Most characters of a line, with the `=`.
    width: usize,
    last: Last,
    /// Lines end in CRLF, and not in LF alone.
    crlf: bool,
}

/// Whether what needs no `=` may be as long as a line with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Last {
    No,
    Yes,
    /// But for one that ends in `=XX`: Python's quopri.
    UnlessQuoted,
}

/// Lines that all come out the same, so far.
#[derive(Debug)]
pub(super) struct Folding {
    from: usize,
    crlf: bool,
    /// The ways that they can have been folded in.
    folds: Vec<Fold>,
    /// Whether the last line has a soft break.
    soft: bool,
    /// Soft breaks between the lines.
    breaks: u64,
    /// Where it ends without lines that add no break, and without the break of the last line, and how many there are before.
    end: usize,
    folded: u64,
    /// A line and the beginning of what follows it.
    ahead: Vec<u8>,
}

impl Fold {
    pub(super) fn to_number(self) -> u64 {
        let last = match self.last {
            Last::No => 0,
            Last::Yes => 1,
            Last::UnlessQuoted => 2,
        };
        (self.width as u64) << 3 | last << 1 | u64::from(self.crlf)
    }

    pub(super) fn of_number(number: u64) -> Option<Self> {
        let width = usize::try_from(number >> 3).ok()?;
        let last = match number >> 1 & 3 {
            0 => Last::No,
            1 => Last::Yes,
            2 => Last::UnlessQuoted,
            _ => return None,
        };
        WIDTHS.contains(&width).then_some(Self { width, last, crlf: number & 1 != 0 })
    }

    /// Most breaks that there can be in so many characters.
    pub(super) fn most_breaks(&self, length: usize) -> u64 {
        (length / (self.width - 1 - SHORTER)) as u64
    }

    /// Bytes that so many characters make with so many breaks.
    pub(super) fn written(&self, length: usize, breaks: u64) -> u64 {
        breaks.saturating_mul(self.soft_break().len() as u64).saturating_add(length as u64)
    }

    /// Writes a range of what text makes, and looks at the text no farther than it must.
    pub(super) fn write(&self, text: &[u8], range: &Range<u64>, to: &mut Vec<u8>) {
        let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        // What is written is no shorter than the text, and how a line is broken depends on no more than the next width.
        let seen = number(range.end).saturating_add(2 * self.width).min(text.len());
        let mut skipped = number(range.start);
        let mut left = number(range.end).saturating_sub(skipped);
        self.fold(text.get(..seen).unwrap_or(text), |piece| {
            let skip = skipped.min(piece.len());
            skipped -= skip;
            let piece = piece.get(skip..).unwrap_or_default();
            let piece = piece.get(..left).unwrap_or(piece);
            to.extend_from_slice(piece);
            left -= piece.len();
            left > 0
        });
    }

    /// Whether that is what text makes.
    fn makes(&self, text: &[u8], folded: &[u8]) -> bool {
        let mut rest = Some(folded);
        self.fold(text, |piece| {
            rest = rest.and_then(|rest| rest.strip_prefix(piece));
            rest.is_some()
        });
        rest.is_some_and(<[u8]>::is_empty)
    }

    /// Folds text, and hands out piece by piece as long as they are wanted.
    fn fold(&self, text: &[u8], mut wanted: impl FnMut(&[u8]) -> bool) {
        let mut behind = text;
        while !behind.is_empty() {
            let length = memchr(b'\n', behind).map_or(behind.len(), |at| at + 1);
            let (line, next) = behind.split_at(length);
            behind = next;
            let characters = match line.strip_suffix(b"\n") {
                Some(line) if self.crlf => line.strip_suffix(b"\r").unwrap_or(line),
                Some(line) => line,
                None => line,
            };
            let mut at = 0;
            while let Some(length) = self.next(characters.get(at..).unwrap_or_default()) {
                let piece = line.get(at..at + length).unwrap_or_default();
                if !wanted(piece) || !wanted(self.soft_break()) {
                    return;
                }
                at += length;
            }
            if !wanted(line.get(at..).unwrap_or_default()) {
                return;
            }
        }
    }

    /// Characters before the next soft break of a line. None if all of it fits.
    fn next(&self, line: &[u8]) -> Option<usize> {
        let begins_quoted = |at: usize| line.get(at) == Some(&b'=');
        let fits = match self.last {
            Last::No => line.len() < self.width,
            Last::Yes => line.len() <= self.width,
            Last::UnlessQuoted => {
                line.len() < self.width
                    || (line.len() == self.width && !begins_quoted(self.width - 3))
            }
        };
        if fits {
            return None;
        }
        let most = self.width - 1;
        let shorter = (1..=SHORTER).find(|shorter| begins_quoted(most - shorter));
        Some(most - shorter.unwrap_or_default())
    }

    fn soft_break(&self) -> &'static [u8] {
        if self.crlf { b"=\r\n" } else { b"=\n" }
    }
}

impl Folding {
    /// Begins with a line, if that can have been folded.
    pub(super) fn at(raw: &[u8], line: &Line) -> Option<Self> {
        let length = line.text.len();
        if !is_soft(raw, line) || !(SHORTEST..=*WIDTHS.end()).contains(&length) {
            return None;
        }
        let widths = length..=(length + SHORTER).min(*WIDTHS.end());
        let folds = widths.flat_map(|width| {
            [Last::No, Last::Yes, Last::UnlessQuoted].map(|last| Fold {
                width,
                last,
                crlf: line.crlf,
            })
        });
        let mut folding = Self {
            from: line.text.start,
            crlf: line.crlf,
            folds: folds.collect(),
            soft: false,
            breaks: 0,
            end: line.text.start,
            folded: 0,
            ahead: Vec::new(),
        };
        folding.take(raw, line).then_some(folding)
    }

    /// Goes on with the next line. False if it doesn't come out the same: then this ends before it.
    pub(super) fn take(&mut self, raw: &[u8], line: &Line) -> bool {
        if line.ended && line.crlf != self.crlf {
            return false;
        }
        let text = raw.get(line.text.clone()).unwrap_or_default();
        let soft = is_soft(raw, line);
        if soft {
            let Some(following) = self.following(raw, line.next) else { return false };
            let characters = text.len() - 1;
            if characters >= *WIDTHS.end() {
                return false;
            }
            self.ahead.clear();
            self.ahead.extend_from_slice(text.get(..characters).unwrap_or_default());
            self.ahead.extend_from_slice(following);
            if !narrow(&mut self.folds, |fold| fold.next(&self.ahead) == Some(characters)) {
                return false;
            }
        } else if !narrow(&mut self.folds, |fold| fold.next(text).is_none()) {
            return false;
        }
        self.breaks += u64::from(self.soft);
        if soft || self.soft {
            self.end = if soft { line.text.end - 1 } else { line.next };
            self.folded = self.breaks;
        }
        self.soft = soft;
        true
    }

    /// What follows a soft break, as far as it can tell where that had to be. None if that is no line that can be here.
    fn following<'a>(&self, raw: &'a [u8], next: usize) -> Option<&'a [u8]> {
        // Of the narrowest line there is so much left, and one character more tells that it is too long.
        const SEEN: usize = SHORTER + 2;
        let ahead = raw.get(next..).unwrap_or_default();
        let head = ahead.get(..SEEN + 2).unwrap_or(ahead);
        let line = Line::at(head, 0);
        if line.ended && (line.crlf != self.crlf || is_soft(head, &line)) {
            return None;
        }
        let text = head.get(line.text).unwrap_or_default();
        Some(text.get(..SEEN).unwrap_or(text))
    }

    /// Writes the text without its soft breaks behind other content, and tells where it ended, how it is folded and the breaks that it
    /// has. None if it isn't worth it.
    pub(super) fn unfold(&self, raw: &[u8], to: &mut Vec<u8>) -> Option<(Fold, u64)> {
        let fold = self.folds.first()?;
        let folded = raw.get(self.range())?;
        let before = to.len();
        let soft_break = fold.soft_break();
        let mut at = 0;
        for found in memmem::find_iter(folded, soft_break) {
            to.extend_from_slice(folded.get(at..found).unwrap_or_default());
            at = found + soft_break.len();
        }
        to.extend_from_slice(folded.get(at..).unwrap_or_default());
        let text = to.get(before..).unwrap_or_default();
        let written = fold.written(text.len(), self.folded);
        // It follows from what was taken; but a message is more than an argument.
        if written == folded.len() as u64 && fold.makes(text, folded) {
            Some((*fold, self.folded))
        } else {
            to.truncate(before);
            None
        }
    }

    /// Whether it is worth to be unfolded.
    pub(super) fn is_gain(&self) -> bool {
        self.folded >= FEWEST
    }

    /// Where it lies.
    pub(super) fn range(&self) -> Range<usize> {
        self.from..self.end
    }
}

/// Leaves those that something is true of, or all if it is true of none.
fn narrow(folds: &mut Vec<Fold>, is_so: impl Fn(&Fold) -> bool) -> bool {
    let some = folds.iter().any(&is_so);
    if some {
        folds.retain(is_so);
    }
    some
}

fn is_soft(raw: &[u8], line: &Line) -> bool {
    line.ended && raw.get(line.text.clone()).is_some_and(|text| text.last() == Some(&b'='))
}
