//! What a domain's record and its policy say: RFC 8461 section 3.

use serde::{Deserialize, Serialize};

/// A policy.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub(crate) struct Policy {
    pub(crate) mode: Mode,
    /// Hosts that take the domain's mail, in lower case; one may begin with `*.`.
    pub(crate) hosts: Vec<String>,
    /// For how many seconds it holds.
    pub(crate) max_age: i64,
}

/// What is done where a server does not prove that it is one of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// It gets no mail.
    Enforce,
    /// It gets it all the same.
    Testing,
    /// Nothing is asked of it.
    None,
}

/// Longest policy in octets: section 3.3 has it up to the sender.
pub(super) const LONGEST: usize = 64 << 10;

/// Longest time for which one may hold, in seconds: section 3.2.
const LONGEST_AGE: i64 = 31_557_600;

/// Hosts of a policy that are looked at.
const MOST_HOSTS: usize = 200;

impl Policy {
    /// Reads a policy: section 3.2. What is not known is passed over.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let (mut version, mut mode, mut max_age) = (None, None, None);
        let mut hosts = Vec::new();
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let value = value.trim_matches([' ', '\t', '\r']);
            match key.trim_matches([' ', '\t']) {
                // Of what is there twice, the first counts.
                "version" => version = version.or(Some(value)),
                "mode" => mode = mode.or(Some(value)),
                "max_age" => max_age = max_age.or(Some(value)),
                "mx" if hosts.len() < MOST_HOSTS => {
                    hosts.push(value.trim_end_matches('.').to_ascii_lowercase());
                }
                _ => {}
            }
        }
        if version != Some("STSv1") {
            return Err("the policy is not of version STSv1");
        }
        let mode = match mode {
            Some("enforce") => Mode::Enforce,
            Some("testing") => Mode::Testing,
            Some("none") => Mode::None,
            _ => return Err("the policy's mode is none that is known"),
        };
        let digits =
            max_age.filter(|age| !age.is_empty() && age.bytes().all(|b| b.is_ascii_digit()));
        let max_age = digits.ok_or("the policy does not say how long it holds")?;
        // More digits than fit are more than a year, too.
        let max_age = max_age.parse().unwrap_or(LONGEST_AGE).min(LONGEST_AGE);
        if hosts.is_empty() && mode != Mode::None {
            return Err("the policy names no host");
        }
        Ok(Self { mode, hosts, max_age })
    }

    /// Whether a host may take the domain's mail: section 4.1. An asterisk stands for one label.
    pub(crate) fn allows(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.hosts.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(above) => {
                host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == above)
            }
            None => *pattern == host,
        })
    }
}

/// The id that a domain's record names; none if there is no record, or more than one: section 3.1.
pub(super) fn id(texts: &[String]) -> Option<String> {
    let mut records = texts.iter().filter(|text| is_record(text));
    let record = records.next().filter(|_| records.next().is_none())?;
    let id = record.split(';').find_map(|field| field.trim().strip_prefix("id=").map(str::trim))?;
    let good = (1..=32).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    good.then(|| id.to_owned())
}

fn is_record(text: &str) -> bool {
    text.split(';').next().is_some_and(|version| version.trim() == "v=STSv1")
}
