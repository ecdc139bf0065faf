//! ZIP, as PKWARE's APPNOTE has it, and as programs read it that have not read the note.
//!
//! Each file is described twice, in front of its octets and in the directory at the end, and programs differ in whom they believe:
//! so both are read, and where they differ, that is said. What stands between the files that the directory names is looked
//! through for more. Files that lie upon each other are the bomb of which the ratio is in the millions; they are known before
//! anything is unpacked.

use std::borrow::Cow;
use std::io::Read;

use bzip2::read::BzDecoder;
use lzma_rust2::LzmaReader;

use crate::bytes::{at_most, from, le16, le32, le64, piece, place32, place64};
use crate::limits::Excess;
use crate::name::FileName;
use crate::unpack::inflate::Inflate;
use crate::unpack::{Entry, Facts, Poured, Stop, Walk, narrow_name, single};

const LOCAL: &[u8] = b"PK\x03\x04";
const CENTRAL: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";
const END_64: &[u8] = b"PK\x06\x06";
const LOCATOR_64: &[u8] = b"PK\x06\x07";

/// Octets of what stands at the end, with the longest comment.
const END_REACH: usize = 22 + 0xffff;

/// Files that may lie upon each other: honest programs have written one twice.
const MOST_OVERLAPS: usize = 1;

/// Whether a directory stands at the end of these octets.
pub(crate) fn ends_with_one(content: &[u8]) -> bool {
    End::find(content).is_some_and(|end| end.directory < end.at && end.count > 0)
}

/// A file of the archive.
#[derive(Clone, Debug)]
struct Member {
    name: String,
    flags: u16,
    method: u16,
    packed: usize,
    size: u64,
    /// Where its octets begin, once its local header was read; until then, where that is.
    at: usize,
    /// Whether the two descriptions differ.
    ambiguous: bool,
}

pub(crate) fn unpack(
    _: &FileName,
    content: &[u8],
    walk: &mut Walk<'_>,
    facts: &mut Facts,
) -> Result<(), Stop> {
    let mut members = Vec::new();
    let mut covered = Vec::new();
    match End::find(content) {
        Some(end) => {
            let behind = directory(content, &end, walk, facts, &mut members)?;
            for member in &mut members {
                match local(content, member.at) {
                    Some((begin, described)) => {
                        covered.push((
                            member.at,
                            begin.saturating_add(member.packed).min(content.len()),
                        ));
                        member.believe(&described, begin);
                    }
                    None => {
                        member.packed = 0;
                        member.at = content.len();
                        facts.broken = true;
                    }
                }
            }
            covered.sort_unstable();
            if overlaps(&covered) > MOST_OVERLAPS {
                return Err(Stop::Excess(Excess::Overlap));
            }
            // What the directory takes, and no more: what it says nothing of may lie before it and behind it.
            covered.push((end.directory, behind));
            covered.sort_unstable();
        }
        None => facts.broken = true,
    }
    unnamed(content, &covered, walk, facts, &mut members)?;

    let siblings = members.iter().filter(|member| !member.is_folder()).count();
    for member in members.iter().filter(|member| !member.is_folder()) {
        extract(content, member, siblings, walk, facts)?;
    }
    Ok(())
}

/// Files that begin before the end of one that began before them.
fn overlaps(places: &[(usize, usize)]) -> usize {
    let mut reached = 0;
    let mut count = 0;
    for &(begin, end) in places {
        count += usize::from(begin < reached);
        reached = reached.max(end);
    }
    count
}

/// What the directory says, and the place behind it.
fn directory(
    content: &[u8],
    end: &End,
    walk: &mut Walk<'_>,
    facts: &mut Facts,
    members: &mut Vec<Member>,
) -> Result<usize, Stop> {
    // A directory that says it has more than is looked at is believed.
    if end.count > walk.limits().entries as u64 {
        return Err(Stop::Excess(Excess::Entries));
    }
    let mut at = end.directory;
    while let Some(header) = piece(content, at, 46).filter(|header| header.starts_with(CENTRAL)) {
        walk.count()?;
        let length = |place| le16(header, place).map_or(0, usize::from);
        let (name, extra, comment) = (length(28), length(30), length(32));
        let extra_field = at_most(content, at + 46 + name, extra);
        let mut member = Member {
            name: narrow_name(at_most(content, at + 46, name)),
            flags: le16(header, 8).unwrap_or_default(),
            method: le16(header, 10).unwrap_or_default(),
            packed: place32(header, 20).unwrap_or_default(),
            size: le32(header, 24).unwrap_or_default().into(),
            at: place32(header, 42).unwrap_or_default(),
            ambiguous: false,
        };
        member.widen(extra_field);
        member.at = member.at.saturating_add(end.shift);
        members.push(member);
        at = at.saturating_add(46 + name + extra + comment);
    }
    // Those that end the list early hide what follows from some programs.
    let said = if end.wide { end.count } else { end.count & 0xffff };
    let found = members.len() as u64;
    facts.broken |= if end.wide { found != said } else { found & 0xffff != said };
    Ok(at)
}

