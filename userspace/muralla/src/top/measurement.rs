//! Rates out of the counters of two moments.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use muralla_abi::verdict::Verdict;
use muralla_dns::report::{Level, QueryCount, Status};
use muralla_edge::talkers::Top;
use muralla_mail::mx::MxStatus;
use muralla_mail::report as mail;
use muralla_radius::report as radius;
use serde::Serialize;

use crate::admin::api::Overview;
use muralla_edge::wall::CounterRow;

/// Measurements that a sparkline reaches back.
pub(crate) const HISTORY: usize = 120;

/// What the daemon was asked for at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) overview: Overview,
    pub(crate) counters: Vec<CounterRow>,
    pub(crate) top: Top,
}

/// What is shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measurement {
    pub(crate) overview: Overview,
    /// Sorted by what is dropped.
    pub(crate) services: Vec<ServiceRates>,
    /// Reasons for something else than passing, the most frequent first.
    pub(crate) reasons: Vec<ReasonRate>,
    pub(crate) top: Top,
    /// None without a DNS role.
    pub(crate) dns: Option<DnsRates>,
    /// None without a RADIUS role.
    pub(crate) radius: Option<RadiusRates>,
    /// None without a mail role.
    pub(crate) mail: Option<MailRates>,
}

/// Messages a second, and how they fared.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct MailRates {
    /// Messages that were taken.
    pub(crate) taken: f64,
    /// Of these, those that wait on this machine's disk.
    pub(crate) spooled: f64,
    /// Messages and recipients of other servers that were refused or put off.
    pub(crate) refused: f64,
    /// Why most of these were.
    pub(crate) top_reason: Option<String>,
    /// Sessions of POP3 that ended, and messages that were fetched.
    pub(crate) sessions: f64,
    pub(crate) fetched: f64,
    /// Logins that were refused.
    pub(crate) refused_logins: f64,
    /// Recipients that got their mail out of the queue, that have to wait, and that were refused.
    pub(crate) delivered: f64,
    pub(crate) deferred: f64,
    pub(crate) failed: f64,
    /// Time within which 99 of 100 messages were in their mailboxes, in seconds. None if there was none.
    pub(crate) p99: Option<f64>,
}

/// Answers of RADIUS a second, and how they fared.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct RadiusRates {
    /// By what they were.
    pub(crate) answers: Vec<(radius::Answer, f64)>,
    /// Requests and packets that were not answered.
    pub(crate) dropped: f64,
    /// The most frequent reason for something else than an acceptance or acknowledgement.
    pub(crate) top_reason: Option<String>,
    /// Time within which 99 of 100 logins were answered, in seconds. None if there was none.
    pub(crate) p99: Option<f64>,
}

/// Queries a second, and how they fared.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct DnsRates {
    /// By where the answer came from; the network card's own are the wall's to count.
    pub(crate) levels: Vec<(Level, f64)>,
    pub(crate) total: f64,
    /// Answered with SERVFAIL.
    pub(crate) failed: f64,
    /// Time within which 99 of 100 answers were given, in seconds, those of the network card left out. None if there
    /// was none.
    pub(crate) p99: Option<f64>,
    /// Share that a cache answered of what caches are for, from 0 to 1; none without such a query.
    pub(crate) hit_rate: Option<f64>,
    /// Queries to other servers, and those that had no answer in time.
    pub(crate) upstream: f64,
    pub(crate) timeouts: f64,
}

/// A service's packets a second by verdict.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct ServiceRates {
    pub(crate) name: String,
    pub(crate) pass: f64,
    pub(crate) drop: f64,
    pub(crate) slip: f64,
    /// Queries that the network card answered.
    pub(crate) answer: f64,
    /// Passed, but a rule in observe mode would have dropped it.
    pub(crate) observe: f64,
    /// The most frequent reason for something else than passing.
    pub(crate) top_reason: Option<String>,
}

/// A reason's packets a second, and how that has been.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct ReasonRate {
    pub(crate) name: String,
    pub(crate) rate: f64,
    /// Packets since the daemon began.
    pub(crate) total: u64,
    #[serde(skip)]
    pub(crate) history: Vec<u64>,
}

