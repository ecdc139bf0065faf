//! MAIL, CLEAN, UP: programs of Debian send and fetch mail, two providers write to each other, nobody relays, and a
//! restart turns nobody away. Over the wire, with names out of our own DNS.

#![cfg(test)]

use std::fs::{self, Permissions};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::thread;
use std::time::Duration;

use muralla_lab::clients::{Client, ClientOptions, Kind, Snapshot, Totals, message_id};
use muralla_lab::namespace::Namespace;
use muralla_lab::process::Process;
use muralla_lab::{Family, Lab, LabOptions};
use muralla_tests::dns_role::DnsRole;
use muralla_tests::mail_role::{MailRole, PASSWORD};
use muralla_tests::until;
use rustix::process::Signal;

const SOON: Duration = Duration::from_secs(60);
const RESOLVER: &str = "203.0.113.53";
const NORTH: &str = "203.0.113.41";
const SOUTH: &str = "203.0.113.42";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn lab(name: &str) -> Lab {
    Lab::up(name, LabOptions { customers: 4, nas: 1, internet: 16 }).unwrap()
}

/// A resolver that has the zones of both providers.
fn names(lab: &Lab) -> DnsRole<'_> {
    let mut dns = DnsRole::idle(lab, "dns", ip(RESOLVER)).unwrap();
    let mut zones = String::from(
        "clients = [\"203.0.113.0/24\"]\ncache_file = \"none\"\n[dns.resolver]\nvalidation = \"off\"\n",
    );
    for (domain, address) in [("north.test", NORTH), ("south.test", SOUTH)] {
        let file = dns.folder().join(domain);
        let text = format!(
            "$ORIGIN {domain}.\n$TTL 60\n@ SOA ns root 1 60 60 60 60\n@ NS ns\n@ MX 10 mx\n\
             ns A {RESOLVER}\nmx A {address}\n"
        );
        fs::write(&file, text).unwrap();
        zones += &format!("[[dns.zone]]\nname = \"{domain}\"\nfile = \"{}\"\n", file.display());
    }
    dns.configure(&zones).unwrap();
    dns.run().unwrap();
    dns
}

fn north(lab: &Lab) -> MailRole<'_> {
    let mut north =
        MailRole::prepare(lab, "north.test", ip(NORTH), ip(RESOLVER), &["ann", "bob"]).unwrap();
    north.begin().unwrap();
    north
}

/// A mail program hands in a message.
fn msmtp(lab: &Lab, mail: &MailRole<'_>, tls: &[&str], method: &str, subject: &str) {
    let message = lab.folder().join("message");
    let (ann, bob) = (mail.user("ann"), mail.user("bob"));
    fs::write(&message, format!("From: {ann}\nTo: {bob}\nSubject: {subject}\n\nHello.\n")).unwrap();
    let command = format!(
        "exec msmtp --host={} {} --tls=on --tls-certcheck=off --auth={method} --user={ann} \
         --passwordeval=\"echo '{PASSWORD}'\" --from={ann} {bob} < {}",
        mail.address(),
        tls.join(" "),
        message.display(),
    );
    lab.customers().run("sh", ["-c", &command]).unwrap();
}

#[test]
fn mail_programs_of_debian_send_and_fetch() {
    let lab = lab("mail-programs");
    let _names = names(&lab);
    let north = north(&lab);
    let starttls = ["--port=587", "--tls-starttls=on"];
    let tls = ["--port=465", "--tls-starttls=off"];
    for (method, how) in
        [("plain", starttls), ("login", starttls), ("scram-sha-256", starttls), ("plain", tls)]
    {
        let subject = format!("{method} to {}", how[0]);
        msmtp(&lab, &north, &how, method, &subject);
        north.until_mail("bob", &[&format!("Subject: {subject}"), "Hello."]).unwrap();
    }

    let (host, bob) = (north.address().to_string(), north.user("bob"));
    // mpop leaves everything there, and takes it only once.
    let inbox = lab.folder().join("mpop");
    let uidls = lab.folder().join("uidls");
    for (port, starttls) in [("110", "on"), ("995", "off")] {
        let command = format!(
            "exec mpop --host={host} --port={port} --tls=on --tls-starttls={starttls} --tls-certcheck=off \
             --user={bob} --passwordeval=\"echo '{PASSWORD}'\" --keep=on --uidls-file={} \
             --delivery=mbox,{} --received-header=off",
            uidls.display(),
            inbox.display()
        );
        lab.customers().run("sh", ["-c", &command]).unwrap();
    }
    let fetched = fs::read_to_string(&inbox).unwrap();
    assert_eq!(fetched.matches("\nSubject: ").count(), 4, "{fetched}");

    // fetchmail takes all away.
    let rules = lab.folder().join("fetchmailrc");
    let taken = lab.folder().join("fetchmail");
    fs::write(
        &rules,
        format!(
            "set idfile \"{folder}/ids\"\nset pidfile \"{folder}/fetchmail.pid\"\n\
             poll {host} with proto POP3 port 995 user \"{bob}\" password \"{PASSWORD}\" \
             ssl no sslcertck fetchall mda \"cat >> {taken}\"\n",
            folder = lab.folder().display(),
            taken = taken.display()
        ),
    )
    .unwrap();
    fs::set_permissions(&rules, Permissions::from_mode(0o600)).unwrap();
    lab.customers().run("fetchmail", ["-f", &rules.display().to_string(), "-N"]).unwrap();
    let fetched = fs::read_to_string(&taken).unwrap();
    assert_eq!(fetched.matches("\nSubject: ").count(), 4, "{fetched}");
    until("an empty mailbox", SOON, || Ok(north.mailbox("bob")?.is_empty().then_some(()))).unwrap();
}

