//! 7-Zip. The header is read here, so that nothing is taken before its size was looked at; lzma-rust2 and others unpack.

use std::io::{BufReader, Read};

use bzip2::read::BzDecoder;
use lzma_rust2::filter::bcj::BcjReader;
use lzma_rust2::filter::bcj2::Bcj2Reader;
use lzma_rust2::filter::delta::DeltaReader;
use lzma_rust2::{Lzma2Reader, LzmaReader};

use crate::bytes::{at_most, from, le32, piece, place64, wide};
use crate::limits::Excess;
use crate::name::FileName;
use crate::unpack::inflate::Inflate;
use crate::unpack::{Entry, Facts, Stop, Walk, single};

/// Octets of the header in front.
const SIGNATURE: usize = 32;
/// How often a header may be packed in another.
const MOST_HEADERS: usize = 4;
/// Coders of a folder, and streams of a coder: 7-Zip itself writes seven.
const MOST_CODERS: usize = 16;
/// Readers that are put together for a folder.
const MOST_READERS: usize = 48;
/// Folders and streams that are listed.
const MOST_LISTED: usize = 100_000;

pub(crate) fn unpack(
    _: &FileName,
    content: &[u8],
    walk: &mut Walk<'_>,
    facts: &mut Facts,
) -> Result<(), Stop> {
    let begin = place64(content, 12).unwrap_or(usize::MAX).saturating_add(SIGNATURE);
    let length = place64(content, 20).unwrap_or(usize::MAX);
    let Some(header) = piece(content, begin, length) else {
        facts.broken = true;
        facts.unsupported = true;
        return Ok(());
    };
    let mut header = header.to_vec();
    for _ in 0..MOST_HEADERS {
        let mut fields = Fields { rest: &header };
        match fields.octet() {
            Some(1) => {
                let Some(archive) = archive(&mut fields, walk)? else { break };
                return archive.extract(content, walk, facts);
            }
            // Packed, and maybe encrypted.
            Some(0x17) => {
                let Some(folder) = fields.streams() else { break };
                walk.count()?;
                let Some(first) = folder.folders.first() else { break };
                let mut place = Place { stream: 0, at: folder.begin };
                let reader = folder.reader(content, first, &mut place, walk, facts)?;
                let Some((mut reader, packed)) = reader else { return Ok(()) };
                let size = first.size().unwrap_or(u64::MAX);
                let poured = walk.pour(&mut reader.by_ref().take(size), packed)?;
                header = poured.content;
            }
            // An archive of nothing.
            None => return Ok(()),
            Some(_) => break,
        }
    }
    // Whoever reads it otherwise may find files in it.
    facts.broken = true;
    facts.unsupported = true;
    Ok(())
}

/// What a header says.
#[derive(Debug, Default)]
struct Archive {
    streams: Streams,
    files: Vec<File>,
}

#[derive(Debug, Default)]
struct File {
    name: String,
    empty: bool,
}

/// Where octets lie, and how they are packed.
#[derive(Debug, Default)]
struct Streams {
    /// Where the first stream begins.
    begin: u64,
    /// Octets of each.
    packed: Vec<u64>,
    folders: Vec<Folder>,
    /// Octets of each file, folder by folder.
    files: Vec<Vec<u64>>,
}

/// Streams that are unpacked together.
#[derive(Debug, Default)]
struct Folder {
    coders: Vec<Coder>,
    /// What goes into one stream is what came out of another.
    bound: Vec<(usize, usize)>,
    /// Which streams go in from outside.
    outside: Vec<usize>,
    /// Octets that come out of each coder.
    sizes: Vec<u64>,
}

#[derive(Debug, Default)]
struct Coder {
    method: Vec<u8>,
    inputs: usize,
    properties: Vec<u8>,
}