/// Turns readings into measurements.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    previous: BTreeMap<Key, u64>,
    histories: BTreeMap<String, VecDeque<u64>>,
    dns: Option<Status>,
    radius: Option<radius::Status>,
    mail: Option<mail::Status>,
    begun: bool,
}

type Key = (String, String, String, String);

impl Meter {
    /// The measurement after `elapsed` since the reading before. The first has no rates.
    pub(crate) fn measure(&mut self, reading: Reading, elapsed: Duration) -> Measurement {
        let seconds = elapsed.as_secs_f64().max(1e-3);
        let mut services: BTreeMap<String, ServiceRates> = BTreeMap::new();
        let mut by_service: BTreeMap<(String, String), f64> = BTreeMap::new();
        let mut reasons: BTreeMap<String, (f64, u64)> = BTreeMap::new();
        let mut current = BTreeMap::new();
        for name in reading.overview.edge.iter().flat_map(|edge| &edge.services) {
            services
                .insert(name.clone(), ServiceRates { name: name.clone(), ..Default::default() });
        }
        for row in &reading.counters {
            let key = (
                row.interface.clone(),
                row.service.clone(),
                row.reason.clone(),
                row.verdict.clone(),
            );
            // A counter that went back was reset: what it has now came since.
            let before = self.previous.get(&key).copied().filter(|before| *before <= row.packets);
            let since = if self.begun { row.packets - before.unwrap_or(0) } else { 0 };
            let rate = since as f64 / seconds;
            current.insert(key, row.packets);

            let service = services.entry(row.service.clone()).or_insert_with(|| ServiceRates {
                name: row.service.clone(),
                ..Default::default()
            });
            let place = match row.verdict.as_str() {
                verdict if verdict == Verdict::Drop.name() => &mut service.drop,
                verdict if verdict == Verdict::Slip.name() => &mut service.slip,
                verdict if verdict == Verdict::Observe.name() => &mut service.observe,
                verdict if verdict == Verdict::Answer.name() => {
                    service.answer += rate;
                    continue;
                }
                _ => {
                    service.pass += rate;
                    continue;
                }
            };
            *place += rate;
            *by_service.entry((row.service.clone(), row.reason.clone())).or_default() += rate;
            let (sum, total) = reasons.entry(row.reason.clone()).or_default();
            *sum += rate;
            *total += row.packets;
        }
        for ((service, reason), rate) in &by_service {
            let most = by_service
                .iter()
                .filter(|((other, _), _)| other == service)
                .all(|(_, other)| other <= rate);
            if let Some(row) = services.get_mut(service).filter(|_| most && *rate > 0.0) {
                row.top_reason = Some(reason.clone());
            }
        }
        self.remember(&reasons);
        let dns = reading.overview.dns.as_ref().map(|status| {
            // A role that began anew is measured from then on.
            let before = self.dns.as_ref().filter(|before| before.uptime <= status.uptime);
            before.map(|before| dns_rates(before, status, seconds)).unwrap_or_default()
        });
        self.dns.clone_from(&reading.overview.dns);
        let radius = reading.overview.radius.as_ref().map(|status| {
            let before = self.radius.as_ref().filter(|before| before.uptime <= status.uptime);
            before.map(|before| radius_rates(before, status, seconds)).unwrap_or_default()
        });
        self.radius.clone_from(&reading.overview.radius);
        let mail = reading.overview.mail.as_ref().map(|status| {
            let before = self.mail.as_ref().filter(|before| before.uptime <= status.uptime);
            before.map(|before| mail_rates(before, status, seconds)).unwrap_or_default()
        });
        self.mail.clone_from(&reading.overview.mail);
        self.previous = current;
        self.begun = true;

        let mut services: Vec<ServiceRates> = services.into_values().collect();
        services.sort_by(|one, other| {
            let dropped = |row: &ServiceRates| row.drop + row.slip + row.observe;
            dropped(other).total_cmp(&dropped(one)).then(other.pass.total_cmp(&one.pass))
        });
        let mut reasons: Vec<ReasonRate> = reasons
            .into_iter()
            .map(|(name, (rate, total))| {
                let history = self.histories.get(&name).into_iter().flatten().copied().collect();
                ReasonRate { name, rate, total, history }
            })
            .collect();
        reasons.sort_by(|one, other| {
            other.rate.total_cmp(&one.rate).then(other.total.cmp(&one.total))
        });
        let Reading { overview, top, .. } = reading;
        Measurement { overview, services, reasons, top, dns, radius, mail }
    }