/// As Thunderbird does it: look what there is, sign in, and ask for all in one go.
const READER: &str = r#"
import poplib, smtplib, ssl, sys
from email.message import EmailMessage
host, user, other, password = sys.argv[1:]
anyone = ssl._create_unverified_context()
message = EmailMessage()
message["From"], message["To"], message["Subject"] = user, other, "¿Qué tal?"
message.set_content("Una línea larga. " * 100 + "\n.\n..\nHere\n")
message.add_attachment(bytes(range(256)) * 1000, maintype="application", subtype="octet-stream", filename="b.bin")
with smtplib.SMTP(host, 587) as smtp:
    smtp.starttls(context=anyone)
    smtp.login(user, password)
    refused = smtp.send_message(message)
    assert not refused, refused
    # The connection is good for another one, and for a mistake between them.
    assert smtp.docmd("NONSENSE")[0] in (500, 502), "nonsense"
    smtp.send_message(message)
with smtplib.SMTP_SSL(host, 465, context=anyone) as smtp:
    try:
        smtp.login(user, "wrong")
        raise SystemExit("a wrong password will do")
    except smtplib.SMTPAuthenticationError as error:
        assert error.smtp_code == 535, error
import time
deadline = time.time() + 60
while True:
    pop = poplib.POP3(host, 110)
    pop.stls(context=anyone)
    pop.user(other)
    pop.pass_(password)
    count, octets = pop.stat()
    if count == 2 or time.time() > deadline:
        break
    pop.quit()
    time.sleep(0.1)
assert count == 2, count
names = [line.split()[1] for line in pop.uidl()[1]]
assert len(set(names)) == 2, names
whole = pop.retr(1)
from email import message_from_bytes, policy
read = message_from_bytes(b"\r\n".join(whole[1]) + b"\r\n", policy=policy.default)
assert read["Subject"] == "¿Qué tal?", read["Subject"]
body = read.get_body().get_content().replace("\r\n", "\n")
assert "\n.\n..\nHere" in body, body
[attachment] = read.iter_attachments()
assert attachment.get_content() == bytes(range(256)) * 1000
top = pop.top(2, 1)
assert len(top[1]) < len(whole[1])
pop.dele(1)
pop.rset()
pop.dele(2)
pop.quit()
pop = poplib.POP3_SSL(host, 995, context=anyone)
pop.user(other)
pop.pass_(password)
assert pop.stat()[0] == 1
assert [line.split()[1] for line in pop.uidl()[1]] == names[:1]
pop.quit()
"#;

#[test]
fn mail_is_written_and_read_as_mail_programs_do() {
    let lab = lab("mail-reader");
    let _names = names(&lab);
    let north = north(&lab);
    let arguments = [
        "-c".to_owned(),
        READER.to_owned(),
        north.address().to_string(),
        north.user("ann"),
        north.user("bob"),
        PASSWORD.to_owned(),
    ];
    lab.customers().run("python3", arguments).unwrap();
}

/// What swaks says about one attempt, up to the recipient.
fn attempt(from: &Namespace, server: &str, port: u16, more: &[&str]) -> Result<String, String> {
    let server = format!("{server}:{port}");
    let mut command = from.command("swaks");
    command.args(["--server", &server, "--helo", "host.elsewhere.test", "--quit-after", "RCPT"]);
    let output = command.args(more).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() { Ok(printed) } else { Err(printed) }
}

