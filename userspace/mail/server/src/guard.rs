//! The filter at the perimeter: what the directory and the DNS know of a message, put before it, and its verdict for each recipient.

mod answers;
pub(crate) mod doors;

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufReader};
use std::net::{IpAddr, Ipv4Addr};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::available_parallelism;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt, join_all};
use muralla_filter::filter::event_of;
use muralla_filter::{
    Acquaintances, Brain, BrainError, Filter, Level, Occasion, Options, Recipient, Sender,
    Tolerance, Verdict,
};
use muralla_filter_anatomy::Key as Shuffles;
use muralla_filter_anatomy::brand::Brands;
use muralla_filter_antivirus::{Antivirus, Clamd, Engine, EngineError, clamd};
use muralla_filter_origin::connection::Zone;
use muralla_filter_origin::{Answer, BlockLists, Conduct, Connection, Names, Reputation};
use muralla_filter_statistics::{Key, Parameters, User};
use muralla_mail_directory::{AccountId, Directory, Resolution, Target};
use muralla_mail_envelope::{Address, Domain, Keys, ReversePath, prvs};
use muralla_smtp::server::Report;
use tokio::time::timeout;
use tracing::{error, info};

use crate::clock;
use crate::config::{FilterConfig, MailConfig};
use crate::outgoing::stub::Stub;
use crate::perimeter::{Arrival, Judgement, Perimeter, Placement};

/// What may change while it runs.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) hostname: Domain,
    pub(crate) keys: Option<Keys>,
    pub(crate) tolerance: Tolerance,
    pub(crate) lists: Vec<String>,
}

impl Settings {
    /// What a configuration says; nothing where mail is not judged.
    pub(crate) fn of(config: &MailConfig) -> Option<Self> {
        let filter = config.filter.as_ref()?;
        let level = Level::of_number(filter.tolerance).unwrap_or_default();
        Some(Self {
            hostname: config.hostname.clone(),
            // What can't be read was told before.
            keys: config.signing_keys().ok().flatten(),
            tolerance: Tolerance { level, cut_off: filter.cut_off },
            lists: filter.block_lists.iter().map(ToString::to_string).collect(),
        })
    }
}

/// Judges mail that comes.
pub(crate) struct Guard {
    filter: Filter,
    directory: Directory,
    names: Arc<dyn Names>,
    settings: ArcSwap<Settings>,
    /// Messages that broke it.
    broken: AtomicU64,
}

/// The filter can't be had.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The model can't be read.
    #[error("[mail.filter] model, {0}: {1}")]
    Model(String, BrainError),
    /// There is no such model.
    #[error("[mail.filter] model, {0}: {1}")]
    Missing(String, io::Error),
    /// Nobody is known who could be asked for names.
    #[error(
        "/etc/resolv.conf, {0}: it names the servers of DNS; write it, or [mail.filter] resolvers"
    )]
    Resolvers(io::Error),
    /// The virus scanner's own rules.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// The key that models are learned with which are handed from one installation to another.
const MODEL_KEY: &[u8] = b"muralla filter model, for everybody";

/// Senders that are remembered, in memory.
const MOST_SENDERS: usize = 500_000;

/// Answers of the virus scanners that are remembered.
const MOST_ANSWERS: usize = 50_000;

/// How long lists of addresses have: they are on this machine, or are cached there.
const LISTS: Duration = Duration::from_millis(300);

/// How long it may take to look through a message's parts, and how long our rules have for one of them.
const SCANNING: Duration = Duration::from_secs(20);
const RULES: Duration = Duration::from_secs(5);

impl Guard {
    /// As it is configured; nothing where mail is not judged.
    pub(crate) fn of(
        config: &MailConfig,
        directory: &Directory,
    ) -> Result<Option<Arc<Self>>, GuardError> {
        let (Some(filter), Some(settings)) = (&config.filter, Settings::of(config)) else {
            return Ok(None);
        };
        let names: Arc<dyn Names> = Arc::new(resolver(config)?);
        let filter = open(filter, Some(Arc::clone(&names)), &settings.lists)?;
        let directory = directory.clone();
        let settings = ArcSwap::from_pointee(settings);
        let broken = AtomicU64::new(0);
        Ok(Some(Arc::new(Self { filter, directory, names, settings, broken })))
    }

