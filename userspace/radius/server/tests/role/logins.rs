//! Who is let in, who is not, and what a NAS may do that asks.

use super::*;

#[test]
fn every_method_lets_in_whom_it_should_and_nobody_else() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let nas = stand.nas();
    let challenge = [9; 16];
    // (what, request, whether it is accepted)
    let cases = [
        ("PAP", pap(0, "nemo", "arctangent"), true),
        ("PAP, wrong", pap(1, "nemo", "arctangens"), false),
        ("PAP, NT hash", pap(2, "nt", "clientPass"), true),
        ("PAP, bcrypt", pap(3, "slow", "correct horse"), true),
        ("PAP, bcrypt, wrong", pap(4, "slow", "correct hors"), false),
        ("CHAP", login(5, "nemo").chap(b"arctangent", &challenge), true),
        ("CHAP, wrong", login(6, "nemo").chap(b"arctangens", &challenge), false),
        ("CHAP, NT hash", login(7, "nt").chap(b"clientPass", &challenge), false),
        ("MS-CHAPv2", login(8, "User").mschap2(true), true),
        ("MS-CHAPv2, wrong", login(9, "User").mschap2(false), false),
        ("MS-CHAPv2, bcrypt", login(10, "slow").mschap2(true), false),
        ("nobody", pap(11, "nobody", "arctangent"), false),
        ("disabled", pap(12, "gone", "arctangent"), false),
        ("no password", login(13, "nemo"), false),
        ("EAP", login(14, "nemo").with(79, &[2, 0, 0, 4]), false),
    ];
    for (what, request, accepted) in cases {
        let answer = nas.ask(&request.with(33, b"state of a proxy").with(33, b"and of another"));
        assert_eq!(answer.code == ACCESS_ACCEPT, accepted, "{what}");
        assert_eq!(answer.code == ACCESS_REJECT, !accepted, "{what}");
        let states: Vec<&[u8]> = answer
            .attributes
            .iter()
            .filter(|(kind, _)| *kind == 33)
            .map(|(_, value)| &value[..])
            .collect();
        assert_eq!(states, [&b"state of a proxy"[..], b"and of another"], "{what}");
        // Session-Timeout and Framed-Protocol are the profile's.
        assert_eq!(answer.number(27), accepted.then_some(3_600), "{what}");
        assert_eq!(answer.number(7), accepted.then_some(1), "{what}");
        match what {
            "MS-CHAPv2" => {
                let success = answer.vendor(MICROSOFT, 26).unwrap();
                assert_eq!(success[0], 9);
                assert_eq!(&success[1..], b"S=407A5589115FD0D6209F510FE9C04566932CDA56");
                let keys = [16, 17].map(|kind| answer.vendor(MICROSOFT, kind).unwrap());
                assert_ne!(keys[0], keys[1]);
            }
            "MS-CHAPv2, wrong" => {
                let error = answer.vendor(MICROSOFT, 2).unwrap();
                assert!(text(&error[1..]).starts_with("E=691 R=0 "), "{error:?}");
            }
            "PAP, wrong" | "nobody" => {
                assert_eq!(text(answer.first(18).unwrap()), "Wrong name or password.", "{what}");
            }
            "disabled" => assert_ne!(text(answer.first(18).unwrap()), "Wrong name or password."),
            _ => {}
        }
    }
    let status = role.status();
    for (reason, expected) in [
        ("wrong_password", 4),
        ("unknown_user", 1),
        ("disabled", 1),
        ("method_impossible", 3),
        ("bad_offer", 1),
    ] {
        assert_eq!(count(&status, Stage::Rejected, reason), expected, "{reason}");
    }
    let one = status.nases.iter().find(|nas| nas.name == "one").unwrap();
    assert_eq!((one.requests, one.accepted, one.rejected), (15, 5, 10));
    assert!(one.seen.is_some_and(|seen| seen < 60));
    stand.stop(&role);
}

