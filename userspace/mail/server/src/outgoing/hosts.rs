//! Which servers take mail for a domain: RFC 5321 section 5.1, RFC 7505.

use std::net::IpAddr;

use futures_util::future::BoxFuture;
use muralla_mail_envelope::{Domain, EnhancedCode, Reply};
use muralla_smtp::tls::Tlsa;

/// Who answers for names.
pub trait Names: Send + Sync + 'static {
    /// The `MX` records of a domain; none if it has none and exists.
    fn exchanges<'a>(
        &'a self,
        domain: &'a Domain,
    ) -> BoxFuture<'a, Result<Answer<Exchange>, LookupError>>;

    /// The addresses of a host, the preferred ones first; none if it has none and exists.
    fn addresses<'a>(&'a self, host: &'a str)
    -> BoxFuture<'a, Result<Answer<IpAddr>, LookupError>>;

    /// The `TXT` records of a name, the strings of each put together.
    fn texts<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<String>, LookupError>>;

    /// The `TLSA` records of a name such as `_25._tcp.mx.example.org`; none if it has none and exists.
    fn associations<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Answer<Tlsa>, LookupError>>;
}

/// What is said to a question.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer<T> {
    /// The records; none if the name has none and exists.
    pub records: Vec<T>,
    /// Whose they are: where aliases (`CNAME`) lead from the name that was asked for, in ASCII and lower case, without a dot at its
    /// end.
    pub name: String,
    /// Whether DNSSEC proves all of that, as far as whoever answers can be believed.
    pub secure: bool,
}

impl<T> Default for Answer<T> {
    /// There is nothing, and nothing proves that.
    fn default() -> Self {
        Self { records: Vec::new(), name: String::new(), secure: false }
    }
}

/// An `MX` record.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Exchange {
    /// Those with the least are called first.
    pub preference: u16,
    /// The host's name; `.` alone says that the domain takes no mail.
    pub host: String,
}

/// Why a name is not found.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LookupError {
    /// There is no such name.
    #[error("there is no such name")]
    NoName,
    /// It can't be found out now.
    #[error("{0}")]
    Failed(String),
}

/// Servers of a domain that are called at most.
const MOST: usize = 10;

/// The servers that take mail for a domain.
#[derive(Debug)]
pub(crate) struct Found {
    /// In the order in which they are called.
    pub(crate) hosts: Vec<String>,
    /// Where the domain's aliases lead.
    pub(crate) name: String,
    /// Whether DNSSEC proves that it is these.
    pub(crate) secure: bool,
}

/// The servers that take mail for a domain; or why there are none, for now (4xx) or for good (5xx).
pub(crate) async fn find(
    names: &dyn Names,
    domain: &Domain,
    own: &Domain,
    chance: &mut (dyn FnMut() -> u32 + Send),
) -> Result<Found, Reply> {
    let Answer { records, name, secure } = match names.exchanges(domain).await {
        Ok(answer) => answer,
        Err(LookupError::NoName) => {
            return Err(reply(550, 1, 2, &format!("there is no domain {domain}")));
        }
        Err(LookupError::Failed(why)) => {
            let text = format!("the servers of {domain} can't be found out now: {why}");
            return Err(reply(451, 4, 3, &text));
        }
    };
    Ok(Found { hosts: in_order(records, domain, own, chance)?, name, secure })
}

fn in_order(
    exchanges: Vec<Exchange>,
    domain: &Domain,
    own: &Domain,
    chance: &mut (dyn FnMut() -> u32 + Send),
) -> Result<Vec<String>, Reply> {
    // RFC 5321 section 5.1: its own address then. One that has none either is found out when it is called.
    if exchanges.is_empty() {
        return Ok(vec![domain.as_str().to_owned()]);
    }
    let bare = |host: &str| host.trim_end_matches('.').to_ascii_lowercase();
    // RFC 7505 section 3.
    if exchanges.iter().all(|exchange| bare(&exchange.host).is_empty()) {
        return Err(reply(556, 1, 10, &format!("{domain} takes no mail at all")));
    }
    let mine = exchanges.iter().filter(|exchange| bare(&exchange.host) == own.as_str());
    let mine = mine.map(|exchange| exchange.preference).min();
    let usable = exchanges.into_iter().filter(|exchange| {
        !bare(&exchange.host).is_empty()
            // Those that are no nearer than we are would bring it back to us.
            && mine.is_none_or(|mine| exchange.preference < mine)
    });
    let mut usable: Vec<(u16, u32, String)> =
        usable.map(|exchange| (exchange.preference, chance(), bare(&exchange.host))).collect();
    if usable.is_empty() {
        let text = format!("{domain} says that its mail is ours, and it is not");
        return Err(reply(554, 4, 6, &text));
    }
    usable.sort();
    usable.truncate(MOST);
    Ok(usable.into_iter().map(|(_, _, host)| host).collect())
}

fn reply(code: u16, subject: u16, detail: u16, text: &str) -> Reply {
    let class = if code < 500 { 4 } else { 5 };
    Reply::new(code, Some(EnhancedCode::new(class, subject, detail)), text)
}

/// Whether a server may be there: nobody may send our mail back to ourselves.
pub(crate) fn may_be_called(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            !(address.is_loopback()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_broadcast()
                || address.is_link_local())
        }
        IpAddr::V6(address) => {
            !(address.is_loopback()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(records: &[(u16, &str)]) -> Result<Vec<String>, String> {
        let domain = Domain::parse("example.org").unwrap();
        let own = Domain::parse("mx.isp.example").unwrap();
        let exchanges = records
            .iter()
            .map(|(preference, host)| Exchange { preference: *preference, host: (*host).into() });
        let mut count = 0;
        let mut chance = || {
            count += 1;
            u32::MAX - count
        };
        in_order(exchanges.collect(), &domain, &own, &mut chance).map_err(|no| no.to_string())
    }

    #[test]
    fn who_is_called_first() {
        let ok = |hosts: &[&str]| Ok(hosts.iter().map(|host| (*host).to_owned()).collect());
        for (records, expected) in [
            (&[][..], ok(&["example.org"])),
            (&[(10, "b.example."), (5, "A.Example")], ok(&["a.example", "b.example"])),
            // Of equals, by chance: which this test has falling.
            (&[(5, "a"), (5, "b"), (5, "c")], ok(&["c", "b", "a"])),
            // Only those nearer than we are.
            (&[(5, "a"), (10, "mx.isp.example."), (10, "b"), (20, "c")], ok(&["a"])),
            // A null MX beside others means nothing.
            (&[(0, "."), (5, "a")], ok(&["a"])),
        ] {
            assert_eq!(order(records), expected, "{records:?}");
        }
        assert!(order(&[(0, ".")]).unwrap_err().starts_with("556 5.1.10"));
        assert!(order(&[(5, "mx.isp.example")]).unwrap_err().starts_with("554 5.4.6"));
        let many: Vec<(u16, &str)> = (0..50).map(|number| (number, "a")).collect();
        assert_eq!(order(&many).unwrap().len(), MOST);
    }

    #[test]
    fn who_is_never_called() {
        for (address, may) in [
            ("192.0.2.1", true),
            ("10.0.0.1", true),
            ("2001:db8::1", true),
            ("127.0.0.1", false),
            ("0.0.0.0", false),
            ("255.255.255.255", false),
            ("224.0.0.1", false),
            ("169.254.1.1", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("fe80::1", false),
        ] {
            assert_eq!(may_be_called(address.parse().unwrap()), may, "{address}");
        }
    }
}
