//! PDF: streams that have objects or files in them. What is drawn is not unpacked.

use std::io::Read;

use crate::bytes::{at_most, from};
use crate::name::FileName;
use crate::unpack::inflate::Inflate;
use crate::unpack::{Entry, Facts, Stop, Walk};

/// Octets before a stream that describe it.
const DESCRIPTION: usize = 1_024;
/// Streams that are looked for.
const MOST: usize = 20_000;
/// What makes a stream worth it.
const TELLING: [&[u8]; 4] = [b"/ObjStm", b"/EmbeddedFile", b"/JavaScript", b"/XFA"];

pub(crate) fn unpack(
    _: &FileName,
    content: &[u8],
    walk: &mut Walk<'_>,
    facts: &mut Facts,
) -> Result<(), Stop> {
    let mut at = 0;
    for _ in 0..MOST {
        let Some(found) = memchr::memmem::find(from(content, at), b"stream") else { break };
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
        if has(b"/FlateDecode") || has(b"/Fl ") || has(b"/Fl/") {
            let mut reader: Box<dyn Read + '_> = Box::new(Inflate::zlib(data));
            let poured = walk.pour(&mut reader, data.len())?;
            facts.broken |= poured.broken && poured.content.is_empty();
            walk.entry(&Entry::new("", poured.content))?;
        } else {
            walk.borrow(data.len())?;
            walk.entry(&Entry::new("", data))?;
        }
    }
    Ok(())
}
