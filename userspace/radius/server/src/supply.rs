//! What comes from the database into memory: subscribers, profiles, NASes, pools, and other servers' sessions.
//!
//! It is loaded once and then followed. As long as the database is away, everything goes on with what is there.

mod life;
mod opening;

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use muralla_radius_accounting::SessionId;
use muralla_radius_dictionary::Dictionary;
use muralla_radius_policy::Used;
use muralla_radius_state::{
    Backoff, Changed, Charged, Elsewhere, Leases, Loaded, NasEntry, Rest, SessionEntry,
    SessionState, State, StateError,
};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, error, info, warn};

use crate::config::{MessageAuthenticator, NasConfig, RadiusConfig, StateLocation};
use crate::desk::{Context, Desk, Wall};
use crate::kept;
use crate::nases::Nases;
use crate::pending::Pending;
use crate::precedence::{WAITS, give_way};
use crate::renamed::Renamings;
use crate::threads::Mailbox;

/// Most problems of the database's rows that a status tells.
const MOST_PROBLEMS: usize = 20;

/// Time for which requests wait, once subscribers are loaded, for pools and other servers' sessions: a login that finds no pool
/// is dropped, and its NAS would have to ask again after every restart.
const REST: Duration = Duration::from_secs(1);

/// Time after the start until the database is copied, and between two copies.
const FIRST_COPY: Duration = Duration::from_secs(60);
const COPY: Duration = Duration::from_secs(3_600);

/// Time between two files of subscribers for the next start. What was changed since has to be read at that start.
const IMAGE: Duration = Duration::from_secs(3_600);

/// How often it is looked whether the table has come to where the journal was at the start.
const LOOK: Duration = Duration::from_millis(200);

/// Sessions of one user that are looked at, to find those that the copy tells of.
const MOST_SESSIONS: usize = 64;

/// What the role and the supply share.
pub(crate) struct Supply {
    pub(crate) desk: Arc<Desk>,
    pub(crate) dictionary: Arc<Dictionary>,
    /// There once the database has answered for the first time.
    pub(crate) state: Arc<Mutex<Option<State>>>,
    pub(crate) config: Mutex<RadiusConfig>,
    pub(crate) threads: usize,
    mailboxes: Vec<Arc<Mailbox>>,
    /// The NASes of the database, as of the last word.
    entries: Mutex<Vec<NasConfig>>,
    problems: Mutex<Problems>,
}

/// What an operator should know.
#[derive(Default)]
struct Problems {
    nases: Vec<String>,
    rows: Vec<String>,
    renamings: Renamings,
    /// Whether the NASes of the database are known: until then those of the configuration stand in for them.
    all_nases: bool,
    /// Why the database can't be used although it answers, or has not answered yet: the last word.
    database: Option<String>,
    /// What a newer program did to the database while this one runs.
    newer: Option<String>,
}

impl Supply {
    pub(crate) fn new(
        desk: Arc<Desk>,
        dictionary: Arc<Dictionary>,
        config: RadiusConfig,
        threads: usize,
        mailboxes: Vec<Arc<Mailbox>>,
    ) -> Self {
        Self {
            desk,
            dictionary,
            state: Arc::default(),
            config: Mutex::new(config),
            threads,
            mailboxes,
            entries: Mutex::default(),
            problems: Mutex::default(),
        }
    }

    /// The database, once it has answered.
    pub(crate) fn state(&self) -> Option<State> {
        self.state.lock().clone()
    }

    /// Puts the NASes of configuration and database into force, and says what can't be used.
    pub(crate) fn renew_nases(&self) -> Vec<String> {
        // One after the other, so that the last to come is the last in force.
        let config = self.config.lock();
        let before = self.desk.context();
        let entries = self.entries.lock();
        let (nases, mut told) = Nases::new(&config.nas, &entries, &before.nases, self.threads);
        let mut problems = self.problems.lock();
        problems.nases.clone_from(&told);
        let open = |name: &str| self.desk.sessions.open_on(name);
        told.extend(problems.renamings.note(&before.nases, &nases, open));
        drop(problems);
        self.desk.replace_context(before.with_nases(nases));
        told
    }

