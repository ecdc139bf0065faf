//! The roles of one process as one thing, which the binary holds.

mod canary;
mod settings;
mod standing;
mod upkeep;

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use muralla_mail_directory::{Directory, DirectoryError};
use muralla_mail_store::StoreOptions;
use muralla_smtp::server::{Security, Server};
use muralla_smtp::tls::{Certificates, TlsError, Trust};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::config::{FilterConfig, MailConfig, MxConfig, UnsignedBounces};
use crate::dkim::Signer;
use crate::guard::doors::Doors;
use crate::guard::{self, Guard, GuardError};
use crate::listening::{self, ListenError, Listening, Service};
use crate::mx::{self, Mx};
use crate::operators::QueueFigures;
use crate::outgoing::Outgoing;
use crate::outgoing::hosts::Names;
use crate::outgoing::sts::Policies;
use crate::perimeter::Perimeter;
use crate::pop3::House;
use crate::post::Post;
use crate::recipients::Recipients;
use crate::sandbox;
use crate::shards::Shards;
use crate::sightings::Lookout;
use crate::spool::{Spool, SpoolError};
use crate::submission::{self, Submission};
pub(crate) use settings::directory_options;
use settings::{
    inquiry, mx_server, mx_settings, parts, pop3_server, queue_options, retention,
    submission_server, submission_settings,
};
use upkeep::{Retention, Upkeep};

