//! What subscribers and their mail accounts have in common, on SQLite and on PostgreSQL alike.
#![cfg(test)]

use std::sync::Arc;

use muralla_credentials::{Check, Credential, Scheme};
use muralla_mail_directory::{
    AccountEntry, BlockedSubscribers, Directory, DirectoryError, DomainEntry, Hidden, LoginRefusal,
    Name, Options, Protocol, Protocols, SubscriberState,
};
use muralla_mail_envelope::Domain;
use muralla_radius_dictionary::Dictionary;
use muralla_radius_state::{State, SubscriberEntry};
use muralla_test_database::{Database, on_both_engines};

on_both_engines![
    a_password_that_is_changed_on_one_side_is_changed_on_both,
    a_link_is_made_by_those_who_are_there,
    a_password_keeps_the_form_that_access_needs,
    an_import_changes_no_shared_password,
    blocked_subscribers_do_what_the_rule_says,
    who_is_removed_is_nobodys_any_more,
    access_by_the_line_alone_opens_no_mailbox,
    nothing_is_shared_before_both_are_there,
    many_who_change_it_at_once_leave_one_password,
];

/// A provider with access and mail in one database.
struct Provider {
    state: State,
    directory: Directory,
    dictionary: Arc<Dictionary>,
}

const ANN: &str = "ann@isp.example";

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

impl Provider {
    async fn new(database: &Database) -> Self {
        Self::with(database, BlockedSubscribers::default()).await
    }

    async fn with(database: &Database, rule: BlockedSubscribers) -> Self {
        let state = State::open(database.location()).await.unwrap();
        let options = Options { blocked_subscribers: rule, ..Options::default() };
        let directory = Directory::open(database.location(), options).await.unwrap();
        let domain = DomainEntry::new(Domain::parse("isp.example").unwrap());
        directory.registry().put_domain(&domain).await.unwrap();
        Self { state, directory, dictionary: Dictionary::built_in() }
    }

    /// Enters a subscriber, or gives him another credential.
    async fn subscriber(&self, name: &str, credential: &str) {
        let entry = SubscriberEntry {
            name: name.into(),
            credential: Hidden::new(credential),
            ..SubscriberEntry::default()
        };
        self.state.put_subscriber(&self.dictionary, &entry).await.unwrap();
    }

    async fn block(&self, name: &str, disabled: bool) {
        let change = |entry| SubscriberEntry { disabled, ..entry };
        self.state.change_subscriber(&self.dictionary, name, change).await.unwrap().unwrap();
    }

    async fn account(&self, address: &str) {
        let registry = self.directory.registry();
        registry.put_account(&AccountEntry::new(name(address))).await.unwrap();
        registry.set_password(&name(address), b"of mail alone").await.unwrap();
    }

    async fn link(&self, address: &str, subscriber: &str) -> SubscriberState {
        let linked = self.directory.registry().link_subscriber(&name(address), subscriber).await;
        linked.unwrap()
    }

    /// What a subscriber's credential is.
    async fn access(&self, name: &str) -> Credential {
        let entry = self.state.subscriber(name).await.unwrap().unwrap();
        Credential::parse(entry.credential.reveal()).unwrap()
    }

    async fn entry(&self, address: &str) -> AccountEntry {
        self.directory.registry().account(&name(address)).await.unwrap().unwrap()
    }

    async fn login(&self, address: &str, password: &str) -> Result<(), LoginRefusal> {
        self.directory.catch_up().await.unwrap();
        let attempt = self.directory.login(address, Protocol::Pop3);
        attempt.check(password.as_bytes()).await.map(drop)
    }

    /// Whether a password opens both.
    async fn fits(&self, address: &str, subscriber: &str, password: &str) -> [bool; 2] {
        let access = fits(&self.access(subscriber).await, password);
        [access, self.login(address, password).await.is_ok()]
    }
}

