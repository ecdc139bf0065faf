use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const LIFE: Duration = Duration::from_secs(5);

fn identity(port: u16, id: u8, authenticator: u8) -> Identity {
    Identity {
        source: SocketAddr::from(([192, 0, 2, 1], port)),
        code: Code::ACCESS_REQUEST,
        id,
        authenticator: [authenticator; 16],
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

#[test]
fn a_retransmission_gets_the_same_reply() {
    let (mut cache, start) = (ReplyCache::new(0, LIFE), Instant::now());
    let asked = identity(1, 1, 1);
    assert_eq!(cache.begin(asked, start), Seen::New);
    assert_eq!(cache.begin(asked, start), Seen::UnderWay);
    cache.answered(asked, b"reply", start + seconds(1.0));
    for _ in 0..3 {
        assert_eq!(cache.begin(asked, start + seconds(5.9)), Seen::Answered(b"reply"));
    }
    // Five seconds since the answer.
    assert_eq!(cache.begin(asked, start + seconds(6.0)), Seen::New);
    assert_eq!((cache.len(), cache.lost()), (1, 0));
}

#[test]
fn all_of_the_identity_counts() {
    let now = Instant::now();
    let asked = identity(1, 1, 1);
    let others = [
        identity(2, 1, 1),
        identity(1, 2, 1),
        identity(1, 1, 2),
        Identity { code: Code::STATUS_SERVER, ..asked },
        Identity { source: "[2001:db8::1]:1".parse().unwrap(), ..asked },
        Identity { source: "192.0.2.2:1".parse().unwrap(), ..asked },
    ];
    for other in others {
        let mut cache = ReplyCache::new(0, LIFE);
        cache.begin(asked, now);
        cache.answered(asked, b"reply", now);
        assert_eq!(cache.begin(other, now), Seen::New, "{other:?}");
        cache.answered(other, b"other", now);
        assert_eq!(cache.begin(other, now), Seen::Answered(b"other"));
        let replaced = other == identity(1, 1, 2);
        let expected = if replaced { Seen::New } else { Seen::Answered(b"reply") };
        assert_eq!(cache.begin(asked, now), expected, "{other:?}");
    }
}

/// RFC 5080 section 2.2.2: the NAS gave the identifier to another request.
#[test]
fn a_new_authenticator_takes_the_place_of_the_old() {
    let (mut cache, now) = (ReplyCache::new(0, LIFE), Instant::now());
    let (old, new) = (identity(1, 1, 1), identity(1, 1, 2));
    assert_eq!(cache.begin(old, now), Seen::New);
    assert_eq!(cache.begin(new, now), Seen::New);
    // The answer to the old one comes too late, and so does its end.
    cache.answered(old, b"old", now);
    cache.forget(old);
    assert_eq!(cache.begin(new, now), Seen::UnderWay);
    cache.answered(new, b"new", now);
    assert_eq!(cache.begin(new, now), Seen::Answered(b"new"));
    assert_eq!(cache.len(), 1);
}

#[test]
fn what_is_not_answered_is_forgotten() {
    let (mut cache, start) = (ReplyCache::new(0, LIFE), Instant::now());
    let asked = identity(1, 1, 1);
    cache.begin(asked, start);
    cache.forget(asked);
    assert!(cache.is_empty());
    assert_eq!(cache.begin(asked, start), Seen::New);
    assert_eq!(cache.begin(asked, start + LIFE), Seen::New);
    // An empty answer is none.
    cache.answered(asked, b"", start + LIFE);
    assert_eq!(cache.begin(asked, start + LIFE), Seen::New);
}

#[test]
fn life_is_between_2_and_30_seconds() {
    for (life, kept) in [(0.0, 2.0), (2.0, 2.0), (7.5, 7.5), (30.0, 30.0), (3_600.0, 30.0)] {
        let (mut cache, start) = (ReplyCache::new(0, seconds(life)), Instant::now());
        let asked = identity(1, 1, 1);
        cache.begin(asked, start);
        cache.answered(asked, b"reply", start);
        let just_before = start + seconds(kept - 0.001);
        assert_eq!(cache.begin(asked, just_before), Seen::Answered(b"reply"));
        assert_eq!(cache.begin(asked, start + seconds(kept)), Seen::New);
    }
}

/// Identifiers of a port go round every 256 requests.
#[test]
fn identifiers_wrap() {
    let (mut cache, now) = (ReplyCache::new(1 << 20, LIFE), Instant::now());
    for round in 0..40 {
        for id in 0..=u8::MAX {
            let asked = identity(1_645, id, round);
            assert_eq!(cache.begin(asked, now), Seen::New);
            cache.answered(asked, &[round, id], now);
            assert_eq!(cache.begin(asked, now), Seen::Answered(&[round, id]));
        }
    }
    assert_eq!((cache.len(), cache.lost()), (256, 0));
}

#[test]
fn a_flood_takes_no_more_bytes_and_the_newest_are_known() {
    let (mut cache, start) = (ReplyCache::new(1 << 20, LIFE), Instant::now());
    let (bytes, capacity) = (cache.bytes(), cache.entries.capacity());
    assert!((900_000..=1_100_000).contains(&bytes), "{bytes}");
    let mut requests = 0_u32;
    for reply in [[1; 20], [2; 20]].map(|reply| reply.to_vec()).into_iter().chain([vec![3; 4_096]])
    {
        for port in 0..100 {
            for id in 0..=u8::MAX {
                let now = start + Duration::from_micros(u64::from(requests));
                let asked = identity(port, id, reply[0]);
                assert_eq!(cache.begin(asked, now), Seen::New);
                cache.answered(asked, &reply, now);
                assert_eq!(cache.begin(asked, now), Seen::Answered(&reply));
                requests += 1;
            }
        }
    }
    assert_eq!((cache.bytes(), cache.entries.capacity()), (bytes, capacity));
    assert!(cache.len() <= cache.most && cache.lost() > 0);
    // Of the long ones at the end, as many as the ring holds.
    let now = start + Duration::from_micros(u64::from(requests));
    let known = (0..=u8::MAX)
        .rev()
        .take_while(|id| matches!(cache.begin(identity(99, *id, 3), now), Seen::Answered(_)))
        .count();
    let room = cache.ring.len() / 4_096;
    assert!((room - 1..=room).contains(&known), "{known} of {room}");
}

#[test]
fn time_lets_go_of_a_flood_in_small_steps() {
    let (mut cache, start) = (ReplyCache::new(1 << 20, LIFE), Instant::now());
    for port in 0..1_000 {
        cache.begin(identity(port, 1, 1), start);
    }
    assert_eq!(cache.len(), 1_000);
    for port in 0..200 {
        let before = cache.len();
        assert_eq!(cache.begin(identity(port, 2, 1), start + LIFE), Seen::New);
        assert!(cache.len() + EXPIRED_AT_ONCE >= before);
    }
    assert_eq!((cache.len(), cache.lost()), (200, 0));
}

type Known = (Identity, Instant, Option<Vec<u8>>);

/// A model that forgets nothing before its time.
#[derive(Default)]
struct Model {
    known: HashMap<(SocketAddr, Code, u8), Known>,
}

impl Model {
    fn begin(&mut self, identity: Identity, now: Instant) -> Option<Option<Vec<u8>>> {
        let key = identity.key();
        match self.known.get(&key) {
            Some((known, since, reply)) if *known == identity && now < *since + LIFE => {
                Some(reply.clone())
            }
            _ => {
                self.known.insert(key, (identity, now, None));
                None
            }
        }
    }

    fn answered(&mut self, identity: Identity, reply: &[u8], now: Instant) {
        let known = self.known.entry(identity.key()).or_insert((identity, now, None));
        if known.0 == identity || now >= known.1 + LIFE {
            *known = (identity, now, Some(reply.to_vec()));
        }
    }

    fn forget(&mut self, identity: Identity) {
        if self.known.get(&identity.key()).is_some_and(|known| known.0 == identity) {
            self.known.remove(&identity.key());
        }
    }
}

proptest! {
    /// With room for all it is a map with a clock.
    #[test]
    fn is_what_the_model_is(
        steps in prop::collection::vec((0_u8..4, 0_u16..3, 0_u8..3, 0_u8..3, 0_u32..2_000, 1_usize..300), 0..200),
    ) {
        let (mut cache, mut now) = (ReplyCache::new(0, LIFE), Instant::now());
        let mut model = Model::default();
        for (step, port, id, authenticator, milliseconds, length) in steps {
            now += Duration::from_millis(u64::from(milliseconds));
            let asked = identity(port, id, authenticator);
            match step {
                0 | 1 => {
                    let seen = match cache.begin(asked, now) {
                        Seen::New => None,
                        Seen::UnderWay => Some(None),
                        Seen::Answered(reply) => Some(Some(reply.to_vec())),
                    };
                    prop_assert_eq!(seen, model.begin(asked, now));
                }
                2 => {
                    let reply = vec![authenticator + 3 * id; length];
                    cache.answered(asked, &reply, now);
                    model.answered(asked, &reply, now);
                }
                _ => {
                    cache.forget(asked);
                    model.forget(asked);
                }
            }
            check(&cache);
        }
        prop_assert_eq!(cache.lost(), 0);
    }

    /// With too little room it may forget, but it never gives a reply that is not the last one.
    #[test]
    fn a_small_one_never_lies(
        steps in prop::collection::vec((any::<bool>(), 0_u16..2_000, 0_u8..2, 4_usize..4_097), 0..2_000),
    ) {
        let (mut cache, now) = (ReplyCache::new(0, LIFE), Instant::now());
        let mut last = HashMap::new();
        for (number, (begins, port, authenticator, length)) in (0_u32..).zip(steps) {
            let asked = identity(port, 1, authenticator);
            if begins {
                if let Seen::Answered(reply) = cache.begin(asked, now) {
                    prop_assert_eq!(last.get(&asked).map(|last: &Vec<u8>| &last[..]), Some(reply));
                }
            } else {
                let reply: Vec<_> = number.to_be_bytes().into_iter().cycle().take(length).collect();
                cache.answered(asked, &reply, now);
                last.insert(asked, reply);
            }
        }
        check(&cache);
    }
}

/// Queue, chains and free ones are what they should be.
fn check(cache: &ReplyCache) {
    let mut queued = Vec::new();
    let (mut slot, mut before) = (cache.oldest, NONE);
    while let Some(entry) = cache.entry(slot) {
        assert_eq!(entry.older, before);
        queued.push(slot);
        before = slot;
        slot = entry.newer;
    }
    assert_eq!((slot, before), (NONE, cache.newest));
    let mut chained = Vec::new();
    for (chain, first) in cache.chains.iter().enumerate() {
        let mut slot = *first;
        while let Some(entry) = cache.entry(slot) {
            assert_eq!(entry.chain as usize, chain);
            assert_eq!(cache.chain(&entry.identity), entry.chain);
            chained.push(slot);
            slot = entry.next;
        }
    }
    let mut free = Vec::new();
    let mut slot = cache.free;
    while let Some(entry) = cache.entry(slot) {
        free.push(slot);
        slot = entry.next;
    }
    queued.sort_unstable();
    chained.sort_unstable();
    assert_eq!(queued, chained);
    assert_eq!(queued.len(), cache.known);
    let mut all = [queued, free].concat();
    all.sort_unstable();
    assert!(all.iter().copied().eq(0..cache.entries.len() as u32));
}
