//! Debian's mail servers in the lab, and what sends them mail and fetches it, for real. Needs root.
#![cfg(test)]

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use muralla_lab::corpus::{Corpus, write_file, write_maildir};
use muralla_lab::dovecot::{self, Dovecot, DovecotOptions, Format};
use muralla_lab::flushes::Flushes;
use muralla_lab::load::pop3::{self, Login, Programs, Visit};
use muralla_lab::load::smtp::{Options, Recipients, Senders, Sink};
use muralla_lab::postfix::{Onward, Postfix, PostfixOptions};
use muralla_lab::{Family, Lab, LabOptions, cpu};

const DOMAIN: &str = "bench.test";
const USERS: u32 = 6;

fn small() -> LabOptions {
    LabOptions { customers: 2, nas: 1, internet: 4 }
}

/// A folder on a disk, which others than its owner come through.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("muralla-mail").tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn logins() -> Vec<Login> {
    (1..=USERS)
        .map(|user| Login { user: format!("{user}@{DOMAIN}"), password: format!("pw-{user}") })
        .collect()
}

fn dovecot(lab: &Lab, folder: &Path, format: Format) -> (Dovecot, SocketAddrV4) {
    let address = Ipv4Addr::new(203, 0, 113, 42);
    let folder = folder.join("dovecot");
    let options = DovecotOptions { address, core: 0, folder, format, logins: logins() };
    let dovecot = Dovecot::start(lab, "dovecot", &options).unwrap();
    (dovecot, SocketAddrV4::new(address, 110))
}

