//! Answers as templates: a whole message in one allocation, made the answer to one query by copying it and
//! patching what differs.

mod brief;
pub(crate) mod opt;

use std::ops::Range;

use crate::cookie::Cookie;
use crate::name;
use crate::octets::{Writer, u16_at, u32_at};
use crate::query::{
    FLAG_AA, FLAG_AD, FLAG_CD, FLAG_QR, FLAG_RA, FLAG_RD, FLAG_TC, HEADER, Query, TYPE_OPT,
};

pub use brief::{minimal_any, refuse};
use opt::Opt;

/// Most bytes of an answer over UDP, and what our OPT records say we take: below every path's MTU that matters, so
/// nothing is fragmented.
pub const UDP_PAYLOAD: u16 = 1_232;

/// Bytes that every client takes over UDP (RFC 1035 section 4.2.1).
const UDP_MINIMUM: usize = 512;

/// Time to live, in seconds, of what is served stale (RFC 8767 section 4).
pub(crate) const STALE_TTL: u32 = 30;

/// Seconds by which a clock that is being corrected may go back unnoticed.
const SLEWED: u32 = 5;

/// Longest text of an extended error; the rest is left out.
pub(crate) const MAX_ERROR_TEXT: usize = 160;

/// Most records of an answer; more than this many addresses don't fit in 64 KiB anyway.
const MAX_RECORDS: usize = 4_096;

const SERVFAIL: u16 = 2;
const NXDOMAIN: u16 = 3;

/// Extended errors (RFC 8914 section 4).
const STALE_ANSWER: u16 = 3;
const STALE_NXDOMAIN: u16 = 19;
/// The code of an extended error: what is given is a failure that is remembered (RFC 8914 section 4.14).
pub const CACHED_ERROR: u16 = 13;

const SECURE: u8 = 1 << 2;
const AUTHORITATIVE: u8 = 1 << 3;
const KIND: u8 = 3;

/// A stored answer. Its question is in lower case.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The message; then the offset of each TTL, two bytes each; then, if there is an extended error, its code
    /// and text.
    data: Box<[u8]>,
    born: u32,
    ttl: u32,
    stale_until: u32,
    message_len: u16,
    /// Where the additional section begins.
    additional_at: u16,
    ttls: u16,
    question_len: u16,
    marks: u8,
    /// The cache's own notes: they lie here since there is room for them.
    pub(crate) kept: Kept,
}

/// What the cache notes of an answer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Kept {
    /// See [`crate::Key::flags`].
    pub(crate) flags: u8,
    pub(crate) view: u8,
    pub(crate) marks: u8,
}

/// What a message does not say about itself.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Facts {
    /// What kind of answer it is.
    pub kind: Kind,
    /// All of it is validated (RFC 4035 section 4.3).
    pub secure: bool,
    /// It comes from a zone that is served here.
    pub authoritative: bool,
    /// Code and text of an extended error (RFC 8914). Text beyond 160 bytes is left out.
    pub extended_error: Option<(u16, Box<str>)>,
    /// When it was made, in seconds on the clock that all times here are on; one that survives a restart if the
    /// cache is to be saved, such as the time since 1970.
    pub born: u32,
    /// Seconds for which it is fresh.
    pub ttl: u32,
    /// Until when it may be served stale, on the same clock; before the end of its freshness: not at all.
    pub stale_until: u32,
}

/// Kinds of answers.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Kind {
    /// There are records.
    #[default]
    Positive,
    /// Name or type does not exist (RFC 2308).
    Negative,
    /// There is no answer, and it was hard to find that out (RFC 9520).
    Failure,
}

/// How an answer stands at some time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Freshness {
    /// Within its time to live, with the seconds left of it.
    Fresh(u32),
    /// Past it, but to be had if there is nothing better.
    Stale,
    /// Past all use.
    Dead,
}

