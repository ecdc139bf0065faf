//! How many sessions somebody has, and which addresses.

use muralla_radius_state::SessionState;

use super::*;

#[test]
fn a_user_has_as_many_sessions_as_he_may() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let (nas, acct) = (stand.nas(), stand.accounting_nas());
    let at_port = |id, port| pap(id, "single", "arctangent").number(5, port);
    assert_eq!(nas.ask(&at_port(1, 7)).code, ACCESS_ACCEPT);
    acct.ask(&record(2, START, "single", "his"));
    wait_for("the session", || role.status().sessions == 1);
    let answer = nas.ask(&at_port(3, 8));
    assert_eq!(answer.code, ACCESS_REJECT);
    assert_eq!(count(&role.status(), Stage::Rejected, "too_many_sessions"), 1);
    assert_eq!(
        nas.ask(&at_port(4, 7)).code,
        ACCESS_ACCEPT,
        "at the same port the other one is over"
    );
    acct.ask(&usage(record(5, STOP, "single", "his"), 10, 10));
    wait_for("its end", || role.status().sessions == 0);
    assert_eq!(nas.ask(&at_port(6, 8)).code, ACCESS_ACCEPT);
    stand.stop(&role);
}

#[test]
fn an_address_of_a_pool_is_given_to_one_alone() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    wait_for("the pool", || role.status().pools.iter().any(|pool| pool.spare > 0));
    let nas = stand.nas();
    let address = |id, user: &str, port| {
        let answer = nas.ask(&pap(id, user, "arctangent").number(5, port));
        assert_eq!(answer.code, ACCESS_ACCEPT);
        answer.first(8).unwrap().to_vec()
    };
    let one = address(1, "pooled one", 1);
    let two = address(2, "pooled two", 2);
    assert_ne!(one, two);
    assert_eq!(one[..3], [198, 51, 100]);
    assert_eq!(address(3, "pooled one", 1), one, "who asks again gets the same");
    // Three updates in the life of a lease, as no profile says otherwise.
    let answer = nas.ask(&pap(4, "pooled one", "arctangent").number(5, 1));
    assert_eq!(answer.number(85), Some(1_200));
    assert_eq!(nas.ask(&pap(5, "nemo", "arctangent")).number(85), None);
    stand.stop(&role);
}

/// A Stop whose acknowledgement was lost comes again, when its address is the next session's already.
#[test]
fn an_old_end_does_not_take_the_address_of_the_next_session() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    wait_for("the pool", || role.status().pools.iter().any(|pool| pool.spare > 0));
    let (nas, acct) = (stand.nas(), stand.accounting_nas());
    let address = |id| {
        let answer = nas.ask(&pap(id, "pooled one", "arctangent").number(5, 7));
        answer.first(8).unwrap().to_vec()
    };
    let held = || role.status().pools[0].held;
    let given = address(1);
    let has = |record: Request| record.with(8, &given);
    acct.ask(&has(record(1, START, "pooled one", "first")));
    let end = usage(record(2, STOP, "pooled one", "first"), 1, 100);
    acct.ask(&has(end.clone()));
    wait_for("its end", || held() == 0);
    assert_eq!(address(2), given, "what he had last");
    acct.ask(&has(record(3, START, "pooled one", "second")));
    acct.ask(&has(end.number(41, 9)));
    // And another record, for what came before it has been read then.
    acct.ask(&record(4, START, "nemo", "another"));
    wait_for("all of it", || role.status().sessions == 2 && role.status().exported == 5);
    assert_eq!(held(), 1);
    let leases = || {
        let state = role.state().unwrap();
        stand.runtime.block_on(state.leases(None, "", 9)).unwrap()
    };
    assert_eq!(leases().len(), 1);

    // He is gone and back before his Stop comes: the offer is the next session's.
    thread::sleep(Duration::from_millis(1_200));
    assert_eq!(address(5), given);
    acct.ask(&has(usage(record(6, STOP, "pooled one", "second"), 2, 100)));
    wait_for("its end", || role.status().sessions == 1);
    acct.ask(&record(7, START, "nemo", "one more"));
    wait_for("what came after it", || role.status().sessions == 2);
    assert_eq!(held(), 1);
    stand.stop(&role);
}

/// A box that told its name in its records, and not in its Accounting-On: what is closed here is closed in the database.
#[test]
fn what_a_box_closes_is_closed_in_the_database() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let acct = stand.accounting_nas();
    acct.ask(&record(1, START, "nemo", "open").with(32, b"lns"));
    wait_for("the session", || role.status().sessions == 1);
    // Within its first seconds it could be one of the new life.
    thread::sleep(Duration::from_millis(3_100));
    let began = Request::new(ACCOUNTING_REQUEST, 2).number(40, 7).with(4, &[127, 0, 0, 1]);
    acct.ask(&began);
    wait_for("its end here", || role.status().sessions == 0);
    wait_for("its end in the database", || {
        let sessions = stand.sessions(&role);
        sessions.len() == 1 && sessions[0].state == SessionState::Rebooted
    });
    stand.stop(&role);
}

/// Nobody is quicker with a second session than the table of sessions: what was acknowledged counts.
#[test]
fn a_session_counts_from_its_acknowledgement_on_and_no_longer_than_its_end() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let (nas, acct) = (stand.nas(), stand.accounting_nas());
    let attempt = |number: u64| {
        let login = login(number as u8, "single").with_authenticator(number);
        nas.ask(&login.pap(SECRET, b"arctangent").number(5, 8)).code
    };
    for turn in 0..200u64 {
        let session = format!("session {turn}");
        acct.ask(&record(1, START, "single", &session));
        assert_eq!(attempt(2 * turn), ACCESS_REJECT, "turn {turn}: it has begun");
        acct.ask(&usage(record(2, STOP, "single", &session), 1, 1));
        assert_eq!(attempt(2 * turn + 1), ACCESS_ACCEPT, "turn {turn}: it has ended");
    }
    stand.stop(&role);
}
