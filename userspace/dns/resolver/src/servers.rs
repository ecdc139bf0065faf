//! What is known of servers: how fast they are, what they can't do, which zones they don't serve after all.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use hickory_proto::rr::Name;
use parking_lot::Mutex;
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::time::Instant;

/// Patience with a server that was never heard of: most of the world is nearer.
pub(crate) const FIRST_PATIENCE: Duration = Duration::from_millis(200);

/// Least and most patience before another server is asked as well.
const LEAST_PATIENCE: Duration = Duration::from_millis(80);
const MOST_PATIENCE: Duration = Duration::from_millis(400);

/// Seconds that a server in doubt is put behind others for each reason there is.
const DOUBT_PENALTY: f64 = 0.4;

/// Timeouts in a row after which a server rests.
const TIMEOUTS_BEFORE_REST: u32 = 2;

/// Rests of a silent server: doubled from the first to the last.
const FIRST_REST: Duration = Duration::from_secs(1);
const LAST_REST: Duration = Duration::from_secs(10);

/// After this time a silent server is tried beside others again: one that had answered before, and may have lost one
/// message, and others.
const SHORT_PROBATION: Duration = Duration::from_secs(5);
const PROBATION: Duration = Duration::from_secs(60);

/// How long it is remembered that a server doesn't serve a zone, or doesn't know EDNS, or doesn't keep letter case.
const LAME_FOR: Duration = Duration::from_secs(300);
const HABIT_FOR: Duration = Duration::from_secs(900);

/// Seconds that a lame server is put behind all others: it is asked again only if there's nobody else.
const LAME_PENALTY: f64 = 100.0;

/// The same for servers of a family that is cut off: a box without IPv6 is not to spend its queries on that.
const CUT_OFF_PENALTY: f64 = 50.0;

/// Answers in a row without the letter case of the question, after which it's not expected.
const CASE_LOSSES: u8 = 3;

/// Queries under way to one server at a time.
const MAX_IN_FLIGHT: u32 = 512;

/// Questions that wait for busy servers of one zone at a time.
const MAX_WAITING: u32 = 2_048;

/// Most servers and lame pairs that are remembered.
const MAX_REMEMBERED: usize = 50_000;

/// Memory of servers.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    known: Mutex<HashMap<SocketAddr, Server>>,
    lame: Mutex<HashMap<(Name, SocketAddr), Instant>>,
    /// IPv4 and IPv6: how many sends in a row were in vain, over all servers.
    in_vain: [AtomicU32; 2],
    /// Queries under way to servers that are not known to be alive.
    unproven: Arc<AtomicUsize>,
    /// Questions that wait until a zone's servers are less busy.
    waiting: Arc<Mutex<HashMap<Name, u32>>>,
}

/// Sends in vain in a row after which a family counts as cut off: it comes after the other until one gets through.
const CUT_OFF: u32 = 8;

#[derive(Debug)]
struct Server {
    /// Smoothed round trip and its deviation (RFC 6298), in seconds.
    trip: Option<(f64, f64)>,
    /// Since when something was asked and nothing came, whatever was asked since.
    waiting_since: Option<Instant>,
    heard_at: Option<Instant>,
    /// Sends in a row that nothing came back for, however late.
    timeouts: u32,
    /// When its last rest began and ends, if it was not heard of since.
    rested_at: Option<Instant>,
    rests_until: Option<Instant>,
    last_silence: Option<Instant>,
    without_edns: Option<Instant>,
    without_case: Option<Instant>,
    /// How often in a row the letter case was lost.
    case_losses: u8,
    ever_answered: bool,
    in_flight: Arc<AtomicU32>,
    touched: Instant,
}

impl Server {
    fn new(now: Instant) -> Self {
        Self {
            trip: None,
            waiting_since: None,
            heard_at: None,
            timeouts: 0,
            rested_at: None,
            rests_until: None,
            last_silence: None,
            without_edns: None,
            without_case: None,
            case_losses: 0,
            ever_answered: false,
            in_flight: Arc::default(),
            touched: now,
        }
    }

    fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) >= MAX_IN_FLIGHT
    }

    /// How long most of its answers take.
    fn patience(&self) -> Duration {
        match self.trip {
            None => FIRST_PATIENCE,
            Some((smooth, deviation)) => {
                Duration::from_secs_f64((smooth + 4.0 * deviation).clamp(0.0, 10.0))
                    .clamp(LEAST_PATIENCE, MOST_PATIENCE)
            }
        }
    }

    /// It was asked, and has not answered anything for longer than its answers take.
    fn is_overdue(&self, now: Instant) -> bool {
        self.waiting_since.is_some_and(|since| since + self.patience() <= now)
    }

    fn in_doubt(&self, now: Instant) -> bool {
        self.timeouts > 0 || self.is_overdue(now)
    }

    /// It was silent often, and is left alone; when the rest is over one question at a time finds out whether it is
    /// back.
    fn rests(&self, now: Instant) -> bool {
        self.rests_until
            .is_some_and(|until| until > now || self.in_flight.load(Ordering::Relaxed) > 0)
    }

    fn rest(&mut self, now: Instant, doublings: u32) {
        let rest = FIRST_REST.saturating_mul(1 << doublings.min(8)).min(LAST_REST);
        self.rested_at = Some(now);
        self.rests_until = Some(now + rest);
    }
}

/// What a query to a server has to heed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Habits {
    pub(crate) edns: bool,
    pub(crate) case: bool,
    /// Wait this long before others are asked as well.
    pub(crate) patience: Duration,
    /// Whether it ever answered anything.
    pub(crate) proven: bool,
    /// Whether it answered lately, or has nothing to answer.
    pub(crate) alive: bool,
}

/// Whom to ask.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Choice {
    pub(crate) address: SocketAddr,
    /// It was silent lately, or is asked to find out how it does: ask another at the same time.
    pub(crate) doubtful: bool,
}

/// How a candidate stands.
struct Rank {
    address: SocketAddr,
    /// About the seconds that its answer takes.
    score: f64,
    /// It answered the last time.
    proven: bool,
    /// It was silent the last time.
    doubt: bool,
    /// It may be asked out of curiosity.
    worth_a_try: bool,
}

/// Nothing if the candidate is not to be asked now.
fn rank(
    address: SocketAddr,
    server: Option<&mut Server>,
    now: Instant,
    rng: &mut StdRng,
) -> Option<Rank> {
    // Those that were never asked come first, so that it is soon known who is good.
    let unknown = rng.random_range(0.0..0.001);
    let Some(server) = server else {
        return Some(Rank {
            address,
            score: unknown,
            proven: false,
            doubt: false,
            worth_a_try: true,
        });
    };
    if server.is_busy() || server.rests(now) {
        return None;
    }
    let doubt = server.in_doubt(now);
    let reasons = server.timeouts + u32::from(server.is_overdue(now));
    let trip = match &mut server.trip {
        Some((smooth, _)) => {
            // Those not chosen look faster each time, until they are tried again.
            *smooth *= 0.98;
            *smooth
        }
        None if server.in_flight.load(Ordering::Relaxed) == 0 => unknown,
        // Somebody is finding out already.
        None => 2.0 * FIRST_PATIENCE.as_secs_f64() + unknown,
    };
    // Those in doubt get a new chance after a while only.
    let probation =
        if server.ever_answered && server.timeouts < 2 { SHORT_PROBATION } else { PROBATION };
    let since = server.last_silence.max(server.waiting_since);
    let worth_a_try = !doubt || since.is_none_or(|since| since + probation <= now);
    Some(Rank {
        address,
        score: trip + DOUBT_PENALTY * f64::from(reasons),
        proven: server.trip.is_some() && !doubt,
        doubt,
        worth_a_try,
    })
}

/// Of how many choices one is made out of curiosity.
const EXPLORE_ONE_IN: u32 = 20;

/// A place among the queries to servers that are not known to be alive, given back when dropped.
#[derive(Debug)]
pub(crate) struct Unproven(Arc<AtomicUsize>);

impl Drop for Unproven {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A place among those who wait for a zone's servers, given back when dropped.
#[derive(Debug)]
pub(crate) struct Waiting {
    zone: Name,
    all: Arc<Mutex<HashMap<Name, u32>>>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut all = self.all.lock();
        if let Some(count) = all.get_mut(&self.zone) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.zone);
            }
        }
    }
}

