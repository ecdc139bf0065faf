//! How much later a sender hears that his message is taken, because it was looked at: the same messages at the same rate, with the
//! filter and without, in turns.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};

use super::super::table::{Row, median};
use super::checkv2::on_its_way;
use super::ground::Ground;
use super::mx::{Mx, Settings, USERS, user};
use super::nowhere::{self, Answer, Nowhere};
use super::sender::{Crowd, Envelope, Heard, Pace, added, millis, taken};

/// Messages a second, and for how long.
const RATE: f64 = 100.0;
const SECONDS: f64 = 20.0;

/// What the filter may add, in milliseconds.
const BUDGET: f64 = 20.0;

/// Where servers are that send good mail: none of the lab's own networks, which attacks come from.
pub(super) const HONEST: &str = "198.19.0.0/16";

pub(super) fn rows(ground: &Ground, binary: &Path, quick: bool) -> Result<Vec<Row>> {
    let (rounds, seconds) = if quick { (1, 5.0) } else { (5, SECONDS) };
    let letters = letters(ground)?;
    ground.lab.host_on_internet(HONEST)?;
    let _nowhere = Nowhere::start(ground.lab.edge(), Answer::NoName)?;
    let mut measured = [Vec::new(), Vec::new()];
    for round in 1..=rounds {
        for (filter, turns) in [false, true].into_iter().zip(&mut measured) {
            let with = if filter { "with" } else { "without" };
            eprintln!("delay: {with} the filter, round {round} of {rounds}");
            let names = nowhere::ADDRESS.into();
            let settings = Settings { filter, pause: false, submission: false, names };
            let _mx = Mx::start(ground, binary, settings)?;
            let pace = Pace {
                target: Mx::target(25),
                rate: RATE,
                messages: Some((RATE * seconds) as u64),
                at_once: 100,
                core: ground.division.asking,
            };
            let letters = letters.clone();
            let write = move |number| honest(&letters, number);
            turns.push(Crowd::start(ground.lab.internet(), pace, write)?.wait()?);
        }
    }
    let [without, with] = &measured;
    let mut rows = Vec::new();
    for (name, turns) in [("without", without), ("with", with)] {
        let each = |of: &dyn Fn(&[Heard]) -> f64| {
            median(&turns.iter().map(|heard| of(heard)).collect::<Vec<_>>())
        };
        for (what, share) in [("p50", 0.5), ("p99", 0.99)] {
            let value = each(&|heard| millis(heard, share));
            rows.push(Row::plain(format!("delay.{name}.{what}"), value, "ms"));
        }
        rows.push(Row::plain(format!("delay.{name}.taken"), each(&taken) * 100.0, "%"));
    }
    let more = without.iter().zip(with);
    let more: Vec<f64> = more.map(|(less, more)| millis(more, 0.99) - millis(less, 0.99)).collect();
    rows.push(added("delay.added.p99", median(&more), BUDGET));
    Ok(rows)
}

/// Letters of today's kind, as they go over the wire.
pub(super) fn letters(ground: &Ground) -> Result<Vec<Arc<[u8]>>> {
    let letters: Vec<Arc<[u8]>> = ground
        .made_up
        .messages
        .iter()
        .map(|known| {
            let stored = std::fs::read(&known.path).context("reading a letter")?;
            Ok(on_its_way(&stored).into())
        })
        .collect::<Result<_>>()?;
    ensure!(!letters.is_empty(), "nobody writes letters");
    Ok(letters)
}

/// A letter of somebody honest, each time another one, from one of forty places.
pub(super) fn honest(letters: &[Arc<[u8]>], number: u64) -> Envelope {
    let letter = letters.get(number as usize % letters.len().max(1)).cloned();
    let place = (number % 40) as u8;
    Envelope {
        source: Ipv4Addr::new(198, 19, place, 25),
        from: format!("someone{number}@d{place}.example"),
        // The first user is nobody's friend.
        to: user(1 + number % (USERS - 1)),
        letter: letter.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn honest_senders_are_many_and_their_letters_take_turns() {
        let letters: Vec<Arc<[u8]>> = vec![Arc::from(&b"a"[..]), Arc::from(&b"b"[..])];
        let (first, last) = (honest(&letters, 0), honest(&letters, 43));
        assert_eq!((&*first.letter, &*last.letter), (&b"a"[..], &b"b"[..]));
        assert_eq!(last.source, Ipv4Addr::new(198, 19, 3, 25));
        assert_eq!(
            (last.from.as_str(), last.to.as_str()),
            ("someone43@d3.example", "6@bench.test")
        );
    }
}
