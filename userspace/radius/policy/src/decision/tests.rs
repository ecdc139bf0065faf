use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write as _;

use muralla_radius_dictionary::{Dictionary, Pair};
use muralla_radius_wire::{Code, LONGEST, Secret};

use super::*;
use crate::base::Settings;
use crate::credential::Credential;
use crate::hours::Hours;
use crate::names::{Names, Realm};
use crate::profile::Profile;
use crate::subscriber::Subscriber;

/// Sunday, 3 January 2027, 00:00 UTC.
const SUNDAY: i64 = 1_798_934_400;

struct World {
    base: Base,
    open: HashMap<String, usize>,
    uncharged: Used,
    interims: HashMap<&'static str, u32>,
    /// What each pool says.
    pools: HashMap<&'static str, Result<&'static str, PoolError>>,
    leased: RefCell<Vec<String>>,
    now: Moment,
}

impl Sessions for World {
    fn open(&self, holder: &Holder<'_>) -> usize {
        self.open.get(holder.user).copied().unwrap_or(0)
    }

    fn uncharged(&self, _: &Holder<'_>) -> Used {
        self.uncharged
    }
}

impl Pools for World {
    fn address(&self, pool: &str, holder: &Holder<'_>) -> Result<Ipv4Addr, PoolError> {
        self.leased.borrow_mut().push(format!("{pool} {}", holder.user));
        let said = self.pools.get(pool).copied().unwrap_or(Err(PoolError::Unknown));
        said.map(|address| address.parse().unwrap())
    }

    fn prefix(&self, pool: &str, _: &Holder<'_>) -> Result<Ipv6Net, PoolError> {
        let said = self.pools.get(pool).copied().unwrap_or(Err(PoolError::Unknown));
        said.map(|prefix| prefix.parse().unwrap())
    }

    fn interim(&self, pool: &str) -> Option<u32> {
        self.interims.get(pool).copied()
    }
}

fn pairs(texts: &[&str]) -> Vec<Pair> {
    let dictionary = Dictionary::built_in();
    texts
        .iter()
        .map(|text| Pair::parse(&dictionary, text).unwrap_or_else(|why| panic!("{text}: {why}")))
        .collect()
}

/// Ann, whose password is secret.
fn ann() -> Subscriber {
    Subscriber {
        name: "ann".to_owned(),
        credential: Credential::parse("{CLEARTEXT}secret").unwrap(),
        ..Subscriber::default()
    }
}

fn world(subscribers: &[Subscriber], profiles: &[Profile]) -> World {
    let names = Names::default()
        .with_realm("isp.example", Realm::Strip)
        .with_realm("gone.example", Realm::Refuse);
    let base = Base::new(Dictionary::built_in(), names, [1, 2]);
    for result in base.upsert_profiles(profiles) {
        result.unwrap();
    }
    for subscriber in subscribers {
        base.upsert_subscriber(subscriber).unwrap();
    }
    base.set_ready(true);
    World {
        base,
        open: HashMap::new(),
        uncharged: Used::default(),
        interims: HashMap::new(),
        pools: HashMap::from([
            ("main", Ok("198.51.100.7")),
            ("other", Ok("198.51.100.8")),
            ("six", Ok("2001:db8:1::/64")),
            ("delegated", Ok("2001:db8:2::/56")),
            ("empty", Err(PoolError::Empty)),
            ("away", Err(PoolError::Away)),
        ]),
        leased: RefCell::default(),
        now: Moment::utc(SUNDAY),
    }
}

