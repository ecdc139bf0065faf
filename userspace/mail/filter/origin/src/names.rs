//! Who answers questions about names.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout_at};

use crate::limits::Limits;

/// Longest name in octets, as text: RFC 1035 section 3.1.
pub(crate) const LONGEST_NAME: usize = 253;

/// Longest label in octets: RFC 1035 section 2.3.4.
const LONGEST_LABEL: usize = 63;

/// What a resolver says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer<T> {
    /// There are records: one at least.
    Records(Vec<T>),
    /// The name is there, and has no such record.
    Empty,
    /// There is no such name (NXDOMAIN).
    NoName,
    /// Nobody knows: no answer, or one that was not valid.
    Failed,
}

/// A host that takes mail for a domain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exchange {
    /// Lower ones come first.
    pub preference: u16,
    /// Its name, without the dot at its end; empty if the domain takes no mail (RFC 7505).
    pub host: String,
}

/// A resolver. Names come and go in ASCII, without a dot at their ends.
///
/// Whoever implements this leaves time to others: questions are given up when there is none left.
pub trait Names: Send + Sync {
    /// The TXT records of a name, each with its strings put together.
    fn txt<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Answer<Vec<u8>>>;

    /// The IPv4 addresses of a name.
    fn a<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Answer<Ipv4Addr>>;

    /// The IPv6 addresses of a name.
    fn aaaa<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Answer<Ipv6Addr>>;

    /// Who takes mail for a name.
    fn mx<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Answer<Exchange>>;

    /// The names of an address.
    fn ptr(&self, ip: IpAddr) -> BoxFuture<'_, Answer<String>>;
}

impl<T> Answer<T> {
    /// What records there are.
    #[must_use]
    pub fn records(&self) -> &[T] {
        match self {
            Self::Records(records) => records,
            Self::Empty | Self::NoName | Self::Failed => &[],
        }
    }
}

impl<T> From<Vec<T>> for Answer<T> {
    fn from(records: Vec<T>) -> Self {
        if records.is_empty() { Self::Empty } else { Self::Records(records) }
    }
}

/// What is asked for one message: within its time, and not more than it may.
pub(crate) struct Inquiry<'a> {
    names: &'a dyn Names,
    until: Instant,
    left: AtomicUsize,
    late: AtomicBool,
    records: usize,
    text: usize,
}

impl<'a> Inquiry<'a> {
    pub(crate) fn new(names: &'a dyn Names, limits: &Limits) -> Self {
        Self {
            names,
            until: Instant::now() + limits.time,
            left: AtomicUsize::new(limits.questions),
            late: AtomicBool::new(false),
            records: limits.records,
            text: limits.text,
        }
    }

    pub(crate) async fn txt(&self, name: &str) -> Answer<Vec<u8>> {
        match self.ask(name, self.names.txt(name)).await {
            Answer::Records(mut records) => {
                records.retain(|record| record.len() <= self.text);
                records.into()
            }
            other => other,
        }
    }

    pub(crate) async fn a(&self, name: &str) -> Answer<Ipv4Addr> {
        self.ask(name, self.names.a(name)).await
    }

    pub(crate) async fn aaaa(&self, name: &str) -> Answer<Ipv6Addr> {
        self.ask(name, self.names.aaaa(name)).await
    }

    pub(crate) async fn mx(&self, name: &str) -> Answer<Exchange> {
        self.ask(name, self.names.mx(name)).await
    }

    pub(crate) async fn ptr(&self, ip: IpAddr) -> Answer<String> {
        self.within(self.names.ptr(ip)).await
    }