/// A place in a server's queue, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicU32>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Servers {
    /// Chooses whom of the candidates to ask: mostly the fastest, now and then another, so that a server that became
    /// fast is found. Those that are lame for the zone come last, and those that rest not at all.
    pub(crate) fn choose(
        &self,
        zone: &Name,
        candidates: &[SocketAddr],
        rng: &mut StdRng,
    ) -> Option<Choice> {
        let now = Instant::now();
        let mut ranks: Vec<Rank> = Vec::with_capacity(candidates.len());
        {
            let mut known = self.known.lock();
            let lame = self.lame.lock();
            for address in candidates {
                let rank = rank(*address, known.get_mut(address), now, rng);
                let Some(mut rank) = rank else { continue };
                if lame.get(&(zone.clone(), *address)).is_some_and(|until| *until > now) {
                    rank.score += LAME_PENALTY;
                    rank.worth_a_try = false;
                }
                if self.family(*address).load(Ordering::Relaxed) >= CUT_OFF {
                    rank.score += CUT_OFF_PENALTY;
                }
                ranks.push(rank);
            }
        }
        let best = ranks.iter().min_by(|one, other| one.score.total_cmp(&other.score))?;
        let proven = ranks.iter().any(|rank| rank.proven);
        let mut chosen = best;
        if rng.random_range(0..EXPLORE_ONE_IN) == 0 {
            let others: Vec<&Rank> = ranks.iter().filter(|rank| rank.worth_a_try).collect();
            if let Some(other) = others.get(rng.random_range(0..others.len().max(1))) {
                chosen = other;
            }
        }
        let explored = chosen.address != best.address;
        Some(Choice {
            address: chosen.address,
            // Nobody is to wait for a try, as long as there's somebody who is known to answer.
            doubtful: explored || chosen.doubt || (proven && !chosen.proven),
        })
    }

    /// Whether one of these would be asked, were there not so many queries under way to it.
    pub(crate) fn any_busy(&self, candidates: &[SocketAddr]) -> bool {
        let known = self.known.lock();
        candidates.iter().any(|address| known.get(address).is_some_and(Server::is_busy))
    }

    /// Whether all candidates rest because of silence.
    pub(crate) fn all_rest(&self, candidates: &[SocketAddr]) -> bool {
        let now = Instant::now();
        let known = self.known.lock();
        !candidates.is_empty()
            && candidates
                .iter()
                .all(|address| known.get(address).is_some_and(|server| server.rests(now)))
    }

    /// Takes a place among those who wait for a zone's servers, if there is one left.
    pub(crate) fn wait_for(&self, zone: &Name) -> Option<Waiting> {
        let mut all = self.waiting.lock();
        let count = all.entry(zone.clone()).or_default();
        if *count >= MAX_WAITING {
            return None;
        }
        *count += 1;
        Some(Waiting { zone: zone.clone(), all: self.waiting.clone() })
    }

    /// Takes a place among the queries to servers that are not known to be alive, if there are fewer than `limit`.
    pub(crate) fn try_unproven(&self, limit: usize) -> Option<Unproven> {
        self.unproven
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                (count < limit).then_some(count + 1)
            })
            .ok()
            .map(|_| Unproven(self.unproven.clone()))
    }

    /// Takes a place in the server's queue, and tells what to heed. `at_once` if the query needs not wait for a
    /// socket: only then the time to the answer is the server's.
    pub(crate) fn enter(&self, address: SocketAddr, at_once: bool) -> (Place, Habits) {
        let now = Instant::now();
        let mut known = self.known.lock();
        make_room(&mut known);
        let server = known.entry(address).or_insert_with(|| Server::new(now));
        server.touched = now;
        server.in_flight.fetch_add(1, Ordering::Relaxed);
        let habits = Habits {
            edns: server.without_edns.is_none_or(|until| until <= now),
            case: server.without_case.is_none_or(|until| until <= now),
            patience: server.patience(),
            proven: server.ever_answered,
            alive: server.ever_answered && !server.in_doubt(now),
        };
        if at_once {
            server.waiting_since.get_or_insert(now);
        }
        (Place(server.in_flight.clone()), habits)
    }

    /// An answer came after this time.
    pub(crate) fn answered(&self, address: SocketAddr, trip: Duration) {
        self.family(address).store(0, Ordering::Relaxed);
        self.with(address, |server| {
            let sample = trip.as_secs_f64();
            server.trip = Some(match server.trip {
                None => (sample, sample / 2.0),
                Some((smooth, deviation)) => (
                    0.875 * smooth + 0.125 * sample,
                    0.75 * deviation + 0.25 * (smooth - sample).abs(),
                ),
            });
            server.waiting_since = None;
            server.heard_at = Some(Instant::now());
            server.timeouts = 0;
            server.rested_at = None;
            server.rests_until = None;
            server.ever_answered = true;
        });
    }

    /// No answer came to what was sent then. True if the server rests from now on.
    pub(crate) fn silent(&self, address: SocketAddr, sent: Instant) -> bool {
        let mut rests = false;
        self.with(address, |server| {
            // One message was lost, or it belongs to an outage that is known.
            let later = |at: Option<Instant>| at.is_some_and(|at| at > sent);
            if later(server.heard_at) || later(server.rested_at) {
                return;
            }
            let now = Instant::now();
            server.timeouts = (server.timeouts + 1).min(16);
            server.last_silence = Some(now);
            if let Some(doublings) = server.timeouts.checked_sub(TIMEOUTS_BEFORE_REST) {
                server.rest(now, doublings);
                rests = true;
            }
        });
        self.in_vain(address);
        rests
    }

    /// The server refuses connections or can't be reached, as what was sent then shows.
    pub(crate) fn unreachable(&self, address: SocketAddr, sent: Instant) {
        self.with(address, |server| {
            if server.rested_at.is_some_and(|at| at > sent) {
                return;
            }
            let now = Instant::now();
            server.timeouts = (server.timeouts + 1).min(16);
            server.last_silence = Some(now);
            server.rest(now, server.timeouts - 1);
        });
        self.in_vain(address);
    }

    /// The server does not know EDNS.
    pub(crate) fn knows_no_edns(&self, address: SocketAddr) {
        self.with(address, |server| server.without_edns = Some(Instant::now() + HABIT_FOR));
    }

    /// An answer over UDP kept the letter case, or lost it. Lost often enough in a row it is a habit: a forger who
    /// guesses right but for letter case is not to turn that defence off.
    pub(crate) fn case(&self, address: SocketAddr, kept: bool) {
        self.with(address, |server| {
            server.case_losses = if kept { 0 } else { server.case_losses.saturating_add(1) };
            if server.case_losses >= CASE_LOSSES {
                server.without_case = Some(Instant::now() + HABIT_FOR);
            }
        });
    }

    /// The server does not serve the zone.
    pub(crate) fn is_lame(&self, zone: &Name, address: SocketAddr) {
        let now = Instant::now();
        let mut lame = self.lame.lock();
        if lame.len() >= MAX_REMEMBERED {
            lame.retain(|_, until| *until > now);
            // Else each further one would look at all again.
            if lame.len() > MAX_REMEMBERED / 2 {
                lame.clear();
            }
        }
        lame.insert((zone.clone(), address), now + LAME_FOR);
    }

    /// Forgets which servers are lame for the zone and those below.
    pub(crate) fn flush_zone(&self, zone: &Name) {
        self.lame.lock().retain(|(name, _), _| !zone.zone_of(name));
    }

    /// The server is asked with EDNS again: without, it does not send signatures.
    pub(crate) fn may_know_edns(&self, address: SocketAddr) {
        self.with(address, |server| server.without_edns = None);
    }

    /// How many servers are remembered.
    pub(crate) fn len(&self) -> usize {
        self.known.lock().len()
    }

    fn family(&self, address: SocketAddr) -> &AtomicU32 {
        let [v4, v6] = &self.in_vain;
        if address.is_ipv4() { v4 } else { v6 }
    }

    fn in_vain(&self, address: SocketAddr) {
        let family = self.family(address);
        // It needn't be exact, but must not wrap.
        if family.load(Ordering::Relaxed) < CUT_OFF {
            family.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn with(&self, address: SocketAddr, change: impl FnOnce(&mut Server)) {
        let now = Instant::now();
        let mut known = self.known.lock();
        make_room(&mut known);
        change(known.entry(address).or_insert_with(|| Server::new(now)));
    }
}

fn make_room(known: &mut HashMap<SocketAddr, Server>) {
    if known.len() < MAX_REMEMBERED {
        return;
    }
    // The older half goes; that is rare, and costs little for each server.
    let mut ages: Vec<Instant> = known.values().map(|server| server.touched).collect();
    let middle = ages.len() / 2;
    let (_, middle, _) = ages.select_nth_unstable(middle);
    let middle = *middle;
    known.retain(|_, server| server.touched > middle);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 53))
    }

    fn choose(
        servers: &Servers,
        zone: &Name,
        candidates: &[SocketAddr],
        rng: &mut StdRng,
    ) -> Option<SocketAddr> {
        servers.choose(zone, candidates, rng).map(|choice| choice.address)
    }

    fn count(servers: &Servers, candidates: &[SocketAddr], whom: SocketAddr) -> usize {
        let mut rng = StdRng::seed_from_u64(7);
        (0..100)
            .filter(|_| choose(servers, &Name::root(), candidates, &mut rng) == Some(whom))
            .count()
    }

    #[tokio::test(start_paused = true)]
    async fn the_fastest_is_preferred_and_others_are_tried() {
        let servers = Servers::default();
        let all = [address(1), address(2)];
        servers.answered(all[0], Duration::from_millis(20));
        servers.answered(all[1], Duration::from_millis(200));
        let mut rng = StdRng::seed_from_u64(1);
        assert_eq!(choose(&servers, &Name::root(), &all, &mut rng), Some(all[0]));
        let fast = (0..300)
            .filter(|_| {
                let chosen = choose(&servers, &Name::root(), &all, &mut rng);
                if chosen == Some(all[0]) {
                    servers.answered(all[0], Duration::from_millis(20));
                } else {
                    servers.answered(all[1], Duration::from_millis(200));
                }
                chosen == Some(all[0])
            })
            .count();
        assert!((200..300).contains(&fast), "{fast}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_silent_rest_and_come_back() {
        let servers = Servers::default();
        let all = [address(1), address(2)];
        assert!(!servers.silent(all[0], Instant::now()));
        assert!(servers.silent(all[0], Instant::now()));
        assert_eq!(count(&servers, &all, all[0]), 0);
        assert!(!servers.all_rest(&all));
        assert!(servers.all_rest(&all[..1]));
        tokio::time::advance(FIRST_REST).await;
        assert!(count(&servers, &all[..1], all[0]) > 0);
        {
            let _probe = servers.enter(all[0], true);
            assert!(servers.all_rest(&all[..1]), "one finds out whether it is back");
        }
        servers.answered(all[0], Duration::from_millis(10));
        let before = Instant::now();
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!servers.silent(all[0], Instant::now()));
        for _ in 0..40 {
            servers.silent(all[0], Instant::now());
        }
        assert!(!servers.silent(all[0], before), "the outage is known");
        tokio::time::advance(LAST_REST).await;
        assert!(!servers.all_rest(&all[..1]), "no rest is longer than the last");
    }

    #[tokio::test(start_paused = true)]
    async fn lame_for_one_zone_only_and_for_a_while() {
        let servers = Servers::default();
        let zone = Name::from_ascii("a.").unwrap();
        let mut rng = StdRng::seed_from_u64(1);
        servers.is_lame(&zone, address(1));
        servers.answered(address(2), Duration::from_secs(1));
        let all = [address(1), address(2)];
        for _ in 0..100 {
            assert_eq!(choose(&servers, &zone, &all, &mut rng), Some(address(2)));
        }
        assert_eq!(
            choose(&servers, &zone, &all[..1], &mut rng),
            Some(address(1)),
            "for want of others"
        );
        assert!(count(&servers, &all, address(1)) > 50, "another zone");
        tokio::time::advance(LAME_FOR).await;
        servers.answered(address(1), Duration::from_millis(1));
        servers.answered(address(2), Duration::from_secs(9));
        let mut rng = StdRng::seed_from_u64(2);
        assert_eq!(choose(&servers, &zone, &all, &mut rng), Some(address(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn lame_servers_are_learnt_however_many_there_are() {
        let servers = Servers::default();
        for number in 0..MAX_REMEMBERED {
            let zone = Name::from_ascii(format!("n{number}.")).unwrap();
            servers.is_lame(&zone, address(1));
        }
        assert_eq!(servers.lame.lock().len(), MAX_REMEMBERED);
        let zone = Name::from_ascii("a.").unwrap();
        servers.is_lame(&zone, address(2));
        let lame = servers.lame.lock();
        assert!(lame.contains_key(&(zone, address(2))));
        assert!(lame.len() < MAX_REMEMBERED / 2, "cleaning is not due again at once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_family_that_is_cut_off_comes_last() {
        let servers = Servers::default();
        let all: Vec<SocketAddr> = vec![address(1), "[2001:db8::1]:53".parse().unwrap()];
        assert!(count(&servers, &all, all[1]) > 20);
        for last in 0..CUT_OFF {
            let other = format!("[2001:db8::2:{last}]:53").parse().unwrap();
            servers.unreachable(other, Instant::now());
        }
        assert!(count(&servers, &all, all[1]) < 10);
        assert!(count(&servers, &all[1..], all[1]) > 90, "for want of others");
        servers.answered("[2001:db8::3]:53".parse().unwrap(), Duration::from_millis(9));
        assert!(count(&servers, &all, all[1]) > 20);
    }

    #[tokio::test(start_paused = true)]
    async fn patience_follows_the_round_trip() {
        let servers = Servers::default();
        assert_eq!(servers.enter(address(1), true).1.patience, FIRST_PATIENCE);
        for (trip, patience) in [(10, LEAST_PATIENCE), (5_000, MOST_PATIENCE)] {
            for _ in 0..50 {
                servers.answered(address(1), Duration::from_millis(trip));
            }
            assert_eq!(servers.enter(address(1), true).1.patience, patience);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_overdue_is_asked_beside_others_until_it_answers() {
        let servers = Servers::default();
        let all = [address(1), address(2)];
        servers.answered(all[0], Duration::from_millis(10));
        servers.answered(all[1], Duration::from_millis(200));
        let _place = servers.enter(all[0], true);
        assert!(count(&servers, &all, all[0]) > 80);
        tokio::time::advance(LEAST_PATIENCE).await;
        assert_eq!(count(&servers, &all, all[0]), 0);
        assert!(!servers.enter(all[0], true).1.alive);
        let mut rng = StdRng::seed_from_u64(1);
        let alone = servers.choose(&Name::root(), &all[..1], &mut rng);
        assert_eq!(alone, Some(Choice { address: all[0], doubtful: true }));
        let answer = || {
            servers.answered(all[0], Duration::from_millis(10));
            servers.answered(all[1], Duration::from_millis(200));
        };
        answer();
        assert!(count(&servers, &all, all[0]) > 80);
        // An answer to a later query shows that an earlier one was merely lost.
        let sent = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        answer();
        for _ in 0..3 {
            assert!(!servers.silent(all[0], sent));
        }
        assert!(count(&servers, &all, all[0]) > 80);
        // The wait for a socket of our own is not the server's.
        let _place = servers.enter(all[0], false);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(servers.enter(all[0], false).1.alive);
    }

    #[test]
    fn those_who_wait_and_those_who_try_their_luck_are_bounded() {
        let servers = Servers::default();
        let zone = Name::from_ascii("a.").unwrap();
        let waiting: Vec<_> = (0..MAX_WAITING).map(|_| servers.wait_for(&zone).unwrap()).collect();
        assert!(servers.wait_for(&zone).is_none());
        assert!(servers.wait_for(&Name::root()).is_some());
        drop(waiting);
        assert!(servers.waiting.lock().is_empty());
        let seats = [servers.try_unproven(2), servers.try_unproven(2)];
        assert!(seats.iter().all(Option::is_some) && servers.try_unproven(2).is_none());
        drop(seats);
        assert!(servers.try_unproven(1).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn habits_are_kept_for_a_while() {
        let servers = Servers::default();
        servers.knows_no_edns(address(1));
        for _ in 0..CASE_LOSSES {
            servers.case(address(1), false);
        }
        let habits = servers.enter(address(1), true).1;
        assert!(!habits.edns && !habits.case);
        tokio::time::advance(HABIT_FOR).await;
        let habits = servers.enter(address(1), true).1;
        assert!(habits.edns && habits.case);
        for (kept, expected) in
            [(false, true), (true, true), (false, true), (false, true), (false, false)]
        {
            servers.case(address(2), kept);
            assert_eq!(servers.enter(address(2), true).1.case, expected);
        }
    }
}
