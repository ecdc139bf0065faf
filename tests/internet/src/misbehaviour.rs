//! What a server can do wrong, each a word with arguments, and for which questions.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::internet::Protocol;
use crate::keys::Flaw;
use crate::name::DomainName;
use crate::record::{Record, parse_type};

/// One misbehaviour of a server, and when it shows.
#[derive(Clone, Debug)]
pub struct Fault {
    pub(crate) misbehaviour: Misbehaviour,
    scope: Scope,
}

/// For which questions, or for which records where it is about signatures.
#[derive(Clone, Debug, Default)]
struct Scope {
    name: Option<DomainName>,
    /// Whether names below count too.
    below: bool,
    rtype: Option<u16>,
    protocol: Option<Protocol>,
}

/// What is done wrong.
#[derive(Clone, Debug)]
pub(crate) enum Misbehaviour {
    Dead,
    Delay(Duration),
    Failure(u8),
    FormErrOnEdns,
    DropsEdns,
    Lame,
    SelfReferral,
    Empty,
    Spoof { count: u16, kind: Spoof },
    CaseFlattening,
    TruncateAlways,
    TcpRefused,
    TcpSlow(Duration),
    Nxns { count: u16, victim: DomainName },
    CnameLoop,
    CnameChain(u16),
    Flaw(Flaw),
    DsWithoutDnskey,
    StrippedDenial,
    Poison { section: Section, record: Record },
    Lies(Record),
    Ghost,
    NoDataForEnt,
    Oversized(usize),
    Garbage,
    PointerLoop,
    QrMissing,
    AaMissing,
    TwoQuestions,
}

/// What is wrong with the answers that come before the right one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Spoof {
    Id,
    Question,
    Case,
}

/// A section of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Section {
    Answer,
    Authority,
    Additional,
}

impl Fault {
    /// A misbehaviour out of its line: the word, its arguments, and at the end any of `for NAME`, `under NAME`,
    /// `type TYPE`, `over udp|tcp`.
    ///
    /// | word | what the server does |
    /// |---|---|
    /// | `dead`, `wrong_port` | no answer arrives |
    /// | `delay 30ms` | answers that late |
    /// | `servfail`, `refused`, `formerr`, `notimp`, `nxdomain` | answers with that code and nothing else |
    /// | `formerr_on_edns`, `drops_edns` | no EDNS for it |
    /// | `lame` | refers to the root |
    /// | `self_referral` | refers to the zone that it serves |
    /// | `empty` | NOERROR and nothing else |
    /// | `wrong_id [N]`, `wrong_question [N]`, `wrong_case [N]` | N forged answers (A records are 6.6.6.6) before the right one |
    /// | `case_flattening` | the question comes back in lower case |
    /// | `truncate_always` | TC over UDP |
    /// | `tcp_refused`, `tcp_slow 2s` | what it does to connections |
    /// | `nxns N VICTIM` | refers to N hosts below VICTIM, others for each question |
    /// | `cname_loop`, `cname_chain N` | any name is an alias: of two in a circle, of N in a row |
    /// | `expired`, `not_yet_valid`, `bad_signature`, `missing_signature`, `wrong_signer NAME` | signatures of records that `for` and `type` name |
    /// | `keytrap KEYS SIGNATURES` | keys with one tag, and wrong signatures with it |
    /// | `ds_without_dnskey` | no DNSKEY records |
    /// | `stripped_denial` | no NSEC and NSEC3 records |
    /// | `poison answer\|authority\|additional RECORD` | adds a record |
    /// | `lies RECORD` | the answer is that record, unsigned |
    /// | `ghost` | each answer names the zone's servers for seven days more |
    /// | `nodata_for_ent` | NXDOMAIN for empty non-terminals |
    /// | `oversized N` | N octets too many, without TC |
    /// | `garbage`, `pointer_loop` | no message behind the header; a name that points to itself |
    /// | `qr_missing`, `aa_missing`, `two_questions` | the header lies |
    ///
    /// A zone without a delegation (`undelegated`), with NSEC3 iterations, or with DS records that fit no key is
    /// written as such a zone.
    pub fn parse(line: &str) -> Result<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let scope_word = |w: &&str| matches!(*w, "for" | "under" | "type" | "over");
        let scope_at = words.iter().position(scope_word).unwrap_or(words.len());
        let (what, scope) = words.split_at_checked(scope_at).context("empty")?;
        let (word, arguments) = what.split_first().context("no misbehaviour")?;
        let misbehaviour = Misbehaviour::parse(word, arguments);
        let misbehaviour = misbehaviour.with_context(|| format!("misbehaviour {line:?}"))?;
        let scope = Scope::parse(scope).with_context(|| format!("in {line:?}"))?;
        Ok(Self { misbehaviour, scope })
    }

    /// Whether it shows for a question.
    pub(crate) fn applies(&self, name: &DomainName, rtype: u16, protocol: Protocol) -> bool {
        self.scope.protocol.is_none_or(|p| p == protocol) && self.covers(name, rtype)
    }

    /// Whether it is about these records.
    pub(crate) fn covers(&self, name: &DomainName, rtype: u16) -> bool {
        let scope = &self.scope;
        let named = |n: &DomainName| if scope.below { name.is_within(n) } else { name == n };
        scope.rtype.is_none_or(|t| t == rtype) && scope.name.as_ref().is_none_or(named)
    }
}

