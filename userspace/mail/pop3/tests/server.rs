//! The server on connections: TLS, time limits, and what goes wrong. Time is made up where it matters.

#![cfg(test)]

mod boxes;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use muralla_mail_envelope::sasl::Password;
use muralla_pop3::listing::Message;
use muralla_pop3::{
    Body, Changes, Client, Config, End, Facts, Handler, Listing, Maildrop, MaildropError, Mode,
    Proved, Refused, ScramParameters, Server,
};
use parking_lot::Mutex;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

/// For conditions, not for how fast anything is.
const DEADLINE: Duration = Duration::from_secs(300);

/// Users, maildrops and certificates, and what is heard of sessions.
struct House {
    tls: Option<Arc<ServerConfig>>,
    closed: Mutex<Vec<(Client, Facts)>>,
    crowded: Mutex<Vec<SocketAddr>>,
    committed: Arc<Mutex<Vec<(String, Changes)>>>,
}

impl House {
    fn mailbox(&self, user: &str) -> Mailbox {
        Mailbox { committed: Arc::clone(&self.committed), user: user.to_owned() }
    }
}

struct Mailbox {
    committed: Arc<Mutex<Vec<(String, Changes)>>>,
    user: String,
}

/// Messages that come in chunks, and may break.
struct Chunks(VecDeque<Result<Bytes, MaildropError>>);

impl Body for Chunks {
    async fn chunk(&mut self) -> Result<Option<Bytes>, MaildropError> {
        self.0.pop_front().transpose()
    }
}

/// A message of a megabyte and some, with dots where chunks meet.
fn long_message() -> Vec<u8> {
    let mut message = b"Subject: long\r\n\r\n".to_vec();
    for line in 0..20_000 {
        message.extend(
            format!("{}line {line} of a message that goes on and on\r\n", ".".repeat(line % 3))
                .bytes(),
        );
    }
    message
}

impl Handler for House {
    type Maildrop = Mailbox;

    fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.tls.clone()
    }

    async fn login(&self, _: &Client, user: &str, password: &Password) -> Result<Mailbox, Refused> {
        match user {
            "hang" => std::future::pending().await,
            "long" | "torn" | "large" => {}
            _ => boxes::login(user, password.reveal())?,
        }
        Ok(self.mailbox(user))
    }

    async fn scram(&self, _: &Client, user: &str) -> Result<ScramParameters, Refused> {
        boxes::scram(user)
    }

    async fn prove(
        &self,
        _: &Client,
        user: &str,
        message: &[u8],
        proof: &[u8],
    ) -> Result<Proved<Mailbox>, Refused> {
        let signature = boxes::prove(user, message, proof)?;
        Ok(Proved { signature, maildrop: self.mailbox(user) })
    }

    fn closed(&self, client: &Client, facts: &Facts) {
        self.closed.lock().push((client.clone(), facts.clone()));
    }

    fn crowded(&self, peer: SocketAddr) {
        self.crowded.lock().push(peer);
    }
}

impl Maildrop for Mailbox {
    type Body = Chunks;

    async fn listing(&self) -> Result<Listing, MaildropError> {
        let mut listing = Listing::default();
        match &*self.user {
            "long" | "torn" => listing.push(1, long_message().len() as u64),
            "large" => (1..=100_000).for_each(|uid| listing.push(uid, 1000 + uid)),
            user => return boxes::listing(user),
        }
        Ok(listing)
    }

    async fn retrieve(&self, message: Message) -> Result<Chunks, MaildropError> {
        let whole = match &*self.user {
            "long" | "torn" => Bytes::from(long_message()),
            user => boxes::message(user, message.uid)?,
        };
        // Chunks of all sizes, some of them larger than what is written at once.
        let mut sizes = [1, 2, 7, 100, 20_000, 200_000].into_iter().cycle();
        let mut chunks = VecDeque::new();
        let mut at = 0;
        while at < whole.len() {
            let end = (at + sizes.next().unwrap()).min(whole.len());
            chunks.push_back(Ok(whole.slice(at..end)));
            at = end;
        }
        if self.user == "torn" {
            chunks.truncate(9);
            chunks.push_back(Err(MaildropError::Unavailable));
        }
        Ok(Chunks(chunks))
    }

