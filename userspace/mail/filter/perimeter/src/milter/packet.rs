//! Packets: four octets with a length, an octet with a command, data.

use bytes::{Buf, Bytes, BytesMut};

use super::MilterError;

/// Longest packet that is taken, in octets: a chunk of a body where a mail system sends the largest, and some room. Header
/// fields come in one piece, and may be long, too.
pub const LONGEST: usize = (1 << 20) + 1024;

/// Takes a packet from the beginning of what came: its command and its data. Nothing, if more has to come.
///
/// # Errors
///
/// If it can't become one, whatever comes.
pub fn take(input: &mut BytesMut) -> Result<Option<(u8, Bytes)>, MilterError> {
    let Some(length) = input.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length);
    let octets = usize::try_from(length).unwrap_or(usize::MAX);
    if octets == 0 {
        return Err(MilterError::Empty);
    }
    if octets > LONGEST {
        return Err(MilterError::TooLong(length));
    }
    if input.len() < 4 + octets {
        return Ok(None);
    }
    input.advance(4);
    let mut packet = input.split_to(octets).freeze();
    let command = packet.get_u8();
    Ok(Some((command, packet)))
}

/// Writes a packet of pieces.
pub(crate) fn write(out: &mut Vec<u8>, code: u8, pieces: &[&[u8]]) {
    let octets: usize = 1 + pieces.iter().map(|piece| piece.len()).sum::<usize>();
    // What we say is never that long; a length that lies would be worse than one that is cut.
    let length = u32::try_from(octets).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.push(code);
    pieces.iter().for_each(|piece| out.extend_from_slice(piece));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_pieces() {
        let mut wire = Vec::new();
        write(&mut wire, b'H', &[b"mail.example.org", b"\0"]);
        write(&mut wire, b'N', &[]);
        let (first, second) = wire.split_at(22);
        for end in 0..wire.len() {
            let mut input = BytesMut::from(&wire[..end]);
            let expected = (end >= 22).then(|| (b'H', Bytes::from_static(b"mail.example.org\0")));
            assert_eq!(take(&mut input), Ok(expected), "{end}");
        }
        assert_eq!(first, b"\0\0\0\x12Hmail.example.org\0");
        let mut input = BytesMut::from(second);
        assert_eq!(take(&mut input), Ok(Some((b'N', Bytes::new()))));
        assert_eq!((take(&mut input), input.len()), (Ok(None), 0));
    }

    #[test]
    fn no_packets() {
        for (wire, error) in [
            (&b"\0\0\0\0"[..], MilterError::Empty),
            (b"\x7f\xff\xff\xffO", MilterError::TooLong(0x7fff_ffff)),
            (b"GET / HTTP/1.1\r\n", MilterError::TooLong(0x4745_5420)),
            (b"EHLO a\r\n", MilterError::TooLong(0x4548_4c4f)),
        ] {
            assert_eq!(take(&mut BytesMut::from(wire)), Err(error), "{wire:?}");
        }
    }
}
