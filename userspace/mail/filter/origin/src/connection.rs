//! What a connection tells before anything is said: where it comes from, and how the client behaves.

use std::net::{IpAddr, Ipv4Addr};

use muralla_mail_envelope::Domain;

use crate::finding::{Finding, Sign};

/// Who brings a message.
#[derive(Clone, Copy, Debug)]
pub struct Connection<'a> {
    /// His address.
    pub ip: IpAddr,
    /// His name in DNS, if that name has this address, too.
    pub name: Option<&'a Domain>,
    /// Whether that could be found out; without it, no name means nothing.
    pub name_known: bool,
    /// The number of the operator whose network it is.
    pub asn: Option<u32>,
    /// What he did so far.
    pub conduct: Conduct,
}

/// What a client did so far, as the server counted it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Conduct {
    /// Whether he spoke before he was greeted (RFC 5321 section 4.3.1).
    pub early: bool,
    /// How often he sent on where he had to wait for a reply (RFC 2920 section 3.1).
    pub hurried: u32,
    /// Commands, and how many of them were wrong.
    pub commands: u32,
    /// See [`Conduct::commands`].
    pub errors: u32,
    /// Lines that ended otherwise than with CRLF.
    pub bare_line_ends: u32,
    /// Whether he spoke another protocol.
    pub foreign: bool,
    /// Whether octets came in the clear behind `STARTTLS`.
    pub injected: bool,
    /// Logins that failed.
    pub failed_logins: u32,
    /// Recipients that were accepted.
    pub recipients: u32,
    /// Recipients that don't exist.
    pub unknown_recipients: u32,
}

/// Lists of addresses that are kept on this machine, so that nobody waits.
pub trait BlockLists: Send + Sync {
    /// What the zone says of the address: the address in 127.0.0.0/8 that means it (RFC 5782 section 2.1).
    fn is_listed(&self, zone: &str, ip: IpAddr) -> Option<Ipv4Addr>;
}

/// No lists.
impl BlockLists for () {
    fn is_listed(&self, _: &str, _: IpAddr) -> Option<Ipv4Addr> {
        None
    }
}

/// A list, and what its answers mean.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Zone {
    /// Its name.
    pub name: String,
    /// What each answer means.
    pub codes: Vec<(Ipv4Addr, Listing)>,
    /// What all others mean.
    pub otherwise: Listing,
}

/// What it means to be on a list.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Listing {
    /// Spam was sent from there.
    Spammer,
    /// It is a network from which no mail comes directly, says whoever runs it.
    Policy,
    /// Good mail comes from there.
    Good,
    /// Nothing: an error of the list, or none of our business.
    Nothing,
}

impl Zone {
    /// A list of computers that send spam, whatever it answers.
    #[must_use]
    pub fn of_spammers(name: &str) -> Self {
        Self { name: name.to_owned(), codes: Vec::new(), otherwise: Listing::Spammer }
    }

    fn meaning(&self, code: Ipv4Addr) -> Listing {
        // RFC 5782 section 2.1: 127.0.0.1 is no entry; and 127.255.255.0/24 is how lists say that they were asked wrongly.
        let [first, second, third, last] = code.octets();
        if first != 127 || (second, third, last) == (0, 0, 1) || (second, third) == (255, 255) {
            return Listing::Nothing;
        }
        let known = self.codes.iter().find(|(known, _)| *known == code);
        known.map_or(self.otherwise, |(_, listing)| *listing)
    }
}

/// Errors of a client that are more than a misunderstanding.
const MANY_ERRORS: u32 = 5;

/// Unknown recipients in one connection: somebody who left, and a typing error, are two.
const SEVERAL_UNKNOWN: u32 = 3;

/// Unknown recipients that are no old list of addresses any more, if they are most of all.
const GUESSES: u32 = 10;

/// What speaks for a client and against him.
#[must_use]
pub fn judge(connection: &Connection<'_>, lists: &dyn BlockLists, zones: &[Zone]) -> Vec<Finding> {
    let mut found = Vec::new();
    listed(connection.ip.to_canonical(), lists, zones, &mut found);
    named(connection, &mut found);
    behaves(&connection.conduct, &mut found);
    found
}

/// Each meaning once, with all zones that say so.
fn listed(ip: IpAddr, lists: &dyn BlockLists, zones: &[Zone], found: &mut Vec<Finding>) {
    for (listing, sign) in [
        (Listing::Spammer, Sign::Listed),
        (Listing::Policy, Sign::ListedNetwork),
        (Listing::Good, Sign::ListedWell),
    ] {
        let saying = zones.iter().filter(|zone| {
            lists.is_listed(&zone.name, ip).is_some_and(|code| zone.meaning(code) == listing)
        });
        let saying: Vec<&str> = saying.map(|zone| zone.name.as_str()).collect();
        if !saying.is_empty() {
            found.push(Finding::new(sign, saying.join(", ")));
        }
    }
}

