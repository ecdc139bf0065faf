use super::*;

fn read(text: &str) -> Result<MailConfig, toml::de::Error> {
    toml::from_str(text)
}

#[test]
fn a_name_and_a_role_are_enough() {
    let config = read("hostname = \"mx.example.org\"\n[mx]\n").unwrap();
    assert_eq!(config.mx, Some(MxConfig::default()));
    assert_eq!(config.problems(), Vec::<String>::new());
    assert_eq!(config.location(), Ok(Location::Sqlite("/var/lib/muralla-mail/mail.db".into())));
    assert_eq!(config.forwarding().as_str(), "mx.example.org");
    assert!(config.submission.is_none() && config.pop3.is_none() && config.outgoing.is_none());
    let mut expected = MailConfig::new(Domain::parse("mx.example.org").unwrap());
    expected.mx = Some(MxConfig::default());
    assert_eq!(config, expected, "what serde fills in is what new() does");
}

#[test]
fn everything_that_may_be_written() {
    let config = read(
        r#"
        hostname = "mx.example.org"
        database = "postgres://mail:hush@db/mail"
        keys = ["0123456789abcdef0123", "another secret of enough length"]
        quota = "300MiB"
        copy = "/srv/copy"
        default_domain = "example.org"
        postmaster = "ann@example.org"
        packs = { endpoint = "https://s3", region = "garage", bucket = "mail", access_key = "GK", secret_key = "hush" }
        limits = { messages_per_hour = 10 }
        [[certificates]]
        chain = "/etc/chain.pem"
        key = "/etc/key.pem"
        [shards.two]
        database = "/srv/two.db"
        packs = "/srv/two"
        [spool]
        folder = "/srv/spool"
        size = "1GiB"
        age = "2d"
        [mx]
        listen = ["127.0.0.1:25"]
        largest_message = "10MiB"
        when_full = "refuse"
        patience = "3s"
        [submission]
        [outgoing]
        tell_delay = "0"
        [pop3]
        idle = "15m"
        "#,
    )
    .unwrap();
    assert_eq!(config.problems(), Vec::<String>::new());
    assert_eq!(config.quota, 300 << 20);
    assert_eq!(config.spool.age, Duration::from_secs(2 * 86_400));
    let mx = config.mx.as_ref().unwrap();
    assert_eq!((mx.largest_message, mx.when_full), (10 << 20, WhenFull::Refuse));
    assert!(matches!(config.packs.location(), PackLocation::S3(_)));
    assert!(config.signing_keys().unwrap().is_some());
    assert!(!format!("{config:?}").contains("hush"), "no secret is shown");
}

#[test]
fn what_is_wrong_is_said() {
    for (text, word) in [
        ("hostname = \"mx.example.org\"\n", "no role"),
        ("hostname = \"mx.example.org\"\nkeys = [\"short\"]\n[mx]\n", "keys"),
        ("hostname = \"mx.example.org\"\ndatabase = \"mysql://x\"\n[mx]\n", "database"),
        ("hostname = \"mx.example.org\"\n[submission]\n", "certificates"),
        (
            "hostname = \"mx.example.org\"\n[pop3]\nidle = \"5m\"\nunencrypted_login = true\n",
            "idle",
        ),
        ("hostname = \"mx.example.org\"\n[mx]\nhops = 3\n", "hops"),
        ("hostname = \"mx.example.org\"\n[mx]\nlisten = []\n", "listens nowhere"),
        (
            "hostname = \"mx.example.org\"\n[mx]\nlisten = [\"127.0.0.1:110\"]\n[pop3]\nlisten = [\"127.0.0.1:110\"]\n\
             listen_tls = []\nunencrypted_login = true\n",
            "two roles",
        ),
        ("hostname = \"mx.example.org\"\n[outgoing]\nwaits = [0]\n", "waits"),
    ] {
        let problems = read(text).unwrap().problems();
        assert!(problems.iter().any(|problem| problem.contains(word)), "{text}: {problems:?}");
    }
    for text in [
        "hostname = \"mx.example.org\"\nhosts = 1\n",
        "hostname = \"mx.example.org\"\n[mx]\nlargest_message = 5\n",
        "hostname = \"mx.example.org\"\n[mx]\npatience = \"5\"\n",
        "hostname = \"not a name\"\n",
        "[mx]\n",
    ] {
        assert!(read(text).is_err(), "{text}");
    }
}
