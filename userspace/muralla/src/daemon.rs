//! The running daemon's state, behind the admin socket, the metrics and the loops alike. Everything here
//! blocks: callers in async code go through [`blocking`]. What is asynchronous about DNS is in [`dns`](self::dns),
//! about RADIUS in [`radius`](self::radius), and about mail in [`mail`](self::mail).

mod dns;
mod mail;
mod pulse;
mod radius;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use ipnet::IpNet;
use muralla_abi::sample::Sample;
use muralla_edge::config::EdgeConfig;
use muralla_edge::offenders::{Judgement, Offence};
use muralla_edge::talkers::Top;
use muralla_telemetry::budget::{Promise, TARGET};
use sd_notify::NotifyState;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::admin::api::{self, BlockForm, Done, Overview, ReloadOutcome};
use crate::configuration::guard::{self, Surroundings, overlap};
use crate::configuration::radius::nas_file;
use crate::configuration::{self, Configuration};
use crate::dns::Dns;
use crate::edge::{Builder, Edge, SampleSource};
use crate::following::{self, Hub};
use crate::hot;
use crate::mail::Mail;
use crate::radius::Radius;
use crate::roles::{Role, Roles};
use muralla_edge::feeds;
use muralla_edge::wall::{BlockEntry, BlockRequest, CounterRow, Status};
pub(crate) use pulse::Canary;
use pulse::Pulse;
use radius::WrittenNases;

/// Services whose processes tell the wall what they saw, by socket of their own: those that mail has.
const REPORTING: [&str; 5] = ["smtp", "submission", "pop3", "imap", "web"];

/// Longest note on a block, in bytes.
const LONGEST_NOTE: usize = 256;

/// Longest block with an expiry.
const LONGEST_BLOCK: Duration = Duration::from_secs(10 * 366 * 86_400);

/// Why a call was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the wall is detached: no packet is looked at")]
    Detached,
    #[error("this process does not have the role {}", .0.name())]
    NoRole(Role),
    #[error("{0} would cut off {1}, {2}")]
    Protected(IpNet, IpNet, String),
    #[error("{role} does not answer: {reason}", role = .0.title(), reason = .1)]
    Silent(Role, String),
    #[error("{what}")]
    Invalid { what: String, help: &'static str },
    #[error("{0}")]
    Configuration(configuration::Problems),
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
}

impl Refused {
    pub(crate) fn help(&self) -> Option<&'static str> {
        match self {
            Self::Detached => Some("put it up again with `muralla edge attach`"),
            Self::NoRole(Role::Edge) => Some(
                "ask the process that has it: `systemctl start muralla`, or [edge] in the configuration",
            ),
            Self::NoRole(Role::Dns) => Some(
                "ask the process that has it: `systemctl start muralla-dns`, or [dns] in the configuration",
            ),
            Self::NoRole(Role::Radius) => Some(
                "ask the process that has it: `systemctl start muralla-radius`, or [radius] in the configuration",
            ),
            Self::NoRole(Role::Mail) => Some(
                "ask the process that has it: `systemctl start muralla-mail`, or [mail] in the configuration",
            ),
            Self::Protected(..) => {
                Some("block only what is around it; nobody may be locked out by his own wall")
            }
            Self::Silent(Role::Radius, _) => {
                Some("`journalctl -u muralla-radius -e` and `muralla status` say more")
            }
            Self::Silent(Role::Mail, _) => {
                Some("`journalctl -u muralla-mail -e` and `muralla mail status` say more")
            }
            Self::Silent(..) => {
                Some("`journalctl -u muralla-dns -e` and `muralla status` say more")
            }
            Self::Invalid { help, .. } => Some(help),
            Self::Configuration(_) => {
                Some("nothing was changed; `muralla check` shows the same before a reload")
            }
            Self::Failed(_) => None,
        }
    }
}

