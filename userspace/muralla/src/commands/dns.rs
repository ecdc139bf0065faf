//! The subcommands about DNS.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use muralla_dns::report::{Level, Lookup, Security, Status, Zone, ZoneKind};
use muralla_zones::{ListConfig, ListFormat, LocalConfig};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::{Call, code, follow, out, show};
use crate::admin::api::{FlushForm, Flushed, LookupForm, QueryLine, ZoneForm};
use crate::admin::client::Client;
use crate::cli::{DnsCommand, End, ZoneCommand};
use crate::configuration::{self, duration, size};
use crate::roles::Role;
use crate::top::{short, table};

/// Queries, and seconds, after which a look at the log ends by itself.
const GLANCE: (u64, f64) = (20, 10.0);

/// Cells of a bar.
const BAR: u64 = 40;

/// Problems of one file that `muralla check` tells.
const MOST_PROBLEMS: usize = 3;

/// Does what needs a daemon.
pub(crate) async fn act(call: &Call, command: DnsCommand) -> anyhow::Result<ExitCode> {
    let client = call.process_with(Role::Dns).await;
    match command {
        DnsCommand::Lookup { name, rtype, how } => {
            let mut form = question(&name, rtype);
            form.refresh = how.refresh;
            form.checking_disabled = how.checking_disabled;
            let found: Lookup = client.post("/v1/dns/lookup", &form).await?;
            tell(call, &found, lookup_text)?;
            Ok(code(answered(&found)))
        }
        DnsCommand::Trace { name, rtype, checking_disabled, cached } => {
            let mut form = question(&name, rtype);
            (form.trace, form.refresh) = (true, !cached);
            form.checking_disabled = checking_disabled;
            let found: Lookup = client.post("/v1/dns/lookup", &form).await?;
            tell(call, &found, trace_text)?;
            Ok(code(answered(&found)))
        }
        DnsCommand::Flush { name, zone } => {
            let form = match (name, zone) {
                (_, Some(zone)) => FlushForm { name: zone, zone: true },
                (name, None) => FlushForm { name: name.unwrap_or_default(), zone: false },
            };
            let flushed: Flushed = client.post("/v1/dns/flush", &form).await?;
            tell(call, &flushed, |flushed| {
                let below = if form.zone { " and everything below" } else { "" };
                let Flushed { entries } = flushed;
                format!("{}{below} is forgotten: {entries} cached answers\n", form.name)
            })?;
            Ok(ExitCode::SUCCESS)
        }
        DnsCommand::Cache => {
            let status: Status = client.get("/v1/dns/status").await?;
            tell(call, &json!({"wire": &status.cache, "nic": &status.nic}), |_| {
                cache_text(&status)
            })?;
            Ok(ExitCode::SUCCESS)
        }
        DnsCommand::Zone(ZoneCommand::Reload { name }) => {
            let zones: Vec<Zone> = client.post("/v1/dns/zones/reload", &ZoneForm { name }).await?;
            tell(call, &zones, |zones| zones_text(zones))?;
            Ok(code(zones.iter().all(|zone| zone.problem.is_none())))
        }
        // A check needs no daemon, and was done without.
        DnsCommand::Zone(ZoneCommand::Check { .. }) => Ok(ExitCode::SUCCESS),
        DnsCommand::Zone(ZoneCommand::List { all }) => {
            let zones: Vec<Zone> = client.get("/v1/dns/zones").await?;
            tell(
                call,
                &zones,
                |zones| if all { zones_text(zones) } else { own_zones_text(zones) },
            )?;
            Ok(ExitCode::SUCCESS)
        }
        DnsCommand::Log { follow, end } => log(call, client, follow, end).await,
    }
}

fn tell<T: Serialize>(call: &Call, value: &T, text: impl Fn(&T) -> String) -> anyhow::Result<()> {
    if call.json { show(value) } else { out(&text(value)) }
}