#[test]
fn who_is_not_known_or_not_genuine_hears_nothing() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let (nas, acct) = (stand.nas(), stand.accounting_nas());
    let genuine = pap(1, "nemo", "arctangent");
    let good = genuine.sign(SECRET);
    let altered = |at: usize, byte: u8| {
        let mut packet = good.clone();
        packet[at] = byte;
        packet
    };
    let with_status = |request: Request| request.number(40, START);
    let account = with_status(Request::new(ACCOUNTING_REQUEST, 9)).with(44, b"x");
    let cases: Vec<(&Client, Vec<u8>, Stage, &str)> = vec![
        (&nas, good[..19].to_vec(), Stage::Malformed, "short"),
        (&nas, Vec::new(), Stage::Malformed, "short"),
        (&nas, altered(3, 19), Stage::Malformed, "length_too_small"),
        (&nas, altered(2, 0xff), Stage::Malformed, "length_too_big"),
        (&nas, good[..good.len() - 1].to_vec(), Stage::Malformed, "truncated"),
        (&nas, altered(21, 1), Stage::Malformed, "attribute_too_short"),
        (&nas, altered(21, 255), Stage::Malformed, "attribute_torn"),
        (&nas, altered(30, good[30] ^ 1), Stage::Unverified, "message_authenticator"),
        (&nas, genuine.plain(), Stage::Unverified, "no_message_authenticator"),
        (&nas, genuine.sign(b"another secret"), Stage::Unverified, "message_authenticator"),
        (
            &nas,
            Request::new(STATUS_SERVER, 2).plain(),
            Stage::Unverified,
            "no_message_authenticator",
        ),
        (&nas, altered(0, 2), Stage::Dropped, "unexpected_code"),
        (&nas, account.sign(SECRET), Stage::Dropped, "unexpected_code"),
        (&acct, good.clone(), Stage::Dropped, "unexpected_code"),
        (&acct, account.sign(b"another secret"), Stage::Unverified, "authenticator"),
        (&acct, Request::new(ACCOUNTING_REQUEST, 3).sign(SECRET), Stage::Dropped, "no_status"),
    ];
    for (number, (client, packet, stage, reason)) in cases.iter().enumerate() {
        let before = count(&role.status(), *stage, reason);
        client.ask_in_vain(packet);
        assert_eq!(count(&role.status(), *stage, reason), before + 1, "case {number}: {reason}");
    }
    Client::new(NO_NAS, stand.config.auth[0], SECRET).ask_in_vain(&good);
    assert_eq!(count(&role.status(), Stage::Unverified, "unknown_client"), 1);
    // What is beyond its Length is padding (RFC 2865 section 3).
    let padded = [&good[..], &[0; 30]].concat();
    nas.send(&padded);
    let answer = nas.receive(Duration::from_secs(10)).unwrap();
    assert_eq!(check(&answer, &good, SECRET).code, ACCESS_ACCEPT);
    stand.stop(&role);
}

#[test]
fn an_old_nas_is_an_exception_that_is_loud_and_has_its_limits() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let old = Client::new(OLD_NAS, stand.config.auth[0], SECRET);
    let request = pap(1, "nemo", "arctangent");
    assert_eq!(old.ask_bytes(&request.plain()).code, ACCESS_ACCEPT);
    // What a forger of answers needs (CVE-2024-3596).
    let forged = pap(2, "nemo", "arctangent").with(33, b"a place for a collision");
    old.ask_in_vain(&forged.plain());
    assert_eq!(count(&role.status(), Stage::Unverified, "proxy_state"), 1);
    assert_eq!(old.ask(&forged).code, ACCESS_ACCEPT);
    let warnings = role.status().warnings;
    assert!(
        warnings.iter().any(|warning| warning.contains("NAS old") && warning.contains("CVE")),
        "{warnings:?}"
    );
    stand.stop(&role);
}

#[test]
fn what_is_sent_again_gets_the_same_answer_byte_for_byte() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let nas = stand.nas();
    let first = pap(7, "nemo", "arctangent").sign(SECRET);
    let answer = nas.ask_bytes(&first);
    for _ in 0..3 {
        assert_eq!(nas.ask_bytes(&first).bytes, answer.bytes);
    }
    // The same identifier with another authenticator is another request (RFC 5080 section 2.2.2).
    let other = login(7, "nemo").with_authenticator(1_000).pap(SECRET, b"arctangens");
    assert_eq!(nas.ask(&other).code, ACCESS_REJECT);
    // What was asked before it is known by all that it says.
    assert_eq!(nas.ask_bytes(&first).bytes, answer.bytes);
    let status = role.status();
    let one = status.nases.iter().find(|nas| nas.name == "one").unwrap();
    assert_eq!((one.requests, one.repeated, one.rejected), (2, 4, 1));

    let acct = stand.accounting_nas();
    let start = record(8, START, "nemo", "again").sign(SECRET);
    let answer = acct.ask_bytes(&start);
    assert_eq!(acct.ask_bytes(&start).bytes, answer.bytes);
    wait_for("the session", || role.status().sessions == 1);
    let status = role.status();
    assert_eq!(status.journal.records, 1, "written once");
    stand.stop(&role);
}

