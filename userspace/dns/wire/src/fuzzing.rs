//! What the fuzz targets do with arbitrary bytes: each function panics if a promise is broken.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "panics are its findings"
)]

use std::net::IpAddr;

use hickory_proto::op::Message;
use hickory_proto::rr::Record;
use siphasher::sip::SipHasher24;

use crate::answer::{self, Answer, Facts, Freshness, Kind, Limits, MAX_ERROR_TEXT, STALE_TTL};
use crate::cache::{Cache, Found};
use crate::cookie::{Secrets, Verdict};
use crate::key::Key;
use crate::name::Name;
use crate::octets::u32_at;
use crate::query::{ClientCookie, Query};

/// Bytes before the message that [`answer()`] takes.
pub const ANSWER_CONTROL: usize = 9;

/// A packet from a client: what is read of it is what another decoder reads, and no answer is too long.
pub fn query(packet: &[u8]) {
    let mut out = [0; 1024];
    let query = match Query::parse(packet) {
        Ok(query) => query,
        Err(malformed) => {
            if let Some(length) = malformed.reply(packet, &mut out) {
                assert!(length <= packet.len());
                let reply = Message::from_vec(&out[..length]).expect("a reply that can be decoded");
                assert_eq!(Some(u16::from(reply.metadata.response_code)), malformed.rcode());
                assert!(Query::parse(&out[..length]).is_err_and(|again| again.rcode().is_none()));
            }
            return;
        }
    };
    let name = Name::from_wire(query.name()).expect("a name in wire form");
    assert_eq!(name.to_string().parse::<Name>().unwrap().as_wire(), query.name());
    let key = Key::of(&query);
    assert_eq!(
        Key::new(query.name(), query.qtype, query.qclass, query.dnssec_ok(), query.cd),
        Ok(key)
    );
    assert!(key.is_within(name.as_wire()));

    let text = "ö".repeat(MAX_ERROR_TEXT);
    let cookie = query.cookie().map(|_| [7; 24]);
    let length = answer::refuse(&query, 5, None, None, &mut out);
    assert!((12..=packet.len()).contains(&length));
    for rcode in [2, 5, 23] {
        let length = answer::refuse(&query, rcode, Some((15, &text)), cookie, &mut out);
        assert!((12..=512).contains(&length));
        let reply = Message::from_vec(&out[..length]).expect("a refusal that can be decoded");
        let expected = if rcode > 15 && query.edns.is_none() { 2 } else { rcode };
        assert_eq!(u16::from(reply.metadata.response_code), expected);
    }
    let length = answer::minimal_any(&query, cookie, &mut out);
    assert_eq!(Message::from_vec(&out[..length]).expect("an answer").answers.len(), 1);

    // Hickory looks into the data of options and of unknown records, and refuses more of them.
    let Ok(theirs) = Message::from_vec(packet) else { return };
    assert_eq!(theirs.metadata.id, query.id);
    assert_eq!(theirs.metadata.recursion_desired, query.rd);
    assert_eq!(theirs.metadata.authentic_data, query.ad);
    assert_eq!(theirs.metadata.checking_disabled, query.cd);
    let [question] = &theirs.queries[..] else { panic!("not one question") };
    let labels = name.ancestry().map(|rest| &rest[1..=usize::from(rest[0])]);
    assert!(question.name().iter().chain([&b""[..]]).eq(labels));
    assert_eq!(u16::from(question.query_type()), query.qtype);
    assert_eq!(u16::from(question.query_class()), query.qclass);
    assert_eq!(theirs.edns.is_some(), query.edns.is_some());
    if let (Some(theirs), Some(ours)) = (&theirs.edns, &query.edns) {
        assert_eq!(theirs.max_payload(), ours.udp_payload);
        assert_eq!(theirs.flags().dnssec_ok, ours.dnssec_ok);
        assert_eq!(theirs.version(), ours.version);
    }
}

