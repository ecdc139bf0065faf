//! What an SPF record says: RFC 7208 sections 4.5, 5, 6 and 12.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::macros::{self, Text};
use crate::outcome::Outcome;

const VERSION: &[u8] = b"v=spf1";

/// A record that has no error.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Record {
    pub(super) directives: Vec<Directive>,
    pub(super) redirect: Option<Text>,
}

/// A mechanism, and what is said of hosts that it matches.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Directive {
    pub(super) outcome: Outcome,
    pub(super) mechanism: Mechanism,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Mechanism {
    All,
    Include(Text),
    A(Option<Text>, Prefixes),
    Mx(Option<Text>, Prefixes),
    Ptr(Option<Text>),
    Ip4(Ipv4Net),
    Ip6(Ipv6Net),
    Exists(Text),
}

/// How many bits of addresses are compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Prefixes {
    pub(super) v4: u8,
    pub(super) v6: u8,
}

/// A term that is none.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct BadTerm(pub(super) String);

/// Whether a TXT record is one of SPF's: section 4.5.
pub(super) fn is_one(record: &[u8]) -> bool {
    record.split_at_checked(VERSION.len()).is_some_and(|(version, rest)| {
        version.eq_ignore_ascii_case(VERSION) && matches!(rest.first(), None | Some(b' '))
    })
}

/// Reads a record, all of it: an error anywhere spoils it (section 4.6).
pub(super) fn parse(record: &[u8]) -> Result<Record, BadTerm> {
    let terms = record.get(VERSION.len()..).unwrap_or_default();
    let terms = std::str::from_utf8(terms).ok().filter(|terms| terms.is_ascii());
    let terms = terms.ok_or_else(|| BadTerm("(not ASCII)".to_owned()))?;
    let mut read = Record::default();
    let mut explained = false;
    for term in terms.split(' ').filter(|term| !term.is_empty()) {
        let bad = || BadTerm(term.chars().take(60).collect());
        if let Some((name, value)) = modifier(term) {
            if name.eq_ignore_ascii_case("redirect") {
                let target = macros::domain(value).ok_or_else(bad)?;
                if read.redirect.replace(target).is_some() {
                    return Err(bad());
                }
            } else if name.eq_ignore_ascii_case("exp") {
                macros::domain(value).ok_or_else(bad)?;
                if std::mem::replace(&mut explained, true) {
                    return Err(bad());
                }
            } else {
                macros::text(value).ok_or_else(bad)?;
            }
        } else {
            read.directives.push(directive(term).ok_or_else(bad)?);
        }
    }
    Ok(read)
}

/// A name and what stands behind its `=`.
fn modifier(term: &str) -> Option<(&str, &str)> {
    let (name, value) = term.split_once('=')?;
    let mut letters = name.bytes();
    let begins = letters.next().is_some_and(|byte| byte.is_ascii_alphabetic());
    let rest =
        letters.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    (begins && rest).then_some((name, value))
}

fn directive(term: &str) -> Option<Directive> {
    let (outcome, term) = match term.split_at_checked(1) {
        Some(("+", term)) => (Outcome::Pass, term),
        Some(("-", term)) => (Outcome::Fail, term),
        Some(("~", term)) => (Outcome::SoftFail, term),
        Some(("?", term)) => (Outcome::Neutral, term),
        _ => (Outcome::Pass, term),
    };
    let end = term.find([':', '/']).unwrap_or(term.len());
    let (name, rest) = term.split_at_checked(end)?;
    let value = rest.strip_prefix(':');
    let mechanism = match name.to_ascii_lowercase().as_str() {
        "all" if rest.is_empty() => Mechanism::All,
        "include" => Mechanism::Include(macros::domain(value?)?),
        "exists" => Mechanism::Exists(macros::domain(value?)?),
        "ptr" if rest.is_empty() => Mechanism::Ptr(None),
        "ptr" => Mechanism::Ptr(Some(macros::domain(value?)?)),
        "a" => {
            let (host, prefixes) = host(rest)?;
            Mechanism::A(host, prefixes)
        }
        "mx" => {
            let (host, prefixes) = host(rest)?;
            Mechanism::Mx(host, prefixes)
        }
        "ip4" => {
            let (address, bits) = network(value?, 32)?;
            Mechanism::Ip4(Ipv4Net::new(address.parse::<Ipv4Addr>().ok()?, bits).ok()?)
        }
        "ip6" => {
            let (address, bits) = network(value?, 128)?;
            Mechanism::Ip6(Ipv6Net::new(address.parse::<Ipv6Addr>().ok()?, bits).ok()?)
        }
        _ => return None,
    };
    Some(Directive { outcome, mechanism })
}

fn network(value: &str, most: u8) -> Option<(&str, u8)> {
    match value.split_once('/') {
        Some((address, bits)) => Some((address, prefix(bits, most)?)),
        None => Some((value, most)),
    }
}

