//! What goes over the admin socket.

use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use muralla_abi::sample::{SNAPLEN, Sample};
use muralla_dns::log::LoggedQuery;
use muralla_edge::samples::Drop;
use muralla_mail::operators::{QueueAction, QueueForm};
use muralla_telemetry::budget;
use serde::{Deserialize, Deserializer, Serialize};

use crate::roles::Role;
use muralla_edge::wall::{Mode, Status};

/// Answer to `GET /v1/status`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Overview {
    pub(crate) version: String,
    pub(crate) pid: u32,
    pub(crate) uptime_seconds: u64,
    pub(crate) configuration: PathBuf,
    /// What this process does.
    #[serde(default)]
    pub(crate) roles: Vec<Role>,
    /// Whether the operator took the wall down with `muralla edge detach`.
    pub(crate) detached: bool,
    /// What a person should know, the worst first.
    pub(crate) warnings: Vec<String>,
    pub(crate) reload: Option<ReloadOutcome>,
    pub(crate) promises: Vec<budget::State>,
    pub(crate) edge: Option<Status>,
    /// The network card's cache as the wall has it; none without a wall, or without such a cache.
    #[serde(default)]
    pub(crate) answers: Option<AnswersStatus>,
    #[serde(default)]
    pub(crate) dns: Option<muralla_dns::report::Status>,
    #[serde(default)]
    pub(crate) radius: Option<muralla_radius::report::Status>,
    #[serde(default)]
    pub(crate) mail: Option<muralla_mail::report::Status>,
    /// Whether the latest request of our own through a socket of DNS, RADIUS or mail went unanswered.
    #[serde(default)]
    pub(crate) silent: bool,
}

impl Overview {
    /// With what another process on the same machine has: a role is one process's alone.
    pub(crate) fn with(mut self, other: Self) -> Self {
        self.roles.extend(other.roles);
        self.detached |= other.detached;
        for warning in other.warnings {
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
        self.promises.extend(other.promises);
        // A refused file is refused by all who read it; the later outcome is the one to look at.
        self.reload = match (self.reload.take(), other.reload) {
            (Some(one), Some(two)) => Some(if two.at > one.at { two } else { one }),
            (one, two) => one.or(two),
        };
        self.edge = self.edge.or(other.edge);
        self.answers = self.answers.or(other.answers);
        self.dns = self.dns.or(other.dns);
        self.radius = self.radius.or(other.radius);
        self.mail = self.mail.or(other.mail);
        self.silent |= other.silent;
        self
    }
}

/// The network card's cache of DNS answers, as the wall sees it: it goes on answering whether or not a DNS
/// role lives.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct AnswersStatus {
    /// Queries answered since the counters began.
    pub(crate) answered: u64,
    /// Whether some were in the last seconds.
    pub(crate) answering: bool,
    /// Whether the configuration wants it filled.
    pub(crate) wanted: bool,
    /// Whether a process fills it.
    pub(crate) fed: bool,
}

impl AnswersStatus {
    /// What a person should know of it.
    pub(crate) fn warning(&self) -> Option<String> {
        let whose = if self.answering {
            "the network card still answers hot names, each until its TTL ends, but nobody renews them"
        } else if self.wanted {
            "nobody fills the network card's cache, so that it answers nothing"
        } else {
            return None;
        };
        (!self.fed).then(|| format!("{whose}: `systemctl status muralla-dns`"))
    }
}

/// Query of `GET /v1/radius/sessions`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionsForm {
    /// Of this user alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// At this NAS alone, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) nas: Option<String>,
    /// At most so many.
    #[serde(default = "most_sessions")]
    pub(crate) most: usize,
}

fn most_sessions() -> usize {
    1_000
}

/// Body of `POST /v1/radius/sessions/change`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeForm {
    pub(crate) user: String,
    /// One of the user's, by its id with us or its Acct-Session-Id; without it all of them.
    #[serde(default)]
    pub(crate) session: Option<String>,
    /// What to change, such as `Mikrotik-Rate-Limit = "1M/1M"`; without it the session ends.
    #[serde(default)]
    pub(crate) attributes: Option<Vec<String>>,
}

/// Body of `POST /v1/radius/sessions/close`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CloseForm {
    /// One session, by its id with us or its Acct-Session-Id.
    pub(crate) session: String,
}

/// Query of `GET /v1/radius/limits`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitsForm {
    /// User-Name.
    pub(crate) user: String,
}

/// Body of `POST /v1/radius/dead-letters/retry` and `/remove`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeadLettersForm {
    /// Their numbers; without them all, which only `retry` takes.
    #[serde(default)]
    pub(crate) sequences: Option<Vec<u64>>,
}

