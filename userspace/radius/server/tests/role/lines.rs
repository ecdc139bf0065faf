//! NASes that tell little: no line by Calling-Station-Id, no proof by Message-Authenticator; and those with very many sessions.

use muralla_radius::report::DynamicVerdict;
use muralla_radius::role::Selector;

use super::*;

const NAS_PORT: u8 = 5;
const NAS_PORT_ID: u8 = 87;

/// Who guesses somebody's password does not lock him out, though his NAS tells of no line but its port.
#[test]
fn a_port_is_a_line_where_no_station_is_told() {
    let mut stand = Stand::new();
    stand.config.limits.user_failures = 3;
    stand.config.limits.user_forgiven = Duration::from_secs(600);
    let role = stand.start(Vec::new());
    let nas = stand.nas();
    let other = Client::new(OLD_NAS, stand.config.auth[0], SECRET);
    let (seven, nine) = (&7_u32.to_be_bytes()[..], &9_u32.to_be_bytes()[..]);
    let mut id = 0;
    let mut at = |client: &Client, user: &str, right: &str, kind: u8, port: &[u8]| {
        id += 1;
        client.ask(&pap(id, user, right).with(kind, port)).code
    };
    for (user, password, kind, home, elsewhere) in [
        ("nemo", "arctangent", NAS_PORT_ID, &b"eth 7"[..], &b"eth 9"[..]),
        ("User", "clientPass", NAS_PORT, seven, nine),
    ] {
        assert_eq!(at(&nas, user, password, kind, home), ACCESS_ACCEPT);
        for _ in 0..3 {
            assert_eq!(at(&nas, user, "guess", kind, elsewhere), ACCESS_REJECT);
        }
        assert_eq!(at(&nas, user, password, kind, elsewhere), ACCESS_REJECT, "the guesser waits");
        // The port of that name at another NAS is another one.
        assert_eq!(at(&other, user, password, kind, home), ACCESS_REJECT);
        assert_eq!(at(&nas, user, password, kind, home), ACCESS_ACCEPT, "{user} is locked out");
    }
    // A number is no name, whatever its octets are.
    assert_eq!(at(&nas, "User", "clientPass", NAS_PORT_ID, seven), ACCESS_REJECT);
    stand.stop(&role);
}

/// While its secret is rolled, a NAS that signs nothing and uses CHAP is answered by the secret that its accounting proves.
#[test]
fn chap_is_answered_by_the_secret_that_accounting_proved() {
    let mut stand = Stand::new();
    stand.config.nas[2].message_authenticator = MessageAuthenticator::Optional;
    let role = stand.start(Vec::new());
    let challenge = [9; 16];
    for (number, secret) in [(1, NEXT_SECRET), (2, SECRET), (3, NEXT_SECRET)] {
        let acct = Client::new(ROLLING_NAS, stand.config.acct[0], secret);
        acct.ask(&record(number, START, "nemo", &format!("roll {number}")));
        let client = Client::new(ROLLING_NAS, stand.config.auth[0], secret);
        let request = login(number, "nemo").chap(b"arctangent", &challenge).plain();
        assert_eq!(client.ask_bytes(&request).code, ACCESS_ACCEPT, "{number}");
    }
    stand.stop(&role);
}

/// An order that is not for all says so.
#[test]
fn sessions_beyond_the_most_of_an_order_are_told() {
    const SESSIONS: u32 = 1_001;
    let mut stand = Stand::new();
    stand.config.nas[0].coa_port = 9;
    stand.config.dynamic.first_timeout = Duration::from_millis(20);
    stand.config.dynamic.attempts = 1;
    let role = stand.start(Vec::new());
    let numbers: Vec<u32> = (0..SESSIONS).collect();
    for some in numbers.chunks(100) {
        let acct = stand.accounting_nas();
        for (id, number) in (0..).zip(some) {
            let start = Request::new(ACCOUNTING_REQUEST, id)
                .number(40, START)
                .user("nemo")
                .with(44, format!("many {number}").as_bytes())
                .number(NAS_PORT, *number);
            acct.send(&start.sign(SECRET));
        }
        for _ in some {
            acct.receive(Duration::from_secs(10)).expect("an acknowledgement");
        }
    }
    wait_for("the sessions", || role.status().sessions == u64::from(SESSIONS));
    let nas = Selector::Nas("one".to_owned());
    let outcomes = stand.runtime.block_on(role.disconnect(&nas)).unwrap();
    assert_eq!(outcomes.len(), 1_001, "a thousand, and what is said of the others");
    let last = outcomes.last().unwrap();
    assert_eq!((last.verdict, &*last.nas), (DynamicVerdict::Unsent, "one"));
    assert!(last.words.contains("more sessions than the 1000"), "{}", last.words);
    stand.stop(&role);
}

/// The operator is shown on which line of his somebody has to wait, also where that is a port.
#[test]
fn who_has_to_wait_at_his_port_is_shown_so() {
    let mut stand = Stand::new();
    stand.config.limits.user_failures = 3;
    stand.config.limits.user_forgiven = Duration::from_secs(600);
    let role = stand.start(Vec::new());
    let nas = stand.nas();
    let at = |id, user: &str, password: &str, kind, port: &[u8]| {
        nas.ask(&pap(id, user, password).with(kind, port)).code
    };
    let seven = &7_u32.to_be_bytes()[..];
    for (id, user, password, kind, port, shown) in [
        (10, "nemo", "arctangent", NAS_PORT, seven, "port 7 of the box at 127.0.0.1"),
        (
            20,
            "User",
            "clientPass",
            NAS_PORT_ID,
            &b"eth 7"[..],
            "port eth 7 of the box at 127.0.0.1",
        ),
        (30, "nt", "clientPass", 31, &b"00-11"[..], "00-11"),
    ] {
        assert_eq!(at(id, user, password, kind, port), ACCESS_ACCEPT);
        for failure in 1..=3 {
            assert_eq!(role.limits(user).lines.len(), 0, "{user}");
            assert_eq!(at(id + failure, user, "guess", kind, port), ACCESS_REJECT);
        }
        let lines = role.limits(user).lines;
        let told: Vec<String> = lines.iter().map(|line| line.line()).collect();
        assert_eq!(told, [shown], "{user}");
        assert!((1..=1_800).contains(&lines[0].seconds), "{lines:?}");
    }
    stand.stop(&role);
}
