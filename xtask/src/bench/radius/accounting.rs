//! Accounting records: how many are acknowledged in a second, how often the disk is flushed for that, and how long each takes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use muralla_lab::load::radius::requests::{Accounting, Requests, Status};

use super::super::table::Row;
use super::auth::MOST;
use super::contender::{Contender, Setting, Standing};
use super::ground::{FEW_NASES, Ground, SECRET};
use super::load::{Ids, Saturation, Steadiness};

/// Records a second at which latencies are looked at, if the contender takes more.
const RATES: [u32; 4] = [200, 1_000, 5_000, 20_000];
/// Ours takes at least so many times as many, durably, as FreeRADIUS with PostgreSQL.
const LEAST: f64 = 10.0;
/// Seconds that sessions have begun before they are told of: all that is told lies in the past.
const EARLIER: u32 = 900;

struct Measured {
    saturation: Saturation,
    steadiness: [Steadiness; RATES.len()],
}

pub(super) fn rows(ground: &Ground, binary: Option<&Path>, quick: bool) -> Result<Vec<Row>> {
    let (rounds, duration) =
        if quick { (1, Duration::from_secs(2)) } else { (5, Duration::from_secs(5)) };
    let nases = Ground::nases(FEW_NASES);
    let contenders =
        Contender::those(&[Contender::Sql, Contender::Detail, Contender::Muralla], binary);
    let standing: Vec<Standing<'_>> = contenders
        .iter()
        .map(|contender| {
            eprintln!("accounting: starting {}", contender.name());
            // A server that only writes to a file doesn't look at subscribers.
            let users = match contender {
                Contender::Detail => &ground.one_user,
                _ => &ground.users,
            };
            contender.start(ground, binary, &Setting { nases, users, number: 0, interims: false })
        })
        .collect::<Result<_>>()?;
    let records = || -> Result<Arc<dyn Requests>> {
        let statuses = [Status::Start, Status::Interim, Status::Stop];
        Ok(Arc::new(Accounting::new(&statuses, nases, ground.subscribers, SECRET, EARLIER)?))
    };
    let mut measured: Vec<Measured> = standing
        .iter()
        .map(|_| Measured { saturation: Saturation::default(), steadiness: Default::default() })
        .collect();
    let flush = ground.disk.flush()?;
    for round in 1..=rounds {
        for (standing, measured) in standing.iter().zip(&mut measured) {
            eprintln!("accounting: round {round} of {rounds}, {}", standing.name());
            standing.forget()?;
            measured.saturation.round(ground, standing, records()?, duration)?;
            let most = measured.saturation.usual() * MOST;
            for (rate, steadiness) in RATES.into_iter().zip(&mut measured.steadiness) {
                if f64::from(rate) < most {
                    steadiness.round(ground, standing, records()?, rate, duration)?;
                }
            }
        }
    }
    let mut rows = vec![Row::plain("accounting.disk.flush", flush, "ms")];
    rows.extend(report(&contenders, &measured));
    Ok(rows)
}

fn report(contenders: &[Contender], measured: &[Measured]) -> Vec<Row> {
    let id = |contender: Contender, what: &str| format!("accounting.{}.{what}", contender.name());
    let (first, beside) = (contenders.first(), measured.first());
    let mut rows = Vec::new();
    for (&contender, result) in contenders.iter().zip(measured) {
        let own = |what: &str| id(contender, what);
        let other = |what: &str| id(Contender::Sql, what);
        let other: Ids<'_> = &other;
        let beside = beside.filter(|_| first != Some(&contender));
        let unit = match contender {
            Contender::Detail => "records/s (not durable)",
            _ => "records/s",
        };
        let against = beside.map(|beside| (other, &beside.saturation));
        let mut told = result.saturation.rows(unit, &own, against);
        if let Some(rate) = told.first_mut()
            && contender == Contender::Muralla
        {
            rate.budget = Some(LEAST);
            rate.within = rate.ratio.map(|ratio| ratio >= LEAST);
        }
        rows.extend(told);
        rows.extend(result.saturation.flushes(&own));
        for (at, (rate, steadiness)) in RATES.into_iter().zip(&result.steadiness).enumerate() {
            let own = |what: &str| id(contender, &format!("at_{rate}.{what}"));
            let other = |what: &str| id(Contender::Sql, &format!("at_{rate}.{what}"));
            let other: Ids<'_> = &other;
            let beside = beside.and_then(|beside| beside.steadiness.get(at));
            rows.extend(steadiness.rows(&own, beside.map(|beside| (other, beside))));
        }
    }
    rows
}