/// Answer to both.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Settled {
    /// How many records are tried again, or removed.
    pub(crate) records: usize,
}

/// Body of `POST /v1/radius/test`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestForm {
    pub(crate) user: String,
    pub(crate) password: String,
    /// `pap`, `chap`, `mschap` or `mschap2`.
    #[serde(default = "pap")]
    pub(crate) method: String,
    /// Attributes of the request, such as `Calling-Station-Id = "00-11-22"`.
    #[serde(default)]
    pub(crate) attributes: Vec<String>,
}

fn pap() -> String {
    "pap".to_owned()
}

/// Body of `POST /v1/mail/queue/change`; the answer is [`Settled`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueueChange {
    /// Which recipients are meant; all if nothing is said.
    pub(crate) which: QueueForm,
    pub(crate) action: QueueAction,
}

/// Body of `POST /v1/mail/trace`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TraceForm {
    /// Our id, a Message-ID, or an address.
    pub(crate) what: String,
}

/// Body of `POST /v1/dns/lookup`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LookupForm {
    pub(crate) name: String,
    #[serde(rename = "type", default = "address")]
    pub(crate) rtype: String,
    /// Each step, too.
    #[serde(default)]
    pub(crate) trace: bool,
    /// What fails validation, too (the CD bit).
    #[serde(default)]
    pub(crate) checking_disabled: bool,
    /// From the servers, past all caches.
    #[serde(default)]
    pub(crate) refresh: bool,
}

fn address() -> String {
    "A".to_owned()
}

/// Body of `POST /v1/dns/flush`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FlushForm {
    pub(crate) name: String,
    /// All names below it, too.
    #[serde(default)]
    pub(crate) zone: bool,
}

/// Answer to `POST /v1/dns/flush`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Flushed {
    /// Entries of the wire cache that went.
    pub(crate) entries: usize,
}

/// Body of `POST /v1/dns/zones/reload`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ZoneForm {
    /// None: all of them.
    #[serde(default)]
    pub(crate) name: Option<String>,
}

/// Answer to `GET /v1/ping`.
pub(crate) const PONG: &str = "pong";

/// Answer to `GET /v1/dns/canary`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Canary {
    /// Time until the answer.
    pub(crate) seconds: f64,
}

/// A line of `GET /v1/dns/queries`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum QueryLine {
    /// One query.
    Query(Box<LoggedQuery>),
    /// The follower was too slow for this many.
    Lost(u64),
}

/// How the latest attempt to reload ended.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct ReloadOutcome {
    /// In seconds since 1970.
    pub(crate) at: u64,
    pub(crate) applied: bool,
    /// Why not, or what is odd about what was applied.
    pub(crate) remarks: Vec<String>,
}

/// Body of `POST /v1/blocks`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BlockForm {
    #[serde(deserialize_with = "prefix_or_address")]
    pub(crate) prefix: IpNet,
    #[serde(default)]
    pub(crate) note: String,
    /// None: until unblocked.
    #[serde(default)]
    pub(crate) for_seconds: Option<u64>,
    /// None: for all services.
    #[serde(default)]
    pub(crate) services: Option<Vec<String>>,
}

/// Body of `POST /v1/allow`, and the query of `DELETE`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PrefixForm {
    #[serde(deserialize_with = "prefix_or_address")]
    pub(crate) prefix: IpNet,
}

fn prefix_or_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IpNet, D::Error> {
    let text = String::deserialize(deserializer)?;
    crate::configuration::prefix_argument(&text).map_err(serde::de::Error::custom)
}

/// Body of `POST /v1/customers-seen`: a customer who logged in from an address.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CustomerSeen {
    pub(crate) source: IpAddr,
    pub(crate) account: String,
}

/// Answer to what changed something.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Done {
    pub(crate) done: bool,
    #[serde(default)]
    pub(crate) remarks: Vec<String>,
}

/// Answer to everything that was refused or failed.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Refusal {
    pub(crate) error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) help: Option<String>,
}

/// A line of `GET /v1/samples`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SampleLine {
    /// One packet.
    Sample(Box<Sighting>),
    /// The follower was too slow for this many.
    Lost(u64),
}

/// A sampled packet, in words and in bytes.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Sighting {
    pub(crate) drop: Drop,
    pub(crate) ifindex: u32,
    /// One of every so many packets, whatever its verdict, and not a sample of a reason.
    pub(crate) traffic: bool,
    /// Numbers of service, reason and verdict.
    numbers: (u8, u8, u8),
    /// The frame's first bytes, in hexadecimal.
    frame: String,
}

