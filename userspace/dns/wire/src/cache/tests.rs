//! What the cache is held to, also by a model that is too simple to be wrong.

use std::collections::HashMap;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use hickory_proto::rr::rdata::opt::EdnsOption;
use proptest::prelude::*;

use super::*;
use crate::answer::{Facts, Freshness, Kind};
use crate::fuzzing::RULES;
use crate::octets::u16_at;
use crate::{name, samples};

const SEED: [u64; 2] = [11, 12];

/// One client's question for one name.
struct Asker {
    packet: Vec<u8>,
    key: Key,
}

impl Asker {
    fn new(name: &str) -> Self {
        let message = samples::address(name, 1, 1);
        let end = 12 + name::wire_len(&message[12..]).unwrap() + 4;
        let packet = [b"\xab\xcd\x01\0\0\x01\0\0\0\0\0\0", &message[12..end]].concat();
        let key = Key::of(&Query::parse(&packet).unwrap());
        Self { packet, key }
    }

    fn ask(&self, cache: &Cache, now: u32) -> Found {
        self.ask_with(cache, now, &mut [0; 512])
    }

    fn ask_with(&self, cache: &Cache, now: u32, out: &mut [u8]) -> Found {
        let query = Query::parse(&self.packet).unwrap();
        cache.answer(&self.key, &query, now, &Limits::udp(&query), out)
    }

    /// The response code and the last byte of the address of a stale answer.
    fn ask_stale(&self, cache: &Cache, now: u32) -> Option<(u16, u8)> {
        let query = Query::parse(&self.packet).unwrap();
        let mut out = [0; 512];
        let limits = Limits::udp(&query);
        let length = cache.answer_stale(&self.key, &query, now, &limits, &mut out)?;
        Some((u16_at(&out, 2).unwrap() & 0xf, out[length - 1]))
    }
}

fn answer(name: &str, kind: Kind, born: u32, ttl: u32, stale_until: u32) -> Answer {
    let message = match kind {
        Kind::Positive => samples::address(name, ttl, 7),
        Kind::Negative => samples::response(
            (name, RecordType::A),
            ResponseCode::NXDomain,
            [vec![], vec![samples::soa("example.", ttl)], vec![]],
        ),
        Kind::Failure => samples::response(
            (name, RecordType::A),
            ResponseCode::ServFail,
            [vec![], vec![], vec![]],
        ),
    };
    let facts = Facts { kind, born, ttl, stale_until, ..Facts::default() };
    Answer::build(&message, facts).unwrap()
}

#[test]
fn an_answer_is_found_until_it_is_old() {
    let cache = Cache::new(1 << 20, SEED);
    let asker = Asker::new("www.example.");
    assert_eq!(asker.ask(&cache, 1_000), Found::Miss);
    let inserted = answer("www.example.", Kind::Positive, 1_000, 100, 2_000);
    assert_eq!(cache.insert(&asker.key, inserted), Inserted::Stored);

    let mut out = [0; 512];
    let Found::Fresh { len, refresh_due: false, hits: 1 } = asker.ask_with(&cache, 1_040, &mut out)
    else {
        panic!("not fresh");
    };
    let ttl_at = len - 10;
    assert_eq!(u16_at(&out, ttl_at + 2), Some(60));
    assert_eq!(asker.ask(&cache, 1_100), Found::Stale { failing: false });
    assert_eq!(asker.ask_stale(&cache, 1_100), Some((0, 7)));
    assert_eq!(asker.ask(&cache, 2_000), Found::Miss);
    assert_eq!(asker.ask_stale(&cache, 2_000), None);
    assert_eq!(asker.ask(&cache, 1_099), Found::Fresh { len, refresh_due: true, hits: 3 });

    let others = [asker.key.in_view(1), Asker::new("ww.example.").key];
    assert!(others.iter().all(|key| cache.peek(key).is_none()));
    assert!(cache.peek(&asker.key).is_some());
    let inserted = answer("www.example.", Kind::Positive, 1_000, 100, 2_000);
    assert_eq!(cache.insert(&others[1], inserted), Inserted::OtherQuestion);
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.stale, stats.misses), (2, 1, 3));
    assert_eq!((stats.entries, stats.positive), (1, 1));
}

