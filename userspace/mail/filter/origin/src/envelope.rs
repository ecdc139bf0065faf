//! What an envelope tells: who the client says that he is, and to whom failures go.

use std::net::IpAddr;

use muralla_mail_envelope::prvs::{self, Verdict};
use muralla_mail_envelope::{Address, Domain, Keys, ReversePath};

use crate::authentication::Authentication;
use crate::finding::{Finding, Sign};
use crate::outcome::Outcome;

/// A message before its content.
#[derive(Clone, Copy)]
pub struct Envelope<'a> {
    /// Where it comes from.
    pub ip: IpAddr,
    /// What the client called himself.
    pub helo: &'a str,
    /// Where its failures go.
    pub from: &'a ReversePath,
    /// Whom it goes to, as the client said it: signed addresses with their signature.
    pub recipients: &'a [Address],
    /// Whether its sender proved to be a user of ours, or is a machine of ours.
    pub from_us: bool,
    /// Which domains are ours.
    pub is_ours: &'a (dyn Fn(&Domain) -> bool + Sync),
    /// Names of our own machines.
    pub machines: &'a [Domain],
    /// What senders of our users are signed with; nothing if they are not.
    pub keys: Option<&'a Keys>,
    /// In days since 1970.
    pub today: i64,
}

/// What speaks against an envelope, without what its message proves.
#[must_use]
pub fn judge(envelope: &Envelope<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    if envelope.from_us {
        return found;
    }
    helo(envelope, &mut found);
    match envelope.from {
        ReversePath::Null => bounce(envelope, &mut found),
        ReversePath::Address(_) => {}
    }
    found
}

/// What speaks against an envelope and its message's author, as far as they are to be ours, once it is known what the message
/// proves.
///
/// What comes back through forwarders and careful lists has our signature. A list that changes it breaks that, and signs it
/// again; which looks like a forgery by somebody who signs well, and so it is called neither.
#[must_use]
pub fn judge_proved(envelope: &Envelope<'_>, authentication: &Authentication) -> Vec<Finding> {
    let mut found = Vec::new();
    if envelope.from_us {
        return found;
    }
    let spf = &authentication.spf;
    let ours = |domain: &&Domain| (envelope.is_ours)(domain);
    if let Some(address) = envelope.from.address()
        && address.domain().filter(ours).is_some()
        && !matches!(spf.outcome, Outcome::Pass | Outcome::TempError)
    {
        found.push(Finding::new(Sign::SenderOurs, address));
    }
    let signed_by = |author: &Domain| {
        let mut good = authentication.dkim.iter().filter(|one| one.outcome.passed());
        good.any(|one| crate::names::is_within(author.as_str(), &one.domain))
    };
    let sent_for = |author: &Domain| {
        spf.outcome.passed() && spf.aligned && crate::names::is_within(author.as_str(), &spf.domain)
    };
    let proved = |author: &Domain| {
        authentication.proved() == Some(author) || signed_by(author) || sent_for(author)
    };
    // What could not be looked up is not known to be forged; but nobody makes it so by what fails in a domain of his own.
    let unknown = |author: &Domain| {
        let pending = |outcome, domain: &str| {
            outcome == Outcome::TempError && crate::names::is_within(author.as_str(), domain)
        };
        authentication.dmarc.outcome == Outcome::TempError
            || pending(spf.outcome, &spf.domain)
            || authentication.dkim.iter().any(|one| pending(one.outcome, &one.domain))
    };
    let forged = |author: &&Domain| !proved(author) && !unknown(author);
    if let Some(author) = authentication.authors.iter().filter(ours).find(forged) {
        let broken = authentication.dkim.iter().any(|one| {
            one.outcome == Outcome::Fail && crate::names::is_within(author.as_str(), &one.domain)
        });
        let passed_on = authentication.signers().next().is_some()
            || authentication.arc.outcome.passed()
            || spf.outcome.passed();
        let changed = broken && passed_on;
        let sign = if changed { Sign::AuthorOursChanged } else { Sign::AuthorOurs };
        found.push(Finding::new(sign, author));
    }
    found
}

fn helo(envelope: &Envelope<'_>, found: &mut Vec<Finding>) {
    let helo = envelope.helo.trim();
    let ip = envelope.ip.to_canonical();
    let mut add = |sign| found.push(Finding::new(sign, helo));
    if let Some(literal) = helo.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let literal = match literal.split_at_checked(5) {
            Some((tag, rest)) if tag.eq_ignore_ascii_case("IPv6:") => rest,
            _ => literal,
        };
        match literal.parse::<IpAddr>() {
            Ok(literal) if literal.to_canonical() == ip => add(Sign::HeloAddress),
            // Behind a translator of addresses, a machine knows another of its own.
            Ok(literal) if is_private(literal) => add(Sign::HeloAddress),
            Ok(_) => add(Sign::HeloForeignAddress),
            Err(_) => add(Sign::HeloOdd),
        }
        return;
    }
    if let Ok(address) = helo.parse::<IpAddr>() {
        let own = address.to_canonical() == ip || is_private(address);
        add(if own { Sign::HeloAddress } else { Sign::HeloForeignAddress });
        return;
    }
    match Domain::parse(helo.strip_suffix('.').unwrap_or(helo)) {
        Err(_) => add(Sign::HeloOdd),
        Ok(name) if envelope.machines.contains(&name) || (envelope.is_ours)(&name) => {
            add(Sign::HeloOurs);
        }
        Ok(name) if is_local(name.as_str()) => add(Sign::HeloShort),
        Ok(_) => {}
    }
}

