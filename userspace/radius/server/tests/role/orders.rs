//! What an operator orders and looks at: ends of sessions, trials, and requests as they are answered.

use std::net::UdpSocket;

use muralla_radius::report::DynamicVerdict;
use muralla_radius::role::{OrderError, Selector};
use muralla_radius::tail::Filter;
use muralla_radius::testing::{Login, Method};
use muralla_radius_state::SessionState;

use super::*;

/// A NAS that takes Disconnect: answers with this code and these attributes, but not to the first copies.
fn fake_nas(lost: usize, code: u8, attributes: Vec<u8>) -> (u16, thread::JoinHandle<Vec<Vec<u8>>>) {
    fake_nas_at(NAS, lost, code, attributes)
}

fn fake_nas_at(
    address: &str,
    lost: usize,
    code: u8,
    attributes: Vec<u8>,
) -> (u16, thread::JoinHandle<Vec<Vec<u8>>>) {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let nas = thread::spawn(move || {
        let (mut buffer, mut seen) = ([0; 4_096], Vec::new());
        loop {
            let (len, from) = socket.recv_from(&mut buffer).unwrap();
            let request = buffer[..len].to_vec();
            // RFC 5176 section 2.3.
            let mut zeroed = request.clone();
            zeroed[4..20].fill(0);
            assert_eq!(request[4..20], md5(&[&zeroed, SECRET]));
            seen.push(request.clone());
            if seen.len() <= lost {
                continue;
            }
            let mut answer = Request {
                code,
                id: request[1],
                authenticator: [0; 16],
                attributes: attributes.clone(),
            };
            answer.authenticator = request[4..20].try_into().unwrap();
            let mut bytes = answer.plain();
            let authenticator = md5(&[&bytes, SECRET]);
            bytes[4..20].copy_from_slice(&authenticator);
            socket.send_to(&bytes, from).unwrap();
            return seen;
        }
    });
    (port, nas)
}

#[test]
fn a_session_is_ended_at_its_nas() {
    let mut stand = Stand::new();
    stand.config.dynamic.first_timeout = Duration::from_millis(100);
    stand.config.dynamic.attempts = 3;
    let role = stand.start(Vec::new());
    let acct = stand.accounting_nas();
    acct.ask(&record(1, START, "nemo", "0000abcd").with(8, &[192, 0, 2, 77]));
    wait_for("the session", || role.status().sessions == 1);
    let user = Selector::User("nemo".to_owned());
    assert_eq!(role.sessions(Some(&user), 10).len(), 1);

    let mut ask = |lost, code, attributes: &[u8]| {
        let (port, nas) = fake_nas(lost, code, attributes.to_vec());
        stand.config.nas[0].coa_port = port;
        role.reload(stand.config.clone()).unwrap();
        let mut outcomes = stand.runtime.block_on(role.disconnect(&user)).unwrap();
        assert_eq!(outcomes.len(), 1);
        (outcomes.remove(0), nas.join().unwrap())
    };
    // The first copy is lost on its way.
    let (outcome, seen) = ask(1, DISCONNECT_ACK, &[]);
    assert_eq!((outcome.verdict, outcome.attempts), (DynamicVerdict::Acknowledged, 2));
    assert_eq!(seen[0], seen[1], "sent again unchanged");
    assert_eq!(seen[0][0], DISCONNECT_REQUEST);
    let session = [&[44, 10][..], b"0000abcd"].concat();
    for expected in
        [&session[..], &[1, 6, b'n', b'e', b'm', b'o'], &[8, 6, 192, 0, 2, 77], &[5, 6, 0, 0, 0, 7]]
    {
        assert!(seen[0].windows(expected.len()).any(|window| window == expected), "{expected:?}");
    }
    let (outcome, _) = ask(0, DISCONNECT_NAK, &[101, 6, 0, 0, 1, 248]);
    assert_eq!(outcome.verdict, DynamicVerdict::Refused);
    assert!(outcome.words.contains("can't be removed (504)"), "{outcome:?}");
    assert_eq!(role.status().sessions, 1, "it goes on");

    // Nobody is there.
    stand.config.nas[0].coa_port = 9;
    role.reload(stand.config.clone()).unwrap();
    let outcomes = stand.runtime.block_on(role.disconnect(&user)).unwrap();
    assert_eq!((outcomes[0].verdict, outcomes[0].attempts), (DynamicVerdict::Silent, 3));
    let nobody = Selector::User("nobody".to_owned());
    let none = stand.runtime.block_on(role.disconnect(&nobody));
    assert!(matches!(none, Err(OrderError::NoSession)), "{none:?}");
    // One of a user's, by either of its names; another's is none of his.
    let id = role.sessions(Some(&user), 10)[0].id.clone();
    let acct_session_id = "0000abcd".to_owned();
    for (user, session, expected) in [
        ("nemo", &acct_session_id, Some(DynamicVerdict::Silent)),
        ("nemo", &id, Some(DynamicVerdict::Silent)),
        ("nt", &acct_session_id, None),
        ("nt", &id, None),
        ("nemo", &"0000abce".to_owned(), None),
    ] {
        let one = Selector::Session { user: user.to_owned(), session: session.clone() };
        assert_eq!(role.sessions(Some(&one), 10).len(), usize::from(expected.is_some()));
        let outcome = stand.runtime.block_on(role.disconnect(&one)).ok();
        let verdict = outcome.map(|outcomes| outcomes[0].verdict);
        assert_eq!(verdict, expected, "{user} {session}");
    }
    stand.stop(&role);
}