fn fits(credential: &Credential, password: &str) -> bool {
    match credential.check(password.as_bytes()) {
        Check::Fits => true,
        Check::Wrong => false,
        Check::Costly(check) => check.run(),
    }
}

async fn a_password_that_is_changed_on_one_side_is_changed_on_both(database: Database) {
    let provider = Provider::new(&database).await;
    provider.subscriber("ann", "{CLEARTEXT}of access").await;
    for address in [ANN, "shop@isp.example"] {
        provider.account(address).await;
    }
    let registry = provider.directory.registry();
    let device = Protocols::DEVICE;
    let app = registry.make_app_password(&name(ANN), "phone", device, None).await.unwrap();
    assert_eq!(provider.link(ANN, "ann").await, SubscriberState::Active);
    assert_eq!(provider.link("shop@isp.example", "ann").await, SubscriberState::Active);
    assert_eq!(
        provider.fits(ANN, "ann", "of access").await,
        [true, true],
        "it is the subscriber's"
    );
    assert_eq!(provider.login(ANN, "of mail alone").await, Err(LoginRefusal::Wrong));
    let names = provider.state.mail_accounts("ann").await.unwrap();
    assert_eq!(names, [ANN, "shop@isp.example"]);
    let entry = provider.entry(ANN).await;
    assert_eq!(
        (entry.subscriber.as_deref(), entry.subscriber_state),
        (Some("ann"), Some(SubscriberState::Active))
    );

    // By the one who looks after access.
    provider.subscriber("ann", "{SSHA}NTAPZrTSPvZl6Rb/wKKBvR8tk75fBA1Z8w==").await;
    let stored = provider.entry(ANN).await;
    assert_eq!(stored.credential, provider.entry("shop@isp.example").await.credential);
    assert!(stored.credential.reveal().starts_with("{SSHA}") && stored.scram.is_none());

    // By whoever has mail.
    registry.set_password(&name(ANN), b"hunter2").await.unwrap();
    assert_eq!(provider.fits(ANN, "ann", "hunter2").await, [true, true]);
    assert_eq!(provider.fits("shop@isp.example", "ann", "hunter2").await, [true, true]);
    assert!(provider.entry(ANN).await.scram.is_some());

    // By SQL, on either side.
    database
        .sql("UPDATE radius_subscriber SET credential = '{CLEARTEXT}by sql' WHERE name = 'ann'")
        .await;
    assert_eq!(provider.fits(ANN, "ann", "by sql").await, [true, true]);
    database.sql("UPDATE mail_account SET credential = '{CLEARTEXT}by mail', scram = NULL WHERE name = 'ann@isp.example'").await;
    assert_eq!(provider.fits(ANN, "ann", "by mail").await, [true, true]);
    assert_eq!(provider.login("shop@isp.example", "by mail").await, Ok(()));
    assert_eq!(provider.login(ANN, app.password.reveal()).await, Ok(()), "apps have their own");

    // Another name is the same person.
    database.sql("UPDATE radius_subscriber SET name = 'anne' WHERE name = 'ann'").await;
    assert_eq!(provider.entry(ANN).await.subscriber.as_deref(), Some("anne"));
    registry.set_password(&name(ANN), b"hunter3").await.unwrap();
    assert_eq!(provider.fits(ANN, "anne", "hunter3").await, [true, true]);

    // Parted, each has the one that they had.
    registry.unlink_subscriber(&name(ANN)).await.unwrap();
    let entry = provider.entry(ANN).await;
    assert_eq!((entry.subscriber, entry.subscriber_state), (None, None));
    registry.set_password(&name(ANN), b"hunter4").await.unwrap();
    assert_eq!(provider.fits(ANN, "anne", "hunter4").await, [false, true]);
    assert_eq!(provider.login("shop@isp.example", "hunter3").await, Ok(()));
}

