//! Where a message ends and what stands in it: the content of `DATA` and of `BDAT`, taken out of what a client sends.
//!
//! CRLF, dot, CRLF ends a message, and nothing else does (RFC 5321 section 4.1.1.4). Servers that also end it at LF, dot, LF
//! or the like see commands where others see content, and so have passed on mail that nobody sent ("SMTP smuggling", CVE-2023-51764
//! and its sisters). A CR or LF that stands alone is no line end here, and a message that has one is refused: section 2.3.8
//! forbids it, and whoever gets the message next might read it otherwise.

use bytes::Bytes;
use memchr::memchr2;

/// What a message may have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// Octets in all.
    pub octets: u64,
    /// Octets in a line, without its end.
    pub line: usize,
}

/// Why a message can't be taken, although all of it came.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Fault {
    /// A CR or an LF alone.
    BareLineEnd,
    /// A line that is too long.
    LongLine,
    /// More octets than are taken.
    TooBig,
    /// There was no memory for it.
    NoMemory,
}

/// A message that is being taken in. Once there is a fault, what comes is counted and forgotten.
#[derive(Debug)]
pub struct Collector {
    kept: Vec<u8>,
    forgotten: u64,
    fault: Option<Fault>,
    at: At,
    /// Octets of the line so far.
    column: usize,
    bounds: Bounds,
}

/// Where in a line the next octet will stand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum At {
    /// At its start.
    Start,
    /// Inside.
    Line,
    /// Behind a CR.
    Cr,
    /// Behind a dot at its start, which is not part of the message.
    Dot,
    /// Behind such a dot and a CR. If an LF follows, that was the end.
    DotCr,
}

/// How much room is made at once, and the most that is made before anything came.
const STEP: usize = 1 << 20;

impl Collector {
    /// An empty message. `expected` is how long the client says that it will be; it is believed up to a point.
    #[must_use]
    pub fn new(bounds: Bounds, expected: Option<u64>) -> Self {
        let expected = expected.map_or(0, |octets| usize::try_from(octets).unwrap_or(usize::MAX));
        // Believed up to what a client can have us hold at no cost to himself.
        let room = expected.min(64 << 10).saturating_add(2);
        Self {
            kept: Vec::with_capacity(room),
            forgotten: 0,
            fault: None,
            at: At::Start,
            column: 0,
            bounds,
        }
    }

    /// Takes content of `DATA`: how much of it belonged to the message, and whether the message ended there.
    pub fn dotted(&mut self, input: &[u8]) -> (usize, bool) {
        // What lies between `from` and `at` is part of the message, and not yet copied.
        let mut from = 0;
        let mut at = 0;
        while let Some(&octet) = input.get(at) {
            match self.at {
                At::Start if octet == b'.' => {
                    self.keep(input.get(from..at).unwrap_or_default());
                    at += 1;
                    from = at;
                    self.at = At::Dot;
                }
                At::Start | At::Line => at = self.line(input, at),
                At::Cr => at = self.behind_cr(octet, at),
                At::Dot if octet == b'\r' => {
                    at += 1;
                    from = at;
                    self.at = At::DotCr;
                }
                At::Dot => self.at = At::Line,
                At::DotCr if octet == b'\n' => return (at + 1, true),
                At::DotCr => {
                    self.fail(Fault::BareLineEnd);
                    self.at = if octet == b'\r' { At::Cr } else { At::Line };
                    at += usize::from(octet == b'\r');
                }
            }
        }
        self.keep(input.get(from..at).unwrap_or_default());
        (at, false)
    }

    /// Takes content of `BDAT`, where a dot means nothing and the end is where the octets end.
    pub fn counted(&mut self, input: &[u8]) {
        let mut at = 0;
        while let Some(&octet) = input.get(at) {
            match self.at {
                At::Cr => at = self.behind_cr(octet, at),
                _ => at = self.line(input, at),
            }
        }
        self.keep(input);
    }

    /// Ends a message that came by `BDAT`. If its last line has no end, it gets one: nobody behind us has to think of that.
    pub fn end(&mut self) {
        match self.at {
            At::Cr => self.fail(Fault::BareLineEnd),
            At::Line => self.keep(b"\r\n"),
            _ => {}
        }
        self.at = At::Start;
    }

    /// Why it can't be taken.
    #[must_use]
    pub const fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Gives it up: what came is forgotten, and what comes will be.
    pub fn fail(&mut self, fault: Fault) {
        // The first fault is what the client is told.
        self.fault.get_or_insert(fault);
        self.forgotten = self.forgotten.saturating_add(length(&self.kept));
        self.kept = Vec::new();
    }

    /// Octets that came, whether kept or not.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.forgotten.saturating_add(length(&self.kept))
    }

    /// Octets of memory that it takes.
    #[must_use]
    pub const fn memory(&self) -> usize {
        self.kept.capacity()
    }

    /// The message.
    ///
    /// # Errors
    ///
    /// Why it can't be taken.
    pub fn finish(self) -> Result<Bytes, Fault> {
        match self.fault {
            Some(fault) => Err(fault),
            None => Ok(Bytes::from(self.kept)),
        }
    }

    /// Goes on inside a line: to behind the CR that should end it, or to the end of the input.
    fn line(&mut self, input: &[u8], at: usize) -> usize {
        let rest = input.get(at..).unwrap_or_default();
        let found = memchr2(b'\r', b'\n', rest);
        let octets = found.unwrap_or(rest.len());
        self.column = self.column.saturating_add(octets);
        if self.column > self.bounds.line {
            self.fail(Fault::LongLine);
        }
        self.at = At::Line;
        match found {
            None => return at + octets,
            Some(_) if rest.get(octets) == Some(&b'\r') => self.at = At::Cr,
            Some(_) => {
                self.fail(Fault::BareLineEnd);
                self.column = 0;
            }
        }
        at + octets + 1
    }

    /// Goes on behind a CR: past the LF, which has to follow.
    fn behind_cr(&mut self, octet: u8, at: usize) -> usize {
        self.column = 0;
        if octet == b'\n' {
            self.at = At::Start;
            return at + 1;
        }
        self.fail(Fault::BareLineEnd);
        self.at = At::Line;
        at
    }

    fn keep(&mut self, octets: &[u8]) {
        if self.fault.is_some() {
            self.forgotten = self.forgotten.saturating_add(length(octets));
            return;
        }
        if length(&self.kept).saturating_add(length(octets)) > self.bounds.octets {
            self.forgotten = self.forgotten.saturating_add(length(octets));
            return self.fail(Fault::TooBig);
        }
        if octets.len() > self.kept.capacity() - self.kept.len() {
            // Twice as much while that is little, and then a step at a time: what is reserved is little more than what came.
            let room = octets.len().max(self.kept.capacity().clamp(4 << 10, STEP));
            self.kept.reserve_exact(room);
        }
        self.kept.extend_from_slice(octets);
    }
}

fn length(octets: &[u8]) -> u64 {
    u64::try_from(octets.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
