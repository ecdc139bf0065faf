//! PDF: streams that have objects or files in them. What is drawn is not unpacked.

use crate::bytes::{at_most, from};
use crate::name::FileName;
use crate::unpack::inflate::Inflate;
use crate::unpack::{Entry, Facts, Stop, Walk};

/// Octets before a stream that describe it.
const DESCRIPTION: usize = 1_024;
/// What makes a stream worth it; names may be written in numbers, which hardly anyone does for good.
const TELLING: [&[u8]; 5] = [b"/ObjStm", b"/EmbeddedFile", b"/JavaScript", b"/XFA", b"#"];

pub(crate) fn unpack(
    _: &FileName,
    content: &[u8],
    walk: &mut Walk<'_>,
    facts: &mut Facts,
) -> Result<(), Stop> {
    let mut at = 0;
    while let Some(found) = memchr::memmem::find(from(content, at), b"stream") {
        walk.time()?;
        let word = at + found;
        at = word + 6;
        let before = at_most(content, word.saturating_sub(DESCRIPTION), word.min(DESCRIPTION));
        if before.ends_with(b"end") {
            continue;
        }
        let begin = memchr::memmem::rfind(before, b" obj").unwrap_or_default();
        let description = from(before, begin);
        let has = |word: &[u8]| memchr::memmem::find(description, word).is_some();
        if !TELLING.iter().any(|word| has(word)) {
            continue;
        }
        walk.count()?;
        let data = from(content, at);
        let data = data.strip_prefix(b"\r\n").or_else(|| data.strip_prefix(b"\n")).unwrap_or(data);
        let length = memchr::memmem::find(data, b"endstream").unwrap_or(data.len());
        let data = at_most(data, 0, length);
        at += length;
        let deflated = has(b"/FlateDecode") || has(b"/Fl ") || has(b"/Fl/");
        if deflated || has(b"#") {
            let poured = walk.pour(&mut Inflate::zlib(data), data.len())?;
            if !poured.is_lost() {
                walk.entry(&Entry::new("", poured.content))?;
                continue;
            }
            facts.broken |= deflated;
            facts.encrypted |= memchr::memmem::find(content, b"/Encrypt").is_some();
        }
        walk.borrow(data.len())?;
        walk.entry(&Entry::new("", data))?;
    }
    Ok(())
}
