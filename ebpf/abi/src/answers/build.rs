//! A DNS message made ready for a slot.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use super::{
    BODY_ROOM, MAX_BODY, MAX_NAME, MAX_RECORDS, Mixer, NAME_WORDS, SLOT_WORDS, Slot, alike, flag,
    lower, question_word, slot,
};
use crate::dns::{HEADER, OPT, OPT_LEN, PAYLOAD, QR, fold};
use crate::table::{Hash, Key};

/// An answer to be given again.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The name asked for, in wire form and any letter case.
    pub name: &'a [u8],
    /// The type asked for.
    pub qtype: u16,
    /// Whether it is for queries with DNSSEC OK.
    pub dnssec_ok: bool,
    /// Whether it is for queries with checking disabled.
    pub checking_disabled: bool,
    /// Which view it is for.
    pub view: u8,
    /// The complete response without OPT record. TTLs are those of now.
    pub message: &'a [u8],
}

/// Why an answer stays with userspace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NotCacheable {
    /// The name is longer than [`MAX_NAME`], or no uncompressed name.
    Name,
    /// The message is no response to that question, or one whose flags or response code are not for everybody.
    Response,
    /// The message doesn't parse, has bytes behind it, or records that belong to one exchange.
    Message,
    /// More than [`MAX_BODY`] bytes after the question.
    Long,
    /// More than [`MAX_RECORDS`] records.
    Records,
    /// No record, or one that may not be kept for a second.
    Short,
}

impl fmt::Display for NotCacheable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Name => "the name is too long for the NIC cache, or malformed",
            Self::Response => "not a plain response to that question",
            Self::Message => "the response does not parse, or has records of one exchange alone",
            Self::Long => "the answer is too long for the NIC cache",
            Self::Records => "the answer has too many records for the NIC cache",
            Self::Short => "nothing in the answer may be kept for a second",
        })
    }
}

impl core::error::Error for NotCacheable {}

/// What an answer is found by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Identity {
    question: u64,
    name: [u64; NAME_WORDS as usize],
}