/// What comes back, in the notation of the lists, after a word for what it is.
fn answer(
    world: &World,
    name: &str,
    write: impl FnOnce(&mut Writer<'_>),
    items: &[&str],
) -> Vec<String> {
    let dictionary = Dictionary::built_in();
    let secret = Secret::new("secret").unwrap();
    let mut bytes = [0; LONGEST];
    let mut writer = Writer::request(&mut bytes, Code::ACCESS_REQUEST, 1, [7; 16], &secret);
    writer.push(kind::USER_NAME, name.as_bytes());
    write(&mut writer);
    let mut encoded = Vec::new();
    for pair in pairs(items) {
        dictionary.encode(&pair, &mut encoded).unwrap();
    }
    writer.append(&encoded);
    let length = writer.finish().unwrap();
    let packet = Packet::parse(&bytes[..length]).unwrap();
    let mut buffer = [0; 128];
    let offered = Offered::of(&packet, &secret, &mut buffer).unwrap();
    let groups = [Arc::from("dial")];
    let address = "192.0.2.1".parse().unwrap();
    let nas = Nas { name: "nas-1", groups: &groups, telco: None, address };
    let request = Request { packet: &packet, offered: &offered, nas };
    let mut decision =
        decide(&world.base, look_up(&world.base, &packet), &request, world, world, world.now);
    if let Decision::Costly(costly) = decision {
        decision = resume(&world.base, costly.run(), &request, world, world, world.now);
    }
    let mut bytes = [0; LONGEST];
    let mut writer = Writer::reply(&mut bytes, Code::ACCESS_ACCEPT, &packet, &secret);
    let word = match &decision {
        Decision::Accept(accept) => {
            accept.write(Salts::from_random(1), &mut writer);
            "accept".to_owned()
        }
        Decision::Reject(refusal) => {
            refusal.write(&world.base.settings(), [0xab; 16], &mut writer);
            format!("reject {}", refusal.reason.name())
        }
        Decision::Drop(refusal) => format!("drop {}", refusal.reason.name()),
        Decision::Costly(_) => panic!("costly again"),
    };
    let length = writer.finish().unwrap();
    let reply = Packet::parse(&bytes[..length]).unwrap();
    let attributes = reply.attribute_bytes().get(18..).unwrap();
    let attributes = dictionary.decode(attributes);
    let mut all = vec![word];
    all.extend(attributes.iter().map(|pair| {
        let mut text = pair.attribute.name().to_owned();
        if !pair.attribute.is_secret() {
            let _ = write!(text, " {}", pair.value.shown(&pair.attribute));
        }
        text
    }));
    all
}

/// Somebody logs in by PAP.
fn login(world: &World, name: &str, password: &str, items: &[&str]) -> Vec<String> {
    answer(world, name, |writer| writer.hide_password(password.as_bytes()), items)
}

fn look_up(base: &Base, packet: &Packet<'_>) -> Found {
    base.look_up(packet.first(kind::USER_NAME).unwrap_or_default())
}

/// What is decided about Ann, in a word or two.
fn word(world: &World, items: &[&str]) -> String {
    login(world, "ann", "secret", items).swap_remove(0)
}

#[test]
fn a_password_lets_in() {
    let world = world(&[ann()], &[]);
    for name in ["ann", "ann@isp.example", "ann@ISP.example"] {
        assert_eq!(login(&world, name, "secret", &[]), ["accept"], "{name}");
    }
    for name in ["ann@other.example", "Ann", "bob", "ann\0"] {
        let answer = login(&world, name, "secret", &[]);
        assert_eq!(answer, ["reject unknown_user", "Reply-Message \"Wrong name or password.\""]);
    }
    assert_eq!(login(&world, "", "secret", &[])[0], "reject no_name");
}

#[test]
fn who_is_not_known_gets_the_same_answer() {
    let costly = Subscriber {
        credential: Credential::parse(
            "$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2",
        )
        .unwrap(),
        ..ann()
    };
    let worlds = [
        world(&[ann()], &[]),
        world(&[costly], &[]),
        world(&[Subscriber { credential: Credential::None, ..ann() }], &[]),
        world(&[Subscriber { disabled: true, ..ann() }], &[]),
    ];
    for world in &worlds {
        let wrong = login(world, "ann", "wrong", &[]);
        let unknown = login(world, "bob", "wrong", &[]);
        let refused = login(world, "ann@gone.example", "wrong", &[]);
        assert_eq!(wrong[1..], unknown[1..]);
        assert_eq!(wrong[1..], refused[1..]);
        assert_ne!(wrong[0], unknown[0], "the log knows");
        assert_eq!(refused[0], "reject refused_realm");
    }
    // And the same kind of work: where most are costly, so is the look at who is not known.
    let secret = Secret::new("secret").unwrap();
    for name in ["ann", "bob"] {
        let mut bytes = [0; LONGEST];
        let mut writer = Writer::request(&mut bytes, Code::ACCESS_REQUEST, 1, [7; 16], &secret);
        writer.push(kind::USER_NAME, name.as_bytes());
        let length = writer.finish().unwrap();
        let packet = Packet::parse(&bytes[..length]).unwrap();
        let address = "192.0.2.1".parse().unwrap();
        let nas = Nas { name: "nas-1", groups: &[], telco: None, address };
        let offered = Offered::Pap(b"correct horse");
        let request = Request { packet: &packet, offered: &offered, nas };
        let world = &worlds[1];
        let decision =
            decide(&world.base, look_up(&world.base, &packet), &request, world, world, world.now);
        let Decision::Costly(costly) = decision else { panic!("{name}: {decision:?}") };
        assert!(!format!("{costly:?}").contains("horse"));
        let decision = resume(&world.base, costly.run(), &request, world, world, world.now);
        match decision {
            Decision::Accept(_) => assert_eq!(name, "ann"),
            // Even by the password of the one whom the decoy was made after.
            Decision::Reject(refusal) => {
                assert_eq!((name, refusal.reason), ("bob", Reason::UnknownUser));
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn nobody_is_answered_before_the_subscribers_are_there() {
    let world = world(&[ann()], &[]);
    world.base.set_ready(false);
    assert_eq!(word(&world, &[]), "drop not_ready");
}

#[test]
fn who_has_something_of_a_pool_is_asked_to_tell_of_himself() {
    let own = |reply: &[&str], pool6: Option<&str>| Subscriber {
        pool: Some("main".to_owned()),
        pool6: pool6.map(str::to_owned),
        reply: pairs(reply),
        ..ann()
    };
    for (subscriber, expected) in [
        (own(&[], None), Some("Acct-Interim-Interval 1200")),
        (own(&[], Some("v6")), Some("Acct-Interim-Interval 300")),
        (own(&["Acct-Interim-Interval = 900"], None), Some("Acct-Interim-Interval 900")),
        // An address of his own is his however seldom he is heard of.
        (Subscriber { address: Some([192, 0, 2, 1].into()), ..own(&[], None) }, None),
        (ann(), None),
    ] {
        let mut world = world(std::slice::from_ref(&subscriber), &[]);
        world.pools.insert("v6", Ok("2001:db8::/64"));
        world.interims = HashMap::from([("main", 1_200), ("v6", 300)]);
        let answer = login(&world, "ann", "secret", &[]);
        assert_eq!(answer[0], "accept", "{subscriber:?}");
        let interim = answer.iter().find(|line| line.starts_with("Acct-Interim-Interval"));
        assert_eq!(interim.map(String::as_str), expected, "{subscriber:?}");
    }
}

#[test]
fn what_open_sessions_use_is_not_given_again() {
    let used = |seconds, octets| Used { seconds, octets };
    for (seconds, bytes, uncharged, expected, timeout) in [
        (Some(600), None, used(0, 0), "accept", Some(600)),
        (Some(600), None, used(599, 1 << 40), "accept", Some(1)),
        (Some(600), None, used(600, 0), "reject no_time_left", None),
        (Some(600), None, used(u64::MAX, 0), "reject no_time_left", None),
        (None, Some(1000), used(9999, 999), "accept", None),
        (None, Some(1000), used(0, 1000), "reject no_volume_left", None),
        (Some(i64::MIN), None, used(u64::MAX, 0), "reject no_time_left", None),
        (None, None, used(u64::MAX, u64::MAX), "accept", None),
    ] {
        let ann = Subscriber { credit_seconds: seconds, credit_bytes: bytes, ..ann() };
        let mut world = world(&[ann], &[]);
        world.uncharged = uncharged;
        let answer = login(&world, "ann", "secret", &[]);
        assert_eq!(answer[0], expected, "{seconds:?} {bytes:?} {uncharged:?}");
        if expected == "accept" {
            let timeout: Vec<String> =
                timeout.iter().map(|seconds| format!("Session-Timeout {seconds}")).collect();
            assert_eq!(answer[1..], timeout, "{seconds:?} {bytes:?} {uncharged:?}");
        }
    }
}

#[test]
fn limits_of_a_subscriber() {
    let now = SUNDAY;
    let cases = [
        (Subscriber { disabled: true, ..ann() }, "reject disabled", None),
        (Subscriber { not_before: Some(now + 1), ..ann() }, "reject not_yet_valid", None),
        (Subscriber { not_before: Some(now), ..ann() }, "accept", None),
        (Subscriber { not_after: Some(now), ..ann() }, "reject expired", None),
        (Subscriber { not_after: Some(now + 1), ..ann() }, "accept", Some(1)),
        (Subscriber { not_after: Some(i64::MAX), ..ann() }, "accept", None),
        (Subscriber { credit_seconds: Some(0), ..ann() }, "reject no_time_left", None),
        (Subscriber { credit_seconds: Some(-7), ..ann() }, "reject no_time_left", None),
        (Subscriber { credit_seconds: Some(90), ..ann() }, "accept", Some(90)),
        (Subscriber { credit_bytes: Some(0), ..ann() }, "reject no_volume_left", None),
        (Subscriber { credit_bytes: Some(1), ..ann() }, "accept", None),
        (Subscriber { simultaneous: Some(2), ..ann() }, "reject too_many_sessions", None),
        (Subscriber { simultaneous: Some(3), ..ann() }, "accept", None),
        (Subscriber { simultaneous: Some(0), ..ann() }, "reject too_many_sessions", None),
        (
            Subscriber { check: pairs(&["Expiration := \"1798934500\""]), ..ann() },
            "accept",
            Some(100),
        ),
        (
            Subscriber { check: pairs(&["Expiration := \"1798934400\""]), ..ann() },
            "reject expired",
            None,
        ),
        (
            Subscriber { check: pairs(&["Login-Time := \"Mo\""]), ..ann() },
            "reject outside_hours",
            None,
        ),
        (
            Subscriber {
                not_after: Some(now + 100),
                credit_seconds: Some(90),
                check: pairs(&["Login-Time := \"Su\""]),
                reply: pairs(&["Session-Timeout = 95"]),
                ..ann()
            },
            "accept",
            Some(90),
        ),
        (
            Subscriber { check: pairs(&["Login-Time := \"Su0000-0009\""]), ..ann() },
            "accept",
            Some(600),
        ),
        (Subscriber { reply: pairs(&["Session-Timeout = 95"]), ..ann() }, "accept", Some(95)),
        (Subscriber { reply: pairs(&["Session-Timeout = 0"]), ..ann() }, "accept", None),
        (Subscriber { check: pairs(&["NAS-Port == 1"]), ..ann() }, "reject check_failed", None),
        (Subscriber { check: pairs(&["NAS-Port !* ANY"]), ..ann() }, "accept", None),
        (Subscriber { check: pairs(&["Auth-Type := Reject"]), ..ann() }, "reject disabled", None),
    ];
    for (subscriber, expected, timeout) in cases {
        let mut world = world(std::slice::from_ref(&subscriber), &[]);
        world.open.insert("ann".to_owned(), 2);
        let answer = login(&world, "ann", "secret", &[]);
        assert_eq!(answer[0], expected, "{subscriber:?}");
        if expected == "accept" {
            let timeout: Vec<String> =
                timeout.iter().map(|seconds| format!("Session-Timeout {seconds}")).collect();
            assert_eq!(answer[1..], timeout, "{subscriber:?}");
        }
        // Without the password, nobody learns any of it.
        assert_eq!(login(&world, "ann", "wrong", &[])[0], "reject wrong_password");
    }
}

fn profile(name: &str) -> Profile {
    Profile { name: name.to_owned(), ..Profile::default() }
}

#[test]
fn the_first_profile_that_applies_is_taken() {
    let profiles = [
        Profile {
            check: pairs(&["NAS-Port-Type == ISDN"]),
            reply: pairs(&["Port-Limit = 2"]),
            ..profile("isdn")
        },
        Profile {
            check: pairs(&["Huntgroup-Name == dial"]),
            reply: pairs(&["Port-Limit = 1", "Filter-Id = \"dial\""]),
            fall_through: true,
            ..profile("dial")
        },
        Profile {
            check: pairs(&["Calling-Station-Id =~ \"^021\""]),
            reply: pairs(&["Port-Limit = 9", "Filter-Id += \"north\"", "Framed-MTU = 1400"]),
            ..profile("north")
        },
        Profile { reply: pairs(&["Login-TCP-Port = 1"]), ..profile("never reached") },
    ];
    let all = ["isdn", "dial", "north", "never reached"].map(str::to_owned).to_vec();
    let subscriber = Subscriber { profiles: all, ..ann() };
    let world = world(&[subscriber], &profiles);
    let isdn = login(&world, "ann", "secret", &["NAS-Port-Type = ISDN"]);
    assert_eq!(isdn, ["accept", "Port-Limit 2"]);
    let north = login(&world, "ann", "secret", &["Calling-Station-Id = \"0215\""]);
    assert_eq!(
        north,
        ["accept", "Port-Limit 1", "Filter-Id \"dial\"", "Filter-Id \"north\"", "Framed-MTU 1400"]
    );
    let other = login(&world, "ann", "secret", &["Calling-Station-Id = \"0315\""]);
    assert_eq!(other, ["accept", "Port-Limit 1", "Filter-Id \"dial\"", "Login-TCP-Port 1"]);
}

#[test]
fn who_has_profiles_of_which_none_applies_is_refused() {
    let isdn = Profile { check: pairs(&["NAS-Port-Type == ISDN"]), ..profile("isdn") };
    let closed = Profile { check: pairs(&["Auth-Type := Reject"]), ..profile("closed") };
    let cases: [(&[&str], &str); 4] = [
        (&["isdn"], "reject no_profile_applies"),
        (&["gone"], "reject broken_profile"),
        (&["closed"], "reject disabled"),
        (&[], "accept"),
    ];
    for (profiles, expected) in cases {
        let profiles = profiles.iter().map(|name| (*name).to_owned()).collect();
        let world = world(&[Subscriber { profiles, ..ann() }], &[isdn.clone(), closed.clone()]);
        assert_eq!(word(&world, &[]), expected);
    }
}

#[test]
fn his_own_goes_before_his_profile_and_that_before_its_parent() {
    let parent = Profile {
        reply: pairs(&["Framed-MTU = 1", "Port-Limit = 1", "Filter-Id = \"parent\""]),
        idle_timeout: Some(100),
        interim: Some(600),
        session_timeout: Some(1000),
        simultaneous: Some(1),
        ..profile("parent")
    };
    let child = Profile {
        parents: vec!["parent".to_owned()],
        reply: pairs(&["Framed-MTU = 2", "Port-Limit = 2"]),
        idle_timeout: Some(200),
        simultaneous: Some(9),
        ..profile("child")
    };
    let subscriber = Subscriber {
        profiles: vec!["child".to_owned()],
        reply: pairs(&["Framed-MTU = 3", "Idle-Timeout = 300"]),
        ..ann()
    };
    let mut world = world(&[subscriber], &[parent, child]);
    world.open.insert("ann".to_owned(), 8);
    assert_eq!(
        login(&world, "ann", "secret", &[]),
        [
            "accept",
            "Session-Timeout 1000",
            "Idle-Timeout 300",
            "Acct-Interim-Interval 600",
            "Framed-MTU 3",
            "Port-Limit 2",
            "Filter-Id \"parent\"",
        ]
    );
    world.open.insert("ann".to_owned(), 9);
    assert_eq!(word(&world, &[]), "reject too_many_sessions");
    // A profile that changes is in force at once.
    let child = Profile { simultaneous: Some(10), ..profile("child") };
    world.base.upsert_profile(&child).unwrap();
    assert_eq!(login(&world, "ann", "secret", &[]), ["accept", "Idle-Timeout 300", "Framed-MTU 3"]);
}

#[test]
fn addresses_are_stored_or_said_or_leased() {
    let main = Profile { pool: Some("main".to_owned()), ..profile("main") };
    let fixed = Profile { reply: pairs(&["Framed-IP-Address = 192.0.2.9"]), ..profile("fixed") };
    let both = Profile {
        pool: Some("main".to_owned()),
        reply: pairs(&["Framed-IP-Address = 255.255.255.254"]),
        ..profile("both")
    };
    let away = Profile { pool: Some("away".to_owned()), ..profile("away") };
    let empty = Profile { pool: Some("empty".to_owned()), ..profile("empty") };
    let stored = Some(Ipv4Addr::new(203, 0, 113, 5));
    let other = Some("other".to_owned());
    let item = pairs(&["Framed-IP-Address = 192.0.2.10"]);
    let cases = [
        ("main", ann(), &["accept", "Framed-IP-Address 198.51.100.7"][..], 1),
        (
            "main",
            Subscriber { address: stored, ..ann() },
            &["accept", "Framed-IP-Address 203.0.113.5"],
            0,
        ),
        (
            "main",
            Subscriber { pool: other.clone(), ..ann() },
            &["accept", "Framed-IP-Address 198.51.100.8"],
            1,
        ),
        (
            "main",
            Subscriber { reply: item.clone(), ..ann() },
            &["accept", "Framed-IP-Address 192.0.2.10"],
            0,
        ),
        ("fixed", ann(), &["accept", "Framed-IP-Address 192.0.2.9"], 0),
        (
            "fixed",
            Subscriber { pool: other.clone(), ..ann() },
            &["accept", "Framed-IP-Address 198.51.100.8"],
            1,
        ),
        (
            "fixed",
            Subscriber { address: stored, ..ann() },
            &["accept", "Framed-IP-Address 203.0.113.5"],
            0,
        ),
        (
            "fixed",
            Subscriber { reply: item, pool: other, ..ann() },
            &["accept", "Framed-IP-Address 192.0.2.10"],
            0,
        ),
        ("both", ann(), &["accept", "Framed-IP-Address 255.255.255.254"], 0),
        ("away", ann(), &["drop pool_unavailable"], 1),
        (
            "empty",
            ann(),
            &["reject pool_empty", "Reply-Message \"No address is free at the moment.\""],
            1,
        ),
        (
            "main",
            Subscriber { pool: Some("unknown".to_owned()), ..ann() },
            &["reject no_such_pool", "Reply-Message \"You can not be connected at the moment.\""],
            1,
        ),
    ];
    for (name, subscriber, expected, leases) in cases {
        let subscriber = Subscriber { profiles: vec![name.to_owned()], ..subscriber };
        let all = [main.clone(), fixed.clone(), both.clone(), away.clone(), empty.clone()];
        let world = world(std::slice::from_ref(&subscriber), &all);
        assert_eq!(login(&world, "ann", "secret", &[]), expected, "{name} {subscriber:?}");
        assert_eq!(world.leased.borrow().len(), leases, "{name} {subscriber:?}");
    }
}

#[test]
fn a_refusal_leases_nothing() {
    let subscriber = Subscriber { pool: Some("main".to_owned()), simultaneous: Some(0), ..ann() };
    let world = world(&[subscriber], &[]);
    assert_eq!(word(&world, &[]), "reject too_many_sessions");
    assert_eq!(login(&world, "ann", "wrong", &[])[0], "reject wrong_password");
    assert_eq!(world.leased.borrow().len(), 0);
}

#[test]
fn prefixes_are_stored_or_leased_and_an_empty_pool_keeps_nobody_out() {
    let six = Subscriber {
        pool: Some("main".to_owned()),
        pool6: Some("six".to_owned()),
        delegated_pool6: Some("delegated".to_owned()),
        ..ann()
    };
    let stored = Subscriber {
        prefix6: Some("2001:db8:7::/64".parse().unwrap()),
        delegated6: Some("2001:db8:8::/48".parse().unwrap()),
        ..six.clone()
    };
    let short = Subscriber { delegated_pool6: Some("empty".to_owned()), ..six.clone() };
    let only6 = Subscriber { pool: None, pool6: Some("empty".to_owned()), ..ann() };
    let cases = [
        (
            six,
            &[
                "accept",
                "Framed-IP-Address 198.51.100.7",
                "Framed-IPv6-Prefix 2001:db8:1::/64",
                "Delegated-IPv6-Prefix 2001:db8:2::/56",
            ][..],
        ),
        (
            stored,
            &[
                "accept",
                "Framed-IP-Address 198.51.100.7",
                "Framed-IPv6-Prefix 2001:db8:7::/64",
                "Delegated-IPv6-Prefix 2001:db8:8::/48",
            ],
        ),
        (
            short,
            &["accept", "Framed-IP-Address 198.51.100.7", "Framed-IPv6-Prefix 2001:db8:1::/64"],
        ),
        (only6, &["reject pool_empty", "Reply-Message \"No address is free at the moment.\""]),
    ];
    for (subscriber, expected) in cases {
        let world = world(std::slice::from_ref(&subscriber), &[]);
        assert_eq!(login(&world, "ann", "secret", &[]), expected, "{subscriber:?}");
    }
}

#[test]
fn volume_is_limited_where_the_profile_says_by_what() {
    let items =
        ["Mikrotik-Total-Limit := 4294967295", "Mikrotik-Total-Limit-Gigawords := 4294967295"];
    let mikrotik = Profile { reply: pairs(&items), ..profile("mikrotik") };
    let capped = Profile { reply: pairs(&["Mikrotik-Total-Limit := 1000"]), ..profile("capped") };
    let cases = [
        ("mikrotik", Some(500), &["Mikrotik-Total-Limit 500"][..]),
        (
            "mikrotik",
            Some(3 << 32 | 5),
            &["Mikrotik-Total-Limit 5", "Mikrotik-Total-Limit-Gigawords 3"],
        ),
        ("capped", Some(500), &["Mikrotik-Total-Limit 500"]),
        ("capped", Some(5000), &["Mikrotik-Total-Limit 1000"]),
        ("capped", None, &["Mikrotik-Total-Limit 1000"]),
        ("plain", Some(500), &[]),
    ];
    for (name, credit_bytes, expected) in cases {
        let profiles = vec![name.to_owned()];
        let subscriber = Subscriber { profiles, credit_bytes, ..ann() };
        let all = [mikrotik.clone(), capped.clone(), profile("plain")];
        let world = world(&[subscriber], &all);
        let answer = login(&world, "ann", "secret", &[]);
        assert_eq!(answer[0], "accept");
        assert_eq!(answer[1..], *expected, "{name} {credit_bytes:?}");
    }
}

#[test]
fn the_nearest_hours_count() {
    let profile = Profile { login_times: Some(Hours::parse("Mo").unwrap()), ..profile("monday") };
    let profiles = vec!["monday".to_owned()];
    let own = Subscriber { check: pairs(&["Login-Time := \"Su\""]), profiles, ..ann() };
    let plain = Subscriber { check: vec![], ..own.clone() };
    assert_eq!(word(&world(&[own], std::slice::from_ref(&profile)), &[]), "accept");
    let mut world = world(&[plain], &[profile]);
    assert_eq!(word(&world, &[]), "reject outside_hours");
    // An hour to midnight, and one hour ahead of UTC: it is Monday.
    world.now = Moment { unix: SUNDAY + 23 * 3600, offset: 3600 };
    assert_eq!(login(&world, "ann", "secret", &[]), ["accept", "Session-Timeout 86400"]);
}

#[test]
fn the_name_is_told_where_it_is_wanted() {
    let world = world(&[ann()], &[]);
    world.base.set_settings(Settings { reply_user_name: true, ..Settings::default() });
    assert_eq!(login(&world, "ann", "secret", &[]), ["accept"]);
    let answer = login(&world, "ann@isp.example", "secret", &[]);
    assert_eq!(answer, ["accept", "User-Name \"ann\""]);
}

/// Somebody logs in by MS-CHAPv2, with the challenges of RFC 2759 section 9.2.
fn mschap2(world: &World, name: &str, password: &str) -> Vec<String> {
    let challenge = *b"\x5b\x5d\x7c\x7d\x7b\x3f\x2f\x3e\x3c\x2c\x60\x21\x32\x26\x26\x28";
    let peer = *b"\x21\x40\x23\x24\x25\x5e\x26\x2a\x28\x29\x5f\x2b\x3a\x33\x7c\x7e";
    let hash = mschap::nt_hash(password.as_bytes());
    let response = mschap2::respond(&challenge, &peer, name.as_bytes(), &hash);
    let mut value = vec![9, 0];
    value.extend(peer);
    value.extend([0; 8]);
    value.extend(response);
    let write = |writer: &mut Writer<'_>| {
        writer.push_vendor(MICROSOFT, microsoft::CHAP_CHALLENGE, &challenge);
        writer.push_vendor(MICROSOFT, microsoft::CHAP2_RESPONSE, &value);
    };
    answer(world, name, write, &[])
}

fn hex(text: &str) -> String {
    text.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[test]
fn mschap2_gives_a_proof_of_the_server_and_keys() {
    let user = Subscriber {
        name: "User".to_owned(),
        credential: Credential::parse("{NT}44ebba8d5312b8d611474411f56989ae").unwrap(),
        ..Subscriber::default()
    };
    let world = world(&[user], &[]);
    let accept = mschap2(&world, "User", "clientPass");
    assert_eq!(accept[0], "accept");
    // RFC 2759 section 9.2; the identifier goes before it.
    let success = "S=407A5589115FD0D6209F510FE9C04566932CDA56";
    assert_eq!(accept[1], format!("MS-CHAP2-Success 0x09{}", hex(success)));
    let names: Vec<&str> = accept[2..].iter().filter_map(|text| text.split(' ').next()).collect();
    assert_eq!(
        names,
        [
            "MS-MPPE-Send-Key",
            "MS-MPPE-Recv-Key",
            "MS-MPPE-Encryption-Policy",
            "MS-MPPE-Encryption-Types"
        ]
    );

    let off = Mppe { policy: 0, types: 0 };
    world.base.set_settings(Settings { mppe: off, ..Settings::default() });
    assert_eq!(mschap2(&world, "User", "clientPass").len(), 2);
}

#[test]
fn mschap_errors_say_what_the_rfcs_say() {
    let plain = Credential::parse("{CLEARTEXT}clientPass").unwrap();
    let user = Subscriber { name: "User".to_owned(), credential: plain, ..Subscriber::default() };
    let disabled = Subscriber { disabled: true, ..user.clone() };
    let late = Subscriber { check: pairs(&["Login-Time := \"Mo\""]), ..user.clone() };
    let cases = [
        (user.clone(), "User", "wrong", "reject wrong_password", "E=691"),
        (user, "Nobody", "clientPass", "reject unknown_user", "E=691"),
        (disabled.clone(), "User", "clientPass", "reject disabled", "E=647"),
        (disabled, "User", "wrong", "reject wrong_password", "E=691"),
        (late, "User", "clientPass", "reject outside_hours", "E=646"),
    ];
    for (subscriber, name, password, expected, error) in cases {
        let world = world(std::slice::from_ref(&subscriber), &[]);
        let answer = mschap2(&world, name, password);
        assert_eq!(answer[0], expected);
        let text = answer[2].strip_prefix("MS-CHAP-Error ").unwrap();
        assert!(text.contains(error), "{answer:?}");
    }
}

#[test]
fn a_hash_can_not_serve_chap() {
    let hashed = Subscriber {
        credential: Credential::parse("{MD5}5ebe2294ecd0e0f08eab7690d2a6ee69").unwrap(),
        ..ann()
    };
    let world = world(&[hashed], &[]);
    assert_eq!(login(&world, "ann", "secret", &[]), ["accept"]);
    let chap = answer(&world, "ann", |writer| writer.push(kind::CHAP_PASSWORD, &[1; 17]), &[]);
    assert_eq!(chap, ["reject method_impossible", "Reply-Message \"Wrong name or password.\""]);
}

#[test]
fn texts_are_the_operators() {
    let world = world(&[Subscriber { credit_seconds: Some(0), ..ann() }], &[]);
    let mut settings = Settings::default();
    settings.texts.set(Reason::NoTime, "Se acab\u{f3} su tiempo.").unwrap();
    settings.texts.set(Reason::WrongPassword, "").unwrap();
    world.base.set_settings(settings);
    let answer = login(&world, "ann", "secret", &[]);
    assert_eq!(answer[1], "Reply-Message \"Se acab\u{f3} su tiempo.\"");
    assert_eq!(login(&world, "ann", "wrong", &[]), ["reject wrong_password"]);
    assert_eq!(login(&world, "bob", "wrong", &[]), ["reject unknown_user"]);
}
