//! What sessions cost: COST, with a million of them in mind.

#![cfg(test)]

use std::fs;
use std::net::SocketAddr;

use muralla_radius_accounting::{Moment, Outcome, Record, Settings, Table, Uptime};

const SESSIONS: u32 = 100_000;

/// Bytes that the process has in memory.
fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
}

fn moment(second: u64) -> Moment {
    let nanos = second * 1_000_000_000;
    Moment { wall: nanos, uptime: Uptime { boot: 1, nanos } }
}

fn push(out: &mut Vec<u8>, kind: u8, value: &[u8]) {
    out.push(kind);
    out.push(value.len() as u8 + 2);
    out.extend(value);
}

/// A record such as broadband NASes send, with gigawords.
fn attributes(status: u32, number: u32, out: &mut Vec<u8>) {
    out.clear();
    push(out, 40, &status.to_be_bytes());
    push(out, 44, format!("0000a5f1{number:08x}").as_bytes());
    push(out, 1, format!("subscriber{number:07}").as_bytes());
    push(out, 32, format!("bras-{:03}", number % 100).as_bytes());
    push(out, 4, &[192, 0, 2, (number % 100) as u8]);
    push(out, 5, &number.to_be_bytes());
    push(
        out,
        31,
        format!("00:00:5e:{:02x}:{:02x}:{:02x}", number >> 16, number >> 8 & 255, number & 255)
            .as_bytes(),
    );
    push(out, 8, &(0x0a00_0001 + number).to_be_bytes());
    push(out, 55, &1_000_000_u32.to_be_bytes());
    if status != 1 {
        push(out, 46, &600_u32.to_be_bytes());
        for (kind, value) in [(42, number * 7), (43, number * 11), (52, 1), (53, 2)] {
            push(out, kind, &value.to_be_bytes());
        }
    }
}

#[test]
fn a_session_takes_less_than_300_bytes() {
    let mut buffer = Vec::with_capacity(512);
    let source: SocketAddr = "192.0.2.1:1646".parse().unwrap();
    let table = Table::new(Settings::default(), [1, 2]);
    let before = resident();
    for (status, second) in [(1, 1_000_000), (3, 1_000_600)] {
        for number in 0..SESSIONS {
            attributes(status, number, &mut buffer);
            let received = second * 1_000_000_000;
            let nas = ["north", "south"][number as usize % 2];
            let record = Record::of_attributes(&buffer, nas, source, received).unwrap();
            let effect = table.apply(&record, moment(second));
            let expected = if status == 1 { Outcome::Opened } else { Outcome::Updated };
            assert_eq!(effect.outcome, expected);
        }
    }
    let taken = resident() - before;
    let stats = table.stats();
    assert_eq!(stats.open, SESSIONS as usize);
    let (resident, counted) = (taken / SESSIONS as usize, stats.bytes / SESSIONS as usize);
    println!("{resident} bytes a session in memory, {counted} counted");
    assert!(resident < 300, "{resident} bytes a session in memory, {counted} counted");
    assert!(counted < 300 && counted > 150, "{counted} bytes counted");
}
