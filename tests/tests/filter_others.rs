//! FILTER, NOLOSS: the filter in front of another MTA and another store: as a milter of Debian's Postfix, and as an LMTP proxy
//! in front of Debian's Dovecot. What is spam is refused, what is dangerous reaches nobody, what is good arrives, and while the
//! filter is down nothing comes in unseen.

#![cfg(test)]

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use muralla_lab::dovecot::{Dovecot, DovecotOptions, Format};
use muralla_lab::load::pop3::Login;
use muralla_lab::postfix::{Onward, Postfix, PostfixOptions};
use muralla_lab::role::{Role, preamble};
use muralla_lab::{Lab, LabOptions};
use muralla_tests::appliance::binary;
use muralla_tests::until;
use rustix::process::Signal;

const SOON: Duration = Duration::from_secs(60);
const DOMAIN: &str = "north.test";
const POSTFIX: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 41);
const DOVECOT: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 42);

/// By which filters are tried, in two pieces, so that this file is no message of that kind.
const GTUBE: [&str; 2] =
    ["XJS*C4JDBQADN1.NSBN3*2IDNEN*", "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"];

/// By which virus scanners are tried.
const EICAR: [&str; 2] =
    ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-", "STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"];

/// A store of another kind, an MTA of another kind, and the filter between them.
struct Others<'lab> {
    lab: &'lab Lab,
    filter: Role<'lab>,
    dovecot: Dovecot,
    postfix: Postfix,
}

impl<'lab> Others<'lab> {
    /// `settings` are those of Postfix which say where it asks.
    fn new(lab: &'lab Lab, settings: &str) -> Self {
        let user = format!("ann@{DOMAIN}");
        let login = Login { user: user.clone(), password: "secret".to_owned() };
        let dovecot = DovecotOptions {
            address: DOVECOT,
            core: 0,
            folder: lab.folder().join("dovecot"),
            format: Format::Maildir,
            logins: vec![login],
        };
        let dovecot = Dovecot::start(lab, "dovecot", &dovecot).unwrap();
        let next = dovecot.lmtp();
        let mut filter = Role::prepare(lab, "filter", &binary().unwrap(), 0, |folder| {
            format!(
                r#"{head}
[mail]
hostname = "filter.{DOMAIN}"
database = "{place}/mail.db"
packs = "{place}/packs"
copy = "{place}/directory.copy"
[mail.spool]
folder = "{place}/spool"
reserve = "0B"
[mail.filter]
milter = ["127.0.0.1:11332"]
resolvers = ["127.0.0.1:9"]
[[mail.filter.proxies]]
listen = "127.0.0.1:10026"
next = "{next}"
lmtp = true
"#,
                head = preamble(folder),
                place = folder.display(),
                next = next.display()
            )
        })
        .unwrap();
        filter.begin().unwrap();
        let postfix = PostfixOptions {
            address: POSTFIX,
            core: 0,
            folder: lab.folder().join("postfix"),
            domain: DOMAIN.to_owned(),
            connections: 20,
            onward: Onward::Mailboxes { lmtp: next, users: vec![user], at_once: 2 },
            delivers: true,
            settings: settings.to_owned(),
        };
        let postfix = Postfix::start(lab, "postfix", &postfix).unwrap();
        Self { lab, filter, dovecot, postfix }
    }

    /// A stranger sends a message with this text, and a file. What he hears in the end.
    fn send(&self, text: &str, file: Option<&str>) -> Result<String, String> {
        let mut command = self.lab.internet().command("swaks");
        let (server, to) = (format!("{POSTFIX}:25"), format!("ann@{DOMAIN}"));
        command.args(["--server", &server, "--helo", "host.elsewhere.test", "--to", &to]);
        command.args(["--from", "x@elsewhere.test", "--header", "Subject: lunch", "--body", text]);
        if let Some(file) = file {
            command.args(["--attach-name", "eicar.com", "--attach", file]);
        }
        let output = command.output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() { Ok(printed) } else { Err(printed) }
    }

    /// The messages in her Maildir.
    fn mailbox(&self) -> Vec<String> {
        let folder = self.dovecot.mailbox(&format!("ann@{DOMAIN}")).join("new");
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        files.map(|file| fs::read_to_string(file.path()).unwrap_or_default()).collect()
    }

    fn until_mail(&self, words: &[&str]) -> String {
        until(&format!("mail with {words:?}"), SOON, || {
            let has = |text: &String| words.iter().all(|word| text.contains(word));
            Ok(self.mailbox().into_iter().find(has))
        })
        .unwrap()
    }
}

fn lab(name: &str) -> Lab {
    Lab::up(name, LabOptions { customers: 1, nas: 1, internet: 4 }).unwrap()
}

#[test]
fn a_milter_of_postfix_refuses_holds_and_lets_in() {
    let lab = lab("filter-milter");
    let mut others = Others::new(
        &lab,
        "smtpd_milters = inet:127.0.0.1:11332\nmilter_default_action = tempfail\n",
    );
    others.send("Shall we have lunch on Friday?", None).unwrap();
    let arrived = others.until_mail(&["Shall we have lunch"]);
    assert!(arrived.contains("X-Muralla: inbox;"), "{arrived}");
    assert!(arrived.contains("Authentication-Results: filter.north.test;"), "{arrived}");

    let refused = others.send(&GTUBE.concat(), None).expect_err("the test is let in");
    assert!(refused.contains("550 5.7.1") && refused.contains("This looks like spam"), "{refused}");

    // Postfix has a queue for what is held, and keeps it there.
    let eicar = EICAR.concat();
    others.send("See what I found", Some(&eicar)).unwrap();
    others.send("Something after it", None).unwrap();
    others.until_mail(&["Something after it"]);
    assert!(!others.mailbox().iter().any(|mail| mail.contains("See what I found")));

    others.filter.end(Signal::TERM).unwrap();
    // systemd keeps its socket meanwhile, so that Postfix would wait for it: until then, nobody is let in.
    others.filter.begin().unwrap();
    others.send("After a restart", None).unwrap();
    others.until_mail(&["After a restart"]);
    assert!(others.postfix.waiting().unwrap() <= 1, "{}", others.postfix.told());
}

#[test]
fn a_proxy_in_front_of_dovecot_lets_in_what_is_good() {
    let lab = lab("filter-proxy");
    let others = Others::new(&lab, "virtual_transport = lmtp:inet:127.0.0.1:10026\n");
    others.send("Shall we have lunch on Friday?", None).unwrap();
    let arrived = others.until_mail(&["Shall we have lunch"]);
    assert!(arrived.contains("X-Muralla: inbox;"), "{arrived}");
    // Behind its queue Postfix hears the refusal and tells the sender; the mailbox never has it.
    others.send(&GTUBE.concat(), None).unwrap();
    others.send("See what I found", Some(&EICAR.concat())).unwrap();
    others.send("Something after it", None).unwrap();
    others.until_mail(&["Something after it"]);
    let there = others.mailbox();
    assert_eq!(there.len(), 2, "{there:?}");
}
