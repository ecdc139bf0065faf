//! The wire checks of DNS over UDP, and the truncated answer.

use crate::frame::{Frame, FrameMut, Patch, Window};
use crate::headers::Headers;
use crate::verdict::Reason;
use crate::verifier::hide;

/// What the wall needs to know of a query.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Question {
    /// The query's id.
    pub id: u16,
    /// The type asked for.
    pub qtype: u16,
    /// The class asked for.
    pub class: u16,
    /// The header's flags, opcode and response code.
    pub flags: u16,
    /// Additional records that the header counts.
    pub additional: u16,
    /// Unused, zero.
    _reserved: u16,
    /// Offset of the first byte after the question from the frame's start.
    pub end: u32,
    /// Bytes of the OPT record (RFC 6891) of the answer: 11 if one follows the question at once, else 0.
    pub opt_len: u32,
}

/// Type ANY (RFC 8482).
pub const ANY: u16 = 255;

/// Bytes of a message's header.
pub(crate) const HEADER: u32 = 12;
/// Labels of the longest name, the root's among them.
const MAX_LABELS: u32 = 128;
const MAX_NAME: u32 = 255;
pub(crate) const QR: u16 = 0x8000;
/// Type OPT (RFC 6891).
pub(crate) const OPT: u16 = 41;

/// Checks that the bytes from `at` to `end` begin with a query as resolvers and stubs send them (RFC 1035
/// section 4.1): one question, no answer, an uncompressed name. What follows the question is the server's
/// business.
#[inline(always)]
pub fn check<F: Frame + ?Sized>(frame: &F, at: u32, end: u32) -> Result<Question, Reason> {
    if at + HEADER > end {
        return Err(Reason::DnsCounts);
    }
    let header = frame.window(at, HEADER).ok_or(Reason::Truncated)?;
    let flags = header.u16(2);
    if flags & QR != 0 {
        return Err(Reason::DnsResponse);
    }
    if flags >> 11 & 15 != 0 {
        return Err(Reason::DnsOpcode);
    }
    // One question, no answers, no authority; OPT and TSIG or SIG(0) at most.
    if header.u32(4) != 1 << 16 || header.u16(8) != 0 || header.u16(10) > 2 {
        return Err(Reason::DnsCounts);
    }
    let name = at + HEADER;
    let mut here = name;
    for _ in 0..MAX_LABELS {
        let Some(label) = frame.window(here, 1) else {
            here = u32::MAX;
            break;
        };
        let length = u32::from(label.u8(0));
        here += 1 + length;
        if length == 0 {
            break;
        }
        // A pointer, and there is nothing yet to point to.
        if length > 63 {
            here = u32::MAX;
            break;
        }
    }
    // Where the name ended is one of a hundred states to the verifier, of which none matters. One that didn't end
    // within so many labels is too long as well.
    let here = hide(here, u64::from(header.u32(0)));
    if here.wrapping_sub(name) > MAX_NAME {
        return Err(Reason::DnsQuestion);
    }
    let question_end = here + 4;
    if question_end > end {
        return Err(Reason::DnsQuestion);
    }
    let fixed = frame.window(here, 4).ok_or(Reason::DnsQuestion)?;
    if !matches!(fixed.u16(2), 1 | 3) {
        return Err(Reason::DnsClass);
    }
    let edns = header.u16(10) > 0
        && question_end + OPT_LEN <= end
        && frame
            .window(question_end, OPT_LEN)
            .is_some_and(|opt| opt.u8(0) == 0 && opt.u16(1) == OPT);
    let opt_len = hide(if edns { OPT_LEN } else { 0 }, u64::from(fixed.u32(0))) & 15;
    Ok(Question {
        id: header.u16(0),
        qtype: fixed.u16(0),
        class: fixed.u16(2),
        flags,
        additional: header.u16(10),
        _reserved: 0,
        end: question_end,
        opt_len,
    })
}

/// Bytes of an OPT record without options.
pub(crate) const OPT_LEN: u32 = 11;

/// UDP payload size that the OPT record of an answer offers (DNS flag day 2020).
pub(crate) const PAYLOAD: u16 = 1232;

/// Length in bytes of the frame that holds the truncated answer to a query: never longer than the query.
#[inline(always)]
pub fn slip_len(question: &Question) -> u32 {
    question.end + question.opt_len
}