fn archive(fields: &mut Fields<'_>, walk: &mut Walk<'_>) -> Result<Option<Archive>, Stop> {
    let mut archive = Archive::default();
    loop {
        match fields.octet() {
            Some(0) => return Ok(Some(archive)),
            Some(2) => {
                if fields.properties().is_none() {
                    return Ok(None);
                }
            }
            Some(4) => match fields.streams() {
                Some(streams) => archive.streams = streams,
                None => return Ok(None),
            },
            Some(5) => match fields.files(walk)? {
                Some(files) => archive.files = files,
                None => return Ok(None),
            },
            _ => return Ok(None),
        }
    }
}

impl Archive {
    fn extract(&self, content: &[u8], walk: &mut Walk<'_>, facts: &mut Facts) -> Result<(), Stop> {
        let siblings = self.files.iter().filter(|file| !file.empty).count();
        let mut files = self.files.iter().filter(|file| !file.empty);
        let mut place = Place { stream: 0, at: self.streams.begin };
        for (folder, sizes) in self.streams.folders.iter().zip(&self.streams.files) {
            walk.time()?;
            let mut reader = self.streams.reader(content, folder, &mut place, walk, facts)?;
            for &size in sizes {
                let name = match files.next() {
                    Some(file) => file.name.as_str(),
                    // Those that are named were counted when their names were read.
                    None => {
                        walk.count()?;
                        ""
                    }
                };
                let Some((source, packed)) = &mut reader else {
                    let encrypted = folder.is_encrypted();
                    facts.unsupported |= !encrypted;
                    walk.entry(&Entry::sealed(name, encrypted).among(siblings))?;
                    continue;
                };
                let poured = walk.pour(&mut source.by_ref().take(size), *packed)?;
                let broken = poured.broken || (poured.content.len() as u64) < size;
                facts.broken |= broken;
                facts.unsupported |= broken && poured.content.is_empty();
                let mut entry = Entry::new(name, poured.content).among(siblings);
                entry.facts.broken = broken;
                walk.entry(&entry)?;
                if broken {
                    // Those that follow in the same stream can't be reached.
                    reader = None;
                }
            }
        }
        // What lies in no stream is known by its name.
        for file in files {
            facts.broken = true;
            facts.unsupported = true;
            walk.entry(&Entry::sealed(file.name.as_str(), false).among(siblings))?;
        }
        Ok(())
    }
}

/// How far the streams of an archive were given to its folders.
struct Place {
    /// The next stream.
    stream: usize,
    /// Where it begins.
    at: u64,
}

type Source<'s> = Box<dyn Read + 's>;

/// Why a folder can't be read.
enum Unreadable {
    Encrypted,
    Unsupported,
    Broken,
    Dictionary,
}

impl Streams {
    /// What comes out of a folder, whose streams begin at `place`, and from how many octets.
    fn reader<'c>(
        &self,
        content: &'c [u8],
        folder: &Folder,
        place: &mut Place,
        walk: &Walk<'_>,
        facts: &mut Facts,
    ) -> Result<Option<(Source<'c>, usize)>, Stop> {
        let mut packed = Vec::new();
        for _ in &folder.outside {
            let Some(&length) = self.packed.get(place.stream) else { break };
            let at = usize::try_from(place.at).unwrap_or(usize::MAX).saturating_add(SIGNATURE);
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let stream = at_most(content, at, length);
            facts.broken |= stream.len() < length;
            packed.push(stream);
            place.stream += 1;
            place.at = place.at.saturating_add(length as u64);
        }
        let mut left = MOST_READERS;
        let most = walk.limits().dictionary as u64;
        match folder.main().and_then(|main| folder.build(main, &packed, most, &mut left)) {
            Ok(reader) => Ok(Some((reader, packed.iter().map(|stream| stream.len()).sum()))),
            Err(Unreadable::Dictionary) => Err(Stop::Excess(Excess::Dictionary)),
            Err(why) => {
                match why {
                    Unreadable::Encrypted => facts.encrypted = true,
                    Unreadable::Unsupported => facts.unsupported = true,
                    Unreadable::Broken | Unreadable::Dictionary => {
                        facts.broken = true;
                        facts.unsupported = true;
                    }
                }
                Ok(None)
            }
        }
    }
}