/// See the module.
pub(crate) struct Daemon {
    roles: Roles,
    builder: Box<dyn Builder>,
    /// None in a process without that role.
    dns: Option<Arc<dyn Dns>>,
    dns_pulse: Pulse,
    /// None in a process without that role.
    radius: Option<Arc<dyn Radius>>,
    radius_pulse: Pulse,
    /// None in a process without that role.
    mail: Option<Arc<dyn Mail>>,
    mail_pulse: Pulse,
    /// The NASes as they were written down for the wall.
    nases: Mutex<WrittenNases>,
    /// The network card's cache at the latest tick.
    answers: Mutex<Option<dns::Seen>>,
    /// None while the operator has it detached, and in a process without that role.
    edge: Mutex<Option<Box<dyn Edge>>>,
    sources: mpsc::UnboundedSender<Box<dyn SampleSource>>,
    path: PathBuf,
    configuration: Mutex<Configuration>,
    reload: Mutex<Option<ReloadOutcome>>,
    warned: Mutex<Vec<String>>,
    sources_of_policy: Mutex<Fingerprint>,
    hub: Hub,
    standing: Promise,
    started: Instant,
}

/// What a policy is made from besides the configuration: files, and the machine's own addresses.
#[derive(Debug, Default, PartialEq)]
struct Fingerprint {
    /// Time of change and length, where there is such a file.
    files: Vec<(PathBuf, Option<(SystemTime, u64)>)>,
    addresses: BTreeSet<IpAddr>,
}

impl Daemon {
    /// Puts the wall up, if that is among the roles. Samples of this and every later wall are delivered to
    /// `sources`.
    ///
    /// # Errors
    ///
    /// When the wall can't be built; what stood before stands on.
    pub(crate) fn start(
        roles: Roles,
        builder: Box<dyn Builder>,
        path: &Path,
        configuration: Configuration,
        sources: mpsc::UnboundedSender<Box<dyn SampleSource>>,
    ) -> anyhow::Result<Self> {
        let daemon = Self {
            roles,
            builder,
            dns: None,
            dns_pulse: Pulse::new("DNS", "DNS"),
            radius: None,
            radius_pulse: Pulse::new("RADIUS", "AAA"),
            mail: None,
            mail_pulse: Pulse::new("mail", "MAIL"),
            nases: Mutex::default(),
            answers: Mutex::new(None),
            edge: Mutex::new(None),
            sources,
            path: path.to_owned(),
            configuration: Mutex::new(configuration),
            reload: Mutex::new(None),
            warned: Mutex::new(Vec::new()),
            sources_of_policy: Mutex::default(),
            hub: Hub::default(),
            standing: Promise::new("EDGE", TARGET),
            started: Instant::now(),
        };
        if daemon.roles.has(Role::Edge) {
            daemon.attach()?;
        }
        Ok(daemon)
    }

    /// Has systemd keep the sockets through a restart, and close those of `before` that are not among them:
    /// a socket that nobody reads would swallow its share of the requests.
    pub(crate) fn keep_sockets(&self, before: &[String]) {
        let dns = self.dns.as_ref().map(|dns| dns.descriptors()).unwrap_or_default();
        let radius = self.radius.as_ref().map(|radius| radius.descriptors()).unwrap_or_default();
        let mail = self.mail.as_ref().map(|mail| mail.descriptors()).unwrap_or_default();
        let kept: Vec<(String, OwnedFd)> = dns.into_iter().chain(radius).chain(mail).collect();
        for name in before.iter().filter(|name| kept.iter().all(|(other, _)| other != *name)) {
            let gone = [NotifyState::FdStoreRemove, NotifyState::FdName(name)];
            if let Err(error) = sd_notify::notify(&gone) {
                warn!(name, %error, "systemd can't be told to close a socket");
            }
        }
        for (name, descriptor) in &kept {
            // Without FDPOLL=0 systemd would drop a socket at the first ICMP error that it holds.
            let keep =
                [NotifyState::FdStore, NotifyState::FdName(name), NotifyState::Custom("FDPOLL=0")];
            if let Err(error) = sd_notify::notify_with_fds(&keep, &[descriptor.as_fd()]) {
                warn!(name, %error, "a socket can't be kept through a restart");
            }
        }
    }

