//! Validation: the chain of trust from an anchor down to a zone, and what it says of an answer (RFC 4035 section 5).

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::dnssec::rdata::DS;
use hickory_proto::rr::{Name, Record, RecordType};
use muralla_dnssec::anchors::Anchor;
use muralla_dnssec::{Delegation as NoDs, Denied, Failure as Flaw, Keys};
use tokio::time::Instant;

use crate::delegation::Delegation;
use crate::engine::{ExtendedError, Security};
use crate::resolver::{Context, Failure, Inner, Purpose};
use crate::rrcache::{Found, What};
use crate::rrset::{self, RrSet, substitute};

/// Longest that the trust in a zone is kept, in seconds.
const MAX_TTL: u32 = 86_400;

/// Seconds that something bogus is kept (RFC 4035 section 4.7 wants it short; RFC 9520 at least a second).
const BOGUS_TTL: u32 = 30;

/// Of how many servers a zone's keys are asked before they count as bogus.
const KEY_SERVERS: usize = 3;

/// What is known of the zone that a name lies in.
#[derive(Clone, Debug)]
pub(crate) enum Trust {
    /// It is signed, and these are its keys.
    Secure(Arc<Keys>),
    /// Nothing vouches for it. An error tells why, if that is worth a word.
    Insecure(Option<ExtendedError>),
    /// It should be signed, and its keys are missing or wrong.
    Bogus(ExtendedError),
}

/// Trust, and when it ends.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    trust: Trust,
    until: Instant,
}

impl Held {
    /// For so many seconds from now, a day at most.
    fn during(trust: Trust, seconds: u32) -> Self {
        let seconds = Duration::from_secs(seconds.min(MAX_TTL).into());
        Self { trust, until: Instant::now() + seconds }
    }
}

