//! Compound files, MS-CFB: old Office documents, Outlook's messages, installers, and what newer documents keep macros and
//! embedded objects in. Read leniently: what is meant to escape a scanner is broken in ways that Office forgives.

use std::collections::HashMap;

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
    let streams = file.streams();
    let titles = file.titles(&streams);
    for stream in streams {
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
            walk.measure(source.len(), data.len())?;
            sources += 1;
            let format = Some(Format::Macro);
            walk.entry(&Entry { format, ..Entry::new(stream.name.as_str(), source) })?;
        }
        let title = titles.get(&stream.storage).filter(|_| stream.name == ATTACHMENT);
        // Without their control letters, names of streams end like those of files: never.
        let name = title.map_or(stream.name.as_str(), String::as_str);
        walk.entry(&Entry::new(name, data))?;
    }
    facts.sourceless |= facts.macros && sources == 0;
    Ok(())
}

/// The content of an attachment of a message, and its names, the longer one first: MS-OXMSG section 2.2.2.
const ATTACHMENT: &str = "__substg1.0_37010102";
const TITLES: [&str; 4] = [
    "__substg1.0_3707001F",
    "__substg1.0_3707001E",
    "__substg1.0_3704001F",
    "__substg1.0_3704001E",
];
/// Octets of such a name.
const MOST_TITLE: usize = 1_024;

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
    /// The entry of the folder that it is in; zero is the root.
    storage: usize,
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
        self.data_of(stream, stream.size)
    }

    /// The first octets of a stream.
    fn data_of(&self, stream: &Stream, most: usize) -> Vec<u8> {
        if stream.size < self.cutoff {
            self.small_chain(stream.first, most)
        } else {
            self.chain(stream.first, most)
        }
    }

    fn entries(&self) -> impl Iterator<Item = &[u8]> {
        self.directory.chunks_exact(128).take(MOST_STREAMS)
    }

    /// All streams, whether they belong to the tree of folders or not.
    fn streams(&self) -> Vec<Stream> {
        let storages = self.storages();
        let mut streams = Vec::new();
        for (index, entry) in self.entries().enumerate() {
            let octets = le16(entry, 64).map_or(0, usize::from).min(64).saturating_sub(2);
            let is_stream = entry.get(66) == Some(&2);
            if let (true, Some(first), Some(size)) =
                (is_stream, le32(entry, 116), place32(entry, 120))
            {
                streams.push(Stream {
                    name: wide(piece(entry, 0, octets).unwrap_or_default()),
                    first,
                    size,
                    storage: storages.get(index).copied().unwrap_or_default(),
                });
            }
        }
        streams
    }

    /// For each entry the one of the folder that it is in: a folder knows one of its children, and each of those two others.
    fn storages(&self) -> Vec<usize> {
        let entries: Vec<&[u8]> = self.entries().collect();
        let mut storages = vec![None; entries.len()];
        for (storage, entry) in entries.iter().enumerate() {
            let mut next: Vec<usize> = place32(entry, 76).into_iter().collect();
            while let Some(child) = next.pop() {
                // Whoever was met before is not met again, so that circles end.
                if let (Some(slot @ None), Some(entry)) =
                    (storages.get_mut(child), entries.get(child))
                {
                    *slot = Some(storage);
                    next.extend([68, 72].into_iter().filter_map(|at| place32(entry, at)));
                }
            }
        }
        storages.into_iter().map(Option::unwrap_or_default).collect()
    }

    /// What the attachments of a message are called, by their folders.
    fn titles(&self, streams: &[Stream]) -> HashMap<usize, String> {
        let mut titles = HashMap::new();
        for title in TITLES {
            for stream in streams.iter().filter(|stream| stream.name == title) {
                titles.entry(stream.storage).or_insert_with(|| {
                    let size = stream.size.min(MOST_TITLE);
                    let octets = self.data_of(stream, size);
                    if title.ends_with('F') { wide(&octets) } else { narrow(&octets) }
                });
            }
        }
        titles
    }
}

fn numbers(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).filter_map(|chunk| le32(chunk, 0)).collect()
}
