use proptest::prelude::*;

use super::*;

const DAY: i64 = 86_400;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn signer(name: &str) -> Key {
    Key::Signer(name.to_owned())
}

fn near(one: f64, other: f64) -> bool {
    (one - other).abs() < 1e-6
}

#[test]
fn who_is_who() {
    for (one, other, address, network) in [
        ("192.0.2.1", "192.0.2.1", true, true),
        ("192.0.2.1", "::ffff:192.0.2.1", true, true),
        ("192.0.2.1", "192.0.2.2", false, true),
        ("192.0.2.1", "192.0.3.1", false, false),
        ("2001:db8::1", "2001:db8::2", true, true),
        ("2001:db8::1", "2001:db8:0:1::1", false, true),
        ("2001:db8::1", "2001:db8:1::1", false, false),
    ] {
        assert_eq!(Key::address(ip(one)) == Key::address(ip(other)), address, "{one} {other}");
        assert_eq!(Key::network(ip(one)) == Key::network(ip(other)), network, "{one} {other}");
    }
}

#[test]
fn rows_and_back() {
    for key in [
        Key::address(ip("192.0.2.1")),
        Key::address(ip("2001:db8::1")),
        Key::network(ip("192.0.2.1")),
        Key::Operator(64_496),
        signer("example.org"),
        Key::Sender("example.org".to_owned()),
        Key::Host("www.example.org".to_owned()),
    ] {
        let (kind, name) = key.row();
        assert_eq!(Key::of_row(kind, &name), Some(key));
    }
    for (kind, name) in [('a', "x"), ('o', "-1"), ('d', ".."), ('h', ""), ('z', "x")] {
        assert_eq!(Key::of_row(kind, name), None, "{kind} {name}");
    }
}

#[test]
fn memory_fades() {
    let mut reputation = Reputation::new(10, 1);
    let key = signer("example.org");
    reputation.note_many(&key, Event::Good, 8.0, 0);
    reputation.note(&key, Event::Spam, 0);
    for (days, left) in [(0, 8.0), (30, 4.0), (60, 2.0), (90, 1.0)] {
        assert!(near(reputation.counts(&key, days * DAY).good, left), "{days}");
    }
    // What comes later is worth more; a clock that goes back changes nothing.
    reputation.note_many(&key, Event::Good, 1.0, 30 * DAY);
    assert!(near(reputation.counts(&key, 30 * DAY).good, 5.0));
    assert!(near(reputation.counts(&key, 0).good, 5.0));
    reputation.note(&key, Event::Good, 0);
    assert!(near(reputation.counts(&key, 30 * DAY).good, 6.0));
    reputation.sweep(30 * DAY);
    assert_eq!(reputation.len(), 1);
    reputation.sweep(3_000 * DAY);
    assert!(reputation.is_empty());
    assert_eq!(reputation.counts(&key, 3_000 * DAY), Counts::default());
}

#[test]
fn a_flood_displaces_itself() {
    let mut reputation = Reputation::new(1_000, 7);
    let known: Vec<Key> = (0..500).map(|at| signer(&format!("known{at}.example"))).collect();
    for key in &known {
        reputation.note_many(key, Event::Good, 20.0, 0);
    }
    for at in 0..100_000_u32 {
        reputation.note(&Key::Address(IpAddr::V4(Ipv4Addr::from_bits(at))), Event::Spam, 0);
        assert!(reputation.len() <= 1_000);
    }
    let left = known.iter().filter(|key| reputation.counts(key, 0).good > 0.0).count();
    assert!(left > 400, "{left}");
    assert_eq!(reputation.forgotten(), 100_000 - 500);
}

#[test]
fn two_boxes_share_what_they_see() {
    let key = signer("example.org");
    let mut boxes = [Reputation::new(10, 1), Reputation::new(10, 2)];
    let mut database: HashMap<Key, Row> = HashMap::new();
    let mut share = |boxes: &mut [Reputation], now: i64| {
        for one in boxes.iter_mut() {
            for change in one.take_changes(now) {
                let sum = match database.get(&change.key) {
                    Some(row) => row.plus(&change),
                    None => change.clone(),
                };
                database.insert(change.key.clone(), sum);
            }
        }
        for one in boxes.iter_mut() {
            one.merge(database.values().cloned(), now);
        }
    };
    let [one, other] = &mut boxes;
    one.note_many(&key, Event::Good, 4.0, 0);
    other.note_many(&key, Event::Good, 2.0, 0);
    other.note(&key, Event::Trap, 0);
    share(&mut boxes, 0);
    for one in &boxes {
        let counts = one.counts(&key, 0);
        assert!(near(counts.good, 6.0) && near(counts.traps, 1.0), "{counts:?}");
    }
    let [one, _] = &mut boxes;
    one.note_many(&key, Event::Good, 1.0, 30 * DAY);
    share(&mut boxes, 30 * DAY);
    share(&mut boxes, 30 * DAY);
    for one in &boxes {
        assert!(near(one.counts(&key, 30 * DAY).good, 4.0), "{:?}", one.counts(&key, 30 * DAY));
    }
}

#[test]
fn changes_that_were_not_taken() {
    let key = signer("example.org");
    let mut reputation = Reputation::new(10, 1);
    reputation.note_many(&key, Event::Good, 4.0, 0);
    let changes = reputation.take_changes(0);
    assert_eq!(changes.len(), 1);
    assert!(reputation.take_changes(0).is_empty());
    reputation.restore_changes(changes, 0);
    assert!(near(reputation.counts(&key, 0).good, 4.0));
    assert_eq!(reputation.take_changes(0).len(), 1);
}

