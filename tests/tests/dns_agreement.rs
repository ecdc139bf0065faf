//! DNS: what the resolver says about a whole Internet is what an old and proven resolver says about it.

#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use muralla_internet::generate;
use muralla_lab::private_internet::PrivateInternet;
use muralla_lab::resolvers::{Resolver, ResolverOptions};
use muralla_lab::topology::{CUSTOMERS_V4, CUSTOMERS_V6};
use muralla_lab::{Family, Lab, LabOptions};
use muralla_tests::agreement::{Aspect, Difference, Question, compare};
use muralla_tests::dns_role::DnsRole;

/// Zones of the second level, and the seed of it all.
const ZONES: usize = 2_000;
const SEED: u64 = 20_261_124;
const QUESTIONS: usize = 10_000;
/// Questions under way at once.
const CLIENTS: usize = 48;
/// Seconds by which times to live may differ: the two met a name for the first time one after the other, and each
/// rounds.
const SLACK: u32 = 10;

const OURS: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 31));
const THEIRS: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 32));

/// Times to live that the Internet's zones have, in seconds; negative answers hold for the SOA record's 300.
const TTLS: [u32; 5] = [60, 300, 900, 3_600, 86_400];

/// How long a denial and its proof hold in all of them.
const PROOF_TTL: u32 = 300;

/// A difference that is none, with the reason.
struct Class {
    reason: &'static str,
    /// Whether the aspect of the difference is this; the time is that of the whole comparison, in seconds.
    covers: fn(&Difference, Aspect, u32) -> bool,
}

/// Narrow on purpose: what is not exactly this fails.
const EXPLAINED: [Class; 3] = [
    Class {
        reason: "who sets CD checks for himself (RFC 4035 section 3.2.2): ours validates nothing for him and \
                 never sets AD, unbound does both",
        covers: |difference, aspect, _| {
            aspect == Aspect::Authentic
                && difference.question.checking_disabled
                && !difference.ours.authentic
                && difference.theirs.authentic
        },
    },
    Class {
        reason: "ours asks for what a client wants itself, where unbound gives what it saw beside other \
                 answers (addresses of servers, DS records of delegations, ends of aliases) and is older: \
                 both times to live are what is left of the zone's own",
        covers: |difference, aspect, took| {
            aspect == Aspect::Ttl
                && all_ttls(difference, |ours, theirs| {
                    let left = |of| is_left(ours, of, took) && is_left(theirs, of, took);
                    // On a slow machine a minute passes, and each begins again when it is asked.
                    let fresher = ours + SLACK >= theirs || took >= TTLS[0];
                    fresher && TTLS.iter().any(|&of| left(of))
                })
        },
    },
    Class {
        reason: "what a wildcard made holds with ours no longer than the proof that there is nothing closer, \
                 with unbound as long as the wildcard",
        covers: |difference, aspect, took| {
            // The only wildcards of this Internet are those.
            let made_by_wildcard = difference.question.name.contains(".users.")
                && !difference.question.name.starts_with('*');
            aspect == Aspect::Ttl
                && made_by_wildcard
                && difference.ours.authentic
                && difference.theirs.authentic
                && all_ttls(difference, |ours, theirs| {
                    let longer = TTLS.iter().filter(|&&of| of > PROOF_TTL);
                    is_left(ours, PROOF_TTL, took)
                        && longer.into_iter().any(|&of| is_left(theirs, of, took))
                })
        },
    },
];

/// Whether a time to live may be what is left of another one after `took` seconds at most.
fn is_left(ttl: u32, of: u32, took: u32) -> bool {
    ttl <= of && of - ttl <= took
}

/// Whether the times to live of all records are as told, ours first; both have the same records.
fn all_ttls(difference: &Difference, told: impl Fn(u32, u32) -> bool) -> bool {
    let theirs = &difference.theirs.records;
    let same = |(record, ours): (&String, &u32)| {
        theirs.get(record).is_some_and(|theirs| told(*ours, *theirs))
    };
    difference.ours.records.len() == theirs.len() && difference.ours.records.iter().all(same)
}