    async fn commit(&self, changes: &Changes) -> Result<(), MaildropError> {
        boxes::commit(&self.user)?;
        self.committed.lock().push((self.user.clone(), changes.clone()));
        Ok(())
    }
}

/// A house with a certificate, and what a client needs to believe it.
fn house() -> (Arc<House>, TlsConnector) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["pop.example.org".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let house = House {
        tls: Some(Arc::new(server)),
        closed: Mutex::default(),
        crowded: Mutex::default(),
        committed: Arc::default(),
    };
    (Arc::new(house), TlsConnector::from(Arc::new(client)))
}

fn config() -> Config {
    Config { name: "pop.example.org".into(), unencrypted_login: true, ..Config::default() }
}

fn peer() -> SocketAddr {
    "192.0.2.7:40000".parse().unwrap()
}

/// A session over a pipe of so many octets.
fn pipe(house: &Arc<House>, config: Config, octets: usize) -> (Talk<DuplexStream>, JoinHandle<()>) {
    let server = Arc::new(Server::new(config, Arc::clone(house)));
    piped(server, octets)
}

fn piped(server: Arc<Server<House>>, octets: usize) -> (Talk<DuplexStream>, JoinHandle<()>) {
    let (near, far) = tokio::io::duplex(octets);
    let served = tokio::spawn(async move {
        let (_going_on, stop) = watch::channel(false);
        server.serve(far, peer(), Mode::Plain, stop).await;
    });
    (Talk(BufReader::new(near)), served)
}

/// A client.
struct Talk<S>(BufReader<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    async fn say(&mut self, lines: &str) {
        self.0.write_all(lines.as_bytes()).await.unwrap();
        self.0.flush().await.unwrap();
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        tokio::time::timeout(DEADLINE, self.0.read_line(&mut line)).await.unwrap().unwrap();
        assert!(line.ends_with("\r\n"), "{line:?}");
        line.truncate(line.len() - 2);
        line
    }

    async fn expect(&mut self, lines: &[&str]) {
        for line in lines {
            assert_eq!(self.line().await, *line);
        }
    }

    /// Lines up to the dot, with their dots as they were.
    async fn lines(&mut self) -> Vec<String> {
        let mut lines = vec![];
        loop {
            let line = self.line().await;
            if line == "." {
                return lines;
            }
            lines.push(line.strip_prefix('.').unwrap_or(&line).to_owned());
        }
    }

    async fn greeted(&mut self) {
        self.expect(&["+OK pop.example.org POP3 server ready"]).await;
    }

    async fn log_in(&mut self, user: &str, password: &str) {
        self.say(&format!("USER {user}\r\nPASS {password}\r\n")).await;
        self.expect(&["+OK"]).await;
        assert!(self.line().await.starts_with("+OK "));
    }

    /// What comes until the other side closes.
    async fn rest(&mut self) -> String {
        let mut rest = vec![];
        // A reset is an end, too.
        let _ = tokio::time::timeout(DEADLINE, self.0.read_to_end(&mut rest)).await.unwrap();
        String::from_utf8(rest).unwrap()
    }
}

fn only_end(house: &House) -> Option<End> {
    let closed = house.closed.lock();
    assert_eq!(closed.len(), 1);
    closed[0].1.end
}

