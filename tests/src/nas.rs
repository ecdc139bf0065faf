//! A network access server of the tests' own: it sends what it is told, again when nothing comes back, from one server to
//! the next, and checks what it gets. Nothing in it comes from the product's codec.
//!
//! - [`Nas`]: one port of it, which asks one thing at a time
//! - [`Subscription`]: a subscriber's session on it, from the login to the last record
//! - [`Books`]: what all ports were told, to compare with the database
//! - [`Over`]: when ports that ask for as long as it takes have asked enough

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use muralla_lab::Lab;
use muralla_lab::frames::radius::{
    ACCESS_ACCEPT, ACCESS_REJECT, ACCESS_REQUEST, ACCOUNTING_REQUEST, HEADER, Packet,
    message_authenticator_fits, seal_accounting, verified_response,
};
use muralla_lab::random::Random;
use serde_json::Value;

/// What all NASes share with the servers.
pub const SECRET: &str = "a secret of these tests alone";

/// The password of all subscribers.
pub const PASSWORD: &str = "correct horse";

/// Time after which a request is sent again, unless a test wants another one.
const AGAIN: Duration = Duration::from_millis(1_000);

/// How often a request is sent to one server before the next is asked.
const ATTEMPTS: u32 = 2;

/// When a NAS despairs of all of its servers.
const DESPAIR: Duration = Duration::from_secs(60);

const USER_NAME: u8 = 1;
const NAS_IP_ADDRESS: u8 = 4;
const NAS_PORT: u8 = 5;
const FRAMED_IP_ADDRESS: u8 = 8;
const ACCT_STATUS_TYPE: u8 = 40;
const ACCT_DELAY_TIME: u8 = 41;
const ACCT_INPUT_OCTETS: u8 = 42;
const ACCT_OUTPUT_OCTETS: u8 = 43;
const ACCT_SESSION_ID: u8 = 44;
const ACCT_SESSION_TIME: u8 = 46;
const EVENT_TIMESTAMP: u8 = 55;
const CALLING_STATION_ID: u8 = 31;
const NAS_PORT_ID: u8 = 87;

/// A server, as NASes have it in their configuration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Server {
    /// Where it answers Access-Requests.
    pub auth: SocketAddr,
    /// Where it answers Accounting-Requests.
    pub acct: SocketAddr,
}

/// Servers in the order in which they are asked; all ports of a NAS go on with the one that answered last.
#[derive(Debug)]
pub struct Servers {
    all: Vec<Server>,
    current: AtomicUsize,
}

impl Servers {
    /// Begins with the first of them.
    pub fn new(all: impl Into<Vec<Server>>) -> Self {
        Self { all: all.into(), current: AtomicUsize::new(0) }
    }

    /// The one that is asked, and its number.
    fn current(&self) -> Result<(usize, Server)> {
        let at = self.current.load(Ordering::SeqCst);
        let server = self.all.get(at % self.all.len().max(1));
        Ok((at, *server.context("a NAS without a server")?))
    }

    /// One that is not asked at the moment, if there is one.
    fn other(&self) -> Option<Server> {
        let (at, current) = self.current().ok()?;
        let next = self.all.get((at + 1) % self.all.len().max(1));
        next.copied().filter(|next| *next != current)
    }

    /// That one did not answer. If another port has gone on already, that is enough.
    fn leave(&self, at: usize) {
        let _ = self.current.compare_exchange(at, at + 1, Ordering::SeqCst, Ordering::SeqCst);
    }
}

/// A genuine answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// RADIUS code.
    pub code: u8,
    /// Kinds and values.
    pub attributes: Vec<(u8, Vec<u8>)>,
    /// How often the request was sent.
    pub sendings: u32,
    /// Who gave it.
    pub from: SocketAddr,
}

impl Answer {
    /// Framed-IP-Address.
    pub fn address(&self) -> Option<Ipv4Addr> {
        let (_, value) = self.attributes.iter().find(|(kind, _)| *kind == FRAMED_IP_ADDRESS)?;
        <[u8; 4]>::try_from(&value[..]).ok().map(Ipv4Addr::from)
    }
}

