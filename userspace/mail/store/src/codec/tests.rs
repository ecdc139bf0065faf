use data_encoding::BASE64;
use proptest::prelude::*;

use super::*;

const KEY: [u8; 32] = [1; 32];

/// As a pack gives them back.
fn read(frame: &Frame) -> (Header, Bytes) {
    let bytes = Bytes::from(frame.pieces(9).concat());
    let header = Header::parse(&bytes, 9).unwrap();
    let payload = header.payload(&bytes).unwrap();
    (header, payload)
}

fn there_and_back(raw: &[u8], dictionaries: &Dictionaries) -> usize {
    let raw = Bytes::copy_from_slice(raw);
    let encoded = encode(5, &raw, &KEY, dictionaries).unwrap();
    let (header, payload) = read(&encoded.message);
    assert_eq!(header.original as usize, raw.len());
    let decoded = decode_message(&header, &payload, dictionaries).unwrap();
    let parts: Vec<Option<Bytes>> = decoded
        .recipe
        .parts()
        .iter()
        .map(|hash| {
            let (_, frame) = encoded.parts.iter().find(|(other, _)| other == hash)?;
            let (header, payload) = read(frame);
            Some(decode_part(&header, &payload, dictionaries).unwrap())
        })
        .collect();
    assert!(decoded.whole(&parts).unwrap() == raw);
    let parts = encoded.parts.iter().map(|(_, frame)| frame.length() as usize).sum::<usize>();
    encoded.message.length() as usize + parts
}

fn message(text: &str, attachment: &[u8]) -> Vec<u8> {
    let mut raw = format!(
        "Received: from mx.example.net (mx.example.net [192.0.2.1])\r\n\tby mx.example.org; Mon, 1 Jun 2026 12:00:00 +0000\r\nFrom: Ann <ann@example.net>\r\nTo: bob@example.org\r\nSubject: the plans\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    );
    for line in BASE64.encode(attachment).as_bytes().chunks(76) {
        raw.push_str(std::str::from_utf8(line).unwrap());
        raw.push_str("\r\n");
    }
    raw.push_str("--b--\r\n");
    raw.into_bytes()
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| byte()).collect()
}

#[test]
fn messages_come_back_as_they_were() {
    let dictionaries = Dictionaries::new(3);
    for raw in [
        Vec::new(),
        b"\r\n".to_vec(),
        message("hello", b"short"),
        message("hello", &noise(20_000)),
        message("hello", &noise(500_000)),
        message(&"the same again and again\r\n".repeat(60_000), &[0; 300_000]),
        noise(100_000),
    ] {
        there_and_back(&raw, &dictionaries);
    }
}

#[test]
fn they_take_less_room() {
    let dictionaries = Dictionaries::new(3);
    let short = message("hello", b"short");
    let stored = there_and_back(&short, &dictionaries);
    assert!(stored * 100 < short.len() * 60, "{stored} of {}", short.len());
    let long = message("hello", &noise(300_000));
    let stored = there_and_back(&long, &dictionaries);
    assert!(stored * 100 < long.len() * 74, "{stored} of {}", long.len());
}

#[test]
fn what_can_not_be_compressed_is_stored_as_it_is() {
    let dictionaries = Dictionaries::new(3);
    let raw = Bytes::from(noise(100_000));
    let encoded = encode(5, &raw, &KEY, &dictionaries).unwrap();
    assert_eq!(encoded.message.header().coding, Coding::Stored);
    assert_eq!(encoded.message.header().dictionary, 0);
    // And was not copied for it.
    let [_, _, content] = encoded.message.pieces(9);
    assert_eq!(content.as_ptr(), raw.as_ptr());
}

#[test]
fn a_part_that_is_there_twice_is_stored_once() {
    let raw = [message("one", &noise(70_000)), message("two", &noise(70_000))].concat();
    let encoded = encode(5, &Bytes::from(raw.clone()), &KEY, &Dictionaries::new(3)).unwrap();
    assert_eq!(encoded.parts.len(), 1);
    there_and_back(&raw, &Dictionaries::new(3));
}

#[test]
fn what_is_wrong_is_told() {
    let dictionaries = Dictionaries::new(3);
    let raw = Bytes::from(message("hello", &noise(70_000)));
    let encoded = encode(5, &raw, &KEY, &dictionaries).unwrap();
    let (header, payload) = read(&encoded.message);
    let decoded = decode_message(&header, &payload, &dictionaries).unwrap();
    assert_eq!(decoded.whole(&[None]), Err(DecodeError::Part));
    assert_eq!(decoded.whole(&[Some(Bytes::from(noise(69_999)))]), Err(DecodeError::Part));
    assert_eq!(decoded.whole(&[Some(Bytes::from(vec![0; 70_000]))]), Err(DecodeError::Digest));
    let (part, part_payload) = read(&encoded.parts[0].1);
    let other = decode_message(&part, &part_payload, &dictionaries);
    assert_eq!(other.unwrap_err(), DecodeError::Other);
    assert_eq!(decode_part(&header, &payload, &dictionaries), Err(DecodeError::Other));
    let unknown = Header { dictionary: 0x8000_0001, ..header };
    let missing = decode_message(&unknown, &payload, &dictionaries).unwrap_err();
    assert_eq!(missing, DecodeError::Dictionary(0x8000_0001));
    let cut = decode_message(&header, &payload.slice(..payload.len() - 1), &dictionaries);
    assert_eq!(cut.unwrap_err(), DecodeError::Content);
}

proptest! {
    #[test]
    fn any_bytes_come_back(raw in prop::collection::vec(any::<u8>(), 0..3000)) {
        there_and_back(&raw, &Dictionaries::new(3));
    }

    /// A payload that was damaged and whose checksum was forged fits.
    #[test]
    fn any_payload_is_survived(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        original in prop_oneof![Just(None), (0..5000u32).prop_map(Some)],
    ) {
        let dictionaries = Dictionaries::new(3);
        let raw = Bytes::from(message("hello", &noise(900)));
        let encoded = encode(5, &raw, &KEY, &dictionaries).unwrap();
        let (mut header, payload) = read(&encoded.message);
        let mut payload = payload.to_vec();
        for (at, byte) in damage {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        header.original = original.unwrap_or(header.original);
        if let Ok(decoded) = decode_message(&header, &Bytes::from(payload), &dictionaries)
            && let Ok(whole) = decoded.whole(&[])
        {
            prop_assert!(whole == raw, "the digest lets nothing else through");
        }
    }
}
