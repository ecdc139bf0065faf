//! Who has the password is let in, and nobody else; and nobody is told who exists.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use muralla_mail_directory::{
    AccountEntry, Directory, DomainEntry, Hidden, LoginRefusal, Name, Protocol, Protocols,
    ScramChallenge, ScramKeys,
};
use muralla_mail_envelope::Domain;
use muralla_test_database::on_both_engines;
use sha2::{Digest, Sha256};

use crate::common::{Database, until};

on_both_engines![
    the_right_password_and_no_other,
    app_passwords_are_good_for_what_they_were_made_for,
    scram_knows_all_passwords_of_an_account,
    who_is_not_known_costs_as_much_and_looks_the_same,
    outcomes_are_remembered_until_something_changes,
    imported_passwords_are_stored_anew,
    too_many_are_told_to_come_again,
];

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

async fn with_account(directory: &Directory, text: &str, credential: &str) {
    let domain = Domain::parse("a.example").unwrap();
    let registry = directory.registry();
    if registry.domain(&domain).await.unwrap().is_none() {
        registry.put_domain(&DomainEntry::new(domain)).await.unwrap();
    }
    let credential = Hidden::new(credential);
    let entry = AccountEntry { credential, ..AccountEntry::new(name(text)) };
    registry.put_account(&entry).await.unwrap();
    directory.catch_up().await.unwrap();
}

async fn the_right_password_and_no_other(database: Database) {
    let directory = database
        .directory_with(|options| {
            options.default_domain = Some(Domain::parse("a.example").unwrap())
        })
        .await;
    with_account(&directory, "ann@a.example", "").await;
    let registry = directory.registry();
    let login = |user: &str| directory.login(user, Protocol::Pop3);
    assert_eq!(login("ann").check(b"hunter2").await, Err(LoginRefusal::Wrong), "she has none yet");
    let id = registry.set_password(&name("ann@a.example"), b"hunter2").await.unwrap();
    directory.catch_up().await.unwrap();
    for user in ["ann", "ann@a.example", "Ann@A.EXAMPLE", " ann "] {
        let accepted = login(user).check(b"hunter2").await.unwrap();
        assert_eq!((accepted.account.id, accepted.app_password), (id, None), "{user}");
        assert_eq!(login(user).account(), Some(id));
    }
    for password in [&b"hunter3"[..], b"", b"hunter2 ", &[b'x'; 1000]] {
        assert_eq!(login("ann").check(password).await, Err(LoginRefusal::Wrong));
    }
    for user in ["bob", "", "ann@b.example", "@", &"x".repeat(10_000), "a\u{0}nn"] {
        assert_eq!(login(user).check(b"hunter2").await, Err(LoginRefusal::Wrong), "{user}");
        assert_eq!(login(user).account(), None);
    }
    registry.edit_account(&name("ann@a.example"), |entry| entry.disabled = true).await.unwrap();
    directory.catch_up().await.unwrap();
    assert_eq!(login("ann").check(b"hunter2").await, Err(LoginRefusal::Disabled));
    assert_eq!(
        login("ann").check(b"hunter3").await,
        Err(LoginRefusal::Wrong),
        "who knows nothing hears nothing"
    );
    registry.edit_account(&name("ann@a.example"), |entry| entry.disabled = false).await.unwrap();
    let off =
        DomainEntry { disabled: true, ..DomainEntry::new(Domain::parse("a.example").unwrap()) };
    registry.put_domain(&off).await.unwrap();
    directory.catch_up().await.unwrap();
    assert_eq!(login("ann").check(b"hunter2").await, Err(LoginRefusal::Disabled));
    let counts = directory.status().logins;
    assert_eq!((counts.accepted, counts.disabled, counts.waiting), (4, 2, 0));
}

