//! A provider with a few users, and the roles that serve them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use muralla_mail::config::{
    CertificateConfig, MailConfig, MxConfig, OutgoingConfig, PacksConfig, Pop3Config, SpoolConfig,
    SubmissionConfig,
};
use muralla_mail::outgoing::hosts::{Answer, Exchange, LookupError, Names};
use muralla_mail::outgoing::sts::Policies;
use muralla_mail::perimeter::{Open, Perimeter};
use muralla_mail::sightings::{Lookout, Sighting};
use muralla_mail::{Role, Surroundings};
use muralla_mail_directory::{
    AccountEntry, AccountId, AliasEntry, DomainEntry, Hidden, Name, ShardId,
};
use muralla_mail_envelope::{Address, Domain};
use muralla_mail_store::{Account, FolderPath, Purpose};
use muralla_smtp::tls::{Tlsa, Trust};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::RootCertStore;

use crate::database::Database;

pub(crate) const PASSWORD: &str = "tanstaafl, as they say";

/// Who answers for names, as a test entered them.
#[derive(Debug, Default)]
pub(crate) struct Book {
    exchanges: Mutex<HashMap<String, Vec<(u16, String)>>>,
    failing: Mutex<bool>,
    /// Whether whoever asks causes a panic.
    broken: AtomicBool,
    /// Whether DNSSEC proves what it says.
    secure: Mutex<bool>,
    /// TLSA records by the name that is asked for; nothing where they can't be found out.
    pub(crate) associations: Mutex<HashMap<String, Option<Vec<Tlsa>>>>,
    /// Policies of MTA-STS by domain.
    pub(crate) policies: Mutex<HashMap<String, String>>,
}

impl Book {
    pub(crate) fn enter(&self, domain: &str, exchanges: &[(u16, &str)]) {
        let exchanges = exchanges.iter().map(|(number, host)| (*number, (*host).to_owned()));
        self.exchanges.lock().unwrap().insert(domain.to_owned(), exchanges.collect());
    }

    pub(crate) fn fail(&self, failing: bool) {
        *self.failing.lock().unwrap() = failing;
    }

    pub(crate) fn break_down(&self, broken: bool) {
        self.broken.store(broken, Relaxed);
    }

    pub(crate) fn sign(&self, secure: bool) {
        *self.secure.lock().unwrap() = secure;
    }

    fn answer<T>(&self, records: Vec<T>, name: &str) -> Answer<T> {
        Answer { records, name: name.to_owned(), secure: *self.secure.lock().unwrap() }
    }
}

impl Names for Book {
    fn exchanges<'a>(
        &'a self,
        domain: &'a Domain,
    ) -> BoxFuture<'a, Result<Answer<Exchange>, LookupError>> {
        async move {
            assert!(!self.broken.load(Relaxed), "a test wants it so");
            if *self.failing.lock().unwrap() {
                return Err(LookupError::Failed("no answer came".to_owned()));
            }
            let all = self.exchanges.lock().unwrap();
            let found = all.get(domain.as_str()).ok_or(LookupError::NoName)?;
            let exchange = |(preference, host): &(u16, String)| Exchange {
                preference: *preference,
                host: host.clone(),
            };
            Ok(self.answer(found.iter().map(exchange).collect(), domain.as_str()))
        }
        .boxed()
    }

    fn addresses<'a>(
        &'a self,
        host: &'a str,
    ) -> BoxFuture<'a, Result<Answer<IpAddr>, LookupError>> {
        async move { Ok(self.answer(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)], host)) }.boxed()
    }

    fn associations<'a>(
        &'a self,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Answer<Tlsa>, LookupError>> {
        async move {
            let all = self.associations.lock().unwrap();
            match all.get(name) {
                None => Err(LookupError::NoName),
                Some(None) => Err(LookupError::Failed("no answer came".to_owned())),
                Some(Some(records)) => Ok(self.answer(records.clone(), name)),
            }
        }
        .boxed()
    }

    fn texts<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<String>, LookupError>> {
        async move {
            let all = self.policies.lock().unwrap();
            let domain = name.strip_prefix("_mta-sts.").ok_or(LookupError::NoName)?;
            all.get(domain).map(|_| vec!["v=STSv1; id=one".to_owned()]).ok_or(LookupError::NoName)
        }
        .boxed()
    }
}

impl Policies for Book {
    fn fetch<'a>(&'a self, domain: &'a Domain) -> BoxFuture<'a, Result<String, String>> {
        async move {
            let all = self.policies.lock().unwrap();
            all.get(domain.as_str()).cloned().ok_or_else(|| "404 Not Found".to_owned())
        }
        .boxed()
    }
}

/// Who remembers what it was told.
#[derive(Debug, Default)]
pub(crate) struct Seen(pub(crate) Mutex<Vec<Sighting>>);

impl Lookout for Seen {
    fn saw(&self, sighting: Sighting) {
        self.0.lock().unwrap().push(sighting);
    }
}

/// The roles, running.
pub(crate) struct House {
    pub(crate) role: Role,
    pub(crate) names: Arc<Book>,
    pub(crate) seen: Arc<Seen>,
    pub(crate) around: Surroundings,
}

pub(crate) fn local(port: u16) -> Vec<SocketAddr> {
    vec![SocketAddr::from(([127, 0, 0, 1], port))]
}