fn letters(folder: &Path) -> Vec<PathBuf> {
    let corpus = Corpus::new();
    (0..2)
        .map(|number| {
            let path = folder.join(format!("letter-{number}"));
            write_file(&path, &corpus.sized(number, 4_096)).unwrap();
            path
        })
        .collect()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn what_postfix_takes_lies_in_dovecot_s_mailboxes() {
    let lab = Lab::up("labt-mailboxes", small()).unwrap();
    let folder = folder();
    let (dovecot, pop3) = dovecot(&lab, folder.path(), Format::SdboxZstd);
    let options = PostfixOptions {
        address: Ipv4Addr::new(203, 0, 113, 41),
        core: 0,
        folder: folder.path().join("postfix"),
        domain: DOMAIN.to_owned(),
        connections: 20,
        onward: Onward::Mailboxes {
            lmtp: dovecot.lmtp(),
            users: logins().into_iter().map(|login| login.user).collect(),
            at_once: 5,
        },
        delivers: true,
        settings: String::new(),
    };
    let postfix = Postfix::start(&lab, "postfix-bench", &options).unwrap();
    let flushes = Flushes::count(folder.path()).ok();
    let senders = Options {
        target: SocketAddrV4::new(options.address, 25),
        letters: letters(folder.path()),
        recipients: Recipients::Numbered { count: USERS, domain: DOMAIN.to_owned() },
        processes: 2,
        connections: 3,
        core: 1,
    };
    let senders = Senders::start(lab.internet(), senders).unwrap();
    until("enough was sent", || senders.sent() >= u64::from(USERS) * 4 || senders.are_over());
    let taken = senders.stop().unwrap();
    until("nothing waits", || postfix.waiting().unwrap() == 0);
    assert!(taken >= u64::from(USERS) * 4 && taken.is_multiple_of(u64::from(USERS)), "{taken}");
    // Everybody has got as many.
    for login in logins() {
        let there = pop3::count(lab.customers(), pop3, &login).unwrap();
        assert_eq!(there * u64::from(USERS), taken, "{}", login.user);
    }
    // Each was flushed when it was taken, and once more when it was delivered.
    if let Some(flushes) = flushes {
        assert!(flushes.of_all() >= taken * 2, "{} of {taken}", flushes.of_all());
    }
    let all = Programs::start(
        lab.customers(),
        &pop3::Options {
            target: pop3,
            logins: logins(),
            programs: USERS as usize,
            visit: Visit::All,
            core: 1,
        },
    )
    .unwrap();
    let outcome = all.stop().unwrap();
    assert_eq!((outcome.visits, outcome.failed), (6, 0), "{:?}", outcome.failure);
    assert_eq!(outcome.messages, taken);
    assert!(outcome.bytes > taken * 4_000, "{} bytes", outcome.bytes);
    // Processes have come and gone meanwhile.
    assert!(cpu::of_ended(dovecot.pid()).is_ok() && postfix.pids().len() > 2);

    // Somebody without a password, and an address that nobody has.
    let stranger = Login { user: format!("1@{DOMAIN}"), password: "wrong".to_owned() };
    let error = pop3::count(lab.customers(), pop3, &stranger).unwrap_err();
    assert!(format!("{error:#}").contains("PASS: -ERR"), "{error:#}");
    let nobody = Options {
        target: SocketAddrV4::new(options.address, 25),
        letters: letters(folder.path()),
        recipients: Recipients::Each { addresses: vec![format!("nobody@{DOMAIN}")], messages: 1 },
        processes: 1,
        connections: 1,
        core: 1,
    };
    let senders = Senders::start(lab.internet(), nobody).unwrap();
    until("it gave up", || senders.are_over());
    let error = senders.stop().unwrap_err().to_string();
    assert!(error.contains("recipient rejected"), "{error}");
    postfix.stop().unwrap();
    dovecot.stop().unwrap();
}

#[test]
fn a_maildir_is_imported_into_either_kind_of_mailbox() {
    let lab = Lab::up("labt-import", small()).unwrap();
    let folder = folder();
    let corpus = Corpus::new();
    let (user, group) = dovecot::owner().unwrap();
    for format in [Format::Maildir, Format::SdboxZstd] {
        let maildir = folder.path().join("maildir");
        let written = write_maildir(&maildir, (0..30).map(|number| corpus.letter(number))).unwrap();
        for name in ["", "cur", "new", "tmp"] {
            chown(maildir.join(name), Some(user), Some(group)).unwrap();
        }
        let (dovecot, pop3) = dovecot(&lab, folder.path(), format);
        let login = logins().swap_remove(0);
        dovecot.import(&login.user, &maildir).unwrap();
        let programs = Programs::start(
            lab.customers(),
            &pop3::Options {
                target: pop3,
                logins: vec![login.clone()],
                programs: 1,
                visit: Visit::All,
                core: 1,
            },
        )
        .unwrap();
        let outcome = programs.stop().unwrap();
        assert_eq!((outcome.messages, outcome.failed), (30, 0), "{:?}", outcome.failure);
        assert_eq!(outcome.bytes, written.bytes, "{format:?}");
        assert!(dovecot.mailbox(&login.user).is_dir());
        dovecot.stop().unwrap();
        for gone in ["maildir", "dovecot"] {
            fs::remove_dir_all(folder.path().join(gone)).unwrap();
        }
    }
}

#[test]
fn what_postfix_has_gathered_arrives_elsewhere() {
    let lab = Lab::up("labt-onward", small()).unwrap();
    let folder = folder();
    let hosts = lab.internet_hosts(Family::V4).into_iter().filter_map(|host| match host {
        IpAddr::V4(host) => Some(host),
        IpAddr::V6(_) => None,
    });
    let forwards: Vec<_> = (0..)
        .zip(hosts)
        .map(|(number, host)| {
            (format!("out{number}@{DOMAIN}"), format!("someone@d{number}.sink.test"), host)
        })
        .collect();
    let mut options = PostfixOptions {
        address: Ipv4Addr::new(203, 0, 113, 41),
        core: 0,
        folder: folder.path().join("postfix"),
        domain: DOMAIN.to_owned(),
        connections: 20,
        onward: Onward::Forwards(forwards.clone()),
        delivers: false,
        settings: String::new(),
    };
    let postfix = Postfix::start(&lab, "postfix-bench", &options).unwrap();
    let senders = Senders::start(
        lab.internet(),
        Options {
            target: SocketAddrV4::new(options.address, 25),
            letters: letters(folder.path()),
            recipients: Recipients::Each {
                addresses: forwards.iter().map(|(ours, ..)| ours.clone()).collect(),
                messages: 10,
            },
            processes: 2,
            connections: 2,
            core: 1,
        },
    )
    .unwrap();
    until("everything is sent", || senders.are_over());
    assert_eq!(senders.stop().unwrap(), 40);
    assert_eq!(postfix.waiting().unwrap(), 40);
    postfix.stop().unwrap();
    let sink = Sink::start(&lab, 1).unwrap();
    assert_eq!(sink.messages().unwrap(), 0);
    options.delivers = true;
    let postfix = Postfix::start(&lab, "postfix-bench", &options).unwrap();
    until("all has arrived", || sink.messages().unwrap() == 40);
    until("nothing waits", || postfix.waiting().unwrap() == 0);
    postfix.stop().unwrap();
}