impl Scope {
    fn parse(words: &[&str]) -> Result<Self> {
        let mut scope = Self::default();
        for pair in words.chunks(2) {
            let [word, value] = pair else { bail!("{pair:?} wants a value") };
            match *word {
                "for" => scope.name = Some(DomainName::absolute(value)?),
                "under" => {
                    scope.name = Some(DomainName::absolute(value)?);
                    scope.below = true;
                }
                "type" => scope.rtype = Some(parse_type(value)?),
                "over" => {
                    scope.protocol = Some(match *value {
                        "udp" => Protocol::Udp,
                        "tcp" => Protocol::Tcp,
                        _ => bail!("over udp or tcp"),
                    });
                }
                _ => bail!("unknown {word:?}"),
            }
        }
        Ok(scope)
    }
}

impl Misbehaviour {
    fn parse(word: &str, arguments: &[&str]) -> Result<Self> {
        let argument = |at: usize| arguments.get(at).copied().context("an argument is missing");
        let number = |at: usize, default: Option<u16>| -> Result<u16> {
            match (arguments.get(at), default) {
                (None, Some(default)) => Ok(default),
                _ => Ok(argument(at)?.parse()?),
            }
        };
        let root = DomainName::root();
        let (made, most) = match word {
            "dead" | "wrong_port" => (Self::Dead, 0),
            "delay" => (Self::Delay(parse_duration(argument(0)?)?), 1),
            "formerr" => (Self::Failure(crate::message::FORMERR), 0),
            "servfail" => (Self::Failure(crate::message::SERVFAIL), 0),
            "nxdomain" => (Self::Failure(crate::message::NXDOMAIN), 0),
            "notimp" => (Self::Failure(crate::message::NOTIMP), 0),
            "refused" => (Self::Failure(crate::message::REFUSED), 0),
            "formerr_on_edns" => (Self::FormErrOnEdns, 0),
            "drops_edns" => (Self::DropsEdns, 0),
            "lame" => (Self::Lame, 0),
            "self_referral" => (Self::SelfReferral, 0),
            "empty" => (Self::Empty, 0),
            "wrong_id" => (Self::Spoof { count: number(0, Some(1))?, kind: Spoof::Id }, 1),
            "wrong_question" => {
                (Self::Spoof { count: number(0, Some(1))?, kind: Spoof::Question }, 1)
            }
            "wrong_case" => (Self::Spoof { count: number(0, Some(1))?, kind: Spoof::Case }, 1),
            "case_flattening" => (Self::CaseFlattening, 0),
            "truncate_always" => (Self::TruncateAlways, 0),
            "tcp_refused" => (Self::TcpRefused, 0),
            "tcp_slow" => (Self::TcpSlow(parse_duration(argument(0)?)?), 1),
            "nxns" => {
                let victim = DomainName::absolute(argument(1)?)?;
                (Self::Nxns { count: number(0, None)?, victim }, 2)
            }
            "cname_loop" => (Self::CnameLoop, 0),
            "cname_chain" => (Self::CnameChain(number(0, None)?), 1),
            "expired" => (Self::Flaw(Flaw::Expired), 0),
            "not_yet_valid" => (Self::Flaw(Flaw::NotYetValid), 0),
            "bad_signature" => (Self::Flaw(Flaw::Bad), 0),
            "missing_signature" => (Self::Flaw(Flaw::Missing), 0),
            "wrong_signer" => (Self::Flaw(Flaw::Signer(DomainName::absolute(argument(0)?)?)), 1),
            "keytrap" => {
                let (keys, signatures) = (number(0, None)?, number(1, None)?);
                (Self::Flaw(Flaw::KeyTrap { keys, signatures }), 2)
            }
            "ds_without_dnskey" => (Self::DsWithoutDnskey, 0),
            "stripped_denial" => (Self::StrippedDenial, 0),
            "poison" => {
                let section = match argument(0)? {
                    "answer" => Section::Answer,
                    "authority" => Section::Authority,
                    "additional" => Section::Additional,
                    other => bail!("no section {other:?}"),
                };
                let record = Record::parse(&arguments.get(1..).unwrap_or(&[]).join(" "), &root)?;
                (Self::Poison { section, record }, usize::MAX)
            }
            "lies" => (Self::Lies(Record::parse(&arguments.join(" "), &root)?), usize::MAX),
            "ghost" => (Self::Ghost, 0),
            "nodata_for_ent" => (Self::NoDataForEnt, 0),
            "oversized" => (Self::Oversized(number(0, None)?.into()), 1),
            "garbage" => (Self::Garbage, 0),
            "pointer_loop" => (Self::PointerLoop, 0),
            "qr_missing" => (Self::QrMissing, 0),
            "aa_missing" => (Self::AaMissing, 0),
            "two_questions" => (Self::TwoQuestions, 0),
            _ => bail!("unknown"),
        };
        if arguments.len() > most {
            bail!("too many arguments");
        }
        Ok(made)
    }
}

/// A duration as people write it: `30ms`, `2s`, `10m`, `1h`, `3d`.
pub fn parse_duration(text: &str) -> Result<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let (number, unit) = text.split_at_checked(digits.len()).context("duration")?;
    let number: u64 = number.parse().with_context(|| format!("duration {text:?}"))?;
    let seconds = |each: u64| Ok(Duration::from_secs(number.saturating_mul(each)));
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3_600),
        "d" => seconds(86_400),
        _ => bail!("duration {text:?}: ms, s, m, h or d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_what_and_when() {
        let fault = Fault::parse("servfail under example.test type AAAA over udp").unwrap();
        let name = |n| DomainName::absolute(n).unwrap();
        assert!(fault.applies(&name("www.example.test"), 28, Protocol::Udp));
        assert!(!fault.applies(&name("www.example.test"), 1, Protocol::Udp));
        assert!(!fault.applies(&name("www.example.test"), 28, Protocol::Tcp));
        assert!(!fault.applies(&name("other.test"), 28, Protocol::Udp));
        for bad in ["", "nonsense", "delay", "dead 5", "nxns 5", "servfail for", "lies x"] {
            assert!(Fault::parse(bad).is_err(), "{bad:?}");
        }
    }
}
