//! The NIC cache: hot DNS answers that the wall gives itself.
//!
//! Userspace fills it and nothing else does. An answer lies ready in a slot: everything after the question, its
//! checksum, and where its TTLs are. An index of lines says which slot is whose. The program finds the slot
//! ([`find`]), makes room in the packet, copies the slot's bytes behind the question, which stays as it was asked,
//! and turns the headers round ([`dress`]).
//!
//! **Nothing torn.** A slot is written whole before the index names it. One that the index no longer names is left
//! alone for a second before it is written again, which is longer than any run of the program takes; and a run that was
//! held up for longer all the same sees by the slot's stamp that the slot is another's now, and drops its packet.
//!
//! **Nothing stale.** An answer ends with the shortest of its TTLs at the latest, by a clock that program and userspace
//! share, whether or not anybody sweeps; and every slot carries the epoch in which it was true.

use crate::dns::{
    HEADER, OPT, OPT_LEN, PAYLOAD, Question, answer_v4, answer_v6, fold, swap_ethernet,
};
use crate::frame::{Frame, FrameMut, Patch, Window};
use crate::headers::{Fragment, Headers};
use crate::layout::ANSWER_LINES;
use crate::table::{Hash, Key, Line, Lines};
use crate::verifier::hide;

#[cfg(not(target_arch = "bpf"))]
mod build;
#[cfg(not(target_arch = "bpf"))]
pub use build::{Answer, HostSlot, Identity, NotCacheable, Ready, build};

/// Bytes of the longest name that is cached, in wire form.
pub const MAX_NAME: u32 = 127;

/// Most records of one answer.
pub const MAX_RECORDS: u32 = 16;

/// Most bytes of an answer after its question.
pub const MAX_BODY: u32 = BODY_ROOM - OPT_LEN;

/// Words of a slot.
pub const SLOT_WORDS: u32 = slot::BODY + BODY_ROOM / 8;

/// Bytes of a slot's body, with the OPT record that a client with EDNS gets: what a whole datagram has for it, in whole
/// words. Signed denials are the long ones (RFC 5155), and they come to more than half of it.
pub const BODY_ROOM: u32 = (PAYLOAD as u32 - HEADER - SHORTEST_QUESTION) & !7;

/// Bytes of the root's name, type and class.
const SHORTEST_QUESTION: u32 = 5;

/// Words of a name, of which the last is never full.
pub const NAME_WORDS: u32 = MAX_NAME.div_ceil(8);

/// Words of the line that says how the cache as a whole stands.
pub mod state {
    /// The epoch whose answers are given; 0 while there are none.
    pub const LIVE: u32 = 0;
    /// The epoch of what is published now.
    pub const EPOCH: u32 = 1;
    /// The last stamp that was given to a slot.
    pub const STAMP: u32 = 2;
    /// A bit for each type that is cached, by the type's lowest six bits: most other queries need not be looked up.
    pub const TYPES: u32 = 3;
}

/// Words of the index: a fingerprint in the upper half, and the number of a slot below; or zero.
pub mod index {
    /// The bits of the slot's number.
    pub const SLOT: u64 = (1 << 31) - 1;
    /// In the first word of a line: some answer of this line was put into its other one, since this one was full.
    pub const SPILLED: u64 = 1 << 31;
}

/// Words of a slot. Numbers within a word are named from the highest bits down.
pub mod slot {
    /// A number that no other answer has; 0 while the slot is written.
    pub const STAMP: u32 = 0;
    /// The epoch in which the answer is true.
    pub const EPOCH: u32 = 1;
    /// 32 bits: the second in which the TTLs were what the slot says. 32 bits: the first second in which the answer is
    /// no longer given. Both of CLOCK_MONOTONIC.
    pub const TIMES: u32 = 2;
    /// What is asked, but for the name: see [`question_word`](super::question_word).
    pub const QUESTION: u32 = 3;
    /// 16 bits each: flags and response code, records of the three sections.
    pub const HEADER: u32 = 4;
    /// 16 bits each: sum of body and OPT record, sum of the body; both without TTLs and with type and class before
    /// it, as they add up behind a name of this length. Then bytes of the body, then its records.
    pub const SHAPE: u32 = 5;
    /// The name in lower case: see [`Found`](super::Found).
    pub const NAME: u32 = 8;
    /// A word for each record: 16 bits, where in the body its TTL is. 16 bits: 8 if that is an odd place in the
    /// datagram. 32 bits: the TTL.
    pub const TTLS: u32 = NAME + super::NAME_WORDS;
    /// The records, and an OPT record behind them.
    pub const BODY: u32 = TTLS + super::MAX_RECORDS;
}

