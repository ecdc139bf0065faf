//! The OPT record of an answer (RFC 6891), with its cookie and extended errors.

use super::UDP_PAYLOAD;
use crate::cookie::Cookie;
use crate::octets::Writer;
use crate::query::{OPT, OPTION_COOKIE, OPTION_EXTENDED_ERROR, Query, TYPE_OPT};

/// The OPT record of an answer.
#[derive(Clone, Copy)]
pub(crate) struct Opt<'a> {
    rcode: u16,
    dnssec_ok: bool,
    cookie: Option<Cookie>,
    errors: [Option<(u16, &'a [u8])>; 2],
}

impl<'a> Opt<'a> {
    /// One without options.
    pub(crate) fn bare(rcode: u16, dnssec_ok: bool) -> Self {
        Self { rcode, dnssec_ok, cookie: None, errors: [None; 2] }
    }

    /// One for queries that have one; a cookie for those that brought one. `errors` are codes and texts (RFC 8914).
    pub(super) fn for_query(
        query: &Query<'_>,
        rcode: u16,
        cookie: Option<Cookie>,
        errors: [Option<(u16, &'a [u8])>; 2],
    ) -> Option<Self> {
        let edns = query.edns?;
        let cookie = cookie.filter(|_| edns.cookie.is_some());
        Some(Self { cookie, errors, ..Self::bare(rcode, edns.dnssec_ok) })
    }

    pub(super) fn len(&self, with_text: bool) -> usize {
        OPT + self.options_len(with_text)
    }

    fn options_len(&self, with_text: bool) -> usize {
        let errors = self.errors.iter().flatten();
        let errors: usize =
            errors.map(|(_, text)| 6 + if with_text { text.len() } else { 0 }).sum();
        errors + self.cookie.map_or(0, |cookie| 4 + cookie.len())
    }

    pub(crate) fn write(&self, out: &mut Writer<'_>, with_text: bool) -> Option<()> {
        out.put(&[0])?;
        out.put_u16(TYPE_OPT)?;
        out.put_u16(UDP_PAYLOAD)?;
        out.put_u16(self.rcode >> 4 << 8)?;
        out.put_u16(u16::from(self.dnssec_ok) << 15)?;
        out.put_u16(u16::try_from(self.options_len(with_text)).ok()?)?;
        if let Some(cookie) = &self.cookie {
            out.put_u16(OPTION_COOKIE)?;
            out.put_u16(24)?;
            out.put(cookie)?;
        }
        for (code, text) in self.errors.iter().flatten() {
            let text = if with_text { text } else { &b""[..] };
            out.put_u16(OPTION_EXTENDED_ERROR)?;
            out.put_u16(u16::try_from(2 + text.len()).ok()?)?;
            out.put_u16(*code)?;
            out.put(text)?;
        }
        Some(())
    }
}
