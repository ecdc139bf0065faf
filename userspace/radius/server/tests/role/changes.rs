//! What is changed, in the database or the configuration, is in force soon, or not at all.

use muralla_radius_state::NasEntry;
use muralla_radius_state::import::from_users;

use super::*;

#[test]
fn what_is_changed_in_the_database_is_in_force_soon() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let (state, nas) = (role.state().unwrap(), stand.nas());
    assert_eq!(nas.ask(&pap(1, "new", "arctangent")).code, ACCESS_REJECT);
    let newcomer = NasEntry::new("newcomer", "127.0.0.77/32".parse().unwrap(), text(NEXT_SECRET));
    stand.runtime.block_on(async {
        let new = subscriber("new", "{CLEARTEXT}arctangent");
        state.put_subscriber(&Dictionary::built_in(), &new).await.unwrap();
        state.put_nas(&newcomer).await.unwrap();
    });
    wait_for("the NAS", || role.nases().iter().any(|(_, name)| name == "newcomer"));
    // Entered before the NAS. Fewer attempts than lock him out.
    let mut ids = 2..8;
    wait_for("the subscriber", || {
        thread::sleep(Duration::from_millis(200));
        nas.ask(&pap(ids.next().unwrap(), "new", "arctangent")).code == ACCESS_ACCEPT
    });
    let client = Client::new("127.0.0.77", stand.config.auth[0], NEXT_SECRET);
    let request = login(1, "new").pap(NEXT_SECRET, b"arctangent");
    assert_eq!(client.ask(&request).code, ACCESS_ACCEPT);
    stand.stop(&role);
}

/// The rule that can't be read may be the one that keeps him out; but nobody is told that he is not known.
#[test]
fn who_can_not_be_read_is_refused_with_that_reason() {
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let (state, nas) = (role.state().unwrap(), stand.nas());
    assert_eq!(nas.ask(&pap(1, "nemo", "arctangent")).code, ACCESS_ACCEPT);
    let good = subscriber("nemo", "{CLEARTEXT}arctangent");
    let odd = SubscriberEntry { check: vec!["No-Such-Thing == 1".to_owned()], ..good.clone() };
    // As somebody else's SQL enters it.
    stand.runtime.block_on(state.take_over(&[], &[odd])).unwrap();
    let warned = || {
        let warnings = role.status().warnings;
        warnings.iter().any(|warning| warning.contains("nemo") && warning.contains("No-Such-Thing"))
    };
    wait_for("a warning", warned);
    let refused = nas.ask(&pap(2, "nemo", "arctangent"));
    assert_eq!(refused.code, ACCESS_REJECT);
    assert_eq!(text(refused.first(18).unwrap()), "Wrong name or password.");
    assert_eq!(count(&role.status(), Stage::Rejected, "subscriber_unreadable"), 1);
    stand.runtime.block_on(state.put_subscriber(&Dictionary::built_in(), &good)).unwrap();
    wait_for("no warning", || !warned());
    assert_eq!(nas.ask(&pap(3, "nemo", "arctangent")).code, ACCESS_ACCEPT);
    stand.stop(&role);
}

#[test]
fn groups_of_a_nas_of_the_database_are_huntgroups() {
    const DIAL: &str = "127.0.0.78";
    const OTHER: &str = "127.0.0.79";
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let state = role.state().unwrap();
    let nas = |name: &str, address: &str, groups: &[&str]| NasEntry {
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        ..NasEntry::new(name, format!("{address}/32").parse().unwrap(), text(SECRET))
    };
    let put = |entry: &NasEntry| stand.runtime.block_on(state.put_nas(entry)).unwrap();
    put(&nas("dial one", DIAL, &["north", "dial"]));
    put(&nas("other", OTHER, &["north"]));
    let dial = SubscriberEntry {
        check: vec!["Huntgroup-Name == \"dial\"".to_owned()],
        ..subscriber("dial", "{CLEARTEXT}arctangent")
    };
    stand.runtime.block_on(state.put_subscriber(&Dictionary::built_in(), &dial)).unwrap();
    // Not by asking again and again: who fails ten times has to wait.
    wait_for("what was entered", || {
        role.status().subscribers == 10
            && ["dial one", "other"]
                .iter()
                .all(|name| role.nases().iter().any(|nas| nas.1 == *name))
    });
    let clients = [DIAL, OTHER].map(|from| Client::new(from, stand.config.auth[0], SECRET));
    let mut id = 0_u8;
    let mut asks = |client: &Client| {
        id = id.wrapping_add(1);
        client.ask(&pap(id, "dial", "arctangent").with_authenticator(id.into())).code
    };
    assert_eq!(asks(&clients[0]), ACCESS_ACCEPT);
    assert_eq!(asks(&clients[1]), ACCESS_REJECT);
    // They change as everything does.
    put(&nas("dial one", DIAL, &["north"]));
    wait_for("no such group", || asks(&clients[0]) == ACCESS_REJECT);
    put(&nas("other", OTHER, &["dial"]));
    wait_for("the other one", || asks(&clients[1]) == ACCESS_ACCEPT);
    stand.stop(&role);
}

