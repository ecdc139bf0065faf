//! How a story is written:
//!
//! ```text
//! title: One of two servers is lame
//! why: RFC 1912 section 2.8; a resolver that believes the first refusal fails half of the time.
//!
//! world usual                          the zones and servers of usual.world
//! resolver minimisation strict         configuration, see `Setting`
//! zone example.test signed             see muralla_internet::Plan
//!   www A 203.0.113.1
//! server ns1.example.test 192.0.2.11 serves example.test
//!   lame
//!
//! ---
//! ask www.example.test A               [cd] [refresh]
//! expect NOERROR secure                code, and what validation made of it
//! expect answer www.example.test A 203.0.113.1
//! expect at most 8 queries             of the last question; also `exactly N`, `no`, `at least N`
//! expect within 100ms
//! time passes 10m
//! server ns1.example.test dies         recovers, behaves, or any misbehaviour
//! zone example.test changes to signed  with its new records below
//! ```

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use muralla_internet::misbehaviour::parse_duration;
use muralla_internet::plan::Last;
use muralla_internet::{DomainName, Plan, Zone};

/// A story.
pub(crate) struct Story {
    pub(crate) plan: Plan,
    pub(crate) settings: Vec<Setting>,
    pub(crate) steps: Vec<(usize, Step)>,
}

/// Configuration of the resolver.
pub(crate) enum Setting {
    /// `forward ZONE ADDRESS...`, with `first` before the zone to fall back to the root.
    Forward { zone: String, servers: Vec<String>, first: bool },
    /// `stub ZONE ADDRESS...`
    Stub { zone: String, servers: Vec<String> },
    /// `negative-anchor NAME`
    NegativeAnchor(String),
    /// `minimisation strict|relaxed|off`
    Minimisation(String),
    /// `validation enforce|permissive|off`
    Validation(String),
    /// `case plain`: no 0x20.
    PlainCase,
    /// `servers public`: private addresses are not asked.
    PublicServers,
    /// `budget queries|signatures|hashes N`
    Budget(String, u32),
}

/// One line of the plot.
pub(crate) enum Step {
    Ask { name: String, rtype: String, checking_disabled: bool, refresh: bool },
    Expect(Expectation),
    TimePasses(Duration),
    ServerDies(String),
    ServerRecovers(String),
    ServerBehaves(String),
    ServerMisbehaves(String, String),
    ZoneChanges(Box<Zone>),
}

/// What must be so after a question.
#[derive(Debug)]
pub(crate) enum Expectation {
    Outcome {
        rcode: String,
        security: Option<String>,
    },
    /// A record among the answers, its type and data as hickory-proto writes them.
    Answer(String),
    NoAnswer,
    /// No name has letters of both cases.
    SmallLetters,
    /// A record that is nowhere in the answer.
    Without(String),
    Authority {
        name: String,
        rtype: String,
    },
    ExtendedError(u16),
    NoExtendedError,
    Queries {
        low: u32,
        high: u32,
    },
    Within(Duration),
    TtlAtMost(u32),
    Asked {
        server: String,
        yes: bool,
    },
    /// Whether a server was shown this question.
    Seen {
        server: String,
        name: String,
        rtype: Option<String>,
        yes: bool,
    },
    /// Whether anybody was asked anything of this type.
    TypeAsked {
        rtype: String,
        yes: bool,
    },
}

/// Reads a story. The error names the line.
pub(crate) fn parse(text: &str) -> Result<Story> {
    let mut story = Story { plan: Plan::default(), settings: Vec::new(), steps: Vec::new() };
    let mut last = Last::Nothing;
    let (mut titled, mut reasoned, mut plot) = (false, false, false);
    for (at, line) in text.lines().enumerate() {
        let number = at + 1;
        let content = line.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let place = || format!("line {number}: {content}");
        if content == "---" {
            plot = true;
        } else if plot {
            read_step(line, number, &mut story.steps).with_context(place)?;
        } else if content.starts_with("title:") {
            titled = true;
        } else if content.starts_with("why:") {
            reasoned = true;
        } else if last == Last::Nothing && line.starts_with(' ') {
            ensure!(reasoned, "{}: an indented line goes on with \"why\"", place());
        } else if let Some(world) = content.strip_prefix("world ") {
            ensure!(world == "usual", "{}: there is one world, \"usual\"", place());
            story.plan =
                Plan::parse(include_str!("../stories/usual.world")).context("usual.world")?;
        } else if let Some(setting) = content.strip_prefix("resolver ") {
            story.settings.push(Setting::parse(setting).with_context(place)?);
        } else {
            story.plan.read(line, &mut last).with_context(place)?;
        }
    }
    ensure!(titled && reasoned, "a story has a title and says why it matters");
    ensure!(story.steps.iter().any(|(_, s)| matches!(s, Step::Expect(_))), "nothing is expected");
    Ok(story)
}

