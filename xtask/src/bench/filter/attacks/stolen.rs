//! A user's password in others' hands: they send ten thousand messages to as many strangers, from eight computers that nobody knows.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use muralla_lab::load::smtp::Sink;
use muralla_lab::names;
use muralla_lab::namespace::Namespace;

use super::super::mx::{ADDRESS, Mx, Settings, login};
use super::super::sender::{Heard, felt};
use super::Scene;
use crate::bench::table::Row;

const MESSAGES: u64 = 10_000;
const FEW_MESSAGES: u64 = 400;

/// Computers, each of which sends one message after the other.
const COMPUTERS: u8 = 8;

/// Where strangers are, and the name server that knows them.
const STRANGERS: &str = "strangers.test";
const NAMES: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 62);

/// How long all of it may take, and what is sent afterwards may be on its way.
const LONGEST: Duration = Duration::from_secs(240);
const ON_ITS_WAY: Duration = Duration::from_secs(15);

/// A computer that is refused so often in a row gives up.
const REFUSED: u32 = 20;

/// What they heard.
#[derive(Debug, Default)]
struct Told {
    tried: AtomicU64,
    taken: AtomicU64,
    /// Milliseconds from the beginning to the last message that was taken.
    last: AtomicU64,
}

pub(super) fn rows(scene: &Scene<'_>, quiet: &[Heard]) -> Result<Vec<Row>> {
    let all = if scene.quick { FEW_MESSAGES } else { MESSAGES };
    eprintln!("attacks: a stolen account sends {all} messages");
    let lab = &scene.ground.lab;
    let asking = scene.ground.division.asking;
    let stranger = Ipv4Addr::new(198, 19, 200, 25);
    let hosts = [(STRANGERS.to_owned(), stranger)];
    let _names = names::start(lab, NAMES, asking, STRANGERS, &hosts)?;
    let sink = Sink::start(lab, asking)?;
    let names = std::net::SocketAddrV4::new(NAMES, 53).into();
    let settings = Settings { filter: true, pause: true, submission: true, names };
    let _mx = Mx::start(scene.ground, scene.binary, settings)?;
    let honest = scene.honest()?;
    let told = Arc::new(Told::default());
    let begun = Instant::now();
    let computers: Vec<JoinHandle<Result<()>>> = (0..COMPUTERS)
        .map(|computer| {
            let told = Arc::clone(&told);
            let place = lab.internet().clone();
            let numbers = (u64::from(computer)..all).step_by(usize::from(COMPUTERS));
            thread::Builder::new()
                .name("computer".to_owned())
                .spawn(move || work(&place, computer, numbers, begun, &told))
                .context("starting a thread")
        })
        .collect::<Result<_>>()?;
    for computer in computers {
        computer.join().map_err(|_| anyhow!("a computer panicked"))??;
    }
    let took = begun.elapsed().as_secs_f64();
    let heard = honest.stop()?;
    thread::sleep(ON_ITS_WAY);
    let count = |of: &AtomicU64| of.load(Ordering::Relaxed) as f64;
    let mut rows = vec![
        Row::plain("attacks.stolen.meant", all as f64, "messages"),
        Row::plain("attacks.stolen.tried", count(&told.tried), "messages"),
        Row::plain("attacks.stolen.taken", count(&told.taken), "messages"),
        Row::plain("attacks.stolen.sent", sink.messages()? as f64, "messages"),
        Row::plain("attacks.stolen.last_taken", count(&told.last) / 1e3, "s"),
        Row::plain("attacks.stolen.took", took, "s"),
    ];
    rows.extend(felt("attacks.stolen", &heard, Some(quiet)));
    Ok(rows)
}

fn work(
    place: &Namespace,
    computer: u8,
    numbers: impl Iterator<Item = u64>,
    begun: Instant,
    told: &Told,
) -> Result<()> {
    let mut refused = 0;
    for number in numbers {
        if refused >= REFUSED || begun.elapsed() > LONGEST {
            break;
        }
        told.tried.fetch_add(1, Ordering::Relaxed);
        if send(place, computer, number)? {
            refused = 0;
            told.taken.fetch_add(1, Ordering::Relaxed);
            told.last.fetch_max(begun.elapsed().as_millis() as u64, Ordering::Relaxed);
        } else {
            refused += 1;
        }
    }
    Ok(())
}

/// Whether a message was taken, of a mail program that logs in.
fn send(place: &Namespace, computer: u8, number: u64) -> Result<bool> {
    let user = login(STOLEN);
    let mut program: Command = place.command("msmtp");
    program.args([
        "--port=587",
        "--auth=plain",
        "--tls=on",
        "--tls-starttls=on",
        "--tls-certcheck=off",
    ]);
    program.arg(format!("--host={ADDRESS}")).arg(format!("--user={}", user.user));
    program.arg(format!("--passwordeval=echo {}", user.password)).arg("--timeout=20");
    program.arg(format!("--source-ip=198.18.{}.33", 210 + computer));
    program.arg(format!("--from={}", user.user)).arg(format!("stranger{number}@{STRANGERS}"));
    let mut child = program
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("running msmtp")?;
    if let Some(mut input) = child.stdin.take() {
        // One that was refused reads no message.
        let _ = input.write_all(letter(&user.user, number).as_bytes());
    }
    Ok(child.wait().context("waiting for msmtp")?.success())
}

/// Whose account it is.
const STOLEN: u64 = 1;

fn letter(from: &str, number: u64) -> String {
    format!(
        "From: <{from}>\nTo: <stranger{number}@{STRANGERS}>\nSubject: Your invoice {number}\n\
         Date: Sun, 1 Nov 2026 10:00:00 +0000\nMessage-ID: <{number}@pc.example>\nMIME-Version: 1.0\n\
         Content-Type: text/plain; charset=utf-8\n\nDear customer,\n\nyour account was limited. Confirm your password today at\n\
         http://login-{}.example/verify or it will be closed.\n",
        number % 50
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stranger_gets_a_letter_of_his_own() {
        let (one, other) = (letter("1@bench.test", 1), letter("1@bench.test", 52));
        assert!(
            one.contains("To: <stranger1@strangers.test>\n") && one.contains("login-1.example")
        );
        assert!(other.contains("Message-ID: <52@pc.example>") && other.contains("login-2.example"));
    }
}
