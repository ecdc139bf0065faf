//! The role as one thing, which the binary holds.

mod closing;
mod errors;
mod orders;
mod told;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::thread::{JoinHandle, available_parallelism};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use muralla_journal::disk::Disk;
use muralla_journal::{Journal, Options};
use muralla_radius_accounting::export::printable;
use muralla_radius_accounting::payload;
use muralla_radius_dictionary::{Dictionary, Encoded, Pair};
use muralla_radius_policy::Base;
use muralla_radius_state::{State, StateError};
use muralla_radius_wire::Secret;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc as channel, watch};
use tokio::task;
use tokio::time::timeout;
use tracing::{info, warn};

pub use self::errors::{OrderError, ReloadError, StartError};
use self::told::{journal_status, nas_status, session, strangers};
use crate::accounting::{self, Ledger, seconds_of};
use crate::canary;
use crate::config::{AnswersConfig, JournalConfig, NasConfig, RadiusConfig, StateLocation};
use crate::costly::Costly;
use crate::desk::{Context, Desk};
use crate::dynamic::Wish;
use crate::listening::{self, Listening, Service};
use crate::nases::{Nas, Nases, SELF};
use crate::report::{
    DeadRecord, DynamicOutcome, LoginRefusal, RefusalFilter, Session, Status, TestOutcome,
    UserLimits,
};
use crate::supply::{self, Supply};
use crate::tail::{Filter, Tailed};
use crate::tally::{Tally, Total};
use crate::testing::{self, Login};
use crate::threads::{self, Gauges, Mailbox, Port, Work, Workers};

/// Time that a stop gives to the saving of the sessions before it ends the answering of requests.
const PREPARATION: Duration = Duration::from_secs(1);

/// Time that the database has to be closed in.
const CLOSING: Duration = Duration::from_millis(100);

/// Time for which the start waits for the database: a file of our own is there at once, or never.
const OPENING_FILE: Duration = Duration::from_secs(30);
const OPENING_DATABASE: Duration = Duration::from_millis(1_500);

/// Sessions that an order is about.
#[derive(Clone, Debug)]
pub enum Selector {
    /// All of a user.
    User(String),
    /// One of a user, by its id with us or its Acct-Session-Id.
    Session {
        /// The user.
        user: String,
        /// The session.
        session: String,
    },
    /// Those with an address.
    Address(IpAddr),
    /// All of a NAS.
    Nas(String),
}

/// The RADIUS role, running.
pub struct Role {
    supply: Arc<Supply>,
    desk: Arc<Desk>,
    listening: Vec<Listening>,
    tallies: Vec<Arc<Tally>>,
    gauges: Vec<Arc<Gauges>>,
    costly: Arc<Costly>,
    workers: Mutex<Option<Workers>>,
    ledger: Mutex<Option<Ledger>>,
    journal: Mutex<Option<Journal>>,
    follower: Mutex<Option<JoinHandle<()>>>,
    /// Writes refusals into the log.
    writer: Mutex<Option<task::JoinHandle<()>>>,
    stop: watch::Sender<bool>,
    reloading: Mutex<()>,
    started: Instant,
}

impl Role {
    /// Starts to answer. `inherited` are descriptors that an earlier process left with systemd, by name. What the journal
    /// has and nobody has read yet is read.
    ///
    /// # Errors
    ///
    /// When it can't answer as configured. A database that is away is no reason.
    pub fn start(
        config: RadiusConfig,
        inherited: Vec<(String, OwnedFd)>,
        runtime: Handle,
    ) -> Result<Self, StartError> {
        let folder = &config.journal.folder;
        let opened = Journal::open(folder, journal_options(&config.journal));
        let (journal, recovered) = opened.map_err(|error| StartError::of_journal(error, folder))?;
        info!(?recovered, "the journal is open");
        Self::start_with(config, inherited, runtime, journal)
    }

