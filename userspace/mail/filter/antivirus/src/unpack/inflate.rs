//! Deflate, RFC 1951, as a stream of octets.

use std::io::{self, BufRead, Read};

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};

/// Reads what was deflated.
pub(crate) struct Inflate<R> {
    state: Box<InflateState>,
    packed: R,
    done: bool,
}

impl<R: BufRead> Inflate<R> {
    /// As ZIP, gzip and 7-Zip have it.
    pub(crate) fn raw(packed: R) -> Self {
        Self::new(packed, DataFormat::Raw)
    }

    /// With a header, as PDF has it: RFC 1950.
    pub(crate) fn zlib(packed: R) -> Self {
        // What comes out is looked at whether the sum behind it is right or not.
        Self::new(packed, DataFormat::ZLibIgnoreChecksum)
    }

    fn new(packed: R, format: DataFormat) -> Self {
        Self { state: InflateState::new_boxed(format), packed, done: false }
    }

    /// What follows, once everything was read.
    pub(crate) fn rest(self) -> R {
        self.packed
    }
}

impl<R: BufRead> Read for Inflate<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.done || out.is_empty() {
            return Ok(0);
        }
        loop {
            let packed = self.packed.fill_buf()?;
            let result = inflate(&mut self.state, packed, out, MZFlush::None);
            self.packed.consume(result.bytes_consumed);
            match result.status {
                Ok(MZStatus::StreamEnd) => {
                    self.done = true;
                    return Ok(result.bytes_written);
                }
                // After an error, the next call fails, and what came out before is kept.
                _ if result.bytes_written > 0 => return Ok(result.bytes_written),
                Ok(_) | Err(MZError::Buf) if result.bytes_consumed > 0 => {}
                Ok(_) | Err(MZError::Buf) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(_) => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }
}

/// Inflates a block behind what `out` has, which it may refer to, up to `length` octets. Says whether it was whole.
pub(crate) fn append(packed: &[u8], out: &mut Vec<u8>, length: usize) -> bool {
    let begin = out.len();
    out.resize(begin.saturating_add(length), 0);
    let mut state = Box::<DecompressorOxide>::default();
    let (status, _, written) =
        decompress(&mut state, packed, out, begin, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF);
    out.truncate(begin.saturating_add(written));
    status == TINFLStatus::Done && written == length
}

#[cfg(test)]
mod tests {
    use miniz_oxide::deflate::{compress_to_vec, compress_to_vec_zlib};

    use super::*;

    #[test]
    fn both_forms() {
        let text = b"wall ".repeat(50_000);
        let packed = [&compress_to_vec(&text, 6)[..], b"behind"].concat();
        let mut reader = Inflate::raw(&packed[..]);
        let mut out = Vec::new();
        reader.read_to_end(&mut out).unwrap();
        assert_eq!(out, text);
        assert_eq!(reader.rest(), b"behind");

        // Out of what comes in pieces.
        let pieces = io::BufReader::with_capacity(7, &packed[..]);
        let mut out = Vec::new();
        Inflate::raw(pieces).read_to_end(&mut out).unwrap();
        assert_eq!(out, text);

        let packed = compress_to_vec_zlib(&text, 6);
        let mut out = Vec::new();
        Inflate::zlib(&packed[..]).read_to_end(&mut out).unwrap();
        assert_eq!(out, text);
    }

    #[test]
    fn what_ends_too_early_is_read_so_far() {
        let text: Vec<u8> = (0_u32..50_000)
            .flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes())
            .collect();
        let packed = compress_to_vec(&text, 6);
        let mut out = Vec::new();
        let error = Inflate::raw(&packed[..packed.len() / 2]).read_to_end(&mut out).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(out.len() > 10_000 && text.starts_with(&out));
        let mut out = Vec::new();
        assert!(Inflate::raw(&b"\xff\xff\xff"[..]).read_to_end(&mut out).is_err());
        assert!(Inflate::raw(&b""[..]).read_to_end(&mut out).is_err());
    }

    #[test]
    fn a_block_refers_to_the_one_before() {
        let mut out = b"the wall of a city".to_vec();
        assert!(append(&compress_to_vec(b" and its gates", 6), &mut out, 14));
        assert_eq!(out, b"the wall of a city and its gates");
        assert!(!append(b"\xff", &mut out, 10));
    }
}
