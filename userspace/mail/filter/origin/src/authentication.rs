//! Asks and verifies, within limits: what a message proves about who sent it.

use std::net::IpAddr;

use bytes::Bytes;
use futures_util::future::join;
use muralla_mail_envelope::{Domain, ReversePath};
use tokio::task::spawn_blocking;

use crate::arc::{self, Arc};
use crate::contain::contained;
use crate::dkim::{self, Dkim};
use crate::dmarc::{self, Dmarc, Policy, Records};
use crate::finding::{Finding, Sign};
use crate::header::Parts;
use crate::limits::Limits;
use crate::names::{Answer, Inquiry, Names};
use crate::outcome::Outcome;
use crate::signed::{self, Body, Flaw, Key};
use crate::spf::{self, Identity, Spf};

/// A message whose sender is to be known.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Where it comes from.
    pub ip: IpAddr,
    /// What the client called himself.
    pub helo: &'a str,
    /// Its envelope's sender.
    pub from: &'a ReversePath,
    /// All of it, lines ended by CRLF, as it came.
    pub message: &'a Bytes,
    /// In seconds since 1970.
    pub now: i64,
}

/// What a message proves about who sent it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Authentication {
    /// Whether the client may send for the envelope's domain.
    pub spf: Spf,
    /// Who signed it.
    pub dkim: Vec<Dkim>,
    /// Whether one of those speaks for its author, and what is to be done if none does.
    pub dmarc: Dmarc,
    /// What those who passed it on say.
    pub arc: Arc,
    /// The domains of its authors.
    pub authors: Vec<Domain>,
    /// Whether the envelope's sender could get an answer.
    pub sender: Sender,
}

/// Whether an envelope's sender could get an answer.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Sender {
    /// Nobody knows, or nobody is to get one.
    #[default]
    Unknown,
    /// His domain has servers for mail.
    Reachable,
    /// His domain says that it takes no mail: RFC 7505.
    TakesNone,
    /// His domain is not there, or has no server.
    Nowhere,
}

/// Asks and verifies. It takes no longer than [`Limits::time`] for questions; what was not answered by then ends with
/// [`Outcome::TempError`].
pub async fn authenticate(
    names: &dyn Names,
    limits: &Limits,
    arrival: Arrival<'_>,
) -> Authentication {
    let inquiry = Inquiry::new(names, limits);
    let claims = contained(|| Claims::of(arrival, limits)).unwrap_or_default();
    let author = match claims.authors.as_slice() {
        [only] => Some(only.as_str().to_owned()),
        _ => None,
    };
    let mut records = Records::default();
    let asked = join(
        join(
            spf::check(&inquiry, arrival.ip, arrival.helo, arrival.from),
            signed::fetch(&inquiry, &claims.wanted, limits),
        ),
        join(reachable(&inquiry, arrival.from), async {
            if let Some(author) = &author {
                records.fetch(&inquiry, &dmarc::walk(author)).await;
            }
        }),
    );
    let ((mut spf, keys), (sender, ())) = asked.await;
    let authors = claims.authors.clone();
    let (mut dkim, arc) = verify(arrival, claims, keys, limits).await;
    if let Some(author) = &author {
        let wanted = dmarc::wanted(author, &records, &spf, &dkim);
        let wanted: Vec<String> = wanted.into_iter().map(str::to_owned).collect();
        let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
        records.fetch(&inquiry, &wanted).await;
    }
    let is_there = async || match inquiry.a(author.as_deref().unwrap_or_default()).await {
        Answer::Records(_) | Answer::Empty => Some(true),
        Answer::NoName => Some(false),
        Answer::Failed => None,
    };
    let mut dmarc = dmarc::judge(author.as_deref(), &records, &mut spf, &mut dkim, is_there).await;
    if author.is_none() {
        dmarc.reason = match authors.len() {
            0 => "the message names no author with a domain".to_owned(),
            _ => "the message names authors of several domains".to_owned(),
        };
    }
    Authentication { spf, dkim, dmarc, arc, authors, sender }
}

/// What a message says of itself.
#[derive(Default)]
struct Claims {
    authors: Vec<Domain>,
    signatures: Vec<dkim::Claim>,
    chain: Option<Result<arc::Chain, Flaw>>,
    /// Keys of the signatures, then those of the chain.
    wanted: Vec<(String, String)>,
    /// How many of them are the signatures'.
    split: usize,
}

impl Claims {
    fn of(arrival: Arrival<'_>, limits: &Limits) -> Self {
        let Some(parts) = Parts::of(arrival.message, limits) else { return Self::default() };
        let authors = parts.authors();
        let author = match authors.as_slice() {
            [only] => Some(only.as_str()),
            _ => None,
        };
        let signatures = dkim::claims(&parts, author, arrival.now, limits);
        let chain = arc::chain(&parts, arrival.now, limits);
        let mut wanted: Vec<_> = signatures.iter().filter_map(dkim::Claim::wanted).collect();
        let split = wanted.len();
        if let Some(Ok(chain)) = &chain {
            wanted.extend(chain.wanted());
        }
        Self { authors, signatures, chain, wanted, split }
    }

    fn verify(
        self,
        message: &[u8],
        mut keys: Vec<Result<Key, Flaw>>,
        limits: &Limits,
    ) -> (Vec<Dkim>, Arc) {
        let Some(parts) = Parts::of(message, limits) else { return Default::default() };
        let body = Body::new(parts.body);
        let seals = keys.split_off(self.split.min(keys.len()));
        let dkim = dkim::verify(&parts, &body, self.signatures, keys, limits);
        (dkim, arc::verify(&parts, &body, self.chain, seals, limits))
    }
}

