//! Asks the resolver what a story asks, and compares.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use hickory_proto::rr::{Name, Record, RecordType};
use muralla_internet::{DomainName, Plan, Server};
use muralla_resolver::config::{Minimisation, ResolverConfig, Route, Validation};
use muralla_resolver::engine::{Answer, Engine as _, Request, Security};
use muralla_resolver::resolver::Resolver;
use muralla_resolver::trace::Trace;
use tokio::time::Instant;

use crate::private_internet::{Asked, Attached, Network};

use super::script::{Expectation, Setting, Step, Story};

/// What the last question came to.
struct Outcome {
    answer: Answer,
    asked: Vec<Asked>,
    took: Duration,
    trace: Arc<Trace>,
}

/// Seeds of the resolver's choices, among servers for one: a story must end the same way for each.
const SEEDS: std::ops::Range<u64> = 1..7;

/// Plays a story. The error is a list of all that came out otherwise, for the first seed where anything did.
pub(crate) fn play(story: &Story) -> Result<()> {
    for seed in SEEDS {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()?;
        runtime.block_on(play_steps(story, seed)).with_context(|| format!("seed {seed}"))?;
    }
    Ok(())
}

async fn play_steps(story: &Story, seed: u64) -> Result<()> {
    let mut plan = story.plan.clone();
    let internet = plan.build()?;
    let config = configuration(&story.settings, &internet)?;
    let network = Arc::new(Network::new(internet));
    let attached = Attached(network.clone());
    let resolver = Resolver::new(config, Arc::new(attached.clone()), Arc::new(attached), seed)?;
    let mut last: Option<Outcome> = None;
    let mut differences = Vec::new();
    for (line, step) in &story.steps {
        let place = || format!("line {line}");
        match step {
            Step::Ask { name, rtype, checking_disabled, refresh } => {
                let trace = Arc::new(Trace::default());
                let request = Request {
                    name: Name::from_ascii(absolute(name)).with_context(place)?,
                    rtype: parse_type(rtype).with_context(place)?,
                    checking_disabled: *checking_disabled,
                    refresh: *refresh,
                    trace: Some(trace.clone()),
                };
                network.take_asked();
                let begin = Instant::now();
                let answer = resolver.resolve(request).await;
                let (asked, took) = (network.take_asked(), begin.elapsed());
                last = Some(Outcome { answer, asked, took, trace });
            }
            Step::Expect(expectation) => {
                let outcome = last.as_ref().with_context(place).context("nothing was asked")?;
                if let Err(difference) = expectation.check(outcome, &plan) {
                    differences
                        .push(format!("line {line}: {difference:#}\n{}", outcome.describe()));
                }
            }
            Step::TimePasses(duration) => {
                tokio::time::sleep(*duration).await;
            }
            change => {
                apply(change, &mut plan).with_context(place)?;
                let changed = plan.build().with_context(place)?;
                *network.internet.lock().unwrap() = Arc::new(changed);
            }
        }
    }
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}

fn configuration(
    settings: &[Setting],
    internet: &muralla_internet::Internet,
) -> Result<ResolverConfig> {
    let mut hints: Vec<(String, Vec<IpAddr>)> = Vec::new();
    for (host, address) in internet.root_servers() {
        hints.push((host.to_string(), vec![*address]));
    }
    let mut config = ResolverConfig {
        root_hints: hints,
        trust_anchors: internet.trust_anchors(),
        allow_private_servers: true,
        ..ResolverConfig::default()
    };
    let route = |zone: &str, servers: &[String], first: bool| -> Result<Route> {
        let servers = servers.iter().map(|s| Ok(SocketAddr::new(s.parse()?, 53)));
        Ok(Route { zone: zone.to_owned(), servers: servers.collect::<Result<_>>()?, first })
    };
    for setting in settings {
        match setting {
            Setting::Forward { zone, servers, first } => {
                config.forward.push(route(zone, servers, *first)?);
            }
            Setting::Stub { zone, servers } => config.stub.push(route(zone, servers, false)?),
            Setting::NegativeAnchor(name) => {
                config.negative_trust_anchors.push((name.clone(), None));
            }
            Setting::Minimisation(how) => {
                config.qname_minimisation = match how.as_str() {
                    "strict" => Minimisation::Strict,
                    "relaxed" => Minimisation::Relaxed,
                    "off" => Minimisation::Off,
                    _ => bail!("minimisation {how:?}"),
                }
            }
            Setting::Validation(how) => {
                config.validation = match how.as_str() {
                    "enforce" => Validation::Enforce,
                    "permissive" => Validation::Permissive,
                    "off" => Validation::Off,
                    _ => bail!("validation {how:?}"),
                }
            }
            Setting::PlainCase => config.case_randomization = false,
            Setting::PublicServers => config.allow_private_servers = false,
            Setting::Budget(what, number) => match what.as_str() {
                "queries" => config.budgets.queries = *number,
                "signatures" => config.budgets.signatures = *number,
                "hashes" => config.budgets.hashes = *number,
                _ => bail!("budget {what:?}"),
            },
        }
    }
    Ok(config)
}