#[test]
fn dns_answers_agree_with_unbound() {
    let options = LabOptions { customers: 4, nas: 1, internet: 2 };
    let lab = Lab::up("dns-agreement", options).unwrap();
    let generated = generate(ZONES, SEED).unwrap();
    let questions = Arc::new(questions(&generated.questions));
    let internet = Arc::new(generated.internet);
    let world = PrivateInternet::start(&lab, "10.53.0.0/16", internet, None).unwrap();

    let mut role = DnsRole::idle(&lab, "ours", OURS).unwrap();
    let hints = role.folder().join("root.hints");
    std::fs::write(&hints, &world.root_hints).unwrap();
    let anchors: Vec<String> =
        world.trust_anchors.iter().map(|anchor| format!("\"{anchor}\"")).collect();
    role.configure(&format!(
        r#"threads = 1
cache = "64MiB"
cache_file = "none"
clients = ["{CUSTOMERS_V4}", "{CUSTOMERS_V6}", "203.0.113.0/24"]
[dns.resolver]
root_hints = "{hints}"
trust_anchors = [{anchors}]
private_servers = true
cache = "64MiB"
"#,
        hints = hints.display(),
        anchors = anchors.join(", "),
    ))
    .unwrap();
    role.run().unwrap();
    let options = ResolverOptions {
        address: THEIRS,
        core: 0,
        root_hints: world.root_hints.clone(),
        trust_anchors: world.trust_anchors.clone(),
        cache: 128 << 20,
        stale: false,
    };
    let _unbound = Resolver::Unbound.start(&lab, &options).unwrap();

    let from = lab.customer_hosts(Family::V4)[0];
    let compared =
        compare(lab.customers(), from, [OURS, THEIRS], &questions, CLIENTS, SLACK).unwrap();
    println!(
        "{} questions in {} s: {:?}, {} with AD",
        questions.len(),
        compared.took,
        compared.codes,
        compared.authentic
    );
    // What is compared must be worth it.
    assert!(compared.authentic > QUESTIONS / 10, "{}", compared.authentic);
    for code in ["No Error", "Non-Existent Domain"] {
        let count = compared.codes.get(code).copied().unwrap_or(0);
        assert!(count > QUESTIONS / 20, "{count} of {code}: {:?}", compared.codes);
    }

    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    let mut unexplained = Vec::new();
    for difference in &compared.differences {
        // Every aspect in which two answers differ needs its own explanation.
        let reasons: Vec<Option<&str>> = difference
            .aspects
            .iter()
            .map(|&aspect| {
                let class = EXPLAINED
                    .iter()
                    .find(|class| (class.covers)(difference, aspect, compared.took));
                class.map(|class| class.reason)
            })
            .collect();
        if reasons.contains(&None) {
            unexplained.push(difference);
        }
        for reason in reasons.into_iter().flatten() {
            *counted.entry(reason).or_default() += 1;
        }
    }
    for (reason, count) in counted {
        println!("{count} differ: {reason}");
    }
    let shown: Vec<String> = unexplained.iter().take(10).map(ToString::to_string).collect();
    assert!(
        unexplained.is_empty(),
        "{} of {} answers differ, the first ten:\n  {}",
        unexplained.len(),
        questions.len(),
        shown.join("\n  ")
    );
}

/// What the Internet's makers thought of, what lies around it, and each in one of the ways to ask.
fn questions(given: &[(String, String)]) -> Vec<Question> {
    // Zones of the second level: what has a `www`.
    let zones: BTreeSet<&str> =
        given.iter().filter_map(|(name, _)| name.strip_prefix("www.")).collect();
    let mut all: Vec<(String, String)> = Vec::new();
    let around = [
        ("", "DS"),
        ("", "DNSKEY"),
        ("www.", "DS"),
        ("www.", "TXT"),
        ("ftp.", "CNAME"),
        ("ftp.", "MX"),
        ("ftp.", "TYPE65400"),
        ("nothing.", "AAAA"),
        ("a.b.nothing.", "A"),
        ("below.empty.", "A"),
        ("other.below.empty.", "TXT"),
        ("x.users.", "AAAA"),
        ("x.y.users.", "A"),
        ("*.users.", "A"),
        ("users.", "A"),
        ("x.www.", "A"),
        ("cdn.", "AAAA"),
        ("", "NSEC3PARAM"),
        ("", "HTTPS"),
        ("ns0.", "A"),
        ("ns1.", "AAAA"),
        ("_sip._udp.", "A"),
        ("_udp.", "SRV"),
        ("", "CAA"),
        ("WwW.", "A"),
    ];
    for (number, zone) in zones.iter().enumerate() {
        // Two for each, and another two for the next.
        for (label, rtype) in around.iter().cycle().skip(number * 2).take(2) {
            all.push((format!("{label}{zone}"), (*rtype).to_owned()));
        }
        if number.is_multiple_of(10) {
            let top = zone.split_once('.').map_or(".", |(_, top)| top);
            all.push((format!("unregistered{number}.{top}"), "A".to_owned()));
            all.push((format!("www.unregistered{number}.{top}"), "AAAA".to_owned()));
            all.push((format!("unregistered{number}.{top}"), "DS".to_owned()));
            all.push((format!("www.top{number}."), "A".to_owned()));
            all.push((format!("9.{}.0.9.in-addr.arpa.", number % 256), "PTR".to_owned()));
            all.push((format!("3.{}.0.5.in-addr.arpa.", number % 256), "PTR".to_owned()));
        }
    }
    for name in [".", "com.", "org.", "se.", "zz.", "arpa.", "in-addr.arpa.", "nic.net."] {
        for rtype in ["NS", "SOA", "DS", "DNSKEY", "A", "TXT", "NSEC3PARAM"] {
            all.push((name.to_owned(), rtype.to_owned()));
        }
    }
    let rest = QUESTIONS.saturating_sub(all.len());
    all.extend(given.iter().take(rest).cloned());
    // In no order: with the golden ratio as a step, neighbours come from all over.
    let length = all.len();
    let step =
        (1..length).rev().find(|step| coprime(*step, length) && *step < length * 618 / 1_000);
    let step = step.unwrap_or(1);
    let ways = [(false, false), (true, false), (true, false), (false, false), (true, true)];
    (0..length)
        .map(|number| {
            let (name, rtype) = all[number * step % length].clone();
            let (dnssec_ok, checking_disabled) = ways[number % ways.len()];
            Question { name, rtype, dnssec_ok, checking_disabled }
        })
        .collect()
}

fn coprime(a: usize, b: usize) -> bool {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a == 1
}