#[test]
fn the_popular_are_refreshed_once_before_their_end() {
    // (ttl, seconds after birth of each hit, whether each says so)
    let cases: [(u32, &[u32], &[bool]); 6] = [
        (100, &[89, 90, 91, 99], &[false, true, false, false]),
        (100, &[1, 2, 89, 90, 90], &[false, false, false, true, false]),
        (100, &[95], &[false]),
        (100, &[95, 96], &[false, true]),
        (10, &[1, 8, 9], &[false, false, true]),
        (9, &[1, 7, 8], &[false, false, false]),
    ];
    for (ttl, hits, expected) in cases {
        let cache = Cache::new(1 << 20, SEED);
        let asker = Asker::new("www.example.");
        // What is replaced leaves its hits, but not those since birth.
        for born in [1_000, 2_000] {
            cache.insert(&asker.key, answer("www.example.", Kind::Positive, born, ttl, 0));
            let due: Vec<bool> = hits
                .iter()
                .map(|later| match asker.ask(&cache, born + later) {
                    Found::Fresh { refresh_due, .. } => refresh_due,
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(due, expected, "{ttl} {hits:?}");
        }
    }
    let cache = Cache::new(1 << 20, SEED);
    let asker = Asker::new("www.example.");
    assert!(!cache.credit(&asker.key, 5, 1_000));
    cache.insert(&asker.key, answer("www.example.", Kind::Positive, 1_000, 100, 0));
    assert!(!cache.credit(&asker.key, 5, 1_050));
    assert!(!cache.credit(&asker.key, 0, 1_095));
    assert!(cache.credit(&asker.key, 1, 1_095));
    assert!(matches!(asker.ask(&cache, 1_096), Found::Fresh { refresh_due: false, hits: 7, .. }));
}

#[test]
fn a_remembered_failure_says_that_it_is_one() {
    // (kind, text of the error that it has anyway, codes of extended errors)
    let cases: [(Kind, Option<&str>, &[u16]); 4] = [
        (Kind::Failure, None, &[13]),
        (Kind::Failure, Some("nobody there"), &[22, 13]),
        (Kind::Negative, None, &[]),
        (Kind::Positive, Some("nobody there"), &[22]),
    ];
    for (kind, text, codes) in cases {
        let cache = Cache::new(1 << 20, SEED);
        let asker = Asker::new("www.example.");
        let plain = answer("www.example.", kind, 1_000, 5, 0);
        let extended_error = text.map(|text| (22, text.into()));
        let facts = Facts { extended_error, ..plain.facts() };
        let stored = Answer::build(plain.message(), facts).unwrap();
        cache.insert(&asker.key, stored.clone());

        let mut packet = [&asker.packet, &b"\0\0\x29\x04\xd0\0\0\0\0\0\0"[..]].concat();
        packet[11] = 1;
        let query = Query::parse(&packet).unwrap();
        let mut out = [0; 512];
        let limits = Limits::udp(&query);
        let told = |answer: &[u8]| -> Vec<u16> {
            let edns = Message::from_vec(answer).unwrap().edns.unwrap();
            let errors = edns.options().as_ref().iter().map(|(_, option)| match option {
                EdnsOption::Unknown(15, data) => u16_at(data, 0).unwrap(),
                other => panic!("{other:?}"),
            });
            errors.collect()
        };
        let Found::Fresh { len, .. } = cache.answer(&asker.key, &query, 1_001, &limits, &mut out)
        else {
            panic!("not fresh");
        };
        assert_eq!(told(&out[..len]), codes, "{kind:?}");
        // Who waited for it hears what it is, and not that it is an old one.
        let len = stored.render(&query, 1_001, &limits, &mut out);
        let first: Vec<u16> = codes.iter().copied().filter(|code| *code != 13).collect();
        assert_eq!(told(&out[..len]), first, "{kind:?}");
    }
}

#[test]
fn a_failure_does_not_push_out_what_can_be_served() {
    use Kind::{Failure, Negative, Positive};
    // (what is there, its end, what comes at 1,200, what became of it, what is there then)
    let cases = [
        (Positive, 2_000, Failure, Inserted::Remembered, Positive),
        (Positive, 1_150, Failure, Inserted::Stored, Failure),
        (Negative, 2_000, Failure, Inserted::Remembered, Negative),
        (Failure, 2_000, Failure, Inserted::Stored, Failure),
        (Failure, 2_000, Positive, Inserted::Stored, Positive),
        (Positive, 2_000, Negative, Inserted::Stored, Negative),
        (Negative, 2_000, Positive, Inserted::Stored, Positive),
    ];
    let asker = Asker::new("www.example.");
    for (first, until, second, became, kept) in cases {
        let cache = Cache::new(1 << 20, SEED);
        cache.insert(&asker.key, answer("www.example.", first, 1_000, 100, until));
        let next = answer("www.example.", second, 1_200, 30, 0);
        assert_eq!(cache.insert(&asker.key, next), became, "{first:?} {second:?}");
        assert_eq!(cache.peek(&asker.key).unwrap().kind(), kept);
        cache.check();
        if became == Inserted::Remembered {
            assert_eq!(asker.ask(&cache, 1_229), Found::Stale { failing: true });
            assert_eq!(asker.ask(&cache, 1_230), Found::Stale { failing: false });
            assert_eq!(cache.stats().entries, 1);
            // A refresh that works forgets the failure.
            cache.insert(&asker.key, answer("www.example.", first, 1_210, 5, 2_000));
            assert_eq!(asker.ask(&cache, 1_220), Found::Stale { failing: false });
        }
    }
}

#[test]
fn flushing_takes_what_leads_there() {
    let cache = Cache::new(1 << 20, SEED);
    let chain = samples::responses().swap_remove(1);
    let insert_all = || {
        let facts = Facts { born: 1_000, ttl: 60, ..Facts::default() };
        let alias = Answer::build(&chain, facts).unwrap();
        assert_eq!(cache.insert(&Asker::new("www.example.com.").key, alias), Inserted::Stored);
        for name in ["example.com.", "a.example.com.", "example.net.", "notexample.net."] {
            let answer = answer(name, Kind::Positive, 1_000, 60, 0);
            assert_eq!(cache.insert(&Asker::new(name).key, answer), Inserted::Stored);
        }
    };
    let wire = |text: &str| text.parse::<Name>().unwrap();
    // (name, answers that go with the name, with the zone)
    for (name, exact, zone) in [
        ("EXAMPLE.com", 1, 3),
        ("example.net", 1, 2),
        ("a.cdn.example.net", 1, 1),
        ("net", 0, 3),
        (".", 0, 5),
        ("org", 0, 0),
    ] {
        insert_all();
        assert_eq!(cache.flush(wire(name).as_wire()), exact, "{name}");
        insert_all();
        assert_eq!(cache.flush_zone(wire(name).as_wire()), zone, "{name}");
        cache.check();
    }
    insert_all();
    assert!(cache.remove(&Asker::new("example.com.").key));
    assert!(!cache.remove(&Asker::new("example.com.").key));
    assert_eq!(cache.flush_all(), 4);
    assert_eq!(cache.stats().entries, 0);
    cache.check();
}

#[test]
fn the_hottest_come_first_and_cool_down() {
    let cache = Cache::new(1 << 25, SEED);
    let names: Vec<String> = (0..200).map(|number| format!("n{number}.example.")).collect();
    for (hits, name) in names.iter().enumerate() {
        let key = Asker::new(name).key;
        cache.insert(&key, answer(name, Kind::Positive, 1_000, 60, 0));
        cache.credit(&key, hits as u32, 1_000);
    }
    let hits = |hot: &[Hot]| hot.iter().map(|hot| hot.hits).collect::<Vec<_>>();
    let hot = cache.hottest(3);
    assert_eq!(hits(&hot), [199, 198, 197]);
    assert_eq!(hot[0].key.to_string(), "n199.example. IN A");
    assert_eq!(hot[0].answer.question(), hot[0].key.question());
    assert_eq!(hits(&cache.hottest(2)), [99, 99]);
    assert_eq!(cache.hottest(0).len(), 0);
    assert_eq!(cache.hottest(1_000).len(), 200 - 8);
    assert_eq!(cache.hottest(1_000).len(), 200 - 16);
}

#[test]
fn a_flood_of_names_leaves_the_popular_alone() {
    let cache = Cache::new(256 * 1024, SEED);
    let popular: Vec<Asker> =
        (0..100).map(|number| Asker::new(&format!("popular{number}.example."))).collect();
    for (number, asker) in popular.iter().enumerate() {
        let name = format!("popular{number}.example.");
        cache.insert(&asker.key, answer(&name, Kind::Positive, 1_000, 60, 0));
        assert!(matches!(asker.ask(&cache, 1_000), Found::Fresh { .. }));
    }
    for number in 0..50_000 {
        let name = format!("random{number}.example.");
        let answer = answer(&name, Kind::Negative, 1_000, 60, 0);
        assert_eq!(cache.insert(&Asker::new(&name).key, answer), Inserted::Stored);
    }
    cache.check();
    let left = popular.iter().filter(|asker| cache.peek(&asker.key).is_some()).count();
    assert_eq!(left, 100);
    assert!(cache.stats().evictions > 40_000);
}

#[test]
fn an_answer_that_is_too_big_pushes_nothing_out() {
    let cache = Cache::new(64 * 1024, SEED);
    let small = Asker::new("www.example.");
    cache.insert(&small.key, answer("www.example.", Kind::Positive, 1_000, 60, 0));
    let records = (0..200).map(|_| samples::txt("t.example.", 60, 255)).collect();
    let big = samples::response(
        ("t.example.", RecordType::A),
        ResponseCode::NoError,
        [records, vec![], vec![]],
    );
    let big = Answer::build(&big, Facts::default()).unwrap();
    assert_eq!(cache.insert(&Asker::new("t.example.").key, big), Inserted::TooBig);
    assert!(cache.peek(&small.key).is_some());
    // A cache without room for anything does no harm either.
    for bytes in [0, 100, 1_000, 4_000] {
        let cache = Cache::new(bytes, SEED);
        let answer = answer("www.example.", Kind::Positive, 1_000, 60, 0);
        assert_eq!(cache.insert(&small.key, answer), Inserted::TooBig);
        cache.check();
    }
}

#[test]
fn threads_share_it() {
    let cache = Cache::new(1 << 20, SEED);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let cache = &cache;
            scope.spawn(move || {
                for round in 0..2_000_u32 {
                    let name = format!("n{}.example.", (round * (thread + 1)) % 500);
                    let asker = Asker::new(&name);
                    if asker.ask(cache, 1_000) == Found::Miss {
                        cache.insert(&asker.key, answer(&name, Kind::Positive, 1_000, 60, 0));
                    }
                }
            });
        }
    });
    cache.check();
    assert!(cache.stats().entries <= 500);
}