fn question(name: &str, rtype: Option<String>) -> LookupForm {
    let (name, default) = match name.parse::<IpAddr>() {
        Ok(address) => (reverse(address), "PTR"),
        Err(_) => (name.to_owned(), "A"),
    };
    LookupForm {
        name,
        rtype: rtype.unwrap_or_else(|| default.to_owned()),
        trace: false,
        checking_disabled: false,
        refresh: false,
    }
}

/// The name under which an address has its name (RFC 1035 section 3.5, RFC 3596 section 2.5).
fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let nibbles: String = address
                .octets()
                .iter()
                .rev()
                .map(|octet| format!("{:x}.{:x}.", octet & 15, octet >> 4))
                .collect();
            format!("{nibbles}ip6.arpa")
        }
    }
}

fn answered(found: &Lookup) -> bool {
    matches!(found.rcode.as_str(), "NOERROR" | "NXDOMAIN")
}

fn lookup_text(found: &Lookup) -> String {
    let mut text = String::new();
    for record in &found.answers {
        let _ = writeln!(text, "{record}");
    }
    let _ = writeln!(text, "{}", sentence(found));
    let _ = writeln!(
        text,
        "{}, {}, from {}, {}",
        found.rcode,
        found.security.name(),
        place(found.level),
        milliseconds(found.took)
    );
    text
}

fn trace_text(found: &Lookup) -> String {
    let mut text = String::new();
    for step in &found.steps {
        let indent = "  ".repeat(usize::from(step.depth));
        let _ = writeln!(text, "{:>10}  {indent}{}", milliseconds(step.at), step.what);
    }
    if found.steps.is_empty() {
        let _ = writeln!(text, "nobody was asked: the answer comes from {}", place(found.level));
    }
    text.push('\n');
    text.push_str(&lookup_text(found));
    text
}

/// How it ended, in one plain sentence.
fn sentence(found: &Lookup) -> String {
    let Lookup { name, rtype, rcode, security, answers, errors, .. } = found;
    let mut text = match rcode.as_str() {
        "NOERROR" if answers.is_empty() => format!("{name} exists, but has no {rtype} records."),
        "NOERROR" => format!("{name} has an answer for {rtype}."),
        "NXDOMAIN" => format!("{name} does not exist."),
        "REFUSED" => format!("{name} is not answered for the one who asked."),
        _ => format!("{name} {rtype} could not be found out."),
    };
    match (rcode.as_str(), security) {
        ("NOERROR" | "NXDOMAIN", Security::Secure) => {
            text.push_str(" DNSSEC proves it, by a chain of signatures from a trust anchor.");
        }
        (_, Security::Bogus) => {
            text.push_str(" It should be signed, and is not, or wrongly:");
        }
        _ => {}
    }
    let words: Vec<String> = errors
        .iter()
        .map(|(number, words)| match (meaning(*number), words.as_str()) {
            (meaning, "") => format!("{meaning} (EDE {number})"),
            (meaning, words) => format!("{meaning}: {words} (EDE {number})"),
        })
        .collect();
    if !words.is_empty() {
        text.push(' ');
        let begins = text.ends_with(". ");
        let words = words.join("; ");
        let mut letters = words.chars();
        match letters.next().filter(|_| begins) {
            Some(first) => text.extend(first.to_uppercase().chain(letters)),
            None => text.push_str(&words),
        }
        text.push('.');
    }
    text
}