/// The maps of the cache, and the clock that it shares with userspace.
pub trait Cache {
    /// How state and index are reached.
    type Table: Lines;
    /// How slots are reached.
    type Slot: Slot;

    /// A line of [`state`].
    fn state(&self) -> Self::Table;
    /// The index: see [`index`].
    fn index(&self) -> Self::Table;
    /// The slot of that number.
    fn slot(&self, number: u32) -> Option<Self::Slot>;
    /// Seconds of CLOCK_MONOTONIC.
    fn second(&self) -> u32;
}

/// The words of one slot, which userspace may be writing to.
pub trait Slot: Copy {
    /// What a word holds.
    fn load(self, word: u32) -> u64;
}

/// An answer that was found for a query, and what was learnt of the query in looking for it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Found {
    /// The name asked for in lower case, eight bytes a word and in network byte order. The last word has what is
    /// left of it, at most seven bytes, in its lowest bits.
    name: [u64; NAME_WORDS as usize],
    /// Sum of the name as it was asked, for the checksum.
    name_sum: u64,
    /// The slot's stamp.
    pub stamp: u64,
    /// The slot.
    pub slot: u32,
    /// Seconds since the TTLs were what the slot says.
    age: u32,
    /// Bytes to copy from the slot's body to the end of the question, from 1 to [`BODY_ROOM`].
    pub body: u32,
    /// Bytes of the frame with the query.
    pub asked: u32,
    /// Bytes of the frame with the answer.
    pub answered: u32,
    /// 1 if the answer has an OPT record.
    edns: u32,
}

/// What a query asks, but for its name: type, DNSSEC OK, checking disabled, view and length of the name.
#[inline(always)]
pub const fn question_word(
    qtype: u16,
    dnssec_ok: bool,
    checking_disabled: bool,
    view: u8,
    name_len: u32,
) -> u64 {
    (qtype as u64) << 32
        | (dnssec_ok as u64) << 25
        | (checking_disabled as u64) << 24
        | (view as u64) << 16
        | name_len as u64
}

/// The view that every client has.
const VIEW: u8 = 0;

/// Most bytes of IP header with options or extension headers of a query that is answered.
const MAX_IP_HEADERS: u32 = 128;

/// Header flags (RFC 1035 section 4.1.1, RFC 4035 section 3.2).
mod flag {
    pub(super) const RECURSION_DESIRED: u16 = 0x0100;
    pub(super) const AUTHENTIC_DATA: u16 = 0x0020;
    pub(super) const CHECKING_DISABLED: u16 = 0x0010;
}

/// The DNSSEC OK bit (RFC 3225).
const DNSSEC_OK: u16 = 0x8000;

/// Looks for the answer to a query that [`dns::check`](crate::dns::check) has checked. Tells whether there is one that
/// may be given: then `found` holds it.
#[inline(always)]
pub fn find<C: Cache, K: Key, F: Frame + ?Sized>(
    cache: &C,
    key: &K,
    frame: &F,
    headers: &Headers,
    question: &Question,
    found: &mut Found,
) -> bool {
    look_up(cache, key, frame, headers, question, found).is_some()
}