/// A port of a NAS. It asks one thing at a time.
#[derive(Debug)]
pub struct Nas {
    socket: UdpSocket,
    address: Ipv4Addr,
    again: Duration,
    random: Random,
    id: u8,
    /// What it tells of the line besides its number.
    line: Vec<(u8, Vec<u8>)>,
}

impl Nas {
    /// A port of the NAS of that number in the lab.
    ///
    /// # Errors
    /// When there is no such NAS, or the socket can't be made.
    pub fn new(lab: &Lab, number: usize) -> Result<Self> {
        let hosts = lab.nas_hosts(muralla_lab::Family::V4);
        let Some(IpAddr::V4(address)) = hosts.get(number % hosts.len().max(1)).copied() else {
            bail!("the lab has no NAS");
        };
        let socket = lab
            .customers()
            .inside(move || UdpSocket::bind((address, 0)).context("a socket of a NAS"))?;
        let mut random = Random::new();
        Ok(Self {
            socket,
            address,
            again: AGAIN,
            id: random.next_u16() as u8,
            random,
            line: Vec::new(),
        })
    }

    /// The same, but it waits so long before it sends again.
    #[must_use]
    pub const fn patient(mut self, again: Duration) -> Self {
        self.again = again;
        self
    }

    /// The same, but it tells of an interface and of who calls, too.
    #[must_use]
    pub fn telling(mut self, interface: &str, station: &str) -> Self {
        self.line = vec![
            (NAS_PORT_ID, interface.as_bytes().to_vec()),
            (CALLING_STATION_ID, station.as_bytes().to_vec()),
        ];
        self
    }

    /// Its NAS-IP-Address.
    pub const fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Another identifier than the last ones.
    pub const fn next_id(&mut self) -> u8 {
        self.id = self.id.wrapping_add(1);
        self.id
    }

    /// A Request Authenticator.
    pub const fn authenticator(&mut self) -> [u8; 16] {
        self.random.block()
    }

    /// Sends whatever it is.
    ///
    /// # Errors
    /// When the system refuses it.
    pub fn send(&self, to: SocketAddr, bytes: &[u8]) -> Result<()> {
        self.socket.send_to(bytes, to).map(drop).context("sending for a NAS")
    }

