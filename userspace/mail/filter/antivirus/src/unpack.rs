//! What is packed in a file, and in what is packed in it, within limits.

use std::borrow::Cow;
use std::io::Read;

use crate::format::Format;
use crate::limits::{Excess, Limits};
use crate::name::FileName;

mod cabinet;
mod compound;
mod cpio;
mod embedded;
mod inflate;
mod macros;
mod notebook;
mod pdf;
mod rar;
mod rtf;
mod sevenzip;
mod single;
mod tar;
mod tnef;
mod zip;

pub(crate) use tar::octal;

/// Octets that are unpacked before limits and time are looked at.
const STEP: usize = 64 << 10;

/// Why the whole was left.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stop {
    /// A limit was met.
    Excess(Excess),
    /// The time is over.
    Late,
}

/// What became known of a file while it was unpacked.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(crate) struct Facts {
    /// Something in it can't be read without a password.
    pub(crate) encrypted: bool,
    /// Something in it is not as it has to be, or it ends too early.
    pub(crate) broken: bool,
    /// Something in it is packed in a way that nobody here knows.
    pub(crate) unsupported: bool,
    /// It says two things of the same file, so that two programs unpack different ones.
    pub(crate) ambiguous: bool,
    /// It is known only by its name: its content could not be read.
    pub(crate) sealed: bool,
    /// It has macros.
    pub(crate) macros: bool,
    /// It has macros, and their source was taken away, so that nobody sees what they do.
    pub(crate) sourceless: bool,
    /// It has sheets of macros that are formulas.
    pub(crate) formulas: bool,
}

/// A file that is looked at.
#[derive(Debug)]
pub(crate) struct Object<'o> {
    pub(crate) name: &'o FileName,
    /// The files that it is packed in, below the part, and it itself; empty for the part.
    pub(crate) path: &'o str,
    pub(crate) content: &'o [u8],
    pub(crate) format: Format,
    /// What it is packed in; `Unknown` for a part.
    pub(crate) parent: Format,
    pub(crate) depth: usize,
    /// How many files are packed with it, it itself counted; zero if nobody knows.
    pub(crate) siblings: usize,
    pub(crate) shown: bool,
    pub(crate) facts: Facts,
}

/// A file that was unpacked.
#[derive(Debug, Default)]
pub(crate) struct Entry<'e> {
    pub(crate) name: Cow<'e, str>,
    pub(crate) content: Cow<'e, [u8]>,
    /// What it is, where its octets don't say that.
    pub(crate) format: Option<Format>,
    pub(crate) siblings: usize,
    pub(crate) facts: Facts,
}

impl<'e> Entry<'e> {
    pub(crate) fn new(name: impl Into<Cow<'e, str>>, content: impl Into<Cow<'e, [u8]>>) -> Self {
        Self { name: name.into(), content: content.into(), ..Self::default() }
    }

    /// A file whose content can't be read.
    pub(crate) fn sealed(name: impl Into<Cow<'e, str>>, encrypted: bool) -> Self {
        let facts = Facts { sealed: true, encrypted, ..Facts::default() };
        Self { name: name.into(), facts, ..Self::default() }
    }

    pub(crate) fn among(self, siblings: usize) -> Self {
        Self { siblings, ..self }
    }
}

/// Octets that were unpacked.
#[derive(Debug, Default)]
pub(crate) struct Poured {
    pub(crate) content: Vec<u8>,
    /// Whether it ended too early, or in nonsense.
    pub(crate) broken: bool,
}

/// A reader of a format: it knows the name of what it reads, gives what it finds to the walk, and notes what it learns.
type Unpack = fn(&FileName, &[u8], &mut Walk<'_>, &mut Facts) -> Result<(), Stop>;

/// A walk through a part, and through whatever is packed in it.
pub(crate) struct Walk<'w> {
    limits: &'w Limits,
    /// Says whether the time is over.
    expired: &'w dyn Fn() -> bool,
    look: &'w mut dyn FnMut(&Object<'_>),
    entries: usize,
    total: usize,
    depth: usize,
    path: String,
    parent: Format,
}