async fn verify(
    arrival: Arrival<'_>,
    claims: Claims,
    keys: Vec<Result<Key, Flaw>>,
    limits: &Limits,
) -> (Vec<Dkim>, Arc) {
    if arrival.message.len() < limits.aside {
        return contained(|| claims.verify(arrival.message, keys, limits)).unwrap_or_default();
    }
    let (message, limits) = (arrival.message.clone(), limits.clone());
    spawn_blocking(move || claims.verify(&message, keys, &limits)).await.unwrap_or_default()
}

/// RFC 5321 section 5.1.
async fn reachable(inquiry: &Inquiry<'_>, from: &ReversePath) -> Sender {
    let Some(domain) = from.address().and_then(|address| address.domain()) else {
        return Sender::Unknown;
    };
    match inquiry.mx(domain.as_str()).await {
        Answer::Records(exchanges) => {
            if exchanges.iter().all(|exchange| exchange.host.is_empty()) {
                Sender::TakesNone
            } else {
                Sender::Reachable
            }
        }
        Answer::NoName => Sender::Nowhere,
        Answer::Empty => {
            match join(inquiry.a(domain.as_str()), inquiry.aaaa(domain.as_str())).await {
                (Answer::Records(_), _) | (_, Answer::Records(_)) => Sender::Reachable,
                (Answer::Failed, _) | (_, Answer::Failed) => Sender::Unknown,
                _ => Sender::Nowhere,
            }
        }
        Answer::Failed => Sender::Unknown,
    }
}

impl Authentication {
    /// The author's domain, if the message is proved to be from it: by DMARC, or where it has no policy, by a signature or SPF of a
    /// domain that belongs together with it. Whoever is let in by his address has to pass here.
    #[must_use]
    pub fn proved(&self) -> Option<&Domain> {
        let [author] = self.authors.as_slice() else { return None };
        let aligned = self.dkim.iter().any(|one| one.outcome.passed() && one.aligned)
            || (self.spf.outcome.passed() && self.spf.aligned);
        let good = match self.dmarc.outcome {
            Outcome::Pass => true,
            Outcome::None => aligned,
            _ => false,
        };
        good.then_some(author)
    }

    /// The domains that signed it well, each once.
    pub fn signers(&self) -> impl Iterator<Item = &str> {
        let good = self.dkim.iter().filter(|one| one.outcome.passed());
        good.enumerate().filter_map(|(at, one)| {
            let before = self.dkim.iter().filter(|one| one.outcome.passed()).take(at);
            let known = before.map(|other| &other.domain).any(|other| *other == one.domain);
            (!known).then_some(one.domain.as_str())
        })
    }

    /// Whether something was not answered, so that a later look may tell more.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        let outcomes = [self.spf.outcome, self.dmarc.outcome, self.arc.outcome];
        let mut all = outcomes.into_iter().chain(self.dkim.iter().map(|one| one.outcome));
        all.any(|outcome| outcome == Outcome::TempError)
    }

    /// What speaks for it and against it.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut add = |sign, detail: &str| found.push(Finding::new(sign, detail));
        if let Some(author) = self.proved() {
            add(Sign::Proved, author.as_str());
        }
        match self.dmarc.outcome {
            Outcome::Fail => {
                let sign = match self.dmarc.policy {
                    Policy::Reject => Sign::DmarcReject,
                    Policy::Quarantine => Sign::DmarcQuarantine,
                    Policy::None => Sign::DmarcFail,
                };
                add(sign, &self.dmarc.domain);
            }
            Outcome::PermError => add(Sign::DmarcBroken, &self.dmarc.domain),
            _ => {}
        }
        match self.spf.outcome {
            Outcome::Fail => add(Sign::SpfFail, &self.spf.domain),
            Outcome::SoftFail => add(Sign::SpfSoftFail, &self.spf.domain),
            Outcome::PermError => add(Sign::SpfBroken, &self.spf.domain),
            _ => {}
        }
        let first = |wanted: &[Outcome]| self.dkim.iter().find(|one| wanted.contains(&one.outcome));
        let signed = first(&[Outcome::Pass]).is_some();
        if !signed {
            if let Some(one) = first(&[Outcome::Fail]) {
                add(Sign::DkimFail, &format!("{}: {}", one.domain, one.reason));
            } else if let Some(one) = first(&[Outcome::Policy, Outcome::PermError]) {
                add(Sign::DkimUnusable, &format!("{}: {}", one.domain, one.reason));
            }
        }
        // A signature that nobody can look up is no reason to think that there is a good one.
        let pending = [self.spf.outcome, self.dmarc.outcome].contains(&Outcome::TempError);
        let nobody =
            !signed && !pending && !self.spf.outcome.passed() && !self.arc.outcome.passed();
        if nobody {
            add(Sign::Unproved, "");
        }
        if self.arc.outcome == Outcome::Fail {
            add(Sign::ArcFail, &self.arc.reason);
        }
        if self.is_unfinished() {
            add(Sign::Unfinished, "");
        }
        let sender = match self.spf.identity {
            Identity::MailFrom => self.spf.domain.as_str(),
            Identity::Helo => "",
        };
        match self.sender {
            Sender::Nowhere => add(Sign::SenderNowhere, sender),
            Sender::TakesNone => add(Sign::SenderTakesNone, sender),
            Sender::Reachable | Sender::Unknown => {}
        }
        found
    }
}

#[cfg(test)]
mod tests;