    fn remember(&mut self, reasons: &BTreeMap<String, (f64, u64)>) {
        for name in reasons.keys() {
            self.histories.entry(name.clone()).or_default();
        }
        for (name, history) in &mut self.histories {
            let rate = reasons.get(name).map_or(0.0, |(rate, _)| *rate);
            history.push_back(rate.round() as u64);
            if history.len() > HISTORY {
                history.pop_front();
            }
        }
    }
}

fn dns_rates(before: &Status, now: &Status, seconds: f64) -> DnsRates {
    let rate =
        |count: &dyn Fn(&Status) -> u64| count(now).saturating_sub(count(before)) as f64 / seconds;
    let queries = |wanted: &dyn Fn(&QueryCount) -> bool| {
        rate(&|status| status.queries.iter().filter(|row| wanted(row)).map(|row| row.count).sum())
    };
    let levels: Vec<(Level, f64)> =
        Level::ALL.map(|level| (level, queries(&|row| row.level == level))).to_vec();
    let total = levels.iter().map(|(_, rate)| rate).sum();
    let sum = |wanted: &[Level]| -> f64 {
        levels.iter().filter(|(level, _)| wanted.contains(level)).map(|(_, rate)| rate).sum()
    };
    // Local zones and refusals have no need of a cache.
    let hits = sum(&[Level::Nic, Level::Wire, Level::Stale]);
    let asked = hits + sum(&[Level::Engine]);
    DnsRates {
        total,
        failed: queries(&|row| row.rcode == "SERVFAIL"),
        p99: quantile(&buckets(before), &buckets(now), 0.99),
        hit_rate: (asked > 0.0).then(|| hits / asked),
        upstream: rate(&|status| status.resolver.upstream_queries),
        timeouts: rate(&|status| status.resolver.upstream_timeouts),
        levels,
    }
}

fn radius_rates(before: &radius::Status, now: &radius::Status, seconds: f64) -> RadiusRates {
    let answers = |status: &radius::Status, wanted: radius::Answer| {
        status.answers.iter().find(|(answer, _)| *answer == wanted).map_or(0, |(_, count)| *count)
    };
    let rate = |new: u64, old: u64| new.saturating_sub(old) as f64 / seconds;
    let reasons: Vec<(&radius::ReasonCount, f64)> = now
        .reasons
        .iter()
        .map(|row| {
            let mut known = before.reasons.iter();
            let known = known.find(|old| (old.stage, &old.reason) == (row.stage, &row.reason));
            (row, rate(row.count, known.map_or(0, |old| old.count)))
        })
        .collect();
    let most = reasons.iter().filter(|(_, rate)| *rate > 0.0).max_by(|a, b| a.1.total_cmp(&b.1));
    let logins = |status: &radius::Status| {
        let accepted = |row: &&radius::Latency| row.answer == radius::Answer::Accept;
        status.latency.iter().find(accepted).map(|row| row.buckets.clone()).unwrap_or_default()
    };
    RadiusRates {
        answers: radius::Answer::ALL
            .map(|answer| (answer, rate(answers(now, answer), answers(before, answer))))
            .to_vec(),
        dropped: reasons
            .iter()
            .filter(|(row, _)| row.stage != radius::Stage::Rejected)
            .map(|(_, rate)| rate)
            .sum(),
        top_reason: most.map(|(row, _)| row.reason.clone()),
        p99: quantile(&logins(before), &logins(now), 0.99),
    }
}

type Count = fn(&MxStatus) -> u64;

/// Why mail of other servers is refused or put off.
const REFUSALS: [(&str, Count); 10] = [
    ("unknown", |mx| mx.unknown),
    ("relay", |mx| mx.relayed),
    ("backscatter", |mx| mx.backscatter),
    ("full", |mx| mx.full),
    ("disabled", |mx| mx.disabled),
    ("astray", |mx| mx.astray),
    ("filter", |mx| mx.refused),
    ("loop", |mx| mx.loops),
    ("no_room", |mx| mx.no_room),
    ("never", |mx| mx.never),
];