#[test]
fn a_file_cut_anywhere_loads_what_is_whole() {
    let file = samples::cache_file();
    let records = samples::responses().len() as u64;
    let mut last = 0;
    for length in 0..=file.len() {
        let cache = Cache::new(1 << 20, SEED);
        let loaded = cache.load(&file[..length], 1_000, RULES).unwrap();
        assert_eq!(loaded.entries, cache.stats().entries);
        assert!(loaded.entries >= last && loaded.refused == 0);
        last = loaded.entries;
        cache.check();
    }
    assert_eq!(last, records);
}

#[test]
fn a_file_damaged_anywhere_loads_the_rest() {
    let file = samples::cache_file();
    let records = samples::responses().len() as u64;
    for at in 0..file.len() {
        let mut file = file.clone();
        file[at] ^= 0x55;
        let cache = Cache::new(1 << 20, SEED);
        let loaded = cache.load(&file[..], 1_000, RULES).unwrap();
        let skipped = match at {
            0..12 => Some(Skipped::Format),
            12..20 => Some(Skipped::Rules),
            _ => None,
        };
        let expected = if skipped.is_some() { 0 } else { records - 1 };
        assert_eq!((loaded.entries, loaded.skipped), (expected, skipped), "{at}");
        assert_eq!(loaded.damaged > 0, skipped.is_none(), "{at}");
    }
    // Bytes between two records cost none of them.
    let second = file.windows(4).skip(21).position(|bytes| bytes == b"\xfaA\xf5R").unwrap() + 21;
    for junk in
        [&b"\xfaA"[..], b"\xfaA\xf5R\0\0\0\x20", &[0; 200_000], b"\xfaA\xf5R\xff\xff\xff\xff"]
    {
        let file = [&file[..second], junk, &file[second..]].concat();
        let loaded = Cache::new(1 << 20, SEED).load(&file[..], 1_000, RULES).unwrap();
        assert_eq!((loaded.entries, loaded.damaged), (records, junk.len() as u64));
    }
}

