use std::sync::atomic::{AtomicU64, Ordering};
use std::vec::Vec;

use super::*;
use crate::table::{HostLines, Seeds};

const SEEDS: Seeds = Seeds::TEST;

struct Entry {
    v6: bool,
    prefix: u64,
    length: u32,
    cause: Cause,
    services: u16,
    until: u32,
}

const ENTRIES_IN_FORCE: [Entry; 6] = [
    Entry {
        v6: false,
        prefix: 0x0a01_0203 << 32,
        length: 32,
        cause: Cause::Offence,
        services: 1 << 3,
        until: 100,
    },
    Entry {
        v6: false,
        prefix: 0x0a02_0000 << 32,
        length: 16,
        cause: Cause::Operator,
        services: 1,
        until: Ban::NEVER,
    },
    Entry {
        v6: false,
        prefix: 0x0b00_0000 << 32,
        length: 8,
        cause: Cause::Operator,
        services: 1,
        until: 50,
    },
    Entry {
        v6: true,
        prefix: 0x2001_0db8_0000_0001,
        length: 64,
        cause: Cause::Offence,
        services: 1,
        until: 100,
    },
    Entry {
        v6: true,
        prefix: 0x2a00_0000_0000_0000,
        length: 16,
        cause: Cause::Operator,
        services: 0b110,
        until: 100,
    },
    // The same bits as an IPv4 prefix above, in the other family.
    Entry {
        v6: true,
        prefix: 0x0a03_0000_0000_0000,
        length: 16,
        cause: Cause::Operator,
        services: 1,
        until: 100,
    },
];

fn table() -> Vec<[AtomicU64; 8]> {
    let table: Vec<[AtomicU64; 8]> = (0..=BAN_LINES).map(|_| Default::default()).collect();
    let code = |length: u32| u64::from(65 - length);
    table[0][0].store(code(32) | code(16) << 6 | code(8) << 12, Ordering::Relaxed);
    table[0][1].store(code(64) | code(16) << 6, Ordering::Relaxed);
    for (index, entry) in ENTRIES_IN_FORCE.iter().enumerate() {
        let Entry { v6, prefix, length, cause, services, until } = *entry;
        // By turns in the one and the other of the two lines.
        let line = places(&SEEDS, v6, prefix, length)[index % 2] as usize;
        let free =
            (0..4).find(|slot| table[line][slot * 2 + 1].load(Ordering::Relaxed) == 0).unwrap();
        table[line][free * 2].store(prefix, Ordering::Relaxed);
        let ban = Ban::new(v6, length, cause, services, until);
        table[line][free * 2 + 1].store(ban.0, Ordering::Relaxed);
    }
    table
}

#[test]
fn look_ups() {
    let table = table();
    let found = |addr, v6, service, now: u32| {
        let found = lookup(&HostLines(&table), &SEEDS, addr, v6, service, || now);
        found.map(|(place, ban)| {
            assert_eq!(
                table[place as usize / 4][place as usize % 4 * 2 + 1].load(Ordering::Relaxed),
                ban.0
            );
            (ban.length(), ban.by_operator())
        })
    };
    let v4 = |addr: u32| (Addr::v4(addr), false);
    let v6 = |addr: u128| (Addr::v6(addr), true);
    for (name, (addr, family), service, now, expected) in [
        ("host, its service", v4(0x0a01_0203), 3, 0, Some((32, false))),
        ("host, another service", v4(0x0a01_0203), 4, 0, None),
        ("host, its last second", v4(0x0a01_0203), 3, 99, Some((32, false))),
        ("host, over", v4(0x0a01_0203), 3, 100, None),
        ("beside the host", v4(0x0a01_0204), 3, 0, None),
        ("network", v4(0x0a02_ffff), 9, u32::MAX - 1, Some((16, true))),
        ("beside the network", v4(0x0a03_0000), 9, 0, None),
        ("large network", v4(0x0bff_ffff), 0, 49, Some((8, true))),
        ("/64", v6(0x2001_0db8_0000_0001_ffff << 48), 5, 0, Some((64, false))),
        ("beside the /64", v6(0x2001_0db8_0000_0002 << 64), 5, 0, None),
        ("/16, covered", v6(0x2a00_ffff << 96), 2, 0, Some((16, true))),
        ("/16, not covered", v6(0x2a00_ffff << 96), 3, 0, None),
        ("other family", v6(0x0a03_ffff << 96), 3, 0, Some((16, true))),
    ] {
        assert_eq!(found(addr, family, service, now), expected, "{name}");
    }
}

#[test]
fn an_empty_table_bans_nobody() {
    let table: Vec<[AtomicU64; 8]> = (0..=BAN_LINES).map(|_| Default::default()).collect();
    for v6 in [false, true] {
        // An address of zeroes is equal to what empty entries hold.
        assert!(lookup(&HostLines(&table), &SEEDS, Addr::default(), v6, 0, || 0).is_none());
    }
}
