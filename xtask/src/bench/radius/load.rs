//! How contenders are asked, and what is made of that.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use muralla_lab::frames::radius::{ACCESS_ACCEPT, ACCESS_REQUEST, ACCOUNTING_RESPONSE};
use muralla_lab::load::radius::requests::Requests;
use muralla_lab::load::radius::{Load, Options, Outcome, Pace};

use super::super::cost::Used;
use super::super::table::{Row, median, turn_by_turn};
use super::contender::Standing;
use super::ground::{Ground, SECRET};

/// Requests under way: as many as the wire between has room for, with some to spare.
const WINDOW: u32 = 200;
/// As long as NASes wait for an answer before they ask again.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// Load before what is measured.
const HEATING: Duration = Duration::from_secs(1);

/// NASes that ask a contender.
pub(super) fn options(ground: &Ground, standing: &Standing<'_>, code: u8, pace: Pace) -> Options {
    let port = if code == ACCESS_REQUEST { 1812 } else { 1813 };
    Options {
        nases: standing.nases,
        target: SocketAddrV4::new(standing.address, port),
        secret: SECRET.to_owned(),
        pace,
        patience: PATIENCE,
        retry: None,
        remember: false,
        core: ground.division.asking,
    }
}

/// Makes a row's name out of what is told.
pub(super) type Ids<'i> = &'i dyn Fn(&str) -> String;

/// The code of the answers that are good.
pub(super) fn wanted(code: u8) -> u8 {
    if code == ACCESS_REQUEST { ACCESS_ACCEPT } else { ACCOUNTING_RESPONSE }
}

/// All that a contender can answer, by rounds.
#[derive(Default)]
pub(super) struct Saturation {
    pub(super) rate: Vec<f64>,
    cost: Vec<f64>,
    process: Vec<f64>,
    receiving: Vec<f64>,
    unexplained: Vec<f64>,
    /// Share of the asking core's time in which it was busy.
    asking: Vec<f64>,
    /// Flushes of the disk a second, and requests for each.
    flushes: Vec<f64>,
    gathered: Vec<f64>,
}

/// An asking core that is busy for more than this share is the limit.
const BUSY: f64 = 0.97;

impl Saturation {
    /// Asks for as long as that.
    pub(super) fn round(
        &mut self,
        ground: &Ground,
        standing: &Standing<'_>,
        requests: Arc<dyn Requests>,
        duration: Duration,
    ) -> Result<()> {
        let code = requests.code();
        let options = options(ground, standing, code, Pace::Window(WINDOW));
        let load = Load::start(ground.lab.customers(), requests, options)?;
        thread::sleep(HEATING);
        load.interval();
        let before = standing.look(ground)?;
        let begun = Instant::now();
        thread::sleep(duration);
        let outcome = load.interval();
        let after = standing.look(ground)?;
        let seconds = begun.elapsed().as_secs_f64();
        load.stop()?;
        check(standing, code, &outcome)?;
        let millions = outcome.answers() as f64 / 1e6;
        let used: Used = after.used.since(before.used);
        self.rate.push(outcome.rate());
        self.cost.push(used.sum() / millions);
        self.process.push(used.process.as_secs_f64() / millions);
        self.receiving.push(used.receiving.as_secs_f64() / millions);
        self.unexplained.push((used.core.as_secs_f64() - used.sum()) / millions);
        self.asking.push((after.asking - before.asking) / seconds);
        if let (Some(after), Some(before)) = (after.flushes, before.flushes) {
            let flushes = (after - before) as f64;
            self.flushes.push(flushes / seconds);
            self.gathered.push(outcome.answers() as f64 / flushes);
        }
        Ok(())
    }

    /// The median of the rounds' rates.
    pub(super) fn usual(&self) -> f64 {
        median(&self.rate)
    }

