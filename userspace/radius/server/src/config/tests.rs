use super::*;

#[test]
fn what_cannot_be_is_said_and_the_defaults_can() {
    assert_eq!(RadiusConfig::default().problems(), Vec::<String>::new());
    type Change = fn(&mut RadiusConfig);
    let cases: [(Change, &str); 9] = [
        (|config| (config.auth, config.acct) = (vec![], vec![]), "nowhere"),
        (|config| config.acct = config.auth.clone(), "share an address and a port"),
        (
            |config| config.acct = vec!["192.0.2.1:1812".parse().unwrap()],
            "share an address and a port",
        ),
        (|config| config.answers.reply_life = Duration::from_secs(1), "reply_life"),
        (|config| config.answers.reject_delay = Duration::from_secs(3), "reject_delay"),
        (|config| config.journal.gather = Duration::from_millis(6), "gather"),
        (|config| config.accounting.missed_interims = 1, "missed_interims"),
        (|config| config.accounting.batch = 0, "batch"),
        (
            |config| config.nas = vec![NasConfig::new("a", IpNet::default(), "")],
            "the secret of NAS a is empty",
        ),
    ];
    for (change, expected) in cases {
        let mut config = RadiusConfig::default();
        change(&mut config);
        let problems = config.problems();
        assert!(problems.iter().any(|problem| problem.contains(expected)), "{problems:?}");
    }
}

#[test]
fn a_file_may_say_where_the_database_is_and_is_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("database");
    let mut config = RadiusConfig::default();
    config.state.location = StateLocation::File(file.clone());
    let error = config.database().unwrap_err();
    assert!(error.to_string().contains("location_file"), "{error}");
    assert!(!error.is_of_configuration(), "it may come later");
    for text in ["", "\n# postgres://u:pass@h/d\n", "hush\npostgres://u:pass@h/d\n"] {
        fs::write(&file, text).unwrap();
        let error = config.database().unwrap_err().to_string();
        assert!(error.contains("first line") && !error.contains("hush"), "{error}");
    }
    fs::write(&file, "# aaa1 and aaa2\n postgresql://u:pass@h/d?sslmode=verify-full \n").unwrap();
    let (location, _) = config.database().unwrap();
    let url = "postgresql://u:pass@h/d?sslmode=verify-full".to_owned();
    assert_eq!(location, Location::Postgres(url));
    assert!(!format!("{config:?} {location:?} {location}").contains("pass"));
}

#[test]
fn weakness_is_loud_and_secrets_are_never_shown() {
    let secret = "a secret of the NAS";
    let mut nas = NasConfig::new("old", "192.0.2.0/24".parse().unwrap(), secret);
    nas.next_secret = Some(Hidden::new("short"));
    nas.message_authenticator = MessageAuthenticator::Optional;
    let config = RadiusConfig { nas: vec![nas], ..RadiusConfig::default() };
    let url = Hidden::new("postgres://u:pass@h/d");
    let state = StateConfig { location: StateLocation::Postgres(url), ..config.state.clone() };
    let config = RadiusConfig { state, ..config };
    let warnings = config.warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("CVE-2024-3596") && warnings[1].contains("16 bytes"));
    let shown = format!("{config:?} {warnings:?}");
    for hidden in [secret, "short", "pass@"] {
        assert!(!shown.contains(hidden), "{hidden}");
    }
    let everybody = NasConfig::new("any", "::/0".parse().unwrap(), secret);
    let warnings = RadiusConfig { nas: vec![everybody], ..RadiusConfig::default() }.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("the whole Internet"), "{warnings:?}");
}
