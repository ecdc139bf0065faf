//! What there is to see, second by second: users, floods, and what the wall says to both.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use muralla_lab::Lab;

use super::appliance::Appliance;
use super::attack::{Attack, Floods};
use super::traffic::{Experience, Service, Traffic};

/// Seconds that the curve of the flood reaches back.
const HISTORY: usize = 120;

/// After a flood's end, users whose requests it swallowed still fail: so long they count as attacked.
const AFTERMATH: Duration = Duration::from_secs(4);

/// The lab, as somebody watches it.
pub(crate) struct Scene<'lab> {
    lab: &'lab Lab,
    pub(crate) appliance: Appliance<'lab>,
    traffic: Traffic,
    attacker: usize,
    flood: Option<(Attack, Floods)>,
    flood_ended: Option<Instant>,
    sent: u64,
    counted: BTreeMap<Key, u64>,
    /// Queries by where they were answered from.
    answered: BTreeMap<String, u64>,
    /// When the daemon told these two last.
    told: Instant,
    measured: Instant,
    pub(crate) started: Instant,
    pub(crate) view: View,
}

/// What stands for the wall's mode while the daemon says nothing.
pub(crate) const NO_ANSWER: &str = "no answer from the daemon";

/// Where DNS queries are answered from, and what that is called here.
const LEVELS: [(&str, &str); 5] = [
    ("nic", "card"),
    ("wire", "cache"),
    ("stale", "stale"),
    ("engine", "servers"),
    ("none", "refused"),
];

/// Service, verdict and reason.
pub(crate) type Key = (String, String, String);

/// The last measurement, and the sums since the start.
#[derive(Default)]
pub(crate) struct View {
    pub(crate) mode: String,
    pub(crate) attack: Option<Attack>,
    pub(crate) now: [Experience; 3],
    pub(crate) total: [Experience; 3],
    pub(crate) quiet: [Experience; 3],
    pub(crate) attacked: [Experience; 3],
    /// Packets a second that the attacker sends.
    pub(crate) offered: f64,
    pub(crate) offered_history: Vec<u64>,
    /// Packets that the attacker has sent.
    pub(crate) offered_total: u64,
    /// What the wall lets through, a second.
    pub(crate) passed: f64,
    /// What the wall refuses, the most frequent first.
    pub(crate) refused: Vec<Refused>,
    /// The part of the refused packets that was answered with TC=1, a second.
    pub(crate) slipped: f64,
    /// Where DNS queries are answered from, with their rates: the card, the cache, servers, and the rest.
    pub(crate) dns: Vec<(String, f64)>,
    pub(crate) ns_per_packet: Option<f64>,
}

/// Packets refused for one reason.
pub(crate) struct Refused {
    pub(crate) key: Key,
    pub(crate) rate: f64,
    pub(crate) total: u64,
}

impl View {
    /// Where DNS queries are answered from, in a few words.
    pub(crate) fn dns(&self) -> String {
        let parts: Vec<String> = self
            .dns
            .iter()
            .filter(|(_, rate)| *rate > 0.0)
            .map(|(name, rate)| format!("{name} {}/s", short(*rate)))
            .collect();
        if parts.is_empty() { "nobody asks".to_owned() } else { parts.join(", ") }
    }

    /// Packets a second that go no further, slipped ones included.
    pub(crate) fn dropped(&self) -> f64 {
        // A sum of nothing would be a negative zero.
        self.refused.iter().fold(0.0, |sum, refused| sum + refused.rate)
    }
}

impl<'lab> Scene<'lab> {
    pub(crate) fn new(lab: &'lab Lab, appliance: Appliance<'lab>, attacker: usize) -> Result<Self> {
        let mut scene = Self {
            lab,
            appliance,
            traffic: Traffic::start(lab)?,
            attacker,
            flood: None,
            flood_ended: None,
            sent: 0,
            counted: BTreeMap::new(),
            answered: BTreeMap::new(),
            // What it tells first happened since it runs: about a second.
            told: Instant::now() - Duration::from_secs(1),
            measured: Instant::now(),
            started: Instant::now(),
            view: View::default(),
        };
        scene.count()?;
        Ok(scene)
    }