/// What an extended error means (RFC 8914 section 4).
fn meaning(number: u16) -> &'static str {
    match number {
        1 => "the signatures are by an algorithm that is not known here",
        2 => "the digest of the DS record is of a kind that is not known here",
        3 => "the answer is older than its time to live, because there is no fresh one",
        4 => "the answer was made up here by configuration",
        5 => "it is not known whether the answer is right",
        6 => "validation fails",
        7 => "a signature has expired",
        8 => "a signature is not valid yet: is this machine's clock right?",
        9 => "the parent zone has a DS record, and no key of the zone fits it",
        10 => "signatures are missing",
        11 => "no key of the zone may sign",
        12 => "the proof that something does not exist is missing",
        13 => "the same question failed a moment ago",
        15 => "the name is blocked here",
        16 | 17 => "the name is filtered here",
        18 => "the one who asked may not",
        19 => "the name is known not to exist, though the answer is stale",
        20 => "the server has no authority for the name",
        21 => "that is not supported here",
        22 => "none of the zone's servers could be reached, or none of them knows the zone",
        23 => "servers answered with errors, or not at all",
        24 => "the zone's data can not be used",
        25 => "the signature is valid for too short a time",
        27 => "the zone's NSEC3 records ask for too many iterations",
        _ => "an extended error",
    }
}

/// Where an answer came from, for people.
fn place(level: Level) -> &'static str {
    match level {
        Level::Nic => "the network card's cache",
        Level::Wire => "the cache",
        Level::Stale => "the cache, though its time is over",
        Level::Local => "local zones",
        Level::Engine => "other servers",
        Level::None => "nowhere",
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}

fn cache_text(status: &Status) -> String {
    let cache = &status.cache;
    let mut text = format!(
        "cache  {} {} of {}, {} answers\n",
        bar(cache.bytes, cache.limit),
        size::about(cache.bytes),
        size::about(cache.limit),
        cache.entries
    );
    if let Some(nic) = status.nic.as_ref().filter(|nic| nic.capacity > 0) {
        let _ = writeln!(
            text,
            "card   {} {} of {} answers, {} queries answered",
            bar(nic.entries, nic.capacity),
            nic.entries,
            nic.capacity,
            nic.answered
        );
    }
    let (hits, asked) = hits(status);
    let _ = writeln!(
        text,
        "hits   {} {} of {asked} queries that came to it; {} gave way to others",
        bar(hits, asked),
        percent(hits, asked),
        cache.evictions
    );
    let _ = writeln!(
        text,
        "       {} stale answers, {} looked up before their end, {} joined a question under way",
        status.stale_served, status.prefetched, status.coalesced
    );
    if !cache.hottest.is_empty() {
        let rows: Vec<[String; 2]> = cache
            .hottest
            .iter()
            .map(|(name, count)| [short(*count as f64), name.clone()])
            .collect();
        text.push('\n');
        text.push_str(&table(["ASKED", "NAME"], &rows));
    }
    text
}

/// Queries that the cache answered, and those that it was there for: local zones and refusals have no need of it.
fn hits(status: &Status) -> (u64, u64) {
    let count = |wanted: &[Level]| -> u64 {
        status.queries.iter().filter(|row| wanted.contains(&row.level)).map(|row| row.count).sum()
    };
    let hits = count(&[Level::Wire, Level::Stale]);
    (hits, hits + count(&[Level::Engine]))
}

/// A share of a whole.
fn bar(part: u64, whole: u64) -> String {
    let filled = if whole == 0 { 0 } else { (part.min(whole) * BAR).div_ceil(whole) };
    let cells = |count: u64, cell: &str| cell.repeat(usize::try_from(count).unwrap_or(0));
    format!("[{}{}]", cells(filled, "#"), cells(BAR - filled, "."))
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    format!("{:.1} %", part as f64 * 100.0 / whole as f64)
}

fn zones_text(zones: &[Zone]) -> String {
    if zones.is_empty() {
        return "no zones, no lists\n".to_owned();
    }
    let rows: Vec<[String; 7]> = zones
        .iter()
        .map(|zone| {
            let routed = zone.kind.is_route();
            let unless = |none: bool, text: String| if none { "-".to_owned() } else { text };
            [
                zone.name.clone(),
                zone.kind.name().to_owned(),
                zone.serial.map_or_else(|| "-".to_owned(), |serial| serial.to_string()),
                unless(routed, zone.records.to_string()),
                unless(routed, size::about(zone.bytes)),
                unless(routed, duration::write(Duration::from_secs(zone.age))),
                zone.file.clone().unwrap_or_default(),
            ]
        })
        .collect();
    let titles = ["NAME", "KIND", "SERIAL", "RECORDS", "MEMORY", "AGE", "FILE"];
    let mut text = table(titles, &rows);
    for zone in zones {
        if let Some(problem) = &zone.problem {
            let _ = writeln!(text, "! {}: the newest file was not taken: {problem}", zone.name);
        }
    }
    text
}