    pub(crate) fn roles(&self) -> &Roles {
        &self.roles
    }

    /// The promises of this process's roles.
    pub(crate) fn promises(&self) -> Vec<Promise> {
        let promise = |role| match role {
            Role::Edge => self.standing.clone(),
            Role::Dns => self.dns_pulse.promise().clone(),
            Role::Radius => self.radius_pulse.promise().clone(),
            Role::Mail => self.mail_pulse.promise().clone(),
        };
        self.roles.iter().map(promise).collect()
    }

    /// The configuration of the wall.
    fn wall(&self) -> Result<EdgeConfig, Refused> {
        let configured = lock(&self.configuration).edge.clone();
        configured.filter(|_| self.roles.has(Role::Edge)).ok_or(Refused::NoRole(Role::Edge))
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.hub
    }

    pub(crate) fn reload_outcome(&self) -> Option<ReloadOutcome> {
        lock(&self.reload).clone()
    }

    /// Builds a wall if none stands.
    pub(crate) fn attach(&self) -> Result<Done, Refused> {
        let config = self.effective(self.wall()?);
        let mut edge = lock(&self.edge);
        if edge.is_some() {
            return Ok(Done { done: false, remarks: vec!["the wall stands already".to_owned()] });
        }
        let state = lock(&self.configuration).state.file.clone();
        let pin_dir = config.pin_dir.clone();
        let mut built = self.builder.build(config, &state)?;
        if let Err(error) = hot::share(&pin_dir) {
            warn!(%error, "a DNS role with a user of its own can't reach the network card's cache");
        }
        let source = built.samples().context("the wall stands, but its samples can't be read")?;
        // Nobody pumps any more only while the process ends.
        let _ = self.sources.send(source);
        *edge = Some(built);
        drop(edge);
        *lock(&self.sources_of_policy) = self.fingerprint();
        Ok(Done { done: true, remarks: Vec::new() })
    }

    /// Takes the wall down, and leaves it down until [`Self::attach`] or a restart.
    pub(crate) fn detach(&self) -> Result<Done, Refused> {
        let pin_dir = self.wall()?.pin_dir;
        let mut edge = lock(&self.edge);
        // First the one that would put programs back, then the programs.
        *edge = None;
        let interfaces = self.builder.detach(&pin_dir)?;
        warn!(?interfaces, "wall detached by the operator: nothing is protected");
        Ok(Done { done: true, remarks: interfaces })
    }

    /// Reads the configuration again and applies it whole, or changes nothing.
    pub(crate) fn reload(&self) -> Result<Done, Refused> {
        let outcome = self.try_reload();
        let (applied, remarks) = match &outcome {
            Ok(remarks) => {
                info!(configuration = %self.path.display(), "configuration applied");
                for remark in remarks {
                    warn!("{remark}");
                }
                (true, remarks.clone())
            }
            Err(refused) => {
                let reasons = match refused {
                    Refused::Configuration(problems) => problems.lines().collect(),
                    other => vec![other.to_string()],
                };
                for reason in &reasons {
                    error!("configuration refused, the old one stays in force: {reason}");
                }
                (false, reasons)
            }
        };
        *lock(&self.reload) = Some(ReloadOutcome { at: unix_now(), applied, remarks });
        outcome.map(|remarks| Done { done: true, remarks })
    }