/// Changes the world.
fn apply(step: &Step, plan: &mut Plan) -> Result<()> {
    match step {
        Step::ServerDies(host) => server(plan, host)?.misbehave("dead")?,
        // A server that recovers does nothing wrong any more, whatever it did before.
        Step::ServerRecovers(host) | Step::ServerBehaves(host) => {
            server(plan, host)?.faults.clear();
        }
        Step::ServerMisbehaves(host, fault) => server(plan, host)?.misbehave(fault)?,
        Step::ZoneChanges(zone) => {
            let old = plan.zone_mut(zone.origin()).context("there is no such zone")?;
            *old = (**zone).clone();
        }
        Step::Ask { .. } | Step::Expect(_) | Step::TimePasses(_) => {}
    }
    Ok(())
}

fn server<'a>(plan: &'a mut Plan, host: &str) -> Result<&'a mut Server> {
    plan.server_mut(host).with_context(|| format!("there is no server {host}"))
}

impl Expectation {
    fn check(&self, outcome: &Outcome, plan: &Plan) -> Result<()> {
        let answer = &outcome.answer;
        let addresses = |host: &str| {
            let mut plan = plan.clone();
            let server = plan.server_mut(host).with_context(|| format!("no server {host}"));
            server.map(|s| s.addresses.clone())
        };
        match self {
            Self::Outcome { rcode, security } => {
                let got = code(answer);
                ensure!(got == *rcode, "expected {rcode}, got {got}");
                let got = match answer.security {
                    Security::Secure => "secure",
                    Security::Insecure => "insecure",
                    Security::Bogus => "bogus",
                };
                let as_expected = security.as_ref().is_none_or(|s| s == got);
                ensure!(as_expected, "expected {}, got {got}", security.as_deref().unwrap_or(""));
            }
            Self::Answer(wanted) => {
                let has = answer.answers.iter().any(|r| text(r).eq_ignore_ascii_case(wanted));
                ensure!(has, "expected answer {wanted}");
            }
            Self::SmallLetters => {
                let all = answer.answers.iter().chain(&answer.authorities);
                let data = all.filter(|r| !matches!(r.record_type(), RecordType::RRSIG));
                let mixed = data.map(|r| format!("{} {}", r.name, r.data));
                let mut mixed = mixed.filter(|t| {
                    t.split('.')
                        .any(|l| l.contains(char::is_uppercase) && l.contains(char::is_lowercase))
                });
                if let Some(mixed) = mixed.next() {
                    bail!("expected small letters, got {mixed}");
                }
            }
            Self::NoAnswer => {
                let data = answer.answers.iter().any(|r| r.record_type() != RecordType::RRSIG);
                ensure!(!data, "expected no answer");
            }
            Self::Without(part) => {
                let all = answer.answers.iter().chain(&answer.authorities);
                let found = all.map(text).find(|t| t.contains(part.as_str()));
                ensure!(found.is_none(), "expected nothing of {part}, got {found:?}");
            }
            Self::Authority { name, rtype } => {
                let has = answer.authorities.iter().any(|r| {
                    r.name.to_lowercase().to_ascii() == *name
                        && r.record_type().to_string() == *rtype
                });
                ensure!(has, "expected {name} {rtype} in the authority section");
            }
            Self::ExtendedError(number) => {
                let has = answer.errors.iter().any(|e| e.code == *number);
                ensure!(has, "expected extended error {number}");
            }
            Self::NoExtendedError => {
                ensure!(answer.errors.is_empty(), "expected no extended error")
            }
            Self::Queries { low, high } => {
                let sent = u32::try_from(outcome.asked.len())?;
                ensure!(
                    (*low..=*high).contains(&sent),
                    "expected {low} to {high} queries, got {sent}"
                );
            }
            Self::Within(limit) => {
                ensure!(
                    outcome.took <= *limit,
                    "expected within {limit:?}, took {:?}",
                    outcome.took
                );
            }
            Self::TtlAtMost(limit) => {
                let most = answer.answers.iter().chain(&answer.authorities).map(|r| r.ttl).max();
                ensure!(
                    most.is_none_or(|t| t <= *limit),
                    "expected TTL up to {limit}, got {most:?}"
                );
            }
            Self::Asked { server, yes } => {
                let addresses = addresses(server)?;
                let asked = outcome.asked.iter().any(|a| addresses.contains(&a.server));
                ensure!(asked == *yes, "{server} was {}asked", if asked { "" } else { "not " });
            }
            Self::Seen { server, name, rtype, yes } => {
                let addresses = addresses(server)?;
                let seen = outcome.asked.iter().any(|a| {
                    addresses.contains(&a.server)
                        && a.name == *name
                        && rtype.as_ref().is_none_or(|t| *t == a.rtype)
                });
                ensure!(
                    seen == *yes,
                    "{server} was {}shown {name}",
                    if seen { "" } else { "not " }
                );
            }
            Self::TypeAsked { rtype, yes } => {
                let asked = outcome.asked.iter().any(|a| a.rtype == *rtype);
                ensure!(asked == *yes, "{rtype} was {}asked", if asked { "" } else { "not " });
            }
        }
        Ok(())
    }
}