impl Identity {
    /// The identity of what an answer answers; none if the name is too long or malformed.
    pub fn of(answer: &Answer<'_>) -> Option<Self> {
        let Answer { name, qtype, dnssec_ok, checking_disabled, view, message: _ } = *answer;
        if name.len() > MAX_NAME as usize || name_end(name, 0)? != name.len() {
            return None;
        }
        let mut words = [0; NAME_WORDS as usize];
        for (word, bytes) in words.iter_mut().zip(name.chunks(8)) {
            *word = lower(bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        }
        let len = name.len() as u32;
        let question = question_word(qtype, dnssec_ok, checking_disabled, view, len);
        Some(Self { question, name: words })
    }

    /// Its hash, of which [`Hash::first`] and [`Hash::second`] are its two lines of the index.
    pub fn hash<K: Key>(&self, key: &K) -> Hash {
        let mut mixer = Mixer::new(key, self.question);
        for word in self.name.iter().take((self.question as u8 / 8) as usize + 1) {
            mixer.mix(alike(*word));
        }
        mixer.finish(key)
    }
}

/// A slot as it is to be written.
#[derive(Clone, Debug)]
pub struct Ready {
    /// Its words; stamp, epoch and times are zero still.
    pub words: [u64; SLOT_WORDS as usize],
    /// Seconds for which the answer may be given: the shortest TTL.
    pub lifetime: u32,
}

impl Ready {
    /// Sets what a slot has of its own: a `stamp` that no other answer has, the `epoch` of the cache, and the seconds
    /// of CLOCK_MONOTONIC from which on its TTLs count and it is no longer given.
    pub fn stamped(
        &self,
        stamp: u64,
        epoch: u64,
        born: u32,
        expires: u32,
    ) -> [u64; SLOT_WORDS as usize] {
        let mut words = self.words;
        let own = [stamp, epoch, u64::from(born) << 32 | u64::from(expires)];
        for (word, own) in words.iter_mut().zip(own) {
            *word = own;
        }
        words
    }
}

/// Makes an answer ready for a slot.
pub fn build(answer: &Answer<'_>) -> Result<Ready, NotCacheable> {
    let identity = Identity::of(answer).ok_or(NotCacheable::Name)?;
    let (message, name_len) = (answer.message, answer.name.len());
    let start = HEADER as usize + name_len + 4;
    let header: &[u8; HEADER as usize] = message.first_chunk().ok_or(NotCacheable::Message)?;
    let [_, _, flags_hi, flags_lo, questions_hi, questions_lo, counts @ ..] = *header;
    let flags = u16::from_be_bytes([flags_hi, flags_lo]);
    let question = message.get(HEADER as usize..start).ok_or(NotCacheable::Message)?;
    let (name, fixed) = question.split_at_checked(name_len).ok_or(NotCacheable::Message)?;
    // A whole response to a standard query, with an answer or with proof that there is none; the bit that must be zero is.
    let plain = flags & (QR | 0x7a40) == QR && matches!(flags & 15, 0 | 3);
    let [type_hi, type_lo] = answer.qtype.to_be_bytes();
    let same = [questions_hi, questions_lo] == [0, 1]
        && name.eq_ignore_ascii_case(answer.name)
        && fixed == [type_hi, type_lo, 0, 1];
    if !plain || !same {
        return Err(NotCacheable::Response);
    }
    let body = message.get(start..).ok_or(NotCacheable::Message)?;
    if body.len() > MAX_BODY as usize {
        return Err(NotCacheable::Long);
    }
    let [answers, authorities, additional] = sections(counts);
    let records = u32::from(answers) + u32::from(authorities) + u32::from(additional);
    if records > MAX_RECORDS {
        return Err(NotCacheable::Records);
    }

    let mut words = [0; SLOT_WORDS as usize];
    let mut lifetime = u32::MAX;
    let mut at = start;
    let mut room = [0; BODY_ROOM as usize];
    for (to, from) in room.iter_mut().zip(body) {
        *to = *from;
    }
    for number in 0..records {
        let record = Record::read(message, at).ok_or(NotCacheable::Message)?;
        if record.of_one_exchange() {
            return Err(NotCacheable::Message);
        }
        // Numbers beyond 31 bits mean zero (RFC 2181 section 8).
        if record.ttl > i32::MAX as u32 {
            return Err(NotCacheable::Short);
        }
        lifetime = lifetime.min(record.ttl);
        let place = record.ttl_at - start;
        let odd = (record.ttl_at & 1) as u64;
        let entry = (place as u64) << 48 | odd << 35 | u64::from(record.ttl);
        set(&mut words, slot::TTLS + number, entry);
        if let Some(ttl) = room.get_mut(place..place + 4) {
            ttl.fill(0);
        }
        at = record.end;
    }
    if at != message.len() {
        return Err(NotCacheable::Message);
    }
    if records == 0 || lifetime == 0 {
        return Err(NotCacheable::Short);
    }

    let end = body.len();
    let opt = opt_record(answer.dnssec_ok);
    if let Some(to) = room.get_mut(end..end + opt.len()) {
        to.copy_from_slice(&opt);
    }
    let before = sum(fixed, name_len);
    let bare = before + sum(room.get(..end).unwrap_or_default(), start);
    let with_opt = bare + sum(&opt, start + end);
    let shape = u64::from(fold(with_opt)) << 48
        | u64::from(fold(bare)) << 32
        | (end as u64) << 16
        | u64::from(records);
    // As the answer has them: recursion was desired, and is available if the message says so.
    let checking = if answer.checking_disabled { flag::CHECKING_DISABLED } else { 0 };
    let flags = flags & !flag::CHECKING_DISABLED | flag::RECURSION_DESIRED | checking;
    let counts = [flags, answers, authorities, additional];
    set(
        &mut words,
        slot::HEADER,
        counts.iter().fold(0, |word, count| word << 16 | u64::from(*count)),
    );
    set(&mut words, slot::SHAPE, shape);
    set(&mut words, slot::QUESTION, identity.question);
    for (number, word) in (slot::NAME..).zip(identity.name) {
        set(&mut words, number, word);
    }
    let (chunks, _) = room.as_chunks();
    for (number, bytes) in (slot::BODY..).zip(chunks) {
        // Copied to packets as it lies in memory.
        set(&mut words, number, u64::from_ne_bytes(*bytes));
    }
    Ok(Ready { words, lifetime })
}

fn set(words: &mut [u64], number: u32, value: u64) {
    if let Some(word) = words.get_mut(number as usize) {
        *word = value;
    }
}

fn sections(counts: [u8; 6]) -> [u16; 3] {
    let [a, b, c, d, e, f] = counts;
    [[a, b], [c, d], [e, f]].map(u16::from_be_bytes)
}

/// An OPT record without options (RFC 6891 section 6.1.2).
fn opt_record(dnssec_ok: bool) -> [u8; OPT_LEN as usize] {
    let ([kind_hi, kind_lo], [size_hi, size_lo]) = (OPT.to_be_bytes(), PAYLOAD.to_be_bytes());
    let dnssec_ok = u8::from(dnssec_ok) << 7;
    [0, kind_hi, kind_lo, size_hi, size_lo, 0, 0, dnssec_ok, 0, 0, 0]
}

/// The sum of bytes that begin at such an offset of the datagram (RFC 1071).
fn sum(bytes: &[u8], offset: usize) -> u64 {
    let place = |at: usize| if at & 1 == 0 { 8 } else { 0 };
    (offset..).zip(bytes).map(|(at, byte)| u64::from(*byte) << place(at)).sum()
}

/// A resource record, as far as it matters here.
struct Record {
    kind: u16,
    /// The type that a signature covers; zero is for a whole message.
    covered: u16,
    ttl: u32,
    ttl_at: usize,
    end: usize,
}

impl Record {
    fn read(message: &[u8], at: usize) -> Option<Self> {
        let fixed_at = name_end(message, at)?;
        let fixed: &[u8; 10] = message.get(fixed_at..)?.first_chunk()?;
        let [kind_hi, kind_lo, class_hi, class_lo, ttl @ .., len_hi, len_lo] = *fixed;
        let (kind, class) =
            (u16::from_be_bytes([kind_hi, kind_lo]), u16::from_be_bytes([class_hi, class_lo]));
        let data = fixed_at + 10;
        let end = data + usize::from(u16::from_be_bytes([len_hi, len_lo]));
        let data = message.get(data..end)?;
        let covered = data.first_chunk().map_or(0, |covered| u16::from_be_bytes(*covered));
        (class == 1).then_some(Self {
            kind,
            covered,
            ttl: u32::from_be_bytes(ttl),
            ttl_at: fixed_at + 4,
            end,
        })
    }

