//! Short answers that are in no cache: refusals, and what ANY gets.

use super::opt::Opt;
use super::{SERVFAIL, UDP_MINIMUM, clip, echoed};
use crate::cookie::Cookie;
use crate::octets::Writer;
use crate::query::{FLAG_QR, FLAG_RA, Query};

/// Writes an answer without records and gives its length, at most 512 bytes; 0 if it doesn't fit in `out`.
///
/// A code of more than four bits needs an OPT record: without one in the query it becomes SERVFAIL.
pub fn refuse(
    query: &Query<'_>,
    rcode: u16,
    extended_error: Option<(u16, &str)>,
    cookie: Option<Cookie>,
    out: &mut [u8],
) -> usize {
    let error = extended_error.map(|(code, text)| (code, clip(text)));
    Brief { rcode, error, cookie, ..Brief::default() }.write(query, out).unwrap_or(0)
}

/// Writes the answer to a question for type ANY, a single HINFO record (RFC 8482 section 4.2), and gives its length,
/// at most 512 bytes; 0 if it doesn't fit in `out`.
pub fn minimal_any(query: &Query<'_>, cookie: Option<Cookie>, out: &mut [u8]) -> usize {
    const HINFO: &[u8] = b"\xc0\x0c\0\x0d\0\x01\0\0\x0e\x10\0\x09\x07RFC8482\0";
    Brief { record: HINFO, cookie, ..Brief::default() }.write(query, out).unwrap_or(0)
}

/// A short answer that is not in the cache.
#[derive(Default)]
struct Brief<'a> {
    rcode: u16,
    record: &'a [u8],
    error: Option<(u16, &'a [u8])>,
    cookie: Option<Cookie>,
}

impl Brief<'_> {
    fn write(&self, query: &Query<'_>, out: &mut [u8]) -> Option<usize> {
        let room = out.len().min(UDP_MINIMUM);
        let opt = Opt::for_query(query, self.rcode, self.cookie, [self.error, None]);
        let rcode = if opt.is_none() && self.rcode > 0xf { SERVFAIL } else { self.rcode };
        let flags = FLAG_QR | FLAG_RA | echoed(query, false) | rcode & 0xf;
        let mut out = Writer::new(out.get_mut(..room)?);
        out.put_u16(query.id)?;
        out.put_u16(flags)?;
        out.put_u16(1)?;
        out.put_u16(u16::from(!self.record.is_empty()))?;
        out.put_u16(0)?;
        out.put_u16(u16::from(opt.is_some()))?;
        out.put(query.question)?;
        out.put(self.record)?;
        if let Some(opt) = opt {
            let with_text = out.written() + opt.len(true) <= room;
            opt.write(&mut out, with_text)?;
        }
        Some(out.written())
    }
}