#[test]
fn what_was_found_by_other_rules_stays_out() {
    let file = samples::cache_file();
    for (rules, skipped) in [(RULES, None), ("", Some(Skipped::Rules))] {
        let cache = Cache::new(1 << 20, SEED);
        let loaded = cache.load(&file[..], 1_000, rules).unwrap();
        assert_eq!((loaded.skipped, loaded.entries == 0), (skipped, skipped.is_some()));
    }
}

#[test]
fn a_loaded_cache_is_the_saved_one() {
    let file = samples::cache_file();
    let cache = Cache::new(1 << 20, SEED);
    cache.load(&file[..], 1_000, RULES).unwrap();
    let once = cache.hottest(100);
    let other = Cache::new(1 << 26, [8, 9]);
    other.load(&file[..], 1_000, RULES).unwrap();
    let mut again: HashMap<Key, Hot> =
        other.hottest(100).into_iter().map(|hot| (hot.key, hot)).collect();
    assert_eq!(once.len(), samples::responses().len());
    for hot in once {
        let twin = again.remove(&hot.key).unwrap();
        assert_eq!((twin.hits, twin.answer.facts()), (hot.hits, hot.answer.facts()));
        assert_eq!(twin.answer.message(), hot.answer.message());
    }
    // Of what is known already the newer stays; what is past all use or not born yet stays out.
    let counts = |now| {
        let loaded = cache.load(&file[..], now, RULES).unwrap();
        (loaded.entries, loaded.expired)
    };
    let all = samples::responses().len() as u64;
    assert_eq!(counts(1_000), (0, all));
    cache.flush_all();
    assert_eq!(counts(999), (0, all));
    assert_eq!(counts(3_000), (0, all));
    assert_eq!(counts(2_999), (all, 0));
}

