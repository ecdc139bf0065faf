//! A server with a handler that keeps what it takes, and certificates for it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use muralla_mail_envelope::sasl::{Mechanism, Password};
use muralla_mail_envelope::{Address, Client, Domain, Envelope, Recipient, ReversePath};
use muralla_smtp::server::{
    Config, Conversation, Decision, Handler, Keys, Mode, NotGranted, Peer, Proved, Report,
    Security, Server, Welcome,
};
use muralla_smtp::tls::{CertificateFiles, Certificates, Trust};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::TcpListener;

/// How long anything may take that should happen at once.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A handler that takes everything, but for some names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keeper(Arc<Kept>);

#[derive(Debug, Default)]
struct Kept {
    messages: Mutex<Vec<(Envelope, Bytes)>>,
    reports: Mutex<Vec<(Client, Report)>>,
    welcome: Mutex<Welcome>,
    crowded: Mutex<Vec<IpAddr>>,
    hold: tokio::sync::Mutex<()>,
}

impl Keeper {
    pub(crate) fn welcoming(welcome: Welcome) -> Self {
        let keeper = Self::default();
        *keeper.0.welcome.lock().unwrap() = welcome;
        keeper
    }

    pub(crate) fn messages(&self) -> Vec<(Envelope, Bytes)> {
        self.0.messages.lock().unwrap().clone()
    }

    pub(crate) fn reports(&self) -> Vec<(Client, Report)> {
        self.0.reports.lock().unwrap().clone()
    }

    /// Who was turned away as he had too many connections.
    pub(crate) fn crowded(&self) -> Vec<IpAddr> {
        self.0.crowded.lock().unwrap().clone()
    }

    /// Holds messages to `held@` back.
    pub(crate) async fn hold(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.hold.lock().await
    }

    pub(crate) async fn wait_for_reports(&self, number: usize) -> Vec<(Client, Report)> {
        let reached = async {
            while self.reports().len() < number {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONG, reached).await.expect("reports");
        self.reports()
    }
}

impl Handler for Keeper {
    type Memory = u32;

    async fn connected(&self, memory: &mut u32, _: Peer) -> Welcome {
        *memory = 1;
        self.0.welcome.lock().unwrap().clone()
    }

    fn crowded(&self, source: IpAddr) {
        self.0.crowded.lock().unwrap().push(source);
    }

    async fn rcpt(&self, memory: &mut u32, _: Conversation<'_>, recipient: &Recipient) -> Decision {
        *memory += 1;
        match recipient.address.local.as_str() {
            "unknown" => Decision::permanent(550, 1, 1, "No such user"),
            "later" => Decision::temporary(451, 2, 1, "Not now"),
            _ => Decision::Accept,
        }
    }

    async fn message(
        &self,
        memory: &mut u32,
        _: Conversation<'_>,
        envelope: Envelope,
        message: Bytes,
    ) -> Decision {
        assert!(*memory > 1, "the memory is that of the connection");
        if envelope.recipients.iter().any(|one| one.address.local.as_str() == "held") {
            drop(self.hold().await);
        }
        if message.starts_with(b"Refuse:") {
            return Decision::permanent(554, 7, 1, "Not this");
        }
        self.0.messages.lock().unwrap().push((envelope, message));
        Decision::Accept
    }

    async fn lmtp_message(
        &self,
        _: &mut u32,
        _: Conversation<'_>,
        envelope: Envelope,
        message: Bytes,
    ) -> Vec<Decision> {
        let each = envelope.recipients.iter().map(|one| match one.address.local.as_str() {
            "full" => Decision::permanent(552, 2, 2, "His mailbox is full"),
            "busy" => Decision::temporary(451, 2, 0, "Not now"),
            _ => Decision::Accept,
        });
        let each = each.collect();
        self.0.messages.lock().unwrap().push((envelope, message));
        each
    }

    async fn password(
        &self,
        _: &mut u32,
        _: Conversation<'_>,
        _: Mechanism,
        user: &str,
        password: &Password,
    ) -> Result<String, NotGranted> {
        if user == "user" && password.reveal() == b"pencil" {
            Ok("user@example.net".to_owned())
        } else {
            Err(NotGranted::Wrong)
        }
    }

    async fn keys(&self, _: &mut u32, _: Conversation<'_>, _: &str) -> Result<Keys, NotGranted> {
        Ok(Keys { salt: b"salt".to_vec(), iterations: 4096 })
    }

    async fn proof(
        &self,
        _: &mut u32,
        _: Conversation<'_>,
        user: &str,
        _: &[u8],
        proof: &[u8],
    ) -> Result<Proved, NotGranted> {
        if proof == b"right" {
            Ok(Proved { account: user.to_owned(), signature: b"signature".to_vec() })
        } else {
            Err(NotGranted::Wrong)
        }
    }

    fn has_scram(&self) -> bool {
        true
    }

    async fn closed(&self, _: u32, client: &Client, report: &Report) {
        self.0.reports.lock().unwrap().push((client.clone(), *report));
    }
}

/// A root and what it signed.
pub(crate) struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self { root: CertifiedIssuer::self_signed(parameters, key).unwrap() }
    }

    /// Files for a server of that name.
    pub(crate) fn certify(&self, folder: &Path, name: &str) -> CertificateFiles {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &self.root).unwrap();
        let files =
            CertificateFiles { chain: folder.join("chain.pem"), key: folder.join("key.pem") };
        std::fs::write(&files.chain, certificate.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    pub(crate) fn certificates(&self, folder: &Path, name: &str) -> Arc<Certificates> {
        Arc::new(Certificates::load(vec![self.certify(folder, name)]).unwrap())
    }

    /// A client's trust in it alone.
    pub(crate) fn trust(&self, folder: &Path) -> Trust {
        let file = folder.join("root.pem");
        std::fs::write(&file, self.root.pem()).unwrap();
        Trust::of_file(&file).unwrap()
    }
}

pub(crate) fn config(mode: Mode) -> Config {
    Config::new(mode, Domain::parse("mx.example.net").unwrap())
}

pub(crate) fn peer() -> Peer {
    let local = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 25);
    Peer { remote: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 4711), local }
}

/// A server on loopback.
pub(crate) async fn start(
    config: Config,
    keeper: &Keeper,
    security: Security,
) -> (Server<Keeper>, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::new(config, keeper.clone());
    let listening = server.clone();
    tokio::spawn(async move { listening.listen(listener, security).await });
    (server, address)
}

pub(crate) fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

pub(crate) fn from(text: &str) -> ReversePath {
    if text.is_empty() { ReversePath::Null } else { ReversePath::Address(address(text)) }
}

pub(crate) fn recipients(all: &[&str]) -> Vec<Recipient> {
    all.iter().map(|one| Recipient::new(address(one))).collect()
}