fn named(connection: &Connection<'_>, found: &mut Vec<Finding>) {
    match connection.name {
        Some(name) if is_generic(name.as_str(), connection.ip) => {
            found.push(Finding::new(Sign::GenericName, name));
        }
        Some(_) => {}
        None if connection.name_known => found.push(Finding::new(Sign::NoName, "")),
        None => {}
    }
}

fn behaves(conduct: &Conduct, found: &mut Vec<Finding>) {
    let Conduct { recipients, unknown_recipients, .. } = *conduct;
    let mut add_if = |odd, sign| {
        if odd {
            found.push(Finding::new(sign, ""));
        }
    };
    add_if(conduct.early, Sign::SpokeEarly);
    add_if(conduct.hurried > 0, Sign::Hurried);
    add_if(conduct.foreign, Sign::ForeignProtocol);
    add_if(conduct.injected, Sign::Injected);
    add_if(conduct.bare_line_ends > 0, Sign::BareLineEnds);
    let errors = conduct.errors >= MANY_ERRORS && conduct.errors * 4 >= conduct.commands;
    add_if(errors, Sign::ManyErrors);
    add_if(conduct.failed_logins > 0, Sign::GuessesPasswords);
    let all = u64::from(recipients) + u64::from(unknown_recipients);
    let detail = format!("{unknown_recipients} of {all}");
    if unknown_recipients >= GUESSES && u64::from(unknown_recipients) * 2 > all {
        found.push(Finding::new(Sign::GuessesAddresses, detail));
    } else if unknown_recipients >= SEVERAL_UNKNOWN {
        found.push(Finding::new(Sign::SeveralUnknown, detail));
    }
}

/// Whether a name is made of the address, as of customers' connections: with its numbers in decimal or hexadecimal, in their
/// order or turned round. Servers of large operators have such names, too, so that it says little on its own.
fn is_generic(name: &str, ip: IpAddr) -> bool {
    let IpAddr::V4(ip) = ip.to_canonical() else {
        return is_generic_v6(name, ip);
    };
    let octets = ip.octets();
    let hexadecimal: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    if name.contains(&hexadecimal) {
        return true;
    }
    let padded: String = octets.iter().map(|octet| format!("{octet:03}")).collect();
    if name.contains(&padded) {
        return true;
    }
    // Two numbers side by side are a rack and a server; three are the address.
    let numbers: Vec<u32> = name
        .split(|char: char| !char.is_ascii_digit())
        .filter(|digits| !digits.is_empty() && digits.len() <= 3)
        .filter_map(|digits| digits.parse().ok())
        .collect();
    let mut turned = octets.map(u32::from);
    let straight = turned;
    turned.reverse();
    [straight, turned].iter().any(|octets| {
        octets.windows(3).any(|three| numbers.windows(3).any(|window| window == three))
    })
}

