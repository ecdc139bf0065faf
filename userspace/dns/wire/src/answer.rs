//! Answers as templates: a whole message in one allocation, made the answer to one query by copying it and
//! patching what differs.

use crate::cookie::Cookie;
use crate::name;
use crate::octets::{Writer, u16_at, u32_at};
use crate::query::{
    FLAG_AA, FLAG_AD, FLAG_CD, FLAG_QR, FLAG_RA, FLAG_RD, FLAG_TC, HEADER, OPT, OPTION_COOKIE,
    OPTION_EXTENDED_ERROR, Query, TYPE_OPT,
};

/// Most bytes of an answer over UDP, and what our OPT records say we take: below every path's MTU that matters, so
/// nothing is fragmented.
pub const UDP_PAYLOAD: u16 = 1_232;

/// Bytes that every client takes over UDP (RFC 1035 section 4.2.1).
const UDP_MINIMUM: usize = 512;

/// Time to live, in seconds, of what is served stale (RFC 8767 section 4).
pub const STALE_TTL: u32 = 30;

/// Seconds by which a clock that is being corrected may go back unnoticed.
const SLEWED: u32 = 5;

/// Longest text of an extended error; the rest is left out.
pub const MAX_ERROR_TEXT: usize = 160;

/// Most records of an answer; more than this many addresses don't fit in 64 KiB anyway.
const MAX_RECORDS: usize = 4_096;

const SERVFAIL: u16 = 2;
const NXDOMAIN: u16 = 3;

