use muralla_mail_envelope::{Client, Domain, MailParameters, MessageId, Recipient, ReversePath};
use muralla_mail_store::packs::memory::MemoryPacks;
use muralla_mail_store::{BodyOptions, SCHEMA as STORE};
use muralla_test_database::Database;

use super::*;

const NOW: i64 = 1_800_000_000;

fn submission(number: u8) -> Submission {
    let host = Domain::parse("mx.example.org").unwrap();
    let envelope = Envelope {
        id: MessageId([number; 16]),
        from: ReversePath::Null,
        mail: MailParameters::default(),
        recipients: vec![Recipient::new("x@example.net".parse().unwrap())],
        received_at: NOW,
        client: Client::local(&host),
    };
    Submission::new(envelope, Bytes::from_static(b"Subject: x\r\n\r\nx\r\n"))
}

/// Who waits for it is told that it may be done later; who is written with it or after it notices nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_costs_one_step() {
    let database = Database::sqlite();
    let engine = database.engine(&STORE).await;
    let bodies = Bodies::new(engine, Arc::new(MemoryPacks::default()), BodyOptions::default());
    let queue = Queue::open(bodies, Options::new("one")).await.unwrap();
    for number in 1..=5 {
        let told = queue.inner.write(Step::Panic).await.unwrap_err();
        assert!(told.may_pass(), "{told}");
        let queued = queue.submit(submission(number), NOW).await.unwrap();
        assert_eq!(queued, Submitted::Queued);
        assert_eq!(queue.status().panics, u64::from(number));
    }
    assert_eq!(queue.counts(NOW).await.unwrap().messages, 5);
    // Gathered while another batch is committed, these come together.
    let (first, panicked, second) = tokio::join!(
        queue.submit(submission(6), NOW),
        queue.inner.write(Step::Panic),
        queue.submit(submission(7), NOW),
    );
    assert_eq!((first.unwrap(), second.unwrap()), (Submitted::Queued, Submitted::Queued));
    assert!(panicked.unwrap_err().may_pass());
    assert_eq!(queue.counts(NOW).await.unwrap().messages, 7);
}
