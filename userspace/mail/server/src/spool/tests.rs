use std::os::unix::fs::FileExt;

use muralla_mail_directory::AccountId;
use muralla_mail_envelope::{Client, Domain, Envelope, MailParameters, Recipient, ReversePath};
use tempfile::TempDir;

use super::*;
use crate::plan::Mailbox;

const NOW: i64 = 1_800_000_000;

fn plan(number: u8) -> Plan {
    let host = Domain::parse("mx.isp.example").unwrap();
    let ann = "ann@isp.example".parse().unwrap();
    Plan {
        envelope: Envelope {
            id: MessageId([number; 16]),
            from: ReversePath::Null,
            mail: MailParameters::default(),
            recipients: vec![Recipient::new(ann)],
            received_at: NOW,
            client: Client::local(&host),
        },
        boxes: vec![Mailbox {
            account: AccountId(1),
            to: None,
            folder: "Inbox".into(),
            wished: None,
            promised: false,
        }],
        parcels: Vec::new(),
    }
}

fn letter(plan: &Plan, text: &str) -> Letter {
    Letter::new(plan, "Received: here\r\n", text.as_bytes())
}

async fn spool(folder: &TempDir, change: impl FnOnce(&mut SpoolConfig)) -> Spool {
    let mut config =
        SpoolConfig { folder: folder.path().join("spool"), reserve: 0, ..SpoolConfig::default() };
    change(&mut config);
    Spool::open(config).await.unwrap()
}

fn is_empty(spool: &Spool) -> bool {
    spool.status().messages == 0
}

#[tokio::test]
async fn what_is_kept_is_there_after_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let here = spool(&folder, |_| ()).await;
    for number in 1..4 {
        let plan = plan(number);
        here.keep(&plan, &letter(&plan, "\r\nhello\r\n"), NOW + i64::from(number)).await.unwrap();
    }
    let status = here.status();
    assert_eq!((status.messages, status.kept, status.oldest), (3, 3, Some(NOW + 1)));
    let keys = here.waiting(None, 10);
    let numbers: Vec<u8> = keys.iter().map(|(_, id)| id.0[0]).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(here.waiting(Some(keys[0]), 1), [keys[1]]);

    // Another process, or the same one later.
    let later = spool(&folder, |_| ()).await;
    assert_eq!((later.status().messages, later.status().bytes), (3, status.bytes));
    for key in later.waiting(None, 10) {
        let (found, text) = later.load(key).await.unwrap().unwrap();
        let expected = plan(key.1.0[0]);
        assert_eq!(found, expected);
        assert_eq!(text, letter(&expected, "\r\nhello\r\n"));
        assert_eq!(text.passed_on(""), "Received: here\r\n\r\nhello\r\n");
        later.remove(key).await.unwrap();
    }
    assert!(is_empty(&later));
    assert_eq!(later.status().bytes, 0);
    // The first one finds that they are gone.
    assert!(here.load(keys[0]).await.unwrap().is_none());
    assert_eq!(here.status().messages, 2);
    here.remove(keys[1]).await.unwrap();
}

#[tokio::test]
async fn what_another_process_left_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (spool(&folder, |_| ()).await, spool(&folder, |_| ()).await);
    let plan = plan(1);
    old.keep(&plan, &letter(&plan, "\r\n"), NOW).await.unwrap();
    assert!(is_empty(&new));
    new.rescan().await.unwrap();
    new.rescan().await.unwrap();
    assert_eq!(new.status().messages, 1);
    assert_eq!(new.status().bytes, old.status().bytes);
}

#[tokio::test]
async fn less_is_left_of_a_plan() {
    let folder = tempfile::tempdir().unwrap();
    let here = spool(&folder, |_| ()).await;
    let whole = plan(1);
    let text = letter(&whole, "\r\n");
    here.keep(&whole, &text, NOW).await.unwrap();
    let mut rest = whole.clone();
    rest.boxes[0].promised = true;
    here.replace(&rest, &text).await.unwrap();
    let key = here.waiting(None, 1)[0];
    assert_eq!(here.load(key).await.unwrap().unwrap().0, rest);
    assert_eq!(here.status().messages, 1);
}

#[tokio::test]
async fn it_has_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let text = |plan: &Plan| letter(plan, &"x".repeat(1000));
    let (one, two) = (plan(1), plan(2));

    let few = spool(&folder, |config| config.messages = 1).await;
    few.keep(&one, &text(&one), NOW).await.unwrap();
    let refused = few.keep(&two, &text(&two), NOW).await.unwrap_err();
    assert!(matches!(refused, SpoolError::Full(_)), "{refused}");
    few.remove((NOW, one.envelope.id)).await.unwrap();
    few.keep(&two, &text(&two), NOW).await.unwrap();
    few.remove((NOW, two.envelope.id)).await.unwrap();

    let small = spool(&folder, |config| config.size = 2000).await;
    small.keep(&one, &text(&one), NOW).await.unwrap();
    assert!(matches!(small.keep(&two, &text(&two), NOW).await, Err(SpoolError::Full(_))));
    assert_eq!(small.status().refused, 1);

    let old = spool(&folder, |config| config.age = Duration::from_secs(60)).await;
    let found = old.waiting(None, 1)[0];
    assert!(old.keep(&two, &text(&two), found.0 + 60).await.is_ok());
    let three = plan(3);
    let refused = old.keep(&three, &text(&three), found.0 + 61).await;
    assert!(matches!(refused, Err(SpoolError::Full(_))));

    let full = spool(&folder, |config| config.reserve = u64::MAX / 2).await;
    assert!(matches!(full.keep(&three, &text(&three), NOW).await, Err(SpoolError::Full(_))));
}