#[test]
fn identifiers_wrap() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let nas = stand.nas();
    for number in 0..700u64 {
        let request =
            login(number as u8, "nemo").with_authenticator(number).pap(SECRET, b"arctangent");
        assert_eq!(nas.ask(&request).code, ACCESS_ACCEPT, "{number}");
    }
    let status = role.status();
    let one = status.nases.iter().find(|nas| nas.name == "one").unwrap();
    assert_eq!((one.accepted, one.repeated), (700, 0));
    stand.stop(&role);
}

#[test]
fn a_status_server_is_answered_on_both_ports() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let status = Request::new(STATUS_SERVER, 5).with(33, b"proxy");
    let auth = stand.nas().ask(&status);
    assert_eq!((auth.code, auth.first(33)), (ACCESS_ACCEPT, Some(&b"proxy"[..])));
    assert_eq!(stand.accounting_nas().ask(&status).code, ACCOUNTING_RESPONSE);
    stand.runtime.block_on(async {
        assert!(role.canary().await.unwrap() < Duration::from_secs(2));
    });
    stand.stop(&role);
    // Nobody reads any more.
    let silence = stand.runtime.block_on(role.canary());
    assert!(silence.unwrap_err().contains("no answer"));
}

#[test]
fn a_refusal_waits_and_nobody_waits_for_it() {
    let mut stand = Stand::new();
    stand.config.answers.reject_delay = Duration::from_millis(700);
    // One thread: if anything slept, all would.
    stand.config.threads = Some(1.try_into().unwrap());
    let role = stand.start(Vec::new());
    let (guesser, nas) = (stand.nas(), stand.nas());
    let wrong = pap(1, "nemo", "arctangens").sign(SECRET);
    let begin = Instant::now();
    guesser.send(&wrong);
    wait_for("the refusal to wait", || role.status().delayed_rejects == 1);
    guesser.send(&wrong);
    for id in 0..20 {
        assert_eq!(nas.ask(&pap(id, "nemo", "arctangent")).code, ACCESS_ACCEPT);
    }
    assert!(begin.elapsed() < Duration::from_millis(650), "{:?}", begin.elapsed());
    let answer = guesser.receive(Duration::from_secs(10)).unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(690), "{:?}", begin.elapsed());
    assert_eq!(check(&answer, &wrong, SECRET).code, ACCESS_REJECT);
    // What was sent again meanwhile got no answer of its own; from now on it gets this one at once.
    assert!(guesser.receive(Duration::from_millis(200)).is_none());
    assert_eq!(count(&role.status(), Stage::Dropped, "under_way"), 1);
    let again = Instant::now();
    assert_eq!(guesser.ask_bytes(&wrong).bytes, answer);
    assert!(again.elapsed() < Duration::from_millis(500));

    // At the end it does not wait.
    let last = pap(2, "nemo", "arctangens").sign(SECRET);
    guesser.send(&last);
    wait_for("the refusal to wait", || role.status().delayed_rejects == 1);
    stand.stop(&role);
    let answer = guesser.receive(Duration::from_millis(400)).expect("an answer before the end");
    assert_eq!(check(&answer, &last, SECRET).code, ACCESS_REJECT);
}

#[test]
fn a_secret_is_rolled_without_a_moment_of_silence() {
    let mut stand = Stand::new();
    let role = stand.start(Vec::new());
    let both = |role: &Role| {
        let status = role.status();
        let nas = status.nases.iter().find(|nas| nas.name == "rolling").unwrap().clone();
        (nas.rolling, nas.accepted, nas.old_secret.is_some())
    };
    for (number, secret) in [NEXT_SECRET, SECRET].into_iter().enumerate() {
        assert!(!both(&role).2, "the old one was not seen yet");
        let client = Client::new(ROLLING_NAS, stand.config.auth[0], secret);
        let request = login(number as u8, "nemo").pap(secret, b"arctangent");
        // The answer is signed with the secret of the request.
        assert_eq!(client.ask(&request).code, ACCESS_ACCEPT);
    }
    assert_eq!(both(&role), (true, 2, true));
    // The roll is over.
    stand.config.nas[2].secret = Hidden::new(text(NEXT_SECRET));
    stand.config.nas[2].next_secret = None;
    role.reload(stand.config.clone()).unwrap();
    let before = Client::new(ROLLING_NAS, stand.config.auth[0], SECRET);
    before.ask_in_vain(&login(3, "nemo").pap(SECRET, b"arctangent").sign(SECRET));
    let after = Client::new(ROLLING_NAS, stand.config.auth[0], NEXT_SECRET);
    assert_eq!(after.ask(&login(4, "nemo").pap(NEXT_SECRET, b"arctangent")).code, ACCESS_ACCEPT);
    assert_eq!(both(&role), (false, 3, true), "what was counted stays");
    stand.stop(&role);
}

