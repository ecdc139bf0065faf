//! OneNote: the files that lie in a section, MS-ONESTORE section 2.6.13.

use crate::bytes::{at_most, from, place64};
use crate::name::FileName;
use crate::unpack::{Entry, Facts, Stop, Walk};

/// What stands before each of them.
const MARK: &[u8] = b"\xe7\x16\xe3\xbd\x65\x26\x11\x45\xa4\xc4\x8d\x4d\x0b\x7a\x9e\xac";

pub(crate) fn unpack(
    _: &FileName,
    content: &[u8],
    walk: &mut Walk<'_>,
    facts: &mut Facts,
) -> Result<(), Stop> {
    let mut at = 0;
    while let Some(found) = memchr::memmem::find(from(content, at), MARK) {
        walk.count()?;
        let begin = at + found + 36;
        let length = place64(content, at + found + 16).unwrap_or(usize::MAX);
        let data = at_most(content, begin, length);
        facts.broken |= data.len() < length;
        walk.borrow(data.len())?;
        walk.entry(&Entry::new("", data))?;
        at = begin.saturating_add(data.len());
    }
    Ok(())
}
