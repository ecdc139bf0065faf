//! What the fuzz targets do with arbitrary bytes: each function panics if a promise is broken.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "panics are its findings"
)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use radius::core::packet::Packet as Theirs;

use crate::hidden::{self, LONGEST_PASSWORD, LONGEST_SALTED};
use crate::method::{chap, mschap, mschap2};
use crate::{
    Attributes, Code, HEADER, Identity, LONGEST, MOST_ATTRIBUTES, Malformed, Packet, ReplyCache,
    Requirement, Secret, Seen, Target, Writer, verify_reply, verify_request,
};

/// The secret that requests would have to be made with.
const SECRET: &[u8] = b"xyzzy5461";

/// A datagram: it is read as another decoder reads it, nobody takes it for proven who should not, and it is answered
/// in a way that the sender accepts.
pub fn packet(datagram: &[u8]) {
    let theirs = Theirs::decode(datagram, SECRET);
    let packet = match Packet::parse(datagram) {
        Ok(packet) => packet,
        Err(malformed) => {
            assert!(theirs.is_err() || malformed == Malformed::TooManyAttributes, "{malformed}");
            return;
        }
    };
    let theirs = theirs.expect("a packet that both can read");
    assert!(datagram.starts_with(packet.bytes()));
    assert!((HEADER..=LONGEST).contains(&packet.bytes().len()));
    assert_eq!(theirs.get_identifier(), packet.id());
    assert_eq!(theirs.get_authenticator()[..], packet.authenticator()[..]);

    let mut at = HEADER;
    let mut count = 0;
    for one in packet.attributes() {
        assert_eq!((one.at, packet.bytes()[one.at]), (at, one.kind));
        at += 2 + one.value.len();
        count += 1;
        assert!(packet.has(one.kind));
    }
    assert_eq!(at, packet.bytes().len());
    assert!(count <= MOST_ATTRIBUTES);
    for kind in 0..=u8::MAX {
        let theirs: Vec<_> = theirs.lookup_all(kind).iter().map(|one| one.encode_bytes()).collect();
        assert!(packet.all(kind).eq(theirs.iter().map(|value| &value[..])));
    }
    for one in packet.vendor_attributes() {
        assert!(packet.vendor(one.vendor, one.kind).is_some());
    }
    let mut out = [0; LONGEST];
    for one in packet.extended() {
        assert_eq!(
            one.value.copy_to(&mut out).expect("no more than the packet").len(),
            one.value.len()
        );
        Attributes::of(one.value.whole().unwrap_or_default()).for_each(drop);
    }

    let secret = Secret::new(SECRET).unwrap();
    let secrets = [secret.clone(), Secret::new("another").unwrap()];
    let proven = verify_request(&packet, &secrets, Requirement::Required);
    let lenient = verify_request(&packet, &secrets, Requirement::IfPresent);
    if let Ok(index) = proven {
        assert_eq!(lenient, proven);
        let random = [Code::ACCESS_REQUEST, Code::STATUS_SERVER].contains(&packet.code());
        let authentic = Theirs::is_authentic_request(packet.bytes(), secrets[index].as_bytes());
        assert!(random || authentic);
    }
    let _ = verify_reply(&packet, &[0; 16], &secret, false);
    let _ = chap::Attempt::of(&packet).map(|attempt| attempt.map(|one| one.verify(b"secret")));
    let hash = [7; 16];
    let _ = mschap::Attempt::of(&packet).map(|attempt| attempt.map(|one| one.verify(&hash)));
    let _ = mschap2::Attempt::of(&packet).map(|attempt| attempt.map(|one| one.verify(&hash, b"u")));

    let mut buffer = [0; LONGEST];
    let mut writer = Writer::reply(&mut buffer, Code::ACCESS_ACCEPT, &packet, &secret);
    writer.append(packet.attribute_bytes());
    writer.copy_proxy_state(&packet);
    let Ok(length) = writer.finish() else { return };
    match Packet::parse(&buffer[..length]) {
        Ok(reply) => {
            let verified = verify_reply(&reply, packet.authenticator(), &secret, false);
            assert_eq!(verified, Ok(()));
            let theirs = Theirs::is_authentic_response(reply.bytes(), packet.bytes(), SECRET);
            assert!(theirs);
        }
        Err(malformed) => assert_eq!(malformed, Malformed::TooManyAttributes),
    }
}