#[test]
fn clean_nobody_relays() {
    let lab = lab("mail-relay");
    let _names = names(&lab);
    let north = north(&lab);
    let (ann, bob) = (north.user("ann"), north.user("bob"));
    let senders = ["x@elsewhere.test", ann.as_str(), "<>", "postmaster@north.test"];
    let recipients = [
        "victim@elsewhere.test",
        "victim@south.test",
        "victim%elsewhere.test@north.test",
        "\"victim@elsewhere.test\"@north.test",
        "@north.test:victim@elsewhere.test",
        "victim@elsewhere.test@north.test",
        "elsewhere.test!victim@north.test",
        "victim@[203.0.113.41]",
        "victim@mx.north.test",
        "victim@localhost",
    ];
    for from in [lab.internet(), lab.customers()] {
        // Mail for those who are here is taken, so that the rest means something.
        let taken = attempt(from, NORTH, 25, &["--from", "x@elsewhere.test", "--to", &ann]);
        assert!(taken.is_ok(), "{taken:?}");
        for sender in senders {
            for recipient in recipients {
                let refused = attempt(from, NORTH, 25, &["--from", sender, "--to", recipient]);
                let printed = refused.expect_err(&format!("{sender} writes to {recipient}"));
                assert!(printed.contains("* 5"), "{sender} to {recipient}: {printed}");
            }
        }
        // Without signing in nothing is handed in, not even for users.
        for port in [587, 465] {
            let tls = if port == 587 { "--tls" } else { "--tls-on-connect" };
            for to in ["victim@elsewhere.test", &bob] {
                let refused = attempt(from, NORTH, port, &[tls, "--from", &ann, "--to", to]);
                assert!(refused.is_err(), "{to} at {port}: {refused:?}");
            }
        }
        // And who has signed in is who he is.
        let mut forged = vec!["--tls", "--auth", "PLAIN", "--auth-user", &ann];
        forged.extend(["--auth-password", PASSWORD, "--to", "victim@elsewhere.test", "--from"]);
        for sender in [&bob, "x@elsewhere.test", "root@north.test"] {
            let refused = attempt(from, NORTH, 587, &[&forged[..], &[sender]].concat());
            let printed = refused.expect_err(&format!("ann writes as {sender}"));
            assert!(printed.contains("* 5"), "{sender}: {printed}");
        }
        let honest = attempt(from, NORTH, 587, &[&forged[..], &[ann.as_str()]].concat());
        assert!(honest.is_ok(), "{honest:?}");
    }
    assert!(north.queue().unwrap().is_empty());
}

#[test]
fn mail_goes_from_provider_to_provider() {
    let lab = lab("mail-two");
    let _names = names(&lab);
    let north = north(&lab);
    let mut south =
        MailRole::prepare(&lab, "south.test", ip(SOUTH), ip(RESOLVER), &["carl"]).unwrap();
    north.command(&["dkim", "add", "north.test", "2026a"]).unwrap();
    north.command(&["dkim", "activate", "north.test", "2026a"]).unwrap();
    let (ann, carl) = (north.user("ann"), south.user("carl"));
    let send = |to: &str, subject: &str| {
        let header = format!("Subject: {subject}");
        let arguments = [
            "--server",
            NORTH,
            "--port",
            "587",
            "--tls",
            "--auth",
            "PLAIN",
            "--auth-user",
            &ann,
            "--auth-password",
            PASSWORD,
            "--from",
            &ann,
            "--to",
            to,
            "--header",
            &header,
        ];
        lab.customers().run("swaks", arguments).unwrap();
    };

    // The other one isn't there yet: mail waits, and is there when he is.
    send(&carl, "too early");
    let waits = until("mail that waits", SOON, || {
        let queue = north.queue()?;
        Ok(queue.first().filter(|entry| entry.to_string().contains("south.test")).cloned())
    });
    waits.unwrap();
    south.begin().unwrap();
    let _ = north.command(&["queue", "retry", "--all"]);
    south.until_mail("carl", &["Subject: too early"]).unwrap();

    send(&carl, "at once");
    let message = south.until_mail("carl", &["Subject: at once"]).unwrap();
    assert!(message.contains("DKIM-Signature: "), "{message}");
    assert!(message.contains("d=north.test"), "{message}");
    assert!(message.contains("TLS"), "it came in the clear: {message}");
    assert!(!message.contains("100.64."), "where the user is, is nobody's business: {message}");

    // Nobody has that name there, which its sender is told.
    send("nobody@south.test", "to nobody");
    let told = north.until_mail("ann", &["nobody@south.test", "to nobody"]).unwrap();
    assert!(told.contains("multipart/report"), "{told}");
    until("an empty queue", SOON, || Ok(north.queue()?.is_empty().then_some(()))).unwrap();
}