#[derive(Clone, Debug)]
enum Act {
    Insert { name: usize, kind: u8, ttl: u32, size: usize },
    Ask(usize),
    Remove(usize),
    Flush,
    Wait(u32),
    Fade,
}

fn act() -> impl Strategy<Value = Act> {
    let name = 0_usize..60;
    prop_oneof![
        6 => (name.clone(), 0_u8..3, 0_u32..200, 0_usize..2_000)
            .prop_map(|(name, kind, ttl, size)| Act::Insert { name, kind, ttl, size }),
        6 => name.clone().prop_map(Act::Ask),
        1 => name.prop_map(Act::Remove),
        1 => (0_u32..50).prop_map(Act::Wait),
        1 => Just(Act::Fade),
        1 => Just(Act::Flush),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn it_behaves_as_a_map_that_may_forget(
        acts in prop::collection::vec(act(), 1..400),
        roomy: bool,
    ) {
        let askers: Vec<(String, Asker)> = (0..60)
            .map(|number| {
                let name = format!("n{number}.example.");
                let asker = Asker::new(&name);
                (name, asker)
            })
            .collect();
        let limit = if roomy { 1 << 20 } else { 24 * 1024 };
        let cache = Cache::new(limit, SEED);
        let mut model: HashMap<usize, Answer> = HashMap::new();
        let mut now = 1_000;
        for act in acts {
            match act {
                Act::Insert { name, kind, ttl, size } => {
                    let kind = [Kind::Positive, Kind::Negative, Kind::Failure][usize::from(kind)];
                    let owner = &askers[name].0;
                    let mut records = vec![];
                    records.extend((0..size / 255).map(|_| samples::txt(owner, ttl, 240)));
                    let message = samples::response(
                        (owner, RecordType::A),
                        ResponseCode::NoError,
                        [records, vec![], vec![]],
                    );
                    let facts = Facts { kind, born: now, ttl, stale_until: now + 2 * ttl, ..Facts::default() };
                    let answer = Answer::build(&message, facts).unwrap();
                    match cache.insert(&askers[name].1.key, answer.clone()) {
                        Inserted::Stored => {
                            model.insert(name, answer);
                        }
                        Inserted::Remembered => {
                            let known = &model[&name];
                            prop_assert!(known.kind() != Kind::Failure && kind == Kind::Failure);
                            prop_assert!(known.freshness(now) != Freshness::Dead);
                        }
                        Inserted::TooBig => prop_assert!(!roomy),
                        Inserted::OtherQuestion => prop_assert!(false),
                    }
                }
                Act::Ask(name) => {
                    let mut out = [0; 512];
                    let found = askers[name].1.ask_with(&cache, now, &mut out);
                    let state = model.get(&name).map(|answer| answer.freshness(now));
                    match (found, state) {
                        (Found::Fresh { len, .. }, Some(Freshness::Fresh(_))) => {
                            let query = Query::parse(&askers[name].1.packet).unwrap();
                            let mut expected = [0; 512];
                            let length = model[&name].render(&query, now, &Limits::udp(&query), &mut expected);
                            prop_assert_eq!(&out[..len], &expected[..length]);
                        }
                        (Found::Stale { .. }, Some(Freshness::Stale)) => {}
                        (Found::Miss, None | Some(Freshness::Dead)) => {}
                        (Found::Miss, _) => prop_assert!(!roomy, "forgot with room left"),
                        other => prop_assert!(false, "{:?}", other),
                    }
                }
                Act::Remove(name) => {
                    let removed = cache.remove(&askers[name].1.key);
                    let known = model.remove(&name).is_some();
                    prop_assert!(removed == known || !roomy && known);
                }
                Act::Flush => {
                    let count = cache.flush_all();
                    prop_assert!(count == model.len() || !roomy && count < model.len());
                    model.clear();
                }
                Act::Wait(seconds) => now += seconds,
                Act::Fade => {
                    cache.hottest(5);
                }
            }
            cache.check();
            prop_assert!(cache.stats().bytes <= limit as u64);
        }
    }

    #[test]
    fn any_bytes_load_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        crate::fuzzing::cache_file(&bytes);
    }
}