    pub(crate) fn set(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    /// The accounts of recipients: of those that go to several, or elsewhere, none.
    fn accounts(&self, recipients: &[Address]) -> Vec<Option<AccountId>> {
        let account = |recipient: &Address| match self.directory.resolve(&self.plain(recipient)) {
            Resolution::Deliver(targets) => match targets.as_slice() {
                [Target::Mailbox { account, .. }] => Some(*account),
                _ => None,
            },
            _ => None,
        };
        recipients.iter().map(account).collect()
    }

    /// An address without our signature.
    fn plain(&self, address: &Address) -> Address {
        let settings = self.settings.load();
        let today = clock::today(clock::now());
        match settings.keys.as_ref().map(|keys| prvs::check(address, keys, today)) {
            Some(prvs::Verdict::Signed(plain) | prvs::Verdict::Expired(plain)) => plain,
            _ => address.clone(),
        }
    }

    /// What lists of addresses say of a client.
    async fn listed(&self, zones: &[String], ip: IpAddr) -> Lists {
        let questions = zones.iter().map(|zone| async move {
            let name = format!("{}.{zone}", reversed(ip));
            match timeout(LISTS, self.names.a(&name)).await {
                Ok(Answer::Records(codes)) => codes.first().map(|code| (zone.clone(), *code)),
                _ => None,
            }
        });
        Lists(join_all(questions).await.into_iter().flatten().collect())
    }

    /// What is to be said of a message.
    async fn verdict(&self, facts: Facts<'_>) -> Verdict {
        let settings = self.settings.load_full();
        let lists = match facts.ip {
            Some(ip) => self.listed(&settings.lists, ip).await,
            None => Lists::default(),
        };
        let accounts = self.accounts(facts.recipients);
        let recipients: Vec<Recipient> = accounts
            .iter()
            .map(|account| Recipient { user: account.map(user), tolerance: settings.tolerance })
            .collect();
        let machines = [settings.hostname.clone()];
        let is_ours = |domain: &Domain| self.directory.is_local(domain);
        let sender = facts.ip.map(|ip| Sender {
            connection: Connection {
                ip,
                name: facts.name,
                name_known: false,
                asn: None,
                conduct: facts.conduct,
            },
            lists: &lists,
            helo: facts.helo,
            from: facts.from,
            recipients: facts.recipients,
            from_us: facts.from_us,
            is_ours: &is_ours,
            machines: &machines,
            keys: settings.keys.as_ref(),
        });
        let known = AddressBooks { directory: &self.directory, accounts: &accounts };
        let now = clock::now();
        let occasion = Occasion {
            message: facts.message,
            sender,
            recipients: &recipients,
            acquaintances: &known,
            now,
        };
        let verdict = self.filter.judge(occasion).await;
        let names: Vec<&str> =
            verdict.opinion.reasons.iter().take(TOLD).map(|(reason, _)| &*reason.name).collect();
        let outcomes: Vec<&str> = verdict.outcomes.iter().map(|outcome| outcome.name()).collect();
        info!(
            id = %facts.id,
            outcomes = %outcomes.join(" "),
            score = verdict.opinion.log_odds,
            content = verdict.opinion.content,
            danger = %verdict.danger,
            reasons = %names.join(" "),
            "a message is judged"
        );
        if let Some(event) = verdict.outcomes.first().copied().and_then(event_of) {
            self.filter.remember(&verdict.keys, event, now);
        }
        verdict
    }
}

impl Perimeter for Guard {
    fn judge<'a>(&'a self, arrival: Arrival<'a>) -> BoxFuture<'a, Judgement> {
        async move {
            let envelope = arrival.envelope;
            let recipients: Vec<Address> =
                envelope.recipients.iter().map(|recipient| recipient.address.clone()).collect();
            let id = envelope.id.to_string();
            let verdict = self.verdict(Facts {
                id: &id,
                ip: Some(envelope.client.ip.to_canonical()),
                name: envelope.client.name.as_ref(),
                helo: &envelope.client.helo,
                from: &envelope.from,
                from_us: envelope.client.authenticated.is_some(),
                recipients: &recipients,
                conduct: conduct(arrival.report),
                message: arrival.message,
            });
            // What a panic leaves half done is given away with it.
            match AssertUnwindSafe(verdict).catch_unwind().await {
                Ok(verdict) => answers::judgement(verdict),
                Err(_) => {
                    self.broken.fetch_add(1, Relaxed);
                    error!(%id, "a message broke the filter: it is held until somebody has looked at it");
                    let placements = vec![Placement::Hold; recipients.len()];
                    Judgement::Take { head: String::new(), placements }
                }
            }
        }
        .boxed()
    }
}

/// A message, and who brings it, whoever asks about it.
struct Facts<'a> {
    /// What it is called where it is told of.
    id: &'a str,
    /// Where it comes from, as far as that is known.
    ip: Option<IpAddr>,
    name: Option<&'a Domain>,
    helo: &'a str,
    from: &'a ReversePath,
    from_us: bool,
    recipients: &'a [Address],
    conduct: Conduct,
    message: &'a Bytes,
}