    /// The same with a new configuration.
    pub(crate) fn renew(&self, new: RadiusConfig) -> Vec<String> {
        {
            let mut config = self.config.lock();
            let before = self.desk.context();
            // With the NASes of before until those of now are there.
            let (nases, _) =
                Nases::new(&config.nas, &self.entries.lock(), &before.nases, self.threads);
            let own_addresses = own_addresses(&new);
            let context = Context::new(&new, nases, Arc::clone(&before.own), own_addresses);
            self.desk.replace_context(context);
            if config.limits != new.limits {
                self.desk.replace_attempts(&new.limits);
            }
            *config = new;
        }
        self.renew_nases()
    }

    /// What an operator should know.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = self.config.lock().warnings();
        warnings.extend(self.desk.leases().and_then(|leases| leases.trouble()));
        let problems = self.problems.lock();
        warnings.extend(problems.nases.iter().cloned());
        match self.state().and_then(|state| state.status().following) {
            Some(following) => warnings.extend(latest(&following.problems)),
            None => warnings.extend(problems.rows.iter().cloned()),
        }
        if problems.all_nases {
            let open = self.desk.sessions.open_by_nas();
            warnings.extend(problems.renamings.tell(&self.desk.context().nases, &open));
        }
        warnings.extend(problems.newer.clone());
        drop(problems);
        let optional = self.entries.lock();
        let optional = optional
            .iter()
            .filter(|nas| nas.message_authenticator == MessageAuthenticator::Optional);
        warnings.extend(optional.map(|nas| {
            format!(
                "NAS {} ({}) of the database may ask without Message-Authenticator (CVE-2024-3596)",
                nas.name, nas.prefix
            )
        }));
        warnings
    }

    /// Why the database can't be used although it answers, or has not answered yet; none if it can.
    pub(crate) fn database_error(&self) -> Option<String> {
        self.problems.lock().database.clone()
    }

    fn take_nases(&self, entries: Vec<NasEntry>) {
        *self.entries.lock() = entries.into_iter().map(nas).collect();
        let told = self.renew_nases();
        let mut problems = self.problems.lock();
        if !std::mem::replace(&mut problems.all_nases, true) {
            // What they are for the first time they were not otherwise before.
            problems.renamings = Renamings::default();
            let bad = problems.nases.clone();
            drop(problems);
            bad.iter().for_each(|problem| warn!("{problem}"));
            return;
        }
        drop(problems);
        for problem in told {
            warn!("{problem}");
        }
    }

    fn take_problems(&self, loaded: &Loaded) {
        let Loaded { problems, refused, notes, .. } = loaded;
        let mut rows: Vec<String> = problems.iter().take(MOST_PROBLEMS).cloned().collect();
        if *refused > rows.len() as u64 {
            rows.push(format!("{refused} rows of the database can't be used in all"));
        }
        rows.extend(notes.iter().take(MOST_PROBLEMS).cloned());
        for row in &rows {
            warn!("{row}");
        }
        self.problems.lock().rows = rows;
    }

    /// Loads, and then follows until the end, on a thread of its own: to read a million subscribers is work. `opened` is what
    /// the first attempt to open the database gave.
    ///
    /// # Errors
    ///
    /// When the system has no more threads.
    pub(crate) fn start(
        self: Arc<Self>,
        opened: Option<State>,
        stop: watch::Receiver<bool>,
        runtime: Handle,
    ) -> io::Result<JoinHandle<()>> {
        let run = move || runtime.block_on(self.run(opened, stop));
        thread::Builder::new().name("radius-supply".to_owned()).spawn(run)
    }

    async fn run(&self, opened: Option<State>, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.follow(opened) => {}
        }
        self.end_leases().await;
    }

    async fn follow(&self, opened: Option<State>) {
        if opened.is_none() {
            self.load_copy().await;
        }
        let state = self.open(opened).await;
        *self.state.lock() = Some(state.clone());
        let begun = Instant::now();
        let file = image_file(&self.config.lock());
        let (loaded, left) = match self.load_image(&state, &file).await {
            Some((loaded, left)) => (loaded, Some(left)),
            None => (self.load(&state, &file).await, None),
        };
        info!(
            subscribers = loaded.subscribers,
            profiles = loaded.profiles,
            nases = loaded.nases.len(),
            refused = loaded.refused,
            took = ?begun.elapsed(),
            "the subscribers are loaded"
        );
        self.take_loaded(&loaded);
        let is_behind = !self.desk.pending.has_all_of_before();
        let mut rest = pin!(self.take_rest(&state));
        let taken = timeout(REST, &mut rest).await;
        self.open_desk();
        // Before, logins wait for it.
        state.give_way();
        let leases = match taken {
            Ok(leases) => leases,
            Err(_) => rest.await,
        };
        let (again, wanted) = watch::channel(());
        if self.is_alone() {
            again.send_replace(());
        }
        let changed = |changed| self.take(changed, &state, &again);
        tokio::join!(
            leases.run(),
            state.follow(
                &self.dictionary,
                &self.desk.base,
                Some(&leases),
                loaded.position,
                changed
            ),
            hear_behind(is_behind, &self.desk.pending, &again),
            self.hear_again(&state, wanted),
            self.keep_copy(&state),
            self.fill(left),
            keep_image(&state, &file),
            self.watch_schema(&state),
        );
    }

    /// Reads all subscribers out of the database, however often it takes, and keeps them for the next start.
    async fn load(&self, state: &State, file: &Path) -> Loaded {
        let load = || state.load_and_keep(&self.dictionary, &self.desk.base, file);
        match load().await {
            Ok(loaded) => loaded,
            Err(reason) => {
                warn!(%reason, "the subscribers can't be loaded; trying again");
                self.problems.lock().database = Some(reason.to_string());
                // A right may be missing, or it went away again.
                if !self.desk.is_ready() {
                    self.load_copy().await;
                }
                self.persist("loading the subscribers", load).await
            }
        }
    }

    /// Begins with the subscribers that an earlier process has kept, each of whom is fetched when he is asked for, and what was
    /// changed since; none if that can't be done.
    async fn load_image(&self, state: &State, file: &Path) -> Option<(Loaded, Rest)> {
        let base = &self.desk.base;
        let loaded = match state.load_image(&self.dictionary, base, file).await {
            Ok(loaded) => loaded,
            Err(reason) => {
                warn!(%reason, "the kept subscribers can't be used");
                None
            }
        };
        let (mut loaded, left) = loaded?;
        let from = loaded.position.clone();
        let mut take = |changed| match changed {
            Changed::Everything(anew) => loaded = *anew,
            Changed::Nases(nases) => loaded.nases = nases,
            // They are in the base, and what else there is is read later.
            _ => {}
        };
        // What fails is tried again by whoever follows, from the same position: until then they are as they were an hour ago.
        let caught_up = state.catch_up_but_sessions(&self.dictionary, base, &from, &mut take);
        if let Ok(position) = caught_up.await {
            loaded.position = position;
        }
        Some((loaded, left))
    }

    /// Puts those who were not asked for yet into the base, when nothing else wants the processor.
    async fn fill(&self, left: Option<Rest>) {
        let Some(left) = left else { return };
        let begun = Instant::now();
        // Whoever gives this up ends it.
        let (alive, given_up) = watch::channel(());
        let (sender, filled) = oneshot::channel();
        let stop = move || given_up.has_changed().is_err();
        let work = move || {
            // Where this was given up nobody hears it.
            let _ = sender.send(left.fill(&|| give_way(WAITS), &stop));
        };
        let thread = thread::Builder::new().name("radius-filling".to_owned());
        if let Err(error) = thread.spawn(work) {
            warn!(%error, "each subscriber is fetched when he is asked for: the system has no more threads");
            return;
        }
        match filled.await {
            Ok(Some(loaded)) => {
                info!(subscribers = loaded.subscribers, took = ?begun.elapsed(), "all subscribers are in memory");
                self.take_problems(&loaded);
            }
            Ok(None) => {}
            Err(_) => {
                error!(
                    "putting the subscribers into memory caused a panic; please report it. Each is fetched when he is asked for"
                );
            }
        }
        drop(alive);
    }

    /// Puts into force what was loaded besides the subscribers.
    fn take_loaded(&self, loaded: &Loaded) {
        // Until now nobody knew who has a credit.
        self.desk.spent.retain(|user| self.desk.has_credit(user));
        self.take_nases(loaded.nases.clone());
        self.take_problems(loaded);
    }

    /// What logins want besides: something of the pools, and to know who is online elsewhere.
    async fn take_rest(&self, state: &State) -> Leases {
        let leases = self.begin_leases(state).await;
        self.desk.set_leases(leases.clone());
        // Where there can be no others, whoever wrote as one is heard of later.
        let others = !self.is_alone();
        self.persist("reading other servers' sessions", || self.hear_all(state, others)).await;
        leases
    }

    /// Reads anew what the database has of sessions: those of other servers, if they are wanted, and up to where all are off
    /// credits.
    async fn hear_all(&self, state: &State, others: bool) -> Result<(), StateError> {
        let read = self.desk.others.begin();
        if others {
            hear_others(state, &self.desk, &read).await?;
        }
        read.charge(&[], state.charged_sessions().await?);
        self.desk.others.replace(read, state.server());
        Ok(())
    }

    async fn hear_again(&self, state: &State, mut wanted: watch::Receiver<()>) {
        while wanted.changed().await.is_ok() {
            let mut backoff = Backoff::default();
            while let Err(reason) = self.hear_all(state, true).await {
                let wait = backoff.failed(rand::random());
                warn!(%reason, "other servers' sessions can't be read; trying again");
                sleep(wait).await;
            }
        }
    }

    /// Whether no other server can have this database.
    fn is_alone(&self) -> bool {
        matches!(self.config.lock().state.location, StateLocation::Embedded(_))
    }

    /// Has requests answered.
    fn open_desk(&self) {
        self.desk.open();
        for mailbox in &self.mailboxes {
            mailbox.ring();
        }
    }

    /// Where the copy of a database elsewhere lies.
    fn copy(&self) -> Option<PathBuf> {
        let state = &self.config.lock().state;
        match &state.location {
            StateLocation::Embedded(_) => None,
            StateLocation::Postgres(_) | StateLocation::File(_) => state.copy.clone(),
        }
    }

    /// Begins with the copy, as the database is away.
    async fn load_copy(&self) {
        let Some(file) = self.copy() else { return };
        let Some((loaded, made)) = kept::load(&self.dictionary, &self.desk.base, &file).await
        else {
            return;
        };
        warn!(
            age = ?made.elapsed().unwrap_or_default(),
            subscribers = loaded.subscribers,
            "the database is away: answering from the copy of it"
        );
        self.take_loaded(&loaded);
        self.desk.others.charge(self.charges_of_copy(kept::charges(&file)));
        self.open_desk();
    }

    /// Up to where open sessions are off the credits that the copy has: as it was noted with the copy; or if that was not done,
    /// as far as they have come by now. What ended since, or is told to other servers, nobody can know.
    fn charges_of_copy(&self, noted: Option<Vec<Charged>>) -> Vec<Charged> {
        let Desk { sessions, spent, .. } = &*self.desk;
        let wall = Wall::now();
        let Some(mut noted) = noted else {
            let mut all = Vec::new();
            sessions.for_each_open(wall.moment(), |view| {
                if self.desk.has_credit(&view.subscriber)
                    && let Ok(user) = String::from_utf8(view.subscriber)
                {
                    let seconds = view.seconds.into();
                    let octets = view.octets_in.saturating_add(view.octets_out);
                    let updated = view.updated.into();
                    all.push(Charged { user, id: view.id, seconds, octets, updated });
                }
                true
            });
            return all;
        };
        noted.retain(|charged| {
            let user = charged.user.as_bytes();
            let open = sessions.sessions_of(user, MOST_SESSIONS, wall.moment());
            open.iter().any(|session| session.id == charged.id)
                || spent.of(user).iter().any(|part| part.id == Some(charged.id))
        });
        noted
    }

    /// Makes the copy anew now and then.
    async fn keep_copy(&self, state: &State) {
        sleep(FIRST_COPY).await;
        while let Some(file) = self.copy() {
            match kept::copy(state, &file).await {
                Ok(subscribers) => {
                    info!(subscribers, file = %file.display(), "the database is copied")
                }
                Err(reason) => {
                    warn!(%reason, "the database can't be copied; the copy of before stays")
                }
            }
            sleep(COPY).await;
        }
    }

    fn take(&self, changed: Changed, state: &State, again: &watch::Sender<()>) {
        match changed {
            // They are in the base, and leases find pools by themselves.
            Changed::Subscribers(_) | Changed::Profiles | Changed::Pools => {}
            Changed::Nases(entries) => self.take_nases(entries),
            Changed::Everything(loaded) => {
                self.take_problems(&loaded);
                // What became of sessions meanwhile may have been passed over.
                again.send_replace(());
            }
            Changed::ManySessions => {
                again.send_replace(());
            }
            Changed::Sessions(sessions) => {
                let leases = self.desk.leases();
                for session in &sessions {
                    self.take_end(session);
                    leases.iter().for_each(|leases| leases.hear_open(session));
                }
                self.desk.others.hear(Changed::Sessions(sessions), state.server());
            }
            changed @ (Changed::Charged { .. } | Changed::SessionsGone(_)) => {
                self.desk.others.hear(changed, state.server());
            }
            Changed::Current => self.desk.spent.looked(),
        }
    }

    /// What the database has of an ended session is off its subscriber's credit.
    fn take_end(&self, session: &SessionEntry) {
        let Some(id) = session.session_id().filter(|_| session.state != SessionState::Open) else {
            return;
        };
        let number = |number: i64| number.max(0).cast_unsigned();
        let octets = number(session.octets_in).saturating_add(number(session.octets_out));
        let off = Used { seconds: number(session.session_time), octets };
        self.desk.spent.hear(session.user.as_bytes(), id, off);
    }
}