    /// The same with a journal on another disk than that of the configuration, such as one that fails when a test wants it
    /// to.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn start_on(
        config: RadiusConfig,
        inherited: Vec<(String, OwnedFd)>,
        runtime: Handle,
        disk: Arc<dyn Disk>,
    ) -> Result<Self, StartError> {
        let (journal, _) = Journal::open_on(disk, journal_options(&config.journal))?;
        Self::start_with(config, inherited, runtime, journal)
    }

    fn start_with(
        config: RadiusConfig,
        inherited: Vec<(String, OwnedFd)>,
        runtime: Handle,
        journal: Journal,
    ) -> Result<Self, StartError> {
        let _guard = runtime.enter();
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(StartError::Config(problems));
        }
        let settings = config.answers.settings().map_err(StartError::Config)?;
        for warning in config.warnings() {
            warn!("{warning}");
        }
        let threads = config.threads.map_or_else(
            || available_parallelism().map_or(1, |cores| cores.get()),
            |threads| threads.get(),
        );
        let dictionary = Arc::new(config.dictionary()?);
        let base = Base::new(Arc::clone(&dictionary), config.names.rules(), rand::random());
        base.set_settings(settings);
        let opened = open_state(&config, &runtime)?;

        let snapshot = snapshot_file(&config);
        let (table, position) =
            accounting::restore(&accounting::settings(&config.accounting), &snapshot);
        let (nases, problems) = Nases::new(&config.nas, &[], &Nases::default(), threads);
        for problem in &problems {
            warn!("{problem}");
        }
        let own = Arc::new(own(threads)?);
        let context = Context::new(&config, nases, own, supply::own_addresses(&config));
        let desk = Arc::new(Desk::new(&config, context, Arc::new(base), Arc::new(table)));

        let listening = listening::listen(&config.auth, &config.acct, threads, inherited)?;
        let limits = &config.limits;
        let costly = Arc::new(Costly::start(limits.costly_threads.get(), limits.costly_queue)?);
        let mut work = Vec::new();
        for _ in 0..threads {
            work.push(Work {
                ports: Vec::new(),
                tally: Arc::default(),
                mailbox: Arc::new(Mailbox::new()?),
                gauges: Arc::default(),
                appender: journal.appender()?,
            });
        }
        for listening in &listening {
            for (work, socket) in work.iter_mut().zip(&listening.sockets) {
                let socket = socket.try_clone()?;
                work.ports.push(Port { service: listening.service, socket });
            }
        }
        let tallies = work.iter().map(|work| Arc::clone(&work.tally)).collect();
        let gauges = work.iter().map(|work| Arc::clone(&work.gauges)).collect();
        let mailboxes: Vec<Arc<Mailbox>> =
            work.iter().map(|work| Arc::clone(&work.mailbox)).collect();
        let supply = Supply::new(Arc::clone(&desk), dictionary, config, threads, mailboxes);
        let supply = Arc::new(supply);
        let accounting = supply.config.lock().accounting.clone();
        let ledger = Ledger::start(
            &journal,
            Arc::clone(&desk),
            &accounting,
            snapshot,
            position,
            Arc::clone(&supply.state),
            runtime.clone(),
        )?;
        let workers = threads::start(&desk, &costly, work)?;
        let (stop, stopped) = watch::channel(false);
        let follower = Arc::clone(&supply).start(opened, stopped.clone(), runtime.clone())?;
        let refusing = Arc::clone(&desk);
        let writer = runtime.spawn(async move { refusing.refusals.write(stopped).await });
        Ok(Self {
            supply,
            desk,
            listening,
            tallies,
            gauges,
            costly,
            workers: Mutex::new(Some(workers)),
            ledger: Mutex::new(Some(ledger)),
            journal: Mutex::new(Some(journal)),
            follower: Mutex::new(Some(follower)),
            writer: Mutex::new(Some(writer)),
            stop,
            reloading: Mutex::new(()),
            started: Instant::now(),
        })
    }

    /// Takes a new configuration, and says what of it needs a restart or did not work out.
    ///
    /// # Errors
    ///
    /// When nothing was changed.
    pub fn reload(&self, new: RadiusConfig) -> Result<Vec<String>, ReloadError> {
        let _reloading = self.reloading.lock();
        let problems = new.problems();
        if !problems.is_empty() {
            return Err(ReloadError::Config(problems));
        }
        let settings = new.answers.settings().map_err(ReloadError::Config)?;
        let old = self.supply.config.lock().clone();
        let mut remarks = Vec::new();
        let life = |answers: &AnswersConfig| (answers.reply_life, answers.reply_cache);
        let checks =
            |config: &RadiusConfig| (config.limits.costly_threads, config.limits.costly_queue);
        for (key, differs) in [
            ("[radius] auth and acct", (&new.auth, &new.acct) != (&old.auth, &old.acct)),
            ("[radius] threads", new.threads != old.threads),
            ("[radius] dictionaries", new.dictionaries != old.dictionaries),
            ("[radius.state]", new.state != old.state),
            ("[radius.journal]", new.journal != old.journal),
            ("[radius.names]", new.names != old.names),
            ("[radius.accounting]", new.accounting != old.accounting),
            (
                "[radius.answers] reply_life and reply_cache",
                life(&new.answers) != life(&old.answers),
            ),
            ("[radius.limits] costly_threads and costly_queue", checks(&new) != checks(&old)),
        ] {
            if differs {
                remarks.push(format!("{key} takes effect with the next restart"));
            }
        }
        remarks.extend(new.warnings());
        self.desk.base.set_settings(settings);
        remarks.extend(self.supply.renew(new));
        for remark in &remarks {
            warn!("{remark}");
        }
        Ok(remarks)
    }

    /// The database, once it has answered: for whoever enters subscribers, profiles, NASes and pools, or wants reports.
    pub fn state(&self) -> Option<State> {
        self.supply.state()
    }

    /// The attributes that have names.
    pub fn dictionary(&self) -> &Arc<Dictionary> {
        &self.supply.dictionary
    }

    /// The NASes, by prefix and name: what the wall lets through to the RADIUS ports.
    pub fn nases(&self) -> Vec<(IpNet, String)> {
        let context = self.desk.context();
        context.nases.iter().map(|nas| (nas.prefix, nas.name.to_string())).collect()
    }

    /// Whether subscribers and NASes of the database, or of its copy, are known.
    pub fn is_ready(&self) -> bool {
        self.desk.is_ready()
    }

    /// Requests as they are answered; none if too many follow already.
    pub fn tail(&self, filter: Filter) -> Option<channel::Receiver<Tailed>> {
        self.desk.tail.follow(filter)
    }

    /// Logins that were refused or not answered of late, those that fit, the latest first.
    pub fn refusals(&self, filter: &RefusalFilter) -> Vec<LoginRefusal> {
        self.desk.refusals.find(filter)
    }

    /// Whether a user's logins are refused because too many failed of late.
    pub fn limits(&self, user: &str) -> UserLimits {
        self.desk.limits(user)
    }

    /// Open sessions, at most so many: all of them, or those that are chosen. Of those that were told to other servers, the
    /// database knows.
    pub fn sessions(&self, selector: Option<&Selector>, most: usize) -> Vec<Session> {
        self.views(selector, most).iter().map(session).collect()
    }

    /// Ends sessions (RFC 5176), and says how it went with each.
    ///
    /// # Errors
    ///
    /// When there are none.
    pub async fn disconnect(&self, selector: &Selector) -> Result<Vec<DynamicOutcome>, OrderError> {
        self.order(selector, Wish::Disconnect).await
    }

    /// Changes sessions (RFC 5176) by items in a dictionary's words (`Session-Timeout = 600`), and says how it went with
    /// each.
    ///
    /// # Errors
    ///
    /// When there are none, or an item can't be sent.
    pub async fn change(
        &self,
        selector: &Selector,
        items: &[String],
    ) -> Result<Vec<DynamicOutcome>, OrderError> {
        self.order(selector, Wish::Change(self.encode(items)?)).await
    }

    /// Tries a login: a real request through a real socket. `items` are attributes that the request has besides.
    ///
    /// # Errors
    ///
    /// When the request can't be made.
    pub async fn test(
        &self,
        mut login: Login,
        items: &[String],
    ) -> Result<TestOutcome, OrderError> {
        login.attributes = self.encode(items)?;
        let bound = self.first(Service::Auth).ok_or(OrderError::NotHere(
            "the role answers no logins: give [radius] auth an address",
        ))?;
        let secret = self.own_secret().ok_or(OrderError::NotHere("the role has no secret"))?;
        Ok(testing::ask(bound, &secret, &self.supply.dictionary, &login).await?)
    }

    /// Asks with a real Status-Server through real sockets of ours, on both ports, and gives the time that the slower answer
    /// took.
    ///
    /// # Errors
    ///
    /// When there is none, or nothing comes of the records that are acknowledged.
    pub async fn canary(&self) -> Result<Duration, String> {
        if let Some(why) = self.ledger.lock().as_ref().and_then(Ledger::failure) {
            return Err(format!("the accounting stands still: {why}"));
        }
        let secret = self.own_secret().ok_or("the role has no secret of its own")?;
        let ask = async |service| match self.first(service) {
            Some(bound) => canary::ask(service, bound, &secret).await,
            None => Ok(Duration::ZERO),
        };
        let (auth, acct) = tokio::join!(ask(Service::Auth), ask(Service::Acct));
        Ok(auth?.max(acct?))
    }

    /// Records that can't be stored.
    ///
    /// # Errors
    ///
    /// When they can't be read.
    pub async fn dead_letters(&self) -> Result<Vec<DeadRecord>, OrderError> {
        const STOPPED: OrderError = OrderError::NotHere("the role has stopped");
        let listed = self.ledger.lock().as_ref().ok_or(STOPPED)?.dead_letters();
        let letters = listed.await.map_err(|_| STOPPED)??;
        let told = letters.into_iter().map(|letter| {
            let record = payload::decode(&letter.payload).ok();
            DeadRecord {
                sequence: letter.sequence,
                at: seconds_of(letter.time),
                reason: letter.reason,
                user: record.as_ref().map(|record| printable(record.user)),
                nas: record.as_ref().map(|record| record.nas.to_owned()),
                status: record.as_ref().map(|record| record.status.name().to_owned()),
            }
        });
        Ok(told.collect())
    }

    /// Tries to store them once more, all or those of the chosen numbers, and tells how many those are.
    ///
    /// # Errors
    ///
    /// When they can't be put into the journal again.
    pub async fn replay_dead_letters(&self, chosen: Option<Vec<u64>>) -> Result<usize, OrderError> {
        const STOPPED: OrderError = OrderError::NotHere("the role has stopped");
        let appender = self.journal.lock().as_ref().ok_or(STOPPED)?.appender()?;
        let replayed = self.ledger.lock().as_ref().ok_or(STOPPED)?.replay(appender, chosen);
        Ok(replayed.await.map_err(|_| STOPPED)??)
    }

    /// Removes those of the chosen numbers for good, and tells how many those were.
    ///
    /// # Errors
    ///
    /// When they can't be removed.
    pub async fn remove_dead_letters(&self, chosen: Vec<u64>) -> Result<usize, OrderError> {
        const STOPPED: OrderError = OrderError::NotHere("the role has stopped");
        let removed = self.ledger.lock().as_ref().ok_or(STOPPED)?.remove_dead_letters(chosen);
        Ok(removed.await.map_err(|_| STOPPED)??)
    }

    /// The sockets, to be kept by systemd through a restart.
    pub fn descriptors(&self) -> Vec<(String, BorrowedFd<'_>)> {
        self.listening
            .iter()
            .flat_map(Listening::descriptors)
            .map(|(name, socket)| (name, socket.as_fd()))
            .collect()
    }

    /// The state of it all.
    pub fn status(&self) -> Status {
        let tallies: Vec<&Tally> = self.tallies.iter().map(Arc::as_ref).collect();
        let total = Total(&tallies);
        let context = self.desk.context();
        let gauge = |gauge: fn(&Gauges) -> u64| self.gauges.iter().map(|all| gauge(all)).sum();
        let listen = |service| {
            let those = self.listening.iter().filter(move |listening| listening.service == service);
            those.map(|listening| listening.bound().to_string()).collect()
        };
        let figures = self.ledger.lock().as_ref().map(Ledger::figures).unwrap_or_default();
        let mut records = figures.outcomes;
        records.push(("unreadable".to_owned(), figures.unreadable));
        let stats = self.desk.sessions.stats();
        Status {
            auth: listen(Service::Auth),
            acct: listen(Service::Acct),
            threads: self.tallies.len(),
            uptime: self.started.elapsed().as_secs(),
            ready: self.desk.is_ready(),
            answers: total.answers(),
            latency: total.latency(),
            reasons: total.reasons(),
            nases: nas_status(&context.nases, &self.desk.sessions.open_by_nas()),
            strangers: strangers(&context.nases, &total),
            subscribers: self.desk.base.subscribers() as u64,
            profiles: self.desk.base.profiles().len() as u64,
            sessions: stats.open as u64,
            sessions_elsewhere: self.desk.others.known().len() as u64,
            records,
            zombies: figures.zombies,
            delayed_rejects: gauge(|gauges| gauges.delayed_rejects.load(Relaxed)),
            pending_acknowledgements: gauge(|gauges| gauges.pending_acknowledgements.load(Relaxed)),
            costly_waiting: self.costly.waiting() as u64,
            journal: self
                .journal
                .lock()
                .as_ref()
                .map(|journal| journal_status(journal, figures.applied))
                .unwrap_or_default(),
            database: self.supply.state().map(|state| state.status()),
            exported: figures.exported,
            put_aside: figures.put_aside,
            closings_waiting: figures.closings_waiting,
            export_error: figures.unfit,
            accounting_failure: figures.failure,
            duties: figures.duties,
            forgotten_unwritten: stats.forgotten_unwritten,
            pools: self.desk.leases().map(|leases| leases.status()).unwrap_or_default(),
            name_taken: self.desk.leases().is_some_and(|leases| leases.is_fenced()),
            database_error: self.supply.database_error(),
            warnings: self.supply.warnings(),
        }
    }

    /// Keeps the sessions for the next time, then reads no more requests, answers those under way, and closes the journal. The
    /// second time does nothing.
    pub async fn stop(&self) {
        let saved = self.ledger.lock().as_ref().map(Ledger::save);
        if let Some(saved) = saved {
            // Where the disk hangs, that is left for the end.
            let _ = timeout(PREPARATION, saved).await;
        }
        let Some(workers) = self.workers.lock().take() else { return };
        if let Err(error) = task::spawn_blocking(move || workers.stop()).await {
            warn!(%error, "the threads that own sockets can't be waited for");
        }
        let ledger = self.ledger.lock().take();
        let ended = task::spawn_blocking(move || ledger.map(Ledger::stop)).await;
        if let Err(error) = ended {
            warn!(%error, "the threads of the accounting can't be waited for");
        }
        // Not before: what was accounted for last is in the database now, if that had time for it.
        let _ = self.stop.send(true);
        let writer = self.writer.lock().take();
        if let Some(writer) = writer
            && let Err(error) = writer.await
        {
            warn!(%error, "the last refusals are not in the log");
        }
        let (journal, follower) = (self.journal.lock().take(), self.follower.lock().take());
        let closed = task::spawn_blocking(move || {
            if follower.is_some_and(|follower| follower.join().is_err()) {
                warn!("the thread that follows the database had panicked");
            }
            journal.map_or(Ok(()), Journal::close)
        });
        match closed.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the journal is not closed as it should be"),
            Err(error) => warn!(%error, "the journal can't be waited for"),
        }
        if let Some(state) = self.supply.state() {
            // What SQLite's log holds need not be in the database's file for the next process to have it.
            let _ = timeout(CLOSING, state.close()).await;
        }
    }

    fn own_secret(&self) -> Option<Secret> {
        self.desk.context().own.secrets.first().cloned()
    }

    fn first(&self, service: Service) -> Option<SocketAddr> {
        let mut those = self.listening.iter().filter(|listening| listening.service == service);
        those.next().map(Listening::bound)
    }

    /// Attributes as they stand in a packet.
    fn encode(&self, items: &[String]) -> Result<Vec<u8>, OrderError> {
        let mut bytes = Vec::new();
        for item in items {
            let wrong = |reason: String| OrderError::Item(format!("{item}: {reason}"));
            let pair = Pair::parse(&self.supply.dictionary, item)
                .map_err(|error| wrong(error.to_string()))?;
            match self.supply.dictionary.encode(&pair, &mut bytes) {
                Ok(Encoded::Hidden(_)) => {
                    return Err(wrong(
                        "it is hidden by a secret, and can't be sent this way".to_owned(),
                    ));
                }
                Ok(_) => {}
                Err(error) => return Err(wrong(error.to_string())),
            }
        }
        Ok(bytes)
    }
}