/// Why the roles can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration asks for what can't be.
    #[error("{}", .0.join("; "))]
    Config(Vec<String>),
    /// A socket can't be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The directory can't be used.
    #[error("[mail] database: {0}")]
    Directory(#[from] DirectoryError),
    /// The spool can't be used.
    #[error("[mail.spool]: {0}")]
    Spool(#[from] SpoolError),
    /// There is no filter to be had.
    #[error(transparent)]
    Filter(#[from] GuardError),
    /// Certificates can't be used.
    #[error("[[mail.certificates]]: {0}")]
    Tls(#[from] TlsError),
    /// The system refuses.
    #[error("the system refuses: {0}")]
    System(#[from] std::io::Error),
}

/// Why a new configuration was not taken. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It asks for what can't be.
    #[error("{}", .0.join("; "))]
    Config(Vec<String>),
}

/// What the roles have of others.
#[derive(Clone)]
pub struct Surroundings {
    /// Who judges mail that comes.
    pub perimeter: Arc<dyn Perimeter>,
    /// Who is told of what clients do.
    pub lookout: Arc<dyn Lookout>,
    /// Who answers for names.
    pub names: Arc<dyn Names>,
    /// Who fetches policies of MTA-STS.
    pub policies: Arc<dyn Policies>,
    /// Whom we believe when we call: none for the roots of the system.
    pub trust: Option<Trust>,
    /// Whether servers of other domains may be on this machine: for tests.
    pub loopback: bool,
}

/// The mail roles of a process, running.
pub struct Role {
    config: Mutex<MailConfig>,
    listening: Vec<Listening>,
    post: Post,
    certificates: Option<Arc<Certificates>>,
    mx: Option<Server<Mx>>,
    submission: Option<Server<Submission>>,
    pop3: Option<(Arc<muralla_pop3::Server<House>>, Arc<House>)>,
    outgoing: Option<Outgoing>,
    guard: Option<Arc<Guard>>,
    doors: Option<Arc<Doors>>,
    /// Ends pop3's listeners.
    stop: watch::Sender<bool>,
    /// Ends what works behind the servers.
    stop_behind: watch::Sender<bool>,
    front: Mutex<JoinSet<()>>,
    behind: Mutex<JoinSet<()>>,
    queue: Arc<Mutex<Option<QueueFigures>>>,
    retention: Arc<ArcSwap<Retention>>,
    upkeep: Upkeep,
    started: Instant,
}

/// How long a message that waited may take at least.
const BRINGING: Duration = Duration::from_secs(60);

/// How long those who are under way have at the end.
const FAREWELL: Duration = Duration::from_secs(25);

impl Role {
    /// Starts the roles of a configuration, within a runtime of tokio. `inherited` are descriptors that an earlier process left with
    /// systemd, by name.
    ///
    /// # Errors
    ///
    /// When they can't serve as configured. A database that is away is no reason where the directory's copy is there.
    pub async fn start(
        config: MailConfig,
        inherited: Vec<(String, OwnedFd)>,
        around: Surroundings,
    ) -> Result<Self, StartError> {
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(StartError::Config(problems));
        }
        for warning in config.warnings() {
            warn!("{warning}");
        }
        for (what, place) in standing::places(&config) {
            if sandbox::is_read_only(&place) {
                warn!("{what}, {}: {}", place.display(), sandbox::hint(&place));
            }
        }
        let one = |problem: String| StartError::Config(vec![problem]);
        let certificates = match config.certificates.len() {
            0 => None,
            _ => {
                let files = config.certificates.iter().map(Into::into).collect();
                Some(Arc::new(Certificates::load(files)?))
            }
        };
        let location = config.location().map_err(one)?;
        let listening = listening::listen(&config, inherited)?;
        let directory = Directory::open(&location, directory_options(&config)).await?;
        let spool = Spool::open(config.spool.clone()).await?;
        let queue = queue_options(&config);
        let lease = Duration::from_secs(u64::try_from(queue.lease).unwrap_or(1200));
        let shards =
            Shards::new(&config, directory.clone(), StoreOptions::default(), queue).map_err(one)?;
        let post = Post::new(directory.clone(), shards.clone(), spool);
        let recipients = Recipients {
            directory: directory.clone(),
            keys: config.signing_keys().map_err(one)?,
            forwarding: config.forwarding().clone(),
            signed_bounces_only: false,
        };
        let signer = Signer::new(directory.clone());

        let guard = Guard::of(&config, &directory)?;
        let doors = match (&config.filter, &guard) {
            (Some(filter), Some(guard)) => Some(Arc::new(Doors::new(&config, filter, guard))),
            _ => None,
        };
        let perimeter: Arc<dyn Perimeter> = match &guard {
            Some(guard) => Arc::clone(guard) as Arc<dyn Perimeter>,
            None => Arc::clone(&around.perimeter),
        };

        let asking = inquiry(&config, &around)?;
        let mx = config.mx.as_ref().map(|mx| {
            let handler = Mx {
                post: post.clone(),
                recipients: ArcSwap::from_pointee(of_mx(recipients.clone(), mx)),
                settings: ArcSwap::from_pointee(mx_settings(&config, mx)),
                perimeter,
                lookout: Arc::clone(&around.lookout),
                inquiry: asking,
                counters: mx::Counters::default(),
            };
            Server::new(mx_server(&config, mx, certificates.as_ref()), handler)
        });
        let submission = config.submission.as_ref().map(|submission| {
            let handler = Submission {
                post: post.clone(),
                recipients: ArcSwap::from_pointee(recipients.clone()),
                settings: ArcSwap::from_pointee(submission_settings(&config, submission)),
                lookout: Arc::clone(&around.lookout),
                limits: submission::limits::Limits::default(),
                signer: signer.clone(),
                counters: submission::Counters::default(),
            };
            Server::new(submission_server(&config, submission, certificates.as_ref()), handler)
        });
        let pop3 = config.pop3.as_ref().map(|pop3| {
            let house = Arc::new(House {
                directory: directory.clone(),
                shards: shards.clone(),
                certificates: certificates.clone(),
                lookout: Arc::clone(&around.lookout),
                counters: Arc::default(),
            });
            let server = pop3_server(&config, pop3, directory.offers_scram());
            (Arc::new(muralla_pop3::Server::new(server, Arc::clone(&house))), house)
        });
        let outgoing = match &config.outgoing {
            None => None,
            Some(outgoing) => {
                let parts =
                    parts(&config, outgoing, &around, post.clone(), recipients, signer, lease)?;
                Some(Outgoing::new(parts))
            }
        };
        let (stop, stop_behind) = (watch::Sender::new(false), watch::Sender::new(false));
        let retention = Arc::new(ArcSwap::from_pointee(retention(&config)));
        let upkeep = Upkeep::new(
            directory,
            shards,
            outgoing.clone(),
            Arc::clone(&retention),
            format!("upkeep of {}", config.hostname),
        );
        let role = Self {
            retention,
            upkeep,
            config: Mutex::new(config),
            listening,
            post,
            certificates,
            mx,
            submission,
            pop3,
            outgoing,
            guard,
            doors,
            stop,
            stop_behind,
            front: Mutex::default(),
            behind: Mutex::default(),
            queue: Arc::default(),
            started: Instant::now(),
        };
        role.serve()?;
        Ok(role)
    }

    /// Lets everything run.
    fn serve(&self) -> Result<(), StartError> {
        let mut front = self.front.lock();
        for listening in &self.listening {
            let listener = listening.listener()?;
            match listening.service {
                Service::Mx => {
                    if let Some(server) = self.mx.clone() {
                        front.spawn(async move {
                            server.listen(listener, Security::StartTls).await;
                        });
                    }
                }
                Service::Submission | Service::Submissions => {
                    let security = match listening.service {
                        Service::Submissions => Security::Implicit,
                        _ => Security::StartTls,
                    };
                    if let Some(server) = self.submission.clone() {
                        front.spawn(async move { server.listen(listener, security).await });
                    }
                }
                Service::Pop3 | Service::Pop3s => {
                    let mode = match listening.service {
                        Service::Pop3s => muralla_pop3::Mode::Tls,
                        _ => muralla_pop3::Mode::Plain,
                    };
                    if let Some((server, _)) = &self.pop3 {
                        let (server, stop) = (Arc::clone(server), self.stop.subscribe());
                        front.spawn(server.listen(listener, mode, stop));
                    }
                }
                Service::Milter | Service::FilterHttp | Service::FilterProxy => {
                    if let Some(doors) = self.doors.clone() {
                        let (service, wanted) = (listening.service, listening.wanted());
                        front.spawn(async move { doors.listen(service, wanted, listener).await });
                    }
                }
            }
            info!(address = %listening.bound(), "{} is served", listening.service.name());
        }
        drop(front);
        let mut behind = self.behind.lock();
        // Nobody waits for it: a large message may take its time.
        let patience = self.patience().max(BRINGING);
        behind.spawn(self.post.clone().bring_in(patience, self.stop_behind.subscribe()));
        if let Some(server) = self.mx.clone() {
            let stop = self.stop_behind.subscribe();
            behind.spawn(async move { server.handler().inquiry.keep(stop).await });
        }
        if let Some(server) = self.submission.clone() {
            let stop = self.stop_behind.subscribe();
            behind.spawn(async move { server.handler().share_limits(stop).await });
        }
        if let Some(outgoing) = &self.outgoing {
            behind.spawn(outgoing.clone().run(self.stop_behind.subscribe()));
        }
        // So that the first message need not wait for it, and an outage is noticed without one.
        let shards = self.post.shards().clone();
        behind.spawn(async move {
            if let Err(error) = shards.queue().await {
                warn!(%error, "the mail store can't be opened yet");
            }
        });
        behind.spawn(self.upkeep.clone().keep(self.stop_behind.subscribe()));
        behind.spawn(self.upkeep.clone().keep_moves(self.stop_behind.subscribe()));
        let looking = standing::look(
            self.post.shards().clone(),
            Arc::clone(&self.queue),
            self.stop_behind.subscribe(),
        );
        behind.spawn(looking);
        Ok(())
    }

    fn patience(&self) -> Duration {
        let config = self.config.lock();
        let mx = config.mx.as_ref().map(|mx| mx.patience);
        let submission = config.submission.as_ref().map(|submission| submission.patience);
        mx.or(submission).unwrap_or(Duration::from_secs(10))
    }

    /// Takes a new configuration, and says what of it needs a restart. Certificates are read again in any case.
    ///
    /// # Errors
    ///
    /// When nothing was changed.
    pub fn reload(&self, new: MailConfig) -> Result<Vec<String>, ReloadError> {
        let problems = new.problems();
        let keys = new.signing_keys().ok().flatten();
        if !problems.is_empty() {
            return Err(ReloadError::Config(problems));
        }
        let mut config = self.config.lock();
        let mut remarks = new.warnings();
        let old = &*config;
        let sockets = |config: &MailConfig| {
            let mx = config.mx.as_ref().map(|mx| mx.listen.clone());
            let submission = config
                .submission
                .as_ref()
                .map(|submission| (submission.listen.clone(), submission.listen_tls.clone()));
            let pop3 =
                config.pop3.as_ref().map(|pop3| (pop3.listen.clone(), pop3.listen_tls.clone()));
            (mx, submission, pop3)
        };
        let memory = |config: &MailConfig| {
            (
                config.mx.as_ref().map(|mx| (mx.memory, mx.connections)),
                config.submission.as_ref().map(|it| (it.memory, it.connections)),
                config.pop3.as_ref().map(|pop3| pop3.memory),
            )
        };
        for (key, differs) in [
            ("[mail] listen addresses and roles", sockets(&new) != sockets(old)),
            ("[mail] memory and connections", memory(&new) != memory(old)),
            ("[mail] database", new.database != old.database),
            ("[mail.packs]", new.packs != old.packs),
            ("[mail.shards]", new.shards != old.shards),
            ("[mail.spool]", new.spool != old.spool),
            ("[mail] copy", new.copy != old.copy),
            ("[mail] quota, postmaster, default_domain and blocked_subscribers", {
                let of = |config: &MailConfig| {
                    let MailConfig { quota, postmaster, default_domain, .. } = config;
                    let (postmaster, domain) = (postmaster.clone(), default_domain.clone());
                    (*quota, postmaster, domain, config.blocked_subscribers)
                };
                of(&new) != of(old)
            }),
            (
                "[[mail.certificates]] that are added or taken away",
                new.certificates != old.certificates,
            ),
            ("[mail.outgoing]", new.outgoing != old.outgoing),
            ("[mail.filter], but for tolerance and cut_off", {
                let of = |config: &MailConfig| {
                    let usual = FilterConfig::default();
                    let (tolerance, cut_off) = (usual.tolerance, usual.cut_off);
                    config.filter.clone().map(|it| FilterConfig { tolerance, cut_off, ..it })
                };
                of(&new) != of(old)
            }),
        ] {
            if differs {
                remarks.push(format!("{key} takes effect with the next restart"));
            }
        }
        remarks.extend(self.reload_certificates().err());
        let recipients = Recipients {
            directory: self.post.directory().clone(),
            keys,
            forwarding: new.forwarding().clone(),
            signed_bounces_only: false,
        };
        if let (Some(server), Some(mx)) = (&self.mx, &new.mx) {
            server.handler().recipients.store(Arc::new(of_mx(recipients.clone(), mx)));
            server.handler().settings.store(Arc::new(mx_settings(&new, mx)));
            server.reconfigure(mx_server(&new, mx, self.certificates.as_ref()));
        }
        if let (Some(server), Some(submission)) = (&self.submission, &new.submission) {
            server.handler().recipients.store(Arc::new(recipients.clone()));
            let settings = submission_settings(&new, submission);
            server.handler().settings.store(Arc::new(settings));
            server.reconfigure(submission_server(&new, submission, self.certificates.as_ref()));
        }
        if let (Some(guard), Some(settings)) = (&self.guard, guard::Settings::of(&new)) {
            guard.set(settings);
        }
        if let Some(outgoing) = &self.outgoing {
            outgoing.reconfigure(recipients);
        }
        if let (Some((server, _)), Some(pop3)) = (&self.pop3, &new.pop3) {
            server.reload(pop3_server(&new, pop3, self.post.directory().offers_scram()));
        }
        self.retention.store(Arc::new(retention(&new)));
        self.post.directory().set_limits(new.limits);
        for remark in &remarks {
            warn!("{remark}");
        }
        *config = new;
        Ok(remarks)
    }

    /// Reads certificates again, as they were renewed: whether anything is new.
    ///
    /// # Errors
    ///
    /// Why they can't be read; then those of before are still used.
    pub fn reload_certificates(&self) -> Result<bool, String> {
        match &self.certificates {
            None => Ok(false),
            Some(certificates) => certificates
                .reload()
                .map_err(|error| format!("certificates stay what they were: {error}")),
        }
    }

    /// The directory: for whoever enters domains, accounts and aliases.
    pub fn directory(&self) -> &Directory {
        self.post.directory()
    }

    /// The queue, if its database answers: for whoever lists, holds or releases, and for traces.
    pub async fn queue(&self) -> Option<muralla_mail_queue::Queue> {
        self.post.shards().queue().await.ok()
    }

    pub(crate) const fn post(&self) -> &Post {
        &self.post
    }

    pub(crate) const fn outgoing(&self) -> Option<&Outgoing> {
        self.outgoing.as_ref()
    }

    /// The store of a shard, if it answers.
    pub async fn store(
        &self,
        shard: muralla_mail_directory::ShardId,
    ) -> Option<muralla_mail_store::Store> {
        self.post.shards().of(shard).ok()?.store().await.ok()
    }

    /// The sockets, with the names under which systemd keeps them.
    pub fn descriptors(&self) -> Vec<(String, BorrowedFd<'_>)> {
        let named = self.listening.iter().map(Listening::descriptor);
        named.map(|(name, socket)| (name, socket.as_fd())).collect()
    }

    /// Where it really listens: what is spoken (`mx`, `submission`, `submissions`, `pop3`, `pop3s`), and the address.
    pub fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        self.listening.iter().map(|one| (one.service.name(), one.bound())).collect()
    }

    /// Takes no more connections, lets transactions end that are under way, within a bound, and closes the databases. The second
    /// time does nothing.
    pub async fn stop(&self) {
        let mut front = std::mem::take(&mut *self.front.lock());
        let mut behind = std::mem::take(&mut *self.behind.lock());
        if front.is_empty() && behind.is_empty() {
            return;
        }
        let _ = self.stop.send(true);
        let servers = async {
            if let Some(server) = &self.mx {
                server.stop();
                server.stopped().await;
            }
            if let Some(server) = &self.submission {
                server.stop();
                server.stopped().await;
            }
            if let Some(doors) = &self.doors {
                doors.stop().await;
            }
            while front.join_next().await.is_some() {}
        };
        if timeout(FAREWELL, servers).await.is_err() {
            warn!("clients that are still connected are cut off");
        }
        front.shutdown().await;
        // Not before: what came last may wait in the spool, or be due.
        let _ = self.stop_behind.send(true);
        if timeout(FAREWELL, async { while behind.join_next().await.is_some() {} }).await.is_err() {
            warn!("what is under way to other servers is cut off: it is tried again");
        }
        behind.shutdown().await;
        self.post.shards().close().await;
        self.post.directory().registry().close().await;
    }
}

/// Recipients as mail from other servers finds them.
fn of_mx(recipients: Recipients, mx: &MxConfig) -> Recipients {
    Recipients { signed_bounces_only: mx.unsigned_bounces == UnsignedBounces::Refuse, ..recipients }
}