/// The latest problems of rows, at most so many as a status tells.
fn latest(problems: &[String]) -> Vec<String> {
    let more = problems.len().saturating_sub(MOST_PROBLEMS);
    let mut latest: Vec<String> = problems.iter().skip(more).cloned().collect();
    if more > 0 {
        latest.push(format!("of {more} more rows of the database something is wrong: see the log"));
    }
    latest
}

/// Reads the open sessions of other servers.
async fn hear_others(state: &State, desk: &Desk, read: &Elsewhere) -> Result<(), StateError> {
    let mut own = HashSet::new();
    desk.sessions.for_each_open(Wall::now().moment(), |view| {
        own.insert(view.id);
        true
    });
    let leases = desk.leases();
    let hear = |session: SessionEntry| {
        leases.iter().for_each(|leases| leases.hear_open(&session));
        if let Some(id) = session.session_id() {
            own.remove(&id);
        }
        read.hear(&session, state.server());
    };
    state.each_open_elsewhere(hear).await?;
    if !own.is_empty() {
        let known = |id| {
            own.remove(&id);
        };
        state.each_open_here(known).await?;
    }
    // Of those that the table has open and the database has not, another server may have been told the end.
    let left: Vec<SessionId> = own.into_iter().collect();
    state.each_ended_session(&left, |session| read.hear(&session, state.server())).await
}

