use std::sync::Arc;

use muralla_mail_directory::{Name, ShardId};
use muralla_mail_envelope::{Client, MessageId, Notify};

use super::*;

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn envelope(from: &str, to: &[&str]) -> Envelope {
    let host = Domain::parse("mx.isp.example").unwrap();
    Envelope {
        id: MessageId([7; 16]),
        from: if from.is_empty() { ReversePath::Null } else { ReversePath::Address(address(from)) },
        mail: MailParameters { size: Some(100), ..MailParameters::default() },
        recipients: to.iter().map(|to| Recipient::new(address(to))).collect(),
        received_at: 1_800_000_000,
        client: Client { protocol: Protocol::Esmtp, ..Client::local(&host) },
    }
}

fn mailbox(id: i64, name: &str, hint: Option<&str>, backends: &[BackendId]) -> Target {
    Target::Mailbox {
        account: AccountId(id),
        name: Name::parse(name).unwrap(),
        shard: ShardId::MAIN,
        folder_hint: hint.map(str::to_owned),
        backends: Arc::from(backends),
    }
}

/// What ann forwards.
fn forward(to: &str) -> Target {
    Target::Forward { address: address(to), account: Some(AccountId(1)) }
}

/// Plans a message for recipients with their targets.
fn plan(from: &str, known: bool, message: &str, wanted: Vec<(&str, Known, Placement)>) -> Plan {
    let keys = Keys::of_secrets(&["a secret of enough length"]).unwrap();
    let forwarding = Domain::parse("srs.isp.example").unwrap();
    let around = Surroundings {
        keys: Some(&keys),
        forwarding: &forwarding,
        is_ours: &|domain| domain.as_str() == "isp.example",
        known,
    };
    let to: Vec<&str> = wanted.iter().map(|(to, ..)| *to).collect();
    let recipients = wanted
        .iter()
        .map(|(to, known, placement)| (Recipient::new(address(to)), known.clone(), *placement));
    Plan::new(envelope(from, &to), recipients.collect(), message.as_bytes(), &around)
}

const STORE: &[BackendId] = &[BackendId::STORE];

#[test]
fn mailboxes_once_each_in_the_folder_that_is_right() {
    let ann = |hint| mailbox(1, "ann@isp.example", hint, STORE);
    let both = vec![ann(None), mailbox(2, "bob@isp.example", None, STORE)];
    let plan = plan(
        "x@example.org",
        false,
        "\r\n",
        vec![
            ("ann@isp.example", Known::Targets(vec![ann(None)]), Placement::Inbox),
            ("all@isp.example", Known::Targets(both), Placement::Spam),
        ],
    );
    let found: Vec<(i64, &str)> =
        plan.boxes.iter().map(|one| (one.account.0, one.folder.as_str())).collect();
    assert_eq!(found, [(1, "Inbox"), (2, "Spam")]);
    assert!(plan.parcels.is_empty());
}

#[test]
fn a_detail_names_a_folder_of_ones_own_and_no_other() {
    for (hint, placement, wished) in [
        (Some("Lists"), Placement::Inbox, Some("Lists")),
        (Some("Lists/rust"), Placement::Inbox, Some("Lists/rust")),
        (Some("Sent"), Placement::Inbox, None),
        (Some("Trash"), Placement::Inbox, None),
        (Some("INBOX"), Placement::Inbox, None),
        (Some("a//b"), Placement::Inbox, None),
        (Some("Lists"), Placement::Spam, None),
        (None, Placement::Inbox, None),
    ] {
        let ann = mailbox(1, "ann@isp.example", hint, STORE);
        let known = Known::Targets(vec![ann]);
        let plan =
            plan("x@example.org", false, "\r\n", vec![("ann@isp.example", known, placement)]);
        assert_eq!(plan.boxes[0].wished.as_deref(), wished, "{hint:?} {placement:?}");
    }
}

#[test]
fn several_back_ends_get_it_each() {
    let two = mailbox(1, "ann@isp.example", None, &[BackendId::STORE, BackendId(3), BackendId(4)]);
    let plan = plan(
        "x@example.org",
        false,
        "\r\n",
        vec![("anna@isp.example", Known::Targets(vec![two]), Placement::Spam)],
    );
    assert_eq!(plan.boxes.len(), 1);
    assert_eq!(plan.parcels.len(), 1);
    let parcel = &plan.parcels[0];
    assert_eq!(parcel.destinations, ["backend/3", "backend/4"]);
    assert_eq!(parcel.head, "X-Spam-Flag: YES\r\n");
    assert_eq!(parcel.envelope.from, ReversePath::Address(address("x@example.org")));
    assert_ne!(parcel.envelope.id, plan.envelope.id);
    let recipient = &parcel.envelope.recipients[0];
    assert_eq!(recipient.address, address("ann@isp.example"));
    assert_eq!(recipient.parameters.orcpt.as_ref().unwrap().address, "anna@isp.example");
    assert_eq!(parcel.envelope.mail.size, None, "it is another size by then");
}

