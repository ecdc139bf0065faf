//! What operators see and do, and what asks the services for their greeting.

use muralla_mail::operators::{DestinationsForm, MessageForm, QueueAction, QueueForm, QueueState};
use muralla_mail::report::Status;
use muralla_test_database::on_both_engines;

use crate::database::Database;
use crate::house::{House, config_of_all};
use crate::submission::{LOGIN, send};
use crate::talk::{Talk, until};

async fn the_queue_is_seen_and_changed(database: Database) {
    let house = House::of_all(&database).await;
    house.names.fail(true);
    let script = format!(
        "{LOGIN}server.sendmail('ann@isp.example', ['x@elsewhere.example', 'y@example.org'], \
         'From: ann@isp.example\\nMessage-ID: <one@isp.example>\\n\\nhello')\nserver.quit()\n"
    );
    send(&house, "submission", &script).await.unwrap();
    let all = house.role.list_queue(&QueueForm::default()).await.unwrap();
    assert_eq!(all.len(), 2);
    assert!(all.iter().all(|entry| entry.sender == "ann@isp.example"), "{all:?}");

    let destinations = house.role.list_destinations(DestinationsForm::default()).await.unwrap();
    let counted: Vec<_> =
        destinations.iter().map(|one| (one.name.as_str(), one.recipients)).collect();
    assert_eq!(counted, [("elsewhere.example", 1), ("example.org", 1)]);

    let read = async |message: &str, header: bool| {
        let form = MessageForm { message: message.to_owned(), header };
        let read = house.role.read_queued(&form).await?;
        let octets = u64::try_from(read.octets().unwrap().len()).unwrap();
        assert!(if header { octets < read.size } else { octets == read.size }, "{read:?}");
        Ok::<_, String>(String::from_utf8(read.octets().unwrap()).unwrap())
    };
    let header = read(&all[0].message, true).await.unwrap();
    assert!(header.contains("Message-ID: <one@isp.example>\r\n"), "{header}");
    assert!(header.ends_with("\r\n\r\n"), "{header}");
    assert_eq!(read(&all[0].message, false).await, Ok(format!("{header}hello\r\n")));
    for (strange, why) in
        [("strange", "no id of ours"), ("aaaaaaaaaaaaaaaaaaaaaaaaaa", "not in the queue")]
    {
        let refused = read(strange, false).await.unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }

    let of = |recipient: &str| QueueForm {
        message: Some(all[0].message.clone()),
        recipient: Some(recipient.to_owned()),
        ..QueueForm::default()
    };
    let held = QueueForm { state: Some(QueueState::Held), ..QueueForm::default() };
    let hold = house.role.change_queue(&of("x@elsewhere.example"), QueueAction::Hold).await;
    assert_eq!(hold, Ok(1));
    assert_eq!(house.role.list_queue(&held).await.unwrap().len(), 1);
    assert_eq!(house.role.change_queue(&held, QueueAction::Release).await, Ok(1));
    assert_eq!(house.role.change_queue(&of("y@example.org"), QueueAction::Remove).await, Ok(1));
    assert_eq!(house.role.list_queue(&QueueForm::default()).await.unwrap().len(), 1);
    let strange = QueueForm { message: Some("strange".to_owned()), ..QueueForm::default() };
    let refused = house.role.list_queue(&strange).await.unwrap_err();
    assert!(refused.contains("strange is no id of ours"), "{refused}");

    let kinds = async |what: &str| {
        let events = house.role.trace(what).await.unwrap();
        events.into_iter().map(|event| event.kind).collect::<Vec<_>>()
    };
    for what in ["<one@isp.example>", "x@elsewhere.example"] {
        let kinds = kinds(what).await;
        for kind in ["accepted", "queued", "held", "released", "dropped"] {
            assert!(kinds.iter().any(|one| one == kind), "{what}: {kinds:?}");
        }
    }
    // What is queued has an id of its own, by which it is known from its beginning as well.
    let queued = kinds(&all[0].message).await;
    assert!(
        ["accepted", "queued"].iter().all(|kind| queued.iter().any(|one| one == kind)),
        "{queued:?}"
    );
    house.role.stop().await;
}

async fn services_are_asked_for_their_greeting(database: Database) {
    let house = House::of_all(&database).await;
    house.role.canary().await.unwrap();
    until("the queue is counted", || async { house.role.status().queue.is_some() }).await;
    // The binary hands it on as JSON.
    let status = house.role.status();
    let text = serde_json::to_string(&status).unwrap();
    let back: Status = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&back).unwrap(), text);
    assert_eq!(back.listening.len(), 4);
    house.role.stop().await;
    let silent = house.role.canary().await.unwrap_err();
    assert!(silent.contains("127.0.0.1"), "{silent}");
}

/// Whoever comes while there are too many is told so: a service that can say that is alive.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flood_is_no_failure() {
    let database = Database::sqlite();
    let mut config = config_of_all(&database.location, database.folder());
    config.mx.as_mut().unwrap().connections = 1;
    config.submission.as_mut().unwrap().connections = 1;
    config.pop3.as_mut().unwrap().connections = 1;
    let house = House::start(config).await;
    let mut flood = Vec::new();
    for service in ["mx", "submission", "pop3"] {
        let mut talk = Talk::to(house.at(service)).await;
        let greeting = talk.line().await.unwrap();
        assert!(greeting.starts_with("220 ") || greeting.starts_with("+OK"), "{greeting}");
        flood.push(talk);
    }
    house.role.canary().await.unwrap();
    let troubles = house.role.status().troubles;
    assert!(troubles.iter().any(|trouble| trouble.starts_with("mx has all")), "{troubles:?}");
    house.role.stop().await;
}

on_both_engines!(the_queue_is_seen_and_changed, services_are_asked_for_their_greeting);
