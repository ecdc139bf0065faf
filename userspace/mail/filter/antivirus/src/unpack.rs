//! What is packed in a file, and in what is packed in it, within limits.

use std::borrow::Cow;
use std::io::{self, Read};

use crate::bytes::{at_most, from, narrow, place64};
use crate::format::Format;
use crate::limits::{Excess, Limits};
use crate::name::{FileName, Opening};

mod cabinet;
mod compound;
mod cpio;
mod embedded;
mod inflate;
mod macros;
mod message;
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
/// Octets in front of an archive within which 7-Zip and WinRAR look for where it begins.
const PREFIX: usize = 4 << 20;

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
    /// Something in it is packed in a way that nobody here knows: it was not looked at.
    pub(crate) unsupported: bool,
    /// An archive begins behind its end, or somewhere in it, which is not what it looks like.
    pub(crate) hidden: bool,
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
#[cfg_attr(not(feature = "rules"), expect(dead_code, reason = "the rules ask for it"))]
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

impl Poured {
    /// Whether nothing came out, so that nobody knows what was in it.
    pub(crate) const fn is_lost(&self) -> bool {
        self.broken && self.content.is_empty()
    }
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
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // It asks for a larger dictionary than it is given.
                Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                    return Err(Stop::Excess(Excess::Dictionary));
                }
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

        // Whatever limit stopped it, what it is was seen. Only when the time is over, nobody looks any more.
        if result != Err(Stop::Late) {
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
        }
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
        let own: Option<Unpack> = match format {
            Format::Zip => Some(zip::unpack),
            Format::Gzip => Some(single::gzip),
            Format::Bzip2 => Some(single::bzip2),
            Format::Xz => Some(single::xz),
            Format::Zstd => Some(single::zstd),
            Format::Tar => Some(tar::unpack),
            Format::Cpio => Some(cpio::unpack),
            Format::SevenZip => Some(sevenzip::unpack),
            Format::Rar => Some(rar::unpack),
            Format::Cabinet => Some(cabinet::unpack),
            Format::Compound => Some(compound::unpack),
            Format::OneNote => Some(notebook::unpack),
            Format::Rtf => Some(rtf::unpack),
            Format::Pdf => Some(pdf::unpack),
            Format::Tnef => Some(tnef::unpack),
            Format::OldArchive => {
                facts.unsupported = true;
                None
            }
            // Programs of old take files out of the text of a letter.
            Format::Text if shown => Some(embedded::shown),
            _ if shown => None,
            // Browsers read what is called a page as one, whatever stands at its start.
            _ if format.is_text() || name.opening == Opening::Page => Some(embedded::unpack),
            _ => None,
        };
        let hidden = if shown { None } else { hidden(name, content, format) };
        if own.is_none() && hidden.is_none() {
            return Ok(());
        }
        if self.depth >= self.limits.depth {
            // Text is not packed into each other; it ends there.
            let ends = hidden.is_none() && format.is_text();
            return if ends { Ok(()) } else { Err(Stop::Excess(Excess::Depth)) };
        }
        self.depth += 1;
        self.parent = format;
        let mut result = own.map_or(Ok(()), |unpack| unpack(name, content, self, facts));
        if let (Ok(()), Some((hidden, unpack, at))) = (result, hidden) {
            self.parent = hidden;
            let mut inner = Facts::default();
            result = unpack(name, from(content, at), self, &mut inner);
            // What an honest archive has no faults by says nothing of what stands around it.
            facts.hidden = true;
            facts.encrypted |= inner.encrypted;
            facts.unsupported |= inner.unsupported;
        }
        self.depth -= 1;
        self.parent = outer;
        result
    }
}

/// A name out of octets that may be anything; programs in C stop at a zero.
fn narrow_name(bytes: &[u8]) -> String {
    narrow(bytes.split(|&octet| octet == 0).next().unwrap_or_default())
}

/// An archive that a file has behind its end or in it, its reader, and where it begins: pictures and programs with one are opened by
/// unpackers, and so is whatever has the name of an archive.
fn hidden(name: &FileName, content: &[u8], format: Format) -> Option<(Format, Unpack, usize)> {
    const RAR: &[u8] = b"Rar!\x1a\x07";
    const SEVEN_ZIP: &[u8] = b"7z\xbc\xaf\x27\x1c\0";
    let is_file = format.is_text() || format.is_plain();
    if matches!(format, Format::Zip | Format::Rar | Format::SevenZip)
        || !is_file && name.opening != Opening::Archive
    {
        return None;
    }
    if zip::ends_with_one(content) {
        return Some((Format::Zip, zip::unpack, 0));
    }
    let head = at_most(content, 0, PREFIX);
    let rar = memchr::memmem::find_iter(head, RAR).find(|&at| {
        let rest = from(content, at + RAR.len());
        // The kind of the first block, of both generations; few octets are no proof in a large file.
        matches!(rest, [0, _, _, 0x73, ..] | [1, 0, _, _, _, _, _, 1 | 4, ..])
    });
    if let Some(at) = rar {
        return Some((Format::Rar, rar::unpack, at));
    }
    let seven_zip = memchr::memmem::find_iter(head, SEVEN_ZIP).find(|&at| {
        let archive = from(content, at);
        let begin = place64(archive, 12).and_then(|begin| begin.checked_add(32));
        let end =
            begin.zip(place64(archive, 20)).and_then(|(begin, length)| begin.checked_add(length));
        end.is_some_and(|end| end > 32 && end <= archive.len())
    });
    seven_zip.map(|at| (Format::SevenZip, sevenzip::unpack as Unpack, at))
}

#[cfg(test)]
mod tests;
