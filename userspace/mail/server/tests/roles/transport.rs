//! Domains that want their mail over TLS, and only to servers that they name (MTA-STS, RFC 8461), or that prove by records of DNS who
//! they are (DANE, RFC 7672).

use std::path::Path;
use std::sync::Arc;

use muralla_mail::operators::QueueForm;
use muralla_mail::outgoing::sts::Policies;
use muralla_mail::outgoing::sts::https::Https;
use muralla_mail::perimeter::Open;
use muralla_mail_envelope::Domain;
use muralla_smtp::tls::{CertificateFiles, Certificates, Tlsa, Trust, Wire};
use muralla_test_database::on_both_engines;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
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

/// What servers have in their TLSA records counts, and no policy beside it; and nothing goes in the clear for want of an answer.
async fn servers_prove_by_their_records_who_they_are(database: Database) {
    let folder = database.folder().to_owned();
    let authority = Authority::new();
    let other = Other::default();
    let mut config = config_of_all(&database.location, &folder);
    let certificates = authority.certify(&folder, "mx.elsewhere.example");
    let shown = CertificateDer::from_pem_file(folder.join("mx.elsewhere.example.chain")).unwrap();
    let port = other.listen_with(Some(certificates)).await;
    let outgoing = config.outgoing.as_mut().unwrap();
    outgoing.port = port;
    outgoing.dane = true;
    outgoing.resolvers = vec![([127, 0, 0, 1], 53).into()];
    let house = House::start_among(config, Arc::new(Open), authority.trust(&folder)).await;
    house.furnish().await;
    house.names.sign(true);
    let own = Tlsa { usage: 3, selector: 0, matching: 0, data: shown.to_vec() };
    let strange = Tlsa { usage: 3, selector: 1, matching: 1, data: vec![7; 32] };
    let unusable = Tlsa { usage: 1, selector: 1, matching: 1, data: vec![7; 32] };
    for (host, records) in [
        ("mx.good.example", Some(vec![strange.clone(), own.clone()])),
        ("mx.forged.example", Some(vec![strange.clone()])),
        ("mx.away.example", None),
        ("mx.odd.example", Some(vec![unusable])),
        ("mx.spare.example", None),
        ("mx2.spare.example", Some(vec![own])),
    ] {
        let name = format!("_{port}._tcp.{host}");
        house.names.associations.lock().unwrap().insert(name, records);
    }
    let strict = |host: &str| policy("enforce", host);
    for (domain, hosts, policy) in [
        // Its policy names somebody else, and DANE comes first.
        ("good.example", &[(10, "mx.good.example")][..], Some(strict("mx.elsewhere.example"))),
        // Its policy would be content: the certificate is signed, and for that name.
        ("forged.example", &[(10, "mx.forged.example")], Some(strict("mx.forged.example"))),
        ("away.example", &[(10, "mx.away.example")], Some(policy("testing", "mx.away.example"))),
        ("odd.example", &[(10, "mx.odd.example")], None),
        ("spare.example", &[(10, "mx.spare.example"), (20, "mx2.spare.example")], None),
        ("none.example", &[(10, "mx.none.example")], None),
        ("named.example", &[(10, "mx.elsewhere.example")], Some(strict("mx.elsewhere.example"))),
    ] {
        house.names.enter(domain, hosts);
        if let Some(policy) = policy {
            house.names.policies.lock().unwrap().insert(domain.to_owned(), policy);
        }
    }
    let domains = ["good", "forged", "away", "odd", "spare", "none", "named"];
    let to: Vec<String> = domains.iter().map(|domain| format!("'x@{domain}.example'")).collect();
    let script = format!(
        "{LOGIN}server.sendmail('ann@isp.example', [{}], 'From: ann@isp.example\\n\\nhello')\nserver.quit()\n",
        to.join(", ")
    );
    send(&house, "submission", &script).await.unwrap();
    until("the others were tried", || async {
        let entries = house.role.list_queue(&QueueForm::default()).await.unwrap();
        entries.len() == 2 && entries.iter().all(|entry| entry.reply.is_some())
    })
    .await;
    let entries = house.role.list_queue(&QueueForm::default()).await.unwrap();
    for (recipient, words) in [
        ("x@forged.example", "none of the 1 TLSA records that can be used fits"),
        (
            "x@away.example",
            "whether mx.away.example has TLSA records (DANE) can't be found out now",
        ),
    ] {
        let entry = entries.iter().find(|entry| entry.recipient == recipient).unwrap();
        let reply = entry.reply.clone().unwrap();
        assert!(reply.starts_with("451 4.7.5 ") && reply.contains(words), "{reply}");
        // And so does whoever asks for the message's life.
        let events = house.role.trace(recipient).await.unwrap();
        let deferred = |kind: &str, text: &str| kind == "deferred" && text.contains(words);
        assert!(events.iter().any(|event| deferred(&event.kind, &event.text)), "{events:?}");
    }
    let recipients = other.recipients();
    assert_eq!(recipients.len(), 5, "{recipients:?}");
    assert!(recipients.iter().all(|(_, encrypted)| *encrypted), "{recipients:?}");
    let transport = house.role.status().outgoing.unwrap().transport;
    assert_eq!((transport.by_dane, transport.by_sts, transport.encrypted), (2, 1, 2));
    assert!(transport.dane_failed > 0 && transport.dane_lookups > 1, "{transport:?}");
    assert_eq!((transport.clear, transport.unproved), (0, 0));
    house.role.stop().await;
}

/// Records that nothing proves demand nothing: a forger could have made them as well.
async fn records_without_a_proof_demand_nothing(database: Database) {
    let other = Other::default();
    let mut config = config_of_all(&database.location, database.folder());
    let port = other.listen_with(None).await;
    let outgoing = config.outgoing.as_mut().unwrap();
    outgoing.port = port;
    outgoing.dane = true;
    outgoing.resolvers = vec![([127, 0, 0, 1], 53).into()];
    let house = House::start(config).await;
    house.furnish().await;
    house.names.enter("plain.example", &[(10, "mx.plain.example")]);
    let strange = Tlsa { usage: 3, selector: 1, matching: 1, data: vec![7; 32] };
    let name = format!("_{port}._tcp.mx.plain.example");
    house.names.associations.lock().unwrap().insert(name, Some(vec![strange]));
    let script = format!(
        "{LOGIN}server.sendmail('ann@isp.example', ['x@plain.example'], 'From: ann@isp.example\\n\\nhello')\nserver.quit()\n"
    );
    send(&house, "submission", &script).await.unwrap();
    until("it arrived", || async { other.recipients().len() == 1 }).await;
    let transport = house.role.status().outgoing.unwrap().transport;
    assert_eq!((transport.clear, transport.unproved), (1, 1));
    house.role.stop().await;
}

on_both_engines!(
    mail_goes_where_the_policy_says_and_nowhere_else,
    servers_prove_by_their_records_who_they_are,
    records_without_a_proof_demand_nothing,
);

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
