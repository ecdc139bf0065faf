//! Domains that want their mail over TLS alone, and say to whom: MTA-STS (RFC 8461).
//!
//! A policy is fetched by HTTPS when the domain's TXT record names another one than is known, and holds for as long as it
//! says, on this machine's disk as well, so that whoever is between us and the domain can't make us forget it.

pub mod https;
mod policy;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use muralla_mail_envelope::Domain;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use tracing::{debug, info, warn};

use super::hosts::{LookupError, Names};
pub(crate) use policy::{Mode, Policy};

/// Who fetches policies.
pub trait Policies: Send + Sync + 'static {
    /// The text at `https://mta-sts.DOMAIN/.well-known/mta-sts.txt`, from a server that proved that it is that host; or why there
    /// is none, in words.
    fn fetch<'a>(&'a self, domain: &'a Domain) -> BoxFuture<'a, Result<String, String>>;
}

/// Nobody: no domain has a policy.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPolicies;

impl Policies for NoPolicies {
    fn fetch<'a>(&'a self, _: &'a Domain) -> BoxFuture<'a, Result<String, String>> {
        async { Err("nobody fetches policies here".to_owned()) }.boxed()
    }
}

/// Policies that are known.
pub(crate) struct Sts {
    names: Arc<dyn Names>,
    policies: Arc<dyn Policies>,
    file: Option<PathBuf>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    policies: HashMap<Domain, Kept>,
    /// Those that could not be fetched, with the id that was named and when that was.
    failed: HashMap<Domain, (String, i64)>,
    /// Whether there is something that the file does not have.
    changed: bool,
}

/// A policy that was fetched.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
struct Kept {
    id: String,
    /// When it ends, in seconds since 1970.
    until: i64,
    policy: Policy,
}

/// Domains that are remembered.
const MOST: usize = 50_000;

/// How long a fetch that failed is not tried again, in seconds: section 3.3.
const PAUSE: i64 = 300;

impl Sts {
    /// With what a file has from before. One that can't be read is begun anew.
    pub(crate) fn new(
        names: Arc<dyn Names>,
        policies: Arc<dyn Policies>,
        file: Option<PathBuf>,
    ) -> Self {
        let read = file.as_deref().map_or_else(|| Ok(HashMap::new()), read);
        let policies_of_before = read.unwrap_or_else(|error| {
            warn!(%error, "the policies of MTA-STS of before are forgotten");
            HashMap::new()
        });
        let known = Known { policies: policies_of_before, ..Known::default() };
        Self { names, policies, file, known: Mutex::new(known) }
    }

    /// The policy of a domain, if it has one: section 3.4 and 5.1.
    pub(crate) async fn policy(&self, domain: &Domain, now: i64) -> Option<Policy> {
        let kept = {
            let known = self.known.lock();
            known.policies.get(domain).filter(|kept| kept.until > now).cloned()
        };
        let id = match self.names.texts(&format!("_mta-sts.{domain}")).await {
            Ok(texts) => policy::id(&texts),
            Err(LookupError::NoName) => None,
            Err(LookupError::Failed(error)) => {
                debug!(%domain, error, "whether there is a policy of MTA-STS can't be found out");
                None
            }
        };
        // Without a record, what is known holds to its end: section 5.1.
        let Some(id) = id else { return kept.map(|kept| kept.policy) };
        if let Some(kept) = kept.as_ref().filter(|kept| kept.id == id) {
            return Some(kept.policy.clone());
        }
        let failed = self.known.lock().failed.get(domain).cloned();
        if failed.is_some_and(|(failed, at)| failed == id && now < at.saturating_add(PAUSE)) {
            return kept.map(|kept| kept.policy);
        }
        let fetched = self.policies.fetch(domain).await;
        match fetched.and_then(|text| Policy::parse(&text).map_err(str::to_owned)) {
            Ok(policy) => {
                info!(%domain, id, mode = ?policy.mode, "a policy of MTA-STS is in force");
                let until = now.saturating_add(policy.max_age);
                let mut known = self.known.lock();
                known.failed.remove(domain);
                if known.policies.len() >= MOST {
                    known.policies.retain(|_, kept| kept.until > now);
                }
                if known.policies.len() < MOST {
                    let kept = Kept { id, until, policy: policy.clone() };
                    known.policies.insert(domain.clone(), kept);
                    known.changed = true;
                }
                Some(policy)
            }
            Err(error) => {
                info!(%domain, error, "a policy of MTA-STS can't be fetched");
                let mut known = self.known.lock();
                if known.failed.len() >= MOST {
                    known.failed.clear();
                }
                known.failed.insert(domain.clone(), (id, now));
                kept.map(|kept| kept.policy)
            }
        }
    }

    /// Writes down what is new.
    pub(crate) async fn save(&self, now: i64) {
        let Some(file) = self.file.clone() else { return };
        let policies = {
            let mut known = self.known.lock();
            if !std::mem::take(&mut known.changed) {
                return;
            }
            known.policies.retain(|_, kept| kept.until > now);
            known.policies.clone()
        };
        let shown = file.clone();
        let written = spawn_blocking(move || write(&file, &policies)).await;
        if let Ok(Err(error)) = written {
            warn!(file = %shown.display(), %error, "policies of MTA-STS are not written down");
            self.known.lock().changed = true;
        }
    }
}

fn read(file: &Path) -> io::Result<HashMap<Domain, Kept>> {
    match std::fs::read(file) {
        Ok(text) => serde_json::from_slice(&text).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(HashMap::new()),
        Err(error) => Err(error),
    }
}

/// So that nobody ever reads half of it.
fn write(file: &Path, policies: &HashMap<Domain, Kept>) -> io::Result<()> {
    let new = file.with_extension("new");
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&new, serde_json::to_vec(policies)?)?;
    std::fs::rename(&new, file)
}

#[cfg(test)]
mod tests;
