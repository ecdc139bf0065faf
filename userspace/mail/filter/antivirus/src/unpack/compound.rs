//! Compound files, MS-CFB: old Office documents, Outlook's messages, installers, and what newer documents keep macros and
//! embedded objects in. Read leniently: what is meant to escape a scanner is broken in ways that Office forgives.

use crate::bytes::{at_most, from, le16, le32, narrow, piece, place32, until_zero, wide};
use crate::format::Format;
use crate::name::FileName;
use crate::unpack::inflate::Inflate;
use crate::unpack::{Entry, Facts, Stop, Walk, macros};

/// Numbers from here on are marks, and no sectors.
const MARKS: u32 = 0xffff_fffa;
/// Entries of a directory that are read.
const MOST_STREAMS: usize = 20_000;

pub(crate) fn unpack(
    _: &FileName,
    content: &[u8],
    walk: &mut Walk<'_>,
    facts: &mut Facts,
) -> Result<(), Stop> {
    let Some(file) = File::read(content) else {
        facts.broken = true;
        return Ok(());
    };
    let mut sources = 0;
    for stream in file.streams() {
        walk.count()?;
        let data = file.data(&stream);
        if data.is_empty() {
            continue;
        }
        facts.broken |= data.len() < stream.size;
        walk.borrow(data.len())?;
        match stream.name.as_str() {
            "_VBA_PROJECT" => facts.macros = true,
            "EncryptedPackage" => facts.encrypted = true,
            "Workbook" | "Book" => workbook(&data, facts),
            // FIB, MS-DOC section 2.5.2: fEncrypted.
            "WordDocument" if le16(&data, 10).is_some_and(|flags| flags & 0x100 != 0) => {
                facts.encrypted = true
            }
            "\u{1}Ole10Native" => {
                if let Some((name, embedded)) = package(from(&data, 4)) {
                    walk.borrow(embedded.len())?;
                    walk.entry(&Entry::new(name, embedded))?;
                }
            }
            _ => {}
        }
        if stream.name == "PowerPoint Document" {
            slides(&data, walk, facts)?;
        }
        if let Some(source) = macros::source(&data, walk.limits().one) {
            walk.borrow(source.len())?;
            sources += 1;
            let format = Some(Format::Macro);
            walk.entry(&Entry { format, ..Entry::new(stream.name.as_str(), source) })?;
        }
        // Without their control letters, names of streams end like those of files: never.
        walk.entry(&Entry::new(stream.name.as_str(), data))?;
    }
    facts.sourceless |= facts.macros && sources == 0;
    Ok(())
}

/// Objects that lie packed among the records of slides: ExOleObjStgCompressedAtom, MS-PPT section 2.10.34.
fn slides(data: &[u8], walk: &mut Walk<'_>, facts: &mut Facts) -> Result<(), Stop> {
    const COMPRESSED: &[u8] = b"\x10\0\x11\x10";
    let mut at = 0;
    while let Some(found) = memchr::memmem::find(from(data, at), COMPRESSED) {
        let length = place32(data, at + found + 4).unwrap_or_default();
        let packed = at_most(data, at + found + 12, length.saturating_sub(4));
        at += found + COMPRESSED.len();
        walk.count()?;
        let poured = walk.pour(&mut Inflate::zlib(packed), packed.len())?;
        if !poured.content.is_empty() {
            facts.broken |= poured.broken;
            walk.entry(&Entry::new("", poured.content))?;
        }
    }
    Ok(())
}

/// What an object of the packager's holds: a label, a path, another path, and the file. Without the length in front.
pub(crate) fn package(data: &[u8]) -> Option<(String, &[u8])> {
    let (label, at) = until_zero(data, 2)?;
    let (_path, at) = until_zero(data, at)?;
    let length = place32(data, at.checked_add(4)?)?;
    let at = at.checked_add(8)?.checked_add(length)?;
    let size = place32(data, at)?;
    let content = at_most(data, at + 4, size);
    (!content.is_empty()).then(|| (narrow(label), content))
}

/// Sheets of macros, and passwords, in the records at the start of a workbook: MS-XLS sections 2.4.28 and 2.4.117.
fn workbook(data: &[u8], facts: &mut Facts) {
    const END: u16 = 0x0a;
    const PASSWORD: u16 = 0x2f;
    const SHEET: u16 = 0x85;
    let mut at = 0;
    while let (Some(kind), Some(length)) = (le16(data, at), le16(data, at + 2)) {
        match kind {
            END => return,
            PASSWORD => facts.encrypted = true,
            SHEET if data.get(at + 9) == Some(&1) => facts.formulas = true,
            _ => {}
        }
        at += 4 + usize::from(length);
    }
}