/// A response to keep, after [`ANSWER_CONTROL`] bytes that say how it is asked for: what is rendered keeps to its
/// limit, and another decoder reads the same records in it, with their times to live aged.
pub fn answer(data: &[u8]) {
    let Some((&[bits, payload_1, payload_2, max_1, max_2, age @ ..], message)) =
        data.split_first_chunk::<ANSWER_CONTROL>()
    else {
        return;
    };
    let bit = |at: u8| bits & 1 << at != 0;
    let born = 1_000;
    let now = born + (u32::from_be_bytes(age) >> 1);
    let facts = Facts {
        kind: Kind::Positive,
        secure: bit(6),
        authoritative: bit(7),
        extended_error: bit(7).then(|| (9, "no key".into())),
        born,
        ttl: 300,
        stale_until: 5_000,
    };
    let Ok(stored) = Answer::build(message, facts.clone()) else { return };
    assert_eq!(stored.facts(), facts);
    assert!(stored.concerns(b"\0", true));
    assert_eq!(Answer::build(stored.message(), facts).unwrap().message(), stored.message());

    // A client that asks the same, loudly.
    let question: Vec<u8> = stored.question().to_vec();
    let (name, kinds) = question.split_at(question.len() - 4);
    let mut packet =
        vec![0xab, 0xcd, 1, if bit(2) { 0x20 } else { 0 } | if bit(3) { 0x10 } else { 0 }];
    packet.extend([0, 1, 0, 0, 0, 0, 0, u8::from(bit(0))]);
    packet.extend(name.to_ascii_uppercase());
    packet.extend(kinds);
    if bit(0) {
        packet.extend([0, 0, 41, payload_1, payload_2, 0, 0, if bit(1) { 0x80 } else { 0 }, 0]);
        packet.extend(if bit(4) { &b"\0\x0c\0\x0a\0\x08abcdefgh"[..] } else { &b"\0\0"[..] });
    }
    let asked = Query::parse(&packet).expect("a query");
    let limits = Limits {
        max_len: usize::from(u16::from_be_bytes([max_1, max_2])),
        cookie: Some([9; 24]),
        stale: bit(5),
    };
    let mut out = vec![0xee; 65_535 + 64];
    let length = stored.render(&asked, now, &limits, &mut out);
    assert!(length <= limits.max_len);
    assert!(out[length.max(limits.max_len)..].iter().all(|&byte| byte == 0xee));
    if length == 0 {
        assert!(limits.max_len < 512);
        return;
    }
    let rendered = &out[..length];
    assert_eq!(&rendered[12..12 + asked.question.len()], asked.question);

    let Ok(original) = Message::from_vec(message) else { return };
    let rendered = Message::from_vec(rendered).expect("an answer that can be decoded");
    let flags = &rendered.metadata;
    assert_eq!((flags.id, flags.recursion_desired), (0xabcd, true));
    assert_eq!(flags.checking_disabled, asked.cd);
    assert_eq!(flags.authentic_data, bit(6) && !bit(3) && (bit(2) || bit(0) && bit(1)));
    assert_eq!(flags.authoritative, bit(7));
    assert_eq!(flags.response_code, original.metadata.response_code);
    assert_eq!(rendered.edns.is_some(), bit(0));
    let aged = |records: &[Record]| {
        let mut records = records.to_vec();
        for record in &mut records {
            record.ttl = match record.ttl {
                0x8000_0000.. => 0,
                ttl if limits.stale => ttl.min(STALE_TTL),
                ttl => ttl.saturating_sub(now - born),
            };
        }
        records
    };
    let same = |ours: &[Record], theirs: &[Record]| {
        let theirs = aged(theirs);
        assert_eq!(ours, theirs);
        assert!(ours.iter().zip(&theirs).all(|(ours, theirs)| ours.ttl == theirs.ttl));
    };
    if flags.truncation {
        assert!(rendered.answers.is_empty() && rendered.authorities.is_empty());
        assert!(rendered.additionals.is_empty());
        return;
    }
    same(&rendered.answers, &original.answers);
    same(&rendered.authorities, &original.authorities);
    if !rendered.additionals.is_empty() {
        same(&rendered.additionals, &original.additionals);
    }
}