    /// Whatever comes next, if it comes within that time.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn receive(&self, within: Duration) -> Result<Option<(Vec<u8>, SocketAddr)>> {
        let mut buffer = [0; 8_192];
        // Zero would mean for ever.
        let within = within.max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(within)).context("setting a timeout")?;
        match self.socket.recv_from(&mut buffer) {
            Ok((length, from)) => {
                Ok(Some((buffer.get(..length).unwrap_or_default().to_vec(), from)))
            }
            Err(error)
                if [ErrorKind::WouldBlock, ErrorKind::TimedOut, ErrorKind::Interrupted]
                    .contains(&error.kind()) =>
            {
                Ok(None)
            }
            Err(error) => Err(error).context("receiving for a NAS"),
        }
    }

    /// Sends a request, the same packet again and again if need be, and waits for its answer; none if none came.
    /// What comes meanwhile for earlier requests is passed over.
    ///
    /// # Errors
    /// When the socket fails, or an answer to a login is without a Message-Authenticator that fits.
    pub fn ask(&self, to: SocketAddr, request: &[u8], attempts: u32) -> Result<Option<Answer>> {
        let head = request.first_chunk::<HEADER>().context("a request without a header")?;
        let [code, id, _, _, authenticator @ ..] = head;
        for sendings in 1..=attempts {
            self.send(to, request)?;
            let until = Instant::now() + self.again;
            loop {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                let Some((answer, from)) = self.receive(left)? else { continue };
                let verified = verified_response(&answer, *id, authenticator, SECRET.as_bytes());
                let Some(answered) = verified.filter(|_| from == to) else { continue };
                if *code == ACCESS_REQUEST {
                    let fits =
                        message_authenticator_fits(&answer, authenticator, SECRET.as_bytes());
                    ensure!(fits == Some(true), "an answer's Message-Authenticator: {fits:?}");
                }
                let attributes = attributes(&answer).context("a broken answer")?;
                return Ok(Some(Answer { code: answered, attributes, sendings, from }));
            }
        }
        Ok(None)
    }

    /// An Access-Request by PAP on a line.
    pub fn login(&mut self, user: &str, port: u32) -> Vec<u8> {
        let packet = Packet::access_request(self.next_id(), self.authenticator());
        let packet = packet
            .attribute(USER_NAME, user.as_bytes())
            .password(SECRET.as_bytes(), PASSWORD)
            .attribute(NAS_IP_ADDRESS, &self.address.octets())
            .attribute(NAS_PORT, &port.to_be_bytes());
        let packet =
            self.line.iter().fold(packet, |packet, (kind, value)| packet.attribute(*kind, value));
        packet.signed(SECRET.as_bytes()).encode()
    }

    /// An Accounting-Request of a session's.
    pub fn record(&mut self, session: &Subscription, status: Status, delay: Duration) -> Vec<u8> {
        let mut packet = Packet::new(ACCOUNTING_REQUEST, self.next_id(), [0; 16])
            .attribute(ACCT_STATUS_TYPE, &status.number().to_be_bytes())
            .attribute(ACCT_SESSION_ID, session.id.as_bytes())
            .attribute(USER_NAME, session.user.as_bytes())
            .attribute(NAS_IP_ADDRESS, &self.address.octets())
            .attribute(NAS_PORT, &session.line.1.to_be_bytes())
            .attribute(EVENT_TIMESTAMP, &(session.begun + status.age()).to_be_bytes())
            .attribute(ACCT_DELAY_TIME, &(delay.as_secs() as u32).to_be_bytes());
        for (kind, value) in &self.line {
            packet = packet.attribute(*kind, value);
        }
        if let Some(address) = session.address {
            packet = packet.attribute(FRAMED_IP_ADDRESS, &address.octets());
        }
        if status != Status::Start {
            let (seconds, octets) = (status.age(), status.octets());
            packet = packet
                .attribute(ACCT_SESSION_TIME, &seconds.to_be_bytes())
                .attribute(ACCT_INPUT_OCTETS, &octets.to_be_bytes())
                .attribute(ACCT_OUTPUT_OCTETS, &(2 * octets).to_be_bytes());
        }
        let mut bytes = packet.encode();
        seal_accounting(&mut bytes, SECRET.as_bytes());
        bytes
    }
}

/// What a record tells.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Status {
    /// The session has begun.
    Start,
    /// It goes on; the number of the update counts from 1.
    Interim(u32),
    /// It has ended, after so many updates.
    Stop(u32),
}

impl Status {
    /// Acct-Status-Type (RFC 2866 section 5.1).
    const fn number(self) -> u32 {
        match self {
            Self::Start => 1,
            Self::Stop(_) => 2,
            Self::Interim(_) => 3,
        }
    }

    /// Seconds of the session: updates are close together, since servers believe no time that is far off.
    const fn age(self) -> u32 {
        match self {
            Self::Start => 0,
            Self::Interim(update) => update,
            Self::Stop(updates) => updates + 1,
        }
    }

    /// Octets from the user so far.
    const fn octets(self) -> u32 {
        self.age() * 1_000
    }

    /// As exports name it, with the session's time, which tells updates apart.
    fn name(self) -> (&'static str, u64) {
        let name = match self {
            Self::Start => "start",
            Self::Interim(_) => "interim",
            Self::Stop(_) => "stop",
        };
        (name, self.age().into())
    }
}

/// A subscriber's session on a NAS.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Acct-Session-Id.
    pub id: String,
    /// User-Name.
    pub user: String,
    /// NAS-IP-Address and NAS-Port.
    pub line: (Ipv4Addr, u32),
    /// Framed-IP-Address, if one was given.
    pub address: Option<Ipv4Addr>,
    /// When it began, in seconds since 1970.
    pub begun: u32,
    /// When the NAS first asked for it.
    asked: Instant,
}

