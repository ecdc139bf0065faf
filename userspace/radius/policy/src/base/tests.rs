use std::net::Ipv4Addr;

use muralla_radius_dictionary::Pair;

use super::*;
use crate::credential::View;
use crate::names::{Case, Realm};

fn base() -> Base {
    Base::new(Dictionary::built_in(), Names::default(), [1, 2])
}

fn subscriber(name: &str, credential: &str) -> Subscriber {
    Subscriber {
        name: name.to_owned(),
        credential: Credential::parse(credential).unwrap(),
        ..Subscriber::default()
    }
}

fn pairs(texts: &[&str]) -> Vec<Pair> {
    let dictionary = Dictionary::built_in();
    texts.iter().map(|text| Pair::parse(&dictionary, text).unwrap()).collect()
}

#[test]
fn subscribers_come_change_and_go() {
    let base = base();
    assert!(!base.is_ready());
    let ann = Subscriber {
        profiles: vec!["gold".to_owned(), "basic".to_owned()],
        address: Some(Ipv4Addr::new(192, 0, 2, 1)),
        credit_seconds: Some(60),
        ..subscriber("ann", "{CLEARTEXT}secret")
    };
    assert_eq!(base.upsert_subscriber(&ann), Ok(Upserted { new: true, notes: vec![] }));
    let found = base.subscriber("ann").unwrap();
    assert_eq!((found.name(), found.scheme()), ("ann", Scheme::Cleartext));
    assert_eq!(found.profiles(), ["gold", "basic"]);
    assert_eq!(found.credits(), (Some(60), None));
    assert_eq!(found.addresses(), (ann.address, None, None));
    assert!(!found.is_disabled() && !found.has_own_items());
    assert!(!format!("{found:?} {base:?}").contains("secret"));

    let disabled = Subscriber { disabled: true, ..subscriber("ann", "") };
    assert_eq!(base.upsert_subscriber(&disabled), Ok(Upserted { new: false, notes: vec![] }));
    assert!(base.subscriber("ann").unwrap().is_disabled());
    assert!(!found.is_disabled(), "who holds the old one keeps it");

    assert_eq!(base.subscribers(), 1);
    assert!(base.remove_subscriber("ann"));
    assert!(!base.remove_subscriber("ann"));
    assert!(base.subscriber("ann").is_none());
    assert_eq!(base.subscribers(), 0);
}

#[test]
fn who_can_not_be_read_is_refused_for_that_until_he_can() {
    let names = Names::new(Case::Folded);
    let base = Base::new(Dictionary::built_in(), names, [1, 2]);
    let reason = |name: &str| base.look_up(name.as_bytes()).record.err();
    let ann = subscriber("Ann", "{CLEARTEXT}secret");
    base.upsert_subscriber(&ann).unwrap();
    assert_eq!((reason("ann"), base.subscribers()), (None, 1));
    base.shut_out("ann");
    assert_eq!((reason("ANN"), base.subscribers()), (Some(Reason::Unreadable), 0));
    assert!(base.subscriber("Ann").is_none());
    assert_eq!(reason("bob"), Some(Reason::UnknownUser));
    base.upsert_subscriber(&ann).unwrap();
    assert_eq!((reason("ann"), base.subscribers()), (None, 1));
    base.shut_out("ann");
    base.remove_subscriber("ann");
    assert_eq!(reason("ann"), Some(Reason::UnknownUser));
    // A load of everything says it as well.
    let bulk = base.bulk();
    bulk.shut_out("ann");
    base.commit(bulk);
    assert_eq!(reason("Ann"), Some(Reason::Unreadable));
}

#[test]
fn what_can_not_be_used_leaves_what_was_there() {
    let base = base();
    let ann = subscriber("ann", "{CLEARTEXT}secret");
    base.upsert_subscriber(&ann).unwrap();
    let many = (0..9).map(|number| format!("p{number}")).collect();
    let long = "x".repeat(254);
    let broken = [
        Subscriber { profiles: many, ..ann.clone() },
        Subscriber { reply: pairs(&["Idle-Timeout == 1"]), ..ann.clone() },
        Subscriber { check: pairs(&["Huntgroup-Name > a"]), ..ann.clone() },
        Subscriber { pool: Some(String::new()), ..ann.clone() },
        Subscriber { pool6: Some(long.clone()), ..ann.clone() },
        Subscriber { profiles: vec![String::new()], ..ann.clone() },
        subscriber("", "{CLEARTEXT}secret"),
        subscriber(&long, "{CLEARTEXT}secret"),
    ];
    for broken in &broken {
        assert!(base.upsert_subscriber(broken).is_err(), "{broken:?}");
    }
    assert_eq!(base.subscriber("ann").unwrap().profiles(), [""; 0]);
    assert_eq!(base.subscribers(), 1);
}

#[test]
fn passwords_among_check_items_count_where_there_is_none() {
    let base = base();
    let check = pairs(&["Crypt-Password := \"abJnggxhB/yWI\"", "User-Profile := \"gold\""]);
    let imported = Subscriber { check, ..subscriber("ann", "") };
    base.upsert_subscriber(&imported).unwrap();
    let found = base.subscriber("ann").unwrap();
    assert_eq!(found.scheme(), Scheme::Crypt);
    assert_eq!(found.profiles(), ["gold"]);
    assert!(!found.has_own_items(), "nothing is left of them");
    let both =
        Subscriber { credential: Credential::parse("{CLEARTEXT}secret").unwrap(), ..imported };
    base.upsert_subscriber(&both).unwrap();
    assert_eq!(base.subscriber("ann").unwrap().scheme(), Scheme::Cleartext);
}

