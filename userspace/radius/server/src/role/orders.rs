//! Orders of the operator's about sessions: who is meant, and how it went at their NASes (RFC 5176).

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use muralla_radius_accounting::export::printable;
use muralla_radius_accounting::{SessionId, SessionView};
use muralla_radius_state::{SessionEntry, SessionFilter};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::warn;

use super::{OrderError, Role, Selector};
use crate::config::DynamicConfig;
use crate::desk::Wall;
use crate::dynamic::{self, Target, Wish};
use crate::nases::Nas;
use crate::report::{DynamicOutcome, DynamicVerdict};

/// Time that a look into the database may take for something that can do without.
const GLANCE: Duration = Duration::from_secs(2);

/// Sessions that one order may disconnect or change.
const MOST_TARGETS: usize = 1_000;

impl Role {
    /// Open sessions of the table, at most so many.
    pub(super) fn views(&self, selector: Option<&Selector>, most: usize) -> Vec<SessionView> {
        let now = Wall::now().moment();
        let table = &self.desk.sessions;
        match selector {
            None => {
                let mut views = Vec::new();
                table.for_each_open(now, |view| {
                    views.push(view);
                    views.len() < most
                });
                views.truncate(most);
                views
            }
            Some(Selector::User(user)) => self.views_of(user, most),
            Some(Selector::Session { user, session }) => {
                let mut views = self.views_of(user, MOST_TARGETS + 1);
                views.retain(|view| is_named(session, Some(view.id), &view.session));
                views.truncate(most);
                views
            }
            Some(Selector::Address(address)) => {
                let mut views = table.sessions_with(*address, now);
                views.truncate(most);
                views
            }
            Some(Selector::Nas(nas)) => table.sessions_on(nas, most, now),
        }
    }

    fn views_of(&self, user: &str, most: usize) -> Vec<SessionView> {
        let mut spelling = [0; muralla_radius_policy::names::LONGEST_NAME];
        let name = user.as_bytes();
        let key = self.desk.base.key(name, &mut spelling).unwrap_or(name);
        self.desk.sessions.sessions_of(key, most, Wall::now().moment())
    }

    /// Asks the NASes of all sessions that are meant.
    pub(super) async fn order(
        &self,
        selector: &Selector,
        wish: Wish,
    ) -> Result<Vec<DynamicOutcome>, OrderError> {
        // One more than is asked for tells that there are more.
        let views = self.views(Some(selector), MOST_TARGETS + 1);
        let mut known: HashSet<SessionId> = HashSet::new();
        let mut all = Vec::new();
        for view in &views {
            known.insert(view.id);
            all.push(Aim::of_view(view, self.desk.whereabouts.of(view)));
        }
        for aim in self.aims_elsewhere(selector).await {
            if aim.id.is_none_or(|id| known.insert(id)) {
                all.push(aim);
            }
        }
        if all.is_empty() {
            return Err(OrderError::NoSession);
        }
        let is_cut = all.len() > MOST_TARGETS;
        all.truncate(MOST_TARGETS);
        let context = self.desk.context();
        let config = self.supply.config.lock().dynamic.clone();
        let mut asking = JoinSet::new();
        for aim in all {
            let found = context.nases.reachable(&aim.nas, aim.from, aim.target.nas_address);
            let to = found.map(|(to, nas)| (to, Arc::clone(nas)));
            // A box of another NAS knows nothing of it.
            let at_home = to.as_ref().and_then(|(to, _)| context.nases.of(to.ip()));
            let at_home = at_home.is_some_and(|nas| *nas.name == *aim.nas);
            let id = aim.id.filter(|_| at_home && matches!(wish, Wish::Disconnect));
            let (wish, config) = (wish.clone(), config.clone());
            asking.spawn(async move {
                let (outcome, is_unknown) = ask(aim, to, &wish, &config).await;
                (outcome, id.filter(|_| is_unknown))
            });
        }
        let (mut outcomes, mut over) = (Vec::new(), Vec::new());
        // Only a panic can take one away, and that was told already.
        while let Some(asked) = asking.join_next().await {
            let Ok((outcome, unknown)) = asked else { continue };
            let view = views.iter().find(|view| Some(view.id) == unknown);
            over.extend(view.map(|view| (outcomes.len(), view.clone())));
            outcomes.push(outcome);
        }
        self.end_all(over, &mut outcomes).await;
        if is_cut {
            outcomes.push(cut(selector));
        }
        Ok(outcomes)
    }

    /// Ends sessions here that their NASes say are over, each after the outcome that tells so.
    async fn end_all(&self, over: Vec<(usize, SessionView)>, outcomes: &mut [DynamicOutcome]) {
        let (places, views): (Vec<usize>, Vec<SessionView>) = over.into_iter().unzip();
        let words = match self.end(&views).await {
            Ok(()) => "; it is over, and closed here".to_owned(),
            Err(error) => format!("; it can't be closed here: {error}"),
        };
        for place in places {
            if let Some(outcome) = outcomes.get_mut(place) {
                outcome.words.push_str(&words);
            }
        }
    }

