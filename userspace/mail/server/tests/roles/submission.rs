//! Mail from our users.

use std::process::Command;

use muralla_mail::dkim;
use muralla_mail_directory::{AccountEntry, DkimAlgorithm, DkimKeyEntry, SendingLimits};
use muralla_mail_envelope::Domain;
use muralla_mail_queue::Filter;
use muralla_test_database::on_both_engines;

use crate::database::Database;
use crate::house::{House, PASSWORD, config_of_all, name};

/// Sends by python's smtplib, as a mail program does; what it says went wrong.
pub(crate) async fn send(house: &House, service: &str, script: &str) -> Result<(), String> {
    let (tls, port) = (service == "submissions", house.at(service).port());
    let head = format!(
        "import smtplib, ssl\n\
         context = ssl._create_unverified_context()\n\
         tls = {}\n\
         make = lambda: smtplib.SMTP_SSL('127.0.0.1', {port}, context=context) if tls else smtplib.SMTP('127.0.0.1', {port})\n\
         server = make()\n\
         tls or server.starttls(context=context)\n\
         password = '{PASSWORD}'\n",
        if tls { "True" } else { "False" },
    );
    let script = format!("{head}{script}");
    let run = tokio::task::spawn_blocking(move || {
        Command::new("python3").args(["-c", &script]).output().unwrap()
    });
    let output = run.await.unwrap();
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(said.lines().last().unwrap_or_default().to_owned())
        }
    }
}

pub(crate) const LOGIN: &str = "server.login('ann@isp.example', password)\n";

async fn users_send_to_everybody(database: Database) {
    let house = House::of_all(&database).await;
    house.names.fail(true);
    for service in ["submission", "submissions"] {
        let script = format!(
            "{LOGIN}server.sendmail('ann@isp.example', ['bob@isp.example', 'x@elsewhere.example'], \
             'From: Ann <ann@isp.example>\\nSubject: hi\\n\\nhello')\nserver.quit()\n"
        );
        send(&house, service, &script).await.unwrap();
    }
    let inbox = house.inbox("bob@isp.example").await;
    assert_eq!(inbox.len(), 2);
    for text in &inbox {
        assert!(text.contains("Received: from localhost (concealed)"), "{text}");
        assert!(!text.contains("127.0.0.1"), "{text}");
        assert!(text.contains("\r\nDate: ") && text.contains("\r\nMessage-ID: <"), "{text}");
        assert!(text.contains("with ESMTPSA"), "{text}");
    }
    let queue = house.role.queue().await.unwrap();
    let filter = Filter { recipient: Some("x@elsewhere.example".into()), ..Filter::default() };
    let queued = queue.list(&filter, None, 10, 0).await.unwrap();
    assert_eq!(queued.len(), 2);
    assert!(queued.iter().all(|entry| entry.sender == "ann@isp.example"));
    assert_eq!(house.role.status().submission.unwrap().counts.accepted, 2);
    house.role.stop().await;
}

async fn nobody_sends_as_another(database: Database) {
    let house = House::of_all(&database).await;
    let fails = async |script: &str, code: &str| {
        let said = send(&house, "submission", script).await.unwrap_err();
        assert!(said.contains(code), "{script}: {said}");
    };
    fails("server.login('ann@isp.example', 'wrong')\n", "535").await;
    fails("server.sendmail('ann@isp.example', ['x@example.org'], 'x')\n", "530").await;
    let message = "'From: ann@isp.example\\n\\nx'";
    fails(
        &format!("{LOGIN}server.sendmail('bob@isp.example', ['x@example.org'], {message})\n"),
        "553",
    )
    .await;
    let message = "'From: Bob <bob@isp.example>\\n\\nx'";
    fails(
        &format!("{LOGIN}server.sendmail('ann@isp.example', ['x@example.org'], {message})\n"),
        "550",
    )
    .await;
    // An alias that leads to her is hers.
    let message = "'From: all@isp.example\\n\\nx'";
    let script =
        format!("{LOGIN}server.sendmail('all@isp.example', ['bob@isp.example'], {message})\n");
    send(&house, "submission", &script).await.unwrap();
    // Nobody logs in without TLS.
    let script = format!(
        "plain = smtplib.SMTP('127.0.0.1', {})\nplain.login('ann@isp.example', password)\n",
        house.at("submission").port()
    );
    fails(&script, "not supported").await;
    house.role.stop().await;
}