async fn a_link_is_made_by_those_who_are_there(database: Database) {
    let provider = Provider::new(&database).await;
    provider.account(ANN).await;
    let registry = provider.directory.registry();
    let ann = name(ANN);
    let long = "x".repeat(254);
    for (subscriber, word) in
        [("ann", "no subscriber ann"), ("", "1 to 253"), (long.as_str(), "1 to 253")]
    {
        let error = registry.link_subscriber(&ann, subscriber).await.unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    provider.subscriber("ann", "").await;
    provider.subscriber("line", "{Anything}").await;
    for subscriber in ["ann", "line"] {
        let error = registry.link_subscriber(&ann, subscriber).await.unwrap_err();
        assert!(matches!(error, DirectoryError::Invalid { .. }), "{error}");
    }
    assert_eq!(provider.login(ANN, "of mail alone").await, Ok(()), "nothing was changed");
    provider.subscriber("ann", "{CLEARTEXT}of access").await;
    let nobody = registry.link_subscriber(&name("x@isp.example"), "ann").await.unwrap_err();
    assert!(nobody.to_string().contains("no account x@isp.example"), "{nobody}");
    // What was a note is a link when it is made one, and may be made twice.
    database.sql("UPDATE mail_account SET subscriber = 'bob'").await;
    assert_eq!(provider.entry(ANN).await.subscriber_state, None);
    provider.subscriber("bob", "{CLEARTEXT}of bob").await;
    assert_eq!(provider.login(ANN, "of mail alone").await, Ok(()), "who comes later is no link");
    registry.set_password(&ann, b"hunter2").await.unwrap();
    assert!(fits(&provider.access("bob").await, "of bob"));
    for subscriber in ["bob", "bob", "ann"] {
        assert_eq!(provider.link(ANN, subscriber).await, SubscriberState::Active);
    }
    assert_eq!(provider.fits(ANN, "ann", "of access").await, [true, true]);
    // Entered with a subscriber, as an import does.
    let entry = AccountEntry {
        subscriber: Some("bob".into()),
        credential: Hidden::new("{CLEARTEXT}of the table"),
        ..AccountEntry::new(name("bob@isp.example"))
    };
    registry.put_account(&entry).await.unwrap();
    assert_eq!(provider.fits("bob@isp.example", "bob", "of bob").await, [true, true]);
}

async fn a_password_keeps_the_form_that_access_needs(database: Database) {
    let provider = Provider::new(&database).await;
    let registry = provider.directory.registry();
    for (number, (credential, scheme)) in [
        ("{CLEARTEXT}old", Scheme::Cleartext),
        ("{NT}0cb6948805f797bf2a82807973b89537", Scheme::NtHash),
        ("{SSHA}NTAPZrTSPvZl6Rb/wKKBvR8tk75fBA1Z8w==", Scheme::Digest),
        ("$1$abcdefgh$irWbblnpmw.5z7wgBnprh0", Scheme::Argon2),
    ]
    .into_iter()
    .enumerate()
    {
        let (subscriber, address) = (format!("s{number}"), format!("a{number}@isp.example"));
        provider.subscriber(&subscriber, credential).await;
        provider.account(&address).await;
        provider.link(&address, &subscriber).await;
        registry.set_password(&name(&address), b"hunter2").await.unwrap();
        assert_eq!(provider.access(&subscriber).await.scheme(), scheme, "{credential}");
        assert_eq!(provider.fits(&address, &subscriber, "hunter2").await, [true, true]);
    }
    // A login makes keys of SCRAM of it, and leaves the rest as access needs it.
    provider.subscriber("s0", "{CLEARTEXT}new").await;
    assert!(provider.entry("a0@isp.example").await.scram.is_none());
    assert_eq!(provider.login("a0@isp.example", "new").await, Ok(()));
    for _ in 0..600 {
        if provider.entry("a0@isp.example").await.scram.is_some() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let entry = provider.entry("a0@isp.example").await;
    assert!(entry.scram.is_some());
    assert_eq!(entry.credential.reveal(), "{CLEARTEXT}new");
    assert!(registry.remove_password(&name("a0@isp.example")).await.is_err());
    assert_eq!(provider.fits("a0@isp.example", "s0", "new").await, [true, true]);
}

async fn an_import_changes_no_shared_password(database: Database) {
    let provider = Provider::new(&database).await;
    provider.subscriber("ann", "{CLEARTEXT}of access").await;
    provider.account(ANN).await;
    provider.link(ANN, "ann").await;
    let entry = AccountEntry {
        credential: Hidden::new("{CLEARTEXT}of the table"),
        quota_bytes: Some(5),
        ..AccountEntry::new(name(ANN))
    };
    provider.directory.registry().put_account(&entry).await.unwrap();
    assert_eq!(provider.fits(ANN, "ann", "of access").await, [true, true]);
    let entry = provider.entry(ANN).await;
    assert_eq!((entry.subscriber.as_deref(), entry.quota_bytes), (Some("ann"), Some(5)));
    // What else is changed of either leaves the link alone.
    let registry = provider.directory.registry();
    let edited = registry.edit_account(&name(ANN), |entry| entry.note = Some("x".into())).await;
    assert_eq!(edited.unwrap().subscriber.as_deref(), Some("ann"));
    database.sql("UPDATE radius_subscriber SET credit_seconds = 5, credit_bytes = 5").await;
    assert_eq!(provider.fits(ANN, "ann", "of access").await, [true, true]);
}

async fn blocked_subscribers_do_what_the_rule_says(database: Database) {
    for (rule, lets_in, lets_send) in [
        (BlockedSubscribers::Serve, true, true),
        (BlockedSubscribers::Read, true, false),
        (BlockedSubscribers::Refuse, false, false),
    ] {
        let provider = Provider::with(&database, rule).await;
        provider.subscriber("ann", "{CLEARTEXT}of access").await;
        provider.account(ANN).await;
        provider.link(ANN, "ann").await;
        provider.block("ann", true).await;
        assert_eq!(provider.login(ANN, "of access").await.is_ok(), lets_in, "{rule:?}");
        let view = provider.directory.account_named(&name(ANN)).unwrap();
        assert_eq!((view.may_send, view.disabled), (lets_send, false), "{rule:?}");
        assert_eq!(provider.entry(ANN).await.subscriber_state, Some(SubscriberState::Blocked));
        assert_eq!(provider.login(ANN, "wrong").await, Err(LoginRefusal::Wrong));
        // Linked when he is blocked already, he is as much so.
        assert_eq!(provider.link(ANN, "ann").await, SubscriberState::Blocked);
        provider.block("ann", false).await;
        assert_eq!(provider.login(ANN, "of access").await, Ok(()), "{rule:?}");
        assert!(provider.directory.account_named(&name(ANN)).unwrap().may_send);
        provider.directory.registry().remove_account(&name(ANN)).await.unwrap();
    }
}

async fn who_is_removed_is_nobodys_any_more(database: Database) {
    let provider = Provider::new(&database).await;
    provider.subscriber("ann", "{CLEARTEXT}of access").await;
    provider.account(ANN).await;
    provider.link(ANN, "ann").await;
    assert!(provider.state.remove_subscriber("ann").await.unwrap());
    let entry = provider.entry(ANN).await;
    assert_eq!((entry.subscriber, entry.subscriber_state), (None, None));
    assert_eq!(provider.login(ANN, "of access").await, Ok(()), "her mail is hers");
    // Another person of that name.
    provider.subscriber("ann", "{CLEARTEXT}of another").await;
    assert_eq!(provider.login(ANN, "of another").await, Err(LoginRefusal::Wrong));
    provider.directory.registry().set_password(&name(ANN), b"hunter2").await.unwrap();
    assert!(fits(&provider.access("ann").await, "of another"));
    // An account that goes takes nobody along.
    provider.link(ANN, "ann").await;
    provider.directory.registry().remove_account(&name(ANN)).await.unwrap();
    assert!(fits(&provider.access("ann").await, "of another"));
    assert!(provider.state.mail_accounts("ann").await.unwrap().is_empty());
}

async fn access_by_the_line_alone_opens_no_mailbox(database: Database) {
    let provider = Provider::new(&database).await;
    provider.subscriber("ann", "{CLEARTEXT}of access").await;
    provider.account(ANN).await;
    provider.link(ANN, "ann").await;
    provider.subscriber("ann", "{Any}").await;
    for password in ["of access", "of mail alone", "x"] {
        assert_eq!(provider.login(ANN, password).await, Err(LoginRefusal::Wrong));
    }
    // Neither is he locked out by what is set for mail.
    provider.directory.registry().set_password(&name(ANN), b"hunter2").await.unwrap();
    assert_eq!(provider.access("ann").await.scheme(), Scheme::Anything);
    assert_eq!(provider.login(ANN, "hunter2").await, Ok(()));
    // Nor when something else is changed of the access.
    for blocked in [true, false] {
        provider.block("ann", blocked).await;
    }
    assert_eq!(provider.login(ANN, "hunter2").await, Ok(()));
}

async fn nothing_is_shared_before_both_are_there(database: Database) {
    // Mail comes first, and access into the same database later.
    let directory = Directory::open(database.location(), Options::default()).await.unwrap();
    let registry = directory.registry();
    registry.put_domain(&DomainEntry::new(Domain::parse("isp.example").unwrap())).await.unwrap();
    registry.put_account(&AccountEntry::new(name(ANN))).await.unwrap();
    let error = registry.link_subscriber(&name(ANN), "ann").await.unwrap_err();
    assert!(error.to_string().contains("the database of [mail]"), "{error}");
    // Two who come at once make it once.
    let (one, other) =
        tokio::join!(State::open(database.location()), State::open(database.location()));
    other.unwrap().close().await;
    let provider = Provider {
        state: one.unwrap(),
        directory: directory.clone(),
        dictionary: Dictionary::built_in(),
    };
    provider.subscriber("ann", "{CLEARTEXT}of access").await;
    provider.link(ANN, "ann").await;
    assert_eq!(provider.fits(ANN, "ann", "of access").await, [true, true]);
    assert_eq!(database.number("SELECT count(*) FROM identity_schema").await, 1);
}

/// Whoever is last, both have the same.
async fn many_who_change_it_at_once_leave_one_password(database: Database) {
    let provider = Arc::new(Provider::new(&database).await);
    provider.subscriber("ann", "{CLEARTEXT}of access").await;
    provider.account(ANN).await;
    provider.link(ANN, "ann").await;
    let mut tasks = Vec::new();
    for number in 0..12 {
        let provider = Arc::clone(&provider);
        tasks.push(tokio::spawn(async move {
            let password = format!("number {number}");
            if number % 2 == 0 {
                let registry = provider.directory.registry();
                registry
                    .set_password(&name(ANN), password.as_bytes())
                    .await
                    .map_err(|error| error.to_string())
                    .map(drop)
            } else {
                let credential = Hidden::new(format!("{{CLEARTEXT}}{password}"));
                let change = |entry| SubscriberEntry { credential, ..entry };
                let dictionary = &provider.dictionary;
                let changed = provider.state.change_subscriber(dictionary, "ann", change).await;
                changed.map(drop).map_err(|error| error.to_string())
            }
        }));
    }
    let mut done = 0;
    for task in tasks {
        // Where two wait for each other, the database lets one go first.
        done += usize::from(task.await.unwrap().is_ok());
    }
    assert!(done > 0);
    let access = provider.state.subscriber("ann").await.unwrap().unwrap();
    assert_eq!(access.credential, provider.entry(ANN).await.credential);
}