fn read_step(line: &str, number: usize, steps: &mut Vec<(usize, Step)>) -> Result<()> {
    let content = line.trim();
    if line.starts_with(' ') {
        let Some((_, Step::ZoneChanges(zone))) = steps.last_mut() else {
            bail!("an indented line is a record of a zone that changes");
        };
        zone.record(content)?;
        return Ok(());
    }
    let words: Vec<&str> = content.split_whitespace().collect();
    let step = match words.as_slice() {
        ["ask", name, rtype, options @ ..] => {
            for option in options {
                ensure!(matches!(*option, "cd" | "refresh"), "unknown option {option:?}");
            }
            Step::Ask {
                name: (*name).to_owned(),
                rtype: (*rtype).to_owned(),
                checking_disabled: options.contains(&"cd"),
                refresh: options.contains(&"refresh"),
            }
        }
        ["expect", what @ ..] => Step::Expect(Expectation::parse(what)?),
        ["time", "passes", duration] => Step::TimePasses(parse_duration(duration)?),
        ["server", host, "dies"] => Step::ServerDies((*host).to_owned()),
        ["server", host, "recovers"] => Step::ServerRecovers((*host).to_owned()),
        ["server", host, "behaves"] => Step::ServerBehaves((*host).to_owned()),
        ["server", host, fault @ ..] => Step::ServerMisbehaves((*host).to_owned(), fault.join(" ")),
        ["zone", name, "changes", "to", heading @ ..] => Step::ZoneChanges(Box::new(
            Zone::from_heading(&format!("{name} {}", heading.join(" ")))?,
        )),
        _ => bail!("no such step"),
    };
    steps.push((number, step));
    Ok(())
}

impl Setting {
    fn parse(line: &str) -> Result<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let owned = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect();
        Ok(match words.as_slice() {
            ["forward", "first", zone, servers @ ..] => {
                Self::Forward { zone: (*zone).to_owned(), servers: owned(servers), first: true }
            }
            ["forward", zone, servers @ ..] => {
                Self::Forward { zone: (*zone).to_owned(), servers: owned(servers), first: false }
            }
            ["stub", zone, servers @ ..] => {
                Self::Stub { zone: (*zone).to_owned(), servers: owned(servers) }
            }
            ["negative-anchor", name] => Self::NegativeAnchor((*name).to_owned()),
            ["minimisation", how] => Self::Minimisation((*how).to_owned()),
            ["validation", how] => Self::Validation((*how).to_owned()),
            ["case", "plain"] => Self::PlainCase,
            ["servers", "public"] => Self::PublicServers,
            ["budget", what, number] => Self::Budget((*what).to_owned(), number.parse()?),
            _ => bail!("no such setting"),
        })
    }
}

impl Expectation {
    fn parse(words: &[&str]) -> Result<Self> {
        let queries = |low, high| Ok(Self::Queries { low, high });
        Ok(match words {
            ["answer", record @ ..] => {
                ensure!(record.len() >= 3, "an answer is NAME TYPE DATA");
                let name = DomainName::absolute(record.first().context("name")?)?.to_string();
                Self::Answer(format!("{name} {}", record.get(1..).unwrap_or(&[]).join(" ")))
            }
            ["small", "letters"] => Self::SmallLetters,
            ["no", "answer"] => Self::NoAnswer,
            ["nothing", "of", text] => Self::Without((*text).to_owned()),
            ["authority", name, rtype] => Self::Authority {
                name: DomainName::absolute(name)?.to_string(),
                rtype: (*rtype).to_owned(),
            },
            ["ede", number] => Self::ExtendedError(number.parse()?),
            ["no", "ede"] => Self::NoExtendedError,
            ["at", "most", n, "queries"] => return queries(0, n.parse()?),
            ["at", "least", n, "queries"] => return queries(n.parse()?, u32::MAX),
            ["exactly", n, "queries" | "query"] => return queries(n.parse()?, n.parse()?),
            ["no", "queries"] => return queries(0, 0),
            ["within", duration] => Self::Within(parse_duration(duration)?),
            ["ttl", "at", "most", n] => Self::TtlAtMost(n.parse()?),
            ["server", host, "asked"] => Self::Asked { server: (*host).to_owned(), yes: true },
            ["server", host, "not", "asked"] => {
                Self::Asked { server: (*host).to_owned(), yes: false }
            }
            ["server", host, "sees", name, rest @ ..] => Self::Seen {
                server: (*host).to_owned(),
                name: DomainName::absolute(name)?.to_string(),
                rtype: rest.first().map(|w| (*w).to_owned()),
                yes: true,
            },
            ["server", host, "never", "sees", name, rest @ ..] => Self::Seen {
                server: (*host).to_owned(),
                name: DomainName::absolute(name)?.to_string(),
                rtype: rest.first().map(|w| (*w).to_owned()),
                yes: false,
            },
            ["nobody", "asked", rtype] => {
                Self::TypeAsked { rtype: (*rtype).to_owned(), yes: false }
            }
            [rcode @ ("NOERROR" | "NXDOMAIN" | "SERVFAIL"), rest @ ..] => {
                ensure!(rest.len() <= 1, "a code and one word");
                let security = rest.first().map(|w| (*w).to_owned());
                let known = |s: &String| matches!(s.as_str(), "secure" | "insecure" | "bogus");
                ensure!(security.as_ref().is_none_or(known), "secure, insecure or bogus");
                Self::Outcome { rcode: (*rcode).to_owned(), security }
            }
            _ => bail!("no such expectation"),
        })
    }
}
