//! Which of a user's sessions is over when he logs in again, and whose address it is that he gets: by all that his NAS tells
//! of the line.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::*;

const NAS_PORT: u8 = 5;
const CALLING: u8 = 31;
const IDENTIFIER: u8 = 32;
const PORT_ID: u8 = 87;

/// What a NAS tells of a line, at the login as in accounting.
type Line<'l> = &'l [(u8, &'l [u8])];

const fn port(number: u8) -> [u8; 4] {
    [0xf0, 0, 0, number]
}

/// A session's line, that of a login, and whether they are the same.
const CASES: &[(&str, Line<'_>, Line<'_>, bool)] = &[
    (
        "the interface is everybody's, and the port is new each time",
        &[(PORT_ID, b"ether2"), (NAS_PORT, &port(1)), (CALLING, b"00:AA")],
        &[(PORT_ID, b"ether2"), (NAS_PORT, &port(2)), (CALLING, b"00:BB")],
        false,
    ),
    (
        "a hotspot's interface",
        &[(PORT_ID, b"hotspot1"), (CALLING, b"00:AA")],
        &[(PORT_ID, b"hotspot1"), (CALLING, b"00:BB")],
        false,
    ),
    (
        "one box of several behind an entry",
        &[(NAS_PORT, &port(1)), (IDENTIFIER, b"a")],
        &[(NAS_PORT, &port(1)), (IDENTIFIER, b"b")],
        false,
    ),
    ("a port alone", &[(NAS_PORT, &port(1))], &[(NAS_PORT, &port(1))], true),
    ("another port", &[(NAS_PORT, &port(1))], &[(NAS_PORT, &port(2))], false),
    ("a station alone", &[(CALLING, b"0049")], &[(CALLING, b"0049")], true),
    ("another station", &[(CALLING, b"0049")], &[(CALLING, b"0050")], false),
    ("nothing", &[], &[], false),
    (
        "all of it",
        &[(PORT_ID, b"eth 1/1"), (NAS_PORT, &port(1)), (CALLING, b"0049"), (IDENTIFIER, b"a")],
        &[(PORT_ID, b"eth 1/1"), (NAS_PORT, &port(1)), (CALLING, b"0049"), (IDENTIFIER, b"a")],
        true,
    ),
];

fn on(request: Request, line: Line<'_>) -> Request {
    line.iter().fold(request, |request, (kind, value)| request.with(*kind, value))
}

fn told(id: u8, status: u32, user: &str, session: &str, line: Line<'_>) -> Request {
    let record = Request::new(ACCOUNTING_REQUEST, id).number(40, status).user(user);
    on(record.with(44, session.as_bytes()).with(4, &[127, 0, 0, 1]), line)
}

#[test]
fn a_session_on_the_same_line_is_over_and_another_is_not() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let (nas, acct) = (stand.nas(), stand.accounting_nas());
    for (at, (what, of_session, of_login, same)) in (0u8..).zip(CASES) {
        let session = format!("session {at}");
        acct.ask(&told(1, START, "single", &session, of_session));
        let login = |number: u64| {
            let login = login(number as u8, "single").with_authenticator(number);
            on(login.pap(SECRET, b"arctangent"), of_login)
        };
        let expected = if *same { ACCESS_ACCEPT } else { ACCESS_REJECT };
        // On its way to the table, and then in it.
        assert_eq!(nas.ask(&login(2 * u64::from(at))).code, expected, "{what}");
        wait_for("the session", || role.status().sessions == 1);
        assert_eq!(nas.ask(&login(2 * u64::from(at) + 1)).code, expected, "{what}");
        acct.ask(&usage(told(2, STOP, "single", &session, of_session), 1, 1));
        wait_for("its end", || role.status().sessions == 0);
    }
    stand.stop(&role);
}

/// A NAS that makes up a port for each session, and whose Stop was lost.
#[test]
fn who_calls_again_takes_the_place_of_a_session_that_missed_its_update() {
    let mut stand = Stand::new();
    stand.config.accounting.interim = Some(Duration::from_secs(2));
    // It is not taken for gone by itself.
    stand.config.accounting.missed_interims = 1_000;
    let role = stand.start(Vec::new());
    let line: Line<'_> = &[(PORT_ID, b"ether2"), (NAS_PORT, &port(1)), (CALLING, b"00:AA")];
    let again: Line<'_> = &[(PORT_ID, b"ether2"), (NAS_PORT, &port(2)), (CALLING, b"00:AA")];
    let other: Line<'_> = &[(PORT_ID, b"ether2"), (NAS_PORT, &port(2)), (CALLING, b"00:BB")];
    stand.accounting_nas().ask(&told(1, START, "single", "his", line));
    wait_for("the session", || role.status().sessions == 1);
    let nas = stand.nas();
    let asked = AtomicU64::new(0);
    let ask = |line| {
        let number = asked.fetch_add(1, Relaxed);
        let login = login(number as u8, "single").with_authenticator(number);
        nas.ask(&on(login.pap(SECRET, b"arctangent"), line)).code
    };
    wait_for("the missed update", || ask(again) == ACCESS_ACCEPT);
    assert_eq!(role.status().sessions, 1, "it is still there");
    assert_eq!(ask(other), ACCESS_REJECT, "who calls from elsewhere is another");
    stand.stop(&role);
}

#[test]
fn an_address_in_use_on_a_line_is_given_on_no_other() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    wait_for("the pool", || role.status().pools.iter().any(|pool| pool.spare > 0));
    let (nas, acct) = (stand.nas(), stand.accounting_nas());
    let asked = AtomicU64::new(0);
    let ask = |line| {
        let mut given = None;
        // More of the pool is reserved within a moment, if there is nothing left here.
        wait_for("an address", || {
            let number = asked.fetch_add(1, Relaxed);
            let login = login(number as u8, "pooled one").with_authenticator(number);
            let answer = nas.ask(&on(login.pap(SECRET, b"arctangent"), line));
            given = answer.first(8).map(<[u8]>::to_vec);
            given.is_some()
        });
        given.unwrap()
    };
    for (at, (what, of_session, of_login, same)) in (0u8..).zip(CASES) {
        let given = ask(of_session);
        let session = format!("session {at}");
        let start = told(1, START, "pooled one", &session, of_session).with(8, &given);
        acct.ask(&start);
        wait_for("the session", || role.status().sessions == 1);
        let again = ask(of_login);
        assert_eq!(again == given, *same, "{what}");
        let stop = told(2, STOP, "pooled one", &session, of_session).with(8, &given);
        acct.ask(&usage(stop, 1, 1));
        wait_for("its end", || role.status().sessions == 0);
    }
    stand.stop(&role);
}

