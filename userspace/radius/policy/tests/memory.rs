//! What a subscriber costs in memory. A process of its own, for it looks at all of the process.
#![cfg(test)]

use muralla_radius_dictionary::Dictionary;
use muralla_radius_policy::{Base, Credential, Names, Profile, Subscriber};

/// As many as it takes for the table's own size not to matter.
const SUBSCRIBERS: usize = 100_000;

/// Bytes of a subscriber without items of his own.
const BUDGET: usize = 250;

/// Bytes that the process has in memory.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn a_subscriber_takes_less_than_the_budget() {
    let base = Base::new(Dictionary::built_in(), Names::default(), [1, 2]);
    let profile = Profile { name: "residential".to_owned(), ..Profile::default() };
    base.upsert_profile(&profile).unwrap();
    let before = resident();
    // Salted hashes, as tables have them, with names of a usual length.
    for number in 0..SUBSCRIBERS {
        let digest = [u8::try_from(number % 256).unwrap(); 20];
        let credential = Credential::Digest {
            algorithm: muralla_radius_policy::credential::Algorithm::Sha1,
            digest: digest.into(),
            salt: [7; 8].into(),
        };
        let subscriber = Subscriber {
            name: format!("customer{number:06}@isp.example"),
            credential,
            profiles: vec!["residential".to_owned()],
            not_after: Some(2_000_000_000),
            credit_seconds: Some(360_000),
            ..Subscriber::default()
        };
        base.upsert_subscriber(&subscriber).unwrap();
    }
    let each = (resident() - before) / SUBSCRIBERS;
    println!("{each} bytes a subscriber");
    assert_eq!(base.subscribers(), SUBSCRIBERS);
    assert!(each < BUDGET, "{each} bytes a subscriber");
    // If it were next to nothing, it would not have been measured.
    assert!(each > 80, "{each} bytes a subscriber");
}
