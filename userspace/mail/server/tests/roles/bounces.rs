//! What comes back to our users: their senders are signed on the way out, and what comes back unsigned answers nothing of ours.

use muralla_mail::config::UnsignedBounces;
use muralla_mail_directory::Hidden;
use muralla_mail_envelope::Keys;
use muralla_mail_envelope::prvs::{self, Verdict};
use muralla_smtp::server::Mode;
use muralla_test_database::on_both_engines;

use crate::database::Database;
use crate::house::{House, address, config_of_all};
use crate::outgoing::Other;
use crate::submission::{LOGIN, send};
use crate::talk::{Talk, until};

async fn forged_bounces_are_known(database: Database) {
    let other = Other::default();
    let mut config = config_of_all(&database.location, database.folder());
    config.outgoing.as_mut().unwrap().port = other.listen(Mode::Mx).await;
    config.mx.as_mut().unwrap().unsigned_bounces = UnsignedBounces::Refuse;
    let house = House::start(config).await;
    house.furnish().await;
    house.names.enter("elsewhere.example", &[(10, "mx.elsewhere.example")]);

    // carl's mail goes to another provider as well, under ann's signed sender.
    let script = format!(
        "{LOGIN}server.sendmail('ann@isp.example', ['x@elsewhere.example', 'carl@isp.example'], \
         'From: ann@isp.example\\n\\nhello')\nserver.quit()\n"
    );
    send(&house, "submission", &script).await.unwrap();
    until("both are there", || async { other.senders().len() == 2 }).await;
    let senders = other.senders();
    assert!(senders.iter().all(|sender| sender.starts_with("<prvs=")), "{senders:?}");
    let signed = senders[0].trim_matches(['<', '>']).to_owned();
    assert!(signed.ends_with("=ann@isp.example"), "{signed}");

    let mut talk = Talk::smtp(house.at("mx")).await;
    let message = "From: MAILER-DAEMON@elsewhere.example\r\nSubject: no\r\n\r\nx";
    let forged = signed.replacen("prvs=", "prvs=9", 1).replacen("prvs=90", "prvs=9", 1);
    for (from, to, reply) in [
        ("", &*signed, "250 "),
        ("", "ann@isp.example", "550 5.7.1"),
        ("", &*forged, "550 5.1.1"),
        ("", "nobody@isp.example", "550 5.7.1"),
        // Whoever is somebody writes to whom he likes.
        ("x@elsewhere.example", "ann@isp.example", "250 "),
        // Postmasters are written to by everybody; here there is none.
        ("", "postmaster@isp.example", "550 5.1.1"),
    ] {
        let replies = talk.mail(from, &[to], message).await;
        assert!(replies[1].starts_with(reply), "{from} {to}: {replies:?}");
    }
    assert_eq!(house.inbox("ann@isp.example").await.len(), 2);
    assert_eq!(house.role.status().mx.unwrap().counts.backscatter, 2);
    house.role.stop().await;
}

/// What goes out is signed with what the operator wrote last.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn new_keys_are_taken_without_a_restart() {
    const SECRET: &str = "another secret that is long enough";
    let database = Database::sqlite();
    let other = Other::default();
    let mut config = config_of_all(&database.location, database.folder());
    config.outgoing.as_mut().unwrap().port = other.listen(Mode::Mx).await;
    let house = House::start(config.clone()).await;
    house.furnish().await;
    house.names.enter("elsewhere.example", &[(10, "mx.elsewhere.example")]);
    config.keys = vec![Hidden::new(SECRET)];
    let remarks = house.role.reload(config).unwrap();
    assert!(!remarks.iter().any(|remark| remark.contains("keys")), "{remarks:?}");
    let script = format!(
        "{LOGIN}server.sendmail('ann@isp.example', ['x@elsewhere.example'], \
         'From: ann@isp.example\\n\\nhello')\nserver.quit()\n"
    );
    send(&house, "submission", &script).await.unwrap();
    until("it is there", || async { other.senders().len() == 1 }).await;
    let sender = address(other.senders()[0].trim_matches(['<', '>']));
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let today = i64::try_from(since.as_secs() / 86_400).unwrap();
    let keys = Keys::of_secrets(&[SECRET]).unwrap();
    let verdict = prvs::check(&sender, &keys, today);
    assert!(matches!(verdict, Verdict::Signed(_)), "{sender}: {verdict:?}");
    house.role.stop().await;
}

on_both_engines!(forged_bounces_are_known);