impl Sighting {
    pub(crate) fn new(sample: &Sample, drop: Drop) -> Self {
        let captured = usize::from(sample.caplen).min(SNAPLEN);
        let frame = sample.data.iter().take(captured).map(|byte| format!("{byte:02x}")).collect();
        Self {
            drop,
            ifindex: sample.ifindex,
            traffic: sample.traffic != 0,
            numbers: (sample.service, sample.reason, sample.verdict),
            frame,
        }
    }

    /// The sample again, as it came from the kernel. What is no hexadecimal ends the frame.
    pub(crate) fn sample(&self) -> Sample {
        let mut data = [0; SNAPLEN];
        let mut caplen = 0;
        let pairs = self.frame.as_bytes().chunks_exact(2);
        for (place, pair) in data.iter_mut().zip(pairs) {
            let byte =
                std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
            let Some(byte) = byte else { break };
            *place = byte;
            caplen += 1;
        }
        let (service, reason, verdict) = self.numbers;
        Sample {
            time_ns: self.drop.time_ns,
            ifindex: self.ifindex,
            len: self.drop.length,
            caplen,
            service,
            reason,
            verdict,
            traffic: self.traffic.into(),
            _reserved: [0; 2],
            data,
        }
    }
}

/// What a person should know about a wall, the worst first.
pub(crate) fn warnings(status: &Status) -> Vec<String> {
    let mut warnings = Vec::new();
    for interface in status.interfaces.iter().filter(|interface| !interface.attached) {
        let name = &interface.name;
        let problem = interface.problem.as_deref().unwrap_or("no program is attached");
        warnings.push(format!("NOT PROTECTED: {}", about(name, problem)));
    }
    for interface in status.interfaces.iter().filter(|interface| interface.attached) {
        let name = &interface.name;
        match interface.problem.as_deref() {
            Some(problem) => warnings.push(about(name, problem)),
            None if interface.mode == Some(Mode::Generic) => warnings.push(format!(
                "{name}: GENERIC MODE, as configured: floods cost many times more than in native mode"
            )),
            None => {}
        }
    }
    for feed in &status.feeds {
        if let Some(problem) = &feed.problem {
            warnings.push(about(&format!("feed {}", feed.name), problem));
        } else if feed.stale {
            let age = feed.age_seconds.map(std::time::Duration::from_secs).unwrap_or_default();
            let age = crate::configuration::duration::write(age);
            warnings.push(format!("feed {} is stale: {} is {age} old", feed.name, feed.file));
        }
    }
    warnings
}

/// A problem with the name of what has it, once.
fn about(name: &str, problem: &str) -> String {
    if problem.starts_with(name) { problem.to_owned() } else { format!("{name}: {problem}") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_sample_comes_through_json_unchanged() {
        let mut data = [0; SNAPLEN];
        for (index, byte) in data.iter_mut().enumerate().take(77) {
            *byte = u8::try_from(index * 3 % 256).unwrap();
        }
        let sample = Sample {
            time_ns: 5,
            ifindex: 3,
            len: 1500,
            caplen: 77,
            service: 2,
            reason: 35,
            verdict: 1,
            traffic: 1,
            _reserved: [0; 2],
            data,
        };
        let drop = muralla_edge::samples::describe(&sample, &[], &BTreeMap::new());
        let line = SampleLine::Sample(Box::new(Sighting::new(&sample, drop)));
        let text = serde_json::to_string(&line).unwrap();
        let SampleLine::Sample(back) = serde_json::from_str(&text).unwrap() else {
            panic!("{text}")
        };
        let back = back.sample();
        assert_eq!(back.data, sample.data);
        assert_eq!(
            (
                back.time_ns,
                back.ifindex,
                back.len,
                back.caplen,
                back.service,
                back.reason,
                back.verdict,
                back.traffic
            ),
            (5, 3, 1500, 77, 2, 35, 1, 1)
        );
    }

    #[test]
    fn a_frame_that_is_no_hexadecimal_ends_there() {
        let text = r#"{"drop":{"time_ns":0,"unix_ns":null,"interface":"","service":"","verdict":"","reason":"","words":"","source":null,"source_port":null,"destination":null,"destination_port":null,"protocol":null,"length":0,"detail":null},"ifindex":1,"traffic":false,"numbers":[0,0,0],"frame":"0aé0b"}"#;
        let sighting: Sighting = serde_json::from_str(text).unwrap();
        assert_eq!(sighting.sample().caplen, 1);
    }
}