/// Reasons that the log tells.
const TOLD: usize = 6;

/// What lists of addresses say of one client.
#[derive(Default)]
struct Lists(HashMap<String, Ipv4Addr>);

impl BlockLists for Lists {
    fn is_listed(&self, zone: &str, _: IpAddr) -> Option<Ipv4Addr> {
        self.0.get(zone).copied()
    }
}

/// The address books of a message's recipients.
struct AddressBooks<'a> {
    directory: &'a Directory,
    accounts: &'a [Option<AccountId>],
}

impl Acquaintances for AddressBooks<'_> {
    fn known<'a>(&'a self, author: &'a Address) -> BoxFuture<'a, Vec<bool>> {
        async move {
            let accounts: Vec<AccountId> = self.accounts.iter().flatten().copied().collect();
            if accounts.is_empty() {
                return Vec::new();
            }
            // While the database is away nobody is known, and everything is judged by what it is.
            let knowing = self.directory.registry().who_knows(author, &accounts).await;
            let knowing = knowing.unwrap_or_default();
            let known = |account: &Option<AccountId>| {
                account.is_some_and(|account| knowing.contains(&account))
            };
            self.accounts.iter().map(known).collect()
        }
        .boxed()
    }
}

/// As whom an account teaches.
const fn user(account: AccountId) -> User {
    User(account.0.cast_unsigned())
}

fn conduct(report: &Report) -> Conduct {
    Conduct {
        early: report.early,
        hurried: report.hurried,
        commands: report.commands,
        errors: report.errors,
        bare_line_ends: report.bare_line_ends,
        foreign: report.foreign,
        injected: report.injected > 0,
        failed_logins: report.failed_logins,
        recipients: report.recipients,
        unknown_recipients: report.unknown_recipients,
    }
}

/// An address as lists have it: RFC 5782 section 2.
fn reversed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}")
        }
        IpAddr::V6(ip) => {
            let nibbles = ip.octets().into_iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}")).collect::<Vec<_>>().join(".")
        }
    }
}

/// Who is asked for names.
fn resolver(config: &MailConfig) -> Result<Stub, GuardError> {
    const RESOLV: &str = "/etc/resolv.conf";
    let own = config.filter.iter().flat_map(|filter| &filter.resolvers);
    let outgoing = config.outgoing.iter().flat_map(|outgoing| &outgoing.resolvers);
    for servers in [own.copied().collect::<Vec<_>>(), outgoing.copied().collect()] {
        if !servers.is_empty() {
            return Ok(Stub::new(servers));
        }
    }
    Stub::of_file(Path::new(RESOLV)).map_err(GuardError::Resolvers)
}

/// A filter as it is configured. Without `names` nobody is asked.
pub(crate) fn open(
    config: &FilterConfig,
    names: Option<Arc<dyn Names>>,
    lists: &[String],
) -> Result<Filter, GuardError> {
    let place = config.clamd.as_deref().and_then(|place| place.parse().ok());
    let clamd = place.map(|place| {
        let largest = usize::try_from(config.clamd_largest).unwrap_or(usize::MAX);
        Clamd::new(clamd::Settings { largest, ..clamd::Settings::new(place) })
    });
    let threads = available_parallelism().map_or(1, usize::from);
    let engine = Engine::new(muralla_filter_antivirus::Limits::default(), RULES)?;
    let antivirus = Antivirus::new(engine, clamd, SCANNING, threads, MOST_ANSWERS);
    Ok(Filter::new(Options {
        brain: read_brain(config.model.as_deref())?,
        antivirus,
        names,
        zones: lists.iter().map(|zone| Zone::of_spammers(zone)).collect(),
        reputation: Reputation::new(MOST_SENDERS, rand::random()),
        brands: Brands::new(config.brands.iter().map(String::as_str)),
        fingerprints: Shuffles::new(&rand::random()),
        reading: muralla_filter_anatomy::Limits::default(),
        asking: muralla_filter_origin::Limits::default(),
        threads,
    }))
}

fn read_brain(path: Option<&Path>) -> Result<Brain, GuardError> {
    let shown = || path.map(|path| path.display().to_string()).unwrap_or_default();
    let brain = match path {
        None => Brain::new(Key::new(MODEL_KEY), Parameters::default()),
        Some(path) => {
            let file = fs::File::open(path).map_err(|error| GuardError::Missing(shown(), error))?;
            Brain::read(BufReader::new(file), Key::new(MODEL_KEY))
        }
    };
    brain.map_err(|error| GuardError::Model(shown(), error))
}