#[test]
fn the_defaults_of_a_users_file_work_as_they_did() {
    const CLOSED: &str = "127.0.0.80";
    const FILE: &str = "\
DEFAULT Huntgroup-Name == \"closed\", Auth-Type := Reject
\tFall-Through = Yes
ann Cleartext-Password := \"arctangent\"
\tClass = 0x616e6e, Fall-Through = Yes
bob Cleartext-Password := \"arctangent\"
\tClass = 0x626f62
DEFAULT NAS-Port-Type == Async
\tFramed-MTU = 576, Session-Timeout = 60, Fall-Through = Yes
DEFAULT Service-Type == Framed-User, Simultaneous-Use := 1
\tFramed-MTU = 1492
DEFAULT Auth-Type := LDAP
\tFramed-MTU = 1
";
    let stand = Stand::new();
    let role = stand.start(Vec::new());
    let state = role.state().unwrap();
    let mut import = from_users(&Dictionary::built_in(), Path::new("users"), FILE);
    let closed = NasEntry::new("closed", format!("{CLOSED}/32").parse().unwrap(), text(SECRET));
    stand.runtime.block_on(async {
        state.put_nas(&closed).await.unwrap();
        for _ in 0..2 {
            let imported =
                state.import(&Dictionary::built_in(), &mut import, |_| ()).await.unwrap();
            assert_eq!((imported.subscribers.all(), imported.profiles.all()), (2, 4), "{import:?}");
        }
    });
    assert_eq!(import.refused.len(), 1, "{:?}", import.refused);
    assert!(import.refused[0].to_string().starts_with("users:11: DEFAULT: Auth-Type := LDAP"));

    let nas = stand.nas();
    let mut id = 0_u8;
    let mut ask = |client: &Client, user: &str, attributes: &[(u8, u32)]| {
        id = id.wrapping_add(1);
        let request = pap(id, user, "arctangent");
        let request = attributes
            .iter()
            .fold(request, |request, (kind, number)| request.number(*kind, *number));
        client.ask(&request)
    };
    wait_for("what was imported", || {
        let status = role.status();
        // Beside those of the stand.
        (status.subscribers, status.profiles) == (11, 5)
            && role.nases().iter().any(|(_, name)| name == "closed")
    });
    let (framed, asynchronous) = ((6, 2), (61, 0));
    // (user, what the request has, Framed-MTU, Session-Timeout)
    for (user, attributes, mtu, timeout) in [
        // He does not fall through.
        ("bob", &[framed, asynchronous][..], None, None),
        ("ann", &[framed, asynchronous], Some(576), Some(60)),
        ("ann", &[framed], Some(1_492), None),
        ("ann", &[asynchronous], Some(576), Some(60)),
        ("ann", &[], None, None),
    ] {
        let answer = ask(&nas, user, attributes);
        assert_eq!(answer.code, ACCESS_ACCEPT, "{user} {attributes:?}");
        let given = (answer.number(12), answer.number(27));
        assert_eq!(given, (mtu, timeout), "{user} {attributes:?}");
        assert_eq!(answer.first(25), Some(user.as_bytes()), "{user}");
    }
    let client = Client::new(CLOSED, stand.config.auth[0], SECRET);
    for user in ["ann", "bob"] {
        assert_eq!(ask(&client, user, &[framed]).code, ACCESS_REJECT, "{user}");
    }
    stand.stop(&role);
}

#[test]
fn a_new_configuration_is_taken_whole_or_not_at_all() {
    let mut stand = Stand::new();
    let role = stand.start(Vec::new());
    let nas = stand.nas();
    assert_eq!(nas.ask(&pap(1, "nemo", "arctangent")).code, ACCESS_ACCEPT);
    let mut bad = stand.config.clone();
    bad.nas.clear();
    bad.answers.reply_life = Duration::ZERO;
    assert!(role.reload(bad).is_err());
    assert_eq!(nas.ask(&pap(2, "nemo", "arctangent")).code, ACCESS_ACCEPT);

    let one = stand.config.nas.remove(0);
    stand.config.names.default_realm = Some("isp.example".to_owned());
    stand.config.answers.texts = vec![("wrong_password".to_owned(), "No.".to_owned())];
    let remarks = role.reload(stand.config.clone()).unwrap();
    assert!(remarks.iter().any(|remark| remark.contains("[radius.names]")), "{remarks:?}");
    nas.ask_in_vain(&pap(3, "nemo", "arctangent").sign(SECRET));
    stand.config.nas.push(one);
    role.reload(stand.config.clone()).unwrap();
    let answer = nas.ask(&pap(4, "nemo", "arctangens"));
    assert_eq!((answer.code, answer.first(18)), (ACCESS_REJECT, Some(&b"No."[..])));
    stand.stop(&role);
}

#[test]
fn a_configuration_that_cannot_be_is_refused_at_the_start() {
    let mut stand = Stand::new();
    stand.config.answers.texts = vec![("no_such_reason".to_owned(), "x".to_owned())];
    let handle = || stand.runtime.handle().clone();
    let refused = Role::start(stand.config.clone(), Vec::new(), handle()).err().unwrap();
    assert!(refused.to_string().contains("unknown_user"), "{refused}");
    let mut config = stand.config.clone();
    config.answers.texts.clear();
    config.dictionaries = vec![stand.folder.path().join("none")];
    assert!(Role::start(config, Vec::new(), handle()).is_err());
    let mut config = stand.config.clone();
    config.answers.texts.clear();
    config.state.location = StateLocation::Embedded("/proc/none/state.db".into());
    assert!(Role::start(config, Vec::new(), handle()).is_err());
}