#[test]
fn forwards_have_a_sender_of_ours() {
    let forward = || Known::Targets(vec![forward("ann@elsewhere.example")]);
    for (from, known, expected) in [
        ("x@example.org", false, Some("srs.isp.example")),
        ("bob@isp.example", false, Some("isp.example")),
        ("", false, None),
    ] {
        let wanted = vec![("ann@isp.example", forward(), Placement::Inbox)];
        let plan = plan(from, known, "\r\n", wanted);
        let parcel = &plan.parcels[0];
        let domain = parcel.envelope.from.address().and_then(Address::domain);
        assert_eq!(domain.map(Domain::as_str), expected, "{from}");
        assert_eq!(parcel.destinations, ["elsewhere.example"]);
        assert_eq!(parcel.owners, [Some(AccountId(1))]);
        assert_eq!(parcel.head, "Delivered-To: ann@isp.example\r\n");
        assert!(!parcel.held);
    }
    // What leads back to the sender by SRS does.
    let wanted = vec![("ann@isp.example", forward(), Placement::Inbox)];
    let plan = plan("x@example.org", false, "\r\n", wanted);
    let rewritten = plan.parcels[0].envelope.from.address().unwrap().clone();
    let keys = Keys::of_secrets(&["a secret of enough length"]).unwrap();
    let today = clock::today(1_800_000_000);
    assert_eq!(srs::restore(&rewritten.local, &keys, today).unwrap(), address("x@example.org"));
}

#[test]
fn what_went_on_before_does_not_go_on_again() {
    let forward = Known::Targets(vec![forward("ann@elsewhere.example")]);
    let plan = plan(
        "x@example.org",
        false,
        "Delivered-To: Ann@isp.example\r\n\r\n",
        vec![("ann@isp.example", forward, Placement::Inbox)],
    );
    assert!(plan.parcels[0].held, "an operator has to look at it");
}

#[test]
fn what_users_send_keeps_its_sender() {
    let to = address("ann@elsewhere.example");
    let relay = Known::Targets(vec![Target::Forward { address: to.clone(), account: None }]);
    let plan = plan(
        "bob@isp.example",
        true,
        "\r\n",
        vec![("ann@elsewhere.example", relay, Placement::Inbox)],
    );
    let parcel = &plan.parcels[0];
    assert_eq!((parcel.head.as_str(), parcel.known), ("", true));
    assert_eq!(parcel.owners, [None], "he sends it himself");
    assert_eq!(parcel.envelope.from, ReversePath::Address(address("bob@isp.example")));
    assert_eq!(parcel.envelope.recipients[0].parameters.notify, Notify::default());
    assert_eq!(parcel.envelope.recipients[0].parameters.orcpt, None);
}

#[test]
fn who_wants_to_hear_that_it_arrived_does() {
    for (known, boxes, parcels) in [(true, 0, 1), (false, 1, 0)] {
        let forwarding = Domain::parse("isp.example").unwrap();
        let around =
            Surroundings { keys: None, forwarding: &forwarding, is_ours: &|_| true, known };
        let mut recipient = Recipient::new(address("ann@isp.example"));
        recipient.parameters.notify = Notify::parse("SUCCESS").unwrap();
        let targets = Known::Targets(vec![mailbox(1, "ann@isp.example", None, STORE)]);
        let envelope = envelope("bob@isp.example", &["ann@isp.example"]);
        let wanted = vec![(recipient, targets, Placement::Inbox)];
        let plan = Plan::new(envelope, wanted, b"\r\n", &around);
        assert_eq!((plan.boxes.len(), plan.parcels.len()), (boxes, parcels), "{known}");
    }
}

#[test]
fn bounces_lead_back_and_holds_wait() {
    let plan = plan(
        "",
        false,
        "\r\n",
        vec![
            ("SRS0=x@srs.isp.example", Known::Bounce(address("x@example.org")), Placement::Inbox),
            (
                "ann@isp.example",
                Known::Targets(vec![mailbox(1, "ann@isp.example", None, STORE)]),
                Placement::Hold,
            ),
        ],
    );
    assert!(plan.boxes.is_empty());
    let found: Vec<(&str, bool)> =
        plan.parcels.iter().map(|parcel| (parcel.destinations[0].as_str(), parcel.held)).collect();
    assert_eq!(found, [("example.org", false), ("store/Inbox", true)]);
    assert!(plan.parcels[0].envelope.client.protocol == Protocol::Local, "it is as one of ours");
    let ids: HashSet<MessageId> = plan.parcels.iter().map(|parcel| parcel.envelope.id).collect();
    assert_eq!(ids.len(), 2);
}

#[test]
fn a_plan_comes_back_from_its_text() {
    let plan = plan(
        "x@example.org",
        false,
        "\r\n",
        vec![
            (
                "ann@isp.example",
                Known::Targets(vec![mailbox(1, "ann@isp.example", Some("Lists"), STORE)]),
                Placement::Inbox,
            ),
            (
                "bob@isp.example",
                Known::Targets(vec![forward("b@elsewhere.example")]),
                Placement::Inbox,
            ),
        ],
    );
    let text = serde_json::to_vec(&plan).unwrap();
    assert_eq!(serde_json::from_slice::<Plan>(&text).unwrap(), plan);
    assert_eq!(plan.return_path(), "Return-Path: <x@example.org>\r\n");
}