/// `[":" domain-spec] [dual-cidr-length]`. A domain may have slashes in it, so that lengths are taken from the end.
fn host(rest: &str) -> Option<(Option<Text>, Prefixes)> {
    let (rest, v6) = match rest.rsplit_once("//") {
        Some((before, bits)) if is_number(bits) => (before, prefix(bits, 128)?),
        _ => (rest, 128),
    };
    let (rest, v4) = match rest.rsplit_once('/') {
        Some((before, bits)) if is_number(bits) => (before, prefix(bits, 32)?),
        _ => (rest, 32),
    };
    let host = if rest.is_empty() { None } else { Some(macros::domain(rest.strip_prefix(':')?)?) };
    Some((host, Prefixes { v4, v6 }))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn prefix(digits: &str, most: u8) -> Option<u8> {
    let leading = digits.len() > 1 && digits.starts_with('0');
    let bits: u8 = digits.parse().ok().filter(|_| is_number(digits) && !leading)?;
    (bits <= most).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_records_are_ones() {
        for (record, expected) in [
            ("v=spf1", true),
            ("v=spf1 -all", true),
            ("V=SPF1 -all", true),
            ("v=spf10 -all", false),
            ("v=spf1-all", false),
            ("v=spf", false),
            (" v=spf1", false),
            ("spf2.0/pra -all", false),
            ("", false),
        ] {
            assert_eq!(is_one(record.as_bytes()), expected, "{record}");
        }
    }

    #[test]
    fn what_can_be_read() {
        for good in [
            "v=spf1",
            "v=spf1 ",
            "v=spf1   a   -all  ",
            "v=spf1 A MX ~ALL",
            "v=spf1 a:example.org/24 a:example.org//64 mx/24//64 a/0 a//0",
            "v=spf1 a:example.org. -all",
            "v=spf1 ip4:192.0.2.0/24 ip4:192.0.2.1 ip6:2001:db8::/32 ip6:::1 ip6:::ffff:192.0.2.1",
            "v=spf1 include:_spf.example.org redirect=example.net",
            "v=spf1 exists:%{ir}.%{l1r+-}._spf.%{d} ?all",
            "v=spf1 ptr ptr:example.org",
            "v=spf1 exp=explain.%{d} moo.cow-far_out=man%{s} moo=",
            "v=spf1 a:%{d2} a:foo%%bar.example.org",
            "v=spf1 include=example.org",
        ] {
            assert!(parse(good.as_bytes()).is_ok(), "{good} {:?}", parse(good.as_bytes()));
        }
    }

    #[test]
    fn what_spoils_a_record() {
        for bad in [
            "all.",
            "all:",
            "all/8",
            "-all:example.org",
            "moo",
            "-",
            "--all",
            "+",
            "include",
            "include:",
            "include:example",
            "include/24",
            "a:",
            "a:/24",
            "a:example",
            "a:example.123",
            "a:example.-org",
            "a:example.org-",
            "a:example.org:8080",
            "a:foo%bar.example.org",
            "a:%{x}.org",
            "a:%{d0}",
            "a:%{d",
            "a:%{}",
            "a:%{d2x}",
            "a:%",
            "a/33",
            "a//129",
            "a/024",
            "a/",
            "a//",
            "a:example.org/24/64x",
            "mx:",
            "mx/33",
            "ip4",
            "ip4:",
            "ip4:1.2.3",
            "ip4:1.2.3.256",
            "ip4:01.2.3.4",
            "ip4:1.2.3.4/33",
            "ip4:1.2.3.4/",
            "ip4:1.2.3.4:25",
            "ip4/24",
            "ip6",
            "ip6:::1::",
            "ip6:::1/129",
            "ip6:1.2.3.4",
            "exists",
            "exists:",
            "exists:foo",
            "exists:%{c}.example.org",
            "ptr:",
            "ptr/24",
            "redirect=",
            "redirect=foo",
            "redirect=a.org redirect=b.org",
            "exp=",
            "exp=a.org exp=b.org",
            "moo=%{x}",
            "moo=%",
            "1moo=x",
            "\u{e4}=x",
            "a\t-all",
        ] {
            let record = format!("v=spf1 {bad} -all");
            assert!(parse(record.as_bytes()).is_err(), "{bad} {:?}", parse(record.as_bytes()));
        }
        assert!(parse(b"v=spf1 a:\xff.org").is_err());
    }

    #[test]
    fn networks_and_lengths() {
        let read = parse(b"v=spf1 mx:mail.example.org/20//40").unwrap();
        let Some(Directive { mechanism: Mechanism::Mx(Some(_), prefixes), .. }) =
            read.directives.first()
        else {
            panic!("{read:?}");
        };
        assert_eq!(*prefixes, Prefixes { v4: 20, v6: 40 });
    }
}