#[inline(always)]
fn look_up<C: Cache, K: Key, F: Frame + ?Sized>(
    cache: &C,
    key: &K,
    frame: &F,
    headers: &Headers,
    question: &Question,
    found: &mut Found,
) -> Option<()> {
    let state = cache.state().line(0)?;
    let epoch = state.load(state::LIVE);
    if epoch == 0 || state.load(state::TYPES) >> (question.qtype & 63) & 1 == 0 {
        return None;
    }
    let asked = Asked::read(frame, headers, question)?;
    let hash = asked.hash(key, frame)?;
    let index = cache.index();
    let first = index.line(hash.first(ANSWER_LINES - 1))?;
    let wanted = hash.fingerprint();
    let number = match holding(first, wanted) {
        Some(number) => number,
        // Seldom: so most of what isn't there is known not to be after one line.
        None if first.load(0) & index::SPILLED != 0 => {
            holding(index.line(hash.second(ANSWER_LINES - 1))?, wanted)?
        }
        None => return None,
    };
    let slot = cache.slot(number)?;
    found.stamp = slot.load(slot::STAMP);
    let same = found.stamp != 0
        && slot.load(slot::EPOCH) == epoch
        && slot.load(slot::QUESTION) == asked.question;
    if !same {
        return None;
    }
    asked.read_name(frame, found)?;
    if !same_name(found, slot, asked.name_len() / 8) {
        return None;
    }
    let times = slot.load(slot::TIMES);
    let (born, expires, now) = ((times >> 32) as u32, times as u32, cache.second());
    if now >= expires {
        return None;
    }
    // A clock that is read in steps may be behind the one that userspace read.
    found.age = now.saturating_sub(born);
    let body = (slot.load(slot::SHAPE) >> 16) as u16;
    found.edns = asked.offer >> 16 & 1;
    found.body = u32::from(body) + found.edns * OPT_LEN;
    found.slot = number;
    found.answered = question.end + found.body;
    let message = found.answered + HEADER - asked.name;
    if body == 0 || found.body > BODY_ROOM || message > asked.offer & 0xffff {
        return None;
    }
    found.asked = frame.whole()?;
    Some(())
}

/// The slot's number in a line's word with that fingerprint.
#[inline(always)]
fn holding<L: Line>(line: L, fingerprint: u64) -> Option<u32> {
    let mut slot = 0;
    while slot < crate::table::SLOTS {
        let word = line.load(slot);
        if word >> 32 == fingerprint {
            return Some(hide((word & index::SLOT) as u32, word));
        }
        slot += 1;
    }
    None
}

/// Whether the name that was asked is the slot's; `last` is the number of its last word.
#[inline(always)]
fn same_name<S: Slot>(found: &Found, slot: S, last: u32) -> bool {
    let mut differ = 0;
    for (number, asked) in (0..NAME_WORDS).zip(&found.name) {
        if number > last {
            break;
        }
        differ |= asked ^ slot.load(slot::NAME + number);
    }
    differ == 0
}

/// A query that an answer may be looked up for. In few words, since the stack is short.
struct Asked {
    /// Where the name begins, from the frame's start.
    name: u32,
    /// 1 above 16 bits if the client speaks EDNS; below, most bytes of the answer's message.
    offer: u32,
    /// The question, but for the name.
    question: u64,
}

impl Asked {
    /// The query, if it is one of the plain kind: all else is userspace's business.
    #[inline(always)]
    fn read<F: Frame + ?Sized>(frame: &F, headers: &Headers, question: &Question) -> Option<Self> {
        /// Largest message for a client without EDNS (RFC 1035 section 4.2.1).
        const PLAIN: u16 = 512;
        let (l3, l4) = (u32::from(headers.l3), u32::from(headers.l4));
        let dns = l4 + 8;
        let end = l4 + u32::from(headers.l4_len);
        if headers.fragment != Fragment::Whole as u8
            || end != u32::from(headers.end)
            || l4.wrapping_sub(l3) > MAX_IP_HEADERS
        {
            return None;
        }
        // Recursion desired; a query has no other flags but these two.
        let flags = question.flags & !(flag::AUTHENTIC_DATA | flag::CHECKING_DISABLED);
        let name_len = question.end.wrapping_sub(4 + dns + HEADER);
        if flags != flag::RECURSION_DESIRED
            || question.class != 1
            || name_len > MAX_NAME
            || name_len == 0
        {
            return None;
        }
        let (edns, dnssec_ok, room) = match question.additional {
            0 if question.end == end => (false, false, PLAIN),
            1 if question.end + OPT_LEN == end => {
                let opt = frame.window(question.end, OPT_LEN)?;
                let flags = opt.u16(7);
                // Version 0, no bits but DNSSEC OK, no options.
                let plain = opt.u8(0) == 0
                    && opt.u16(1) == OPT
                    && opt.u16(5) == 0
                    && flags & !DNSSEC_OK == 0
                    && opt.u16(9) == 0;
                if !plain {
                    return None;
                }
                // Smaller sizes mean 512 (RFC 6891 section 6.2.3).
                (true, flags != 0, opt.u16(3).clamp(PLAIN, PAYLOAD))
            }
            _ => return None,
        };
        // Which of these ways it came makes no difference to what follows.
        let offer = hide(u32::from(edns) << 16 | u32::from(room), question.id.into());
        // What the compiler knows of it the verifier may have forgotten where it is used: both are to look again.
        let name_len = hide(name_len, question.id.into());
        let checking_disabled = question.flags & flag::CHECKING_DISABLED != 0;
        let question = question_word(question.qtype, dnssec_ok, checking_disabled, VIEW, name_len);
        Some(Self { name: dns + HEADER, offer, question })
    }

