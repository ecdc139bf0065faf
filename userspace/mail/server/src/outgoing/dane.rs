//! Which servers have to prove by records of DNS who they are, and by which: DANE for SMTP (RFC 7672).
//!
//! All of the way to the records has to be proved by DNSSEC: whose the mail is, which servers take it, where these are. Where it is
//! not, DANE has nothing to say. Where it is, what can't be found out is no reason to do without: the server is not called.

use std::net::IpAddr;
use std::sync::Arc;

use muralla_mail_envelope::Domain;
use muralla_smtp::tls::{Dane, Tlsa};

use super::hosts::{Answer, Found, LookupError, Names};

/// What a server's records demand.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Demand {
    /// Nothing: there are none, or they are not proved.
    Nothing,
    /// TLS, and that one of them fits the server's certificates.
    Proof(Arc<Dane>),
    /// TLS, with whatever certificate, as none of them can be used: section 2.2. The name that they are below.
    Encryption(String),
}

/// The domain that mail is for, as far as its servers' certificates may be for it as well: section 3.2.2.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NextHop<'a> {
    /// As the mail has it.
    pub(crate) domain: &'a Domain,
    /// Where its aliases lead.
    pub(crate) name: &'a str,
    /// Whether DNSSEC proves which servers it has.
    pub(crate) secure: bool,
}

impl<'a> NextHop<'a> {
    pub(crate) fn new(domain: &'a Domain, found: &'a Found) -> Self {
        Self { domain, name: &found.name, secure: found.secure }
    }
}

/// What the records of one of a domain's servers demand; or why that can't be found out now.
pub(crate) async fn demand(
    names: &dyn Names,
    next_hop: NextHop<'_>,
    host: &str,
    addresses: &Answer<IpAddr>,
    port: u16,
) -> Result<Demand, String> {
    // Section 2.2: neither is it asked for records of others, whose servers of DNS may not even know such a question.
    if !next_hop.secure || !addresses.secure {
        return Ok(Demand::Nothing);
    }
    for base in bases(host, &addresses.name) {
        let name = format!("_{port}._tcp.{base}");
        match names.associations(&name).await {
            Ok(answer) if answer.secure && !answer.records.is_empty() => {
                return Ok(of_records(base, next_hop, answer.records));
            }
            Ok(_) | Err(LookupError::NoName) => {}
            Err(LookupError::Failed(why)) => {
                let what = format!("whether {base} has TLSA records (DANE)");
                return Err(format!("{what} can't be found out now: {why}"));
            }
        }
    }
    Ok(Demand::Nothing)
}

/// Names that a host's records may be below: where its aliases lead, and then its own (section 2.2.2).
fn bases<'a>(host: &'a str, end: &'a str) -> impl Iterator<Item = &'a str> {
    let is_alias = !end.is_empty() && !end.eq_ignore_ascii_case(host);
    is_alias.then_some(end).into_iter().chain([host])
}