/// Its Stop was lost, and nobody will ever tell of it again.
#[test]
fn a_session_that_its_nas_has_no_more_is_over() {
    let mut stand = Stand::new();
    let (port, nas) = fake_nas(0, DISCONNECT_NAK, vec![101, 6, 0, 0, 1, 247]);
    stand.config.nas[0].coa_port = port;
    let mut role = stand.start(Vec::new());
    let acct = stand.accounting_nas();
    let at_port = |id, port| pap(id, "single", "arctangent").number(5, port);
    acct.ask(&record(1, START, "single", "lost").with(8, &[192, 0, 2, 77]));
    wait_for("the session", || role.status().sessions == 1);
    assert_eq!(stand.nas().ask(&at_port(2, 8)).code, ACCESS_REJECT);

    let user = Selector::User("single".to_owned());
    let outcomes = stand.runtime.block_on(role.disconnect(&user)).unwrap();
    assert_eq!(outcomes[0].verdict, DynamicVerdict::Refused);
    assert!(outcomes[0].words.contains("(503); it is over, and closed here"), "{outcomes:?}");
    nas.join().unwrap();
    assert_eq!(stand.nas().ask(&at_port(3, 8)).code, ACCESS_ACCEPT, "at once");
    wait_for("the database", || {
        let sessions = stand.sessions(&role);
        sessions.first().is_some_and(|session| session.state == SessionState::Stopped)
    });
    let [session] = &stand.sessions(&role)[..] else { panic!("one session") };
    assert!(session.session_time <= 1, "nobody saw more: {session:?}");

    // Another one, whose NAS is not asked; it is over after a crash as well.
    acct.ask(&usage(record(4, INTERIM, "single", "gone"), 600, 10));
    wait_for("the session", || role.status().sessions == 1);
    let id = role.sessions(None, 9)[0].id.clone();
    for name in ["nothing", "00000000000000000000000000000000"] {
        let refused = stand.runtime.block_on(role.close_session(name)).unwrap_err();
        assert!(refused.to_string().contains("no session"), "{refused}");
    }
    let closed = stand.runtime.block_on(role.close_session(&id)).unwrap();
    assert_eq!((closed.user.as_str(), closed.session_id.as_str()), ("single", "gone"));
    assert_eq!(role.status().sessions, 0);
    assert!(stand.runtime.block_on(role.close_session(&id)).is_err(), "once");
    stand.stop(&role);
    std::fs::remove_file(stand.folder.path().join("sessions")).unwrap();
    role = stand.start(Vec::new());
    let closed = ("closed".to_owned(), 2);
    wait_for("the journal", || role.status().records.contains(&closed));
    assert_eq!(role.status().sessions, 0);
    assert!(stand.sessions(&role).iter().all(|session| session.session_time <= 600));
    stand.stop(&role);
}