async fn app_passwords_are_good_for_what_they_were_made_for(database: Database) {
    let directory = database.directory().await;
    with_account(&directory, "ann@a.example", "").await;
    let registry = directory.registry();
    let ann = name("ann@a.example");
    registry.set_password(&ann, b"hunter2").await.unwrap();
    let phone = Protocols::of(&[Protocol::Pop3, Protocol::Submission]);
    let made = registry.make_app_password(&ann, "phone", phone, None).await.unwrap();
    assert!(registry.make_app_password(&ann, "phone", phone, None).await.is_err(), "twice");
    assert!(!format!("{made:?}").contains(made.password.reveal()));
    let soon = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64 + 3;
    let brief =
        registry.make_app_password(&ann, "guest", Protocols::ALL, Some(soon)).await.unwrap();
    directory.catch_up().await.unwrap();
    let check = |protocol, password: &Hidden| {
        let (attempt, password) =
            (directory.login("ann@a.example", protocol), password.reveal().to_owned());
        async move { attempt.check(password.as_bytes()).await.map(|accepted| accepted.app_password) }
    };
    assert_eq!(check(Protocol::Pop3, &made.password).await, Ok(Some(made.entry.id)));
    assert_eq!(check(Protocol::Submission, &made.password).await, Ok(Some(made.entry.id)));
    assert_eq!(check(Protocol::Webmail, &made.password).await, Err(LoginRefusal::Wrong));
    assert_eq!(check(Protocol::Webmail, &Hidden::new("hunter2")).await, Ok(None));
    // Remembered or not, it ends when it ends.
    let _ = check(Protocol::Imap, &brief.password).await;
    let patience = SystemTime::now() + Duration::from_secs(60);
    while check(Protocol::Imap, &brief.password).await.is_ok() {
        assert!(SystemTime::now() < patience, "it never ends");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(
        registry.app_passwords(made.entry.account).await.unwrap(),
        [made.entry.clone(), brief.entry]
    );
    assert!(registry.remove_app_password(made.entry.account, "phone").await.unwrap());
    assert!(!registry.remove_app_password(made.entry.account, "phone").await.unwrap());
    directory.catch_up().await.unwrap();
    assert_eq!(check(Protocol::Pop3, &made.password).await, Err(LoginRefusal::Wrong));
}

/// The client's half: RFC 5802 section 3.
fn proof(challenge: &ScramChallenge, password: &[u8], message: &[u8]) -> [u8; 32] {
    let mac = |key: &[u8], message: &[u8]| -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(message);
        mac.finalize().into_bytes().into()
    };
    let first = [challenge.salt(), &1u32.to_be_bytes()].concat();
    let mut last = mac(password, &first);
    let mut salted = last;
    for _ in 1..challenge.iterations() {
        last = mac(password, &last);
        salted.iter_mut().zip(last).for_each(|(sum, last)| *sum ^= last);
    }
    let mut client = mac(&salted, b"Client Key");
    let signature = mac(&Sha256::digest(client), message);
    client.iter_mut().zip(signature).for_each(|(key, signed)| *key ^= signed);
    client
}

async fn scram_knows_all_passwords_of_an_account(database: Database) {
    let directory = database.directory().await;
    with_account(&directory, "ann@a.example", "").await;
    let registry = directory.registry();
    let ann = name("ann@a.example");
    registry.set_password(&ann, b"hunter2").await.unwrap();
    let made = registry.make_app_password(&ann, "phone", Protocols::DEVICE, None).await.unwrap();
    // The new one has the salt that the telephone's has.
    registry.set_password(&ann, b"hunter3").await.unwrap();
    directory.catch_up().await.unwrap();
    assert!(directory.offers_scram());
    let challenge = directory.login("ann@a.example", Protocol::Pop3).scram();
    let message = b"n=ann,r=abc,r=abcdef,s=...,i=...,c=biws,r=abcdef";
    let verify = |challenge: &ScramChallenge, password: &[u8]| {
        challenge.verify(message, &proof(challenge, password, message))
    };
    let (accepted, _) = verify(&challenge, b"hunter3").unwrap();
    assert_eq!(accepted.app_password, None);
    let (accepted, _) = verify(&challenge, made.password.reveal().as_bytes()).unwrap();
    assert_eq!(accepted.app_password, Some(made.entry.id));
    assert_eq!(verify(&challenge, b"hunter2").unwrap_err(), LoginRefusal::Wrong);
    let webmail = directory.login("ann@a.example", Protocol::Webmail).scram();
    let error = verify(&webmail, made.password.reveal().as_bytes()).unwrap_err();
    assert_eq!(error, LoginRefusal::Wrong, "it is for devices");
    // The signature is the one that the client expects.
    let keys = ScramKeys::derive(b"hunter3", challenge.salt(), challenge.iterations());
    let given = proof(&challenge, b"hunter3", message);
    assert_eq!(verify(&challenge, b"hunter3").unwrap().1, keys.verify(message, &given).unwrap());
}

async fn who_is_not_known_costs_as_much_and_looks_the_same(database: Database) {
    let directory = database.directory_with(|options| options.upgrade = false).await;
    with_account(&directory, "quick@a.example", "{CLEARTEXT}secret").await;
    with_account(&directory, "ann@a.example", "").await;
    with_account(&directory, "none@a.example", "").await;
    directory.registry().set_password(&name("ann@a.example"), b"hunter2").await.unwrap();
    directory.catch_up().await.unwrap();
    let compared = || directory.status().logins.compared;
    for user in [
        "ann@a.example",
        "quick@a.example",
        "none@a.example",
        "nobody@a.example",
        "x@b.example",
        "@",
    ] {
        let before = compared();
        let outcome = directory.login(user, Protocol::Pop3).check(b"wrong").await;
        assert_eq!((outcome, compared() - before), (Err(LoginRefusal::Wrong), 1), "{user}");
    }
    // There is an account that SCRAM does not know, so a program that prefers it must not hear of it.
    assert!(!directory.offers_scram());
    let other = database.directory().await;
    for user in ["nobody@a.example", "none@a.example", "quick@a.example"] {
        let challenge = directory.login(user, Protocol::Pop3).scram();
        assert_eq!(challenge.salt().len(), 16);
        let elsewhere = other.login(user, Protocol::Pop3).scram();
        assert_eq!(challenge.salt(), elsewhere.salt(), "the same on every server");
        let known = directory.login("ann@a.example", Protocol::Pop3).scram();
        assert_eq!(challenge.iterations(), known.iterations());
        assert_eq!(challenge.verify(b"x", &[0; 32]).unwrap_err(), LoginRefusal::Wrong);
    }
}

