//! What the fuzz targets call: arbitrary bytes for what reads packs and takes messages apart.

use std::sync::OnceLock;

use bytes::Bytes;

use crate::codec::{decode_message, decode_part, encode};
use crate::dictionaries::Dictionaries;
use crate::frame::{Coding, Frame, Header, PackHead, PartHash, Subject, next_magic};
use crate::transfer::mbox::line::{FromLine, sender};
use crate::transfer::{lines, names};

fn dictionaries() -> &'static Dictionaries {
    static DICTIONARIES: OnceLock<Dictionaries> = OnceLock::new();
    DICTIONARIES.get_or_init(|| Dictionaries::new(1))
}

/// Bytes as a pack: every frame that is found in it is decoded.
pub fn pack(data: &[u8]) {
    let _ = PackHead::parse(data);
    let data = Bytes::copy_from_slice(data);
    let mut at = 0;
    while let Some(found) = next_magic(&data, at) {
        let bytes = data.slice(found..);
        if let Ok(header) = Header::parse(&bytes, 0)
            && let Ok(payload) = header.payload(&bytes)
        {
            decode(&header, &payload);
        }
        at = found + 1;
    }
}

/// Bytes as the payload of a frame whose checksums are right.
pub fn payload(data: &[u8]) {
    let Some((head, payload)) = data.split_first_chunk::<6>() else { return };
    let [kind, coding, high, low, dictionary, _] = *head;
    let header = Header {
        subject: if kind & 1 == 0 {
            Subject::Message { id: 1, digest: [0; 16] }
        } else {
            Subject::Part { hash: PartHash([0; 32]) }
        },
        coding: if coding & 1 == 0 { Coding::Stored } else { Coding::Zstd },
        dictionary: u32::from(dictionary & 3),
        original: u32::from(u16::from_be_bytes([high, low])),
        stored: u32::try_from(payload.len()).unwrap_or(u32::MAX),
        checksum: crc32c::crc32c(payload),
    };
    decode(&header, &Bytes::copy_from_slice(payload));
}

fn decode(header: &Header, payload: &Bytes) {
    if let Ok(decoded) = decode_message(header, payload, dictionaries()) {
        let parts = vec![Some(Bytes::from_static(b"abc")); decoded.recipe.parts().len()];
        let _ = decoded.whole(&parts);
        let middle = u64::from(header.original / 2);
        let _ = decoded.range(&(middle..middle + 100), &parts);
    }
    let _ = decode_part(header, payload, dictionaries());
}

/// Bytes as a message: it must come back as it was.
pub fn message(data: &[u8]) {
    let raw = Bytes::copy_from_slice(data);
    let Some(encoded) = encode(1, &raw, &[7; 32], dictionaries()) else { return };
    let read = |frame: &Frame| {
        let bytes = Bytes::from(frame.pieces(3).concat());
        let header = Header::parse(&bytes, 3).ok()?;
        let payload = header.payload(&bytes).ok()?;
        Some((header, payload))
    };
    let again = read(&encoded.message).and_then(|(header, payload)| {
        let decoded = decode_message(&header, &payload, dictionaries()).ok()?;
        let parts: Vec<Option<Bytes>> = decoded
            .recipe
            .parts()
            .iter()
            .map(|hash| {
                let (_, frame) = encoded.parts.iter().find(|(other, _)| other == hash)?;
                let (header, payload) = read(frame)?;
                decode_part(&header, &payload, dictionaries()).ok()
            })
            .collect();
        decoded.whole(&parts).ok()
    });
    assert!(again == Some(raw), "the message came back as another");
}

/// Bytes as a file of a Maildir, as a line and a message of an mbox, and as the name of a folder.
pub fn transfer(data: &[u8]) {
    let message = lines::to_crlf(data);
    assert_eq!(lines::to_crlf(&message), message, "it is one already");
    let (rest, _) = lines::take_state(&message);
    assert_eq!(lines::take_state(&rest).0, rest, "something is left");
    let quoted = lines::quote(&message);
    let mut starts = quoted.split(|byte| *byte == b'\n');
    assert!(!starts.any(|line| line.starts_with(b"From ")), "it begins another message");
    // A CR of the message itself is taken for that of an end of a line.
    if memchr::memmem::find(&quoted, b"\r\n").is_none() {
        assert_eq!(lines::quote(&lines::unquote(&quoted)), quoted);
    }
    let _ = sender(data);
    if let Some(line) = FromLine::parse(data) {
        assert!(FromLine::parse(line.to_string().as_bytes()).is_some());
    }
    let name = String::from_utf8_lossy(data);
    let file = names::to_file(&name);
    assert!(file.is_ascii() && !file.contains(['/', '.']) && file.len() <= 255);
    let _ = names::from_file(&name);
    let _ = names::folder(name.split('.'));
}
