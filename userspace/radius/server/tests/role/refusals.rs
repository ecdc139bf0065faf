//! What an operator finds out when somebody can't log in.

use muralla_radius::report::{RefusalFilter, Stranger};

use super::*;

/// Who is limited is shown so, and let in at once when the operator gives him another password.
#[test]
fn who_is_limited_is_told_to_be_so_until_he_has_another_password() {
    let mut stand = Stand::new();
    stand.config.limits.user_failures = 3;
    stand.config.limits.user_forgiven = Duration::from_secs(600);
    let role = stand.start(Vec::new());
    let nas = stand.nas();
    let at = |id: u8, number: u64, password: &str, line: &[u8]| {
        let login = login(id, "nemo").with_authenticator(number).pap(SECRET, password.as_bytes());
        nas.ask(&login.with(31, line)).code
    };
    assert_eq!(at(1, 1, "arctangent", b"line 7"), ACCESS_ACCEPT);
    let limits = role.limits("nemo");
    assert_eq!((limits.seconds, limits.lines.len()), (None, 0));
    for number in 2..6 {
        assert_eq!(at(1, number, "guess", b"line 9"), ACCESS_REJECT);
    }
    let limits = role.limits("nemo");
    assert!(limits.seconds.is_some_and(|seconds| (1..=600).contains(&seconds)), "{limits:?}");
    assert_eq!(limits.lines.len(), 0, "at home he is let in");
    for number in 6..10 {
        assert_eq!(at(1, number, "guess", b"line 7"), ACCESS_REJECT);
    }
    let limits = role.limits("nemo");
    let lines: Vec<String> = limits.lines.iter().map(|line| line.line()).collect();
    assert_eq!(lines, ["line 7"]);
    assert_eq!(role.limits("nt").seconds, None);

    let state = role.state().unwrap();
    let changed = subscriber("nemo", "{CLEARTEXT}another");
    stand.runtime.block_on(state.put_subscriber(&Dictionary::built_in(), &changed)).unwrap();
    wait_for("the other password", || role.limits("nemo").seconds.is_none());
    assert_eq!(at(1, 100, "another", b"line 9"), ACCESS_ACCEPT);
    assert_eq!(at(1, 101, "another", b"line 7"), ACCESS_ACCEPT);
    assert_eq!(role.limits("nemo").lines.len(), 0);
    stand.stop(&role);
}

#[test]
fn refusals_are_found_with_their_reasons() {
    let mut stand = Stand::new();
    stand.config.answers.reject_delay = Duration::from_millis(50);
    let role = stand.start(Vec::new());
    let nas = stand.nas();
    let old = Client::new(OLD_NAS, stand.config.auth[0], SECRET);
    assert_eq!(nas.ask(&pap(1, "nemo", "arctangent")).code, ACCESS_ACCEPT);
    assert_eq!(nas.ask(&pap(2, "nemo", "guess").with(31, b"line 9")).code, ACCESS_REJECT);
    assert_eq!(old.ask(&pap(3, "gone", "arctangent")).code, ACCESS_REJECT);
    // One that a thread of its own looks at.
    assert_eq!(nas.ask(&pap(4, "slow", "guess")).code, ACCESS_REJECT);
    let found = |filter: RefusalFilter| -> Vec<(String, String, String)> {
        let found = role.refusals(&filter).into_iter();
        found.map(|refusal| (refusal.user, refusal.nas, refusal.reason)).collect()
    };
    let row =
        |user: &str, nas: &str, reason: &str| (user.to_owned(), nas.to_owned(), reason.to_owned());
    let all = [
        row("slow", "one", "wrong_password"),
        row("gone", "old", "disabled"),
        row("nemo", "one", "wrong_password"),
    ];
    assert_eq!(found(RefusalFilter::default()), all);
    let user = Some("NEMO".to_owned());
    assert_eq!(found(RefusalFilter { user, ..RefusalFilter::default() }), all[2..]);
    let nas = Some("old".to_owned());
    assert_eq!(found(RefusalFilter { nas, ..RefusalFilter::default() }), all[1..2]);
    let until = Some(1.0);
    assert_eq!(found(RefusalFilter { until, ..RefusalFilter::default() }), []);
    let refusal = &role.refusals(&RefusalFilter::default())[2];
    assert_eq!(refusal.calling_station.as_deref(), Some("line 9"));
    assert_eq!((&*refusal.method, &*refusal.words), ("PAP", "wrong password"));
    assert!(refusal.answered && refusal.source.to_string() == NAS);
    stand.stop(&role);
}

#[test]
fn who_is_not_known_is_shown_with_his_address() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let (auth, acct) = (stand.config.auth[0], stand.config.acct[0]);
    let stranger = Client::new(NO_NAS, auth, SECRET);
    for id in 0..3 {
        stranger.send(&pap(id, "nemo", "arctangent").sign(SECRET));
    }
    let wrong = Client::new(NAS, acct, b"the wrong secret");
    wrong.send(&record(1, START, "nemo", "one").sign(b"the wrong secret"));
    let total = || -> u64 { role.status().strangers.iter().map(|seen| seen.packets).sum() };
    wait_for("all of them", || total() == 4);
    let strangers = role.status().strangers;
    let told: Vec<_> = strangers
        .iter()
        .map(|Stranger { address, reason, nas, packets, doubtful, .. }| {
            (address.to_string(), &**reason, nas.as_deref(), *packets, *doubtful)
        })
        .collect();
    let expected = [
        (NO_NAS.to_owned(), "unknown_client", None, 3, 0),
        (NAS.to_owned(), "authenticator", Some("one"), 1, 0),
    ];
    assert_eq!(told, expected);
    stand.stop(&role);
}