/// What NASes were told, and what they told: of all of their ports.
#[derive(Debug)]
pub struct Books {
    servers: Servers,
    /// How long an address may be kept without a record before it may go to somebody else.
    offer: Duration,
    /// Whether records are told to another server as well, as by a NAS that missed an answer.
    twice: bool,
    pages: Mutex<Pages>,
    numbers: AtomicU32,
}

#[derive(Debug, Default)]
struct Pages {
    /// Who has what: the line of a NAS.
    addresses: HashMap<Ipv4Addr, (Ipv4Addr, u32)>,
    /// What happened to each address, to tell it when something is wrong.
    histories: HashMap<Ipv4Addr, Vec<String>>,
    /// What was given to two at once.
    doubled: Vec<String>,
    /// Records that were acknowledged, by session, status and time.
    acknowledged: BTreeMap<(String, &'static str, u64), Ipv4Addr>,
    most_sendings: u32,
    logins: u32,
    refusals: u32,
    overdue: u32,
}

impl Pages {
    fn note(&mut self, address: Ipv4Addr, what: String) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let history = self.histories.entry(address).or_default();
        history.push(format!("{:.3} {what}", now.as_secs_f64()));
    }
}

/// No address, in a page.
const NOTHING: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

impl Books {
    /// Empty ones, of NASes with these servers.
    pub fn new(servers: impl Into<Vec<Server>>) -> Self {
        Self {
            servers: Servers::new(servers),
            offer: Duration::from_secs(300),
            twice: false,
            pages: Mutex::default(),
            numbers: AtomicU32::new(0),
        }
    }

    /// The same where what is offered may go to somebody else when so much time has passed without a record.
    #[must_use]
    pub const fn offered_for(mut self, offer: Duration) -> Self {
        self.offer = offer;
        self
    }

    /// The same where one record in four is told to another server as well.
    #[must_use]
    pub const fn telling_twice(mut self) -> Self {
        self.twice = true;
        self
    }

    /// Logs a subscriber in on a line of its own, and tells that the session has begun. None if the server has no address
    /// to give, or if the start could be told only after the time for which the address was offered.
    ///
    /// # Errors
    /// When no server answers, or the subscriber is refused.
    pub fn begin(&self, nas: &mut Nas, user: &str) -> Result<Option<Subscription>> {
        let port = self.numbers.fetch_add(1, Ordering::Relaxed);
        let Some(session) = self.log_in(nas, user, port)? else { return Ok(None) };
        if self.tell(nas, &session, Status::Start)? {
            return Ok(Some(session));
        }
        self.pages().overdue += 1;
        self.tell(nas, &session, Status::Stop(0))?;
        Ok(None)
    }