/// The operator's own, and only the number of those that every resolver has.
fn own_zones_text(zones: &[Zone]) -> String {
    let (private, own): (Vec<Zone>, Vec<Zone>) =
        zones.iter().cloned().partition(|zone| zone.kind == ZoneKind::Private);
    let mut text = zones_text(&own);
    if !private.is_empty() {
        let _ = writeln!(
            text,
            "and {} private zones, answered here so that nobody asks the Internet (--all shows them)",
            private.len()
        );
    }
    text
}

async fn log(call: &Call, client: &Client, on: bool, end: End) -> anyhow::Result<ExitCode> {
    let (queries, seconds) = GLANCE;
    let end = if on || end.count.is_some() || end.seconds.is_some() {
        end
    } else {
        End { count: Some(queries), seconds: Some(seconds) }
    };
    let begin = Instant::now();
    let seen = follow(client, "/v1/dns/queries", end, |line| match line {
        QueryLine::Query(query) => {
            let text = if call.json {
                serde_json::to_string(&query)?
            } else {
                format!(
                    "{:<40} {:<4} {:<30} {:<6} {:<9} {:<7} {:>10}",
                    query.client.to_string(),
                    query.transport.name(),
                    query.name,
                    query.rtype,
                    query.rcode,
                    query.level.name(),
                    milliseconds(query.took)
                )
            };
            out(&format!("{}\n", text.trim_end()))?;
            Ok(true)
        }
        QueryLine::Lost(lost) => {
            eprintln!("({lost} more that this terminal was too slow for)");
            Ok(false)
        }
    })
    .await?;
    if seen == 0 && !call.json {
        eprintln!("no query of the sample within {:.0} s", begin.elapsed().as_secs_f64());
    }
    Ok(ExitCode::SUCCESS)
}

/// `muralla dns zone check`
pub(crate) fn zone_check(
    config: &Path,
    file: &Path,
    origin: Option<&str>,
    format: Option<&str>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let configured =
        configuration::load(config).ok().and_then(|accepted| accepted.configuration.dns);
    let path = std::path::absolute(file)?;
    let zone = configured.as_ref().and_then(|dns| {
        dns.local.zones.iter().find(|zone| zone.file == path).map(|zone| zone.name.clone())
    });
    let list = configured
        .as_ref()
        .and_then(|dns| dns.local.lists.iter().find(|list| list.files.contains(&path)));
    let named = || zone_of(file);
    let origin = origin.map(str::to_owned);
    let checked = match (format, list) {
        (Some(format), _) => {
            let format = if format == "dnset" { ListFormat::DnSet } else { ListFormat::Ip4Set };
            let name = origin.unwrap_or_else(named);
            muralla_zones::check_list(&ListConfig {
                name,
                files: vec![path],
                format,
                ttl: None,
                answer: Ipv4Addr::new(127, 0, 0, 2),
                text: None,
            })
        }
        (None, Some(list)) if origin.is_none() => muralla_zones::check_list(list),
        _ => muralla_zones::check(&path, &origin.or(zone).unwrap_or_else(named)),
    };
    let good = checked.is_ok();
    if json {
        match &checked {
            Ok(summary) => show(&Checked { good, summary: Some(summary), problems: &[] })?,
            Err(problems) => show(&Checked { good, summary: None, problems })?,
        }
        return Ok(code(good));
    }
    match checked {
        Ok(summary) => {
            for warning in &summary.warnings {
                eprintln!("warning: {warning}");
            }
            let signed = summary.signed_until.map_or_else(String::new, |until| {
                format!(", signed until {}", configuration::moment(until.into()))
            });
            out(&format!(
                "{} is good: serial {}, {} records{signed}\n",
                summary.zone, summary.serial, summary.records
            ))?;
        }
        Err(problems) => {
            for problem in &problems {
                eprintln!("{problem}");
            }
            eprintln!("{}: {} problem(s); it would not be taken", file.display(), problems.len());
        }
    }
    Ok(code(good))
}