#[test]
fn a_session_is_ended_where_its_nas_sends_from() {
    const SITE: [&str; 2] = ["127.0.77.5", "127.0.77.6"];
    let mut stand = Stand::new();
    stand.config.dynamic.first_timeout = Duration::from_millis(100);
    stand.config.nas.push(NasConfig::new("site", "127.0.77.0/24".parse().unwrap(), text(SECRET)));
    let role = stand.start(Vec::new());
    // Two boxes behind translations of addresses: what they call themselves is reached by nobody.
    let begin = |id, user: &str, from: &str, number: u8| {
        let client = Client::new(from, stand.config.acct[0], SECRET);
        let begun = Request::new(ACCOUNTING_REQUEST, id)
            .number(40, START)
            .user(user)
            .with(44, b"00000001")
            .with(4, &[10, 0, 0, number]);
        client.ask(&begun);
    };
    begin(1, "nemo", SITE[0], 1);
    begin(2, "User", SITE[1], 2);
    wait_for("the sessions", || role.status().sessions == 2);
    // The first one comes from another address by now, and so do requests to it.
    begin(3, "nt", SITE[1], 1);
    wait_for("the session", || role.status().sessions == 3);
    for (user, address, says) in [("nemo", SITE[1], 1), ("User", SITE[1], 2)] {
        let (port, nas) = fake_nas_at(address, 0, DISCONNECT_ACK, Vec::new());
        stand.config.nas.last_mut().unwrap().coa_port = port;
        role.reload(stand.config.clone()).unwrap();
        let user = Selector::User(user.to_owned());
        let outcomes = stand.runtime.block_on(role.disconnect(&user)).unwrap();
        assert_eq!(outcomes.len(), 1);
        assert_eq!(outcomes[0].verdict, DynamicVerdict::Acknowledged, "{outcomes:?}");
        assert_eq!(outcomes[0].sent_to, Some(format!("{address}:{port}").parse().unwrap()));
        let seen = nas.join().unwrap();
        let named = [4, 6, 10, 0, 0, says];
        assert!(seen[0].windows(6).any(|window| window == named), "it is named as it calls itself");
    }
    stand.stop(&role);
}

