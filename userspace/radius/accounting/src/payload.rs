//! A record as it lies in the journal.
//!
//! Three bytes head it: a mark, the version that wrote it, and the least version that can read it.
//! Fields follow, see below; a reader passes over those that it does not know, so a later version
//! may add some, and an earlier one goes on reading. The attributes are kept as they came, and read
//! again when the payload is decoded: what this version does not use, a later one may.

use std::net::{IpAddr, SocketAddr};

use crate::fields::{self, Fields};
use crate::record::{Record, Unusable, Uptime};

/// The version that this code writes.
pub const VERSION: u8 = 1;

/// The least version that can read what this code writes.
const READABLE_BY: u8 = 1;

const MARK: u8 = b'A';

/// Bytes of a payload at most. What this version writes takes less than 5 KiB; there is room for
/// later ones.
pub const LONGEST: usize = 16 * 1024;

/// Bytes of a subscriber's or telco's name at most.
pub const LONGEST_NAME: usize = 253;

// Fields. A number is never given a new meaning.
const NAS: u8 = 1;
const SOURCE: u8 = 2;
const RECEIVED: u8 = 3;
const ATTRIBUTES: u8 = 4;
const SUBSCRIBER: u8 = 5;
const TELCO: u8 = 6;
const BOOT: u8 = 7;
const NANOS: u8 = 8;

/// Why a payload can't be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Damaged {
    /// It is no record.
    #[error("no accounting record: another kind of entry lies in this journal")]
    Kind,
    /// It is of a version that this one can't read.
    #[error("written by version {wrote}, for version {needs} or later: upgrade before reading it")]
    Version {
        /// Who wrote it.
        wrote: u8,
        /// Who can read it.
        needs: u8,
    },
    /// It ends within a field, or is too long.
    #[error("its fields don't add up: set it aside as a dead letter")]
    Cut,
    /// A field that it must have is missing, or can't be.
    #[error("its field {0} is missing or can't be: set it aside as a dead letter")]
    Field(u8),
    /// The attributes make no record.
    #[error("its attributes make no record ({0}): set it aside as a dead letter")]
    Record(Unusable),
}

/// Appends a record to `out`. Names longer than [`LONGEST_NAME`] bytes are left out: none that the
/// product makes are.
pub fn encode(record: &Record<'_>, out: &mut Vec<u8>) {
    out.reserve(record.attributes.len() + 2 * LONGEST_NAME);
    out.extend([MARK, VERSION, READABLE_BY]);
    fields::push(out, NAS, record.nas.as_bytes());
    push_source(out, record.source);
    fields::push_number(out, RECEIVED, record.received);
    if let Some(uptime) = record.uptime {
        fields::push_number(out, BOOT, uptime.boot.into());
        fields::push_number(out, NANOS, uptime.nanos);
    }
    for (tag, name) in [(SUBSCRIBER, record.subscriber), (TELCO, record.telco)] {
        if let Some(name) = name.filter(|name| name.len() <= LONGEST_NAME) {
            fields::push(out, tag, name.as_bytes());
        }
    }
    fields::push(out, ATTRIBUTES, record.attributes);
}

/// Reads what [`encode`] wrote, or a later version's as far as this one knows it.
pub fn decode(payload: &[u8]) -> Result<Record<'_>, Damaged> {
    let Some((&[MARK, wrote, needs], rest)) = payload.split_first_chunk() else {
        return Err(Damaged::Kind);
    };
    if needs > VERSION {
        return Err(Damaged::Version { wrote, needs });
    }
    if payload.len() > LONGEST {
        return Err(Damaged::Cut);
    }
    let (mut nas, mut source, mut received, mut attributes) = (None, None, None, None);
    let (mut subscriber, mut telco, mut boot, mut nanos) = (None, None, None, None);
    for field in Fields(rest) {
        let (tag, value) = field.map_err(|_| Damaged::Cut)?;
        let wrong = Damaged::Field(tag);
        match tag {
            NAS => nas = Some(text(value).ok_or(wrong)?),
            SOURCE => source = Some(decode_source(value).ok_or(wrong)?),
            RECEIVED => received = Some(fields::number(value).ok_or(wrong)?),
            ATTRIBUTES => attributes = Some(value),
            SUBSCRIBER => subscriber = Some(text(value).ok_or(wrong)?),
            TELCO => telco = Some(text(value).ok_or(wrong)?),
            BOOT => boot = Some(fields::number(value).ok_or(wrong)?),
            NANOS => nanos = Some(fields::number(value).ok_or(wrong)?),
            _ => {}
        }
    }
    let boot = boot.and_then(|boot| u32::try_from(boot).ok());
    let uptime = boot.zip(nanos).map(|(boot, nanos)| Uptime { boot, nanos });
    let record = Record::of_attributes(
        attributes.ok_or(Damaged::Field(ATTRIBUTES))?,
        nas.ok_or(Damaged::Field(NAS))?,
        source.ok_or(Damaged::Field(SOURCE))?,
        received.ok_or(Damaged::Field(RECEIVED))?,
    );
    let record = record.map_err(Damaged::Record)?;
    Ok(record.with_subscriber(subscriber).with_telco(telco).with_uptime(uptime))
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok().filter(|text| text.len() <= LONGEST_NAME)
}

/// Address, then port.
fn push_source(out: &mut Vec<u8>, source: SocketAddr) {
    let [high, low] = source.port().to_be_bytes();
    match source.ip() {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            fields::push(out, SOURCE, &[a, b, c, d, high, low]);
        }
        IpAddr::V6(address) => {
            let mut bytes = [0; 18];
            let (front, back) = bytes.split_at_mut(16);
            front.copy_from_slice(&address.octets());
            back.copy_from_slice(&[high, low]);
            fields::push(out, SOURCE, &bytes);
        }
    }
}

fn decode_source(value: &[u8]) -> Option<SocketAddr> {
    let (address, port) = value.split_last_chunk::<2>()?;
    let address = match address.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(address).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(address).ok()?),
    };
    Some(SocketAddr::new(address, u16::from_be_bytes(*port)))
}

#[cfg(test)]
mod tests;