    /// Why a question had no answer.
    pub(crate) fn excuse(&self) -> &'static str {
        if self.late.load(Relaxed) {
            "the DNS did not answer in time"
        } else if self.left.load(Relaxed) == 0 {
            "too many questions were needed"
        } else {
            "the DNS did not answer"
        }
    }

    async fn ask<T>(&self, name: &str, answer: impl Future<Output = Answer<T>>) -> Answer<T> {
        // What is no name can't be asked for, and nobody has it.
        if is_name(name) { self.within(answer).await } else { Answer::NoName }
    }

    async fn within<T>(&self, answer: impl Future<Output = Answer<T>>) -> Answer<T> {
        let taken = self.left.try_update(Relaxed, Relaxed, |left| left.checked_sub(1));
        if taken.is_err() {
            return Answer::Failed;
        }
        match timeout_at(self.until, answer).await {
            Ok(Answer::Records(records)) if records.is_empty() => Answer::Empty,
            Ok(Answer::Records(mut records)) => {
                records.truncate(self.records);
                Answer::Records(records)
            }
            Ok(other) => other,
            Err(_) => {
                self.late.store(true, Relaxed);
                Answer::Failed
            }
        }
    }
}

/// Whether text can be asked for: labels of ASCII without controls, within DNS' limits. Macros of SPF make names with spaces.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= LONGEST_NAME
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= LONGEST_LABEL
                && label.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        })
}

/// Whether a name is another, or lies below it.
pub(crate) fn is_within(name: &str, other: &str) -> bool {
    name.len().checked_sub(other.len()).and_then(|split| name.split_at_checked(split)).is_some_and(
        |(below, end)| {
            end.eq_ignore_ascii_case(other) && (below.is_empty() || below.ends_with('.'))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Zone;

    #[test]
    fn what_is_a_name() {
        let longest = format!("{}.example", "a".repeat(63));
        for (text, expected) in [
            ("example.org", true),
            ("_dmarc.example.org", true),
            ("org", true),
            (longest.as_str(), true),
            ("", false),
            (".", false),
            ("example.org.", false),
            ("a..org", false),
            ("a b.org", true),
            ("a\tb.org", false),
            ("b\u{fc}cher.example", false),
            (&format!("a{longest}"), false),
            (&"a.".repeat(127), false),
        ] {
            assert_eq!(is_name(text), expected, "{text}");
        }
    }

    #[test]
    fn what_lies_within() {
        for (name, other, expected) in [
            ("example.org", "example.org", true),
            ("Mail.Example.org", "example.org", true),
            ("badexample.org", "example.org", false),
            ("org", "example.org", false),
            ("\u{e4}example.org", "xample.org", false),
        ] {
            assert_eq!(is_within(name, other), expected, "{name} {other}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn given_up_in_time() {
        let zone = Zone::default().txt("example.org", "text").slow("slow.example.org");
        let inquiry = Inquiry::new(&zone, &Limits::default());
        let began = Instant::now();
        assert_eq!(inquiry.txt("example.org").await, Answer::Records(vec![b"text".to_vec()]));
        assert_eq!(inquiry.txt("nobody.example.org").await, Answer::NoName);
        assert_eq!(inquiry.a("example.org").await, Answer::Empty);
        assert_eq!(inquiry.txt("slow.example.org").await, Answer::Failed);
        assert_eq!(began.elapsed(), Limits::default().time);
        assert_eq!(inquiry.excuse(), "the DNS did not answer in time");
        assert_eq!(inquiry.txt("slow.example.org").await, Answer::Failed);
        assert_eq!(began.elapsed(), Limits::default().time);
    }

    #[tokio::test]
    async fn not_asked_without_end() {
        let zone = Zone::default().txt("example.org", "text");
        let limits = Limits { questions: 2, ..Limits::default() };
        let inquiry = Inquiry::new(&zone, &limits);
        for expected in [false, false, true, true] {
            assert_eq!(inquiry.txt("example.org").await == Answer::Failed, expected);
        }
        assert_eq!(inquiry.excuse(), "too many questions were needed");
    }

    #[tokio::test]
    async fn no_more_than_is_looked_at() {
        let zone =
            (0..9).fold(Zone::default(), |zone, at| zone.txt("example.org", &format!("{at}")));
        let zone = zone.txt("long.example.org", &"x".repeat(5_000));
        let limits = Limits { records: 4, ..Limits::default() };
        let inquiry = Inquiry::new(&zone, &limits);
        assert_eq!(inquiry.txt("example.org").await.records().len(), 4);
        assert_eq!(inquiry.txt("long.example.org").await, Answer::Empty);
    }
}