    /// OPT, TSIG, TKEY and SIG(0): nothing for anybody else.
    fn of_one_exchange(&self) -> bool {
        const SIG: u16 = 24;
        const TKEY: u16 = 249;
        const TSIG: u16 = 250;
        matches!(self.kind, OPT | TKEY | TSIG) || self.kind == SIG && self.covered == 0
    }
}

/// Where the name that begins at `at` ends. A pointer leads back, behind the header (RFC 1035 section 4.1.4).
fn name_end(message: &[u8], at: usize) -> Option<usize> {
    let mut here = at;
    loop {
        match *message.get(here)? {
            0 => return (here + 1 - at <= 255).then_some(here + 1),
            length @ 1..=63 => here += 1 + usize::from(length),
            high @ 0xc0.. => {
                let to = usize::from(high & 0x3f) << 8 | usize::from(*message.get(here + 1)?);
                return (to >= HEADER as usize && to < at).then_some(here + 2);
            }
            _ => return None,
        }
    }
}

/// A slot in ordinary memory.
#[derive(Clone, Copy, Debug)]
pub struct HostSlot<'a>(pub &'a [AtomicU64]);

impl HostSlot<'_> {
    /// The bytes that are copied behind a question, [`Found::body`](super::Found::body) of them.
    pub fn body(self) -> [u8; BODY_ROOM as usize] {
        let mut bytes = [0; BODY_ROOM as usize];
        let (chunks, _) = bytes.as_chunks_mut();
        for (number, chunk) in (slot::BODY..).zip(chunks) {
            *chunk = self.load(number).to_ne_bytes();
        }
        bytes
    }
}

impl Slot for HostSlot<'_> {
    fn load(self, word: u32) -> u64 {
        self.0.get(word as usize).map_or(0, |word| word.load(Ordering::Relaxed))
    }
}