/// Turns a query, cut to [`slip_len`] before, into its truncated answer: TC=1 and no records, so that a real
/// client asks again over TCP and a forged source gets no more than was sent in its name. None if the frame
/// is shorter than that; it may then be half changed and must not leave.
#[inline(always)]
pub fn slip<F: FrameMut + ?Sized>(
    frame: &mut F,
    headers: &Headers,
    question: &Question,
) -> Option<()> {
    let (l3, l4) = (u32::from(headers.l3), u32::from(headers.l4));
    let end = slip_len(question);
    let udp_len = end - l4;

    swap_ethernet(frame)?;
    let mut sum = if headers.v6 == 0 {
        answer_v4(frame, l3, (end - l3) as u16)?
    } else {
        answer_v6(frame, l3, (end - l3 - 40) as u16)?
    };

    let ports = frame.window(l4, 4)?;
    let (sport, dport) = (ports.u16(0), ports.u16(2));
    frame
        .patch(l4, 8)?
        .put_u16(0, dport)
        .put_u16(2, sport)
        .put_u16(4, udp_len as u16)
        .put_u16(6, 0);

    let dns = l4 + 8;
    // QR and TC set; opcode, RD and CD as asked; AA, RA, AD and the response code cleared.
    let flags = frame.window(dns + 2, 2)?.u16(0) & 0x7910 | QR | 0x0200;
    frame.put_u16(dns + 2, flags)?;
    let edns = question.opt_len != 0;
    frame.put_u32(dns + 8, u32::from(edns))?;
    if edns {
        // Name and type are there already. No options are repeated: a cookie would need the server's half.
        let opt = frame.patch(question.end + 3, OPT_LEN - 3)?;
        opt.put_u16(0, PAYLOAD).put_u32(2, 0).put_u16(6, 0);
    }

    sum += 17 + u64::from(udp_len);
    frame.put_u16(l4 + 6, udp_checksum(frame, l4, end, sum)?)
}

#[inline(always)]
pub(crate) fn swap_ethernet<F: FrameMut + ?Sized>(frame: &mut F) -> Option<()> {
    let addresses = frame.window(0, 12)?;
    let (to_hi, to_lo) = (addresses.u32(0), addresses.u16(4));
    let (from_hi, from_lo) = (addresses.u32(6), addresses.u16(10));
    let addresses = frame.patch(0, 12)?;
    addresses.put_u32(0, from_hi).put_u16(4, from_lo).put_u32(6, to_hi).put_u16(10, to_lo);
    Some(())
}

/// Turns the IPv4 header round, and gives the sum of the addresses. Options stay; the header's checksum is
/// changed by what changes in it (RFC 1624), so that their number doesn't matter.
#[inline(always)]
pub(crate) fn answer_v4<F: FrameMut + ?Sized>(frame: &mut F, l3: u32, total: u16) -> Option<u64> {
    const TTL: u16 = 64;
    let ip = frame.window(l3, 20)?;
    let (src, dst) = (ip.u32(12), ip.u32(16));
    let (old_total, old_ttl) = (ip.u16(2), ip.u16(8));
    let new_ttl = TTL << 8 | old_ttl & 0xff;
    let sum = u64::from(!ip.u16(10))
        + u64::from(!old_total)
        + u64::from(total)
        + u64::from(!old_ttl)
        + u64::from(new_ttl);
    frame
        .patch(l3, 20)?
        .put_u16(2, total)
        .put_u16(8, new_ttl)
        .put_u16(10, !fold(sum))
        .put_u32(12, dst)
        .put_u32(16, src);
    Some(sum32(src) + sum32(dst))
}

#[inline(always)]
pub(crate) fn answer_v6<F: FrameMut + ?Sized>(frame: &mut F, l3: u32, payload: u16) -> Option<u64> {
    const HOP_LIMIT: u8 = 64;
    let asked = frame.window(l3, 40)?;
    let mut ip = frame.patch(l3, 40)?.put_u16(4, payload).put_u8(7, HOP_LIMIT);
    let mut sum = 0;
    for word in 0..4 {
        let at = 8 + word * 4;
        let (src, dst) = (asked.u32(at), asked.u32(at + 16));
        ip = ip.put_u32(at, dst).put_u32(at + 16, src);
        sum += sum32(src) + sum32(dst);
    }
    Some(sum)
}

#[inline(always)]
pub(crate) fn sum32(value: u32) -> u64 {
    u64::from(value >> 16) + u64::from(value & 0xffff)
}

#[inline(always)]
pub(crate) fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u16
}

/// Most 32-bit words of a truncated answer's datagram: UDP and DNS header, name, type, class, OPT.
const MAX_WORDS: u32 = (8 + HEADER + MAX_NAME + 4 + OPT_LEN).div_ceil(4);

/// The checksum of the bytes from `l4` to `end`, with `sum` for the pseudo header (RFC 768); never zero,
/// which would mean that there is none.
#[inline(always)]
fn udp_checksum<F: Frame + ?Sized>(frame: &F, l4: u32, end: u32, mut sum: u64) -> Option<u16> {
    let mut at = l4;
    for _ in 0..MAX_WORDS {
        if at + 4 > end {
            break;
        }
        // Two halves in one go: the carry between them is folded in the end (RFC 1071).
        sum += u64::from(frame.window(at, 4)?.u32(0));
        at += 4;
    }
    if at + 2 <= end {
        sum += u64::from(frame.window(at, 2)?.u16(0));
        at += 2;
    }
    if at < end {
        sum += u64::from(frame.window(at, 1)?.u8(0)) << 8;
    }
    let checksum = !fold(sum);
    Some(if checksum == 0 { 0xffff } else { checksum })
}

#[cfg(test)]
mod tests;