/// A file to load a cache from. If its first byte is 1, what follows are payloads with two bytes of length before
/// each, which are made good records, for no mutation finds a checksum.
pub fn cache_file(data: &[u8]) {
    let now = 2_000;
    let limit = 256 * 1024;
    let framed;
    let data = match data.split_first() {
        Some((1, payloads)) => {
            framed = frame(payloads);
            &framed[..]
        }
        _ => data,
    };
    let cache = Cache::new(limit, [1, 2]);
    let loaded = cache.load(data, now, RULES).expect("reading from memory does not fail");
    cache.check();
    let stats = cache.stats();
    assert!(stats.entries <= loaded.entries && stats.bytes <= limit as u64);

    let mut saved = Vec::new();
    let count = cache.save(&mut saved, now, RULES).expect("writing to memory does not fail");
    assert_eq!(count, stats.entries);
    let again = Cache::new(2 * limit, [3, 4]);
    let reloaded = again.load(&saved[..], now, RULES).unwrap();
    assert_eq!((reloaded.entries, reloaded.damaged, reloaded.refused), (count, 0, 0));
    assert_eq!(again.stats().entries, count);

    // What was taken in can be asked for.
    for hot in again.hottest(16) {
        let (name, kinds) = hot.answer.question().split_at(hot.answer.question().len() - 4);
        let cd = if hot.key.checking_disabled() { 0x10 } else { 0 };
        let mut packet = vec![0, 1, 1, cd, 0, 1, 0, 0, 0, 0, 0, u8::from(hot.key.dnssec_ok())];
        packet.extend(name);
        packet.extend(kinds);
        if hot.key.dnssec_ok() {
            packet.extend([0, 0, 41, 4, 0xd0, 0, 0, 0x80, 0, 0, 0]);
        }
        let query = Query::parse(&packet).expect("a query");
        let key = Key::of(&query).in_view(hot.key.view());
        assert_eq!(key, hot.key);
        let mut out = [0; 1232];
        let limits = Limits::udp(&query);
        let found = again.answer(&key, &query, now, &limits, &mut out);
        match hot.answer.freshness(now) {
            Freshness::Fresh(_) => {
                assert!(matches!(found, Found::Fresh { len: 12.., .. }), "{found:?}");
            }
            Freshness::Stale => {
                assert_eq!(found, Found::Stale { failing: false });
                let length = again.answer_stale(&key, &query, now, &limits, &mut out);
                assert!(length.is_some_and(|length| (12..=1232).contains(&length)));
            }
            Freshness::Dead => panic!("a dead answer was loaded"),
        }
    }
    again.check();
}

/// The rules of every file here.
pub(crate) const RULES: &str = "fuzzing";

/// A good file of these payloads.
fn frame(mut payloads: &[u8]) -> Vec<u8> {
    let mut file = b"MURALLAc\0\0\0\x02".to_vec();
    file.extend(SipHasher24::new().hash(RULES.as_bytes()).to_be_bytes());
    while let Some((length, rest)) = payloads.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (payload, rest) = rest.split_at(length);
        file.extend(b"\xfaA\xf5R");
        file.extend((length as u32).to_be_bytes());
        file.extend(SipHasher24::new().hash(payload).to_be_bytes());
        file.extend(payload);
        payloads = rest;
    }
    file
}

/// An input of [`cache_file`] that it makes this saved cache of.
pub fn unframe(file: &[u8]) -> Vec<u8> {
    let mut payloads = vec![1];
    let mut at = 20;
    while let Some(length) = u32_at(file, at + 4) {
        let end = at + 16 + length as usize;
        payloads.extend((length as u16).to_be_bytes());
        payloads.extend(file.get(at + 16..end).unwrap_or_default());
        at = end;
    }
    payloads
}

