//! LEAN: what an operator does about mail without a daemon, by the real command line on a database of one box.
#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A provider's configuration, and what belongs to it.
struct Provider {
    folder: tempfile::TempDir,
}

impl Provider {
    /// With a domain and an account in it.
    fn new() -> Self {
        let provider = Self { folder: tempfile::tempdir().unwrap() };
        let folder = provider.folder.path().display();
        let text = format!(
            "[mail]\nhostname = \"mx.isp.example\"\ndatabase = \"{folder}/mail.db\"\npacks = \"{folder}/packs\"\ncopy = \"\"\n\
             [mail.spool]\nfolder = \"{folder}/spool\"\n[mail.outgoing]\n\
             [mail.shards.second]\ndatabase = \"{folder}/second.db\"\npacks = \"{folder}/second\"\n"
        );
        fs::write(provider.file("muralla.toml"), text).unwrap();
        provider.does(&["domain", "add", "isp.example"]);
        provider.does(&["account", "add", "ann@isp.example", "--no-password"]);
        provider
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muralla"));
        command.arg("--config").arg(self.file("muralla.toml")).arg("mail").args(arguments);
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What it prints, if it succeeds.
    fn does(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it prints as JSON, with exit code 0 or 1.
    fn tells(&self, arguments: &[&str], code: i32) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What it complains about, if it fails.
    fn refuses(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// Brings messages into a mailbox.
    fn fill(&self, account: &str, messages: usize) {
        let mut text = String::new();
        for number in 0..messages {
            text.push_str(&format!(
                "From x@else.example Sun Nov 29 12:00:00 2026\nFrom: x@else.example\nSubject: {account} {number}\n\n\
                 This is message {number} for {account}.\n\n"
            ));
        }
        let file = self.file("mbox");
        fs::write(&file, text).unwrap();
        self.does(&["import", account, "--mbox", &file.display().to_string()]);
    }

    fn account(&self, name: &str) -> Value {
        self.tells(&["account", "show", name], 0)
    }
}

#[test]
fn a_subscriber_and_his_mail_have_one_password() {
    let provider = Provider::new();
    let mail_alone = fs::read_to_string(provider.file("muralla.toml")).unwrap();
    let subscribers_at = |file: &str| {
        let location = provider.file(file);
        let section = format!("[radius.state]\nlocation = \"{}\"\n", location.display());
        fs::write(provider.file("muralla.toml"), format!("{mail_alone}{section}")).unwrap();
    };
    let radius = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muralla"));
        command.arg("--config").arg(provider.file("muralla.toml")).arg("radius").args(arguments);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr))
    };
    let password = |text: &str| {
        fs::write(provider.file("password"), text).unwrap();
        provider.file("password").display().to_string()
    };
    let (ann, said) =
        ("ann@isp.example", |output: Output| String::from_utf8(output.stderr).unwrap());
    subscribers_at("mail.db");
    radius(&[
        "user",
        "add",
        "ann",
        "--scheme",
        "cleartext",
        "--password-file",
        &password("of access"),
    ]);
    assert!(provider.refuses(&["account", "link", ann, "nobody"]).contains("no subscriber nobody"));
    let linked = provider.does(&["account", "link", ann, "ann"]);
    assert!(linked.contains("has the password of subscriber ann"), "{linked}");
    let shown = provider.account(ann);
    assert_eq!(shown["subscriber"], "ann", "{shown}");
    assert_eq!(shown["subscriber_state"], "active", "{shown}");
    assert_eq!(
        (&shown["password"], &shown["password_is_subscribers"]),
        (&"clear text".into(), &true.into())
    );
    let changed =
        provider.run(&["account", "password", ann, "--password-file", &password("of mail")]);
    assert!(said(changed).contains("it is the password of subscriber ann, too"));
    let (shown, _) = radius(&["user", "show", "ann", "--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["mail_accounts"][0], ann, "{shown}");
    let (shown, _) = radius(&["user", "show", "ann"]);
    assert!(shown.contains("clear text") && shown.contains(ann), "{shown}");
    let (_, told) =
        radius(&["user", "password", "ann", "--password-file", &password("of access again")]);
    assert!(told.contains("it is the password of ann@isp.example, too"), "{told}");
    radius(&["user", "disable", "ann"]);
    let listed = provider.does(&["account", "list"]);
    assert!(listed.contains("blocked as a subscriber"), "{listed}");
    provider.does(&["account", "add", "shop@isp.example", "--subscriber", "ann"]);
    assert_eq!(provider.account("shop@isp.example")["subscriber_state"], "blocked");
    let refused =
        provider.refuses(&["account", "add", "new@isp.example", "--subscriber", "nobody"]);
    assert!(refused.contains("no subscriber nobody"), "{refused}");
    assert!(provider.refuses(&["account", "show", "new@isp.example"]).contains("no account"));
    provider.does(&["account", "unlink", ann]);
    assert_eq!(provider.account(ann)["password_is_subscribers"], false);

    // Where they lie in two databases nothing can be one.
    subscribers_at("elsewhere.db");
    radius(&["user", "add", "bob", "--scheme", "nt", "--password-file", &password("of bob")]);
    let refused = provider.refuses(&["account", "link", ann, "bob"]);
    assert!(refused.contains("one password for both takes one database"), "{refused}");
    let csv = provider.file("note.csv");
    fs::write(&csv, "name,subscriber\nbob@isp.example,bob\n").unwrap();
    provider.does(&["directory", "import", "--csv", &csv.display().to_string()]);
    assert_eq!(provider.account("bob@isp.example")["subscriber_state"], Value::Null);
    let (_, told) =
        radius(&["user", "password", "bob", "--password-file", &password("of bob again")]);
    assert!(told.contains("bob@isp.example keeps the password that it has"), "{told}");
    let changed = provider.run(&[
        "account",
        "password",
        "bob@isp.example",
        "--password-file",
        &password("x"),
    ]);
    assert!(said(changed).contains("subscriber bob keeps the password that he has"));
}

#[test]
fn limits_and_a_domain_that_relays_are_entered_and_taken_away() {
    let provider = Provider::new();
    let (ann, isp) = ("ann@isp.example", "isp.example");
    let limits = ["--messages-per-hour", "10", "--recipients-per-day", "0"];
    provider.does(&[&["account", "set", ann], &limits[..]].concat());
    let shown = provider.account(ann)["limits"].clone();
    assert_eq!(
        (&shown["messages_per_hour"], &shown["recipients_per_day"]),
        (&10.into(), &0.into())
    );
    assert_eq!(shown["messages_per_day"], Value::Null, "{shown}");
    provider.does(&["account", "set", ann, "--messages-per-hour", "none", "--quota", "1GiB"]);
    let shown = provider.account(ann)["limits"].clone();
    assert_eq!(
        (&shown["messages_per_hour"], &shown["recipients_per_day"]),
        (&Value::Null, &0.into())
    );

    let refused = provider.refuses(&["domain", "set", isp, "--relay", "true"]);
    assert!(refused.contains("needs a back-end"), "{refused}");
    provider.does(&["backend", "set", "old", "--lmtp", "old.isp.example:24"]);
    let items = ["--backend", "old", "--relay", "true", "--separator", "-"];
    provider.does(&[&["domain", "set", isp, "--recipients-per-message", "5"], &items[..]].concat());
    let shown = provider.tells(&["domain", "show", isp], 0);
    assert_eq!((&shown["relay"], &shown["separator"]), (&true.into(), &"-".into()), "{shown}");
    assert_eq!(shown["limits"]["recipients_per_message"], 5, "{shown}");
    assert!(provider.does(&["domain", "list"]).contains("relays"));
    provider.does(&["domain", "set", isp, "--relay", "false", "--separator", "none"]);
    let shown = provider.tells(&["domain", "show", isp], 0);
    assert_eq!((&shown["relay"], &shown["separator"]), (&false.into(), &Value::Null), "{shown}");

    let csv = provider.file("limits.csv");
    fs::write(&csv, "name,messages_per_day\nann@isp.example,77\n").unwrap();
    provider.does(&["directory", "import", "--csv", &csv.display().to_string()]);
    assert_eq!(provider.account(ann)["limits"]["messages_per_day"], 77);
}

#[test]
fn a_plan_needs_no_configuration() {
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muralla"));
        command.args(["--config", "/nonexistent", "mail", "plan"]).args(arguments).output().unwrap()
    };
    let output = run(&[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("500,000 mailboxes of 300 MB"), "{text}");
    let output = run(&["--layout", "erasure-10+4", "--users", "2000000", "--json"]);
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(plan["full"]["mail_bytes"], 6e14, "{plan}");
    assert!(plan["full"]["usd_per_gb"].as_f64().unwrap() < 3.0, "{plan}");
    assert!(plan["figures"].as_array().unwrap().len() > 5, "{plan}");
    let figures = String::from_utf8(run(&["--figures"]).stdout).unwrap();
    assert!(figures.contains("bytes stored per byte of mail"), "{figures}");
    for wrong in [["--layout", "raid"], ["--quota", "much"], ["--users", "0"], ["--fill", "120"]] {
        assert!(!run(&wrong).status.success(), "{wrong:?}");
    }
    assert_eq!(run(&["--users", "100"]).status.code(), Some(1), "three boxes for 30 GB");
}

#[test]
fn an_owner_has_passwords_for_devices_and_knows_people() {
    let provider = Provider::new();
    let ann = "ann@isp.example";
    let text = provider.does(&[
        "app-password",
        "add",
        ann,
        "telephone",
        "--for",
        "pop3",
        "--expires",
        "90d",
    ]);
    let password = text.lines().next().unwrap();
    assert_eq!(password.split('-').count(), 4, "{text}");
    let listed = provider.does(&["app-password", "list", ann]);
    assert!(listed.contains("telephone") && !listed.contains(password), "{listed}");
    let shown = provider.account(ann);
    assert_eq!(shown["app_passwords"][0]["protocols"], "pop3", "{shown}");
    let twice = provider.refuses(&["app-password", "add", ann, "telephone"]);
    assert!(twice.contains("choose another label"), "{twice}");
    provider.refuses(&["app-password", "add", ann, "x", "--for", "telnet"]);
    provider.does(&["app-password", "remove", ann, "telephone"]);
    provider.refuses(&["app-password", "remove", ann, "telephone"]);

    provider.does(&["contact", "add", ann, "Bob@else.example", "--name", "Bob"]);
    let book = provider.file("book.vcf");
    fs::write(&book, "BEGIN:VCARD\nFN:Carl\nEMAIL:carl@else.example\nEMAIL:nonsense\nEND:VCARD\n")
        .unwrap();
    let book = book.display().to_string();
    let tried = provider.tells(&["contact", "import", ann, &book, "--dry-run"], 1);
    assert_eq!(tried["refused"][0]["place"], format!("{book}:4"), "{tried}");
    assert!(!provider.does(&["contact", "list", ann]).contains("carl"));
    for _ in 0..2 {
        provider.tells(&["contact", "import", ann, &book], 1);
    }
    let contacts = provider.tells(&["contact", "list", ann], 0);
    assert_eq!(contacts.as_array().unwrap().len(), 2, "{contacts}");
    assert_eq!(contacts[1]["name"], "Carl", "{contacts}");
    provider.does(&["contact", "remove", ann, "bob@else.example"]);
    provider.refuses(&["contact", "remove", ann, "bob@else.example"]);
    let nobody = provider.refuses(&["contact", "list", "nobody@isp.example"]);
    assert!(nobody.contains("muralla mail account list"), "{nobody}");
}

#[test]
fn places_are_entered_and_stay_while_they_are_used() {
    let provider = Provider::new();
    provider.does(&[
        "backend",
        "set",
        "old",
        "--lmtp",
        "dovecot.example.net",
        "--note",
        "until June",
    ]);
    provider.does(&["backend", "set", "old", "--lmtp", "[2001:db8::1]:2003"]);
    let backends = provider.tells(&["backend", "list"], 0);
    assert_eq!(backends[0]["port"], 2003, "{backends}");
    assert_eq!(backends[0]["note"], "until June", "what is not named stays: {backends}");
    provider.refuses(&["backend", "set", "folders", "--maildir", "/var/vmail/%n"]);
    provider.does(&["backend", "set", "folders", "--maildir", "/var/vmail/%d/%n"]);
    provider.does(&["account", "set", "ann@isp.example", "--backend", "store", "--backend", "old"]);
    let used = provider.refuses(&["backend", "remove", "old"]);
    assert!(used.contains("1 accounts"), "{used}");
    provider.does(&["backend", "remove", "folders"]);

    let output = provider.run(&["shard", "list"]);
    let hint = String::from_utf8(output.stderr).unwrap();
    assert!(hint.contains("muralla mail shard add second"), "{hint}");
    let nowhere = provider.refuses(&["shard", "add", "third"]);
    assert!(nowhere.contains("[mail.shards.third]"), "{nowhere}");
    let half = provider.refuses(&["shard", "add", "third", "--packs", "/srv/packs"]);
    assert!(half.contains("a database and packs"), "{half}");
    provider.does(&["shard", "add", "second"]);
    let location = provider.file("location");
    fs::write(&location, "postgres://muralla:arctangent@db.example/mail\n").unwrap();
    let location = location.display().to_string();
    provider.does(&[
        "shard",
        "add",
        "third",
        "--database-file",
        &location,
        "--packs",
        "/srv/packs",
    ]);
    let shards = provider.does(&["shard", "list", "--json"]) + &provider.does(&["shard", "list"]);
    assert!(shards.contains("db.example") && !shards.contains("arctangent"), "{shards}");
    let listed = provider.tells(&["shard", "list"], 0);
    assert_eq!(listed[0]["accounts"], 1, "{listed}");
    provider.does(&["account", "add", "bob@isp.example", "--no-password", "--shard", "second"]);
    assert_eq!(provider.tells(&["shard", "list"], 0)[1]["accounts"], 1);
    provider.does(&["domain", "set", "isp.example", "--shard", "third"]);
    let used = provider.refuses(&["shard", "remove", "third"]);
    assert!(used.contains("domains whose new accounts"), "{used}");
    provider.does(&["domain", "set", "isp.example", "--shard", ""]);
    provider.refuses(&["domain", "set", "isp.example", "--shard", "fourth"]);
    provider.does(&["shard", "set", "third", "--closed", "true"]);
    provider.does(&["shard", "remove", "third"]);
    assert!(provider.refuses(&["shard", "remove", "main"]).contains("accounts that live in it"));
}

#[test]
fn another_systems_tables_are_tried_and_taken() {
    let provider = Provider::new();
    let write = |name: &str, text: &str| {
        fs::write(provider.file(name), text).unwrap();
        provider.file(name).display().to_string()
    };
    let users =
        write("users", "bob@new.example:{PLAIN}tanstaafl::::::\ncarl@new.example:{NOVEL}x\n");
    let vmailbox = write("vmailbox", "bob@new.example new/bob/\ndora@new.example new/dora/\n");
    let virtuals = write("virtual", "info@new.example bob@new.example\nx@new.example no@where@\n");
    let arguments = [
        "directory",
        "import",
        "--passwd-file",
        &users,
        "--postfix-mailboxes",
        &vmailbox,
        "--postfix-aliases",
        &virtuals,
        "--passwords",
        "ssha",
        "--create-domains",
    ];
    let tried = provider.tells(&[&arguments[..], &["--dry-run"]].concat(), 1);
    assert_eq!(tried["would"]["new"]["accounts"], 3, "{tried}");
    assert_eq!(tried["would"]["passwords"], 1, "{tried}");
    assert_eq!(tried["notes"].as_array().unwrap().len(), 1, "carl has no password: {tried}");
    let before = provider.tells(&["account", "list"], 0);
    assert_eq!(before.as_array().unwrap().len(), 1, "nothing is written: {before}");
    let taken = provider.tells(&arguments, 1);
    assert_eq!(taken["entered"]["accounts"], 3, "{taken}");
    assert_eq!(taken["refused"], tried["refused"], "{taken}");
    let text = format!("{taken}{tried}");
    assert!(!text.contains("tanstaafl"), "{text}");
    let again = provider.tells(&[&arguments[..], &["--dry-run"]].concat(), 1);
    assert_eq!(again["would"]["new"]["accounts"], 0, "{again}");
    assert_eq!(again["would"]["there"]["accounts"], 3, "{again}");

    assert!(provider.does(&["directory", "check"]).contains("everything leads somewhere"));
    provider.does(&["alias", "set", "lost@isp.example", "nobody@isp.example"]);
    let problems = provider.tells(&["directory", "check"], 1);
    assert!(problems[0].as_str().unwrap().contains("lost@isp.example"), "{problems}");
}

#[test]
fn accounts_are_listed_by_pages_with_what_they_have() {
    let provider = Provider::new();
    for name in ["bob", "carl"] {
        provider.does(&["account", "add", &format!("{name}@isp.example"), "--no-password"]);
    }
    assert_eq!(provider.account("ann@isp.example")["used_bytes"], 0, "nothing was ever stored");
    provider.fill("bob@isp.example", 3);
    let output = provider.run(&["account", "list", "--most", "2"]);
    let (page, hint) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(page.contains("ann@") && page.contains("bob@") && !page.contains("carl@"), "{page}");
    assert!(hint.contains("--after bob@isp.example"), "{hint}");
    let next = provider.tells(&["account", "list", "--after", "bob@isp.example"], 0);
    assert_eq!((next.as_array().unwrap().len(), &next[0]["messages"]), (1, &0.into()), "{next}");
    let bob = provider.account("bob@isp.example");
    assert_eq!((&bob["messages"], &bob["lives_in"]), (&3.into(), &"main".into()), "{bob}");
    assert!(bob["used_bytes"].as_u64().unwrap() > 200, "{bob}");
}

#[test]
fn a_check_finds_what_is_wrong_and_says_what_to_do() {
    let provider = Provider::new();
    provider.does(&["account", "add", "bob@isp.example", "--no-password"]);
    provider.fill("ann@isp.example", 20);
    provider.fill("bob@isp.example", 5);
    let checked = provider.tells(&["store", "check", "--shard", "main"], 0);
    assert_eq!(checked[0]["frames"], 25, "{checked}");
    let stats = provider.tells(&["store", "stats"], 0);
    assert_eq!((&stats[0]["messages"], &stats[0]["mailboxes"]), (&25.into(), &2.into()), "{stats}");
    assert!(stats[0]["stored_per_byte"].as_f64().unwrap() > 0.0, "{stats}");
    provider.does(&["store", "compact", "--dead", "5"]);

    let pack = largest(&provider.file("packs"));
    let good = fs::read(&pack).unwrap();
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 0xff;
    fs::write(&pack, &bad).unwrap();
    let checked = provider.tells(&["store", "check"], 1);
    let kinds: Vec<&str> = checked[0]["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["kind"].as_str().unwrap())
        .collect();
    assert!(kinds.contains(&"damaged"), "{checked}");
    fs::write(&pack, &good).unwrap();
    provider.tells(&["store", "check"], 0);

    let aside = provider.file("aside");
    fs::rename(&pack, &aside).unwrap();
    let text = String::from_utf8(provider.run(&["store", "check"]).stdout).unwrap();
    assert!(text.contains("is not there") && text.contains("--give-up"), "{text}");
    fs::rename(&aside, &pack).unwrap();

    provider.does(&["account", "remove", "bob@isp.example"]);
    let checked = provider.tells(&["store", "check"], 1);
    assert_eq!(checked[0]["findings"][0]["kind"], "ownerless", "{checked}");
    let would = provider.tells(&["store", "purge"], 0);
    assert_eq!(
        (&would[0]["messages"], &would[0]["removed"]),
        (&5.into(), &false.into()),
        "{would}"
    );
    provider.tells(&["store", "check"], 1);
    provider.does(&["store", "purge", "--yes"]);
    let checked = provider.tells(&["store", "check"], 0);
    assert_eq!(checked[0]["findings"].as_array().unwrap().len(), 0, "{checked}");
    let unknown = provider.refuses(&["store", "stats", "--shard", "nowhere"]);
    assert!(unknown.contains("muralla mail shard list"), "{unknown}");
}

#[test]
fn counts_that_differ_are_told_and_repaired() {
    let provider = Provider::new();
    provider.fill("ann@isp.example", 4);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        use muralla_mail_store::{PackLocation, Store, StoreOptions};
        let database = provider.file("mail.db").display().to_string().parse().unwrap();
        let packs = PackLocation::Folder(provider.file("packs"));
        let store = Store::open(&database, &packs, StoreOptions::default()).await.unwrap();
        let mut work = store.bodies().engine().write().await.unwrap();
        work.execute("UPDATE mail_box SET messages = 9", vec![]).await.unwrap();
        work.commit().await.unwrap();
        store.close().await;
    });
    assert_eq!(provider.account("ann@isp.example")["messages"], 9);
    let checked = provider.tells(&["store", "check"], 1);
    let what = checked[0]["findings"][0]["what"].as_str().unwrap();
    assert!(what.contains("ann@isp.example") && what.contains("9 messages"), "{what}");
    let repaired = provider.tells(&["store", "check", "--repair"], 0);
    assert_eq!(repaired[0]["repaired"], 1, "{repaired}");
    assert_eq!(provider.account("ann@isp.example")["messages"], 4);
}

#[test]
fn a_mailbox_moves_whatever_ends_the_command() {
    const MESSAGES: usize = 150;
    let provider = Provider::new();
    let ann = "ann@isp.example";
    provider.does(&["shard", "add", "second"]);
    provider.fill(ann, MESSAGES);
    // Killed again and again, each time when the first messages have come into a pack.
    let packs = || fs::read_dir(provider.file("second")).map_or(0, Iterator::count);
    for _ in 0..3 {
        let before = packs();
        let mut moving = provider.command(&["move", ann, "--to", "second"]).spawn().unwrap();
        while packs() == before && moving.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        moving.kill().unwrap();
        moving.wait().unwrap();
    }
    let moved = provider.tells(&["move", ann, "--to", "second"], 0);
    assert_eq!(moved["to"], "second", "{moved}");
    let shown = provider.account(ann);
    assert_eq!(
        (&shown["lives_in"], &shown["messages"]),
        (&"second".into(), &MESSAGES.into()),
        "{shown}"
    );
    let checked = provider.tells(&["store", "check"], 0);
    assert_eq!(checked.as_array().unwrap().len(), 2, "{checked}");
    let out = provider.file("out").display().to_string();
    provider.does(&["export", ann, "--mbox", &out]);
    let exported = fs::read_to_string(largest(Path::new(&out))).unwrap();
    let count = exported.lines().filter(|line| line.starts_with("Subject: ")).count();
    assert_eq!(count, MESSAGES);
    // And back.
    provider.tells(&["move", ann, "--to", "main"], 0);
    assert_eq!(provider.account(ann)["messages"], MESSAGES);
    let there = provider.does(&["move", ann, "--to", "main"]);
    assert!(there.contains("lives in main"), "{there}");
    provider.does(&["shard", "remove", "second"]);
    let unknown = provider.refuses(&["move", ann, "--to", "nowhere"]);
    assert!(unknown.contains("muralla mail shard list"), "{unknown}");
}

/// The largest file of a folder.
fn largest(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.max_by_key(|file| fs::metadata(file).unwrap().len()).unwrap()
}