    /// Logs a subscriber in on that line, and writes down what he got. None if there is no address to give.
    ///
    /// # Errors
    /// As above.
    pub fn log_in(&self, nas: &mut Nas, user: &str, port: u32) -> Result<Option<Subscription>> {
        let asked = Instant::now();
        let answer = self.ask(nas, |nas, _| nas.login(user, port), |server| server.auth, asked)?;
        let begun = SystemTime::now().duration_since(UNIX_EPOCH).context("a clock before 1970")?;
        let (address, begun) = (answer.address(), begun.as_secs() as u32);
        let mut pages = self.pages();
        pages.most_sendings = pages.most_sendings.max(answer.sendings);
        match answer.code {
            ACCESS_ACCEPT => pages.logins += 1,
            ACCESS_REJECT => {
                pages.refusals += 1;
                return Ok(None);
            }
            code => bail!("RADIUS code {code}"),
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (id, line) = (format!("{}-{number:08x}", nas.address()), (nas.address(), port));
        if let Some(address) = address {
            pages.note(
                address,
                format!("to {line:?} by {:?}, asked {:?} ago", answer.from, asked.elapsed()),
            );
            if let Some(other) = pages.addresses.insert(address, line)
                && other != line
            {
                let history = pages.histories.get(&address).map(|all| all.join(", "));
                pages.doubled.push(format!("{address}: {}", history.unwrap_or_default()));
            }
        }
        Ok(Some(Subscription { id, user: user.to_owned(), line, address, begun, asked }))
    }

    /// Tells how a session goes on, and then that it has ended.
    ///
    /// # Errors
    /// When no server answers.
    pub fn end(&self, nas: &mut Nas, session: &Subscription, updates: u32) -> Result<()> {
        for update in 1..=updates {
            self.tell(nas, session, Status::Interim(update))?;
        }
        self.tell(nas, session, Status::Stop(updates)).map(drop)
    }

    /// Tells one thing of a session. False if it is the first that is told of it, and it came too late for the address.
    ///
    /// # Errors
    /// When no server answers.
    pub fn tell(&self, nas: &mut Nas, session: &Subscription, status: Status) -> Result<bool> {
        if matches!(status, Status::Stop(_)) {
            // From the moment when a server may know it, the address may be another's.
            self.give_up(session);
        }
        let mut in_time = true;
        let happened = Instant::now();
        let write = |nas: &mut Nas, sending: Instant| {
            // Some time before, so that it is not on its way when the time is over.
            if status == Status::Start && session.asked.elapsed() > self.offer / 2 {
                self.give_up(session);
                in_time = false;
            }
            nas.record(session, status, sending.saturating_duration_since(happened))
        };
        let answer = self.ask(nas, write, |server| server.acct, happened)?;
        let mut pages = self.pages();
        pages.most_sendings = pages.most_sendings.max(answer.sendings);
        let (name, seconds) = status.name();
        let address = session.address.unwrap_or(NOTHING);
        pages.note(address, format!("{name} of {:?} to {}", session.line, answer.from));
        pages.acknowledged.insert((session.id.clone(), name, seconds), address);
        let again = self.twice && pages.acknowledged.len().is_multiple_of(4);
        drop(pages);
        if again && let Some(other) = self.servers.other() {
            // It may be away: nobody waits for its answer.
            let record = nas.record(session, status, Duration::from_secs(1));
            nas.send(other.acct, &record)?;
        }
        Ok(in_time)
    }

    /// Asks one server after the other, from the current one on, with a packet of its own for each.
    fn ask(
        &self,
        nas: &mut Nas,
        mut write: impl FnMut(&mut Nas, Instant) -> Vec<u8>,
        port: impl Fn(&Server) -> SocketAddr,
        since: Instant,
    ) -> Result<Answer> {
        // One server alone is asked with the same packet for as long as it takes.
        let attempts = if self.servers.other().is_some() { ATTEMPTS } else { u32::MAX };
        while since.elapsed() < DESPAIR {
            let (at, server) = self.servers.current()?;
            let request = write(nas, Instant::now());
            let most = (DESPAIR.as_nanos() / nas.again.as_nanos().max(1)) as u32;
            if let Some(answer) = nas.ask(port(&server), &request, attempts.min(most))? {
                return Ok(answer);
            }
            self.servers.leave(at);
        }
        bail!("no server answers within {DESPAIR:?}")
    }

    fn give_up(&self, session: &Subscription) {
        let mut pages = self.pages();
        if let Some(address) = session.address
            && pages.addresses.get(&address) == Some(&session.line)
        {
            pages.note(address, format!("given up by {:?}", session.line));
            pages.addresses.remove(&address);
        }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Logins that were accepted so far.
    pub fn logins(&self) -> u32 {
        self.pages().logins
    }

    /// Logins that found no address, and starts that came too late for theirs.
    pub fn failures(&self) -> (u32, u32) {
        let pages = self.pages();
        (pages.refusals, pages.overdue)
    }

    /// Records that were acknowledged so far.
    pub fn records(&self) -> usize {
        self.pages().acknowledged.len()
    }

    /// How often the packet was sent to one server that was sent most often.
    pub fn most_sendings(&self) -> u32 {
        self.pages().most_sendings
    }

    /// Addresses that were given to two sessions at the same time.
    pub fn doubled(&self) -> Vec<String> {
        self.pages().doubled.clone()
    }

    /// Compares what was acknowledged with what is in the database: every record and every session once, and with the
    /// right figures. `sums` are those of all of these sessions together.
    ///
    /// # Errors
    /// The first differences.
    pub fn compare(&self, records: &[Value], sessions: &[Value], sums: &Value) -> Result<()> {
        let pages = self.pages();
        // Updates differ in their times.
        let mut found: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        for record in records {
            let key = (text(record, "acct_session_id"), text(record, "status"));
            found.entry(key).or_default().push(text(record, "at"));
        }
        let mut told: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for (id, status, _) in pages.acknowledged.keys() {
            *told.entry((id, status)).or_default() += 1;
        }
        let mut wrong: Vec<String> = Vec::new();
        for (record, count) in told {
            let all = found.remove(&record).unwrap_or_default();
            let times: BTreeSet<&str> = all.iter().copied().collect();
            if (all.len(), times.len()) != (count, count) {
                wrong.push(format!(
                    "of {record:?} {count} were acknowledged, and there are {all:?}"
                ));
            }
        }
        wrong.extend(found.keys().map(|record| format!("{record:?} was not acknowledged")));

        let mut expected: BTreeMap<&str, (Option<u64>, u64, Ipv4Addr)> = BTreeMap::new();
        for ((id, status, time), address) in &pages.acknowledged {
            let entry = expected.entry(id).or_insert((None, 0, *address));
            entry.1 = entry.1.max(*time);
            if *status == "stop" {
                entry.0 = Some(*time);
            }
        }
        let mut total = 0;
        for session in sessions {
            let id = text(session, "acct_session_id");
            let Some((stopped, seconds, address)) = expected.remove(id) else {
                wrong.push(format!("session {id} is there twice, or was never told of"));
                continue;
            };
            total += seconds;
            let state = if stopped.is_some() { "stopped" } else { "open" };
            let address = if address == NOTHING { String::new() } else { address.to_string() };
            let is = (
                text(session, "state"),
                session["session_time"].as_u64(),
                session["octets_in"].as_u64(),
                session["octets_out"].as_u64(),
                text(session, "address"),
            );
            let octets = seconds * 1_000;
            let should = (state, Some(seconds), Some(octets), Some(2 * octets), &address[..]);
            if is != should {
                wrong.push(format!("session {id} is {is:?} and should be {should:?}"));
            }
        }
        wrong.extend(expected.keys().map(|id| format!("session {id} is missing")));
        if let Some(first) = wrong.first() {
            let more: Vec<&String> = wrong.iter().take(5).collect();
            bail!(
                "{} differences, of {}: {first}; {more:?}",
                wrong.len(),
                pages.acknowledged.len()
            );
        }
        let sum = |key: &str| -> u64 {
            sums.as_array().into_iter().flatten().filter_map(|row| row[key].as_u64()).sum()
        };
        let is = [sum("session_time"), sum("octets_in"), sum("octets_out")];
        ensure!(is == [total, total * 1_000, total * 2_000], "{total} seconds, but {sums}");
        Ok(())
    }
}

/// Whether ports of NASes have asked enough.
#[derive(Debug, Default)]
pub struct Over(AtomicBool);

impl Over {
    /// They have.
    pub fn end(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether they have.
    pub fn is_over(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Ends it when dropped: a test that fails waits for its threads.
    pub const fn at_the_end(&self) -> End<'_> {
        End(self)
    }
}

/// See [`Over::at_the_end`].
#[derive(Debug)]
pub struct End<'o>(&'o Over);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

/// Kinds and values of a packet; none if its lengths don't add up.
fn attributes(packet: &[u8]) -> Option<Vec<(u8, Vec<u8>)>> {
    let mut rest = packet.get(HEADER..)?;
    let mut all = Vec::new();
    while let [kind, length, ..] = *rest {
        let (attribute, behind) = rest.split_at_checked(length.into())?;
        all.push((kind, attribute.get(2..)?.to_vec()));
        rest = behind;
    }
    rest.is_empty().then_some(all)
}