fn of_records(base: &str, next_hop: NextHop<'_>, records: Vec<Tlsa>) -> Demand {
    match Dane::new(base, [next_hop.domain.as_str(), next_hop.name], records) {
        Some(dane) => Demand::Proof(Arc::new(dane)),
        None => Demand::Encryption(base.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use futures_util::future::{BoxFuture, FutureExt};

    use super::*;
    use crate::outgoing::hosts::Exchange;

    /// TLSA records by name, with whether they are proved; nothing where they can't be found out.
    #[derive(Default)]
    struct Records(HashMap<&'static str, Option<(Vec<Tlsa>, bool)>>);

    impl Names for Records {
        fn exchanges<'a>(
            &'a self,
            _: &'a Domain,
        ) -> BoxFuture<'a, Result<Answer<Exchange>, LookupError>> {
            async { Err(LookupError::NoName) }.boxed()
        }

        fn addresses<'a>(
            &'a self,
            _: &'a str,
        ) -> BoxFuture<'a, Result<Answer<IpAddr>, LookupError>> {
            async { Err(LookupError::NoName) }.boxed()
        }

        fn texts<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<String>, LookupError>> {
            async { Err(LookupError::NoName) }.boxed()
        }

        fn associations<'a>(
            &'a self,
            name: &'a str,
        ) -> BoxFuture<'a, Result<Answer<Tlsa>, LookupError>> {
            async move {
                match self.0.get(name) {
                    None => Err(LookupError::NoName),
                    Some(None) => Err(LookupError::Failed("no answer came".to_owned())),
                    Some(Some((records, secure))) => {
                        let (records, secure) = (records.clone(), *secure);
                        Ok(Answer { records, name: name.to_owned(), secure })
                    }
                }
            }
            .boxed()
        }
    }

    const GOOD: &str = "_25._tcp.good.example";
    const ODD: &str = "_25._tcp.odd.example";
    const FORGED: &str = "_25._tcp.forged.example";
    const AWAY: &str = "_25._tcp.away.example";
    const EMPTY: &str = "_25._tcp.empty.example";

    fn records() -> Records {
        let one = |usage| vec![Tlsa { usage, selector: 1, matching: 1, data: vec![7; 32] }];
        Records(HashMap::from([
            (GOOD, Some((one(3), true))),
            (ODD, Some((one(1), true))),
            (FORGED, Some((one(3), false))),
            (AWAY, None),
            (EMPTY, Some((Vec::new(), true))),
        ]))
    }

    /// What it comes to: the name that is asked for, of those that have to prove something.
    async fn of(host: &str, end: &str, (mx, address): (bool, bool), port: u16) -> String {
        let domain = Domain::parse("example.org").unwrap();
        let next_hop = NextHop { domain: &domain, name: "example.net", secure: mx };
        let addresses = Answer { records: Vec::new(), name: end.to_owned(), secure: address };
        match demand(&records(), next_hop, host, &addresses, port).await {
            Ok(Demand::Nothing) => "nothing".to_owned(),
            Ok(Demand::Proof(dane)) => format!("proof of {}", dane.base()),
            Ok(Demand::Encryption(base)) => format!("encryption with {base}"),
            Err(why) => why,
        }
    }

    #[tokio::test]
    async fn what_is_demanded_of_whom() {
        const ALL: (bool, bool) = (true, true);
        let away =
            "whether away.example has TLSA records (DANE) can't be found out now: no answer came";
        for (host, end, secure, expected) in [
            ("good.example", "good.example", ALL, "proof of good.example"),
            ("odd.example", "odd.example", ALL, "encryption with odd.example"),
            ("forged.example", "forged.example", ALL, "nothing"),
            ("empty.example", "empty.example", ALL, "nothing"),
            ("none.example", "none.example", ALL, "nothing"),
            ("away.example", "away.example", ALL, away),
            // What is not proved up to there demands nothing, and is not asked for.
            ("good.example", "good.example", (false, true), "nothing"),
            ("good.example", "good.example", (true, false), "nothing"),
            ("away.example", "away.example", (false, true), "nothing"),
            ("away.example", "away.example", (true, false), "nothing"),
            // Where an alias leads comes first.
            ("odd.example", "good.example", ALL, "proof of good.example"),
            ("good.example", "odd.example", ALL, "encryption with odd.example"),
            ("good.example", "empty.example", ALL, "proof of good.example"),
            ("good.example", "forged.example", ALL, "proof of good.example"),
            ("good.example", "none.example", ALL, "proof of good.example"),
            ("good.example", "away.example", ALL, away),
            ("good.example", "", ALL, "proof of good.example"),
        ] {
            assert_eq!(of(host, end, secure, 25).await, expected, "{host} {end} {secure:?}");
        }
        assert_eq!(of("good.example", "good.example", ALL, 2525).await, "nothing");
    }

    #[test]
    fn certificates_may_be_for_the_domain_as_well() {
        let domain = Domain::parse("example.org").unwrap();
        let next_hop = NextHop { domain: &domain, name: "example.net", secure: true };
        let record = Tlsa { usage: 2, selector: 1, matching: 1, data: vec![7; 32] };
        let demand = of_records("mx.example", next_hop, vec![record.clone()]);
        let names = ["example.org", "example.net"];
        let expected = Dane::new("mx.example", names, [record]).unwrap();
        assert_eq!(demand, Demand::Proof(Arc::new(expected)));
    }
}