#[tokio::test]
async fn a_session() {
    let (house, _) = house();
    let (mut talk, served) = pipe(&house, config(), 4096);
    talk.greeted().await;
    talk.log_in("mrose", "tanstaaf").await;
    talk.say("LIST\r\nRETR 1\r\nDELE 2\r\nQUIT\r\n").await;
    talk.expect(&["+OK 2 messages (320 octets)", "1 120", "2 200", ".", "+OK 120 octets"]).await;
    let message = talk.lines().await;
    assert_eq!(message[4..7], [".A dot first.", "..", "."]);
    talk.expect(&["+OK Message is deleted", "+OK Bye"]).await;
    assert_eq!(talk.rest().await, "");
    served.await.unwrap();

    let changes = Changes { deleted: vec![2], retrieved: vec![1] };
    assert_eq!(*house.committed.lock(), [("mrose".to_owned(), changes)]);
    let closed = house.closed.lock();
    let (client, facts) = &closed[0];
    assert_eq!(*client, Client { peer: peer(), encrypted: false });
    assert_eq!((facts.end, facts.octets, facts.deleted), (Some(End::Quit), 120, 1));
}

/// A message in chunks, some of which are larger than what is written at once, over a narrow pipe.
#[tokio::test]
async fn a_long_message() {
    let (house, _) = house();
    let (mut talk, served) = pipe(&house, config(), 1000);
    talk.greeted().await;
    talk.log_in("long", "any").await;
    talk.say("RETR 1\r\nTOP 1 2\r\nQUIT\r\n").await;
    let message = long_message();
    talk.expect(&[&format!("+OK {} octets", message.len())]).await;
    let lines = talk.lines().await;
    assert_eq!(lines.join("\r\n") + "\r\n", String::from_utf8(message).unwrap());
    talk.expect(&["+OK Top of message follows"]).await;
    assert_eq!(talk.lines().await, lines[..4]);
    talk.expect(&["+OK Bye"]).await;
    served.await.unwrap();
}

/// A message that breaks on its way ends the connection, and has no end itself.
#[tokio::test]
async fn a_message_that_breaks() {
    let (house, _) = house();
    let (mut talk, served) = pipe(&house, config(), 4096);
    talk.greeted().await;
    talk.log_in("torn", "any").await;
    talk.say("DELE 1\r\nRSET\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n").await;
    let rest = talk.rest().await;
    assert!(rest.contains(" octets\r\nSubject: long\r\n"));
    assert!(!rest.ends_with(".\r\n"));
    assert!(!rest.contains("Bye"));
    served.await.unwrap();
    assert_eq!(only_end(&house), Some(End::Broken));
    assert!(house.committed.lock().is_empty());
}

#[tokio::test]
async fn a_hundred_thousand_messages() {
    let (house, _) = house();
    let (mut talk, served) = pipe(&house, config(), 64 * 1024);
    talk.greeted().await;
    talk.log_in("large", "any").await;
    talk.say("LIST\r\nUIDL\r\nQUIT\r\n").await;
    assert!(talk.line().await.starts_with("+OK 100000 messages"));
    let sizes = talk.lines().await;
    assert_eq!((sizes.len(), &*sizes[99_999]), (100_000, "100000 101000"));
    assert_eq!(talk.line().await, "+OK Unique ids follow");
    let ids = talk.lines().await;
    assert_eq!((ids.len(), &*ids[99_999]), (100_000, "100000 00000000000186a0"));
    talk.expect(&["+OK Bye"]).await;
    served.await.unwrap();
}

/// RFC 1939 section 3: after ten minutes, without a word, and nothing is removed.
#[tokio::test(start_paused = true)]
async fn who_says_nothing() {
    let (house, _) = house();
    let (mut talk, served) = pipe(&house, config(), 4096);
    talk.greeted().await;
    talk.log_in("mrose", "tanstaaf").await;
    talk.say("DELE 1\r\n").await;
    talk.expect(&["+OK Message is deleted"]).await;
    tokio::time::sleep(Duration::from_secs(599)).await;
    assert!(!served.is_finished());
    talk.say("NOOP\r\n").await;
    talk.expect(&["+OK"]).await;
    tokio::time::sleep(Duration::from_secs(599)).await;
    assert!(!served.is_finished());
    assert_eq!(talk.rest().await, "");
    served.await.unwrap();
    assert_eq!(only_end(&house), Some(End::Silent));
    assert!(house.committed.lock().is_empty());
}