/// A configuration of all roles, on ports that the system chooses.
pub(crate) fn config(location: &str, folder: &Path) -> MailConfig {
    let mut config = MailConfig::new(Domain::parse("mx.isp.example").unwrap());
    config.database = Hidden::new(location);
    config.packs = PacksConfig::Folder(folder.join("packs"));
    config.copy = folder.join("directory.copy");
    config.keys = vec![Hidden::new("a secret that is long enough")];
    config.spool = SpoolConfig {
        folder: folder.join("spool"),
        reserve: 0,
        retry: Duration::from_millis(200),
        ..SpoolConfig::default()
    };
    config.mx = Some(MxConfig {
        listen: local(0),
        greeting_pause: Duration::ZERO,
        connections_per_source: 1000,
        ..MxConfig::default()
    });
    config.pop3 = Some(Pop3Config {
        listen: local(0),
        listen_tls: Vec::new(),
        unencrypted_login: true,
        failure_delay: Duration::ZERO,
        connections_per_source: 1000,
        ..Pop3Config::default()
    });
    config
}

/// The same with those who send.
pub(crate) fn config_of_all(location: &str, folder: &Path) -> MailConfig {
    let mut config = config(location, folder);
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["mx.isp.example".to_owned()]).unwrap();
    let (chain, key) = (folder.join("chain.pem"), folder.join("key.pem"));
    std::fs::write(&chain, cert.pem()).unwrap();
    std::fs::write(&key, signing_key.serialize_pem()).unwrap();
    config.certificates = vec![CertificateConfig { chain, key }];
    config.submission = Some(SubmissionConfig {
        listen: local(0),
        listen_tls: local(0),
        connections_per_source: 1000,
        ..SubmissionConfig::default()
    });
    config.outgoing = Some(OutgoingConfig {
        waits: vec![1],
        policies: folder.join("policies"),
        ..OutgoingConfig::default()
    });
    config
}

pub(crate) fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

impl House {
    pub(crate) async fn start(config: MailConfig) -> Self {
        Self::start_with(config, Arc::new(Open)).await
    }

    pub(crate) async fn start_with(config: MailConfig, perimeter: Arc<dyn Perimeter>) -> Self {
        let trust = Trust::of_roots(RootCertStore::empty()).unwrap();
        Self::start_among(config, perimeter, trust).await
    }

    /// Calls servers whose certificates `trust` believes.
    pub(crate) async fn start_among(
        config: MailConfig,
        perimeter: Arc<dyn Perimeter>,
        trust: Trust,
    ) -> Self {
        let (names, seen) = (Arc::new(Book::default()), Arc::new(Seen::default()));
        let around = Surroundings {
            perimeter,
            lookout: Arc::clone(&seen) as Arc<dyn Lookout>,
            names: Arc::clone(&names) as Arc<dyn Names>,
            policies: Arc::clone(&names) as Arc<dyn Policies>,
            trust: Some(trust),
            loopback: true,
        };
        let role = Role::start(config, Vec::new(), around.clone()).await.unwrap();
        Self { role, names, seen, around }
    }

    /// mx and pop3, with users.
    pub(crate) async fn of(database: &Database) -> Self {
        let house = Self::start(config(&database.location, database.folder())).await;
        house.furnish().await;
        house
    }

    /// All roles, with users.
    pub(crate) async fn of_all(database: &Database) -> Self {
        let house = Self::start(config_of_all(&database.location, database.folder())).await;
        house.furnish().await;
        house
    }

    /// Enters users: ann, bob, carl whose mail goes elsewhere, and dora who takes none.
    pub(crate) async fn furnish(&self) {
        let registry = self.role.directory().registry();
        registry
            .put_domain(&DomainEntry::new(Domain::parse("isp.example").unwrap()))
            .await
            .unwrap();
        for user in ["ann", "bob", "carl", "dora"] {
            let mut entry = AccountEntry::new(name(&format!("{user}@isp.example")));
            if user == "carl" {
                entry.forwards = vec![address("carl@elsewhere.example")];
                entry.keep_copy = false;
            }
            entry.disabled = user == "dora";
            registry.put_account(&entry).await.unwrap();
        }
        let all = vec![address("ann@isp.example"), address("bob@isp.example")];
        registry.put_alias(&AliasEntry::new(name("all@isp.example"), all)).await.unwrap();
        for user in ["ann@isp.example", "bob@isp.example"] {
            registry.set_password(&name(user), PASSWORD.as_bytes()).await.unwrap();
        }
        self.role.directory().catch_up().await.unwrap();
    }

    /// Where something is served.
    pub(crate) fn at(&self, service: &str) -> SocketAddr {
        let all = self.role.addresses();
        all.iter().find(|(name, _)| *name == service).expect("it is served").1
    }

    pub(crate) fn account(&self, user: &str) -> AccountId {
        self.role.directory().account_named(&name(user)).unwrap().id
    }

    /// The messages in a folder.
    pub(crate) async fn mail(&self, user: &str, folder: &str) -> Vec<String> {
        let Some(store) = self.role.store(ShardId::MAIN).await else { return Vec::new() };
        let account = Account(self.account(user).0);
        let path = FolderPath::parse(folder).unwrap();
        let Some(folder) = store.folder(account, &path).await.unwrap() else { return Vec::new() };
        let mut texts = Vec::new();
        for listed in store.listing(account, folder.id).await.unwrap() {
            let message = store.read(account, folder.id, listed.uid).await.unwrap();
            texts.push(String::from_utf8(message.to_vec()).unwrap());
        }
        texts
    }

    pub(crate) async fn inbox(&self, user: &str) -> Vec<String> {
        self.mail(user, Purpose::Inbox.path()).await
    }
}
