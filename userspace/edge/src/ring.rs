//! The ring of samples, read by one.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use aya::maps::{Map, MapData, RingBuf};
use muralla_abi::sample::{SNAPLEN, Sample};

use crate::wall::WallError;

/// Samples as they come. Its descriptor becomes readable when there are some.
pub struct Samples {
    ring: RingBuf<MapData>,
}

impl Samples {
    pub(crate) fn new(map: Map) -> Result<Self, WallError> {
        let ring = map.try_into().map_err(|_| WallError::Object("SAMPLES"))?;
        Ok(Self { ring })
    }

    /// The next sample that is there already.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator ends; this one is asked again later"
    )]
    pub fn next(&mut self) -> Option<Sample> {
        loop {
            // What is too short is not from a program of this version: it is passed over.
            if let Some(sample) = decode(&self.ring.next()?) {
                return Some(sample);
            }
        }
    }
}

impl AsFd for Samples {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

impl AsRawFd for Samples {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

fn decode(bytes: &[u8]) -> Option<Sample> {
    let (time_ns, rest) = bytes.split_first_chunk()?;
    let (ifindex, rest) = rest.split_first_chunk()?;
    let (len, rest) = rest.split_first_chunk()?;
    let (caplen, rest) = rest.split_first_chunk()?;
    let (&[service, reason, verdict, traffic], rest) = rest.split_first_chunk()?;
    let (_reserved, rest) = rest.split_first_chunk()?;
    let data = rest.first_chunk()?;
    Some(Sample {
        time_ns: u64::from_ne_bytes(*time_ns),
        ifindex: u32::from_ne_bytes(*ifindex),
        len: u32::from_ne_bytes(*len),
        caplen: u16::from_ne_bytes(*caplen).min(SNAPLEN as u16),
        service,
        reason,
        verdict,
        traffic,
        _reserved: *_reserved,
        data: *data,
    })
}