/// What keeps zone files and lists that are there from being taken.
pub(super) fn refused_files(local: &LocalConfig) -> Vec<String> {
    let zones = local.zones.iter().filter(|zone| zone.file.exists());
    let zones = zones.map(|zone| muralla_zones::check(&zone.file, &zone.name));
    let lists = local.lists.iter().filter(|list| list.files.iter().all(|file| file.exists()));
    let lists = lists.map(muralla_zones::check_list);
    let mut refused = Vec::new();
    for problems in zones.chain(lists).filter_map(Result::err) {
        refused.extend(problems.iter().take(MOST_PROBLEMS).map(ToString::to_string));
        if let Some(more) = problems.len().checked_sub(MOST_PROBLEMS).filter(|more| *more > 0) {
            refused
                .push(format!("{more} more in the same; `muralla dns zone check FILE` tells all"));
        }
    }
    refused
}

#[derive(Serialize)]
struct Checked<'c> {
    good: bool,
    summary: Option<&'c muralla_zones::Summary>,
    problems: &'c [muralla_zones::Problem],
}

/// The zone that a file is probably of.
fn zone_of(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_prefix("db.").unwrap_or(&name);
    let ends = [".zone", ".txt", ".db"];
    ends.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name).to_owned()
}

/// DNS in `muralla status`.
pub(crate) fn status_text(status: &Status) -> String {
    let total: u64 = status.queries.iter().map(|row| row.count).sum();
    let failed: u64 =
        status.queries.iter().filter(|row| row.rcode == "SERVFAIL").map(|row| row.count).sum();
    let mut text = format!(
        "dns: answering on {} with {} threads; {total} queries, {} of them failed; {} questions under way\n",
        status.listen.join(", "),
        status.threads,
        percent(failed, total),
        status.questions
    );
    let cache = &status.cache;
    let (hits, asked) = hits(status);
    let _ = writeln!(
        text,
        "dns cache: {} of {}, {} answers, {} hits",
        size::about(cache.bytes),
        size::about(cache.limit),
        cache.entries,
        percent(hits, asked)
    );
    text
}

#[cfg(test)]
mod tests {
    use muralla_zones::ZoneConfig;

    use super::*;
    use crate::fake;

    #[test]
    fn addresses_are_looked_up_by_their_reverse_name() {
        for (text, name, rtype) in [
            ("192.0.2.7", "7.2.0.192.in-addr.arpa", "PTR"),
            (
                "2001:db8::1",
                "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
                "PTR",
            ),
            ("www.example.net", "www.example.net", "A"),
        ] {
            let form = question(text, None);
            assert_eq!((form.name.as_str(), form.rtype.as_str()), (name, rtype));
            assert_eq!(question(text, Some("MX".to_owned())).rtype, "MX");
        }
    }