/// The DS records of a child, as its parent has them.
enum Link {
    Signed(Vec<DS>, u32),
    Insecure(u32),
    NotACut,
    Bogus(ExtendedError),
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl Inner {
    /// Validates one link of a chain: sets its security, and why it is bogus; lowers its time to live; takes out proofs
    /// that prove nothing.
    pub(crate) async fn judge(
        self: &Arc<Self>,
        name: &Name,
        rtype: RecordType,
        found: &mut Found,
        ctx: &Context,
    ) -> Result<(), Failure> {
        let verdict = self.verdict(name, rtype, found, ctx).await?;
        let (security, errors) = match verdict {
            Verdict::Secure => (Security::Secure, Vec::new()),
            Verdict::Insecure(error) => (Security::Insecure, error.into_iter().collect()),
            Verdict::Bogus(error) => {
                found.limit(BOGUS_TTL);
                (Security::Bogus, vec![error])
            }
        };
        ctx.note(|| match errors.first() {
            Some(error) => format!("{name} {rtype} is {security:?}: {}", error.text),
            None => format!("{name} {rtype} is {security:?}"),
        });
        found.security = Some(security);
        found.errors = errors;
        Ok(())
    }

    async fn verdict(
        self: &Arc<Self>,
        name: &Name,
        rtype: RecordType,
        found: &mut Found,
        ctx: &Context,
    ) -> Result<Verdict, Failure> {
        // What lies at a cut belongs to the child, but DS records to the parent.
        let within = if rtype == RecordType::DS && !name.is_root() {
            name.base_name()
        } else {
            name.clone()
        };
        let Some(anchor) = self.settings.anchors.closest(&within) else {
            return Ok(Verdict::Insecure(None));
        };
        if self.settings.under_negative_anchor(&within, self.clock.unix()) {
            return Ok(Verdict::Insecure(None));
        }
        // An anchor between the zone that was asked and the name: the zone has no say about what is below it.
        let island = |zone: &Name| *zone != anchor.zone && zone.zone_of(&anchor.zone);
        let subjects = subjects(found);
        let signer =
            subjects.iter().find_map(|set| set.signer()).filter(|signer| signer.zone_of(&within));
        let keys = match (&found.zone, signer) {
            (Some(zone), signer) => {
                match self.trust(if island(zone) { &within } else { zone }, ctx).await? {
                    Trust::Secure(keys) => match signer {
                        // The server serves a zone below as well, and gave no referral to it.
                        Some(signer) if signer != *keys.zone() && keys.zone().zone_of(&signer) => {
                            match self.trust(&signer, ctx).await? {
                                Trust::Secure(keys) => Some(keys),
                                other => return Ok(other.into()),
                            }
                        }
                        Some(signer) if signer == *keys.zone() => Some(keys),
                        _ => None,
                    },
                    other => return Ok(other.into()),
                }
            }
            (None, Some(signer)) => match self.trust(&signer, ctx).await? {
                Trust::Secure(keys) => Some(keys),
                other => return Ok(other.into()),
            },
            (None, None) => None,
        };
        let checked = match &keys {
            Some(keys) => self.check(name, rtype, found, keys, ctx),
            None => Err(missing(name, rtype, &found.what)),
        };
        let flaw = match checked {
            Ok(verdict) => return Ok(verdict),
            // That says something of the question, and nothing of the records.
            Err(Flaw::TooMuchWork) => return Err(Failure::work()),
            Err(flaw) => flaw,
        };
        let absent = matches!(flaw, Flaw::SignatureMissing { .. } | Flaw::DenialMissing { .. });
        // What the zone signed, if a proof is missing, is the zone's: records made by a wildcard, or a denial. There is no
        // other zone below to look for.
        let own = |keys: &Keys| {
            let soa = |proof: &Arc<RrSet>| proof.rtype == RecordType::SOA;
            let signed_soa =
                || found.proofs.iter().any(|proof| soa(proof) && proof.name == *keys.zone());
            matches!(flaw, Flaw::DenialMissing { .. })
                && (matches!(found.what, What::Records(_)) || signed_soa())
        };
        if let Some(keys) = &keys
            && (!absent || own(keys))
        {
            return Ok(Verdict::Bogus(explain(&flaw, keys.zone())));
        }
        // Not signed as it should be; unless an unsigned zone begins between, where there was no referral.
        match (self.trust(&within, ctx).await?, keys) {
            (Trust::Insecure(error), _) => Ok(Verdict::Insecure(error)),
            (Trust::Bogus(error), None) => Ok(Verdict::Bogus(error)),
            (Trust::Bogus(_), Some(keys)) | (Trust::Secure(keys), _) => {
                Ok(Verdict::Bogus(explain(&flaw, keys.zone())))
            }
        }
    }

    /// Checks signatures and proofs by the keys of the zone.
    fn check(
        &self,
        name: &Name,
        rtype: RecordType,
        found: &mut Found,
        keys: &Keys,
        ctx: &Context,
    ) -> Result<Verdict, Flaw> {
        let now = self.now();
        let mut ttl = u32::MAX;
        let verified = ctx.budget.with_work(|work| {
            let mut proven: Vec<Arc<RrSet>> = Vec::new();
            let mut flaw = None;
            for proof in &found.proofs {
                let checked =
                    muralla_dnssec::verify(&proof.records, &proof.signatures, keys, now, work);
                match checked {
                    // One made from a wildcard could be shown where there is another (RFC 4592 section 4.4).
                    Ok(verified)
                        if proof.rtype == RecordType::DNAME && verified.wildcard.is_some() =>
                    {
                        let (name, rtype) = (proof.name.clone(), proof.rtype);
                        flaw = flaw.or(Some(Flaw::SignatureMisplaced {
                            name,
                            rtype,
                            why: "it was made from a wildcard",
                        }));
                    }
                    Ok(verified) => {
                        ttl = ttl.min(verified.ttl);
                        proven.push(proof.clone());
                    }
                    Err(Flaw::TooMuchWork) => return Err(Flaw::TooMuchWork),
                    Err(why) if proof.rtype == RecordType::SOA => return Err(why),
                    Err(why) => flaw = flaw.or(Some(why)),
                }
            }
            let records: Vec<Record> = rrset::records(&proven);
            let denied = match &found.what {
                What::Records(set) => {
                    let dname = proven.iter().find(|proof| proof.rtype == RecordType::DNAME);
                    if set.signatures.is_empty()
                        && let Some(dname) = dname
                        && substitute(dname, &set.name) == set.cname()
                    {
                        Ok(Denied::Proven)
                    } else {
                        let checked =
                            muralla_dnssec::verify(&set.records, &set.signatures, keys, now, work)?;
                        ttl = ttl.min(checked.ttl);
                        match &checked.wildcard {
                            Some(encloser) => muralla_dnssec::no_closer(
                                name,
                                encloser,
                                keys.zone(),
                                &records,
                                work,
                            ),
                            None => Ok(Denied::Proven),
                        }
                    }
                }
                What::NoData => muralla_dnssec::no_data(name, rtype, keys.zone(), &records, work),
                What::NoName => muralla_dnssec::no_name(name, keys.zone(), &records, work),
            };
            // A wrong signature says more than a missing proof.
            denied.map_err(|why| flaw.unwrap_or(why)).map(|denied| (denied, proven))
        });
        let (denied, proven) = verified?;
        found.proofs = proven;
        found.limit(ttl);
        Ok(match denied {
            Denied::Proven => Verdict::Secure,
            Denied::OptOut => Verdict::Insecure(None),
            Denied::TooManyIterations => {
                let text = format!("{} asks for too many NSEC3 iterations", keys.zone());
                Verdict::Insecure(Some(ExtendedError { code: NSEC3_ITERATIONS, text }))
            }
        })
    }

    /// The trust in the zone that a name lies in: the walk from the closest anchor down.
    pub(crate) fn trust<'a>(
        self: &'a Arc<Self>,
        name: &'a Name,
        ctx: &'a Context,
    ) -> BoxFuture<'a, Result<Trust, Failure>> {
        Box::pin(async move { Ok(self.trust_until(name, ctx).await?.trust) })
    }

    /// The same, and how long it holds.
    fn trust_until<'a>(
        self: &'a Arc<Self>,
        name: &'a Name,
        ctx: &'a Context,
    ) -> BoxFuture<'a, Result<Held, Failure>> {
        Box::pin(async move {
            if self.settings.under_negative_anchor(name, self.clock.unix()) {
                return Ok(Held::during(Trust::Insecure(None), MAX_TTL));
            }
            if let Some(known) = self.trust.lock().fresh(name) {
                return Ok(known.clone());
            }
            let Some(anchor) = self.settings.anchors.closest(name) else {
                return Ok(Held::during(Trust::Insecure(None), MAX_TTL));
            };
            let held = if anchor.zone == *name {
                if anchor.supported() {
                    self.keys(name, Proof::Anchor(anchor), MAX_TTL, ctx).await?
                } else {
                    Held::during(Trust::Insecure(None), MAX_TTL)
                }
            } else {
                self.descend(name, anchor, ctx).await?
            };
            ctx.note(|| match &held.trust {
                Trust::Secure(keys) if keys.zone() == name => {
                    format!("{name} is signed, and trusted")
                }
                Trust::Secure(keys) => format!("{name} lies in {}", keys.zone()),
                Trust::Insecure(_) => format!("{name} is not signed, provenly"),
                Trust::Bogus(error) => format!("{name} can't be trusted: {}", error.text),
            });
            let bytes = 1_024 + name.len();
            self.trust.lock().put(name.clone(), held.clone(), bytes, held.until);
            Ok(held)
        })
    }

    /// One step down from the zone above.
    async fn descend(
        self: &Arc<Self>,
        name: &Name,
        anchor: &Anchor,
        ctx: &Context,
    ) -> Result<Held, Failure> {
        // A referral said which zone is above, and usually brought the DS records along.
        let delegation = self.delegations.lock().at(name);
        let parent = delegation
            .as_ref()
            .and_then(|delegation| delegation.parent.clone())
            .filter(|parent| anchor.zone.zone_of(parent));
        let above = parent.clone().unwrap_or_else(|| name.base_name());
        let held = self.trust_until(&above, ctx).await?;
        // What rests on the zone above holds no longer than what is known of that.
        let resting = |trust, ttl| {
            let own = Held::during(trust, ttl);
            Held { until: own.until.min(held.until), ..own }
        };
        let keys = match &held.trust {
            Trust::Secure(keys) => keys.clone(),
            Trust::Insecure(error) => return Ok(resting(Trust::Insecure(error.clone()), MAX_TTL)),
            Trust::Bogus(error) => return Ok(resting(Trust::Bogus(error.clone()), BOGUS_TTL)),
        };
        let told = delegation
            .filter(|_| parent.as_ref() == Some(keys.zone()))
            .and_then(|delegation| self.told(name, &delegation, &keys, ctx));
        let link = match told {
            Some(link) => link,
            None => self.ask_ds(name, ctx).await?,
        };
        Ok(match link {
            Link::Signed(ds, ttl) if muralla_dnssec::supported(&ds) => {
                self.keys(name, Proof::Ds(&ds), ttl, ctx).await?
            }
            Link::Signed(_, ttl) => {
                let text = format!("no algorithm of the DS records of {name} is supported");
                let error = ExtendedError { code: UNSUPPORTED_ALGORITHM, text };
                Held::during(Trust::Insecure(Some(error)), ttl)
            }
            Link::Insecure(ttl) => Held::during(Trust::Insecure(None), ttl),
            // A zone of the operator's own that the Internet does not know can't be signed from there.
            Link::NotACut if self.is_route(name) => resting(Trust::Insecure(None), MAX_TTL),
            Link::NotACut => resting(Trust::Secure(keys), MAX_TTL),
            Link::Bogus(error) => Held::during(Trust::Bogus(error), BOGUS_TTL),
        })
    }

    /// What a referral said of the child's DS records, if it holds.
    fn told(
        &self,
        name: &Name,
        delegation: &Delegation,
        keys: &Keys,
        ctx: &Context,
    ) -> Option<Link> {
        let now = self.now();
        ctx.budget.with_work(|work| {
            if let Some(set) = &delegation.ds {
                let verified =
                    muralla_dnssec::verify(&set.records, &set.signatures, keys, now, work).ok()?;
                // One made from a wildcard says nothing of a name that is delegated: the parent has to explain.
                if verified.wildcard.is_some() {
                    return None;
                }
                return Some(Link::Signed(set.ds(), verified.ttl));
            }
            let mut ttl = MAX_TTL;
            let mut records = Vec::new();
            for proof in &delegation.proofs {
                let verified =
                    muralla_dnssec::verify(&proof.records, &proof.signatures, keys, now, work);
                if let Ok(verified) = verified {
                    ttl = ttl.min(verified.ttl);
                    records.extend(proof.records.iter().cloned());
                }
            }
            match muralla_dnssec::no_ds(name, keys.zone(), &records, work).ok()? {
                NoDs::Insecure => Some(Link::Insecure(ttl)),
                // There is a referral, so there is a cut: the parent has to explain.
                NoDs::NotACut => None,
            }
        })
    }

    /// Asks the parent's servers for the child's DS records.
    async fn ask_ds(self: &Arc<Self>, name: &Name, ctx: &Context) -> Result<Link, Failure> {
        let found = self.lookup(name.clone(), RecordType::DS, ctx.for_keys()).await?;
        let ttl = found.ttl();
        match (found.security, &found.what) {
            (Some(Security::Bogus), _) => {
                let why = found.errors.first().cloned();
                Ok(Link::Bogus(why.unwrap_or_else(|| ExtendedError {
                    code: ExtendedError::DNSSEC_BOGUS,
                    text: format!("the DS records of {name} are bogus"),
                })))
            }
            (Some(Security::Secure), What::Records(set)) if set.rtype == RecordType::DS => {
                Ok(Link::Signed(set.ds(), ttl))
            }
            // An alias can't be a cut.
            (Some(Security::Secure), What::Records(_)) => Ok(Link::NotACut),
            (Some(Security::Secure), What::NoData | What::NoName) => {
                let Some(zone) = found.proofs.iter().find_map(|proof| proof.signer()) else {
                    return Ok(Link::Insecure(ttl));
                };
                let records = rrset::records(&found.proofs);
                let proven = ctx.budget.with_work(|work| {
                    // A denial of a name above denies this one too, and then there's no cut.
                    muralla_dnssec::no_ds(name, &zone, &records, work)
                });
                match (proven, &found.what) {
                    (Err(Flaw::TooMuchWork), _) => Err(Failure::work()),
                    (Ok(NoDs::Insecure), _) => Ok(Link::Insecure(ttl)),
                    (Ok(NoDs::NotACut), _) | (Err(_), What::NoName) => Ok(Link::NotACut),
                    (Err(flaw), _) => Ok(Link::Bogus(explain(&flaw, &zone))),
                }
            }
            (Some(Security::Insecure) | None, _) => Ok(Link::Insecure(ttl)),
        }
    }

    /// Fetches a zone's keys and checks them by DS records or an anchor.
    async fn keys(
        self: &Arc<Self>,
        zone: &Name,
        proof: Proof<'_>,
        ttl: u32,
        ctx: &Context,
    ) -> Result<Held, Failure> {
        let ctx = &ctx.for_keys().step(Purpose::Keys, zone, RecordType::DNSKEY)?;
        if let Some(failure) = self.failed_lately(zone, RecordType::DNSKEY) {
            ctx.note(|| format!("the keys of {zone} could not be had a moment ago"));
            return Err(failure);
        }
        let mut avoid: Vec<SocketAddr> = Vec::new();
        let mut why = None;
        for _ in 0..KEY_SERVERS {
            let reached = match self.iterate(zone, RecordType::DNSKEY, ctx, &avoid).await {
                Ok(reached) => reached,
                Err(failure) if avoid.is_empty() => {
                    self.remember_failure(zone, RecordType::DNSKEY, &failure, ctx.own);
                    return Err(failure);
                }
                Err(_) => break,
            };
            // A thousand questions may have waited for these keys; one of them has checked them.
            if avoid.is_empty()
                && let Some(known) = self.trust.lock().fresh(zone)
            {
                return Ok(known.clone());
            }
            let server = reached.told.server;
            let mut found = self.learn(&reached, zone, RecordType::DNSKEY);
            let checked = match &found.what {
                What::Records(set) if set.rtype == RecordType::DNSKEY => {
                    let now = self.now();
                    ctx.budget.with_work(|work| match &proof {
                        Proof::Anchor(anchor) => {
                            anchor.trust(&set.records, &set.signatures, now, work)
                        }
                        Proof::Ds(ds) => muralla_dnssec::trust(
                            zone,
                            &set.records,
                            &set.signatures,
                            ds,
                            now,
                            work,
                        ),
                    })
                }
                _ => Err(Flaw::DnskeyMissing { zone: zone.clone() }),
            };
            match checked {
                Ok(keys) => {
                    let ttl = ttl.min(keys.ttl()).min(MAX_TTL);
                    found.security = Some(Security::Secure);
                    found.limit(keys.ttl());
                    self.keep(zone, RecordType::DNSKEY, &found);
                    self.succeeded(zone, RecordType::DNSKEY);
                    return Ok(Held::during(Trust::Secure(Arc::new(keys)), ttl));
                }
                // Another question may have work left for these keys.
                Err(Flaw::TooMuchWork) => return Err(Failure::work()),
                Err(flaw) => {
                    ctx.note(|| format!("the keys of {zone} from {server}: {flaw}"));
                    why = Some(ExtendedError {
                        code: flaw.code(),
                        text: format!("{flaw} (keys of {zone} from {server})"),
                    });
                    if avoid.contains(&server) {
                        break;
                    }
                    self.servers.may_know_edns(server);
                    avoid.push(server);
                }
            }
        }
        let error = why.unwrap_or_else(|| ExtendedError {
            code: ExtendedError::DNSKEY_MISSING,
            text: format!("the keys of {zone} are missing"),
        });
        Ok(Held::during(Trust::Bogus(error), BOGUS_TTL))
    }

    /// The time as signatures have it.
    fn now(&self) -> u32 {
        // Serial numbers: what is cut off is meant to be (RFC 4034 section 3.1.5).
        (self.clock.unix() & u64::from(u32::MAX)) as u32
    }
}

