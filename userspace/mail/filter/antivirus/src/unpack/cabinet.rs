//! Cabinets of Windows: stored, and packed as MSZIP. What is packed otherwise is known by name.

use crate::bytes::{at_most, from, le16, narrow, place32, until_zero};
use crate::name::FileName;
use crate::unpack::inflate::append;
use crate::unpack::{Entry, Facts, Stop, Walk};

/// Octets that come out of a block at most.
const BLOCK: usize = 32 << 10;

/// A run of blocks, with files one behind the other.
struct Folder {
    at: usize,
    blocks: u16,
    packing: u16,
    /// What came out of it, once somebody asked.
    content: Option<Vec<u8>>,
}

pub(crate) fn unpack(
    _: &FileName,
    content: &[u8],
    walk: &mut Walk<'_>,
    facts: &mut Facts,
) -> Result<(), Stop> {
    let Some((mut folders, reserved)) = folders(content) else {
        facts.broken = true;
        return Ok(());
    };
    let files = le16(content, 28).map_or(0, usize::from);
    let mut at = place32(content, 16).unwrap_or(usize::MAX);
    for _ in 0..files {
        walk.count()?;
        let (Some(size), Some(begin), Some(folder), Some((name, next))) = (
            place32(content, at),
            place32(content, at.saturating_add(4)),
            le16(content, at.saturating_add(8)),
            until_zero(content, at.saturating_add(16)),
        ) else {
            facts.broken = true;
            return Ok(());
        };
        at = next;
        let name = narrow(name);
        // Higher numbers are files that begin or end in another cabinet.
        let Some(folder) = folders.get_mut(usize::from(folder)) else {
            facts.unsupported = true;
            walk.entry(&Entry::sealed(name, false).among(files))?;
            continue;
        };
        match folder.read(content, reserved, walk, facts)? {
            Some(unpacked) => {
                let data = at_most(unpacked, begin, size);
                facts.broken |= data.len() < size;
                facts.unsupported |= data.is_empty() && size > 0;
                walk.borrow(data.len())?;
                walk.entry(&Entry::new(name, data).among(files))?;
            }
            None => {
                facts.unsupported = true;
                walk.entry(&Entry::sealed(name, false).among(files))?;
            }
        }
    }
    Ok(())
}

/// The folders, and the octets that each block has reserved for somebody.
fn folders(content: &[u8]) -> Option<(Vec<Folder>, usize)> {
    let count = le16(content, 26)?;
    let flags = le16(content, 30)?;
    let mut at = 36;
    let (mut by_folder, mut by_block) = (0, 0);
    if flags & 4 != 0 {
        by_folder = usize::from(*content.get(38)?);
        by_block = usize::from(*content.get(39)?);
        at = 40 + usize::from(le16(content, 36)?);
    }
    // The names of the cabinet before and of the one after, and of their disks.
    let names = 2 * ((flags & 1) + (flags >> 1 & 1));
    for _ in 0..names {
        (_, at) = until_zero(content, at)?;
    }
    let mut folders = Vec::new();
    for _ in 0..count {
        folders.push(Folder {
            at: place32(content, at)?,
            blocks: le16(content, at + 4)?,
            packing: le16(content, at + 6)?,
            content: None,
        });
        at += 8 + by_folder;
    }
    Some((folders, by_block))
}

impl Folder {
    fn read(
        &mut self,
        cabinet: &[u8],
        reserved: usize,
        walk: &mut Walk<'_>,
        facts: &mut Facts,
    ) -> Result<Option<&[u8]>, Stop> {
        if self.packing & 15 > 1 {
            return Ok(None);
        }
        if self.content.is_none() {
            let mut out = Vec::new();
            let mut at = self.at;
            for _ in 0..self.blocks {
                walk.time()?;
                let (Some(packed), Some(size)) =
                    (le16(cabinet, at.saturating_add(4)), le16(cabinet, at.saturating_add(6)))
                else {
                    facts.broken = true;
                    break;
                };
                let begin = at.saturating_add(8 + reserved);
                let packed = usize::from(packed);
                let size = usize::from(size).min(BLOCK);
                let data = at_most(cabinet, begin, packed);
                walk.borrow(size)?;
                let whole = if self.packing & 15 == 0 {
                    out.extend_from_slice(at_most(data, 0, size));
                    packed == size
                } else {
                    data.starts_with(b"CK") && append(from(data, 2), &mut out, size)
                };
                walk.measure(out.len(), cabinet.len())?;
                // A block of nothing goes on in another cabinet.
                if !whole || size == 0 || data.len() < packed {
                    facts.broken = true;
                    break;
                }
                at = begin.saturating_add(packed);
            }
            self.content = Some(out);
        }
        Ok(self.content.as_deref())
    }
}