/// Why a message can't be an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BuildError {
    /// Shorter than it says, or longer than 65,535 bytes, or bytes follow the last record.
    #[error("the message's length is wrong")]
    Length,
    /// Not a response, or a truncated one, or of another operation.
    #[error("not a whole response to a query")]
    Header,
    /// Not exactly one question, with an uncompressed name.
    #[error("not exactly one question")]
    Question,
    /// A name is malformed, or a pointer does not point backwards or leads through a time to live, which changes.
    #[error("a name of the record at byte {0} is malformed")]
    Name(usize),
    /// There are more than 4,096 records.
    #[error("too many records")]
    Records,
    /// OPT, TSIG, SIG(0) or a type that is only ever asked for.
    #[error("a record of type {0} can't be kept")]
    Meta(u16),
}

impl Answer {
    /// Takes a whole response, without an OPT record. Its id does not matter, nor do its flags except for TC.
    pub fn build(message: &[u8], facts: Facts) -> Result<Self, BuildError> {
        let message_len = u16::try_from(message.len()).map_err(|_| BuildError::Length)?;
        let header = message.first_chunk::<HEADER>().ok_or(BuildError::Length)?;
        let [_, _, flags_1, flags_2, questions_1, questions_2, counts @ ..] = *header;
        let flags = u16::from_be_bytes([flags_1, flags_2]);
        if flags & (FLAG_QR | FLAG_TC | 0xf << 11) != FLAG_QR {
            return Err(BuildError::Header);
        }
        if [questions_1, questions_2] != [0, 1] {
            return Err(BuildError::Question);
        }
        let name_len =
            message.get(HEADER..).and_then(name::wire_len).ok_or(BuildError::Question)?;
        let question_end = HEADER + name_len + 4;
        if question_end > message.len() {
            return Err(BuildError::Length);
        }

        let [an_1, an_2, ns_1, ns_2, ar_1, ar_2] = counts;
        let [answers, authorities, additional] = [[an_1, an_2], [ns_1, ns_2], [ar_1, ar_2]]
            .map(|count| usize::from(u16::from_be_bytes(count)));
        if answers + authorities + additional > MAX_RECORDS {
            return Err(BuildError::Records);
        }
        let error = facts.extended_error.as_ref().map(|(code, text)| (*code, clip(text)));
        let error_len = error.map_or(0, |(_, text)| 2 + text.len());
        let records = answers + authorities + additional;
        // As many bytes as it takes: the count of records bounds the offsets, and a wrong count fails below.
        let most = message.len() / 11;
        let mut data = Vec::with_capacity(message.len() + 2 * records.min(most) + error_len);
        data.extend_from_slice(message);
        let mut at = question_end;
        let mut additional_at = question_end;
        for index in 0..records {
            if index == answers + authorities {
                additional_at = at;
            }
            let ttls = data.get(message.len()..).unwrap_or_default();
            let record = Record::read(message, at, |place| !holds_ttl(ttls, place))?;
            let offset = u16::try_from(record.ttl_at).map_err(|_| BuildError::Length)?;
            data.extend_from_slice(&offset.to_le_bytes());
            // A time to live of more than 31 bits is none (RFC 2181 section 8).
            if record.ttl > u32::MAX >> 1
                && let Some(place) = data.get_mut(record.ttl_at..record.ttl_at + 4)
            {
                place.fill(0);
            }
            at = record.end;
        }
        if at != message.len() {
            return Err(BuildError::Length);
        }
        if additional == 0 {
            additional_at = at;
        }
        if let Some((code, text)) = error {
            data.extend_from_slice(&code.to_be_bytes());
            data.extend_from_slice(text);
        }

        // What is the same for every query is settled here.
        let aa = if facts.authoritative { FLAG_AA } else { 0 };
        let settled = FLAG_QR | FLAG_RA | aa | flags & 0xf;
        if let Some(head) = data.first_chunk_mut::<HEADER>() {
            let [id_1, id_2, flags_1, flags_2, ..] = head;
            [*id_1, *id_2] = [0, 0];
            [*flags_1, *flags_2] = settled.to_be_bytes();
        }
        if let Some(name) = data.get_mut(HEADER..HEADER + name_len) {
            name.make_ascii_lowercase();
        }
        let marks = facts.kind as u8
            | if facts.secure { SECURE } else { 0 }
            | if facts.authoritative { AUTHORITATIVE } else { 0 };
        Ok(Self {
            data: data.into_boxed_slice(),
            born: facts.born,
            ttl: facts.ttl,
            stale_until: facts.stale_until,
            message_len,
            additional_at: u16::try_from(additional_at).map_err(|_| BuildError::Length)?,
            ttls: u16::try_from(records).map_err(|_| BuildError::Records)?,
            question_len: u16::try_from(name_len + 4).map_err(|_| BuildError::Question)?,
            marks,
            kept: Kept::default(),
        })
    }