/// Whoever is not logged in has less time, however much he says.
#[tokio::test(start_paused = true)]
async fn who_does_not_log_in() {
    let (house, _) = house();
    let (mut talk, served) = pipe(&house, config(), 4096);
    talk.greeted().await;
    let began = tokio::time::Instant::now();
    while !served.is_finished() && began.elapsed() < DEADLINE {
        tokio::time::sleep(Duration::from_secs(10)).await;
        // Once he is turned away, nobody takes it.
        if talk.0.write_all(b"CAPA\r\n").await.is_ok() && !served.is_finished() {
            let mut line = String::new();
            while talk.0.read_line(&mut line).await.unwrap_or(0) > 0 && line != ".\r\n" {
                line.clear();
            }
        }
    }
    assert!((170..=190).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    served.await.unwrap();
    assert_eq!(only_end(&house), Some(End::Silent));
}

/// Not even if he never stops.
#[tokio::test(start_paused = true)]
async fn who_talks_without_end() {
    let (house, _) = house();
    let config = Config { login: Duration::ZERO, ..config() };
    let (mut talk, served) = pipe(&house, config, 64 * 1024);
    talk.say(&"CAPA\r\n".repeat(10_000)).await;
    talk.greeted().await;
    assert_eq!(talk.rest().await, "");
    served.await.unwrap();
    assert_eq!(only_end(&house), Some(End::Silent));
}

/// Each refused login is answered later than the one before it.
#[tokio::test(start_paused = true)]
async fn who_guesses() {
    let (house, _) = house();
    let (mut talk, served) = pipe(&house, config(), 4096);
    talk.greeted().await;
    for seconds in [2, 4, 6] {
        let began = tokio::time::Instant::now();
        talk.say("USER mrose\r\nPASS wrong\r\n").await;
        talk.expect(&["+OK", "-ERR [AUTH] Wrong name or password"]).await;
        assert_eq!(began.elapsed().as_secs(), seconds);
    }
    assert_eq!(talk.rest().await, "");
    served.await.unwrap();
    assert_eq!(only_end(&house), Some(End::Failures));
}

/// A directory that does not answer does not hold anybody for ever.
#[tokio::test(start_paused = true)]
async fn nobody_answers() {
    let (house, _) = house();
    let (mut talk, served) = pipe(&house, config(), 4096);
    talk.greeted().await;
    talk.say("USER hang\r\nPASS x\r\nQUIT\r\n").await;
    talk.expect(&[
        "+OK",
        "-ERR [SYS/TEMP] Nobody can log in now: please try again later",
        "+OK Bye",
    ])
    .await;
    served.await.unwrap();
}

/// Who asks for much and takes nothing is left; what others wait for is free then.
#[tokio::test(start_paused = true)]
async fn who_does_not_read() {
    let (house, _) = house();
    // Enough for one message of these, and not for two.
    let memory = 1024 * 1024;
    let server = Arc::new(Server::new(
        Config { memory, patience: Duration::from_secs(3600), ..config() },
        Arc::clone(&house),
    ));
    let (mut idle, idle_served) = piped(Arc::clone(&server), 1000);
    idle.greeted().await;
    idle.log_in("long", "any").await;
    idle.say("RETR 1\r\n").await;
    assert!(idle.line().await.starts_with("+OK"));
    assert!(server.status().memory > memory / 2);

    let (mut other, other_served) = piped(Arc::clone(&server), 1000);
    other.greeted().await;
    other.log_in("long", "any").await;
    other.say("RETR 1\r\nQUIT\r\n").await;
    assert!(other.line().await.starts_with("+OK"));
    assert_eq!(other.lines().await.len(), 20_002);
    other.expect(&["+OK Bye"]).await;
    other_served.await.unwrap();
    idle_served.await.unwrap();
    let ends: Vec<_> = house.closed.lock().iter().map(|(_, facts)| facts.end).collect();
    assert_eq!(ends, [Some(End::Broken), Some(End::Quit)]);
    assert_eq!(server.status().memory, 0);
}

/// Memory that does not come free is a temporary failure.
#[tokio::test(start_paused = true)]
async fn no_memory() {
    let (house, _) = house();
    let slow = Duration::from_secs(3600);
    let config = Config { memory: 1024, send: slow, ..config() };
    let server = Arc::new(Server::new(config, Arc::clone(&house)));
    let (mut idle, _idle_served) = piped(Arc::clone(&server), 1000);
    idle.greeted().await;
    idle.log_in("long", "any").await;
    idle.say("RETR 1\r\n").await;
    assert!(idle.line().await.starts_with("+OK"));

    let (mut other, _other_served) = piped(server, 1000);
    other.greeted().await;
    other.log_in("mrose", "tanstaaf").await;
    other.say("RETR 1\r\nSTAT\r\n").await;
    let words = "-ERR [SYS/TEMP] The message can't be read now: please try again later";
    other.expect(&[words, "+OK 2 320"]).await;
}

/// A server on a port of its own.
struct Running {
    server: Arc<Server<House>>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    listening: JoinHandle<()>,
}

async fn listen(house: &Arc<House>, config: Config, mode: Mode) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Arc::new(Server::new(config, Arc::clone(house)));
    let (stop, stopped) = watch::channel(false);
    let listening = tokio::spawn(Arc::clone(&server).listen(listener, mode, stopped));
    Running { server, address, stop, listening }
}