#[test]
fn a_guesser_has_to_wait_and_others_do_not() {
    let mut stand = Stand::new();
    stand.config.limits.user_failures = 3;
    stand.config.limits.user_forgiven = Duration::from_secs(600);
    let role = stand.start(Vec::new());
    let nas = stand.nas();
    // He logged in at his line before.
    let home = |id| pap(id, "nemo", "arctangent").with(31, b"line 7");
    assert_eq!(nas.ask(&home(100)).code, ACCESS_ACCEPT);
    for id in 0..3 {
        assert_eq!(nas.ask(&pap(id, "nemo", "guess").with(31, b"line 9")).code, ACCESS_REJECT);
    }
    let right = pap(3, "nemo", "arctangent").with(31, b"line 9");
    let answer = nas.ask(&right);
    assert_eq!(answer.code, ACCESS_REJECT);
    assert_eq!(text(answer.first(18).unwrap()), "Wrong name or password.");
    assert_eq!(count(&role.status(), Stage::Rejected, "too_many_attempts"), 1);
    assert_eq!(nas.ask(&home(101)).code, ACCESS_ACCEPT, "he himself is not locked out");
    assert_eq!(nas.ask(&pap(5, "nt", "clientPass")).code, ACCESS_ACCEPT);
    stand.stop(&role);
}

/// Whatever fails through a NAS, its subscribers are let in, even those of whom nothing was seen before.
#[test]
fn names_that_nobody_has_lock_out_nobody_who_has_one() {
    let mut stand = Stand::new();
    stand.config.limits.nas_failures = 3;
    stand.config.limits.nas_forgiven = Duration::from_secs(600);
    stand.config.limits.user_failures = 2;
    stand.config.limits.user_forgiven = Duration::from_secs(600);
    let role = stand.start(Vec::new());
    let nas = stand.nas();
    let limited = || count(&role.status(), Stage::Rejected, "too_many_attempts");
    for id in 0..5 {
        let answer = nas.ask(&pap(id, &format!("made up {id}"), "guess"));
        assert_eq!(answer.code, ACCESS_REJECT);
    }
    assert_eq!(limited(), 2);
    assert_eq!(nas.ask(&pap(5, "nemo", "arctangent")).code, ACCESS_ACCEPT);
    assert_eq!(nas.ask(&pap(6, "nt", "clientPass").with(31, b"line 1")).code, ACCESS_ACCEPT);
    // His own failures are held against him, until the operator gives him another password.
    for id in 7..10 {
        assert_eq!(nas.ask(&pap(id, "nemo", "guess")).code, ACCESS_REJECT);
    }
    assert_eq!(limited(), 3);
    let state = role.state().unwrap();
    let changed = subscriber("nemo", "{CLEARTEXT}another");
    stand.runtime.block_on(state.put_subscriber(&Dictionary::built_in(), &changed)).unwrap();
    let mut number = 1_000;
    wait_for("the other password", || {
        thread::sleep(Duration::from_millis(50));
        number += 1;
        let login = login(10, "nemo").with_authenticator(number).pap(SECRET, b"another");
        nas.ask(&login).code == ACCESS_ACCEPT
    });
    stand.stop(&role);
}

#[test]
fn slow_passwords_hold_nobody_up_and_too_many_of_them_are_asked_for_again() {
    let mut stand = Stand::new();
    stand.config.limits.costly_queue = 2;
    stand.config.threads = Some(1.try_into().unwrap());
    let role = stand.start(Vec::new());
    let (crowd, nas) = (stand.nas(), stand.nas());
    let mut open: Vec<Vec<u8>> =
        (0..60).map(|id| pap(id, "slow", "correct horse").sign(SECRET)).collect();
    for request in &open {
        crowd.send(request);
    }
    assert_eq!(nas.ask(&pap(100, "nemo", "arctangent")).code, ACCESS_ACCEPT);
    let mut rounds = 0;
    while !open.is_empty() {
        while let Some(answer) = crowd.receive(Duration::from_millis(200)) {
            let at = open.iter().position(|request| request[1] == answer[1]).unwrap();
            let request = open.swap_remove(at);
            assert_eq!(check(&answer, &request, SECRET).code, ACCESS_ACCEPT);
        }
        rounds += 1;
        assert!(rounds < 100, "{} are left", open.len());
        // As NASes do.
        for request in &open {
            crowd.send(request);
        }
    }
    let status = role.status();
    assert!(count(&status, Stage::Dropped, "costly_queue_full") > 0);
    assert_eq!(status.nases.iter().map(|nas| nas.accepted).sum::<u64>(), 61);
    stand.stop(&role);
}