/// A server with the same database.
fn another(stand: &Stand) -> Stand {
    let mut config = stand.config.clone();
    config.state.server = Some("another".to_owned());
    config.journal.folder = stand.folder.path().join("another journal");
    config.accounting.snapshot_file = Some(stand.folder.path().join("another's sessions"));
    Stand { config, folder: tempfile::tempdir().unwrap(), runtime: Runtime::new().unwrap() }
}

/// What other servers were told of begins, by the database, and this one of the ends.
#[test]
fn a_session_of_another_server_is_over_by_its_line_or_when_its_end_is_told_here() {
    let stand = Stand::new();
    let another = another(&stand);
    let line: Line<'_> = &[(PORT_ID, b"ether2"), (NAS_PORT, &port(1)), (CALLING, b"00:AA")];
    let next: Line<'_> = &[(PORT_ID, b"ether2"), (NAS_PORT, &port(2)), (CALLING, b"00:BB")];
    let role = another.start(Vec::new());
    another.accounting_nas().ask(&told(1, START, "single", "his", line));
    wait_for("the database", || role.status().exported == 1);
    another.stop(&role);
    drop(role);

    let role = stand.start(Vec::new());
    wait_for("the other's session", || role.status().sessions_elsewhere == 1);
    let nas = stand.nas();
    let ask = |number: u64, line| {
        let login = login(number as u8, "single").with_authenticator(number);
        nas.ask(&on(login.pap(SECRET, b"arctangent"), line)).code
    };
    assert_eq!(ask(1, next), ACCESS_REJECT);
    assert_eq!(ask(2, line), ACCESS_ACCEPT, "on the same line it is over");
    // The Stop of one that nobody had told this server of.
    stand.accounting_nas().ask(&usage(told(2, STOP, "single", "his", line), 1, 1));
    assert_eq!(ask(3, next), ACCESS_ACCEPT, "its end is told");
    wait_for("the table to be told", || role.status().sessions_elsewhere == 0);
    assert_eq!(ask(4, next), ACCESS_ACCEPT);
    stand.stop(&role);
}

/// A box begins anew, and tells another server than the one that has its sessions.
#[test]
fn sessions_of_another_server_are_over_when_their_box_begins_anew_here() {
    let stand = Stand::new();
    let another = another(&stand);
    let (one, two): (Line<'_>, Line<'_>) =
        (&[(NAS_PORT, &port(1)), (IDENTIFIER, b"a")], &[(NAS_PORT, &port(1)), (IDENTIFIER, b"b")]);
    let role = another.start(Vec::new());
    let acct = another.accounting_nas();
    for (id, session, line) in [(1, "of one", one), (2, "of two", two)] {
        acct.ask(&told(id, START, "single", session, line).number(41, 60));
    }
    wait_for("the database", || role.status().exported == 2);
    another.stop(&role);
    drop(role);

    let role = stand.start(Vec::new());
    wait_for("the other's sessions", || role.status().sessions_elsewhere == 2);
    for (id, identifier, left) in [(1, b"a", 1), (2, b"b", 0)] {
        let began = Request::new(ACCOUNTING_REQUEST, id).number(40, 7).with(4, &[127, 0, 0, 1]);
        stand.accounting_nas().ask(&began.with(IDENTIFIER, identifier));
        wait_for("its end", || role.status().sessions_elsewhere == left);
    }
    stand.stop(&role);
}