    /// Starts that flood instead of the present one; the same one again ends it.
    pub(crate) fn toggle(&mut self, attack: Attack) -> Result<()> {
        let present = self.flood.take().map(|(present, _)| present);
        self.sent = 0;
        if present == Some(attack) {
            self.view.attack = None;
            self.flood_ended = Some(Instant::now());
            return Ok(());
        }
        self.flood = Some((attack, attack.start(self.lab, self.attacker)?));
        self.flood_ended = None;
        self.view.attack = Some(attack);
        Ok(())
    }

    /// Measures what happened since the last call.
    pub(crate) fn measure(&mut self) -> Result<()> {
        let elapsed = self.measured.elapsed();
        self.measured = Instant::now();
        let seconds = elapsed.as_secs_f64().max(1e-3);

        let sent = self.flood.as_ref().map_or(0, |(_, floods)| floods.sent());
        let new = sent.saturating_sub(self.sent);
        self.sent = sent;
        self.view.offered = new as f64 / seconds;
        self.view.offered_total += new;
        self.view.offered_history.push(self.view.offered as u64);
        let surplus = self.view.offered_history.len().saturating_sub(HISTORY);
        self.view.offered_history.drain(..surplus);

        self.view.now = self.traffic.interval();
        let aftermath = self.flood_ended.is_some_and(|ended| ended.elapsed() < AFTERMATH);
        let attacked = self.flood.is_some() || aftermath;
        let View { now, total, quiet, attacked: under_attack, .. } = &mut self.view;
        let phase = if attacked { under_attack } else { quiet };
        for ((now, total), phase) in now.iter().zip(total).zip(phase) {
            total.add(now);
            phase.add(now);
        }
        self.count()
    }

    fn count(&mut self) -> Result<()> {
        let appliance = &self.appliance;
        let admin = appliance.admin.at_a_glance();
        let counters = || if appliance.walled { admin.counters() } else { Ok(Vec::new()) };
        let told = admin.overview().and_then(|overview| Ok((overview, counters()?)));
        let (overview, counters) = match told {
            Ok(told) => told,
            Err(_) if !appliance.is_running() => {
                anyhow::bail!("the daemon ended:\n{}", appliance.last_words())
            }
            // On a machine with too much to do it may be late. That is to be seen, and how users fare meanwhile, too.
            Err(_) => {
                self.view.mode = NO_ANSWER.to_owned();
                return Ok(());
            }
        };
        let seconds = self.told.elapsed().as_secs_f64().max(1e-3);
        self.told = Instant::now();
        let mut answered: BTreeMap<String, u64> = BTreeMap::new();
        for row in overview.dns.iter().flat_map(|dns| &dns.queries) {
            *answered.entry(row.level.clone()).or_default() += row.count;
        }
        let rate = |level: &str| {
            let count = |of: &BTreeMap<String, u64>| of.get(level).copied().unwrap_or_default();
            count(&answered).saturating_sub(count(&self.answered)) as f64 / seconds
        };
        self.view.dns =
            LEVELS.iter().map(|(level, name)| ((*name).to_owned(), rate(level))).collect();
        self.answered = answered;
        if !appliance.walled {
            self.view.mode = "NO WALL".to_owned();
            return Ok(());
        }
        if let Some(edge) = overview.edge {
            let modes: Vec<String> = edge
                .interfaces
                .iter()
                .map(|interface| {
                    let mode = interface.mode.as_deref().unwrap_or("UNPROTECTED");
                    format!("{} {mode}", interface.name)
                })
                .collect();
            self.view.mode = modes.join(", ");
            self.view.ns_per_packet = edge.ns_per_packet;
        }

        let mut counted: BTreeMap<Key, u64> = BTreeMap::new();
        for row in counters {
            *counted.entry((row.service, row.verdict, row.reason)).or_default() += row.packets;
        }
        (self.view.passed, self.view.slipped) = (0.0, 0.0);
        self.view.refused.clear();
        for (key, &total) in &counted {
            let before = self.counted.get(key).copied().unwrap_or_default();
            let rate = total.saturating_sub(before) as f64 / seconds;
            match key.1.as_str() {
                "drop" | "slip" => {
                    if key.1 == "slip" {
                        self.view.slipped += rate;
                    }
                    self.view.refused.push(Refused { key: key.clone(), rate, total });
                }
                _ => self.view.passed += rate,
            }
        }
        self.view.refused.sort_by(|one, other| {
            other.rate.total_cmp(&one.rate).then(other.total.cmp(&one.total))
        });
        self.counted = counted;
        Ok(())
    }