impl<'w> Walk<'w> {
    pub(crate) fn new(
        limits: &'w Limits,
        expired: &'w dyn Fn() -> bool,
        look: &'w mut dyn FnMut(&Object<'_>),
    ) -> Self {
        Self {
            limits,
            expired,
            look,
            entries: limits.entries,
            total: limits.total,
            depth: 0,
            path: String::new(),
            parent: Format::Unknown,
        }
    }

    /// Whether nothing was unpacked yet.
    pub(crate) const fn is_fresh(&self) -> bool {
        self.entries == self.limits.entries && self.total == self.limits.total
    }

    /// Looks at a part, and at what is packed in it.
    pub(crate) fn part(&mut self, name: &str, content: &[u8], shown: bool) -> Result<(), Stop> {
        self.depth = 0;
        self.path.clear();
        self.parent = Format::Unknown;
        self.visit(&Entry::new(name, content), shown)
    }

    pub(crate) const fn limits(&self) -> &'w Limits {
        self.limits
    }

    /// Looks at a file that was unpacked.
    pub(crate) fn entry(&mut self, entry: &Entry<'_>) -> Result<(), Stop> {
        self.visit(entry, false)
    }

    /// Counts a file, before anything is done for it.
    pub(crate) fn count(&mut self) -> Result<(), Stop> {
        self.time()?;
        self.entries = self.entries.checked_sub(1).ok_or(Stop::Excess(Excess::Entries))?;
        Ok(())
    }

    pub(crate) fn time(&self) -> Result<(), Stop> {
        if (self.expired)() { Err(Stop::Late) } else { Ok(()) }
    }

    /// Counts octets that are looked at a second time: those that lie in an archive as they are.
    pub(crate) fn borrow(&mut self, octets: usize) -> Result<(), Stop> {
        if octets > self.limits.one {
            return Err(Stop::Excess(Excess::One));
        }
        self.total = self.total.checked_sub(octets).ok_or(Stop::Excess(Excess::Total))?;
        Ok(())
    }

    /// Unpacks what comes out of `from`, which has so many octets packed, to its end.
    pub(crate) fn pour(&mut self, from: &mut dyn Read, packed: usize) -> Result<Poured, Stop> {
        let mut poured = Poured::default();
        let mut step = vec![0; STEP];
        loop {
            self.time()?;
            match from.read(&mut step) {
                Ok(0) => return Ok(poured),
                Ok(length) => {
                    self.borrow(length)?;
                    poured.content.extend_from_slice(step.get(..length).unwrap_or_default());
                    self.measure(poured.content.len(), packed)?;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => {
                    poured.broken = true;
                    return Ok(poured);
                }
            }
        }
    }

    /// Whether so much may come out of so little.
    pub(crate) fn measure(&self, octets: usize, packed: usize) -> Result<(), Stop> {
        if octets > self.limits.one {
            return Err(Stop::Excess(Excess::One));
        }
        if octets > self.limits.ratio_from && octets / packed.max(1) > self.limits.ratio {
            return Err(Stop::Excess(Excess::Ratio));
        }
        Ok(())
    }

    fn visit(&mut self, entry: &Entry<'_>, shown: bool) -> Result<(), Stop> {
        self.time()?;
        let content = entry.content.as_ref();
        let format = entry.format.unwrap_or_else(|| Format::of(content));
        let name = FileName::new(&entry.name);
        let mut facts = entry.facts;

        let outer = (self.path.len(), self.parent);
        if self.depth > 0 {
            if !self.path.is_empty() {
                self.path.push_str(" \u{203a} ");
            }
            self.path.push_str(name.shown());
        }
        let result = self.unpack(&name, content, format, shown, &mut facts, outer.1);

        // Whatever stopped it, what it is was seen.
        (self.look)(&Object {
            name: &name,
            path: &self.path,
            content,
            format,
            parent: outer.1,
            depth: self.depth,
            siblings: entry.siblings,
            shown,
            facts,
        });
        self.path.truncate(outer.0);
        result
    }

    fn unpack(
        &mut self,
        name: &FileName,
        content: &[u8],
        format: Format,
        shown: bool,
        facts: &mut Facts,
        outer: Format,
    ) -> Result<(), Stop> {
        let unpack: Unpack = match format {
            Format::Zip => zip::unpack,
            Format::Gzip => single::gzip,
            Format::Bzip2 => single::bzip2,
            Format::Xz => single::xz,
            Format::Zstd => single::zstd,
            Format::Tar => tar::unpack,
            Format::Cpio => cpio::unpack,
            Format::SevenZip => sevenzip::unpack,
            Format::Rar => rar::unpack,
            Format::Cabinet => cabinet::unpack,
            Format::Compound => compound::unpack,
            Format::OneNote => notebook::unpack,
            Format::Rtf => rtf::unpack,
            Format::Pdf => pdf::unpack,
            Format::Tnef => tnef::unpack,
            Format::OldArchive => {
                facts.unsupported = true;
                return Ok(());
            }
            _ if shown => return Ok(()),
            _ if format.is_text() => embedded::unpack,
            // Pictures and programs with an archive at their end: unpackers open those, too.
            _ if zip::ends_with_one(content) => zip::unpack,
            _ => return Ok(()),
        };
        if self.depth >= self.limits.depth {
            // Text is not packed into each other; it ends there.
            return if format.is_text() { Ok(()) } else { Err(Stop::Excess(Excess::Depth)) };
        }
        self.depth += 1;
        self.parent = format;
        let result = unpack(name, content, self, facts);
        self.depth -= 1;
        self.parent = outer;
        result
    }
}

#[cfg(test)]
mod tests;