    /// Writes the answer to `query` and gives its length, at most the limit and the buffer. 0 if the question is
    /// another one, or if not even a truncated answer fits; with 512 bytes that does not happen.
    ///
    /// What doesn't fit is left out in this order: text of extended errors, the additional section, and then all
    /// records at once, with TC set.
    pub fn render(&self, query: &Query<'_>, now: u32, limits: &Limits, out: &mut [u8]) -> usize {
        if self.question().eq_ignore_ascii_case(query.question) {
            let note = limits.stale.then(|| self.stale_code());
            self.try_render(query, now, limits, note, out).unwrap_or(0)
        } else {
            0
        }
    }

    /// Like [`Self::render`], out of the cache, for a query that is known to ask this question. A failure says that it
    /// is one that is remembered.
    pub(crate) fn render_cached(
        &self,
        query: &Query<'_>,
        now: u32,
        limits: &Limits,
        out: &mut [u8],
    ) -> usize {
        let note = match self.kind() {
            Kind::Failure => Some(CACHED_ERROR),
            Kind::Positive | Kind::Negative => limits.stale.then(|| self.stale_code()),
        };
        self.try_render(query, now, limits, note, out).unwrap_or(0)
    }

    fn try_render(
        &self,
        query: &Query<'_>,
        now: u32,
        limits: &Limits,
        note: Option<u16>,
        out: &mut [u8],
    ) -> Option<usize> {
        let room = out.len().min(limits.max_len);
        let out = out.get_mut(..room)?;
        let errors = [self.extended_error(), note.map(|code| (code, &b""[..]))];
        let opt = Opt::for_query(query, 0, limits.cookie, errors);
        let whole = usize::from(self.message_len);
        let additional_at = usize::from(self.additional_at);
        let question_end = HEADER + usize::from(self.question_len);
        let [longer, shorter] =
            [true, false].map(|text| opt.as_ref().map_or(0, |opt| opt.len(text)));
        let (end, with_text) = if whole + longer <= room {
            (whole, true)
        } else if whole + shorter <= room {
            (whole, false)
        } else if additional_at < whole && additional_at + shorter <= room {
            (additional_at, false)
        } else {
            (question_end, false)
        };
        let truncated = end == question_end && additional_at > question_end;

        out.get_mut(..end)?.copy_from_slice(self.data.get(..end)?);
        out.get_mut(HEADER..question_end)?.copy_from_slice(query.question);
        let settled = u16_at(&self.data, 2)?;
        let secure = self.secure();
        let flags = settled | echoed(query, secure) | if truncated { FLAG_TC } else { 0 };
        let head = out.first_chunk_mut::<HEADER>()?;
        let [id_1, id_2, flags_1, flags_2, _, _, counts @ ..] = head;
        [*id_1, *id_2] = query.id.to_be_bytes();
        [*flags_1, *flags_2] = flags.to_be_bytes();
        let [answers @ .., additional_1, additional_2] = counts;
        if truncated {
            *answers = [0; 4];
        }
        if end < whole {
            [*additional_1, *additional_2] = [0, 0];
        }
        if opt.is_some() {
            let count = u16::from_be_bytes([*additional_1, *additional_2]) + 1;
            [*additional_1, *additional_2] = count.to_be_bytes();
        }

        let age = now.saturating_sub(self.born);
        for offset in self.ttl_offsets() {
            if offset + 4 > end {
                break;
            }
            let place = out.get_mut(offset..)?.first_chunk_mut::<4>()?;
            let ttl = u32::from_be_bytes(*place);
            let ttl = if limits.stale { ttl.min(STALE_TTL) } else { ttl.saturating_sub(age) };
            *place = ttl.to_be_bytes();
        }
        let Some(opt) = opt else { return Some(end) };
        let mut tail = Writer::new(out.get_mut(end..)?);
        opt.write(&mut tail, with_text)?;
        Some(end + tail.written())
    }