/// A local header, and where the octets behind it begin.
fn local(content: &[u8], at: usize) -> Option<(usize, Member)> {
    let header = piece(content, at, 30).filter(|header| header.starts_with(LOCAL))?;
    let name = usize::from(le16(header, 26)?);
    let extra = usize::from(le16(header, 28)?);
    let mut member = Member {
        name: narrow_name(at_most(content, at + 30, name)),
        flags: le16(header, 6)?,
        method: le16(header, 8)?,
        packed: place32(header, 18)?,
        size: le32(header, 22)?.into(),
        at: at + 30 + name + extra,
        ambiguous: false,
    };
    member.widen(at_most(content, at + 30 + name, extra));
    Some((member.at, member))
}

/// Files that the directory does not name.
fn unnamed(
    content: &[u8],
    covered: &[(usize, usize)],
    walk: &mut Walk<'_>,
    facts: &mut Facts,
    members: &mut Vec<Member>,
) -> Result<(), Stop> {
    let without_directory = covered.is_empty();
    let mut at = 0;
    let mut covered = covered.iter().peekable();
    while let Some(found) = memchr::memmem::find(from(content, at), LOCAL) {
        at = at.saturating_add(found);
        while covered.peek().is_some_and(|(_, end)| *end <= at) {
            covered.next();
        }
        if let Some((_, end)) = covered.peek().filter(|(begin, _)| *begin <= at) {
            at = (*end).max(at + 4);
            continue;
        }
        let Some((begin, mut member)) = local(content, at) else {
            at += 4;
            continue;
        };
        walk.count()?;
        // Its size may stand behind it; deflate knows where it ends, and the rest is searched on.
        let open = member.flags & 8 != 0 && member.packed == 0;
        if open {
            member.packed = from(content, begin).len();
        }
        at = if open { begin } else { begin.saturating_add(member.packed) }.max(at + 4);
        facts.ambiguous |= !without_directory;
        members.push(member);
    }
    Ok(())
}

impl Member {
    /// Takes what the local header says, where it can be believed, and notes where the two differ.
    fn believe(&mut self, local: &Self, begin: usize) {
        self.at = begin;
        let open = local.flags & 8 != 0;
        self.ambiguous = local.name != self.name
            || local.method != self.method
            || (local.flags ^ self.flags) & 1 != 0
            || !open && local.packed != self.packed && local.packed != 0
            || !open && local.size != self.size && local.size != 0;
    }

    /// The numbers that did not find room in their four octets: extra field 1.
    fn widen(&mut self, extra: &[u8]) {
        let mut at = 0;
        while let (Some(id), Some(length)) = (le16(extra, at), le16(extra, at + 2)) {
            let length = usize::from(length);
            if id == 1 {
                let field = at_most(extra, at + 4, length);
                let mut place = 0;
                if self.size == 0xffff_ffff {
                    self.size = le64(field, place).unwrap_or(self.size);
                    place += 8;
                }
                if self.packed == 0xffff_ffff {
                    self.packed = place64(field, place).unwrap_or(self.packed);
                    place += 8;
                }
                if self.at == 0xffff_ffff {
                    self.at = place64(field, place).unwrap_or(self.at);
                }
                return;
            }
            at += 4 + length;
        }
    }

    fn is_folder(&self) -> bool {
        self.name.ends_with('/') && self.size == 0
    }

    const fn is_encrypted(&self) -> bool {
        self.flags & 0x2041 != 0 || self.method == 99
    }
}

fn extract(
    content: &[u8],
    member: &Member,
    siblings: usize,
    walk: &mut Walk<'_>,
    facts: &mut Facts,
) -> Result<(), Stop> {
    facts.ambiguous |= member.ambiguous;
    let name = Cow::Borrowed(member.name.as_str());
    if member.is_encrypted() {
        facts.encrypted = true;
        return walk.entry(&Entry::sealed(name, true).among(siblings));
    }
    // Some programs take a length of zero for one that is not known.
    let packed = if member.packed == 0 && member.size > 0 {
        from(content, member.at)
    } else {
        at_most(content, member.at, member.packed)
    };
    facts.broken |= packed.len() < member.packed;
    facts.unsupported |= packed.is_empty() && (member.packed > 0 || member.size > 0);
    // Of nothing, some say that it was deflated.
    if member.method == 0 || packed.is_empty() {
        walk.borrow(packed.len())?;
        return walk.entry(&Entry::new(name, packed).among(siblings));
    }
    let Some(poured) = decode(packed, member, walk)? else {
        facts.unsupported = true;
        return walk.entry(&Entry::sealed(name, false).among(siblings));
    };
    facts.broken |= poured.broken;
    facts.unsupported |= poured.is_lost();
    facts.ambiguous |=
        !poured.broken && member.flags & 8 == 0 && poured.content.len() as u64 != member.size;
    let mut entry = Entry::new(name, poured.content).among(siblings);
    entry.facts.broken = poured.broken;
    walk.entry(&entry)
}

