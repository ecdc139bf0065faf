//! EDGE: a feed is taken whole, by itself when its file changes, and a torn one changes nothing.

#![cfg(test)]

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use muralla_lab::Family;
use muralla_tests::{Appliance, Settings, until};

/// Files are looked at every ten seconds.
const SOON: Duration = Duration::from_secs(30);

#[test]
fn edge_feeds_are_taken_whole_and_torn_ones_change_nothing() {
    let appliance = Appliance::idle("feeds", Settings::default()).unwrap();
    let file = appliance.lab().folder().join("feed.txt");
    let table = format!("[[edge.feed]]\nname = \"listed\"\nfile = \"{}\"", file.display());
    let settings = Settings { tables: &table, ..Settings::default() };
    appliance.configure(settings).unwrap();
    fs::write(&file, "198.51.100.16\n2001:db8:1:1::/64 ; all of them\n").unwrap();
    let mut appliance = appliance;
    appliance.run().unwrap();
    let [v4, other] = [0, 1].map(|host| appliance.lab().internet_hosts(Family::V4)[host]);
    let v6 = appliance.lab().internet_hosts(Family::V6)[3];
    let passes = |source: IpAddr| appliance.passes(appliance.lab().internet(), source).unwrap();
    assert_eq!([v4, v6, other].map(passes), [false, false, true]);
    assert!(appliance.refused("feed").unwrap() > 0);

    fs::write(&file, "198.51.100.17\n198.51.10").unwrap();
    until("a complaint", SOON, || {
        let warnings = appliance.status()?["warnings"].to_string();
        Ok(warnings.contains("has no newline").then_some(()))
    })
    .unwrap();
    assert_eq!([v4, v6, other].map(passes), [false, false, true]);

    fs::write(&file, "198.51.100.17\n").unwrap();
    until("the new feed", SOON, || {
        let warnings = &appliance.status()?["warnings"];
        Ok(warnings.as_array().is_some_and(Vec::is_empty).then_some(()))
    })
    .unwrap();
    assert_eq!([v4, v6, other].map(passes), [true, true, false]);
}
