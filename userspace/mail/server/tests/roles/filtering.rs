//! What the filter makes of mail that comes: over SMTP, into mailboxes, the queue, or back to its sender.

use muralla_mail::config::{FilterConfig, MailConfig};
use muralla_mail::operators::{QueueForm, QueueState};
use muralla_mail_directory::{ContactEntry, ContactSource};
use muralla_mail_store::Purpose;
use muralla_test_database::on_both_engines;

use crate::database::Database;
use crate::house::{House, address, config, local};
use crate::talk::Talk;

/// By which filters are tried. In two pieces, so that this file is no message of that kind.
const GTUBE: [&str; 2] =
    ["XJS*C4JDBQADN1.NSBN3*2IDNEN*", "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"];

/// By which virus scanners are tried.
const EICAR: [&str; 2] =
    ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-", "STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"];

fn filtered(database: &Database) -> MailConfig {
    let mut config = config(&database.location, database.folder());
    config.filter = Some(FilterConfig {
        // Nobody answers there, and says so at once.
        resolvers: vec![([127, 0, 0, 1], 9).into()],
        ..FilterConfig::default()
    });
    config
}

async fn house(config: MailConfig) -> House {
    let house = House::start(config).await;
    house.furnish().await;
    house.role.queue().await.unwrap();
    house
}

async fn send(house: &House, from: &str, text: &str) -> String {
    let mut talk = Talk::smtp(house.at("mx")).await;
    let replies = talk.mail(from, &["ann@isp.example"], text).await;
    replies.last().cloned().unwrap_or_default()
}

async fn good_mail_comes_into_the_inbox_with_what_was_thought_of_it(database: Database) {
    let house = house(filtered(&database)).await;
    let text = "From: Xaver <x@example.org>\r\nTo: ann@isp.example\r\nSubject: lunch\r\nDate: Tue, 01 Dec 2026 09:00:00 +0000\r\n\
                Message-ID: <1@example.org>\r\n\r\nShall we have lunch on Friday?";
    let reply = send(&house, "x@example.org", text).await;
    assert!(reply.starts_with("250 "), "{reply}");
    let inbox = house.inbox("ann@isp.example").await;
    assert_eq!(inbox.len(), 1);
    assert!(inbox[0].contains("\r\nX-Muralla: inbox; score="), "{}", inbox[0]);
    assert!(
        inbox[0].contains("\r\nAuthentication-Results: mx.isp.example;\r\n\tspf=temperror"),
        "{}",
        inbox[0]
    );
    house.role.stop().await;
}

async fn certain_spam_is_refused_or_filed(database: Database) {
    let text = format!("From: x@example.org\r\nSubject: try\r\n\r\n{}", GTUBE.concat());
    let house = house(filtered(&database)).await;
    let reply = send(&house, "x@example.org", &text).await;
    assert!(reply.starts_with("550 5.7.1 This looks like spam."), "{reply}");
    assert!(reply.contains("postmaster"), "no way out: {reply}");
    assert!(house.inbox("ann@isp.example").await.is_empty());

    // Without a cut-off everything arrives; and the setting takes effect while it runs.
    let mut gentle = filtered(&database);
    gentle.filter.as_mut().unwrap().cut_off = false;
    house.role.reload(gentle).unwrap();
    let reply = send(&house, "x@example.org", &text).await;
    assert!(reply.starts_with("250 "), "{reply}");
    let spam = house.mail("ann@isp.example", Purpose::Spam.path()).await;
    assert_eq!(spam.len(), 1);
    assert!(spam[0].contains("X-Muralla: spam;") && spam[0].contains("gtube"), "{}", spam[0]);
    assert!(house.inbox("ann@isp.example").await.is_empty());
    house.role.stop().await;
}

async fn what_is_dangerous_reaches_nobody(database: Database) {
    let house = house(filtered(&database)).await;
    // Not even from somebody whom she knows: his account may be another's.
    let registry = house.role.directory().registry();
    let contact = ContactEntry {
        address: address("x@example.org"),
        name: None,
        source: ContactSource::Person,
        created: 0,
    };
    registry.put_contacts(house.account("ann@isp.example"), &[contact]).await.unwrap();
    let text = format!(
        "From: x@example.org\r\nSubject: see\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
         --b\r\n\r\nhello\r\n--b\r\nContent-Type: application/octet-stream; name=eicar.com\r\n\r\n{}\r\n--b--",
        EICAR.concat()
    );
    let reply = send(&house, "x@example.org", &text).await;
    assert!(reply.starts_with("250 "), "{reply}");
    assert!(house.inbox("ann@isp.example").await.is_empty());
    let held = QueueForm { state: Some(QueueState::Held), ..QueueForm::default() };
    let held = house.role.list_queue(&held).await.unwrap();
    assert_eq!(held.len(), 1, "{held:?}");
    house.role.stop().await;
}

async fn others_ask_the_same_filter(database: Database) {
    let mut config = filtered(&database);
    let filter = config.filter.as_mut().unwrap();
    (filter.http, filter.milter) = (local(0), local(0));
    let house = house(config).await;
    let ask = async |body: String| {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(house.at("filter-http")).await.unwrap();
        let head = format!(
            "POST /checkv2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nFrom: x@example.org\r\nRcpt: ann@isp.example\r\n\
             Ip: 192.0.2.1\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let bad =
        ask(format!("From: x@example.org\r\nSubject: try\r\n\r\n{}\r\n", GTUBE.concat())).await;
    assert!(bad.contains("\"action\":\"reject\"") && bad.contains("GTUBE"), "{bad}");
    let good = ask("From: x@example.org\r\nSubject: lunch\r\n\r\nOn Friday?\r\n".to_owned()).await;
    assert!(good.contains("\"action\":\"no action\""), "{good}");
    house.role.stop().await;
}

on_both_engines!(
    good_mail_comes_into_the_inbox_with_what_was_thought_of_it,
    certain_spam_is_refused_or_filed,
    what_is_dangerous_reaches_nobody,
    others_ask_the_same_filter,
);