    /// Sessions of which only the database knows: other servers were told of them.
    async fn aims_elsewhere(&self, selector: &Selector) -> Vec<Aim> {
        let Some(state) = self.supply.state() else { return Vec::new() };
        let mut filter = SessionFilter { open: true, ..SessionFilter::default() };
        match selector {
            Selector::User(user) | Selector::Session { user, .. } => {
                let mut spelling = [0; muralla_radius_policy::names::LONGEST_NAME];
                let key = self.desk.base.key(user.as_bytes(), &mut spelling);
                // As rows have it.
                filter.user = Some(printable(key.unwrap_or(user.as_bytes())));
            }
            Selector::Address(address) => filter.address = Some(*address),
            Selector::Nas(nas) => filter.nas = Some(nas.clone()),
        }
        let most = u32::try_from(MOST_TARGETS + 1).unwrap_or(u32::MAX);
        match timeout(GLANCE, state.sessions(&filter, most)).await {
            Ok(Ok(entries)) => {
                // What was told here the table knows better: if it has it not, it has ended.
                let mut others: Vec<_> = entries;
                others.retain(|entry| entry.server != state.server());
                if let Selector::Session { session, .. } = selector {
                    others.retain(|entry| {
                        is_named(session, entry.session_id(), entry.acct_session_id.as_bytes())
                    });
                }
                others.into_iter().map(Aim::of_entry).collect()
            }
            Ok(Err(error)) => {
                warn!(%error, "sessions of other servers can't be asked for");
                Vec::new()
            }
            Err(_) => Vec::new(),
        }
    }
}

/// What is said of sessions that were not asked for, because there were too many.
fn cut(selector: &Selector) -> DynamicOutcome {
    let (mut user, mut nas) = (String::new(), String::new());
    match selector {
        Selector::User(name) | Selector::Session { user: name, .. } => user.clone_from(name),
        Selector::Nas(name) => nas.clone_from(name),
        Selector::Address(_) => {}
    }
    DynamicOutcome {
        user,
        session_id: String::new(),
        nas,
        sent_to: None,
        verdict: DynamicVerdict::Unsent,
        words: format!(
            "there are more sessions than the {MOST_TARGETS} that one order is for, and the others were not asked about: to \
             disconnect again takes the next ones, and a change reaches them by their users"
        ),
        attempts: 0,
        took: Duration::ZERO,
    }
}

/// Whether a session is the one that somebody names, by its id with us or by its Acct-Session-Id.
fn is_named(name: &str, id: Option<SessionId>, acct_session_id: &[u8]) -> bool {
    name.as_bytes() == acct_session_id || name.parse().is_ok_and(|named| id == Some(named))
}

/// A session that something is asked of.
struct Aim {
    id: Option<SessionId>,
    user: String,
    session_id: String,
    nas: String,
    /// Where the box that it is on sends from.
    from: Option<IpAddr>,
    target: Target,
}

impl Aim {
    fn of_view(view: &SessionView, from: Option<IpAddr>) -> Self {
        let some = |bytes: &[u8]| (!bytes.is_empty()).then(|| bytes.to_vec());
        Self {
            id: Some(view.id),
            user: printable(&view.user),
            session_id: printable(&view.session),
            nas: view.nas.clone(),
            from,
            target: Target {
                user: some(&view.user),
                session_id: some(&view.session),
                nas_port: view.nas_port,
                framed: view.framed_address,
                nas_identifier: view.nas_identifier.clone(),
                nas_address: view.nas_address,
            },
        }
    }

    fn of_entry(entry: SessionEntry) -> Self {
        let some = |text: &str| (!text.is_empty()).then(|| text.as_bytes().to_vec());
        Self {
            id: entry.session_id(),
            // It has sent to another server.
            from: None,
            target: Target {
                user: some(&entry.login),
                session_id: some(&entry.acct_session_id),
                framed: entry.address.parse().ok(),
                nas_address: entry.nas_address.parse().ok(),
                ..Target::default()
            },
            user: entry.login,
            session_id: entry.acct_session_id,
            nas: entry.nas,
        }
    }
}

/// Asks the NAS of one session, by its secret in force and then by the one to come. Tells as well whether it knows no such session.
async fn ask(
    aim: Aim,
    to: Option<(SocketAddr, Arc<Nas>)>,
    wish: &Wish,
    config: &DynamicConfig,
) -> (DynamicOutcome, bool) {
    let mut is_unknown = false;
    let mut outcome = DynamicOutcome {
        user: aim.user,
        session_id: aim.session_id,
        nas: aim.nas,
        sent_to: to.as_ref().map(|(to, _)| *to),
        verdict: DynamicVerdict::Unsent,
        words: String::new(),
        attempts: 0,
        took: Duration::ZERO,
    };
    let Some((to, nas)) = to else {
        outcome.words = "nobody knows the address of its NAS: it has sent nothing since the start; give the NAS a prefix of one \
                         address, or have it send NAS-IP-Address"
            .to_owned();
        return (outcome, is_unknown);
    };
    for secret in &nas.secrets {
        let asked = dynamic::ask(to, secret, &aim.target, wish, config).await;
        outcome.verdict = asked.verdict;
        outcome.words = asked.words;
        is_unknown = asked.is_unknown;
        outcome.attempts += asked.attempts;
        outcome.took += asked.took;
        if asked.verdict != DynamicVerdict::Silent {
            break;
        }
    }
    (outcome, is_unknown)
}