/// A hidden value behind an authenticator: it is revealed or refused, and hiding it again gives the same.
pub fn hidden(data: &[u8]) {
    let Some((authenticator, value)) = data.split_first_chunk::<16>() else { return };
    let secret = Secret::new(SECRET).unwrap();
    let mut out = [0; LONGEST_PASSWORD];
    if let Some(plain) = hidden::password(value, &secret, authenticator, &mut out) {
        assert!(plain.len() <= value.len());
        let mut again = vec![0; value.len()];
        hidden::hide_password(plain, &secret, authenticator, &mut again);
        assert_eq!(again, value);
    } else {
        assert!(value.is_empty() || value.len() % 16 != 0 || value.len() > LONGEST_PASSWORD);
    }
    let mut out = [0; LONGEST_SALTED];
    if let Some(plain) = hidden::salted(value, &secret, authenticator, &mut out) {
        let salt = [value[0], value[1]];
        let mut buffer = [0; LONGEST];
        let mut writer = Writer::unsigned_request(&mut buffer, 1, *authenticator, &secret);
        writer.push_salted(Target::microsoft(16), salt, plain);
        let length = writer.finish().unwrap();
        let packet = Packet::parse(&buffer[..length]).unwrap();
        let again = packet.vendor(311, 16).unwrap();
        let mut out = [0; LONGEST_SALTED];
        assert_eq!(hidden::salted(again, &secret, authenticator, &mut out), Some(plain));
    }
}

/// Steps of four bytes: a cache that is asked and told things never gives a reply that is not the last one to the
/// very same request, nor one that is too old.
pub fn reply_cache(data: &[u8]) {
    let life = Duration::from_secs(2);
    let mut cache = ReplyCache::new(0, life);
    let bytes = cache.bytes();
    let mut now = Instant::now();
    let mut last = HashMap::new();
    for (number, step) in (0_u32..).zip(data.as_chunks::<4>().0) {
        let [what, port, id, more] = *step;
        let identity = Identity {
            source: SocketAddr::from(([192, 0, 2, 1], u16::from(port))),
            code: Code(1 + (what >> 6)),
            id: id % 16,
            authenticator: [more % 4; 16],
        };
        match what % 4 {
            0 => match cache.begin(identity, now) {
                Seen::Answered(reply) => {
                    let (last, since): &(Vec<u8>, Instant) = &last[&identity];
                    assert_eq!(reply, last);
                    assert!(now < *since + life);
                }
                Seen::New | Seen::UnderWay => {}
            },
            1 => {
                let length = 4 + 16 * usize::from(more);
                let reply: Vec<_> = number.to_be_bytes().into_iter().cycle().take(length).collect();
                cache.answered(identity, &reply, now);
                last.insert(identity, (reply, now));
            }
            2 => cache.forget(identity),
            _ => now += Duration::from_millis(u64::from(more)),
        }
        assert_eq!(cache.bytes(), bytes);
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
                match self.below(6) {
                    0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                    1 if !bytes.is_empty() => bytes[at] = self.below(256) as u8,
                    2 if !bytes.is_empty() => bytes[at] = [0, 1, 2, 26, 80, 255][self.below(6)],
                    3 => bytes.truncate(at),
                    4 => bytes.insert(at, self.below(256) as u8),
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

    fn smoke(seeds: Vec<Vec<u8>>, rounds: usize, mend: fn(&mut [u8]), target: fn(&[u8])) {
        seeds.iter().for_each(|seed| target(seed));
        let mut mutator = Mutator { state: 0x9e37_79b9_7f4a_7c15, seeds };
        for round in 0..rounds {
            let mut bytes = mutator.next();
            if round % 2 == 0 {
                mend(&mut bytes);
            }
            target(&bytes);
        }
    }

    /// Most mutations would end at a Length that lies.
    fn mend_length(bytes: &mut [u8]) {
        let length = bytes.len() as u16;
        if let Some(at) = bytes.get_mut(2..4) {
            at.copy_from_slice(&length.to_be_bytes());
        }
    }

    #[test]
    fn packets_withstand_mutation() {
        let mut seeds = samples::requests();
        seeds.extend([samples::nemo(), samples::nemo_accepted(), samples::flopsy()]);
        seeds.extend(samples::mopsy());
        seeds.extend(samples::status().map(|(request, _)| request));
        let vendors = [
            &samples::nemo()[..],
            &[26, 18, 0, 0, 1, 55, 16, 4, 1, 2, 17, 8, 1, 2, 3, 4, 5, 6],
            &[245, 7, 1, 0x80, 1, 2, 3, 245, 5, 1, 0, 4, 241, 4, 1, 9],
        ];
        seeds.push(vendors.concat());
        mend_length(seeds.last_mut().unwrap());
        smoke(seeds, 20_000, mend_length, packet);
    }

    #[test]
    fn hidden_values_withstand_mutation() {
        let seeds = [16, 32, 34, 50, 144, 258, 242].map(|length| vec![0x5a; 16 + length]).to_vec();
        smoke(seeds, 5_000, |_| {}, hidden);
    }

    #[test]
    fn caches_withstand_mutation() {
        let mut mutator = Mutator { state: 7, seeds: vec![] };
        let seeds = (0..8)
            .map(|_| (0..4_000).map(|_| mutator.below(256) as u8).collect::<Vec<u8>>())
            .collect();
        smoke(seeds, 200, |_| {}, reply_cache);
    }
}
