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
        largest_message = 10485760
        when_full = "refuse"
        patience = "3s"
        [submission]
        [outgoing]
        tell_delay = "0"
        resolvers = ["127.0.0.1:53", "[::1]:53"]
        dane = true
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
        // Nobody elsewhere is believed that an answer is authentic, nor whoever resolv.conf names.
        ("hostname = \"mx.example.org\"\n[outgoing]\ndane = true\n", "dane"),
        (
            "hostname = \"mx.example.org\"\n[outgoing]\ndane = true\nresolvers = [\"127.0.0.1:53\", \"192.0.2.53:53\"]\n",
            "dane",
        ),
    ] {
        let problems = read(text).unwrap().problems();
        assert!(problems.iter().any(|problem| problem.contains(word)), "{text}: {problems:?}");
    }
    for text in [
        "hostname = \"mx.example.org\"\nhosts = 1\n",
        "hostname = \"mx.example.org\"\n[mx]\nlargest_message = -5\n",
        "hostname = \"mx.example.org\"\n[mx]\npatience = \"5\"\n",
        "hostname = \"not a name\"\n",
        "[mx]\n",
    ] {
        assert!(read(text).is_err(), "{text}");
    }
}

#[test]
fn what_is_shown_reads_back_and_tells_no_secret() {
    let mut config = MailConfig::new(Domain::parse("mx.example.org").unwrap());
    config.mx = Some(MxConfig::default());
    config.submission = Some(SubmissionConfig::default());
    config.outgoing = Some(OutgoingConfig::default());
    config.pop3 = Some(Pop3Config::default());
    config.certificates =
        vec![CertificateConfig { chain: "/etc/chain.pem".into(), key: "/etc/key.pem".into() }];
    let shown = toml::to_string(&config).unwrap();
    assert_eq!(read(&shown).unwrap(), config, "{shown}");

    config.database = Hidden::new("postgres://mail:hush@db/mail");
    config.keys = vec![Hidden::new("hush, and long enough")];
    config.packs = PacksConfig::Bucket(BucketConfig {
        endpoint: "https://s3.example.net".to_owned(),
        region: "garage".to_owned(),
        bucket: "mail".to_owned(),
        prefix: String::new(),
        access_key: "GK".to_owned(),
        secret_key: Hidden::new("hush"),
    });
    let shown = toml::to_string(&config).unwrap();
    assert!(!shown.contains("hush"), "{shown}");
    assert!(shown.contains("postgres://mail:(hidden)@db/mail"), "{shown}");
    // Nobody makes a secret of what is shown.
    assert!(read(&shown).unwrap_err().to_string().contains("was not shown"));
}

#[test]
fn what_everybody_knows_is_no_secret() {
    let mut config = MailConfig::new(Domain::parse("mx.example.org").unwrap());
    config.mx = Some(MxConfig::default());
    config.keys = vec![Hidden::new("what `openssl rand -base64 24` prints")];
    assert!(config.problems()[0].contains("what stands in the manual"), "{:?}", config.problems());
    config.keys = Vec::new();
    config.database = Hidden::new("postgres://mail:(hidden)@db/mail");
    assert!(config.problems()[0].contains("was not shown"), "{:?}", config.problems());
}
