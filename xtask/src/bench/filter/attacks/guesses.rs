//! Somebody looks for addresses: fifty hosts ask for names, ten in each conversation, to learn which of them exist.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use muralla_lab::cpu;

use super::super::mx::{DOMAIN, Mx, USERS};
use super::super::sender::{Dialogue, Heard, felt};
use super::Scene;
use crate::bench::table::Row;

/// Hosts, and names that each asks for.
const HOSTS: u8 = 50;
const GUESSES: u64 = 200;
const FEW_GUESSES: u64 = 40;

/// Names that a host asks for in a conversation.
const AT_ONCE: u64 = 10;

/// A host that is not let in so often comes no more.
const REFUSED: u32 = 5;

/// How long a reply may take, and the whole attack.
const PATIENCE: Duration = Duration::from_secs(20);
const LONGEST: Duration = Duration::from_secs(180);

/// What all of them learned.
#[derive(Debug, Default)]
struct Learned {
    /// Names of which they know now whether they exist.
    answered: AtomicU64,
    /// Of these, those that do.
    found: AtomicU64,
    /// Milliseconds from the beginning to the last of these answers.
    last: AtomicU64,
}

pub(super) fn rows(scene: &Scene<'_>, quiet: &[Heard]) -> Result<Vec<Row>> {
    let guesses = if scene.quick { FEW_GUESSES } else { GUESSES };
    let all = u64::from(HOSTS) * guesses;
    eprintln!("attacks: {all} guesses from {HOSTS} hosts");
    let _mx = scene.mx()?;
    let honest = scene.honest()?;
    let learned = Arc::new(Learned::default());
    let core = scene.ground.division.asking;
    let begun = Instant::now();
    let hosts: Vec<JoinHandle<Result<()>>> = (0..HOSTS)
        .map(|host| {
            let learned = Arc::clone(&learned);
            scene.ground.lab.internet().thread("guesses", move || {
                cpu::pin(0, core)?;
                guess(host, guesses, begun, &learned);
                Ok(())
            })
        })
        .collect::<Result<_>>()?;
    for host in hosts {
        host.join().map_err(|_| anyhow!("a host that guesses panicked"))??;
    }
    let took = begun.elapsed().as_secs_f64();
    let heard = honest.stop()?;
    let count = |of: &AtomicU64| of.load(Ordering::Relaxed) as f64;
    let mut rows = vec![
        Row::plain("attacks.guesses.tried", all as f64, "names"),
        Row::plain("attacks.guesses.answered", count(&learned.answered), "names"),
        Row::plain("attacks.guesses.found", count(&learned.found), "names"),
        Row::plain("attacks.guesses.last_answer", count(&learned.last) / 1e3, "s"),
        Row::plain("attacks.guesses.took", took, "s"),
    ];
    rows.extend(felt("attacks.guesses", &heard, Some(quiet)));
    Ok(rows)
}

/// One host's way through its names.
fn guess(host: u8, guesses: u64, begun: Instant, learned: &Learned) {
    let (mut next, mut refused) = (0, 0);
    while next < guesses && refused < REFUSED && begun.elapsed() < LONGEST {
        let before = next;
        if let Ok(Ok(mut dialogue)) = Dialogue::open(source(host), Mx::target(25), PATIENCE) {
            let sender = dialogue.say(&format!("MAIL FROM:<a{host}@b{host}.example>"));
            if sender.is_ok_and(|reply| reply.code == 250) {
                for number in next..guesses.min(next + AT_ONCE) {
                    let name = name(host, number);
                    let Ok(reply) = dialogue.say(&format!("RCPT TO:<{name}@{DOMAIN}>")) else {
                        break;
                    };
                    if !matches!(reply.code, 250 | 550..=559) {
                        // It was told nothing.
                        break;
                    }
                    next += 1;
                    learned.answered.fetch_add(1, Ordering::Relaxed);
                    learned.found.fetch_add(u64::from(reply.code == 250), Ordering::Relaxed);
                    let millis = begun.elapsed().as_millis() as u64;
                    learned.last.fetch_max(millis, Ordering::Relaxed);
                }
            }
        }
        refused = if next == before { refused + 1 } else { 0 };
    }
}

const fn source(host: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, host, 7)
}

/// A name: one of a hundred exists.
fn name(host: u8, number: u64) -> String {
    match number % 100 {
        99 => format!("{}", u64::from(host) % USERS),
        _ => format!("info{host}x{number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_different_and_some_exist() {
        let names: Vec<String> = (0..GUESSES).map(|number| name(47, number)).collect();
        assert_eq!(names.iter().filter(|name| name.as_str() == "7").count(), 2);
        assert_eq!(names.iter().filter(|name| name.starts_with("info47x")).count(), 198);
    }
}
