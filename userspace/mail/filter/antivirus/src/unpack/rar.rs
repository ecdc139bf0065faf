//! RAR, both generations. Nobody but its owner may unpack what it packed; names, what is encrypted, and files that were only
//! stored can be read by everyone.

use crate::bytes::{at_most, from, le16, narrow, piece, place32};
use crate::name::FileName;
use crate::unpack::{Entry, Facts, Stop, Walk};

const OLD: &[u8] = b"Rar!\x1a\x07\0";
const NEW: &[u8] = b"Rar!\x1a\x07\x01\0";

/// A file of an archive.
struct Member<'m> {
    name: String,
    encrypted: bool,
    stored: bool,
    data: &'m [u8],
}

pub(crate) fn unpack(
    _: &FileName,
    content: &[u8],
    walk: &mut Walk<'_>,
    facts: &mut Facts,
) -> Result<(), Stop> {
    let members = if content.starts_with(NEW) {
        new(from(content, NEW.len()), walk, facts)?
    } else if content.starts_with(OLD) {
        old(from(content, OLD.len()), walk, facts)?
    } else {
        facts.broken = true;
        return Ok(());
    };
    let siblings = members.len();
    for member in members {
        if member.encrypted {
            facts.encrypted = true;
            walk.entry(&Entry::sealed(member.name, true).among(siblings))?;
        } else if member.stored {
            walk.borrow(member.data.len())?;
            walk.entry(&Entry::new(member.name, member.data).among(siblings))?;
        } else {
            facts.unsupported = true;
            walk.entry(&Entry::sealed(member.name, false).among(siblings))?;
        }
    }
    Ok(())
}

/// Blocks of version 4 and before: sum, kind, flags, length, and then what the kind has.
fn old<'c>(
    content: &'c [u8],
    walk: &mut Walk<'_>,
    facts: &mut Facts,
) -> Result<Vec<Member<'c>>, Stop> {
    let mut members = Vec::new();
    let mut at = 0;
    while let (Some(&kind), Some(flags), Some(length)) =
        (content.get(at + 2), le16(content, at + 3), le16(content, at + 5))
    {
        walk.count()?;
        let length = usize::from(length);
        let block = at_most(content, at, length);
        if length < 7 {
            facts.broken = true;
            break;
        }
        let mut data = 0;
        match kind {
            // The archive: even the names are encrypted.
            0x73 if flags & 0x80 != 0 => {
                facts.encrypted = true;
                break;
            }
            0x74 => {
                data = place32(block, 7).unwrap_or_default();
                let name = usize::from(le16(block, 26).unwrap_or_default());
                let begin = 32 + if flags & 0x100 != 0 { 8 } else { 0 };
                let name = at_most(block, begin, name);
                // What stands behind a zero is the same name in two octets a letter, packed.
                let name = name.split(|&octet| octet == 0).next().unwrap_or_default();
                let is_folder = flags & 0xe0 == 0xe0;
                let octets = at_most(content, at.saturating_add(length), data);
                facts.broken |= octets.len() < data;
                if !is_folder {
                    members.push(Member {
                        name: narrow(name),
                        encrypted: flags & 4 != 0,
                        // Parts of a file that goes on elsewhere are no file.
                        stored: block.get(25) == Some(&0x30) && flags & 3 == 0,
                        data: octets,
                    });
                }
            }
            0x7b => break,
            _ if flags & 0x8000 != 0 => data = place32(block, 7).unwrap_or_default(),
            _ => {}
        }
        at = at.saturating_add(length).saturating_add(data).min(content.len());
    }
    Ok(members)
}

/// Blocks of version 5: sum, length, kind, flags, lengths of what is extra and of the data, and then what the kind has.
fn new<'c>(
    content: &'c [u8],
    walk: &mut Walk<'_>,
    facts: &mut Facts,
) -> Result<Vec<Member<'c>>, Stop> {
    let mut members = Vec::new();
    let mut at = 0;
    while let Some(size) = number(content, at + 4) {
        walk.count()?;
        let Some(header) = piece(content, size.1, size.0) else {
            facts.broken = true;
            break;
        };
        let end = size.1.saturating_add(size.0);
        let mut fields = Fields { header, at: 0 };
        let (Some(kind), Some(flags)) = (fields.next(), fields.next()) else {
            facts.broken = true;
            break;
        };
        let extra = if flags & 1 != 0 { fields.next().unwrap_or_default() } else { 0 };
        let data = if flags & 2 != 0 { fields.next().unwrap_or_default() } else { 0 };
        let octets = at_most(content, end, data);
        match kind {
            2 => {
                facts.broken |= octets.len() < data;
                if let Some(member) = fields.file(extra, octets, flags) {
                    members.extend(member);
                } else {
                    facts.broken = true;
                }
            }
            // Everything that follows is encrypted, names and all.
            4 => {
                facts.encrypted = true;
                break;
            }
            5 => break,
            _ => {}
        }
        at = end.saturating_add(data).min(content.len());
    }
    Ok(members)
}

/// Numbers that stand behind each other in a header.
struct Fields<'h> {
    header: &'h [u8],
    at: usize,
}

impl Fields<'_> {
    fn next(&mut self) -> Option<usize> {
        let (value, next) = number(self.header, self.at)?;
        self.at = next;
        Some(value)
    }

    /// A file; `Some(None)` if it is a folder.
    fn file<'c>(
        &mut self,
        extra: usize,
        data: &'c [u8],
        block: usize,
    ) -> Option<Option<Member<'c>>> {
        let flags = self.next()?;
        let _size = self.next()?;
        let _attributes = self.next()?;
        self.at += if flags & 2 != 0 { 4 } else { 0 };
        self.at += if flags & 4 != 0 { 4 } else { 0 };
        let packing = self.next()?;
        let _system = self.next()?;
        let length = self.next()?;
        let name = narrow(piece(self.header, self.at, length)?);
        if flags & 1 != 0 {
            return Some(None);
        }
        let extra = from(self.header, self.header.len().saturating_sub(extra));
        Some(Some(Member {
            name,
            encrypted: is_encrypted(extra),
            stored: packing >> 7 & 7 == 0 && block & 0x18 == 0,
            data,
        }))
    }
}

/// Whether one of the records says how the file is encrypted.
fn is_encrypted(extra: &[u8]) -> bool {
    let mut at = 0;
    while let Some((length, kind_at)) = number(extra, at) {
        if number(extra, kind_at).is_some_and(|(kind, _)| kind == 1) {
            return true;
        }
        if length == 0 {
            break;
        }
        at = kind_at.saturating_add(length);
    }
    false
}

/// Seven bits an octet, the lowest first.
fn number(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let mut value = 0_u64;
    for (place, &octet) in at_most(bytes, at, 9).iter().enumerate() {
        value |= u64::from(octet & 0x7f) << (7 * place);
        if octet & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, at + place + 1));
        }
    }
    None
}