    /// Bytes of the name, from 1 to [`MAX_NAME`].
    #[inline(always)]
    const fn name_len(&self) -> u32 {
        self.question as u32 & MAX_NAME
    }

    /// The hash of the whole question. Most queries are looked up in vain, so this does no more than that needs.
    #[inline(always)]
    fn hash<K: Key, F: Frame + ?Sized>(&self, key: &K, frame: &F) -> Option<Hash> {
        let mut mixer = Mixer::new(key, self.question);
        let mut at = 0;
        for _ in 1..NAME_WORDS {
            if at + 8 > self.name_len() {
                break;
            }
            mixer.mix(alike(frame.window(self.name + at, 8)?.u64(0)));
            at += 8;
        }
        mixer.mix(alike(self.rest(frame)?));
        Some(mixer.finish(key))
    }

    /// Reads the name into `found`.
    #[inline(always)]
    fn read_name<F: Frame + ?Sized>(&self, frame: &F, found: &mut Found) -> Option<()> {
        let mut sum = 0;
        let mut at = 0;
        for word in found.name.iter_mut().take(NAME_WORDS as usize - 1) {
            if at + 8 > self.name_len() {
                break;
            }
            let bytes = frame.window(self.name + at, 8)?.u64(0);
            sum += halves(bytes);
            *word = lower(bytes);
            at += 8;
        }
        let rest = self.rest(frame)?;
        // In the datagram, these bytes are the first of a word.
        sum += halves(rest << 8 << ((7 - (self.name_len() & 7)) * 8));
        *found.name.get_mut((self.name_len() / 8) as usize)? = lower(rest);
        found.name_sum = sum;
        Some(())
    }

    /// What is left of the name after its whole words.
    #[inline(always)]
    fn rest<F: Frame + ?Sized>(&self, frame: &F) -> Option<u64> {
        // The name's last eight bytes, some of which may be the header's: never beyond its end, where the frame may end.
        let end = frame.window(self.name + self.name_len() - 8, 8)?.u64(0);
        Some(end & ((1 << ((self.name_len() & 7) * 8)) - 1))
    }
}

/// Both halves of a word, for a checksum.
#[inline(always)]
const fn halves(word: u64) -> u64 {
    (word >> 32) + (word & 0xffff_ffff)
}

/// Eight bytes with letters in lower case. (Warren, "Hacker's Delight", section 2-18, on bytes in a word.)
#[inline(always)]
const fn lower(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const TOP: u64 = 0x80 * EACH;
    let low = word & !TOP;
    let from_a = low + (0x80 - b'A' as u64) * EACH;
    let beyond_z = low + (0x7f - b'Z' as u64) * EACH;
    let capital = (from_a ^ beyond_z) & TOP & !word;
    word | capital >> 2
}