    fn try_reload(&self) -> Result<Vec<String>, Refused> {
        let accepted = configuration::load(&self.path).map_err(Refused::Configuration)?;
        let mut remarks: Vec<String> = accepted.warnings.lines().collect();
        let new = accepted.configuration;
        if let Some(gone) = self.roles.iter().find(|role| !new.has(*role)) {
            return Err(Refused::Invalid {
                what: format!(
                    "the section [{0}] is gone, but this process has the role {0}",
                    gone.name()
                ),
                help: "put the section back, or stop the process to end the role",
            });
        }
        let old = lock(&self.configuration).clone();
        // What can be taken back comes first.
        if let (Some(dns), Some(config)) = (&self.dns, &new.dns) {
            remarks.extend(dns.reload(config.clone())?);
        }
        let others = self.reload_radius(&new, &mut remarks);
        let others = others.and_then(|()| {
            let walled = self
                .reload_mail(&new, &mut remarks)
                .and_then(|()| self.reload_wall(&new, &mut remarks));
            if let (Err(_), Some(mail), Some(config)) = (&walled, &self.mail, &old.mail) {
                let back = mail.reload(config.clone());
                back.context("the new mail configuration can't be taken back")?;
            }
            if let (Err(_), Some(radius), Some(config)) = (&walled, &self.radius, &old.radius) {
                let back = radius.reload(config.clone());
                back.context("the new RADIUS configuration can't be taken back")?;
            }
            walled
        });
        if let Err(refused) = others {
            if let (Some(dns), Some(config)) = (&self.dns, old.dns) {
                dns.reload(config).context("the new DNS configuration can't be taken back")?;
            }
            return Err(refused);
        }
        let restart = [
            ("[admin]", new.admin != old.admin),
            ("[metrics]", new.metrics != old.metrics),
            ("[log]", new.log != old.log),
            ("[state]", new.state != old.state),
        ];
        for (section, _) in restart.iter().filter(|(_, changed)| *changed) {
            remarks.push(format!("changes in {section} take effect at the next restart"));
        }
        let later = |role: &Role| {
            new.has(*role) && !self.roles.has(*role) && self.roles.takes_new_sections()
        };
        for role in Role::ALL.into_iter().filter(later) {
            remarks.push(format!("the role {} starts at the next restart", role.name()));
        }
        *lock(&self.configuration) = new;
        if self.roles.has(Role::Edge) {
            *lock(&self.sources_of_policy) = self.fingerprint();
        }
        Ok(remarks)
    }

    fn reload_wall(&self, new: &Configuration, remarks: &mut Vec<String>) -> Result<(), Refused> {
        let Some(config) = new.edge.clone().filter(|_| self.roles.has(Role::Edge)) else {
            return Ok(());
        };
        let effective = guarded(config, new);
        match lock(&self.edge).as_mut() {
            Some(edge) => remarks.extend(edge.reload(effective)?),
            None => remarks
                .push("the wall is detached; what was read applies once it is attached".to_owned()),
        }
        Ok(())
    }

    /// With what this machine must never lock out.
    fn effective(&self, config: EdgeConfig) -> EdgeConfig {
        guarded(config, &lock(&self.configuration))
    }

    /// Reads feeds and allow files again if one of them, or an address of this machine, changed.
    pub(crate) fn refresh_if_changed(&self) {
        let Ok(config) = self.wall() else { return };
        let now = self.fingerprint();
        if *lock(&self.sources_of_policy) == now {
            return;
        }
        // With those who have logged in since.
        let effective = self.effective(config);
        match self.with_edge(|edge| Ok(edge.refresh(effective)?)) {
            Ok(remarks) => {
                info!("feeds and own addresses read again");
                for remark in remarks {
                    warn!("{remark}");
                }
            }
            Err(Refused::Detached) => {}
            Err(error) => warn!("feeds changed, but the old ones stay in force: {error}"),
        }
        // A broken file is complained about once, and tried again when it changes.
        *lock(&self.sources_of_policy) = now;
    }

    fn fingerprint(&self) -> Fingerprint {
        let Ok(config) = self.wall() else { return Fingerprint::default() };
        let feeds = config.feeds.iter().map(|feed| &feed.file);
        let nases = lock(&self.configuration).radius.as_ref().map(nas_file);
        let files = feeds
            .chain(&config.allow_files)
            .chain(&nases)
            .map(|file| {
                let metadata = std::fs::metadata(file).ok();
                let print = metadata.and_then(|data| Some((data.modified().ok()?, data.len())));
                (file.clone(), print)
            })
            .collect();
        Fingerprint { files, addresses: guard::own_addresses() }
    }