/// Names that mean nothing elsewhere: of one label, and those that RFC 6761, 6762 and 8375 keep for networks of their own.
fn is_local(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    !name.contains('.')
        || matches!(last, "local" | "localhost" | "localdomain" | "lan" | "internal" | "invalid")
        || crate::names::is_within(name, "home.arpa")
}

const fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            address.is_private() || address.is_loopback() || address.is_link_local()
        }
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}

/// Names to which everybody may write in any case: RFC 5321 section 4.5.1, RFC 2142 section 4.
fn is_role(address: &Address) -> bool {
    let local = address.local.as_str();
    ["postmaster", "abuse"].iter().any(|role| local.eq_ignore_ascii_case(role))
}

/// RFC 5321 section 4.5.5: a report goes to the one who sent what it reports.
fn bounce(envelope: &Envelope<'_>, found: &mut Vec<Finding>) {
    if envelope.recipients.len() > 1 {
        found.push(Finding::new(Sign::BounceToMany, ""));
    }
    let Some(keys) = envelope.keys else { return };
    let mut worst: Option<(u8, Finding)> = None;
    for address in envelope.recipients {
        if !address.domain().is_some_and(envelope.is_ours) {
            continue;
        }
        let (rank, sign) = match prvs::check(address, keys, envelope.today) {
            Verdict::Signed(_) => continue,
            Verdict::Expired(_) => (1, Sign::BounceLate),
            Verdict::Forged => (3, Sign::BounceForged),
            // Whom we can't sign, and whom everybody may write to.
            Verdict::Plain if is_role(address) || !prvs::has_room(address) => continue,
            Verdict::Plain => (2, Sign::BounceUnsigned),
        };
        if worst.as_ref().is_none_or(|(known, _)| rank > *known) {
            worst = Some((rank, Finding::new(sign, address)));
        }
    }
    found.extend(worst.map(|(_, finding)| finding));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dkim::Dkim;
    use crate::spf::Spf;

    fn is_ours(domain: &Domain) -> bool {
        domain.as_str() == "ours.example"
    }

    fn signs(found: &[Finding]) -> Vec<Sign> {
        found.iter().map(|finding| finding.sign).collect()
    }

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn envelope<'a>(helo: &'a str, from: &'a ReversePath) -> Envelope<'a> {
        Envelope {
            ip: "192.0.2.1".parse().unwrap(),
            helo,
            from,
            recipients: &[],
            from_us: false,
            is_ours: &is_ours,
            machines: &[],
            keys: None,
            today: 20_000,
        }
    }

    #[test]
    fn what_clients_call_themselves() {
        let machines = [Domain::parse("mx1.provider.example").unwrap()];
        let from = ReversePath::Address(address("a@example.org"));
        for (helo, expected) in [
            ("mail.example.org", None),
            ("mail.example.org.", None),
            ("host_1.example.org", None),
            ("[192.0.2.1]", Some(Sign::HeloAddress)),
            ("[10.0.0.1]", Some(Sign::HeloAddress)),
            ("[192.0.2.9]", Some(Sign::HeloForeignAddress)),
            ("[IPv6:2001:db8::1]", Some(Sign::HeloForeignAddress)),
            ("[IPv6:::1]", Some(Sign::HeloAddress)),
            ("[whatever]", Some(Sign::HeloOdd)),
            ("192.0.2.1", Some(Sign::HeloAddress)),
            ("192.0.2.9", Some(Sign::HeloForeignAddress)),
            ("WIN-ABC123", Some(Sign::HeloShort)),
            ("localhost", Some(Sign::HeloShort)),
            ("router.lan", Some(Sign::HeloShort)),
            ("a.home.arpa", Some(Sign::HeloShort)),
            ("a..b", Some(Sign::HeloOdd)),
            ("not a name", Some(Sign::HeloOdd)),
            ("", Some(Sign::HeloOdd)),
            ("MX1.provider.example", Some(Sign::HeloOurs)),
            ("ours.example", Some(Sign::HeloOurs)),
        ] {
            let one = Envelope { machines: &machines, ..envelope(helo, &from) };
            assert_eq!(signs(&judge(&one)), expected.into_iter().collect::<Vec<_>>(), "{helo}");
            assert!(judge(&Envelope { from_us: true, ..one }).is_empty(), "{helo}");
        }
    }

    #[test]
    fn reports_of_failures() {
        let keys = Keys::of_secrets(&["sixteen octets of secret"]).unwrap();
        let user = address("user@ours.example");
        let signed = prvs::sign(&user, &keys, 20_000).unwrap();
        let old = prvs::sign(&user, &keys, 20_000 - 30).unwrap();
        let forged = address("prvs=0795000000=user@ours.example");
        for (recipients, expected) in [
            (vec![signed.clone()], vec![]),
            (vec![old], vec![Sign::BounceLate]),
            (vec![forged.clone()], vec![Sign::BounceForged]),
            (vec![user.clone()], vec![Sign::BounceUnsigned]),
            (vec![address("postmaster@ours.example")], vec![]),
            (vec![address("user@elsewhere.example")], vec![]),
            (vec![signed, user, forged], vec![Sign::BounceToMany, Sign::BounceForged]),
        ] {
            let from = ReversePath::Null;
            let one = Envelope {
                recipients: &recipients,
                keys: Some(&keys),
                ..envelope("mail.example.org", &from)
            };
            assert_eq!(signs(&judge(&one)), expected, "{recipients:?}");
            let unkeyed = signs(&judge(&Envelope { keys: None, ..one }));
            assert_eq!(unkeyed.len(), usize::from(recipients.len() > 1), "{recipients:?}");
        }
    }

    #[test]
    fn forged_in_our_name() {
        let spf = |outcome, domain: &str| Spf {
            outcome,
            domain: domain.to_owned(),
            aligned: domain == "ours.example",
            ..Spf::default()
        };
        let dkim = |domain: &str| Dkim {
            outcome: Outcome::Pass,
            domain: domain.to_owned(),
            aligned: domain == "ours.example",
            ..Dkim::default()
        };
        let broken = |domain| Dkim { outcome: Outcome::Fail, ..dkim(domain) };
        let pending = |domain| Dkim { outcome: Outcome::TempError, ..dkim(domain) };
        let (fail, pass) = (Outcome::Fail, Outcome::Pass);
        for (from, author, spf, dkim, expected) in [
            ("a@example.org", "example.org", spf(pass, "example.org"), vec![], vec![]),
            (
                "a@example.org",
                "ours.example",
                spf(pass, "example.org"),
                vec![],
                vec![Sign::AuthorOurs],
            ),
            (
                "a@ours.example",
                "ours.example",
                spf(fail, "ours.example"),
                vec![],
                vec![Sign::SenderOurs, Sign::AuthorOurs],
            ),
            ("a@ours.example", "ours.example", spf(pass, "ours.example"), vec![], vec![]),
            (
                "a@ours.example",
                "ours.example",
                spf(fail, "ours.example"),
                vec![dkim("ours.example")],
                vec![Sign::SenderOurs],
            ),
            (
                "list@example.org",
                "ours.example",
                spf(pass, "example.org"),
                vec![dkim("ours.example")],
                vec![],
            ),
            (
                "list@example.org",
                "ours.example",
                spf(pass, "example.org"),
                vec![dkim("example.org")],
                vec![Sign::AuthorOurs],
            ),
            (
                "list@example.org",
                "ours.example",
                spf(pass, "example.org"),
                vec![broken("ours.example")],
                vec![Sign::AuthorOursChanged],
            ),
            (
                "list@example.org",
                "ours.example",
                spf(fail, "example.org"),
                vec![broken("ours.example")],
                vec![Sign::AuthorOurs],
            ),
            (
                "a@ours.example",
                "example.org",
                spf(Outcome::TempError, "ours.example"),
                vec![],
                vec![],
            ),
            (
                "a@example.org",
                "ours.example",
                spf(Outcome::TempError, "example.org"),
                vec![],
                vec![Sign::AuthorOurs],
            ),
            (
                "a@example.org",
                "ours.example",
                spf(pass, "example.org"),
                vec![pending("ours.example")],
                vec![],
            ),
            (
                "a@example.org",
                "ours.example",
                spf(pass, "example.org"),
                vec![pending("example.org")],
                vec![Sign::AuthorOurs],
            ),
            (
                "a@ours.example",
                "ours.example",
                spf(Outcome::TempError, "ours.example"),
                vec![],
                vec![],
            ),
        ] {
            let path = ReversePath::Address(address(from));
            let authors = vec![Domain::parse(author).unwrap()];
            let authentication = Authentication { spf, dkim, authors, ..Authentication::default() };
            let one = envelope("mail.example.org", &path);
            let found = judge_proved(&one, &authentication);
            assert_eq!(signs(&found), expected, "{from} {authentication:?}");
            let ours = Envelope { from_us: true, ..one };
            assert!(judge_proved(&ours, &authentication).is_empty());
        }
    }
}
