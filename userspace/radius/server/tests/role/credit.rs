//! Credits, in good times and while the database is away.

use std::cell::Cell;

use muralla_database::Engine;

use super::*;

/// Somebody who has a credit of 1,000 seconds, and tries to log in.
struct Prepaid {
    nas: Client,
    asked: Cell<u64>,
}

impl Prepaid {
    fn new(stand: &Stand) -> Self {
        Self { nas: stand.nas(), asked: Cell::new(0) }
    }

    /// What he is given of it at a port; none if he is refused.
    fn left(&self, port: u32) -> Option<u32> {
        // Another request each time: the same one gets the same answer again.
        self.asked.set(self.asked.get() + 1);
        let request = Request::new(ACCESS_REQUEST, 1).with_authenticator(self.asked.get());
        let request = request.user("prepaid").pap(SECRET, b"arctangent").number(5, port);
        let answer = self.nas.ask(&request);
        (answer.code == ACCESS_ACCEPT).then(|| answer.number(27).unwrap())
    }

    /// Whether it is so much, less the seconds since a session that goes on told of itself.
    fn has_about(&self, most: u32) -> bool {
        self.left(8).is_some_and(|left| (most - 60..=most).contains(&left))
    }
}

/// Does something to the database behind the server's back.
fn sql(stand: &Stand, statement: &'static str) {
    let location = stand.config.database().unwrap().0;
    stand.runtime.block_on(async {
        let engine = Engine::new(&location, "a test").unwrap();
        let mut work = engine.write().await.unwrap();
        work.execute(statement, Vec::new()).await.unwrap();
        work.commit().await.unwrap();
        engine.close().await;
    });
}

#[test]
fn a_credit_goes_down_to_nothing() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let (prepaid, acct) = (Prepaid::new(&stand), stand.accounting_nas());
    assert_eq!(prepaid.left(7), Some(1_000));
    acct.ask(&record(2, START, "prepaid", "one"));
    acct.ask(&usage(record(3, INTERIM, "prepaid", "one"), 300, 5));
    // What goes on counts at once, whether it is off the credit in the database yet or not; it goes on by some seconds.
    wait_for("the use", || prepaid.has_about(700));
    wait_for("the charge", || stand.credit("prepaid") == Some(700));
    wait_for("it to be counted once", || prepaid.has_about(700));
    acct.ask(&usage(record(6, STOP, "prepaid", "one"), 400, 5));
    wait_for("the rest of it", || stand.credit("prepaid") == Some(600));
    wait_for("the word of it", || prepaid.left(8) == Some(600));
    // The record comes again, and then another session takes more than there is.
    acct.ask(&usage(record(8, STOP, "prepaid", "one"), 400, 5).number(41, 1));
    acct.ask(&usage(record(9, STOP, "prepaid", "two"), 5_000, 5));
    wait_for("its end", || stand.credit("prepaid") == Some(0));
    wait_for("the refusal", || prepaid.left(8).is_none());
    assert!(count(&role.status(), Stage::Rejected, "no_time_left") > 0);
    stand.stop(&role);
}

/// What is in the journal alone was used nevertheless, also after a restart, be it one in good order or not.
#[test]
fn what_ended_sessions_used_stays_used_while_nothing_can_be_written() {
    let stand = Stand::new();
    let mut role = stand.start(Vec::new());
    let (prepaid, acct) = (Prepaid::new(&stand), stand.accounting_nas());
    assert_eq!(prepaid.left(7), Some(1_000));
    sql(
        &stand,
        "CREATE TRIGGER away BEFORE INSERT ON radius_record BEGIN SELECT RAISE(ABORT, 'no'); END",
    );
    // It began some time ago, as its Stop says: else they were two sessions, of which the table closes one by itself.
    acct.ask(&record(1, START, "prepaid", "one").number(41, 400));
    acct.ask(&usage(record(2, STOP, "prepaid", "one"), 400, 5));
    wait_for("what it used", || prepaid.left(8) == Some(600));
    acct.ask(&usage(record(3, STOP, "prepaid", "one"), 450, 5).number(41, 1));
    wait_for("what its end told later", || prepaid.left(8) == Some(550));
    acct.ask(&record(4, START, "prepaid", "two").number(41, 500));
    acct.ask(&usage(record(5, STOP, "prepaid", "two"), 500, 5));
    wait_for("what the other one used", || prepaid.left(8) == Some(50));
    for is_orderly in [true, false] {
        stand.stop(&role);
        drop(role);
        if !is_orderly {
            for file in ["sessions", "sessions.spent"] {
                std::fs::remove_file(stand.folder.path().join(file)).unwrap();
            }
        }
        role = stand.start(Vec::new());
        wait_for("what was used before the restart", || prepaid.left(8) == Some(50));
    }
    acct.ask(&usage(record(6, STOP, "prepaid", "three"), 60, 5));
    wait_for("the refusal", || prepaid.left(8).is_none());
    assert_eq!(stand.credit("prepaid"), Some(1_000), "nothing is written");

    sql(&stand, "DROP TRIGGER away");
    wait_for("the charge", || stand.credit("prepaid") == Some(0));
    let state = role.state().unwrap();
    stand.runtime.block_on(state.add_credit("prepaid", 700, 0)).unwrap();
    wait_for("a credit that was used once", || prepaid.left(8) == Some(700));
    stand.stop(&role);
}

/// Of the database's copy nobody knows up to where open sessions are off a credit.
#[test]
fn an_open_session_refuses_nobody_at_a_start_from_the_copy() {
    let mut stand = Stand::new();
    let role = stand.start(Vec::new());
    let (prepaid, acct) = (Prepaid::new(&stand), stand.accounting_nas());
    acct.ask(&record(1, START, "prepaid", "one"));
    acct.ask(&usage(record(2, INTERIM, "prepaid", "one"), 600, 5));
    wait_for("the charge", || stand.credit("prepaid") == Some(400));
    stand.stop(&role);
    drop(role);

    let copy = stand.folder.path().join("state.db");
    stand.config.state.location = nowhere();
    stand.config.state.copy = Some(copy);
    let role = stand.start(Vec::new());
    assert!(prepaid.has_about(400), "what was taken off before is not taken off again");
    acct.ask(&usage(record(3, INTERIM, "prepaid", "one"), 700, 5));
    wait_for("what came since", || prepaid.has_about(300));
    acct.ask(&usage(record(4, STOP, "prepaid", "one"), 750, 5));
    wait_for("its end", || prepaid.left(8) == Some(250));
    stand.stop(&role);
}