fn mail_rates(before: &mail::Status, now: &mail::Status, seconds: f64) -> MailRates {
    let rate = |count: &dyn Fn(&mail::Status) -> u64| {
        count(now).saturating_sub(count(before)) as f64 / seconds
    };
    let refusals = REFUSALS.map(|(reason, count)| {
        let of = |status: &mail::Status| status.mx.as_ref().map_or(0, |mx| count(&mx.counts));
        (reason, rate(&of))
    });
    let most = refusals.iter().filter(|(_, rate)| *rate > 0.0).max_by(|a, b| a.1.total_cmp(&b.1));
    let refused_logins = |status: &mail::Status| {
        let pop3 = status.pop3.as_ref().map_or(0, |pop3| pop3.counts.refused);
        pop3 + status.submission.as_ref().map_or(0, |it| it.counts.refused_logins)
    };
    let stores = |status: &mail::Status| {
        let stores = status.deliveries.iter().filter(|one| one.to.starts_with("store/"));
        together(stores.map(|one| one.buckets.as_slice()))
    };
    let outgoing = |count: fn(&muralla_mail::outgoing::OutgoingStatus) -> u64| {
        rate(&|status| status.outgoing.as_ref().map_or(0, count))
    };
    MailRates {
        taken: rate(&|status| status.post.taken),
        spooled: rate(&|status| status.post.spooled),
        refused: refusals.iter().map(|(_, rate)| rate).sum(),
        top_reason: most.map(|(reason, _)| (*reason).to_owned()),
        sessions: rate(&|status| status.pop3.as_ref().map_or(0, |pop3| pop3.counts.sessions)),
        fetched: rate(&|status| status.pop3.as_ref().map_or(0, |pop3| pop3.counts.retrieved)),
        refused_logins: rate(&refused_logins),
        delivered: outgoing(|outgoing| outgoing.delivered),
        deferred: outgoing(|outgoing| outgoing.deferred + outgoing.unreachable),
        failed: outgoing(|outgoing| outgoing.failed),
        p99: quantile(&stores(before), &stores(now), 0.99),
    }
}

/// The latencies of all levels in one histogram.
fn buckets(status: &Status) -> Vec<(f64, u64)> {
    together(status.latency.iter().map(|level| level.buckets.as_slice()))
}

/// Several histograms in one: upper bounds and counts. All of them have the same bounds.
fn together<'a>(histograms: impl Iterator<Item = &'a [(f64, u64)]>) -> Vec<(f64, u64)> {
    let mut all: Vec<(f64, u64)> = Vec::new();
    for buckets in histograms {
        for (index, (bound, count)) in buckets.iter().enumerate() {
            match all.get_mut(index) {
                Some((_, sum)) => *sum += count,
                None => all.push((*bound, *count)),
            }
        }
    }
    all
}

/// The bound within which that share of what came between two moments stayed.
fn quantile(before: &[(f64, u64)], now: &[(f64, u64)], share: f64) -> Option<f64> {
    let new: Vec<(f64, u64)> = now
        .iter()
        .enumerate()
        .map(|(index, (bound, count))| {
            let before = before.get(index).map_or(0, |(_, count)| *count);
            (*bound, count.saturating_sub(before))
        })
        .collect();
    let total: u64 = new.iter().map(|(_, count)| count).sum();
    let mut left = (total > 0).then_some(total as f64 * share)?;
    new.iter().find_map(|(bound, count)| {
        left -= *count as f64;
        (left <= 0.0 && *count > 0).then_some(*bound)
    })
}

