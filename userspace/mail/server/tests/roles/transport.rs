//! Domains that want their mail over TLS, and only to servers that they name (MTA-STS, RFC 8461).

use std::path::Path;
use std::sync::Arc;

use muralla_mail::operators::QueueForm;
use muralla_mail::outgoing::sts::Policies;
use muralla_mail::outgoing::sts::https::Https;
use muralla_mail::perimeter::Open;
use muralla_mail_envelope::Domain;
use muralla_smtp::tls::{CertificateFiles, Certificates, Trust, Wire};
use muralla_test_database::on_both_engines;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::database::Database;
use crate::house::{Book, House, config_of_all};
use crate::outgoing::Other;
use crate::submission::{LOGIN, send};
use crate::talk::until;

/// A root, and what it signed.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap())
    }

    fn certify(&self, folder: &Path, name: &str) -> Arc<Certificates> {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &self.0).unwrap();
        let at = |end: &str| folder.join(format!("{name}.{end}"));
        let files = CertificateFiles { chain: at("chain"), key: at("key") };
        std::fs::write(&files.chain, certificate.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        Arc::new(Certificates::load(vec![files]).unwrap())
    }

    fn trust(&self, folder: &Path) -> Trust {
        let file = folder.join("root.pem");
        std::fs::write(&file, self.0.pem()).unwrap();
        Trust::of_file(&file).unwrap()
    }
}

fn policy(mode: &str, host: &str) -> String {
    format!("version: STSv1\nmode: {mode}\nmx: {host}\nmax_age: 86400\n")
}

async fn mail_goes_where_the_policy_says_and_nowhere_else(database: Database) {
    let folder = database.folder().to_owned();
    let authority = Authority::new();
    let other = Other::default();
    let mut config = config_of_all(&database.location, &folder);
    let certificates = authority.certify(&folder, "mx.elsewhere.example");
    config.outgoing.as_mut().unwrap().port = other.listen_with(Some(certificates)).await;
    let house = House::start_among(config, Arc::new(Open), authority.trust(&folder)).await;
    house.furnish().await;
    for (domain, host, policy) in [
        ("good.example", "mx.elsewhere.example", policy("enforce", "mx.elsewhere.example")),
        // Its certificate is of another name.
        ("forged.example", "mx.evil.example", policy("enforce", "*.evil.example")),
        // Whoever forged its MX is none of those that it names.
        ("moved.example", "mx.elsewhere.example", policy("enforce", "mx.moved.example")),
        ("trying.example", "mx.evil.example", policy("testing", "mx.trying.example")),
    ] {
        house.names.enter(domain, &[(10, host)]);
        house.names.policies.lock().unwrap().insert(domain.to_owned(), policy);
    }
    let script = format!(
        "{LOGIN}server.sendmail('ann@isp.example', \
         ['x@good.example', 'x@forged.example', 'x@moved.example', 'x@trying.example'], \
         'From: ann@isp.example\\n\\nhello')\nserver.quit()\n"
    );
    send(&house, "submission", &script).await.unwrap();
    until("the others were tried", || async {
        let entries = house.role.list_queue(&QueueForm::default()).await.unwrap();
        entries.len() == 2 && entries.iter().all(|entry| entry.reply.is_some())
    })
    .await;
    let entries = house.role.list_queue(&QueueForm::default()).await.unwrap();
    let said = |recipient: &str| {
        let entry = entries.iter().find(|entry| entry.recipient == recipient).unwrap();
        entry.reply.clone().unwrap()
    };
    assert!(said("x@moved.example").starts_with("451 4.7.0"), "{entries:?}");
    assert!(said("x@forged.example").contains("TLS"), "{entries:?}");
    let recipients = other.recipients();
    assert_eq!(recipients.len(), 2, "{recipients:?}");
    assert!(recipients.iter().all(|(_, encrypted)| *encrypted), "{recipients:?}");
    house.role.stop().await;
}

on_both_engines!(mail_goes_where_the_policy_says_and_nowhere_else);

/// Answers each connection with the next of these.
async fn web(certificates: Arc<Certificates>, answers: Vec<&'static str>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        for answer in answers {
            let (stream, _) = listener.accept().await.unwrap();
            let mut wire = Wire::Plain(stream);
            if wire.accept(&certificates).await.is_err() {
                continue;
            }
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(wire.read_u8().await.unwrap());
            }
            let asked = String::from_utf8(asked).unwrap();
            assert!(asked.starts_with("GET /.well-known/mta-sts.txt HTTP/1.1\r\n"), "{asked}");
            assert!(asked.contains("host: mta-sts.example.org\r\n"), "{asked}");
            wire.write_all(answer.as_bytes()).await.unwrap();
            let _ = wire.shutdown().await;
        }
    });
    port
}

#[tokio::test]
async fn policies_are_fetched() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let trust = authority.trust(folder.path());
    let names = Arc::new(Book::default());
    let domain = Domain::parse("example.org").unwrap();
    let answers = vec![
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nuntil the end",
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 301 Moved Permanently\r\nlocation: https://example.org/\r\ncontent-length: 0\r\n\r\n",
        "",
    ];
    let port = web(authority.certify(folder.path(), "mta-sts.example.org"), answers).await;
    let fetcher = Https::on_loopback(names.clone(), trust.clone(), port);
    assert_eq!(fetcher.fetch(&domain).await.as_deref(), Ok("hello"));
    assert_eq!(fetcher.fetch(&domain).await.as_deref(), Ok("until the end"));
    for why in ["text/html", "301", "mta-sts.example.org"] {
        let error = fetcher.fetch(&domain).await.unwrap_err();
        assert!(error.contains(why), "{error}");
    }

    // A certificate of another name is none.
    let port = web(authority.certify(folder.path(), "example.org"), vec![""]).await;
    let error = Https::on_loopback(names, trust, port).fetch(&domain).await.unwrap_err();
    assert!(error.contains("certificate"), "{error}");
}