/// Where the table was behind the journal when it was asked which sessions it has open: asks for it once more when it has them
/// all, since what it took meanwhile may have ended at another server before.
async fn hear_behind(is_behind: bool, pending: &Pending, again: &watch::Sender<()>) {
    if !is_behind {
        return;
    }
    while !pending.has_all_of_before() {
        sleep(LOOK).await;
    }
    again.send_replace(());
}

/// Addresses that requests of this machine to itself may come from.
pub(crate) fn own_addresses(config: &RadiusConfig) -> Vec<std::net::IpAddr> {
    let all = config.auth.iter().chain(&config.acct).map(|address| address.ip().to_canonical());
    all.filter(|address| !address.is_unspecified()).collect()
}

fn nas(entry: NasEntry) -> NasConfig {
    NasConfig {
        name: entry.name,
        prefix: entry.prefix,
        secret: entry.secret,
        next_secret: entry.next_secret,
        telco: entry.telco,
        groups: entry.groups,
        message_authenticator: if entry.relaxed {
            MessageAuthenticator::Optional
        } else {
            MessageAuthenticator::Required
        },
        coa_port: entry.coa_port,
    }
}

/// Where subscribers are kept for the next start: beside the journal.
fn image_file(config: &RadiusConfig) -> PathBuf {
    config.journal.folder.with_file_name("subscribers")
}

/// Keeps subscribers for the next start, again and again.
async fn keep_image(state: &State, file: &Path) {
    loop {
        sleep(IMAGE).await;
        match state.write_image(file).await {
            Ok(subscribers) => debug!(subscribers, "the subscribers are kept for the next start"),
            Err(reason) => {
                warn!(%reason, file = %file.display(), "the subscribers can't be kept for the next start, which will take longer");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_the_table_takes_late_is_asked_about_again() {
        let (again, wanted) = watch::channel(());
        let pending = Pending::new([1, 2]);
        pending.applied(3);
        pending.begins(5);
        assert!(!pending.has_all_of_before());
        hear_behind(false, &pending, &again).await;
        assert!(!wanted.has_changed().unwrap(), "it was not behind then");
        let mut waiting = pin!(hear_behind(true, &pending, &again));
        pending.applied(4);
        assert!(timeout(3 * LOOK, &mut waiting).await.is_err(), "it is still behind");
        assert!(!wanted.has_changed().unwrap());
        pending.applied(5);
        waiting.await;
        assert!(wanted.has_changed().unwrap());
    }
}
