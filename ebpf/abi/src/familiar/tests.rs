use std::sync::atomic::AtomicU64;
use std::vec::Vec;

use super::*;
use crate::table::{HostLines, Seeds};

const SEEDS: Seeds = Seeds::TEST;

fn table() -> Vec<[AtomicU64; 8]> {
    (0..FAMILIAR_LINES).map(|_| Default::default()).collect()
}

#[test]
fn a_source_is_remembered_for_an_hour_after_it_was_seen() {
    let table = table();
    let lines = HostLines(&table);
    let knows = |addr, v6, proof, now| knows(&lines, &SEEDS, addr, v6, proof, now);
    let client = Addr::v4(0x0a01_0203);
    let begin = 5_000;
    assert!(!knows(client, false, Proof::Handshake, begin));
    note(&lines, &SEEDS, client, false, Proof::Handshake, begin);
    for (after, known) in [(0, true), (1, true), (MEMORY, true), (MEMORY + 1, false)] {
        assert_eq!(knows(client, false, Proof::Handshake, begin + after), known, "{after} s");
    }
    assert!(!knows(client, false, Proof::Peace, begin), "another proof");
    assert!(!knows(Addr::v4(0x0a01_0204), false, Proof::Handshake, begin), "another host");

    // Seen again: at once nothing is written, later it is.
    note(&lines, &SEEDS, client, false, Proof::Handshake, begin + REFRESH - 1);
    assert!(!knows(client, false, Proof::Handshake, begin + MEMORY + 1));
    note(&lines, &SEEDS, client, false, Proof::Handshake, begin + REFRESH);
    assert!(knows(client, false, Proof::Handshake, begin + MEMORY + 1));
}

#[test]
fn ipv6_is_known_by_its_network() {
    let table = table();
    let lines = HostLines(&table);
    let knows = |addr| knows(&lines, &SEEDS, Addr::v6(addr), true, Proof::Handshake, 1_000);
    note(&lines, &SEEDS, Addr::v6(0x2001_0db8 << 96 | 1), true, Proof::Handshake, 1_000);
    assert!(knows(0x2001_0db8 << 96 | 0xffff));
    assert!(!knows(0x2001_0db8 << 96 | 1 << 64));
}

/// With far more sources than places, those that were seen last are known.
#[test]
fn the_latest_are_kept() {
    let table = table();
    let lines = HostLines(&table);
    let places = FAMILIAR_LINES / 2 * 8;
    let sources = places * 4;
    let second = |host: u32| 10_000 + host / (sources / 1_000);
    for host in 0..sources {
        note(&lines, &SEEDS, Addr::v4(host), false, Proof::Peace, second(host));
    }
    let now = second(sources);
    let latest = (sources - places / 2..sources).step_by(7);
    let (all, known) = latest.fold((0, 0), |(all, known), host| {
        let knows = knows(&lines, &SEEDS, Addr::v4(host), false, Proof::Peace, now);
        (all + 1, known + u32::from(knows))
    });
    assert!(known * 100 >= all * 98, "{known} of {all}");
}