fn decode(packed: &[u8], member: &Member, walk: &mut Walk<'_>) -> Result<Option<Poured>, Stop> {
    let mut reader: Box<dyn Read + '_> = match member.method {
        8 => Box::new(Inflate::raw(packed)),
        12 => Box::new(BzDecoder::new(packed)),
        14 => match lzma(packed, member, walk)? {
            Some(reader) => reader,
            None => return Ok(Some(Poured { broken: true, ..Poured::default() })),
        },
        93 | 20 => match single::zstd_reader(packed) {
            Some(reader) => Box::new(reader),
            None => return Ok(None),
        },
        95 => Box::new(single::xz_reader(packed, walk)?),
        _ => return Ok(None),
    };
    walk.pour(&mut reader, packed.len()).map(Some)
}

/// Two octets of a version, two of a length, then what LZMA wants to know: section 5.8.8.
fn lzma<'p>(
    packed: &'p [u8],
    member: &Member,
    walk: &Walk<'_>,
) -> Result<Option<Box<dyn Read + 'p>>, Stop> {
    let (Some(&properties), Some(dictionary)) = (packed.get(4), le32(packed, 5)) else {
        return Ok(None);
    };
    // A size beyond the limit is no reason to take more: the limit is met when it comes out.
    let dictionary = u64::from(dictionary).min(member.size.max(1 << 12));
    if dictionary > walk.limits().dictionary as u64 {
        return Err(Stop::Excess(Excess::Dictionary));
    }
    let size = if member.flags & 2 != 0 { u64::MAX } else { member.size };
    let dictionary = u32::try_from(dictionary).unwrap_or(u32::MAX);
    let reader = LzmaReader::new_with_props(from(packed, 9), size, properties, dictionary, None);
    Ok(reader.ok().map(|reader| Box::new(reader) as Box<dyn Read>))
}

/// What stands at the end of an archive.
#[derive(Debug)]
struct End {
    /// Where it stands itself.
    at: usize,
    /// Where the directory begins.
    directory: usize,
    /// What has to be added to places: octets in front of the archive.
    shift: usize,
    /// Files, by its word.
    count: u64,
    /// Whether the numbers are those of ZIP64.
    wide: bool,
}

impl End {
    fn find(content: &[u8]) -> Option<Self> {
        let reach = content.len().saturating_sub(END_REACH);
        let tail = from(content, reach);
        // The last one counts; one within a comment leads nowhere, and the one before it is tried.
        memchr::memmem::rfind_iter(tail, END).take(8).find_map(|at| Self::read(content, reach + at))
    }

    fn read(content: &[u8], at: usize) -> Option<Self> {
        let end = piece(content, at, 22)?;
        let mut found = Self {
            at,
            directory: place32(end, 16)?,
            shift: 0,
            count: le16(end, 10)?.into(),
            wide: false,
        };
        let mut size = place32(end, 12)?;
        let mut behind = at;
        if let Some((wide_at, wide)) = Self::wide(content, at) {
            found.count = le64(wide, 32)?;
            size = place64(wide, 40)?;
            found.directory = place64(wide, 48)?;
            found.wide = true;
            behind = wide_at;
        }
        if found.count == 0 && size == 0 {
            return Some(found);
        }
        // With octets in front, places are those from where the archive began.
        let begins = |place: usize| from(content, place).starts_with(CENTRAL);
        let counted = behind.checked_sub(size);
        match counted {
            Some(place) if begins(place) && place >= found.directory => {
                found.shift = place - found.directory;
                found.directory = place;
                Some(found)
            }
            _ if begins(found.directory) => Some(found),
            _ => None,
        }
    }

    /// The same in wider numbers.
    fn wide(content: &[u8], at: usize) -> Option<(usize, &[u8])> {
        let place = at.checked_sub(20)?;
        let locator =
            piece(content, place, 20).filter(|locator| locator.starts_with(LOCATOR_64))?;
        let said = place64(locator, 8)?;
        // Where octets stand in front, it is not where it says, but before the locator all the same.
        [said, place.checked_sub(56)?].into_iter().find_map(|place| {
            let wide = piece(content, place, 56).filter(|wide| wide.starts_with(END_64))?;
            Some((place, wide))
        })
    }
}