/// A stream of the file.
struct Stream {
    name: String,
    first: u32,
    size: usize,
}

struct File<'f> {
    content: &'f [u8],
    /// Octets of a sector, and of a small one.
    sector: usize,
    small: usize,
    /// Streams below this lie in small sectors.
    cutoff: usize,
    fat: Vec<u32>,
    small_fat: Vec<u32>,
    directory: Vec<u8>,
    /// What the small sectors lie in.
    ministream: Vec<u8>,
}

impl<'f> File<'f> {
    fn read(content: &'f [u8]) -> Option<Self> {
        let shift = le16(content, 30).filter(|shift| matches!(shift, 7..=16))?;
        let small_shift =
            le16(content, 32).filter(|small| (2..=shift).contains(small)).unwrap_or(6);
        let mut file = Self {
            content,
            sector: 1 << shift,
            small: 1 << small_shift,
            cutoff: place32(content, 56)?,
            fat: Vec::new(),
            small_fat: Vec::new(),
            directory: Vec::new(),
            ministream: Vec::new(),
        };
        file.fat = file.table(content)?;
        file.directory = file.chain(le32(content, 48)?, usize::MAX);
        file.small_fat = numbers(&file.chain(le32(content, 60)?, usize::MAX));
        let root = at_most(&file.directory, 0, 128).to_vec();
        file.ministream = file.chain(le32(&root, 116)?, place32(&root, 120)?);
        Some(file)
    }

    /// The table of which sector follows which. Its own sectors are listed in the header, and in a chain of its own.
    fn table(&self, content: &[u8]) -> Option<Vec<u32>> {
        let most = content.len() / self.sector + 1;
        let mut sectors = numbers(at_most(content, 76, 4 * 109));
        let mut next = le32(content, 68)?;
        for _ in 0..most {
            if next >= MARKS {
                break;
            }
            let list = numbers(self.at(next));
            let Some((&link, listed)) = list.split_last() else { break };
            sectors.extend(listed);
            next = link;
        }
        let mut fat = Vec::new();
        for &sector in sectors.iter().filter(|&&sector| sector < MARKS) {
            // Lists that name a sector twice would never end.
            if fat.len() > most + self.sector {
                break;
            }
            fat.extend(numbers(self.at(sector)));
        }
        Some(fat)
    }

    fn at(&self, sector: u32) -> &'f [u8] {
        let place = (sector as usize).saturating_add(1).saturating_mul(self.sector);
        at_most(self.content, place, self.sector)
    }

    /// The octets of a chain, as long as it has some, and no more than the file.
    fn chain(&self, first: u32, most: usize) -> Vec<u8> {
        let most = most.min(self.content.len());
        let mut out = Vec::new();
        let mut sector = first;
        while sector < MARKS && out.len() < most {
            let octets = self.at(sector);
            if octets.is_empty() {
                break;
            }
            out.extend_from_slice(octets);
            // Where the table ends, sectors are taken as they lie.
            sector = self.fat.get(sector as usize).copied().unwrap_or(sector.saturating_add(1));
        }
        out.truncate(most);
        out
    }

    fn small_chain(&self, first: u32, most: usize) -> Vec<u8> {
        let most = most.min(self.ministream.len());
        let mut out = Vec::new();
        let mut sector = first;
        while sector < MARKS && out.len() < most {
            let octets =
                at_most(&self.ministream, (sector as usize).saturating_mul(self.small), self.small);
            if octets.is_empty() {
                break;
            }
            out.extend_from_slice(octets);
            let Some(&next) = self.small_fat.get(sector as usize) else { break };
            sector = next;
        }
        out.truncate(most);
        out
    }

    fn data(&self, stream: &Stream) -> Vec<u8> {
        if stream.size < self.cutoff {
            self.small_chain(stream.first, stream.size)
        } else {
            self.chain(stream.first, stream.size)
        }
    }

    fn streams(&self) -> Vec<Stream> {
        let mut streams = Vec::new();
        for entry in self.directory.chunks_exact(128).take(MOST_STREAMS) {
            let octets = le16(entry, 64).map_or(0, usize::from).min(64).saturating_sub(2);
            let is_stream = entry.get(66) == Some(&2);
            if let (true, Some(first), Some(size)) =
                (is_stream, le32(entry, 116), place32(entry, 120))
            {
                streams.push(Stream {
                    name: wide(piece(entry, 0, octets).unwrap_or_default()),
                    first,
                    size,
                });
            }
        }
        streams
    }
}

fn numbers(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).filter_map(|chunk| le32(chunk, 0)).collect()
}