impl Folder {
    /// The coder whose output nobody takes.
    fn main(&self) -> Result<usize, Unreadable> {
        (0..self.coders.len())
            .find(|&coder| !self.bound.iter().any(|&(_, output)| output == coder))
            .ok_or(Unreadable::Broken)
    }

    fn is_encrypted(&self) -> bool {
        self.coders.iter().any(Coder::is_encrypted)
    }

    /// Octets that come out.
    fn size(&self) -> Option<u64> {
        self.main().ok().and_then(|main| self.sizes.get(main)).copied()
    }

    fn build<'c>(
        &self,
        coder: usize,
        packed: &[&'c [u8]],
        most: u64,
        left: &mut usize,
    ) -> Result<Source<'c>, Unreadable> {
        // Coders that are bound in a circle end here.
        *left = left.checked_sub(1).ok_or(Unreadable::Broken)?;
        let first: usize = self.coders.iter().take(coder).map(|coder| coder.inputs).sum();
        let this = self.coders.get(coder).ok_or(Unreadable::Broken)?;
        // What is encrypted is that before anything else is.
        if this.is_encrypted() {
            return Err(Unreadable::Encrypted);
        }
        let mut inputs = Vec::new();
        for input in first..first + this.inputs {
            let source: Source<'c> = match self.bound.iter().find(|(bound, _)| *bound == input) {
                Some(&(_, output)) => self.build(output, packed, most, left)?,
                None => {
                    let place = self.outside.iter().position(|&outside| outside == input);
                    let stream =
                        place.and_then(|place| packed.get(place)).ok_or(Unreadable::Broken)?;
                    Box::new(*stream)
                }
            };
            inputs.push(source);
        }
        let size = self.sizes.get(coder).copied().ok_or(Unreadable::Broken)?;
        if this.method == [3, 3, 1, 0x1b] {
            let reader = Bcj2Reader::try_new(inputs, size).map_err(|_| Unreadable::Broken)?;
            return Ok(Box::new(reader));
        }
        let mut inputs = inputs.into_iter();
        let (Some(input), None) = (inputs.next(), inputs.next()) else {
            return Err(Unreadable::Unsupported);
        };
        this.reader(input, size, most)
    }
}

impl Coder {
    fn is_encrypted(&self) -> bool {
        self.method.starts_with(&[6, 0xf1])
    }

    fn reader<'c>(
        &self,
        input: Source<'c>,
        size: u64,
        most: u64,
    ) -> Result<Source<'c>, Unreadable> {
        let start = le32(&self.properties, 0).map_or(0, |start| start as usize);
        Ok(match self.method.as_slice() {
            [0] => input,
            [3, 1, 1] => {
                let (Some(&properties), Some(said)) =
                    (self.properties.first(), le32(&self.properties, 1))
                else {
                    return Err(Unreadable::Broken);
                };
                let dictionary = bounded(said.into(), size, most)?;
                let reader = LzmaReader::new_with_props(input, size, properties, dictionary, None);
                Box::new(reader.map_err(|_| Unreadable::Broken)?)
            }
            [0x21] => {
                let said = self.properties.first().ok_or(Unreadable::Broken)?;
                let dictionary = bounded(single::dictionary(*said), size, most)?;
                Box::new(Lzma2Reader::new(input, dictionary, None))
            }
            [4, 1, 8] => Box::new(Inflate::raw(BufReader::new(input))),
            [4, 2, 2] => Box::new(BzDecoder::new(input)),
            [3] => {
                let distance = self.properties.first().map_or(1, |&octet| usize::from(octet) + 1);
                Box::new(DeltaReader::new(input, distance))
            }
            [3, 3, 1, 3] | [4] => Box::new(BcjReader::new_x86(input, start)),
            [3, 3, 2, 5] | [5] => Box::new(BcjReader::new_ppc(input, start)),
            [3, 3, 4, 1] | [6] => Box::new(BcjReader::new_ia64(input, start)),
            [3, 3, 5, 1] | [7] => Box::new(BcjReader::new_arm(input, start)),
            [3, 3, 7, 1] | [8] => Box::new(BcjReader::new_arm_thumb(input, start)),
            [3, 3, 8, 5] | [9] => Box::new(BcjReader::new_sparc(input, start)),
            [0xa] => Box::new(BcjReader::new_arm64(input, start)),
            _ => return Err(Unreadable::Unsupported),
        })
    }
}