    /// Ends floods and users, and says how the users fared.
    pub(crate) fn end(mut self) -> Summary {
        let under_attack = self.flood.is_some();
        drop(self.flood.take());
        let last = self.traffic.stop();
        // What the totals of a client hold, the view has but for what ended since its last measurement.
        let View { mut quiet, mut attacked, total, .. } = self.view;
        let phase = if under_attack { &mut attacked } else { &mut quiet };
        for ((phase, last), total) in phase.iter_mut().zip(last).zip(total) {
            phase.failed += last.failed.saturating_sub(total.failed);
            phase.ok += last.ok.saturating_sub(total.ok);
            phase.last_failure = phase.last_failure.take().or(last.last_failure);
        }
        Summary { quiet, attacked }
    }
}

/// How the users fared in all.
pub(crate) struct Summary {
    quiet: [Experience; 3],
    attacked: [Experience; 3],
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "{:<8} {:>9} {:>9} {:>9}   {:>9} {:>9} {:>9}",
            "", "quiet", "p50 ms", "p99 ms", "attacked", "p50 ms", "p99 ms"
        )?;
        for (service, (quiet, attacked)) in
            Service::ALL.iter().zip(self.quiet.iter().zip(&self.attacked))
        {
            writeln!(
                f,
                "{:<8} {:>9} {:>9} {:>9}   {:>9} {:>9} {:>9}",
                service.name(),
                percent(quiet.success()),
                milliseconds(quiet.quantile(0.5)),
                milliseconds(quiet.quantile(0.99)),
                percent(attacked.success()),
                milliseconds(attacked.quantile(0.5)),
                milliseconds(attacked.quantile(0.99)),
            )?;
        }
        Ok(())
    }
}

/// A share from 0 to 1, rounded down so that 100 means all.
pub(crate) fn percent(share: Option<f64>) -> String {
    share.map_or("-".to_owned(), |share| format!("{:.2} %", (share * 1e4).floor() / 100.0))
}

pub(crate) fn milliseconds(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value < 10.0 => format!("{value:.2}"),
        Some(value) if value < 100.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.0}"),
    }
}

/// A number as people at the NOC say it: 512 k, 1.31 M.
pub(crate) fn short(value: f64) -> String {
    match value {
        value if value >= 1e9 => format!("{:.2} G", value / 1e9),
        value if value >= 1e7 => format!("{:.0} M", value / 1e6),
        value if value >= 1e6 => format!("{:.2} M", value / 1e6),
        value if value >= 1e4 => format!("{:.0} k", value / 1e3),
        value if value >= 1e3 => format!("{:.1} k", value / 1e3),
        value => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_few_characters() {
        for (value, text) in [
            (0.0, "0"),
            (999.0, "999"),
            (1_234.0, "1.2 k"),
            (512_345.0, "512 k"),
            (1_310_000.0, "1.31 M"),
            (2.5e9, "2.50 G"),
        ] {
            assert_eq!(short(value), text);
        }
        assert_eq!(percent(Some(1.0)), "100.00 %");
        assert_eq!(percent(Some(0.999_99)), "99.99 %", "not all");
        assert_eq!(percent(None), "-");
        assert_eq!(milliseconds(Some(0.234)), "0.23");
        assert_eq!(milliseconds(Some(1_234.5)), "1234");
    }
}