async fn outcomes_are_remembered_until_something_changes(database: Database) {
    let directory = database.directory().await;
    with_account(&directory, "ann@a.example", "").await;
    let registry = directory.registry();
    let ann = name("ann@a.example");
    registry.set_password(&ann, b"hunter2").await.unwrap();
    directory.catch_up().await.unwrap();
    let check = |password: &'static [u8]| {
        let attempt = directory.login("ann@a.example", Protocol::Pop3);
        async move { attempt.check(password).await.is_ok() }
    };
    for _ in 0..3 {
        assert!(check(b"hunter2").await);
        assert!(!check(b"hunter3").await);
    }
    let counts = directory.status().logins;
    assert_eq!((counts.compared, counts.remembered), (2, 4));
    registry.set_password(&ann, b"hunter3").await.unwrap();
    directory.catch_up().await.unwrap();
    assert!(!check(b"hunter2").await, "the old one is over at once");
    assert!(check(b"hunter3").await, "and the new one good");
    registry.remove_account(&ann).await.unwrap();
    directory.catch_up().await.unwrap();
    assert!(!check(b"hunter3").await);
}

async fn imported_passwords_are_stored_anew(database: Database) {
    let directory = database.directory().await;
    with_account(&directory, "ann@a.example", "{CLEARTEXT}secret").await;
    with_account(&directory, "bob@a.example", "").await;
    let keys = ScramKeys::derive(b"secret", b"salt of bob", 4096).to_text();
    let bob = name("bob@a.example");
    let set = directory.registry().edit_account(&bob, |entry| {
        entry.scram = Some(Hidden::new(keys.clone()));
    });
    set.await.unwrap();
    directory.catch_up().await.unwrap();
    assert_eq!(directory.status().without_scram, 1);
    // What `doveadm pw -s CRAM-MD5` makes of it.
    let cram = "{CRAM-MD5}cd3ba7deaad6e5ca23448ba42e379747a9e0f7f1fbc00c8a81bbaac395731b56";
    with_account(&directory, "carl@a.example", cram).await;
    for user in ["ann@a.example", "bob@a.example", "carl@a.example"] {
        assert!(directory.login(user, Protocol::Pop3).check(b"wrong").await.is_err());
        assert!(directory.login(user, Protocol::Pop3).check(b"secret").await.is_ok(), "{user}");
        let mut stored = false;
        for _ in 0..600 {
            let entry = directory.registry().account(&name(user)).await.unwrap().unwrap();
            stored = entry.credential.reveal().starts_with("$argon2id$") && entry.scram.is_some();
            if stored {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(stored, "{user}");
    }
    directory.catch_up().await.unwrap();
    until("everybody has keys", || directory.offers_scram()).await;
    assert!(directory.login("bob@a.example", Protocol::Pop3).check(b"secret").await.is_ok());
}

async fn too_many_are_told_to_come_again(database: Database) {
    let directory = database
        .directory_with(|options| {
            options.checks = 1;
            options.waiting = 2;
        })
        .await;
    with_account(&directory, "ann@a.example", "").await;
    directory.registry().set_password(&name("ann@a.example"), b"hunter2").await.unwrap();
    directory.catch_up().await.unwrap();
    let passwords: Vec<String> = (0..40).map(|number| format!("guess {number}")).collect();
    let attempt = directory.login("ann@a.example", Protocol::Pop3);
    let mut tasks = Vec::new();
    for password in passwords {
        let attempt = attempt.clone();
        tasks.push(tokio::spawn(async move { attempt.check(password.as_bytes()).await }));
    }
    let mut busy = 0;
    for task in tasks {
        match task.await.unwrap() {
            Err(LoginRefusal::Busy) => busy += 1,
            other => assert_eq!(other, Err(LoginRefusal::Wrong)),
        }
    }
    assert!(busy > 0, "all of forty waited, where two places are");
    assert_eq!(directory.status().logins.waiting, 0);
    assert!(attempt.check(b"hunter2").await.is_ok(), "and afterwards all is well");
}