/// A number of packets in few characters: 7, 999, 12.3k, 4.56M.
pub(crate) fn short(number: f64) -> String {
    match number {
        n if !n.is_finite() => "-".to_owned(),
        n if n < 0.05 => "0".to_owned(),
        n if n < 9.95 => format!("{n:.1}"),
        n if n < 999.5 => format!("{n:.0}"),
        n if n < 9_995.0 => format!("{:.2}k", n / 1e3),
        n if n < 99_950.0 => format!("{:.1}k", n / 1e3),
        n if n < 999_500.0 => format!("{:.0}k", n / 1e3),
        n if n < 9_995_000.0 => format!("{:.2}M", n / 1e6),
        n if n < 999_500_000.0 => format!("{:.1}M", n / 1e6),
        n => format!("{:.1}G", n / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;

    fn row(service: &str, reason: &str, verdict: &str, packets: u64) -> CounterRow {
        CounterRow {
            interface: "eth0".to_owned(),
            service: service.to_owned(),
            reason: reason.to_owned(),
            verdict: verdict.to_owned(),
            packets,
            bytes: packets * 60,
        }
    }

    fn reading(counters: Vec<CounterRow>) -> Reading {
        Reading { overview: fake::overview(), counters, top: Top::default() }
    }

    #[test]
    fn rates_are_differences_by_time() {
        let mut meter = Meter::default();
        let first = meter.measure(
            reading(vec![row("dns", "clean", "pass", 100), row("dns", "bogon", "drop", 5)]),
            Duration::ZERO,
        );
        assert!(first.services.iter().all(|service| service.pass == 0.0 && service.drop == 0.0));
        let second = meter.measure(
            reading(vec![
                row("dns", "clean", "pass", 300),
                row("dns", "bogon", "drop", 25),
                row("dns", "source_limit", "slip", 100),
                row("smtp", "bogon", "drop", 4),
            ]),
            Duration::from_secs(2),
        );
        let dns = &second.services[0];
        assert_eq!((dns.name.as_str(), dns.pass, dns.drop, dns.slip), ("dns", 100.0, 10.0, 50.0));
        assert_eq!(dns.top_reason.as_deref(), Some("source_limit"));
        assert_eq!(second.services[1].name, "smtp");
        let reasons: Vec<_> =
            second.reasons.iter().map(|reason| (reason.name.as_str(), reason.rate)).collect();
        assert_eq!(reasons, [("source_limit", 50.0), ("bogon", 12.0)]);
        assert_eq!(second.reasons[1].history, [0, 12]);
    }

    #[test]
    fn a_reset_counter_is_no_negative_rate() {
        let mut meter = Meter::default();
        let one_second = Duration::from_secs(1);
        meter.measure(reading(vec![row("dns", "bogon", "drop", 1000)]), one_second);
        let after = meter.measure(reading(vec![row("dns", "bogon", "drop", 7)]), one_second);
        assert_eq!(after.services[0].drop, 7.0);
        for _ in 0..2 * HISTORY {
            meter.measure(reading(vec![]), one_second);
        }
        let last = meter.measure(reading(vec![row("dns", "bogon", "drop", 1)]), one_second);
        assert_eq!(last.reasons[0].history.len(), HISTORY);
    }

    #[test]
    fn dns_is_measured_between_two_moments() {
        let mut meter = Meter::default();
        let with = |dns: Status| {
            let overview = Overview { dns: Some(dns), ..fake::overview() };
            Reading { overview, counters: Vec::new(), top: Top::default() }
        };
        let first = meter.measure(with(fake::dns_status()), Duration::ZERO).dns.unwrap();
        assert_eq!(first, DnsRates::default());
        let mut later = fake::dns_status();
        later.uptime += 2;
        for (row, more) in later.queries.iter_mut().zip([1_000, 900, 100]) {
            row.count += more;
        }
        for (bucket, more) in later.latency[0].buckets.iter_mut().zip([0, 990, 9, 1]) {
            bucket.1 += more;
        }
        later.resolver.upstream_queries += 300;
        later.resolver.upstream_timeouts += 4;
        let dns = meter.measure(with(later.clone()), Duration::from_secs(2)).dns.unwrap();
        assert_eq!(
            (dns.total, dns.failed, dns.upstream, dns.timeouts),
            (1_000.0, 50.0, 150.0, 2.0)
        );
        assert_eq!(dns.levels[0], (Level::Nic, 500.0));
        assert_eq!((dns.p99, dns.hit_rate), (Some(0.000_002), Some(0.95)));
        // A restart begins anew.
        later.uptime = 1;
        let dns = meter.measure(with(later), Duration::from_secs(2)).dns.unwrap();
        assert_eq!(dns, DnsRates::default());
    }

    #[test]
    fn radius_is_measured_between_two_moments() {
        let mut meter = Meter::default();
        let with = |radius: radius::Status| {
            let overview = Overview { radius: Some(radius), ..fake::overview() };
            Reading { overview, counters: Vec::new(), top: Top::default() }
        };
        let first = meter.measure(with(fake::radius_status()), Duration::ZERO).radius.unwrap();
        assert_eq!(first, RadiusRates::default());
        let mut later = fake::radius_status();
        later.uptime += 2;
        for ((_, count), more) in later.answers.iter_mut().zip([600, 20, 4_000]) {
            *count += more;
        }
        later.reasons[0].count += 20;
        let (stage, reason) = (radius::Stage::Unverified, "unknown_client".to_owned());
        later.reasons.push(radius::ReasonCount { stage, reason, count: 8 });
        let rates = meter.measure(with(later.clone()), Duration::from_secs(2)).radius.unwrap();
        let of: Vec<f64> = rates.answers.iter().map(|(_, rate)| *rate).collect();
        assert_eq!((of, rates.dropped), (vec![300.0, 10.0, 2_000.0, 0.0, 0.0], 4.0));
        assert_eq!(rates.top_reason.as_deref(), Some("wrong_password"));
        // A restart begins anew.
        later.uptime = 1;
        let rates = meter.measure(with(later), Duration::from_secs(2)).radius.unwrap();
        assert_eq!(rates, RadiusRates::default());
    }

    #[test]
    fn mail_is_measured_between_two_moments() {
        let mut meter = Meter::default();
        let with = |mail: mail::Status| {
            let overview = Overview { mail: Some(mail), ..fake::overview() };
            Reading { overview, counters: Vec::new(), top: Top::default() }
        };
        let status = fake::mail::mail_status;
        let first = meter.measure(with(status()), Duration::ZERO).mail.unwrap();
        assert_eq!(first, MailRates::default());
        let mut later = status();
        later.uptime += 2;
        later.post.taken += 640;
        later.post.spooled += 2;
        let mx = &mut later.mx.as_mut().unwrap().counts;
        mx.unknown += 20;
        mx.refused += 4;
        let pop3 = &mut later.pop3.as_mut().unwrap().counts;
        pop3.sessions += 80;
        pop3.retrieved += 60;
        pop3.refused += 6;
        let outgoing = later.outgoing.as_mut().unwrap();
        outgoing.delivered += 40;
        outgoing.deferred += 2;
        outgoing.unreachable += 2;
        outgoing.failed += 1;
        for (bucket, more) in later.deliveries[0].buckets.iter_mut().zip([99, 1]) {
            bucket.1 += more;
        }
        let mail = meter.measure(with(later.clone()), Duration::from_secs(2)).mail.unwrap();
        let expected = MailRates {
            taken: 320.0,
            spooled: 1.0,
            refused: 12.0,
            top_reason: Some("unknown".to_owned()),
            sessions: 40.0,
            fetched: 30.0,
            refused_logins: 3.0,
            delivered: 20.0,
            deferred: 2.0,
            failed: 0.5,
            p99: Some(0.001),
        };
        assert_eq!(mail, expected);
        // A restart begins anew.
        later.uptime = 1;
        let mail = meter.measure(with(later), Duration::from_secs(2)).mail.unwrap();
        assert_eq!(mail, MailRates::default());
    }

    #[test]
    fn a_quantile_is_a_bound() {
        let bounds = |counts: [u64; 3]| [(1.0, counts[0]), (2.0, counts[1]), (4.0, counts[2])];
        for (counts, share, bound) in [
            ([0, 0, 0], 0.99, None),
            ([1, 0, 0], 0.99, Some(1.0)),
            ([99, 1, 0], 0.99, Some(1.0)),
            ([98, 1, 1], 0.99, Some(2.0)),
            ([50, 48, 2], 0.99, Some(4.0)),
            ([0, 0, 5], 0.5, Some(4.0)),
        ] {
            assert_eq!(quantile(&[], &bounds(counts), share), bound, "{counts:?}");
        }
    }

    #[test]
    fn numbers_are_short() {
        for (number, text) in [
            (0.0, "0"),
            (0.5, "0.5"),
            (9.99, "10"),
            (999.4, "999"),
            (999.9, "1.00k"),
            (12_345.0, "12.3k"),
            (999_499.0, "999k"),
            (1_234_567.0, "1.23M"),
            (99_999_999.0, "100.0M"),
            (2e9, "2.0G"),
            (f64::NAN, "-"),
        ] {
            assert_eq!(short(number), text, "{number}");
            assert!(text.len() <= 6);
        }
    }
}