#[test]
fn the_operator_tries_a_login_through_the_real_socket() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let login = |user: &str, password: &str, method| Login {
        user: user.to_owned(),
        password: password.to_owned(),
        method,
        ..Login::default()
    };
    let items = ["Called-Station-Id = \"test\"".to_owned()];
    for (user, password, method, accepted) in [
        ("nemo", "arctangent", Method::Pap, true),
        ("nemo", "arctangens", Method::Pap, false),
        ("nemo", "arctangent", Method::Chap, true),
        ("nemo", "arctangens", Method::Chap, false),
        ("nt", "clientPass", Method::Chap, false),
        ("User", "clientPass", Method::MsChap, true),
        ("User", "clientpass", Method::MsChap, false),
        ("nt", "clientPass", Method::MsChap, true),
        ("User", "clientPass", Method::MsChap2, true),
        ("User", "clientpass", Method::MsChap2, false),
        ("nt", "clientPass", Method::MsChap2, true),
        ("slow", "correct horse", Method::Pap, true),
        ("slow", "correct horse", Method::MsChap, false),
    ] {
        let tried = role.test(login(user, password, method), &items);
        let outcome = stand.runtime.block_on(tried).unwrap();
        assert_eq!(outcome.accepted, Some(accepted), "{outcome:?}");
        let timeout = outcome.attributes.iter().any(|text| text.starts_with("Session-Timeout"));
        assert_eq!(timeout, accepted, "{outcome:?}");
        // What comes back of each method (RFC 2548): keys and proof, or an error in its words.
        let has = |name: &str| outcome.attributes.iter().any(|text| text.starts_with(name));
        let (one, two) = (method == Method::MsChap, method == Method::MsChap2);
        assert_eq!(has("MS-CHAP-MPPE-Keys"), accepted && one, "{outcome:?}");
        assert_eq!(has("MS-CHAP2-Success"), accepted && two, "{outcome:?}");
        assert_eq!(has("MS-MPPE-Send-Key"), accepted && two, "{outcome:?}");
        assert_eq!(has("MS-CHAP-Error"), !accepted && (one || two), "{outcome:?}");
    }
    let items = ["No-Such-Thing = 1".to_owned()];
    let wrong = role.test(login("nemo", "x", Method::Pap), &items);
    assert!(matches!(stand.runtime.block_on(wrong), Err(OrderError::Item(_))));
    let status = role.status();
    assert!(status.nases.iter().all(|nas| nas.requests == 0), "it is no NAS's request");
    stand.stop(&role);
}

#[test]
fn whoever_follows_sees_what_becomes_of_a_user_and_no_password() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let filter = Filter { user: Some("NEMO".to_owned()), ..Filter::default() };
    let mut follower = role.tail(filter.clone()).unwrap();
    let mut curious = role.tail(Filter { attributes: true, ..filter }).unwrap();
    let nas = stand.nas();
    nas.ask(&pap(1, "nt", "clientPass"));
    nas.ask(&pap(2, "nemo", "arctangent").with(31, b"line 7"));
    nas.ask(&pap(3, "nemo", "arctangens"));
    stand.accounting_nas().ask(&record(4, START, "nemo", "seen"));
    let expected = [
        ("Access-Request", "PAP", "accept", None),
        ("Access-Request", "PAP", "reject", Some("wrong password")),
        ("Accounting-Request", "start", "accounting", None),
    ];
    for (code, method, verdict, reason) in expected {
        let seen = follower.blocking_recv().unwrap();
        assert_eq!((&*seen.code, &*seen.method, &*seen.verdict), (code, method, verdict));
        assert_eq!(seen.reason.as_deref(), reason);
        assert_eq!((&*seen.nas, seen.user.as_deref()), ("one", Some("nemo")));
        let shown = format!("{seen:?}");
        assert!(!shown.contains("arctangen"), "{shown}");
        assert_eq!(seen.attributes, None);
    }
    assert!(follower.try_recv().is_err(), "nothing of others");
    // What the packets say, for who wants to know that.
    for (asked, answered) in [
        (
            &["User-Name = \"nemo\"", "User-Password = ***", "Calling-Station-Id = \"line 7\""][..],
            &["Framed-Protocol = PPP", "Session-Timeout = 3600"][..],
        ),
        (&["User-Password = ***"][..], &["Reply-Message = \"Wrong name or password.\""][..]),
        (&["Acct-Status-Type = Start", "Acct-Session-Id = \"seen\""][..], &[][..]),
    ] {
        let seen = curious.blocking_recv().unwrap();
        assert!(!format!("{seen:?}").contains("arctangen"), "{seen:?}");
        let said = seen.attributes.unwrap();
        for (expected, pairs) in [(asked, &said.request), (answered, &said.reply)] {
            for expected in expected {
                assert!(pairs.iter().any(|pair| pair == expected), "{expected} in {pairs:#?}");
            }
        }
        assert_eq!(said.reply.is_empty(), answered.is_empty());
    }
    stand.stop(&role);
}