#[test]
fn letters_case_is_as_configured() {
    let folded = Base::new(Dictionary::built_in(), Names::new(Case::Folded), [1, 2]);
    folded.upsert_subscriber(&subscriber("Ann", "")).unwrap();
    assert_eq!(folded.subscriber("aNN").unwrap().name(), "Ann");
    assert!(!folded.upsert_subscriber(&subscriber("ANN", "")).unwrap().new);
    assert_eq!(folded.subscribers(), 1);
    assert!(folded.remove_subscriber("ann"));

    let exact = base();
    exact.upsert_subscriber(&subscriber("Ann", "")).unwrap();
    assert!(exact.subscriber("ann").is_none());
    assert!(exact.upsert_subscriber(&subscriber("ann", "")).unwrap().new);
}

#[test]
fn a_bulk_load_takes_the_place_of_all_at_its_end() {
    let base = base();
    base.upsert_subscriber(&subscriber("old", "")).unwrap();
    let names = Names::default().with_other_realms(Realm::Strip);
    let bulk = base.bulk_with(Dictionary::built_in(), names);
    let profile = Profile { name: "gold".to_owned(), ..Profile::default() };
    assert_eq!(bulk.upsert_profiles(&[profile]), [Ok(vec![])]);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let bulk = &bulk;
            scope.spawn(move || {
                for number in 0..500 {
                    let mut new = subscriber(&format!("user {thread} {number}"), "");
                    new.profiles.push(format!("profile {}", number % 10));
                    new.pool = Some(format!("pool {}", number % 7));
                    bulk.upsert_subscriber(&new).unwrap();
                }
            });
        }
    });
    assert_eq!((base.subscribers(), bulk.subscribers()), (1, 2000));
    assert!(base.subscriber("old").is_some() && !base.has_profile("gold"));
    base.commit(bulk);
    assert!(base.is_ready() && base.subscriber("old").is_none() && base.has_profile("gold"));
    assert_eq!(base.subscribers(), 2000);
    for thread in 0..4 {
        for number in 0..500 {
            let found = base.subscriber(&format!("user {thread} {number}")).unwrap();
            assert_eq!(found.profiles(), [format!("profile {}", number % 10)]);
        }
    }
    let mut buffer = [0; LONGEST_NAME];
    assert_eq!(base.key(b"ann@isp.example", &mut buffer), Some(&b"ann"[..]));
    // Ten profiles are named and not there.
    assert_eq!(base.problems().len(), 10);
}

/// While one changes, others look: they find every subscriber, as he was or as he is.
#[test]
fn readers_see_whole_subscribers() {
    let base = base();
    let state = |number: u32| {
        let mut ann = subscriber("ann", &format!("{{CLEARTEXT}}{number}"));
        ann.credit_seconds = number.is_multiple_of(2).then_some(i64::from(number));
        ann.profiles = vec![format!("p{}", number % 50)];
        ann
    };
    base.upsert_subscriber(&state(0)).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut looks = 0;
                while !done.load(Ordering::Relaxed) || looks == 0 {
                    let found = base.subscriber("ann").expect("she is always there");
                    let fields = found.record.fields();
                    let View::Cleartext(password) = View::of(fields.credential) else {
                        panic!("torn");
                    };
                    let number: u32 = str::from_utf8(password).unwrap().parse().unwrap();
                    assert_eq!(found.profiles(), [format!("p{}", number % 50)]);
                    assert_eq!(found.credits().0.is_some(), number.is_multiple_of(2));
                    looks += 1;
                }
            });
        }
        for number in 1..3000 {
            base.upsert_subscriber(&state(number)).unwrap();
            base.upsert_subscriber(&subscriber(&format!("other {number}"), "")).unwrap();
            if number % 100 == 0 {
                let bulk = base.bulk();
                bulk.upsert_subscriber(&state(number)).unwrap();
                base.commit(bulk);
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn the_decoy_is_like_most() {
    let base = base();
    let scheme = || View::of(&base.current.load().decoy.load()).scheme();
    assert_eq!(scheme(), Scheme::NtHash);
    let crypt = "$1$12345678$4DK4ebv57KmaPG8fC6f5l1";
    base.upsert_subscriber(&subscriber("a", "{CLEARTEXT}x")).unwrap();
    assert_eq!(scheme(), Scheme::Cleartext);
    base.upsert_subscriber(&subscriber("b", crypt)).unwrap();
    base.upsert_subscriber(&subscriber("c", crypt)).unwrap();
    assert_eq!(scheme(), Scheme::Crypt);
    base.upsert_subscriber(&subscriber("b", "{CLEARTEXT}x")).unwrap();
    assert!(base.remove_subscriber("c"));
    assert_eq!(scheme(), Scheme::Cleartext);
}

#[test]
fn a_profile_is_conditional_if_it_or_its_parent_asks_something() {
    let base = base();
    let profile = |name: &str, parents: &[&str], check: &[&str]| Profile {
        name: name.to_owned(),
        parents: parents.iter().map(|parent| (*parent).to_owned()).collect(),
        check: pairs(check),
        ..Profile::default()
    };
    let results = base.upsert_profiles(&[
        profile("dial", &[], &["Huntgroup-Name == dial"]),
        profile("child", &["dial"], &[]),
        profile("all", &[], &["Simultaneous-Use := 1", "Auth-Type := Reject"]),
        profile("broken", &["missing"], &["Huntgroup-Name == dial"]),
    ]);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    for (name, expected) in
        [("dial", true), ("child", true), ("all", false), ("broken", false), ("none", false)]
    {
        assert_eq!(base.is_conditional(name), expected, "{name}");
    }
}