    /// What is done every second: programs back where they are missing, expired bans out.
    pub(crate) fn tick(&self) {
        self.write_nases();
        if !self.roles.has(Role::Edge) {
            return;
        }
        let looked = self.with_edge(|edge| {
            let events = edge.heal();
            let swept = edge.sweep();
            Ok((events, swept, edge.status(), edge.counters()))
        });
        let Ok((events, swept, status, counters)) = looked else {
            // Detached on purpose is no broken promise.
            lock(&self.warned).clear();
            return;
        };
        for event in events {
            warn!("{event}");
        }
        self.look_at_answers(&counters.unwrap_or_default());
        let mut warnings = api::warnings(&status);
        warnings.extend(self.answers_warning());
        if let Err(error) = swept {
            warnings.push(format!("bans are not kept through a restart: {error:#}"));
        }
        self.standing.count(status.interfaces.iter().all(|interface| interface.attached));
        let mut warned = lock(&self.warned);
        for warning in warnings.iter().filter(|warning| !warned.contains(warning)) {
            warn!("{warning}");
        }
        for warning in warned.iter().filter(|warning| !warnings.contains(warning)) {
            info!("over: {warning}");
        }
        *warned = warnings;
    }

    /// A real request through a real socket of every role that answers any.
    pub(crate) async fn probe(&self) -> Result<(), Refused> {
        if self.roles.has(Role::Dns) {
            self.dns_probe().await?;
        }
        if self.roles.has(Role::Radius) {
            let answered = self.radius_probe().await;
            answered.map_err(|reason| Refused::Silent(Role::Radius, reason))?;
        }
        if self.roles.has(Role::Mail) {
            let greeted = self.mail_probe().await;
            greeted.map_err(|reason| Refused::Silent(Role::Mail, reason))?;
        }
        Ok(())
    }

    /// Warnings as the latest tick saw them.
    pub(crate) fn warnings(&self) -> Vec<String> {
        lock(&self.warned).clone()
    }

    pub(crate) fn overview(&self) -> Overview {
        let edge = lock(&self.edge).as_ref().map(|edge| edge.status());
        let detached = edge.is_none() && self.roles.has(Role::Edge);
        let mut warnings = edge.as_ref().map(api::warnings).unwrap_or_default();
        if detached {
            warnings.push(
                "DETACHED: the operator took the wall down; `muralla edge attach` puts it up"
                    .to_owned(),
            );
        }
        let dns = self.dns.as_ref().map(|dns| dns.status());
        if let Some(dns) = &dns {
            warnings.extend(self.dns_pulse.silence());
            warnings.extend(dns.warnings.iter().map(|warning| format!("dns: {warning}")));
        }
        let radius = self.radius.as_ref().map(|radius| radius.status());
        if let Some(radius) = &radius {
            warnings.extend(self.radius_pulse.silence());
            let troubles = radius.troubles();
            let warned = troubles.iter().chain(&radius.warnings);
            warnings.extend(warned.map(|warning| format!("radius: {warning}")));
        }
        let mail = self.mail.as_ref().and_then(|mail| mail.status());
        if let Some(mail) = &mail {
            warnings.extend(self.mail_pulse.silence());
            warnings.extend(mail.troubles.iter().map(|trouble| format!("mail: {trouble}")));
        }
        let pulses = [&self.dns_pulse, &self.radius_pulse, &self.mail_pulse];
        let silent = pulses.iter().any(|pulse| pulse.silence().is_some());
        let answers = self.answers();
        warnings.extend(self.answers_warning());
        let reload = self.reload_outcome();
        if reload.as_ref().is_some_and(|reload| !reload.applied) {
            warnings.push(
                "the configuration file was refused at the last reload; see `muralla check`"
                    .to_owned(),
            );
        }
        for warning in self.warnings() {
            if edge.is_some() && warning.starts_with("bans are not kept") {
                warnings.push(warning);
            }
        }
        Overview {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs(),
            configuration: self.path.clone(),
            roles: self.roles.iter().collect(),
            detached,
            warnings,
            reload,
            promises: self.promises().iter().map(Promise::state).collect(),
            edge,
            answers,
            dns,
            radius,
            mail,
            silent,
        }
    }