fn journal_options(config: &JournalConfig) -> Options {
    Options {
        segment: config.segment,
        gather: config.gather,
        keep: config.keep,
        reserve: config.reserve,
        ..Options::default()
    }
}

fn snapshot_file(config: &RadiusConfig) -> PathBuf {
    let beside = || config.journal.folder.with_file_name("sessions");
    config.accounting.snapshot_file.clone().unwrap_or_else(beside)
}

/// This machine as a NAS, with a secret that only this process knows.
fn own(threads: usize) -> io::Result<Nas> {
    let random: [u8; 32] = rand::random();
    let everywhere = IpNet::new(IpAddr::from([0; 4]), 0).map_err(io::Error::other)?;
    let config = NasConfig::new(SELF, everywhere, data(&random));
    let (nases, _) = Nases::new(&[config], &[], &Nases::default(), threads);
    let own = nases.named(SELF).map(|nas| Nas::clone(nas));
    own.ok_or_else(|| io::Error::other("this machine can't be a NAS"))
}

/// Bytes as text.
fn data(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether there is a copy to begin with although the database can't be used.
fn can_go_on(config: &RadiusConfig, error: &StateError) -> bool {
    let copy = config.state.copy.as_deref().filter(|copy| copy.is_file());
    let is_elsewhere = !matches!(config.state.location, StateLocation::Embedded(_));
    is_elsewhere && copy.is_some() && !error.is_of_configuration()
}

/// Opens the state, but does not wait long for one that is away.
fn open_state(config: &RadiusConfig, runtime: &Handle) -> Result<Option<State>, StateError> {
    let patience = match config.state.location {
        StateLocation::Embedded(_) => OPENING_FILE,
        StateLocation::Postgres(_) | StateLocation::File(_) => OPENING_DATABASE,
    };
    let (sender, opened) = mpsc::sync_channel(1);
    let database = config.database();
    runtime.spawn(async move {
        let opened = match database {
            Ok((location, options)) => State::open_with(&location, options).await,
            Err(error) => Err(error),
        };
        // Nobody waits any more: then it is opened anew.
        let _ = sender.send(opened);
    });
    match opened.recv_timeout(patience) {
        Ok(Ok(state)) => Ok(Some(state)),
        // A server that was upgraded before this one, or a right that is missing, is no reason to know nobody.
        Ok(Err(error)) if !error.may_pass() && !can_go_on(config, &error) => Err(error),
        Ok(Err(_)) | Err(_) => Ok(None),
    }
}
