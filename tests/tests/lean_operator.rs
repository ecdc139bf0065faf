//! LEAN: two people can run it: every mistake is answered with what would be right, and every drop explains
//! itself.

#![cfg(test)]

use std::fs;
use std::net::SocketAddr;

use muralla_lab::Family;
use muralla_tests::command::call;
use muralla_tests::stream::Stream;
use muralla_tests::{Appliance, Settings};

const EDGE: &str = r#"block = ["198.51.100.17"]"#;

#[test]
fn lean_mistakes_are_answered_with_what_would_be_right() {
    let appliance = Appliance::start("mistakes", Settings::default()).unwrap();
    let edge = appliance.lab().edge();
    let folder = appliance.lab().folder();

    let second = appliance.muralla(&["run"]).unwrap().refused().unwrap();
    assert!(
        second.contains("another muralla is running") && second.contains("muralla status"),
        "{second}"
    );
    let same_pins =
        appliance.configure_other("second", &appliance.pin_dir(), Settings::default()).unwrap();
    let second = appliance.muralla_in(edge, &same_pins, &["run"]).unwrap().refused().unwrap();
    assert!(
        second.contains("another muralla holds") && second.contains("edge.pin_dir"),
        "{second}"
    );

    let elsewhere =
        appliance.configure_other("third", &folder.join("pins"), Settings::default()).unwrap();
    let third = appliance.muralla_in(edge, &elsewhere, &["run"]).unwrap().refused().unwrap();
    assert!(
        third.contains("not on a BPF file system") && third.contains("mount -t bpf"),
        "{third}"
    );

    // A read-only bpffs, seen by nobody else.
    let unwritable = appliance.other_pin_dir("unwritable");
    let unwritable = appliance.configure_other("fourth", &unwritable, Settings::default()).unwrap();
    let script = format!(
        "mount -o remount,bind,ro /sys/fs/bpf && exec {} --config {} run",
        appliance.binary().display(),
        unwritable.display()
    );
    let fourth = call(edge, "unshare", &["--mount", "sh", "-c", &script]).unwrap();
    let fourth = fourth.refused().unwrap();
    assert!(
        fourth.contains("can not be used for pins") && fourth.contains("Read-only"),
        "{fourth}"
    );

    let broken = folder.join("broken.toml");
    fs::write(
        &broken,
        "[edge]\ncustomers = [\"100.64.0.1/16\"]\n[[edge.interfaces]]\nname = \"inet0\"\n",
    )
    .unwrap();
    let broken = broken.display().to_string();
    let check = appliance.muralla(&["check", &broken]).unwrap().refused().unwrap();
    for words in [
        "broken.toml:2:14",
        "write \"100.64.0.0/16\"",
        "broken.toml:3:8",
        "did you mean `interface`?",
    ] {
        assert!(check.contains(words), "{words} is not in {check}");
    }
    let check = appliance.muralla(&["check", &broken, "--json"]).unwrap();
    let check = (check.code, check.json().unwrap());
    assert_eq!((check.0, &check.1["good"]), (1, &false.into()), "{check:?}");
    assert!(
        check.1["problems"].as_array().unwrap().iter().any(|problem| problem["line"] == 2),
        "{check:?}"
    );
    // Nothing of this disturbed the one that runs.
    appliance.muralla(&["status"]).unwrap().succeeded().unwrap();
    appliance.muralla(&["check"]).unwrap().succeeded().unwrap();
}

#[test]
fn lean_every_drop_explains_itself() {
    let settings = Settings { edge: EDGE, ..Settings::default() };
    let appliance = Appliance::start("explains", settings).unwrap();
    let lab = appliance.lab();
    let source = lab.internet_hosts(Family::V4)[1];
    let target = SocketAddr::new(lab.service(Family::V4), 9_001);
    let stream = Stream::start(lab.internet(), source, lab.edge(), target).unwrap();
    let run = |arguments: &[&str]| appliance.muralla(arguments).unwrap().succeeded().unwrap();

    let line = run(&["drops", "--reason", "blocked", "--count", "1", "--seconds", "30"]);
    for words in
        ["inet0", "198.51.100.17", "203.0.113.10", "9001", "source is blocked by the operator"]
    {
        assert!(line.contains(words), "{words} is not in {line}");
    }
    let sample = appliance.ask(&["drops", "--count", "1", "--seconds", "30"]).unwrap();
    assert_eq!(sample["drop"]["source"], "198.51.100.17", "{sample}");
    assert_eq!(sample["drop"]["reason"], "blocked", "{sample}");

    let file = lab.folder().join("drops.pcapng").display().to_string();
    run(&["capture", "-w", &file, "--count", "3", "--seconds", "30"]);
    let fields =
        ["-r", &file, "-T", "fields", "-e", "ip.src", "-e", "udp.dstport", "-e", "frame.comment"];
    let read = call(lab.edge(), "tshark", &fields).unwrap().succeeded().unwrap();
    assert_eq!(read.lines().count(), 3, "{read}");
    for line in read.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        assert_eq!(fields[..2], ["198.51.100.17", "9001"], "{line}");
        assert!(fields[2].contains("drop: source is blocked by the operator"), "{line}");
    }

    let top = run(&["top", "--once"]);
    assert!(top.contains("blocked") && top.contains("198.51.100.17"), "{top}");
    let top = appliance.ask(&["top", "--once"]).unwrap();
    let reason = &top["reasons"][0];
    assert_eq!(reason["name"], "blocked", "{top}");
    assert!(
        reason["rate"].as_f64().unwrap() > 100.0 && reason["total"].as_u64().unwrap() > 100,
        "{reason}"
    );

    let status = run(&["status"]);
    for words in
        ["interface inet0: protected, native", "interface cust0: protected, native", "policy "]
    {
        assert!(status.contains(words), "{words} is not in {status}");
    }

    let totals = stream.stop().unwrap();
    assert_eq!(totals.received, 0);
    assert_eq!(
        appliance.refused("blocked").unwrap(),
        totals.sent,
        "every drop is counted, and once"
    );
    let labels = ["interface=\"inet0\"", "reason=\"blocked\"", "verdict=\"drop\""];
    assert_eq!(appliance.counted(&labels).unwrap().len(), 1);
    let metrics = lab.folder().join("metrics");
    fs::write(&metrics, appliance.metrics().unwrap()).unwrap();
    let script = format!("promtool check metrics < {}", metrics.display());
    let checked = call(lab.edge(), "sh", &["-c", &script]).unwrap();
    assert_eq!((checked.code, checked.stderr.trim()), (0, ""), "{checked:?}");
}