/// What the mail store will never take keeps nobody else out, and is never deleted.
#[tokio::test]
async fn one_that_is_refused_is_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let here = spool(&folder, |config| config.age = Duration::from_secs(60)).await;
    let (one, two, three) = (plan(1), plan(2), plan(3));
    here.keep(&one, &letter(&one, "x"), NOW).await.unwrap();
    let late = NOW + 61;
    assert!(matches!(here.keep(&two, &letter(&two, "x"), late).await, Err(SpoolError::Full(_))));
    let key = here.waiting(None, 1)[0];
    here.failed(key, "it is refused", true).await;
    here.keep(&two, &letter(&two, "x"), late).await.unwrap();
    assert_eq!((here.status().messages, here.status().aside), (2, 0));
    for _ in 1..REFUSALS {
        here.failed(key, "it is refused", true).await;
    }
    let status = here.status();
    assert_eq!((status.messages, status.aside, status.oldest), (1, 1, Some(late)));
    assert_eq!(status.last_error.as_deref(), Some("it is refused"));
    let aside = here.path(key.1).with_extension("aside");
    assert!(aside.exists() && !here.path(key.1).exists());
    // What the disk can't read now may be read later: it stays, and keeps nobody out either.
    let other = here.waiting(None, 1)[0];
    for _ in 0..2 * REFUSALS {
        here.failed(other, "a bad sector", false).await;
    }
    here.keep(&three, &letter(&three, "x"), late + 61).await.unwrap();
    assert!(here.path(other.1).exists());

    // An operator gives it its name back.
    assert_eq!(spool(&folder, |_| ()).await.status().aside, 1);
    fs::rename(&aside, here.path(key.1)).unwrap();
    here.rescan().await.unwrap();
    assert_eq!((here.status().messages, here.status().aside), (3, 0));
}

/// Whatever becomes of a file: it is put aside, never taken for a message and never deleted.
#[tokio::test]
async fn damage_is_found_wherever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let plan = plan(1);
    let text = letter(&plan, "\r\nhello\r\n");
    let here = spool(&folder, |_| ()).await;
    here.keep(&plan, &text, NOW).await.unwrap();
    let key = here.waiting(None, 1)[0];
    let path = here.path(key.1);
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(parse(Bytes::from(bad)).is_err(), "octet {at}");
        assert!(parse(Bytes::copy_from_slice(&good[..at])).is_err(), "cut at {at}");
    }
    assert!(parse(Bytes::from([&good[..], b"x"].concat())).is_err());

    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"y", u64::try_from(good.len() - 1).unwrap()).unwrap();
    assert!(matches!(here.load(key).await, Err(SpoolError::Damaged { .. })));
    assert!(is_empty(&here));
    assert_eq!(here.status().broken, 1);
    assert!(path.with_extension("broken").exists() && !path.exists());
    let later = spool(&folder, |_| ()).await;
    assert!(is_empty(&later));
    assert_eq!(later.status().broken, 1);

    // Somebody mended it. Only a start looks.
    fs::write(path.with_extension("broken"), &good).unwrap();
    later.rescan().await.unwrap();
    assert!(is_empty(&later));
    let last = spool(&folder, |_| ()).await;
    let size = u64::try_from(good.len()).unwrap();
    let status = last.status();
    assert_eq!((status.messages, status.bytes, status.broken), (1, size, 0));
    let key = last.waiting(None, 1)[0];
    assert_eq!(last.load(key).await.unwrap().unwrap(), (plan, text));
}

#[tokio::test]
async fn what_was_not_promised_is_tidied_up() {
    let folder = tempfile::tempdir().unwrap();
    drop(spool(&folder, |_| ()).await);
    let torn = folder.path().join("spool/abc.0123.new");
    fs::write(&torn, "half of it").unwrap();
    let here = spool(&folder, |_| ()).await;
    assert!(is_empty(&here) && !torn.exists());
}

#[tokio::test]
async fn a_folder_that_is_gone_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let here = spool(&folder, |_| ()).await;
    fs::remove_dir_all(folder.path().join("spool")).unwrap();
    let plan = plan(1);
    let refused = here.keep(&plan, &letter(&plan, "\r\n"), NOW).await.unwrap_err();
    assert!(matches!(refused, SpoolError::Disk { .. }), "{refused}");
    assert_eq!((here.status().messages, here.status().bytes), (0, 0));
    assert!(here.status().last_error.is_some());
}