async fn connect(running: &Running) -> Talk<TcpStream> {
    Talk(BufReader::new(TcpStream::connect(running.address).await.unwrap()))
}

fn name() -> ServerName<'static> {
    ServerName::try_from("pop.example.org").unwrap()
}

/// Waits for a condition, as long as it takes.
async fn until(mut condition: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !condition() {
        assert!(began.elapsed() < DEADLINE, "it does not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn tls_from_the_start() {
    let (house, tls) = house();
    let running = listen(&house, Config { unencrypted_login: false, ..config() }, Mode::Tls).await;
    let stream = TcpStream::connect(running.address).await.unwrap();
    let mut talk = Talk(BufReader::new(tls.connect(name(), stream).await.unwrap()));
    talk.greeted().await;
    talk.say("CAPA\r\n").await;
    let capabilities = talk.lines().await;
    assert!(capabilities.contains(&"SASL SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN".to_owned()));
    assert!(!capabilities.contains(&"STLS".to_owned()));
    talk.log_in("mrose", "tanstaaf").await;
    talk.say("RETR 2\r\nQUIT\r\n").await;
    talk.expect(&["+OK 200 octets"]).await;
    assert_eq!(talk.lines().await.len(), 7);
    talk.expect(&["+OK Bye"]).await;
    assert_eq!(talk.rest().await, "");
    until(|| !house.closed.lock().is_empty()).await;
    assert!(house.closed.lock()[0].0.encrypted);
}

/// A proof that is bound to the connection by both of its ends (RFC 9266), and what the server shows in turn.
#[tokio::test]
async fn a_bound_proof() {
    let (house, tls) = house();
    let running =
        listen(&house, Config { unencrypted_login: false, ..config() }, Mode::Plain).await;
    let mut talk = connect(&running).await;
    talk.greeted().await;
    talk.say("STLS\r\n").await;
    talk.expect(&["+OK Begin TLS"]).await;
    let stream = tls.connect(name(), talk.0.into_inner()).await.unwrap();
    let binding = stream
        .get_ref()
        .1
        .export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(&[]))
        .unwrap();
    let mut talk = Talk(BufReader::new(stream));
    let header = "p=tls-exporter,,";
    let bare = "n=mrose,r=abcdefgh";
    let first = BASE64.encode(format!("{header}{bare}").as_bytes());
    talk.say(&format!("AUTH SCRAM-SHA-256-PLUS {first}\r\n")).await;
    let challenge =
        BASE64.decode(talk.line().await.strip_prefix("+ ").unwrap().as_bytes()).unwrap();
    let challenge = String::from_utf8(challenge).unwrap();
    let nonce = challenge.split(',').next().unwrap();
    assert!(nonce.starts_with("r=abcdefgh") && nonce.len() > 30, "{nonce}");
    let bound = BASE64.encode(&[header.as_bytes(), &binding].concat());
    let last = format!("c={bound},{nonce}");
    let message = format!("{bare},{challenge},{last}");
    let proof = BASE64.encode(&boxes::proof_of(b"tanstaaf", message.as_bytes()));
    talk.say(&format!("{}\r\n", BASE64.encode(format!("{last},p={proof}").as_bytes()))).await;
    let shown = BASE64.decode(talk.line().await.strip_prefix("+ ").unwrap().as_bytes()).unwrap();
    let signature = boxes::prove(
        "mrose",
        message.as_bytes(),
        &boxes::proof_of(b"tanstaaf", message.as_bytes()),
    )
    .unwrap();
    assert_eq!(shown, format!("v={}", BASE64.encode(&signature)).into_bytes());
    talk.say("\r\nSTAT\r\n").await;
    talk.expect(&["+OK 2 messages (320 octets)", "+OK 2 320"]).await;
}

/// What somebody put behind STLS, in the same packet, is not taken for the client's.
#[tokio::test]
async fn injected_before_tls() {
    let (house, tls) = house();
    let running = listen(&house, config(), Mode::Plain).await;
    let mut talk = connect(&running).await;
    talk.greeted().await;
    talk.say("STLS\r\nUSER mrose\r\nPASS tanstaaf\r\n").await;
    talk.expect(&["+OK Begin TLS"]).await;
    let stream = tls.connect(name(), talk.0.into_inner()).await.unwrap();
    let mut talk = Talk(BufReader::new(stream));
    talk.say("STAT\r\nQUIT\r\n").await;
    talk.expect(&["-ERR Log in first", "+OK Bye"]).await;
    until(|| !house.closed.lock().is_empty()).await;
    let (client, facts) = &house.closed.lock()[0];
    assert!(facts.injected && facts.encrypted && client.encrypted);
}

/// Something else than TLS where TLS is to begin.
#[tokio::test]
async fn tls_that_does_not_begin() {
    let (house, _) = house();
    for mode in [Mode::Plain, Mode::Tls] {
        house.closed.lock().clear();
        let running = listen(&house, config(), mode).await;
        let mut talk = connect(&running).await;
        if mode == Mode::Plain {
            talk.greeted().await;
            talk.say("STLS\r\n").await;
            talk.expect(&["+OK Begin TLS"]).await;
        }
        talk.say("USER mrose\r\nPASS tanstaaf\r\n").await;
        assert!(!String::from_utf8_lossy(talk.rest_octets().await.as_slice()).contains("+OK"));
        until(|| !house.closed.lock().is_empty()).await;
        assert_eq!(only_end(&house), Some(End::Broken));
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    async fn rest_octets(&mut self) -> Vec<u8> {
        let mut rest = vec![];
        let _ = tokio::time::timeout(DEADLINE, self.0.read_to_end(&mut rest)).await.unwrap();
        rest
    }
}

/// Without a certificate, there is no TLS to be had.
#[tokio::test]
async fn no_certificate() {
    let (with, _) = house();
    let without = House {
        tls: None,
        closed: Mutex::default(),
        crowded: Mutex::default(),
        committed: Arc::default(),
    };
    drop(with);
    let house = Arc::new(without);
    let running = listen(&house, config(), Mode::Plain).await;
    let mut talk = connect(&running).await;
    talk.greeted().await;
    talk.say("STLS\r\n").await;
    talk.expect(&["-ERR There is no TLS here"]).await;
    let running = listen(&house, config(), Mode::Tls).await;
    assert_eq!(connect(&running).await.rest().await, "");
}

/// No more connections than there may be of one source, until one of them has ended.
#[tokio::test]
async fn a_crowd() {
    let (house, _) = house();
    let running =
        listen(&house, Config { connections_per_source: 2, ..config() }, Mode::Plain).await;
    let mut first = connect(&running).await;
    let mut second = connect(&running).await;
    first.greeted().await;
    second.greeted().await;
    assert_eq!(running.server.status().connections, 2);
    let turned_away = connect(&running).await.rest().await;
    assert_eq!(turned_away, "-ERR [SYS/TEMP] Too many connections: please try again later\r\n");
    assert_eq!(house.crowded.lock().len(), 1);
    first.say("QUIT\r\n").await;
    first.expect(&["+OK Bye"]).await;
    drop(first);
    until(|| running.server.status().connections == 1).await;
    connect(&running).await.greeted().await;

    // A new configuration counts for who comes from now on.
    running.server.reload(Config { connections: 0, ..config() });
    assert!(connect(&running).await.rest().await.starts_with("-ERR"));
    second.say("QUIT\r\n").await;
    second.expect(&["+OK Bye"]).await;
}

/// While most places are taken, nobody who has not logged in keeps one for long.
#[tokio::test]
async fn who_does_nothing_makes_room() {
    let (house, _) = house();
    let pressed = Duration::from_millis(100);
    let running = listen(&house, Config { connections: 4, pressed, ..config() }, Mode::Plain).await;
    let mut inside = connect(&running).await;
    inside.greeted().await;
    inside.log_in("mrose", "tanstaaf").await;
    let mut idle = connect(&running).await;
    idle.greeted().await;
    let mut third = connect(&running).await;
    third.greeted().await;
    let mut fourth = connect(&running).await;
    fourth.greeted().await;
    assert_eq!(idle.rest().await, "");
    until(|| house.closed.lock().iter().any(|(_, facts)| facts.end == Some(End::Silent))).await;
    inside.say("QUIT\r\n").await;
    inside.expect(&["+OK Bye"]).await;
}

/// Whoever is logged in goes on to his end; whoever is not is sent away; and nobody new comes in.
#[tokio::test]
async fn going_down() {
    let (house, _) = house();
    let running = listen(&house, config(), Mode::Plain).await;
    let mut inside = connect(&running).await;
    inside.greeted().await;
    inside.log_in("mrose", "tanstaaf").await;
    let mut outside = connect(&running).await;
    outside.greeted().await;
    running.stop.send(true).unwrap();
    let words = "-ERR [SYS/TEMP] This server is going down: please connect again\r\n";
    assert_eq!(outside.rest().await, words);
    until(|| !house.closed.lock().is_empty()).await;
    assert_eq!(only_end(&house), Some(End::Stopped));
    assert!(!running.listening.is_finished());
    inside.say("DELE 1\r\nQUIT\r\n").await;
    inside.expect(&["+OK Message is deleted", "+OK Bye"]).await;
    tokio::time::timeout(DEADLINE, running.listening).await.unwrap().unwrap();
    assert_eq!(house.committed.lock().len(), 1);
    assert!(TcpStream::connect(running.address).await.is_err());
}

/// A client that is gone in the middle of it all.
#[tokio::test]
async fn who_goes_away() {
    let (house, _) = house();
    let (mut talk, served) = pipe(&house, config(), 100);
    talk.greeted().await;
    talk.log_in("long", "any").await;
    talk.say("DELE 1\r\nRSET\r\nRETR 1\r\n").await;
    talk.expect(&["+OK Message is deleted"]).await;
    drop(talk);
    served.await.unwrap();
    assert_eq!(only_end(&house), Some(End::Broken));

    house.closed.lock().clear();
    let (mut talk, served) = pipe(&house, config(), 100);
    talk.greeted().await;
    talk.log_in("mrose", "tanstaaf").await;
    talk.say("DELE 1\r\n").await;
    talk.expect(&["+OK Message is deleted"]).await;
    drop(talk);
    served.await.unwrap();
    assert_eq!(only_end(&house), Some(End::Gone));
    assert!(house.committed.lock().is_empty());
}