/// Unsupported NSEC3 iterations value (RFC 9276 section 3.2).
const NSEC3_ITERATIONS: u16 = 27;

/// RFC 8914 section 4.2.
const UNSUPPORTED_ALGORITHM: u16 = 1;

/// What vouches for a zone's keys.
enum Proof<'a> {
    Anchor(&'a Anchor),
    Ds(&'a [DS]),
}

enum Verdict {
    Secure,
    Insecure(Option<ExtendedError>),
    Bogus(ExtendedError),
}

impl From<Trust> for Verdict {
    fn from(trust: Trust) -> Self {
        match trust {
            Trust::Secure(_) => Self::Secure,
            Trust::Insecure(error) => Self::Insecure(error),
            Trust::Bogus(error) => Self::Bogus(error),
        }
    }
}

/// The RRsets that are to be signed.
fn subjects(found: &Found) -> Vec<Arc<RrSet>> {
    match &found.what {
        What::Records(set) if set.signatures.is_empty() => {
            let dname = found.proofs.iter().filter(|proof| proof.rtype == RecordType::DNAME);
            dname.cloned().collect()
        }
        What::Records(set) => vec![set.clone()],
        What::NoData | What::NoName => found.proofs.clone(),
    }
}

fn missing(name: &Name, rtype: RecordType, what: &What) -> Flaw {
    use muralla_dnssec::Claim;
    match what {
        What::Records(set) => Flaw::SignatureMissing { name: name.clone(), rtype: set.rtype },
        What::NoData => Flaw::DenialMissing { name: name.clone(), claim: Claim::NoData(rtype) },
        What::NoName => Flaw::DenialMissing { name: name.clone(), claim: Claim::NoName },
    }
}

fn explain(flaw: &Flaw, zone: &Name) -> ExtendedError {
    ExtendedError { code: flaw.code(), text: format!("{flaw} (zone {zone})") }
}