impl Outcome {
    /// The answer, the queries and the trace, for people.
    fn describe(&self) -> String {
        let answer = &self.answer;
        let mut out = format!("  got {} {:?} in {:?}", code(answer), answer.security, self.took);
        for error in &answer.errors {
            out += &format!("\n    EDE {} {}", error.code, error.text);
        }
        let data = |r: &&Record| r.record_type() != RecordType::RRSIG;
        for record in answer.answers.iter().filter(data) {
            out += &format!("\n    answer {}", text(record));
        }
        for record in answer.authorities.iter().filter(data) {
            out += &format!("\n    authority {}", text(record));
        }
        out += &format!("\n  {} queries", self.asked.len());
        const SHOWN: usize = 40;
        for asked in self.asked.iter().take(SHOWN) {
            let Asked { server, protocol, name, rtype } = asked;
            out += &format!("\n    {server} {protocol:?} {name} {rtype}");
        }
        for step in self.trace.steps().iter().take(SHOWN) {
            out += &format!("\n    {}{}", "  ".repeat(step.depth.into()), step.what);
        }
        out
    }
}

fn code(answer: &Answer) -> String {
    use hickory_proto::op::ResponseCode;
    match answer.rcode {
        ResponseCode::NoError => "NOERROR".to_owned(),
        ResponseCode::NXDomain => "NXDOMAIN".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        other => other.to_string(),
    }
}

/// `NAME TYPE DATA`, the name in small letters.
fn text(record: &Record) -> String {
    format!("{} {} {}", record.name.to_lowercase().to_ascii(), record.record_type(), record.data)
}

/// A mnemonic or `TYPEn`.
fn parse_type(word: &str) -> Option<RecordType> {
    let number = word.strip_prefix("TYPE").and_then(|n| n.parse::<u16>().ok());
    number.map(RecordType::from).or_else(|| word.parse().ok())
}

fn absolute(name: &str) -> String {
    DomainName::absolute(name).map_or_else(|_| name.to_owned(), |n| n.to_string())
}