async fn a_stolen_account_sends_little(database: Database) {
    let house = House::of_all(&database).await;
    let registry = house.role.directory().registry();
    let mut eve = AccountEntry::new(name("eve@isp.example"));
    eve.limits = SendingLimits {
        messages_per_hour: Some(3),
        recipients_per_message: Some(2),
        ..SendingLimits::default()
    };
    registry.put_account(&eve).await.unwrap();
    registry.set_password(&eve.name, PASSWORD.as_bytes()).await.unwrap();
    house.role.directory().catch_up().await.unwrap();
    let script = "server.login('eve@isp.example', password)\n\
        text = 'From: eve@isp.example\\n\\nx'\n\
        refused = server.sendmail('eve@isp.example', ['ann@isp.example', 'bob@isp.example', 'carl@isp.example'], text)\n\
        assert list(refused) == ['carl@isp.example'] and refused['carl@isp.example'][0] == 452, refused\n\
        assert refused['carl@isp.example'][1].startswith(b'4.5.3 A message of yours may have 2 recipients'), refused\n\
        for n in range(2): server.sendmail('eve@isp.example', ['ann@isp.example'], text)\n\
        try: server.sendmail('eve@isp.example', ['ann@isp.example'], text); raise SystemExit('it went')\n\
        except smtplib.SMTPSenderRefused as error: assert b'3 messages an hour' in error.smtp_error, error\n";
    send(&house, "submission", script).await.unwrap();
    assert_eq!(house.inbox("ann@isp.example").await.len(), 3);

    eve.may_send = false;
    registry.put_account(&eve).await.unwrap();
    house.role.directory().catch_up().await.unwrap();
    let script = "server.login('eve@isp.example', password)\n\
        server.sendmail('eve@isp.example', ['ann@isp.example'], 'x')\n";
    let said = send(&house, "submission", script).await.unwrap_err();
    assert!(said.contains("may not send"), "{said}");
    house.role.stop().await;
}

/// What was sent before a restart counts after it, and a reload says anew how much that may be.
async fn limits_outlive_a_restart_and_follow_a_reload(database: Database) {
    let config = config_of_all(&database.location, database.folder());
    let house = House::start(config.clone()).await;
    house.furnish().await;
    let send_one = format!(
        "{LOGIN}server.sendmail('ann@isp.example', ['bob@isp.example'], 'From: ann@isp.example\\n\\nx')\n"
    );
    send(&house, "submission", &send_one).await.unwrap();
    house.role.stop().await;

    let house = House::start(config.clone()).await;
    let few = |messages| {
        let mut config = config.clone();
        config.limits.messages_per_hour = Some(messages);
        config
    };
    let remarks = house.role.reload(few(1)).unwrap();
    assert!(remarks.iter().all(|remark| !remark.contains("limits")), "{remarks:?}");
    let said = send(&house, "submission", &send_one).await.unwrap_err();
    assert!(said.contains("1 messages an hour"), "{said}");
    house.role.reload(few(2)).unwrap();
    send(&house, "submission", &send_one).await.unwrap();
    assert_eq!(house.role.status().submission.unwrap().counts.limited, 1);
    house.role.stop().await;
}

/// Nobody's mailbox is filled beyond what it may have by way of another recipient.
async fn a_full_mailbox_takes_nothing_from_users_either(database: Database) {
    let house = House::of_all(&database).await;
    let registry = house.role.directory().registry();
    let mut small = AccountEntry::new(name("small@isp.example"));
    small.quota_bytes = Some(1000);
    registry.put_account(&small).await.unwrap();
    house.role.directory().catch_up().await.unwrap();
    let script = format!(
        "{LOGIN}to = ['small@isp.example', 'bob@isp.example']\n\
         text = 'From: ann@isp.example\\n\\n' + 'more\\n' * 300\n\
         refused = [list(server.sendmail('ann@isp.example', to, text)) for n in range(3)]\n\
         assert refused == [[], to[:1], to[:1]], refused\nserver.quit()\n"
    );
    send(&house, "submission", &script).await.unwrap();
    assert_eq!(house.inbox("small@isp.example").await.len(), 1);
    assert_eq!(house.inbox("bob@isp.example").await.len(), 3);
    house.role.stop().await;
}

async fn what_users_send_is_signed(database: Database) {
    let house = House::of_all(&database).await;
    let registry = house.role.directory().registry();
    for (selector, algorithm, active) in [
        ("r", DkimAlgorithm::RsaSha256, true),
        ("e", DkimAlgorithm::Ed25519Sha256, true),
        ("old", DkimAlgorithm::Ed25519Sha256, false),
    ] {
        let key = DkimKeyEntry {
            domain: Domain::parse("isp.example").unwrap(),
            selector: selector.to_owned(),
            algorithm,
            private_key: dkim::new_key(algorithm).unwrap(),
            active,
            created: 0,
        };
        registry.add_dkim_key(&key).await.unwrap();
    }
    house.role.directory().catch_up().await.unwrap();
    let script = format!(
        "{LOGIN}server.sendmail('ann@isp.example', ['bob@isp.example'], \
         'From: Ann <ann@isp.example>\\nSubject: hi\\n\\nhello')\nserver.quit()\n"
    );
    send(&house, "submission", &script).await.unwrap();
    let inbox = house.inbox("bob@isp.example").await;
    let [text] = &inbox[..] else { panic!("{inbox:?}") };
    let signatures: Vec<&str> = text.split("DKIM-Signature: ").skip(1).collect();
    assert_eq!(signatures.len(), 2, "{text}");
    assert!(signatures[0].contains("a=rsa-sha256;") && signatures[0].contains("s=r;"), "{text}");
    assert!(
        signatures[1].contains("a=ed25519-sha256;") && signatures[1].contains("s=e;"),
        "{text}"
    );
    // What we wrote is signed with it, as there is no other of it.
    assert!(
        signatures.iter().all(|one| one.contains("message-id") && one.contains("d=isp.example;"))
    );
    house.role.stop().await;
}

on_both_engines!(
    users_send_to_everybody,
    nobody_sends_as_another,
    a_stolen_account_sends_little,
    limits_outlive_a_restart_and_follow_a_reload,
    a_full_mailbox_takes_nothing_from_users_either,
    what_users_send_is_signed
);