/// A dictionary is never larger than what comes out needs.
fn bounded(said: u64, size: u64, most: u64) -> Result<u32, Unreadable> {
    let needed = said.min(size.max(1 << 12).saturating_add(15));
    if needed > most {
        return Err(Unreadable::Dictionary);
    }
    u32::try_from(needed).map_err(|_| Unreadable::Dictionary)
}

/// Numbers and lists, one behind the other.
struct Fields<'f> {
    rest: &'f [u8],
}

impl<'f> Fields<'f> {
    fn octet(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn octets(&mut self, length: usize) -> Option<&'f [u8]> {
        let (octets, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(octets)
    }

    /// The ones at the front of the first octet are how many follow; what is left of it is the highest part.
    fn number(&mut self) -> Option<u64> {
        let first = self.octet()?;
        let mut value = 0;
        for place in 0..8 {
            let mask = 0x80_u8 >> place;
            if first & mask == 0 {
                let high = u64::from(first & mask.wrapping_sub(1));
                return Some(value | high << (8 * place));
            }
            value |= u64::from(self.octet()?) << (8 * place);
        }
        Some(value)
    }

    fn length(&mut self) -> Option<usize> {
        self.number().and_then(|number| usize::try_from(number).ok())
    }

    /// The length of a list, each of whose items takes room, here or elsewhere.
    fn listed(&mut self) -> Option<usize> {
        self.length().filter(|&length| length <= MOST_LISTED)
    }

    fn numbers(&mut self, count: usize) -> Option<Vec<u64>> {
        (0..count).map(|_| self.number()).collect()
    }

    fn bits(&mut self, count: usize) -> Option<Vec<bool>> {
        let octets = self.octets(count.div_ceil(8))?;
        let bit =
            |at: usize| octets.get(at / 8).is_some_and(|octet| octet & (0x80 >> (at % 8)) != 0);
        Some((0..count).map(bit).collect())
    }

    /// Sums, which are not compared: what is wrong is looked at, too. Says which are there.
    fn digests(&mut self, count: usize) -> Option<Vec<bool>> {
        let there = if self.octet()? == 0 { self.bits(count)? } else { vec![true; count] };
        self.octets(4 * there.iter().filter(|&&there| there).count())?;
        Some(there)
    }

    fn properties(&mut self) -> Option<()> {
        loop {
            if self.number()? == 0 {
                return Some(());
            }
            let length = self.length()?;
            self.octets(length)?;
        }
    }

    fn streams(&mut self) -> Option<Streams> {
        let mut streams = Streams::default();
        // Folders whose only file has a sum already.
        let mut summed = Vec::new();
        loop {
            match self.octet()? {
                0 => break,
                6 => {
                    streams.begin = self.number()?;
                    let count = self.listed()?;
                    loop {
                        match self.octet()? {
                            0 => break,
                            9 => streams.packed = self.numbers(count)?,
                            0xa => {
                                self.digests(count)?;
                            }
                            _ => return None,
                        }
                    }
                }
                7 => (streams.folders, summed) = self.folders()?,
                8 => streams.files = self.files_of_folders(&streams.folders, &summed)?,
                _ => return None,
            }
        }
        if streams.files.is_empty() {
            streams.files =
                streams.folders.iter().map(|folder| folder.size().into_iter().collect()).collect();
        }
        Some(streams)
    }

    fn folders(&mut self) -> Option<(Vec<Folder>, Vec<bool>)> {
        if self.octet()? != 0xb {
            return None;
        }
        let count = self.listed()?;
        // Those that are described elsewhere nobody has seen.
        if self.octet()? != 0 {
            return None;
        }
        let mut folders = Vec::new();
        for _ in 0..count {
            folders.push(self.folder()?);
        }
        if self.octet()? != 0xc {
            return None;
        }
        for folder in &mut folders {
            folder.sizes = self.numbers(folder.coders.len())?;
        }
        let mut summed = vec![false; count];
        loop {
            match self.octet()? {
                0 => return Some((folders, summed)),
                0xa => summed = self.digests(count)?,
                _ => return None,
            }
        }
    }

    fn folder(&mut self) -> Option<Folder> {
        let mut folder = Folder::default();
        let count = self.length().filter(|count| (1..=MOST_CODERS).contains(count))?;
        for _ in 0..count {
            let flags = self.octet()?;
            let method = self.octets(usize::from(flags & 15))?.to_vec();
            let mut inputs = 1;
            if flags & 0x10 != 0 {
                inputs = self.length().filter(|&inputs| inputs <= MOST_CODERS)?;
                // There is no coder with two outputs.
                if self.number()? != 1 {
                    return None;
                }
            }
            let mut properties = Vec::new();
            if flags & 0x20 != 0 {
                let length = self.length()?;
                properties = self.octets(length)?.to_vec();
            }
            folder.coders.push(Coder { method, inputs, properties });
        }
        let inputs: usize = folder.coders.iter().map(|coder| coder.inputs).sum();
        for _ in 1..count {
            folder.bound.push((self.length()?, self.length()?));
        }
        let outside = inputs.checked_sub(count - 1)?;
        if outside == 1 {
            let free =
                (0..inputs).find(|input| !folder.bound.iter().any(|(bound, _)| bound == input))?;
            folder.outside.push(free);
        } else {
            for _ in 0..outside {
                folder.outside.push(self.length()?);
            }
        }
        Some(folder)
    }

    fn files_of_folders(&mut self, folders: &[Folder], summed: &[bool]) -> Option<Vec<Vec<u64>>> {
        let mut counts = vec![1; folders.len()];
        let mut kind = self.octet()?;
        if kind == 0xd {
            let mut total = 0_usize;
            for count in &mut counts {
                *count = self.listed()?;
                total = total.saturating_add(*count);
            }
            if total > MOST_LISTED {
                return None;
            }
            kind = self.octet()?;
        }
        let mut files = Vec::new();
        for (folder, &count) in folders.iter().zip(&counts) {
            // The last one has what the others leave.
            let mut sizes = Vec::new();
            if count > 0 {
                if kind == 9 {
                    sizes = self.numbers(count - 1)?;
                }
                let others = sizes.iter().copied().fold(0, u64::saturating_add);
                sizes.push(folder.size()?.checked_sub(others)?);
            }
            files.push(sizes);
        }
        if kind == 9 {
            kind = self.octet()?;
        }
        let unsummed =
            |(&count, &summed): (&usize, &bool)| if count == 1 && summed { 0 } else { count };
        while kind != 0 {
            if kind != 0xa {
                return None;
            }
            self.digests(counts.iter().zip(summed).map(unsummed).sum())?;
            kind = self.octet()?;
        }
        Some(files)
    }

    fn files(&mut self, walk: &mut Walk<'_>) -> Result<Option<Vec<File>>, Stop> {
        let Some(count) = self.length() else { return Ok(None) };
        let mut files = Vec::new();
        for _ in 0..count {
            walk.count()?;
            files.push(File::default());
        }
        Ok(self.describe(&mut files).map(|()| files))
    }

    fn describe(&mut self, files: &mut [File]) -> Option<()> {
        loop {
            let kind = self.number()?;
            if kind == 0 {
                return Some(());
            }
            let length = self.length()?;
            let mut value = Fields { rest: self.octets(length)? };
            match kind {
                0xe => {
                    let empty = value.bits(files.len())?;
                    for (file, empty) in files.iter_mut().zip(empty) {
                        file.empty = empty;
                    }
                }
                0x11 if value.octet()? == 0 => {
                    let mut at = 0;
                    for file in &mut *files {
                        let rest = from(value.rest, at);
                        let length = rest.chunks_exact(2).position(|letter| letter == [0, 0])?;
                        file.name = wide(at_most(rest, 0, 2 * length));
                        at += 2 * length + 2;
                    }
                }
                _ => {}
            }
        }
    }
}
