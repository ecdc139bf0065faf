//! The wire checks of RADIUS.

use crate::frame::{Frame, Window};
use crate::policy::Kind;
use crate::verdict::Reason;
use crate::verifier::hide;

/// Bytes before the attributes (RFC 2865 section 3).
const HEADER: u32 = 20;

/// Longest packet (RFC 2865 section 3).
const MAX_LENGTH: u32 = 4_096;

/// Most attributes of a packet. A packet of 4,096 bytes could hold eight times as many, but none does;
/// FreeRADIUS draws the line at 200 (`max_attributes`).
pub const MAX_ATTRIBUTES: u32 = 255;

/// Checks that the datagram's payload from `at` to `end` is a request for a service of that kind: a code
/// that has business there, a length within the datagram (what follows is padding), attributes that add up, as far as the frame reaches: to `reach`.
#[inline(always)]
pub fn check<F: Frame + ?Sized>(
    frame: &F,
    at: u32,
    end: u32,
    reach: u32,
    kind: u8,
) -> Result<(), Reason> {
    if at + HEADER > end {
        return Err(Reason::RadiusLength);
    }
    let header = frame.window(at, 4).ok_or(Reason::Truncated)?;
    if !serves(kind, header.u8(0)) {
        return Err(Reason::RadiusCode);
    }
    let length = u32::from(header.u16(2));
    if !(HEADER..=MAX_LENGTH).contains(&length) || at + length > end {
        return Err(Reason::RadiusLength);
    }
    let end = at + length;
    let mut here = at + HEADER;
    for _ in 0..MAX_ATTRIBUTES {
        if here >= end {
            break;
        }
        let Some(attribute) = frame.window(here, 2) else {
            break;
        };
        let length = u32::from(attribute.u8(1));
        if length < 2 {
            break;
        }
        here += length;
    }
    // Where the attributes ended is one of hundreds of states to the verifier, of which none matters.
    let here = hide(here, u64::from(header.u32(0)));
    if here == end || here + 2 > reach { Ok(()) } else { Err(Reason::RadiusAttributes) }
}

/// Codes of requests (RFC 2865, 2866, 5176, 5997).
#[inline(always)]
fn serves(kind: u8, code: u8) -> bool {
    const ACCESS_REQUEST: u8 = 1;
    const ACCOUNTING_REQUEST: u8 = 4;
    const STATUS_SERVER: u8 = 12;
    const DISCONNECT_REQUEST: u8 = 40;
    const COA_REQUEST: u8 = 43;
    if kind == Kind::RadiusAuth as u8 {
        matches!(code, ACCESS_REQUEST | STATUS_SERVER)
    } else if kind == Kind::RadiusAcct as u8 {
        matches!(code, ACCOUNTING_REQUEST | STATUS_SERVER)
    } else {
        matches!(code, DISCONNECT_REQUEST | COA_REQUEST)
    }
}

#[cfg(test)]
mod tests;
