//! The relaxed forms in which header and body are signed: RFC 6376 section 3.4.

use muralla_mail_envelope::headers::LINE;
use muralla_mail_envelope::scan::Field;
use ring::digest::{Context, SHA256};

/// A header field as it is signed, without the end of its line: section 3.4.2.
pub(super) fn field(field: &Field<'_>, out: &mut Vec<u8>) {
    out.extend(field.name.to_ascii_lowercase());
    out.push(b':');
    let value = field.unfolded();
    words(value.trim_ascii(), |piece| out.extend_from_slice(piece));
}

/// The SHA-256 of a body: section 3.4.4.
pub(super) fn body_hash(body: &[u8]) -> Vec<u8> {
    let mut hash = Context::new(&SHA256);
    let mut empty = 0usize;
    for line in body.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let end = line.iter().rposition(|byte| !is_space(*byte)).map_or(0, |last| last + 1);
        let line = line.get(..end).unwrap_or_default();
        // Those at the end don't count.
        if line.is_empty() {
            empty += 1;
            continue;
        }
        for _ in 0..std::mem::take(&mut empty) {
            hash.update(b"\r\n");
        }
        words(line, |piece| hash.update(piece));
        hash.update(b"\r\n");
    }
    hash.finish().as_ref().to_vec()
}

/// A line in which any number of spaces is one.
fn words(line: &[u8], mut take: impl FnMut(&[u8])) {
    let mut rest = line;
    while !rest.is_empty() {
        let word = rest.iter().position(|byte| is_space(*byte)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at_checked(word).unwrap_or((rest, b""));
        take(word);
        let gap = behind.iter().position(|byte| !is_space(*byte)).unwrap_or(behind.len());
        if gap > 0 {
            take(b" ");
        }
        rest = behind.get(gap..).unwrap_or_default();
    }
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Adds a piece of a field, on the next line if there is no room for it. `apart` is whether a space belongs before it.
pub(super) fn push(out: &mut String, column: &mut usize, apart: bool, piece: &str) {
    if *column + usize::from(apart) + piece.len() > LINE {
        out.push_str("\r\n\t");
        *column = 1;
    } else if apart {
        out.push(' ');
        *column += 1;
    }
    out.push_str(piece);
    *column += piece.len();
}