fn is_generic_v6(name: &str, ip: IpAddr) -> bool {
    let IpAddr::V6(ip) = ip else { return false };
    let interface: String =
        ip.octets().iter().skip(8).map(|octet| format!("{octet:02x}")).collect();
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    plain.contains(&interface) && interface.bytes().any(|byte| byte != b'0')
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn connection(ip: &str) -> Connection<'static> {
        Connection {
            ip: ip.parse().unwrap(),
            name: None,
            name_known: false,
            asn: None,
            conduct: Conduct::default(),
        }
    }

    fn signs(found: &[Finding]) -> Vec<Sign> {
        found.iter().map(|finding| finding.sign).collect()
    }

    struct Lists(HashMap<(&'static str, IpAddr), Ipv4Addr>);

    impl BlockLists for Lists {
        fn is_listed(&self, zone: &str, ip: IpAddr) -> Option<Ipv4Addr> {
            self.0
                .iter()
                .find(|((name, address), _)| *name == zone && *address == ip)
                .map(|(_, code)| *code)
        }
    }

    #[test]
    fn on_lists() {
        let entry =
            |zone, ip: &str, code: &str| ((zone, ip.parse().unwrap()), code.parse().unwrap());
        let lists = Lists(HashMap::from([
            entry("bl.example", "192.0.2.1", "127.0.0.2"),
            entry("other.example", "192.0.2.1", "127.0.0.9"),
            entry("bl.example", "192.0.2.2", "127.0.0.10"),
            entry("bl.example", "192.0.2.3", "127.255.255.254"),
            entry("bl.example", "192.0.2.4", "127.0.0.1"),
            entry("bl.example", "192.0.2.5", "192.0.2.80"),
            entry("wl.example", "2001:db8::1", "127.0.5.1"),
        ]));
        let policy = "127.0.0.10".parse().unwrap();
        let zones = [
            Zone { codes: vec![(policy, Listing::Policy)], ..Zone::of_spammers("bl.example") },
            Zone::of_spammers("other.example"),
            Zone { otherwise: Listing::Good, ..Zone::of_spammers("wl.example") },
        ];
        for (ip, expected) in [
            ("192.0.2.1", Some((Sign::Listed, "bl.example, other.example"))),
            ("::ffff:192.0.2.1", Some((Sign::Listed, "bl.example, other.example"))),
            ("192.0.2.2", Some((Sign::ListedNetwork, "bl.example"))),
            ("192.0.2.3", None),
            ("192.0.2.4", None),
            ("192.0.2.5", None),
            ("192.0.2.6", None),
            ("2001:db8::1", Some((Sign::ListedWell, "wl.example"))),
        ] {
            let found = judge(&connection(ip), &lists, &zones);
            let found: Vec<_> =
                found.iter().map(|finding| (finding.sign, finding.detail.as_str())).collect();
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{ip}");
        }
    }

    #[test]
    fn names() {
        for (ip, name, expected) in [
            ("192.0.2.77", Some("mail.example.org"), vec![]),
            ("192.0.2.77", Some("192-0-2-77.dsl.example.net"), vec![Sign::GenericName]),
            ("192.0.2.77", Some("77.2.0.192.pool.example.net"), vec![Sign::GenericName]),
            ("192.0.2.77", Some("host77.2.0.example.net"), vec![Sign::GenericName]),
            ("192.0.2.77", Some("c000024d.example.net"), vec![Sign::GenericName]),
            ("192.0.2.77", Some("192000002077.example.net"), vec![Sign::GenericName]),
            ("192.0.2.77", Some("mail2.dc77.example.net"), vec![]),
            ("192.0.2.77", Some("a2-77.smtp-out.example.net"), vec![]),
            ("192.0.2.77", None, vec![Sign::NoName]),
            (
                "2001:db8::1:2:3:4",
                Some("0001-0002-0003-0004.v6.example.net"),
                vec![Sign::GenericName],
            ),
            ("2001:db8::", Some("0000000000000000.example.net"), vec![]),
            ("2001:db8::25", Some("mail.example.org"), vec![]),
        ] {
            let domain = name.map(|name| Domain::parse(name).unwrap());
            let one = Connection { name: domain.as_ref(), name_known: true, ..connection(ip) };
            assert_eq!(signs(&judge(&one, &(), &[])), expected, "{ip} {name:?}");
        }
        assert!(judge(&connection("192.0.2.77"), &(), &[]).is_empty());
    }

    #[test]
    fn manners() {
        let good = Conduct { commands: 20, recipients: 5, ..Conduct::default() };
        for (conduct, expected) in [
            (good, vec![]),
            (Conduct { early: true, ..good }, vec![Sign::SpokeEarly]),
            (
                Conduct { hurried: 1, bare_line_ends: 2, ..good },
                vec![Sign::Hurried, Sign::BareLineEnds],
            ),
            (
                Conduct { foreign: true, injected: true, ..good },
                vec![Sign::ForeignProtocol, Sign::Injected],
            ),
            (Conduct { errors: 4, ..good }, vec![]),
            (Conduct { errors: 5, ..good }, vec![Sign::ManyErrors]),
            (Conduct { errors: 5, commands: 500, ..good }, vec![]),
            (Conduct { failed_logins: 1, ..good }, vec![Sign::GuessesPasswords]),
            (Conduct { unknown_recipients: 2, ..good }, vec![]),
            (Conduct { unknown_recipients: 3, ..good }, vec![Sign::SeveralUnknown]),
            (Conduct { unknown_recipients: 10, ..good }, vec![Sign::GuessesAddresses]),
            (
                Conduct { unknown_recipients: 10, recipients: 50, ..good },
                vec![Sign::SeveralUnknown],
            ),
        ] {
            let one = Connection { conduct, ..connection("192.0.2.1") };
            assert_eq!(signs(&judge(&one, &(), &[])), expected, "{conduct:?}");
        }
    }
}
