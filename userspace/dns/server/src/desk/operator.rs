//! What the operator does at the desk, and what is seen of it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RecordType};
use hickory_proto::serialize::binary::BinEncodable;
use muralla_dns_wire::answer::CACHED_ERROR;
use muralla_dns_wire::cache::{Hot, Loaded};
use muralla_dns_wire::{Answer as Stored, Freshness, Key, Kind, Secrets};
use muralla_resolver::engine::{Answer, Engine, ExtendedError, Request, Security};
use muralla_resolver::trace::Trace;
use muralla_zones::{LocalData, ZoneKind as LocalKind, ZoneStatus};
use tokio::sync::broadcast;
use tracing::{info, warn};

use super::{Desk, IN, Policy};
use crate::config::DnsConfig;
use crate::feeder::Warm;
use crate::log::LoggedQuery;
use crate::report::{CacheStatus, Level, Zone, ZoneKind};
use crate::role::{LookupError, Options};

/// Names told by the status.
const HOTTEST: usize = 20;

impl Desk {
    pub(crate) fn replace_engine(&self, engine: Arc<dyn Engine>) {
        *self.engine.write() = engine;
        self.rules.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn replace_local(&self, local: LocalData) {
        *self.local.write() = Arc::new(local);
        self.flush_local();
    }

    pub(crate) fn replace_policy(&self, config: &DnsConfig) {
        let policy = Arc::new(Policy::new(config));
        let before = std::mem::replace(&mut *self.policy.write(), Arc::clone(&policy));
        if policy.rules != before.rules {
            // How long an answer lives, and is served after that, was decided when it came.
            self.rules.fetch_add(1, Ordering::AcqRel);
            self.cache.flush_all();
        }
        self.log.choose_one_of(config.log.every);
    }

    /// Forgets what the cache has of names that are local data.
    pub(crate) fn flush_local(&self) {
        self.rules.fetch_add(1, Ordering::AcqRel);
        self.flush_covered();
    }

    fn flush_covered(&self) -> usize {
        let covered = self.local().coverage();
        self.cache.flush_covered(covered)
    }

    /// Begins to make cookies with another secret, if the current one has served its time.
    pub(crate) fn rotate_secrets(&self, secret: [u8; 16]) -> Option<Secrets> {
        let now = self.now();
        let mut secrets = self.secrets.write();
        secrets.is_due(now).then(|| {
            *secrets = secrets.rotated(secret, now);
            *secrets
        })
    }

    /// See [`crate::role::Role::lookup`].
    pub(crate) async fn look_up(
        &self,
        name: &Name,
        rtype: RecordType,
        options: &Options,
        trace: Option<Arc<Trace>>,
    ) -> (Level, Answer) {
        let Options { checking_disabled, refresh, .. } = *options;
        let lowered = name.to_lowercase().to_bytes().unwrap_or_default();
        let key = Key::new(&lowered, rtype.into(), IN, true, checking_disabled);
        if let Ok(key) = &key {
            if let Some(local) = self.local_answer(key, true)
                && super::is_complete(&local)
                && let Ok(message) = Message::from_vec(&local.message)
            {
                return (Level::Local, answer(message, Security::Insecure));
            }
            if !refresh && trace.is_none() {
                let now = self.now();
                if let Some(stored) = self.cache.peek(key)
                    && matches!(stored.freshness(now), Freshness::Fresh(_))
                    && let Ok(message) = Message::from_vec(&stored.aged(now))
                {
                    let security =
                        if stored.secure() { Security::Secure } else { Security::Insecure };
                    return (
                        Level::Wire,
                        Answer { errors: told(&stored), ..answer(message, security) },
                    );
                }
            }
        }
        let engine = Arc::clone(&self.engine.read());
        let request = Request { name: name.clone(), rtype, checking_disabled, refresh, trace };
        (Level::Engine, engine.resolve(request).await)
    }

    /// Forgets a name, or it and all below. Gives the number of entries that went.
    pub(crate) fn flush(&self, name: &Name, zone: bool) -> usize {
        self.rules.fetch_add(1, Ordering::AcqRel);
        let name = name.to_lowercase().to_bytes().unwrap_or_default();
        if zone { self.cache.flush_zone(&name) } else { self.cache.flush(&name) }
    }

    pub(crate) fn zones(&self) -> Vec<Zone> {
        let now = u64::from(self.now());
        self.local.read().list().into_iter().map(|status| zone(status, now)).collect()
    }

    pub(crate) fn reload_zones(&self, name: Option<&str>) -> Result<Vec<Zone>, LookupError> {
        let local = self.local();
        let known = local.list();
        let wanted = |zone: &str| {
            name.is_none_or(|name| {
                zone.trim_end_matches('.').eq_ignore_ascii_case(name.trim_end_matches('.'))
            })
        };
        if let Some(name) = name
            && !known.iter().any(|zone| wanted(&zone.name))
        {
            return Err(LookupError::Zone(name.to_owned()));
        }
        // How each went is told by its state.
        match name {
            Some(name) => drop(local.reload(name)),
            None => drop(local.reload_all()),
        }
        self.flush_local();
        Ok(self.zones().into_iter().filter(|zone| wanted(&zone.name)).collect())
    }

    /// Reads again what changed on disk; whether something did.
    pub(crate) fn reload_changed(&self) -> bool {
        let reloads = self.local().reload_changed();
        for reload in &reloads {
            match reload {
                Ok(reloaded) => info!(
                    zone = reloaded.zone,
                    serial = reloaded.serial,
                    records = reloaded.records,
                    "zone reloaded"
                ),
                Err(problems) => {
                    for problem in problems {
                        warn!("{problem}");
                    }
                }
            }
        }
        let changed = reloads.iter().any(Result::is_ok);
        if changed {
            self.flush_local();
        }
        changed
    }

    pub(crate) fn follow(&self) -> broadcast::Receiver<LoggedQuery> {
        self.log.follow()
    }

    pub(crate) fn cache_status(&self) -> CacheStatus {
        let stats = self.cache.stats();
        let hottest = self.hottest_names.lock().clone();
        CacheStatus {
            entries: stats.entries,
            bytes: stats.bytes,
            limit: stats.limit,
            hits: stats.hits,
            misses: stats.misses,
            evictions: stats.evictions,
            hottest,
        }
    }

    /// The answers most asked for of late. Halves what it is measured by, so that it is for one caller alone.
    pub(crate) fn hottest(&self, most: usize) -> Vec<Hot> {
        let hottest = self.cache.hottest(most);
        let named = hottest.iter().take(HOTTEST);
        let named = named.map(|hot| (hot.key.to_string(), u64::from(hot.hits)));
        *self.hottest_names.lock() = named.collect();
        hottest
    }

    /// The questions that became hot of late.
    pub(crate) fn warm(&self) -> &Warm {
        &self.warm
    }

    /// What the cache has for a question, in whatever state.
    pub(crate) fn peek(&self, key: &Key) -> Option<Stored> {
        self.cache.peek(key)
    }

    /// Counts hits that the network card had, and looks the answer up again in time: nobody else would.
    pub(crate) fn credit(self: &Arc<Self>, key: &Key, hits: u64) {
        let hits = u32::try_from(hits).unwrap_or(u32::MAX);
        if self.cache.credit(key, hits, self.now()) {
            self.prefetch(key);
        }
    }

    /// Questions under way.
    pub(crate) fn questions(&self) -> usize {
        self.flights.len()
    }

    /// How many wait for an answer.
    pub(crate) fn waiting(&self) -> usize {
        self.flights.waiting()
    }

    /// Answers all who still wait with a failure, so that they turn to another resolver at once.
    pub(crate) fn dismiss(&self) {
        for waiter in self.flights.land_all() {
            self.refuse(waiter);
        }
    }

    /// Brings a saved cache back, while questions are answered already. What is local data now was perhaps none when it
    /// was saved; and what was flushed meanwhile must not be there again.
    pub(crate) fn load(&self, from: &mut impl io::Read) -> io::Result<Loaded> {
        let rules = self.rules.load(Ordering::Acquire);
        let loaded = self.cache.load(from, self.now(), &self.policy().rules);
        if self.rules.load(Ordering::Acquire) == rules {
            self.flush_covered();
        } else {
            self.cache.flush_all();
        }
        loaded
    }

    pub(crate) fn save(&self, to: &mut impl io::Write) -> io::Result<u64> {
        self.cache.save(to, self.now(), &self.policy().rules)
    }
}

fn answer(message: Message, security: Security) -> Answer {
    Answer {
        rcode: message.metadata.response_code,
        answers: message.answers,
        authorities: message.authorities,
        security,
        errors: Vec::new(),
    }
}

/// The extended errors of an answer out of the cache.
fn told(stored: &Stored) -> Vec<ExtendedError> {
    let own = stored.extended_error().map(|(code, text)| ExtendedError {
        code,
        text: String::from_utf8_lossy(text).into_owned(),
    });
    let cached = ExtendedError { code: CACHED_ERROR, text: String::new() };
    own.into_iter().chain((stored.kind() == Kind::Failure).then_some(cached)).collect()
}

fn zone(status: ZoneStatus, now: u64) -> Zone {
    let kind = match status.kind {
        LocalKind::Zone => ZoneKind::Zone,
        LocalKind::Ip4Set => ZoneKind::Ip4Set,
        LocalKind::DnSet => ZoneKind::DnSet,
        LocalKind::Private => ZoneKind::Private,
    };
    Zone {
        name: status.name,
        kind,
        serial: status.serial,
        records: status.records as u64,
        bytes: status.bytes as u64,
        age: status.loaded_at.map_or(0, |at| now.saturating_sub(at)),
        file: status.files.first().map(|file| file.display().to_string()),
        problem: status.problems.first().map(ToString::to_string),
    }
}
