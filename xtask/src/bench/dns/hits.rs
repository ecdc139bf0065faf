//! Answers out of caches: how many a second with one core, and how much processor time for a million.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use muralla_lab::load::Load;
use muralla_lab::load::saturation::{self, Options, Saturation};
use muralla_lab::{Family, Side};

use super::super::cost::Used;
use super::super::table::{Row, median, turn_by_turn};
use super::contender::{Contender, Standing};
use super::ground::Ground;

/// Different questions, asked by Zipf's law.
const QUESTIONS: usize = 10_000;
/// Queries in one round of the prepared ones.
pub(super) const DRAWS: usize = 1 << 17;
/// Queries under way: as many as the wire between has room for, with some to spare.
const WINDOW: u64 = 200;

/// Load before what is measured, for all alike: it is caches that are compared, and not how soon they are warm. The
/// card's fills in rounds, and not at all in its first second.
const HEATING: Duration = Duration::from_secs(5);

/// The card's cache is at least so many times cheaper than the best peer.
const LEAST_NIC: f64 = 8.0;

#[derive(Default)]
struct Measured {
    rate: Vec<f64>,
    cost: Vec<f64>,
    process: Vec<f64>,
    receiving: Vec<f64>,
    unexplained: Vec<f64>,
    waited: Vec<f64>,
    /// Share of the answers that the network card's cache gave.
    at_the_card: Vec<f64>,
}

pub(super) fn rows(ground: &Ground, binary: Option<&Path>, quick: bool) -> Result<Vec<Row>> {
    let (rounds, duration) =
        if quick { (1, Duration::from_secs(2)) } else { (5, Duration::from_secs(5)) };
    let questions = ground.questions.get(..QUESTIONS).unwrap_or(&ground.questions);
    let load = Load::zipf(questions, DRAWS, 1);
    let contenders = Contender::all(&[Contender::Wire, Contender::Nic], binary);
    let mut measured: Vec<Measured> = contenders.iter().map(|_| Measured::default()).collect();
    // All but the one with the wall stand all the time, and cost nothing while they aren't asked.
    let mut standing: Vec<Option<Standing<'_>>> = Vec::new();
    for contender in &contenders {
        standing.push(match contender {
            Contender::Nic => None,
            _ => {
                eprintln!("hits: warming {}", contender.name());
                let standing = contender.start(ground, &ground.upstream, binary, false)?;
                ground.warm(contender.address(), questions)?;
                Some(standing)
            }
        });
    }
    for round in 1..=rounds {
        for ((contender, standing), result) in contenders.iter().zip(&standing).zip(&mut measured) {
            eprintln!("hits: round {round} of {rounds}, {}", contender.name());
            let walled = match standing {
                Some(_) => None,
                None => Some(contender.start(ground, &ground.upstream, binary, false)?),
            };
            let Some(standing) = standing.as_ref().or(walled.as_ref()) else { continue };
            // What has expired since is fetched again.
            ground.warm(contender.address(), questions)?;
            // And what is hot becomes known as such, where that matters.
            once(ground, *contender, standing, &load, HEATING)?;
            let before = standing.levels()?;
            let (saturation, used) = once(ground, *contender, standing, &load, duration)?;
            result.add(&saturation, used);
            if let (Some((card, all)), Some((card_before, all_before))) =
                (standing.levels()?, before)
            {
                let share = (card - card_before) as f64 / (all - all_before).max(1) as f64;
                result.at_the_card.push(share);
            }
        }
    }
    Ok(report(&contenders, &measured))
}

/// Asks for as long as that; what came of it, and what it cost.
pub(super) fn once(
    ground: &Ground,
    contender: Contender,
    standing: &Standing<'_>,
    load: &Load,
    duration: Duration,
) -> Result<(Saturation, Used)> {
    let options = Options {
        side: Side::Customers,
        sources: ground.lab.customer_hosts(Family::V4),
        target: SocketAddr::new(contender.address(), 53),
        window: WINDOW,
        duration,
        core: ground.asking,
    };
    let (saturation, before, after) =
        saturation::run(&ground.lab, load, &options, || standing.cpu(ground))?;
    let failed: u64 = saturation
        .outcome
        .codes
        .iter()
        .enumerate()
        .filter(|(code, _)| !matches!(code, 0 | 3))
        .map(|(_, count)| count)
        .sum();
    ensure!(
        (failed + saturation.outcome.lost) * 200 < saturation.outcome.sent,
        "{} did not answer from its cache: {:?}, {} lost",
        contender.name(),
        saturation.outcome.codes,
        saturation.outcome.lost
    );
    Ok((saturation, after.since(before)))
}

impl Measured {
    fn add(&mut self, saturation: &Saturation, used: Used) {
        let millions = saturation.outcome.answers() as f64 / 1e6;
        self.rate.push(saturation.rate());
        self.cost.push(used.sum() / millions);
        self.process.push(used.process.as_secs_f64() / millions);
        self.receiving.push(used.receiving.as_secs_f64() / millions);
        self.unexplained.push((used.core.as_secs_f64() - used.sum()) / millions);
        self.waited.push(saturation.waited);
    }
}

fn report(contenders: &[Contender], measured: &[Measured]) -> Vec<Row> {
    let both = || contenders.iter().zip(measured);
    let peers = || both().filter(|(contender, _)| matches!(contender, Contender::Peer(_)));
    let fastest = peers().max_by(|(_, a), (_, b)| median(&a.rate).total_cmp(&median(&b.rate)));
    let cheapest = peers().min_by(|(_, a), (_, b)| median(&a.cost).total_cmp(&median(&b.cost)));
    let mut rows = Vec::new();
    for (contender, result) in both() {
        let id = |contender: &Contender, what: &str| format!("hits.{}.{what}", contender.name());
        // The generator waits for an answer most of the time, unless it is what limits.
        let unit = if median(&result.waited) < LITTLE {
            "answers/s (generator at its limit)"
        } else {
            "answers/s"
        };
        let mut rate = Row::plain(id(contender, "rate"), median(&result.rate), unit);
        let mut cost = Row::plain(id(contender, "cost"), median(&result.cost), "cpu-s/million");
        if let (Some((fastest, fast)), Some((cheapest, cheap))) = (fastest, cheapest) {
            rate.against = Some(id(fastest, "rate"));
            rate.ratio = Some(turn_by_turn(&result.rate, &fast.rate));
            cost.against = Some(id(cheapest, "cost"));
            cost.ratio = Some(turn_by_turn(&result.cost, &cheap.cost));
        }
        if *contender == Contender::Wire {
            rate.budget = Some(1.0);
            rate.within = rate.ratio.map(|ratio| ratio > 1.0);
        }
        if *contender == Contender::Nic {
            cost.budget = Some(1.0 / LEAST_NIC);
            cost.within = cost.ratio.map(|ratio| ratio <= 1.0 / LEAST_NIC);
        }
        rows.extend([rate, cost]);
        for (what, values, unit) in [
            ("cost.process", &result.process, "cpu-s/million"),
            ("cost.receiving", &result.receiving, "cpu-s/million"),
            ("cost.unexplained", &result.unexplained, "cpu-s/million"),
            ("generator.waited", &result.waited, "of its turns"),
        ] {
            rows.push(Row::plain(id(contender, what), median(values), unit));
        }
        if *contender == Contender::Nic {
            let share = median(&result.at_the_card);
            rows.push(Row::plain(id(contender, "at_the_card"), share, "of the answers"));
        }
    }
    rows
}

/// A generator that waits less than this share of its time is the limit.
const LITTLE: f64 = 0.1;