    #[test]
    fn files_that_would_not_be_taken_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = folder.path().join(name);
            std::fs::write(&file, text).unwrap();
            file
        };
        let zone = |name: &str, file| ZoneConfig { name: name.to_owned(), file };
        let good = "@ 300 SOA ns hostmaster 1 3600 600 86400 60\n@ 300 NS ns\nns 300 A 192.0.2.1\n";
        let local = LocalConfig {
            zones: vec![
                zone("good.example", write("good", good)),
                zone("bad.example", write("bad", &format!("{good}www 300 A nowhere\n"))),
                zone("absent.example", folder.path().join("absent")),
            ],
            ..LocalConfig::default()
        };
        let refused = refused_files(&local);
        assert!(refused.len() == 1 && refused[0].contains("bad:4: "), "{refused:?}");
    }

    #[test]
    fn a_trace_is_indented_by_depth_and_ends_in_a_sentence() {
        let text = trace_text(&fake::bogus());
        for line in [
            "   0.00 ms  question: www.broken.example. A",
            "  12.50 ms    asking 192.0.2.1 for ns.broken.example. A",
            "www.broken.example. A could not be found out. It should be signed, and is not, or wrongly: \
             a signature has expired: RRSIG of www.broken.example. ended on 2026-01-01 (EDE 7).",
            "SERVFAIL, bogus, from other servers, 31.00 ms",
        ] {
            assert!(
                text.lines().any(|found| found.trim_start() == line.trim_start()),
                "{line}\nis not in\n{text}"
            );
        }
    }

    #[test]
    fn each_end_has_its_sentence() {
        let found = |rcode: &str, security: Security, answers: usize| {
            sentence(&Lookup {
                rcode: rcode.to_owned(),
                security,
                answers: vec![String::new(); answers],
                errors: Vec::new(),
                ..fake::bogus()
            })
        };
        for (rcode, security, answers, sentence) in [
            ("NOERROR", Security::Insecure, 1, "www.broken.example. has an answer for A."),
            (
                "NOERROR",
                Security::Secure,
                0,
                "www.broken.example. exists, but has no A records. DNSSEC proves it, by a chain of signatures from a trust anchor.",
            ),
            ("NXDOMAIN", Security::Insecure, 0, "www.broken.example. does not exist."),
            ("SERVFAIL", Security::Insecure, 0, "www.broken.example. A could not be found out."),
        ] {
            assert_eq!(found(rcode, security, answers), sentence);
        }
    }

    #[test]
    fn the_cache_is_shown_with_bars() {
        let text = cache_text(&fake::dns_status());
        for line in [
            "cache  [####################....................] 128 MiB of 256 MiB, 250000 answers",
            "hits   [########################################] 98.4 % of 915 queries that came to it; 3 gave way to others",
            "ASKED  NAME",
            "500    www.example.net. A",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
        }
        assert_eq!(bar(0, 0), format!("[{}]", ".".repeat(40)));
        assert_eq!(bar(9, 5), format!("[{}]", "#".repeat(40)));
    }

    #[test]
    fn zones_are_listed_with_their_problems() {
        let text = zones_text(&fake::zones());
        for line in [
            "NAME          KIND     SERIAL      RECORDS  MEMORY   AGE  FILE",
            "example.net.  zone     2026112401  12       4.0 KiB  1h   /etc/muralla/zones/example.net",
            "corp.example  forward  -           -        -        -",
            "! example.net.: the newest file was not taken: /etc/muralla/zones/example.net:3: no type",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
        }
    }

    #[test]
    fn private_zones_are_only_counted() {
        let mut zones = fake::zones();
        zones.extend(zones.first().cloned().map(|zone| Zone {
            name: "10.in-addr.arpa.".to_owned(),
            kind: ZoneKind::Private,
            problem: None,
            ..zone
        }));
        let text = own_zones_text(&zones);
        assert!(text.contains("and 1 private zones") && !text.contains("10.in-addr"), "{text}");
        assert!(zones_text(&zones).contains("10.in-addr"));
    }

    #[test]
    fn a_zone_is_guessed_from_its_files_name() {
        for (file, zone) in [
            ("/etc/muralla/zones/example.net", "example.net"),
            ("db.example.net", "example.net"),
            ("example.net.zone", "example.net"),
            ("lists/zen.txt", "zen"),
        ] {
            assert_eq!(zone_of(Path::new(file)), zone);
        }
    }
}
