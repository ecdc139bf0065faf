//! Who has seen a genuine login, and knows no secret, sends it again.

use super::*;

/// One answer to the same packet from a port of its own; none if it was dropped.
fn replay(stand: &Stand, packet: &[u8]) -> Option<Answer> {
    let other = Client::new(NAS, stand.config.auth[0], SECRET);
    other.send(packet);
    let answer = other.receive(Duration::from_millis(500))?;
    Some(check(&answer, packet, SECRET))
}

fn decided(role: &Role) -> u64 {
    role.status().nases.iter().find(|nas| nas.name == "one").unwrap().requests
}

#[test]
fn a_copy_from_another_port_gets_the_same_answer() {
    let mut stand = Stand::new();
    // Longer than the test takes, on a machine that is busy as well.
    stand.config.answers.reply_life = Duration::from_secs(30);
    let role = stand.start(Vec::new());
    let nas = stand.nas();
    let requests = [
        pap(1, "nemo", "arctangent"),
        pap(2, "nemo", "guess"),
        pap(3, "slow", "guess"),
        pap(4, "pooled one", "arctangent"),
    ];
    let packets = requests.map(|request| request.sign(SECRET));
    for packet in &packets {
        let first = nas.ask_bytes(packet);
        for _ in 0..4 {
            let copy = replay(&stand, packet).expect("an answer");
            assert_eq!(copy.bytes, first.bytes);
        }
    }
    assert_eq!(decided(&role), 4);
    let held: u64 = role.status().pools.iter().map(|pool| pool.held).sum();
    assert_eq!(held, 1);
    // More than any NAS asks.
    let answered = (0..20).filter(|_| replay(&stand, &packets[0]).is_some()).count();
    assert!((1..=12).contains(&answered), "{answered}");
    assert!(count(&role.status(), Stage::Dropped, "replayed") > 0);
    // From the port that asked first it is what it always was.
    assert_eq!(nas.ask_bytes(&packets[0]).code, ACCESS_ACCEPT);
    assert_eq!(nas.ask(&pap(5, "nemo", "arctangent")).code, ACCESS_ACCEPT);
    stand.stop(&role);
}

#[test]
fn a_failure_counts_once_and_an_address_is_given_once_however_long_copies_come() {
    let mut stand = Stand::new();
    stand.config.answers.reply_life = Duration::from_secs(2);
    stand.config.limits.user_failures = 2;
    stand.config.limits.user_forgiven = Duration::from_secs(600);
    let role = stand.start(Vec::new());
    let nas = stand.nas();
    let at_home = |id: u8, password: &str| pap(id, "nemo", password).with(31, b"line 7");
    assert_eq!(nas.ask(&at_home(1, "arctangent")).code, ACCESS_ACCEPT);
    let failed = at_home(2, "guess").sign(SECRET);
    assert_eq!(nas.ask_bytes(&failed).code, ACCESS_REJECT);
    // Of a NAS that tells no line.
    let pooled = pap(3, "pooled one", "arctangent").sign(SECRET);
    let address = nas.ask_bytes(&pooled).number(8).expect("an address");
    let before = decided(&role);
    wait_for("both to be decided once more, as their answers are forgotten", || {
        if let Some(answer) = replay(&stand, &failed) {
            assert_eq!(answer.code, ACCESS_REJECT);
        }
        if let Some(answer) = replay(&stand, &pooled) {
            assert_eq!(answer.number(8), Some(address));
        }
        thread::sleep(Duration::from_millis(300));
        decided(&role) >= before + 4
    });
    assert_eq!(count(&role.status(), Stage::Rejected, "too_many_attempts"), 0);
    assert_eq!(role.limits("nemo").lines.len(), 0);
    assert_eq!(nas.ask(&at_home(4, "arctangent")).code, ACCESS_ACCEPT);
    let held: u64 = role.status().pools.iter().map(|pool| pool.held).sum();
    assert_eq!(held, 1);
    stand.stop(&role);
}