    pub(crate) fn status(&self) -> Option<Status> {
        lock(&self.edge).as_ref().map(|edge| edge.status())
    }

    pub(crate) fn counters(&self) -> Result<Vec<CounterRow>, Refused> {
        self.with_edge(|edge| Ok(edge.counters()?))
    }

    pub(crate) fn top(&self) -> Result<Top, Refused> {
        self.with_edge(|edge| Ok(edge.top()))
    }

    pub(crate) fn blocks(&self) -> Result<Vec<BlockEntry>, Refused> {
        self.with_edge(|edge| Ok(edge.blocks()?))
    }

    pub(crate) fn block(&self, form: BlockForm) -> Result<Done, Refused> {
        let prefix = form.prefix.trunc();
        let ttl = form.for_seconds.map(Duration::from_secs);
        if form.note.len() > LONGEST_NOTE || form.note.contains(char::is_control) {
            return Err(Refused::Invalid {
                what: format!("a note has at most {LONGEST_NOTE} bytes, in one line"),
                help: "shorten it",
            });
        }
        if ttl.is_some_and(|ttl| ttl.is_zero() || ttl > LONGEST_BLOCK) {
            return Err(Refused::Invalid {
                what: "a block lasts from one second to ten years".to_owned(),
                help: "leave the time away to block until `muralla unblock`",
            });
        }
        let (protected, services) = {
            let config = self.wall()?;
            let services: Vec<String> =
                config.services.iter().map(|service| service.name.clone()).collect();
            (config.protected, services)
        };
        if let Some(unknown) = form.services.iter().flatten().find(|name| !services.contains(name))
        {
            return Err(Refused::Invalid {
                what: format!("there is no service `{unknown}`; known are {}", services.join(", ")),
                help: "name a service as `muralla check --print` shows it",
            });
        }
        if let Some(protected) = protected.into_iter().find(|protected| overlap(*protected, prefix))
        {
            let why = "protected by the configuration".to_owned();
            return Err(Refused::Protected(prefix, protected, why));
        }
        let upstreams = lock(&self.configuration).upstreams();
        if let Some(guarded) = Surroundings::look().with(upstreams).touched_by(prefix) {
            return Err(Refused::Protected(prefix, guarded.prefix, guarded.why.clone()));
        }
        let request = BlockRequest { prefix, note: form.note, ttl, services: form.services };
        let blocked = self.with_edge(|edge| Ok(edge.block(request)?))?;
        info!(%prefix, ?ttl, "blocked by the operator");
        let remarks = if blocked == prefix {
            Vec::new()
        } else {
            vec![format!("an IPv6 address is blocked with its network: {blocked}")]
        };
        Ok(Done { done: true, remarks })
    }

    pub(crate) fn unblock(&self, prefix: IpNet) -> Result<Done, Refused> {
        let done = self.with_edge(|edge| Ok(edge.unblock(prefix.trunc())?))?;
        let configured = self.wall()?.block.contains(&prefix);
        let remarks = match (done, configured) {
            (_, true) => vec![format!("{prefix} stays blocked by the configuration file")],
            (true, false) => Vec::new(),
            (false, false) => {
                vec![format!("{prefix} was not blocked; `muralla blocks` shows what is")]
            }
        };
        Ok(Done { done, remarks })
    }

    pub(crate) fn allow(&self, prefix: IpNet) -> Result<Done, Refused> {
        if prefix.prefix_len() == 0 {
            return Err(Refused::Invalid {
                what: format!("{prefix} would let everybody through"),
                help: "use `muralla edge detach` if that is what is meant",
            });
        }
        self.with_edge(|edge| Ok(edge.allow(prefix.trunc())?))?;
        info!(%prefix, "allowed by the operator");
        Ok(Done { done: true, remarks: Vec::new() })
    }