    /// Rates and costs, each beside another one's if there is one.
    pub(super) fn rows(
        &self,
        unit: &str,
        id: Ids<'_>,
        against: Option<(Ids<'_>, &Self)>,
    ) -> Vec<Row> {
        let limited = median(&self.asking) > BUSY;
        let unit =
            if limited { format!("{unit} (generator at its limit)") } else { unit.to_owned() };
        let mut rate = Row::plain(id("rate"), self.usual(), &unit);
        let mut cost = Row::plain(id("cost"), median(&self.cost), "cpu-s/million");
        if let Some((other, saturation)) = against {
            rate.against = Some(other("rate"));
            rate.ratio = Some(turn_by_turn(&self.rate, &saturation.rate));
            cost.against = Some(other("cost"));
            cost.ratio = Some(turn_by_turn(&self.cost, &saturation.cost));
        }
        let mut rows = vec![rate, cost];
        for (what, values, unit) in [
            ("cost.process", &self.process, "cpu-s/million"),
            ("cost.receiving", &self.receiving, "cpu-s/million"),
            ("cost.unexplained", &self.unexplained, "cpu-s/million"),
            ("generator.busy", &self.asking, "of its core"),
        ] {
            rows.push(Row::plain(id(what), median(values), unit));
        }
        rows
    }

    /// How often the disk was flushed, where that is known.
    pub(super) fn flushes(&self, id: Ids<'_>) -> Vec<Row> {
        if self.flushes.is_empty() {
            return Vec::new();
        }
        let mut rows = vec![Row::plain(id("flushes"), median(&self.flushes), "flushes/s")];
        let gathered = median(&self.gathered);
        if gathered.is_finite() {
            rows.push(Row::plain(id("gathered"), gathered, "records/flush"));
        }
        rows
    }
}

/// How long a contender's answers take at a rate, by rounds.
#[derive(Default)]
pub(super) struct Steadiness {
    rounds: Vec<Outcome>,
}

impl Steadiness {
    /// Asks for as long as that, at that rate.
    pub(super) fn round(
        &mut self,
        ground: &Ground,
        standing: &Standing<'_>,
        requests: Arc<dyn Requests>,
        rate: u32,
        duration: Duration,
    ) -> Result<()> {
        let code = requests.code();
        let options = options(ground, standing, code, Pace::Rate(rate));
        let load = Load::start(ground.lab.customers(), requests, options)?;
        thread::sleep(HEATING);
        load.interval();
        thread::sleep(duration);
        // What is under way still is answered or lost.
        let outcome = load.stop()?;
        check(standing, code, &outcome)?;
        self.rounds.push(outcome);
        Ok(())
    }

    /// Success of all rounds together, and medians of the rounds' latencies; none if there was no round.
    pub(super) fn rows(&self, id: Ids<'_>, against: Option<(Ids<'_>, &Self)>) -> Vec<Row> {
        if self.rounds.is_empty() {
            return Vec::new();
        }
        let mut all = Outcome::default();
        self.rounds.iter().for_each(|round| all.add(round));
        let unit = if all.was_late() { "ms (generator at its limit)" } else { "ms" };
        let each = |of: &Self, share: f64| -> Vec<f64> {
            of.rounds.iter().map(|round| round.quantile(share)).collect()
        };
        let mut rows = vec![Row::plain(id("success"), all.success() * 100.0, "%")];
        for (what, share) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999)] {
            let values = each(self, share);
            let mut row = Row::plain(id(what), median(&values), unit);
            if let Some((other, steadiness)) =
                against.as_ref().filter(|(_, other)| !other.rounds.is_empty())
            {
                row.against = Some(other(what));
                row.ratio = Some(turn_by_turn(&values, &each(steadiness, share)));
            }
            rows.push(row);
        }
        let late = all.lateness.quantile(0.99) as f64 / 1e3;
        rows.push(Row::plain(id("generator.late"), late, "ms"));
        rows
    }
}

/// Whether nearly all was answered, and as it should be.
fn check(standing: &Standing<'_>, code: u8, outcome: &Outcome) -> Result<()> {
    let good = outcome.answers_with(wanted(code));
    let other = outcome.answers() - good;
    ensure!(
        good > 0 && (other + outcome.wrong) * 200 < outcome.sent,
        "{} does not answer as it should: of {} requests {good} were answered well and {other} otherwise, {} not \
         genuinely, {} not at all",
        standing.name(),
        outcome.sent,
        outcome.wrong,
        outcome.lost
    );
    Ok(())
}