#[test]
fn broken_rows_do_no_harm() {
    let mut reputation = Reputation::new(10, 1);
    for good in [f64::NAN, f64::INFINITY, -5.0] {
        let counts = Counts { good, spam: 1.0, ..Counts::default() };
        reputation.merge([Row { key: signer("example.org"), at: 0, counts }], 0);
        let counts = reputation.counts(&signer("example.org"), 0);
        assert_eq!((counts.good, counts.spam), (0.0, 1.0), "{good}");
    }
    reputation.note_many(&signer("example.org"), Event::Good, f64::NAN, 0);
    reputation.note_many(&signer("example.org"), Event::Good, -1.0, 0);
    assert_eq!(reputation.counts(&signer("example.org"), 0).good, 0.0);
}

#[test]
fn what_is_said_of_whom() {
    let address = Key::address(ip("192.0.2.1"));
    let network = Key::network(ip("192.0.2.1"));
    let host = Key::Host("bad.example".to_owned());
    for (events, expected) in [
        (vec![(&network, Event::Good, 1.0)], vec![]),
        (vec![], vec![Sign::NewAddress]),
        (vec![(&network, Event::Spam, 2.0), (&address, Event::Spam, 2.0)], vec![]),
        (vec![(&network, Event::Good, 5.0), (&address, Event::Spam, 10.0)], vec![Sign::BadAddress]),
        (
            vec![(&network, Event::Spam, 100.0), (&address, Event::Good, 100.0)],
            vec![Sign::GoodAddress, Sign::BadNetwork],
        ),
        (
            vec![
                (&network, Event::Good, 5.0),
                (&address, Event::Good, 100.0),
                (&address, Event::Trap, 1.0),
            ],
            vec![Sign::TrappedAddress],
        ),
        (
            vec![(&network, Event::Good, 5.0), (&address, Event::UnknownRecipient, 100.0)],
            vec![Sign::BadAddress],
        ),
        (vec![(&network, Event::Good, 5.0), (&host, Event::Spam, 9.0)], vec![Sign::BadHost]),
    ] {
        let mut reputation = Reputation::new(100, 1);
        for (key, event, count) in &events {
            reputation.note_many(key, *event, *count, 0);
        }
        let keys = [address.clone(), network.clone(), host.clone()];
        let found: Vec<_> =
            judge(&reputation, &keys, 0).iter().map(|finding| finding.sign).collect();
        assert_eq!(found, expected, "{events:?}");
    }
}

#[test]
fn only_who_is_proved_is_remembered() {
    use crate::connection::Conduct;
    use crate::dkim::Dkim;

    let connection = Connection {
        ip: ip("192.0.2.1"),
        name: None,
        name_known: true,
        asn: Some(64_496),
        conduct: Conduct::default(),
    };
    let dkim =
        |outcome, domain: &str| Dkim { outcome, domain: domain.to_owned(), ..Dkim::default() };
    let mut authentication = Authentication {
        dkim: vec![
            dkim(Outcome::Pass, "good.example"),
            dkim(Outcome::Fail, "bad.example"),
            dkim(Outcome::Pass, "good.example"),
        ],
        ..Authentication::default()
    };
    authentication.spf.domain = "sender.example".to_owned();
    authentication.spf.outcome = Outcome::SoftFail;
    let hosts = ["WWW.link.example", "www.link.example", ""];
    let found = keys(&connection, &authentication, &hosts);
    let rows: Vec<_> = found.iter().map(Key::row).collect();
    let rows: Vec<_> = rows.iter().map(|(kind, name)| (*kind, name.as_str())).collect();
    let expected = [
        ('a', "192.0.2.1"),
        ('n', "192.0.2.0"),
        ('o', "64496"),
        ('d', "good.example"),
        ('h', "www.link.example"),
    ];
    assert_eq!(rows, expected);
    authentication.spf.outcome = Outcome::Pass;
    let found = keys(&connection, &authentication, &[]);
    assert!(found.contains(&Key::Sender("sender.example".to_owned())));
}

proptest! {
    /// However many there are and whenever, nothing is lost in sharing, and nothing counted twice.
    #[test]
    fn sharing_counts_each_once(events in prop::collection::vec((0..3_u8, 0..90_i64, 1..9_u8), 1..40)) {
        let mut events = events;
        events.sort_by_key(|(_, day, _)| *day);
        let key = signer("example.org");
        let mut alone = Reputation::new(10, 1);
        let mut sharing = Reputation::new(10, 1);
        let mut database: Option<Row> = None;
        let mut now = 0;
        for (step, day, count) in events {
            now = day * DAY;
            alone.note_many(&key, Event::Good, f64::from(count), now);
            sharing.note_many(&key, Event::Good, f64::from(count), now);
            if step > 0 {
                for change in sharing.take_changes(now) {
                    database = Some(database.map_or(change.clone(), |row| row.plus(&change)));
                }
            }
            if step > 1 {
                sharing.merge(database.clone(), now);
            }
        }
        let (one, other) = (alone.counts(&key, now), sharing.counts(&key, now));
        prop_assert!((one.good - other.good).abs() < 1e-6 * (1.0 + one.good), "{one:?} {other:?}");
    }
}