    pub(crate) fn disallow(&self, prefix: IpNet) -> Result<Done, Refused> {
        let done = self.with_edge(|edge| Ok(edge.disallow(prefix.trunc())?))?;
        let configured = self.wall()?.allow.contains(&prefix);
        let remarks = match (done, configured) {
            (_, true) => vec![format!("{prefix} stays allowed by the configuration file")],
            (true, false) => Vec::new(),
            (false, false) => vec![format!("{prefix} was not allowed by `muralla allow`")],
        };
        Ok(Done { done, remarks })
    }

    pub(crate) fn report(&self, offence: Offence) -> Result<Judgement, Refused> {
        if !offence.weight.is_finite() || offence.weight < 0.0 {
            return Err(Refused::Invalid {
                what: "the weight of an offence is a number from 0".to_owned(),
                help: "1 is a usual offence; a source is banned at [edge.bans] threshold",
            });
        }
        self.with_edge(|edge| Ok(edge.report(&offence)?))
    }

    /// The same of a service behind the wall, which speaks for services of its kind alone.
    pub(crate) fn report_of_service(&self, offence: Offence) -> Result<Judgement, Refused> {
        if !REPORTING.contains(&offence.service.as_str()) {
            return Err(Refused::Invalid {
                what: format!("no service behind the wall reports for `{}` here", offence.service),
                help: "those that do are smtp, submission, pop3, imap and web; operators have [admin] socket",
            });
        }
        self.report(offence)
    }

    pub(crate) fn customer_seen(&self, seen: &api::CustomerSeen) -> Result<Done, Refused> {
        self.with_edge(|edge| {
            edge.customer_seen(seen.source, &seen.account);
            Ok(Done { done: true, remarks: Vec::new() })
        })
    }

    /// Hands samples to the talkers and to whoever follows.
    pub(crate) fn samples_seen(&self, samples: &[Sample]) {
        let followed = self.hub.is_followed();
        let seen = self.with_edge(|edge| {
            edge.observe(samples);
            Ok(followed.then(|| edge.status()))
        });
        let Ok(Some(status)) = seen else { return };
        let interfaces: BTreeMap<u32, String> = status
            .interfaces
            .iter()
            .filter_map(|interface| Some((interface.ifindex?, interface.name.clone())))
            .collect();
        let boot = following::boot();
        for sample in samples {
            self.hub.publish(&following::describe(sample, &status.services, &interfaces, boot));
        }
    }

    fn with_edge<T>(
        &self,
        act: impl FnOnce(&mut dyn Edge) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        if !self.roles.has(Role::Edge) {
            return Err(Refused::NoRole(Role::Edge));
        }
        match lock(&self.edge).as_mut() {
            Some(edge) => act(edge.as_mut()),
            None => Err(Refused::Detached),
        }
    }
}

/// The wall's configuration with those whom it must never lock out: people at work on this machine, and
/// the servers that the resolver depends on; and with the NASes that RADIUS knows.
fn guarded(mut config: EdgeConfig, whole: &Configuration) -> EdgeConfig {
    if let Some(radius) = &whole.radius {
        let named = radius.nas.iter().map(|nas| nas.prefix.trunc());
        // Before the role has written its list, those of the file have to do.
        let written = feeds::read(&nas_file(radius)).map(|feed| feed.prefixes).unwrap_or_default();
        for prefix in named.chain(written) {
            if !config.nas.contains(&prefix) {
                config.nas.push(prefix);
            }
        }
    }
    for prefix in Surroundings::look().with(whole.upstreams()).let_through() {
        if !config.protected.contains(&prefix) {
            config.protected.push(prefix);
        }
    }
    config
}

/// Runs what blocks on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(
    daemon: &Arc<Daemon>,
    act: impl FnOnce(&Daemon) -> T + Send + 'static,
) -> anyhow::Result<T> {
    let daemon = Arc::clone(daemon);
    Ok(tokio::task::spawn_blocking(move || act(&daemon)).await?)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere must not take the admin socket with it; the wall's state lies in the kernel.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