    /// Name in lower case, type and class.
    pub fn question(&self) -> &[u8] {
        self.data.get(HEADER..HEADER + usize::from(self.question_len)).unwrap_or_default()
    }

    /// The response as it is kept, without an OPT record, TTLs as they were.
    pub(crate) fn message(&self) -> &[u8] {
        self.data.get(..usize::from(self.message_len)).unwrap_or_default()
    }

    /// The response code.
    pub fn rcode(&self) -> u16 {
        u16_at(&self.data, 2).unwrap_or(SERVFAIL) & 0xf
    }

    /// What kind of answer it is.
    pub fn kind(&self) -> Kind {
        match self.marks & KIND {
            0 => Kind::Positive,
            1 => Kind::Negative,
            _ => Kind::Failure,
        }
    }

    /// All of it is validated.
    pub fn secure(&self) -> bool {
        self.marks & SECURE != 0
    }

    /// It comes from a zone that is served here.
    pub(crate) fn authoritative(&self) -> bool {
        self.marks & AUTHORITATIVE != 0
    }

    /// When it was made, in seconds on the clock of [`Facts::born`].
    pub fn born(&self) -> u32 {
        self.born
    }

    /// Seconds for which it is fresh, from its birth.
    pub fn ttl(&self) -> u32 {
        self.ttl
    }

    /// Until when it may be served stale.
    pub fn stale_until(&self) -> u32 {
        self.stale_until
    }

    /// Code and text of its extended error.
    pub fn extended_error(&self) -> Option<(u16, &[u8])> {
        let at = usize::from(self.message_len) + 2 * usize::from(self.ttls);
        let (code, text) = self.data.get(at..)?.split_first_chunk()?;
        Some((u16::from_be_bytes(*code), text))
    }

    /// Where the time to live of each record is in [`Self::message`], in order.
    fn ttl_offsets(&self) -> impl Iterator<Item = usize> {
        let at = usize::from(self.message_len);
        let offsets = self.data.get(at..at + 2 * usize::from(self.ttls)).unwrap_or_default();
        let (offsets, _) = offsets.as_chunks::<2>();
        offsets.iter().map(|offset| usize::from(u16::from_le_bytes(*offset)))
    }

    /// The whole response without an OPT record, as of `now`: each time to live is what is left of it.
    pub fn aged(&self, now: u32) -> Vec<u8> {
        let mut message = self.message().to_vec();
        let age = now.saturating_sub(self.born);
        for at in self.ttl_offsets() {
            if let Some(ttl) = message.get_mut(at..).and_then(|rest| rest.first_chunk_mut::<4>()) {
                *ttl = u32::from_be_bytes(*ttl).saturating_sub(age).to_be_bytes();
            }
        }
        message
    }