/// A cookie option's data: it is read as it is, and none is worth anything that was not made here. The same bytes as
/// kept secrets are those secrets or none.
pub fn cookie(data: &[u8]) {
    let now = 1_000_000;
    let address = IpAddr::from([192, 0, 2, 1]);
    let secrets = Secrets::new([1; 16], Some([2; 16]), now);
    if let Some(cookie) = ClientCookie::parse(data) {
        assert_eq!(cookie.client, data[..8]);
        assert_eq!(cookie.server().unwrap_or_default(), &data[8..]);
        assert_eq!(secrets.verify(&cookie, address, now), Verdict::Unproven);
        let made = secrets.make(cookie.client, address, now);
        let made = ClientCookie::parse(&made).expect("a cookie that was made here");
        assert_eq!(secrets.verify(&made, address, now), Verdict::Valid { renew: false });
    }
    if let Some(kept) = Secrets::from_bytes(data) {
        assert_eq!(kept.to_bytes()[..], *data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    /// Mutates seeds, the same way each time.
    struct Mutator {
        state: u64,
        seeds: Vec<Vec<u8>>,
    }

    impl Mutator {
        fn below(&mut self, bound: usize) -> usize {
            // xorshift64 (Marsaglia)
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            (self.state % bound.max(1) as u64) as usize
        }

        fn next(&mut self) -> Vec<u8> {
            let pick = self.below(self.seeds.len());
            let mut bytes = self.seeds[pick].clone();
            for _ in 0..self.below(6) {
                let at = self.below(bytes.len());
                match self.below(7) {
                    0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                    1 if !bytes.is_empty() => bytes[at] = self.below(256) as u8,
                    2 if !bytes.is_empty() => {
                        bytes[at] = [0, 1, 0x3f, 0x40, 0xc0, 0xff][self.below(6)]
                    }
                    3 => bytes.truncate(at),
                    4 => bytes.insert(at, self.below(256) as u8),
                    5 if !bytes.is_empty() => {
                        bytes.remove(at);
                    }
                    _ => {
                        let other = self.below(self.seeds.len());
                        let from = self.below(self.seeds[other].len());
                        let tail = self.seeds[other][from..].to_vec();
                        bytes.truncate(at);
                        bytes.extend(tail);
                    }
                }
            }
            bytes
        }
    }

    fn smoke(seeds: Vec<Vec<u8>>, rounds: usize, target: fn(&[u8])) {
        seeds.iter().for_each(|seed| target(seed));
        let mut mutator = Mutator { state: 0x9e37_79b9_7f4a_7c15, seeds };
        for _ in 0..rounds {
            target(&mutator.next());
        }
    }

    #[test]
    fn queries_withstand_mutation() {
        smoke(samples::queries(), 20_000, query);
        let secrets = Secrets::new([3; 16], Some([4; 16]), 77);
        let made = secrets.make([7; 8], IpAddr::from([192, 0, 2, 1]), 1_000_000).to_vec();
        smoke(vec![(0..40).collect(), made, secrets.to_bytes().to_vec()], 4_000, cookie);
    }

    #[test]
    fn answers_withstand_mutation() {
        let controls =
            [[0; 9], [0xff, 4, 0xd0, 4, 0xd0, 0, 0, 0, 60], [3, 2, 0, 0, 90, 0, 0, 2, 0]];
        let seeds = samples::responses()
            .into_iter()
            .flat_map(|response| controls.map(|control| [&control[..], &response].concat()))
            .collect();
        smoke(seeds, 20_000, answer);
    }

    #[test]
    fn cache_files_withstand_mutation() {
        let file = samples::cache_file();
        assert_eq!(frame(&unframe(&file)[1..]), file);
        smoke(vec![unframe(&file), file, vec![]], 5_000, cache_file);
    }
}