/// Eight bytes, the same for letters of either case. Cheaper than [`lower`], and enough to find what is then compared:
/// some other bytes from 0x40 on become alike, too, those of digits, hyphens and lengths don't.
#[inline(always)]
const fn alike(word: u64) -> u64 {
    word | (word & 0x4040_4040_4040_4040) >> 1
}

/// The hash of a question. Keyed, so that nobody outside can choose names that share lines.
struct Mixer {
    hash: u64,
    factor: u64,
}

impl Mixer {
    #[inline(always)]
    fn new<K: Key>(key: &K, question: u64) -> Self {
        let mut mixer = Self { hash: key.seed(0), factor: key.seed(1) | 1 };
        mixer.mix(question);
        mixer
    }

    #[inline(always)]
    fn mix(&mut self, word: u64) {
        let product = (self.hash ^ word).wrapping_mul(self.factor);
        self.hash = product ^ product >> 32;
    }

    #[inline(always)]
    fn finish<K: Key>(&self, key: &K) -> Hash {
        Hash(
            self.hash.wrapping_mul(key.seed(2) | 1).wrapping_add(key.seed(4)),
            self.hash.wrapping_mul(key.seed(3) | 1).wrapping_add(key.seed(5)),
        )
    }
}

/// Turns a query into its answer: the frame is as long as the answer already ([`Found::answered`]) and the slot's
/// bytes are behind the question ([`Found::body`]). Ages the TTLs and computes the checksums; letter case, id and what
/// is in between stay. None if the frame is shorter; it is then half changed and must not leave.
#[inline(always)]
pub fn dress<S: Slot, F: FrameMut + ?Sized>(
    frame: &mut F,
    headers: &Headers,
    question: &Question,
    found: &Found,
    slot: S,
) -> Option<()> {
    let (l3, l4) = (u32::from(headers.l3), u32::from(headers.l4));
    let udp_len = found.answered - l4;
    swap_ethernet(frame)?;
    let addresses = if headers.v6 == 0 {
        answer_v4(frame, l3, (found.answered - l3) as u16)?
    } else {
        answer_v6(frame, l3, (found.answered - l3 - 40) as u16)?
    };

    let shape = slot.load(slot::SHAPE);
    let body_sum = if found.edns != 0 { shape >> 48 } else { shape >> 32 & 0xffff };
    let mut sum = addresses + found.name_sum + body_sum;
    let mut record = 0;
    while record < MAX_RECORDS {
        if record >= shape as u32 & 0xffff {
            break;
        }
        let entry = slot.load(slot::TTLS + record);
        let ttl = (entry as u32).saturating_sub(found.age);
        frame.put_u32(question.end + (entry >> 48) as u32, ttl)?;
        sum += u64::from(ttl) << (entry >> 32 & 8);
        record += 1;
    }

    let asked = frame.window(l4, 8 + HEADER)?;
    let (sport, dport) = (asked.u16(0), asked.u16(2));
    let (id, asked_flags) = (asked.u16(8), asked.u16(10));
    let header = slot.load(slot::HEADER);
    // Authentic data is for those who can make use of it (RFC 6840 section 5.8): DNSSEC OK says so as well.
    let dnssec_ok = slot.load(slot::QUESTION) >> 25 & 1 != 0;
    let hidden = if dnssec_ok { 0 } else { !asked_flags & flag::AUTHENTIC_DATA };
    let flags = (header >> 48) as u16 & !hidden;
    let (answers, authorities) = ((header >> 32) as u16, (header >> 16) as u16);
    let additional = header as u16 + found.edns as u16;
    for part in [sport, dport, id, flags, 1, answers, authorities, additional, 17] {
        sum += u64::from(part);
    }
    // Once for the pseudo header, once for the datagram's own.
    sum += 2 * u64::from(udp_len);
    let checksum = !fold(sum);
    frame
        .patch(l4, 8 + HEADER)?
        .put_u16(0, dport)
        .put_u16(2, sport)
        .put_u16(4, udp_len as u16)
        .put_u16(6, if checksum == 0 { 0xffff } else { checksum })
        .put_u16(10, flags)
        .put_u16(14, answers)
        .put_u16(16, authorities)
        .put_u16(18, additional);
    Some(())
}

#[cfg(test)]
mod tests;