    /// How it stands at `now`.
    pub fn freshness(&self, now: u32) -> Freshness {
        let expires = self.born.saturating_add(self.ttl);
        if now.saturating_add(SLEWED) < self.born {
            // The clock was set back: nobody knows how old it is.
            return if now < self.stale_until { Freshness::Stale } else { Freshness::Dead };
        }
        if now < expires {
            Freshness::Fresh(expires - now)
        } else if now < self.stale_until {
            Freshness::Stale
        } else {
            Freshness::Dead
        }
    }

    /// Whether the question or the owner of a record of its answer section is `name`, or, of a `zone`, below it;
    /// in wire form.
    pub(crate) fn concerns(&self, name: &[u8], zone: bool) -> bool {
        self.concerns_any(|owner| {
            if zone { name::is_within(owner, name) } else { owner.eq_ignore_ascii_case(name) }
        })
    }

    /// Whether the question or the owner of a record of its answer section `fits`; in wire form and any letter case.
    pub(crate) fn concerns_any(&self, fits: impl Fn(&[u8]) -> bool) -> bool {
        let asked = self.question().split_last_chunk::<4>().map_or(&[][..], |(name, _)| name);
        if fits(asked) {
            return true;
        }
        let answers = u16_at(&self.data, 6).unwrap_or(0);
        let mut at = HEADER + usize::from(self.question_len);
        (0..answers).any(|_| {
            let Ok(record) = Record::read(self.message(), at, |_| true) else { return false };
            let owner = name::Name::expand(self.message(), at);
            at = record.end;
            owner.is_some_and(|(owner, _)| fits(owner.as_wire()))
        })
    }

    /// Bytes of its only allocation.
    pub(crate) fn allocated(&self) -> usize {
        self.data.len()
    }

    /// The facts that it was built from.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn facts(&self) -> Facts {
        let error = self.extended_error().map(|(code, text)| {
            (code, String::from_utf8_lossy(text).into_owned().into_boxed_str())
        });
        Facts {
            kind: self.kind(),
            secure: self.secure(),
            authoritative: self.authoritative(),
            extended_error: error,
            born: self.born,
            ttl: self.ttl,
            stale_until: self.stale_until,
        }
    }

    fn stale_code(&self) -> u16 {
        if self.rcode() == NXDOMAIN { STALE_NXDOMAIN } else { STALE_ANSWER }
    }
}

/// The text as far as it is sent.
fn clip(text: &str) -> &[u8] {
    text.get(..text.floor_char_boundary(MAX_ERROR_TEXT)).unwrap_or_default().as_bytes()
}

/// The flags that depend on the query: RD and CD as asked, AD for who wants to know it (RFC 6840 section 5.8). A
/// client that checks by itself (CD) hears nothing of our checks.
fn echoed(query: &Query<'_>, secure: bool) -> u16 {
    let ad = secure && !query.cd && (query.ad || query.dnssec_ok());
    (if query.rd { FLAG_RD } else { 0 })
        | (if query.cd { FLAG_CD } else { 0 })
        | (if ad { FLAG_AD } else { 0 })
}

/// A record's place in a message.
struct Record {
    ttl_at: usize,
    ttl: u32,
    end: usize,
}

impl Record {
    /// The record at `at`, if its names lie in places that `may` hold them.
    fn read(
        message: &[u8],
        at: usize,
        may: impl Fn(Range<usize>) -> bool,
    ) -> Result<Self, BuildError> {
        let fixed = name::skip_if(message, at, &may).ok_or(BuildError::Name(at))?;
        let ttl_at = fixed + 4;
        let may = |place: Range<usize>| !overlap(&place, ttl_at) && may(place);
        let rtype = u16_at(message, fixed).ok_or(BuildError::Length)?;
        let ttl = u32_at(message, ttl_at).ok_or(BuildError::Length)?;
        let length = u16_at(message, fixed + 8).ok_or(BuildError::Length)?;
        let start = fixed + 10;
        let end = start + usize::from(length);
        if end > message.len() {
            return Err(BuildError::Length);
        }
        match rtype {
            // SIG is SIG(0) wherever it could come from today (RFC 2931).
            0 | 24 | TYPE_OPT | 128 | 249..=255 => return Err(BuildError::Meta(rtype)),
            _ => {}
        }
        names_end(message, rtype, start..end, may).ok_or(BuildError::Name(at))?;
        Ok(Self { ttl_at, ttl, end })
    }
}

