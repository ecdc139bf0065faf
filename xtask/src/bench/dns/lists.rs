//! Block lists of a million entries: how long one takes to be read while it is served, what an entry takes in
//! memory, and what looking one up costs, beside a list of those entries alone that are asked for.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use muralla_lab::load::Load;
use muralla_lab::role::{Role, preamble};
use serde::Deserialize;

use super::super::table::Row;
use super::contender::{Contender, Standing, dns};
use super::ground::Ground;
use super::hits;

const ENTRIES: u32 = 1_000_000;
/// Entries that are asked for; the small list has no others.
const ASKED: u32 = 10_000;
/// Bytes that an entry may take by the role's own count.
const MOST_BYTES: f64 = 60.0;
const ORIGIN: &str = "bl.example";

pub(super) fn rows(ground: &Ground, binary: &Path, quick: bool) -> Result<Vec<Row>> {
    let duration = Duration::from_secs(if quick { 2 } else { 5 });
    let mut rows = Vec::new();
    for format in [Format::Ip4Set, Format::DnSet] {
        rows.extend(one(ground, binary, format, duration)?);
    }
    Ok(rows)
}

fn one(ground: &Ground, binary: &Path, format: Format, duration: Duration) -> Result<Vec<Row>> {
    let contender = Contender::Wire;
    let address = contender.address();
    ground.lab.add_service(address)?;
    let file = ground.lab.folder().join(format.name());
    let install = |entries: u32| {
        fs::write(&file, format.file(entries))
            .with_context(|| format!("writing {}", file.display()))
    };
    install(ASKED)?;
    let role = Role::start(&ground.lab, "muralla_lists", binary, ground.serving, |folder| {
        format!(
            "{}{}\n[[dns.list]]\nname = \"{ORIGIN}\"\nfiles = [\"{}\"]\nformat = \"{}\"\n",
            preamble(folder),
            dns(folder, &[address], &ground.upstream, false),
            file.display(),
            format.name()
        )
    })?;
    role.wait_until_it_answers(address)?;
    let standing =
        Standing::Muralla { role: Box::new(role), prefix: ground.lab.prefix().to_owned() };
    let Standing::Muralla { role, .. } = &standing else { return Ok(Vec::new()) };

    let questions: Vec<(String, u16)> =
        (0..ASKED).map(|number| (format.question(number), 1)).collect();
    let load = Load::zipf(&questions, hits::DRAWS, 1);
    let cost = |what: &str| -> Result<f64> {
        eprintln!("lists: {}, {what}", format.name());
        let (saturation, used) = hits::once(ground, contender, &standing, &load, duration)?;
        let answered = saturation.outcome.answers();
        ensure!(
            saturation.outcome.codes.first() == Some(&answered),
            "listed names that were not found: answers by code {:?}",
            saturation.outcome.codes
        );
        Ok(used.sum() / (answered as f64 / 1e6))
    };
    let small = cost("few entries")?;
    let before = standing.memory(ground)?;
    install(ENTRIES)?;
    let begun = Instant::now();
    role.command(&["dns", "zone", "reload", ORIGIN])?;
    let took = begun.elapsed();
    let grown = standing.memory(ground)?.saturating_sub(before) as f64;
    let zones: Vec<Zone> = serde_json::from_str(&role.command(&["dns", "zone", "list", "--json"])?)
        .context("reading the list of zones")?;
    let list = zones
        .iter()
        .find(|zone| zone.name.trim_end_matches('.') == ORIGIN)
        .context("the list is not among the zones")?;
    ensure!(list.records == u64::from(ENTRIES), "{} entries were taken", list.records);
    let large = cost("a million entries")?;

    let id = |what: &str| format!("lists.{}.{what}", format.name());
    let entries = f64::from(ENTRIES);
    let bytes = list.bytes as f64 / entries;
    Ok(vec![
        Row::plain(id("read"), took.as_secs_f64() * 1e3, "ms"),
        Row {
            budget: Some(MOST_BYTES),
            within: Some(bytes <= MOST_BYTES),
            ..Row::plain(id("bytes"), bytes, "bytes/entry")
        },
        Row::plain(id("growth"), grown / (entries - f64::from(ASKED)), "bytes/entry"),
        Row::plain(id("cost_small"), small, "cpu-s/million"),
        Row {
            against: Some(id("cost_small")),
            ratio: Some(large / small),
            ..Row::plain(id("cost"), large, "cpu-s/million")
        },
    ])
}

/// What the command tells of a list.
#[derive(Deserialize)]
struct Zone {
    name: String,
    records: u64,
    bytes: u64,
}

#[derive(Clone, Copy)]
enum Format {
    Ip4Set,
    DnSet,
}

impl Format {
    const fn name(self) -> &'static str {
        match self {
            Self::Ip4Set => "ip4set",
            Self::DnSet => "dnset",
        }
    }

    fn file(self, entries: u32) -> String {
        let mut file = String::from(":127.0.0.2:listed\n");
        for number in 0..entries {
            let _ = match self {
                Self::Ip4Set => writeln!(file, "{}", Ipv4Addr::from(spread(number))),
                Self::DnSet => writeln!(file, "{}", host(number)),
            };
        }
        file
    }

    fn question(self, number: u32) -> String {
        match self {
            Self::Ip4Set => {
                let [a, b, c, d] = spread(number).to_be_bytes();
                format!("{d}.{c}.{b}.{a}.{ORIGIN}")
            }
            Self::DnSet => format!("{}.{ORIGIN}", host(number)),
        }
    }
}

fn host(number: u32) -> String {
    let hash = spread(number);
    format!("{hash:x}-host.{}.example", hash % 1_000)
}

/// Different numbers for different numbers, all over the range: Knuth's multiplicative hash.
const fn spread(number: u32) -> u32 {
    number.wrapping_mul(2_654_435_761)
}