const STALE_ANSWER: u16 = 3;
const STALE_NXDOMAIN: u16 = 19;

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
    /// Code and text of an extended error (RFC 8914). Text beyond [`MAX_ERROR_TEXT`] bytes is left out.
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
    /// A name is malformed, or a pointer does not point backwards.
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
            let record = Record::read(message, at)?;
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
            self.render_known(query, now, limits, out)
        } else {
            0
        }
    }

    /// Like [`Self::render`], for a query that is known to ask this question.
    pub(crate) fn render_known(
        &self,
        query: &Query<'_>,
        now: u32,
        limits: &Limits,
        out: &mut [u8],
    ) -> usize {
        self.try_render(query, now, limits, out).unwrap_or(0)
    }

    fn try_render(
        &self,
        query: &Query<'_>,
        now: u32,
        limits: &Limits,
        out: &mut [u8],
    ) -> Option<usize> {
        let room = out.len().min(limits.max_len);
        let out = out.get_mut(..room)?;
        let opt = Opt::for_query(query, 0, limits.cookie).map(|opt| Opt {
            errors: [self.extended_error(), limits.stale.then(|| (self.stale_code(), &b""[..]))],
            ..opt
        });
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
    pub fn message(&self) -> &[u8] {
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
    pub fn authoritative(&self) -> bool {
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
    pub fn ttl_offsets(&self) -> impl Iterator<Item = usize> {
        let at = usize::from(self.message_len);
        let offsets = self.data.get(at..at + 2 * usize::from(self.ttls)).unwrap_or_default();
        let (offsets, _) = offsets.as_chunks::<2>();
        offsets.iter().map(|offset| usize::from(u16::from_le_bytes(*offset)))
    }

    /// [`Self::message`] as of `now`: each time to live is what is left of it.
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
    pub fn concerns(&self, name: &[u8], zone: bool) -> bool {
        self.concerns_any(|owner| {
            if zone { name::is_within(owner, name) } else { owner.eq_ignore_ascii_case(name) }
        })
    }

    /// Whether the question or the owner of a record of its answer section `fits`; in wire form and any letter case.
    pub fn concerns_any(&self, fits: impl Fn(&[u8]) -> bool) -> bool {
        let asked = self.question().split_last_chunk::<4>().map_or(&[][..], |(name, _)| name);
        if fits(asked) {
            return true;
        }
        let answers = u16_at(&self.data, 6).unwrap_or(0);
        let mut at = HEADER + usize::from(self.question_len);
        (0..answers).any(|_| {
            let Ok(record) = Record::read(self.message(), at) else { return false };
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
    pub fn facts(&self) -> Facts {
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
    fn read(message: &[u8], at: usize) -> Result<Self, BuildError> {
        let fixed = name::skip(message, at).ok_or(BuildError::Name(at))?;
        let rtype = u16_at(message, fixed).ok_or(BuildError::Length)?;
        let ttl = u32_at(message, fixed + 4).ok_or(BuildError::Length)?;
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
        names_end(message, rtype, start, end).ok_or(BuildError::Name(at))?;
        Ok(Self { ttl_at: fixed + 4, ttl, end })
    }
}

/// Checks the names in the data of the types that may hold compressed ones (RFC 3597 section 4), and of those
/// that some encoders compress all the same.
fn names_end(message: &[u8], rtype: u16, start: usize, end: usize) -> Option<()> {
    let (names, before, after) = match rtype {
        // NS, MD, MF, CNAME, MB, MG, MR, PTR, DNAME
        2..=5 | 7..=9 | 12 | 39 => (1, 0, 0),
        // SOA: five numbers follow
        6 => (2, 0, 20),
        // MINFO, RP
        14 | 17 => (2, 0, 0),
        // MX, AFSDB, RT, KX
        15 | 18 | 21 | 36 => (1, 2, 0),
        // SRV
        33 => (1, 6, 0),
        _ => return Some(()),
    };
    // A name may not borrow bytes from behind its record.
    let message = message.get(..end)?;
    let mut at = start + before;
    for _ in 0..names {
        at = name::skip(message, at)?;
    }
    (at + after == end).then_some(())
}

/// What an answer is held to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Most bytes.
    pub max_len: usize,
    /// The cookie to send, if the query brought one.
    pub cookie: Option<Cookie>,
    /// It is served stale: every time to live is at most [`STALE_TTL`], and the client hears of it (RFC 8767).
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

    /// The same, with a cookie to send.
    #[must_use]
    pub fn with_cookie(self, cookie: Option<Cookie>) -> Self {
        Self { cookie, ..self }
    }
}

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

/// Writes an answer that says no more than "ask over TCP" and gives its length, at most 512 bytes; 0 if it doesn't
/// fit in `out`. Without a cookie it is never longer than the query.
pub fn truncate(query: &Query<'_>, cookie: Option<Cookie>, out: &mut [u8]) -> usize {
    Brief { flags: FLAG_TC, cookie, ..Brief::default() }.write(query, out).unwrap_or(0)
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
    flags: u16,
    record: &'a [u8],
    error: Option<(u16, &'a [u8])>,
    cookie: Option<Cookie>,
}

impl Brief<'_> {
    fn write(&self, query: &Query<'_>, out: &mut [u8]) -> Option<usize> {
        let room = out.len().min(UDP_MINIMUM);
        let opt = Opt::for_query(query, self.rcode, self.cookie)
            .map(|opt| Opt { errors: [self.error, None], ..opt });
        let rcode = if opt.is_none() && self.rcode > 0xf { SERVFAIL } else { self.rcode };
        let flags = FLAG_QR | FLAG_RA | self.flags | echoed(query, false) | rcode & 0xf;
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

/// The OPT record of an answer.
#[derive(Clone, Copy)]
pub(crate) struct Opt<'a> {
    rcode: u16,
    dnssec_ok: bool,
    cookie: Option<Cookie>,
    errors: [Option<(u16, &'a [u8])>; 2],
}

impl Opt<'_> {
    /// One without options.
    pub(crate) fn bare(rcode: u16, dnssec_ok: bool) -> Self {
        Self { rcode, dnssec_ok, cookie: None, errors: [None; 2] }
    }

    /// One for queries that have one; a cookie for those that brought one.
    fn for_query(query: &Query<'_>, rcode: u16, cookie: Option<Cookie>) -> Option<Self> {
        let edns = query.edns?;
        let cookie = cookie.filter(|_| edns.cookie.is_some());
        Some(Self { cookie, ..Self::bare(rcode, edns.dnssec_ok) })
    }

    fn len(&self, with_text: bool) -> usize {
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

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Message, ResponseCode};
    use hickory_proto::rr::{Record, RecordType};
    use proptest::prelude::*;

    use super::*;
    use crate::samples;

    /// A query for the message's question with these flags and OPT record.
    fn query_for(message: &[u8], flags: u16, opt: &[u8]) -> Vec<u8> {
        let end = HEADER + name::wire_len(&message[HEADER..]).unwrap() + 4;
        let mut packet = vec![0xab, 0xcd];
        packet.extend(flags.to_be_bytes());
        packet.extend([0, 1, 0, 0, 0, 0, 0, u8::from(!opt.is_empty())]);
        packet.extend(&message[HEADER..end]);
        packet.extend(opt);
        packet
    }

    const PLAIN_OPT: &[u8] = b"\0\0\x29\x04\xd0\0\0\0\0\0\0";
    const DO_OPT: &[u8] = b"\0\0\x29\x04\xd0\0\0\x80\0\0\0";
    const COOKIE_OPT: &[u8] = b"\0\0\x29\x04\xd0\0\0\0\0\0\x0c\0\x0a\0\x08abcdefgh";

    fn facts() -> Facts {
        Facts { born: 1_000, ttl: 300, stale_until: 4_000, ..Facts::default() }
    }

    fn rendered(message: &[u8], facts: Facts, packet: &[u8], now: u32, limits: Limits) -> Message {
        let answer = Answer::build(message, facts).unwrap();
        let mut out = [0; 4096];
        let query = Query::parse(packet).unwrap();
        let length = answer.render(&query, now, &limits, &mut out);
        assert!(length <= limits.max_len);
        Message::from_vec(&out[..length]).unwrap()
    }

    fn ttls(records: &[Record]) -> Vec<u32> {
        records.iter().map(|record| record.ttl).collect()
    }

    #[test]
    fn times_to_live_grow_old() {
        let records = vec![
            samples::cname("www.example.", 300, "a.example."),
            samples::a("a.example.", 20, 1),
            samples::a("a.example.", u32::MAX, 2),
        ];
        let sections = [records, vec![samples::soa("example.", 900)], vec![]];
        let message =
            samples::response(("www.example.", RecordType::A), ResponseCode::NoError, sections);
        let packet = query_for(&message, 0x0100, PLAIN_OPT);
        // (now, stale, answers', authority's)
        let cases = [
            (1_000, false, [300, 20, 0], 900),
            (1_007, false, [293, 13, 0], 893),
            (1_299, false, [1, 0, 0], 601),
            (900, false, [300, 20, 0], 900),
            (2_000, true, [30, 20, 0], 30),
        ];
        for (now, stale, answers, authority) in cases {
            let limits = Limits { stale, ..Limits::tcp() };
            let message = rendered(&message, facts(), &packet, now, limits);
            assert_eq!(ttls(&message.answers), answers, "{now}");
            assert_eq!(ttls(&message.authorities), [authority], "{now}");
        }
    }

    #[test]
    fn flags_are_as_asked() {
        let message = samples::address("www.example.", 60, 1);
        // (flags asked, OPT, secure, flags answered)
        let cases: [(u16, &[u8], bool, u16); 11] = [
            (0, b"", false, 0x8080),
            (0x0100, b"", false, 0x8180),
            (0x0110, b"", true, 0x8190),
            (0x0120, b"", true, 0x81a0),
            (0x0120, b"", false, 0x8180),
            (0x0100, b"", true, 0x8180),
            (0x0100, PLAIN_OPT, true, 0x8180),
            (0x0100, DO_OPT, true, 0x81a0),
            (0x0100, DO_OPT, false, 0x8180),
            // Who checks by itself hears nothing of our checks.
            (0x0130, DO_OPT, true, 0x8190),
            // Z and TC of a query mean nothing.
            (0x0340, b"", true, 0x8180),
        ];
        for (asked, opt, secure, expected) in cases {
            for authoritative in [false, true] {
                let facts = Facts { secure, authoritative, ..facts() };
                let answer = Answer::build(&message, facts).unwrap();
                let packet = query_for(&message, asked, opt);
                let mut out = [0; 512];
                let query = Query::parse(&packet).unwrap();
                let length = answer.render(&query, 1_000, &Limits::udp(&query), &mut out);
                assert!(length > 0);
                let expected = expected | if authoritative { FLAG_AA } else { 0 };
                assert_eq!(u16_at(&out, 2), Some(expected), "{asked:x} {opt:?} {secure}");
                assert_eq!(out[..2], [0xab, 0xcd]);
            }
        }
    }

    #[test]
    fn the_client_finds_its_letter_case() {
        let message = samples::address("www.example.", 60, 1);
        let mut packet = query_for(&message, 0x0100, b"");
        packet[HEADER..HEADER + 12].make_ascii_uppercase();
        let message = rendered(&message, facts(), &packet, 1_000, Limits::tcp());
        assert_eq!(message.queries[0].name().to_string(), "WWW.EXAMPLE.");
        assert_eq!(message.answers[0].name.to_string(), "WWW.EXAMPLE.");

        let other = samples::address("mmm.example.", 60, 1);
        let answer = Answer::build(&other, facts()).unwrap();
        let query = Query::parse(&packet).unwrap();
        assert_eq!(answer.render(&query, 1_000, &Limits::tcp(), &mut [0; 512]), 0);
    }

    #[test]
    fn opt_records_answer_opt_records() {
        let message = samples::address("www.example.", 60, 1);
        let stored = Facts { extended_error: Some((9, "no DNSKEY".into())), ..facts() };
        let cookie = Some([5; 24]);
        let ede = |code: u8, text: &str| {
            [&[0, 15, 0, 2 + text.len() as u8, 0, code], text.as_bytes()].concat()
        };
        let sent_cookie = [&[0, 10, 0, 24][..], &[5; 24]].concat();
        // (OPT asked, facts, stale, the options)
        let cases: [(&[u8], Facts, bool, Vec<u8>); 6] = [
            (PLAIN_OPT, facts(), false, vec![]),
            (DO_OPT, stored.clone(), false, ede(9, "no DNSKEY")),
            (PLAIN_OPT, stored.clone(), true, [ede(9, "no DNSKEY"), ede(3, "")].concat()),
            (COOKIE_OPT, facts(), false, sent_cookie.clone()),
            (COOKIE_OPT, facts(), true, [sent_cookie.clone(), ede(3, "")].concat()),
            (COOKIE_OPT, stored.clone(), false, [sent_cookie, ede(9, "no DNSKEY")].concat()),
        ];
        for (opt, facts, stale, options) in cases {
            let packet = query_for(&message, 0x0100, opt);
            let query = Query::parse(&packet).unwrap();
            let limits = Limits { cookie, stale, ..Limits::udp(&query) };
            let answer = Answer::build(&message, facts).unwrap();
            let mut out = [0; 512];
            let length = answer.render(&query, 1_000, &limits, &mut out);
            let mut expected = b"\0\0\x29\x04\xd0\0\0".to_vec();
            expected.extend([if query.dnssec_ok() { 0x80 } else { 0 }, 0, 0, options.len() as u8]);
            expected.extend(options);
            assert_eq!(out[length - expected.len()..length], expected);
            assert_eq!(u16_at(&out, 10), Some(1));
            // It would be shorter without the OPT record, and that is how others get it.
            let packet = query_for(&message, 0x0100, b"");
            let query = Query::parse(&packet).unwrap();
            let bare = answer.render(&query, 1_000, &limits, &mut out);
            assert_eq!((bare, u16_at(&out, 10)), (message.len(), Some(0)));
        }
        let negative = &samples::responses()[2];
        let packet = query_for(negative, 0x0100, PLAIN_OPT);
        let limits = Limits { stale: true, ..Limits::tcp() };
        let answer = Answer::build(negative, facts()).unwrap();
        let mut out = [0; 512];
        let length = answer.render(&Query::parse(&packet).unwrap(), 2_000, &limits, &mut out);
        assert_eq!(out[length - 6..length], ede(19, ""), "a stale NXDOMAIN has its own code");
    }

    #[test]
    fn what_does_not_fit_is_left_out_in_order() {
        let answers = vec![samples::txt("t.example.", 60, 100)];
        let additional = vec![samples::a("mail.example.", 60, 1)];
        let sections = [answers, vec![], additional];
        let message =
            samples::response(("t.example.", RecordType::TXT), ResponseCode::NoError, sections);
        let text = "x".repeat(50);
        let facts = Facts { extended_error: Some((9, text.clone().into())), ..facts() };
        let packet = query_for(&message, 0x0100, PLAIN_OPT);
        let whole = message.len() + OPT + 6;
        let without_additional = HEADER + 15 + 12 + 101 + OPT + 6;
        let without_records = HEADER + 15 + OPT + 6;
        // (room, length, answers, additional, truncated)
        let cases = [
            (4_096, whole + 50, 1, 1, false),
            (whole + 50, whole + 50, 1, 1, false),
            (whole + 49, whole, 1, 1, false),
            (whole, whole, 1, 1, false),
            (whole - 1, without_additional, 1, 0, false),
            (without_additional, without_additional, 1, 0, false),
            (without_additional - 1, without_records, 0, 0, true),
            (without_records, without_records, 0, 0, true),
            (without_records - 1, 0, 0, 0, false),
            (0, 0, 0, 0, false),
        ];
        let answer = Answer::build(&message, facts).unwrap();
        let query = Query::parse(&packet).unwrap();
        for (room, length, answers, additional, truncated) in cases {
            let mut out = vec![0; room];
            let limits = Limits { max_len: 4_096, ..Limits::tcp() };
            assert_eq!(answer.render(&query, 1_000, &limits, &mut out), length, "{room}");
            let mut out = [0; 4_096];
            let limits = Limits { max_len: room, ..limits };
            assert_eq!(answer.render(&query, 1_000, &limits, &mut out), length, "{room}");
            if length > 0 {
                let message = Message::from_vec(&out[..length]).unwrap();
                assert_eq!(message.answers.len(), answers, "{room}");
                assert_eq!(message.additionals.len(), additional, "{room}");
                assert_eq!(message.metadata.truncation, truncated, "{room}");
                assert!(message.edns.is_some(), "{room}");
            }
        }
    }

    #[test]
    fn udp_is_held_to_what_both_sides_take() {
        for (payload, expected) in [(0_u16, 512), (512, 512), (1_000, 1_000), (4_096, 1_232)] {
            let [high, low] = payload.to_be_bytes();
            let opt = [0, 0, 41, high, low, 0, 0, 0, 0, 0, 0];
            let packet = query_for(&samples::address("a.", 1, 1), 0, &opt);
            assert_eq!(Limits::udp(&Query::parse(&packet).unwrap()).max_len, expected);
        }
        let packet = query_for(&samples::address("a.", 1, 1), 0, b"");
        assert_eq!(Limits::udp(&Query::parse(&packet).unwrap()).max_len, 512);
    }

    #[test]
    fn only_whole_answers_are_kept() {
        let good = samples::address("www.example.", 60, 1);
        let change = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        let owner = HEADER + 17;
        let cases = [
            ("empty", vec![], BuildError::Length),
            ("a query", change(2, 0), BuildError::Header),
            ("truncated", change(2, 0x82), BuildError::Header),
            ("a notify", change(2, 0xa0), BuildError::Header),
            ("no question", change(5, 0), BuildError::Question),
            ("a pointer asked for", change(HEADER, 0xc0), BuildError::Question),
            ("one answer less", change(7, 0), BuildError::Length),
            ("one answer more", change(7, 2), BuildError::Name(good.len())),
            ("many answers", change(6, 0xff), BuildError::Records),
            ("a pointer ahead", change(owner + 1, owner as u8), BuildError::Name(owner)),
            ("a pointer to the header", change(owner + 1, 2), BuildError::Name(owner)),
            ("an OPT record", change(owner + 3, 41), BuildError::Meta(41)),
            ("a TSIG record", change(owner + 3, 250), BuildError::Meta(250)),
            ("an odd CNAME", change(owner + 3, 5), BuildError::Name(owner)),
            ("data cut", change(owner + 11, 5), BuildError::Length),
            ("junk", [&good[..], b"x"].concat(), BuildError::Length),
            ("too long", vec![0; 65_536], BuildError::Length),
        ];
        assert!(Answer::build(&good, facts()).is_ok());
        for (what, bytes, error) in cases {
            assert_eq!(Answer::build(&bytes, facts()).err(), Some(error), "{what}");
        }
        for length in 0..good.len() {
            assert!(Answer::build(&good[..length], facts()).is_err(), "{length}");
        }
    }

    #[test]
    fn an_answer_knows_itself() {
        let text = "é".repeat(200);
        let facts = Facts {
            kind: Kind::Negative,
            secure: true,
            authoritative: true,
            extended_error: Some((7, text.into())),
            ..facts()
        };
        let responses = samples::responses();
        let answer = Answer::build(&responses[2], facts.clone()).unwrap();
        let kept = answer.facts();
        assert_eq!(kept.extended_error.as_ref().unwrap().1.len(), MAX_ERROR_TEXT);
        assert_eq!(Facts { extended_error: None, ..kept }, Facts { extended_error: None, ..facts });
        assert_eq!(answer.rcode(), NXDOMAIN);
        assert_eq!(answer.ttl_offsets().count(), 1);
        for (now, freshness) in [
            // The clock was set back by more than a correction.
            (0, Freshness::Stale),
            (995, Freshness::Fresh(305)),
            (1_000, Freshness::Fresh(300)),
            (1_299, Freshness::Fresh(1)),
            (1_300, Freshness::Stale),
            (3_999, Freshness::Stale),
            (4_000, Freshness::Dead),
        ] {
            assert_eq!(answer.freshness(now), freshness);
        }

        let chain = Answer::build(&responses[1], self::facts()).unwrap();
        let wire = |text: &str| text.parse::<name::Name>().unwrap();
        for (name, exact, zone) in [
            ("WWW.example.com", true, true),
            ("example.com", false, true),
            ("b.cdn.example.net", true, true),
            ("example.net", false, true),
            ("example.org", false, false),
            ("ww.example.com", false, false),
            (".", false, true),
        ] {
            assert_eq!(chain.concerns(wire(name).as_wire(), false), exact, "{name}");
            assert_eq!(chain.concerns(wire(name).as_wire(), true), zone, "{name}");
        }
    }

    #[test]
    fn short_answers() {
        let message = samples::address("www.example.", 60, 1);
        let mut out = [0; 600];
        let plain = query_for(&message, 0x0110, b"");
        let plain = Query::parse(&plain).unwrap();
        let with_cookie = query_for(&message, 0x0100, COOKIE_OPT);
        let with_cookie = Query::parse(&with_cookie).unwrap();
        let question = plain.question.len();

        let length = refuse(&plain, 5, Some((15, "blocked")), Some([1; 24]), &mut out);
        assert_eq!(length, HEADER + question);
        assert_eq!(u16_at(&out, 2), Some(0x8195));
        // BADCOOKIE can't be said without an OPT record.
        assert_eq!(refuse(&plain, 23, None, None, &mut out), HEADER + question);
        assert_eq!(u16_at(&out, 2).map(|flags| flags & 0xf), Some(SERVFAIL));

        let length = refuse(&with_cookie, 23, Some((15, "why")), Some([1; 24]), &mut out);
        assert_eq!(length, HEADER + question + OPT + 28 + 9);
        let reply = Message::from_vec(&out[..length]).unwrap();
        assert_eq!(reply.metadata.response_code, ResponseCode::BADCOOKIE);

        let length = truncate(&plain, None, &mut out);
        assert_eq!((length, u16_at(&out, 2)), (HEADER + question, Some(0x8390)));
        let length = minimal_any(&with_cookie, None, &mut out);
        let reply = Message::from_vec(&out[..length]).unwrap();
        assert_eq!(reply.answers[0].record_type(), RecordType::HINFO);
        assert_eq!(
            (reply.answers[0].ttl, reply.answers[0].name.to_string()),
            (3_600, "www.example.".into())
        );
        for room in 0..HEADER + question {
            assert_eq!(refuse(&plain, 5, None, None, &mut out[..room]), 0);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_rendered_within_their_limit(
            control in prop::array::uniform9(any::<u8>()),
            pick in 0_usize..6,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let mut message = samples::responses().swap_remove(pick);
            for (at, byte) in changes {
                let at = at.index(message.len());
                message[at] = byte;
            }
            crate::fuzzing::answer(&[&control[..], &message].concat());
        }

        #[test]
        fn another_decoder_reads_the_same_records(
            control in prop::array::uniform9(any::<u8>()),
            owners in prop::collection::vec(("[a-c]{1,3}(\\.[a-c]{1,3}){0,3}\\.", any::<u32>(), any::<u8>()), 0..20),
            split in any::<(prop::sample::Index, prop::sample::Index)>(),
        ) {
            let mut records: Vec<Record> = owners
                .iter()
                .map(|(owner, ttl, last)| match last % 4 {
                    0 => samples::cname(owner, *ttl, "target.b.c."),
                    1 => samples::soa(owner, *ttl),
                    2 => samples::txt(owner, *ttl, usize::from(*last)),
                    _ => samples::a(owner, *ttl, *last),
                })
                .collect();
            let mut cut = |index: prop::sample::Index| records.split_off(index.index(records.len() + 1));
            let additional = cut(split.0);
            let authorities = cut(split.1);
            let message = samples::response(
                ("a.b.c.", RecordType::A),
                ResponseCode::NoError,
                [records, authorities, additional],
            );
            prop_assert!(Answer::build(&message, facts()).is_ok());
            crate::fuzzing::answer(&[&control[..], &message].concat());
        }
    }
}