/// Whether one of the times to live at these offsets, two bytes each, lies in `place`. A name read from there would be
/// another one with each second.
fn holds_ttl(offsets: &[u8], place: Range<usize>) -> bool {
    let (offsets, _) = offsets.as_chunks();
    let next = offsets
        .partition_point(|&offset| usize::from(u16::from_le_bytes(offset)) + 4 <= place.start);
    offsets
        .get(next)
        .is_some_and(|&offset| overlap(&place, usize::from(u16::from_le_bytes(offset))))
}

/// Whether the time to live at `ttl_at` lies in `place`.
fn overlap(place: &Range<usize>, ttl_at: usize) -> bool {
    place.start < ttl_at + 4 && ttl_at < place.end
}

/// Checks the names in the data of the types that may hold compressed ones (RFC 3597 section 4), and of those
/// that some encoders compress, or some decoders decompress, all the same.
fn names_end(
    message: &[u8],
    rtype: u16,
    data: Range<usize>,
    may: impl Fn(Range<usize>) -> bool,
) -> Option<()> {
    let (names, before, after) = match rtype {
        // NS, MD, MF, CNAME, MB, MG, MR, PTR, DNAME, ANAME
        2..=5 | 7..=9 | 12 | 39 | 65_305 => (1, 0, Some(0)),
        // SOA: five numbers follow
        6 => (2, 0, Some(20)),
        // MINFO, RP
        14 | 17 => (2, 0, Some(0)),
        // MX, AFSDB, RT, KX
        15 | 18 | 21 | 36 => (1, 2, Some(0)),
        // SRV
        33 => (1, 6, Some(0)),
        // NAPTR
        35 => (1, strings_end(message, data.start + 4, 3)? - data.start, Some(0)),
        // RRSIG: the signature follows
        46 => (1, 18, None),
        // NSEC: a bit map follows
        47 => (1, 0, None),
        // SVCB, HTTPS: parameters follow
        64 | 65 => (1, 2, None),
        _ => return Some(()),
    };
    // A name may not borrow bytes from behind its record.
    let message = message.get(..data.end)?;
    let mut at = data.start + before;
    for _ in 0..names {
        at = name::skip_if(message, at, &may)?;
    }
    after.is_none_or(|after| at + after == data.end).then_some(())
}

/// Where so many character strings end that begin at `at` (RFC 1035 section 3.3).
fn strings_end(message: &[u8], at: usize, count: usize) -> Option<usize> {
    (0..count).try_fold(at, |at, _| Some(at + 1 + usize::from(*message.get(at)?)))
}

/// What an answer is held to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Most bytes.
    pub max_len: usize,
    /// The cookie to send, if the query brought one.
    pub cookie: Option<Cookie>,
    /// It is served stale: every time to live is at most 30 seconds, and the client hears of it (RFC 8767).
    pub stale: bool,
}

impl Limits {
    /// Over UDP: what the client takes, 512 bytes if it does not say, and no more than [`UDP_PAYLOAD`].
    pub fn udp(query: &Query<'_>) -> Self {
        let payload = query.edns.map_or(UDP_MINIMUM, |edns| usize::from(edns.udp_payload));
        Self { max_len: payload.min(usize::from(UDP_PAYLOAD)), cookie: None, stale: false }
    }

    /// Over TCP and what is built on it.
    pub fn tcp() -> Self {
        Self { max_len: usize::from(u16::MAX), cookie: None, stale: false }
    }
}

#[cfg(test)]
mod tests;