#[test]
fn up_restarts_of_mail_turn_nobody_away_and_lose_nothing() {
    let lab = lab("mail-restarts");
    let mut north =
        MailRole::prepare(&lab, "north.test", ip(NORTH), ip(RESOLVER), &["ann", "bob"]).unwrap();
    north.begin().unwrap();
    // Each time for another one, for their messages have the same numbers.
    let kind = |user: &str| Kind::Smtp { recipient: north.user(user), data: true };
    let (ann, bob) = (kind("ann"), kind("bob"));
    let target = SocketAddr::new(ip(NORTH), 25);
    let mut options = ClientOptions::new(lab.internet_hosts(Family::V4), target, 20);
    options.timeout = Duration::from_secs(30);
    let client = Client::start(lab.internet(), ann, options.clone()).unwrap();
    for round in 0..6 {
        thread::sleep(Duration::from_secs(1));
        if round % 2 == 0 {
            north.role().install(&format!("build {round}")).unwrap();
        }
        north.end(Signal::TERM).unwrap();
        north.begin().unwrap();
    }
    thread::sleep(Duration::from_secs(1));
    let totals = client.stop();
    assert!(totals.snapshot.ok > 100, "{totals:?}");
    assert_eq!(totals.snapshot.failed, 0, "{:?}", totals.snapshot.last_failure);
    let there = mailbox_with_all(&north, "ann", &totals);
    assert_eq!(there, totals.snapshot.ok, "some came twice");

    // Killed, it may cost a client its connection, and never a message that it has taken.
    let client = Client::start(lab.internet(), bob, options).unwrap();
    for _ in 0..5 {
        thread::sleep(Duration::from_secs(1));
        north.end(Signal::KILL).unwrap();
        north.begin().unwrap();
    }
    let crashed = client.stop();
    assert!(crashed.snapshot.ok > 50, "{crashed:?}");
    let there = mailbox_with_all(&north, "bob", &crashed);
    let Snapshot { ok, failed, .. } = crashed.snapshot;
    println!("{ok} acknowledged, {there} there, {failed} cut off");
    // What was cut off before its acknowledgement may be there as well, and nothing besides.
    assert!(there <= ok + failed, "{there} are there of {ok} and {failed}");
}

#[test]
fn noloss_a_slow_disk_costs_time_and_no_message() {
    const EACH_FLUSH: Duration = Duration::from_secs(1);
    let lab = lab("mail-slow-disk");
    let mut north =
        MailRole::prepare(&lab, "north.test", ip(NORTH), ip(RESOLVER), &["ann", "bob"]).unwrap();
    north.begin().unwrap();
    let slowed = slow_down(&lab, north.role().pid().unwrap(), EACH_FLUSH);
    let target = SocketAddr::new(ip(NORTH), 25);
    let mut options = ClientOptions::new(lab.internet_hosts(Family::V4), target, 10);
    options.timeout = Duration::from_secs(60);
    let client = |user: &str| {
        let kind = Kind::Smtp { recipient: north.user(user), data: true };
        Client::start(lab.internet(), kind, options.clone()).unwrap()
    };
    let all_acknowledged = client("ann");
    thread::sleep(Duration::from_secs(5));
    let all_acknowledged = all_acknowledged.stop();
    assert_eq!(all_acknowledged.snapshot.failed, 0, "{:?}", all_acknowledged.snapshot.last_failure);
    assert!(
        all_acknowledged.snapshot.p50_us >= EACH_FLUSH.as_micros() as u64,
        "{all_acknowledged:?}"
    );
    // What has its acknowledgement is on the disk by then, whatever the disk still does.
    let cut_off = client("bob");
    thread::sleep(Duration::from_secs(6));
    north.end(Signal::KILL).unwrap();
    drop(slowed);
    north.begin().unwrap();
    let cut_off = cut_off.stop();
    assert!(cut_off.snapshot.ok > 0, "{cut_off:?}");
    mailbox_with_all(&north, "ann", &all_acknowledged);
    mailbox_with_all(&north, "bob", &cut_off);
}

/// Delays each flush of a process, for as long as what this returns is there.
fn slow_down(lab: &Lab, pid: u32, each: Duration) -> Process {
    let delay = format!("inject=fsync,fdatasync,sync_file_range:delay_enter={}", each.as_micros());
    let mut strace = Command::new("strace");
    strace.args(["-f", "-e", "trace=fsync,fdatasync,sync_file_range", "-e", &delay]);
    strace.args(["-p", &pid.to_string()]);
    let strace = lab.spawn("strace", &mut strace).unwrap();
    until("strace", SOON, || Ok(strace.output().contains("attached").then_some(()))).unwrap();
    strace
}

/// Looks that a user has every message that was acknowledged; how many he has in all.
fn mailbox_with_all(mail: &MailRole<'_>, user: &str, totals: &Totals) -> u64 {
    let messages = mail.mailbox(user).unwrap();
    let lost: Vec<usize> = totals
        .delivered
        .iter()
        .copied()
        .filter(|number| {
            let line = format!("Message-ID: {}", message_id(*number));
            !messages.iter().any(|message| message.contains(&line))
        })
        .collect();
    assert!(lost.is_empty(), "acknowledged and not there: {lost:?} of {}", totals.snapshot.ok);
    assert_eq!(totals.delivered.len() as u64, totals.snapshot.ok);
    messages.len() as u64
}
