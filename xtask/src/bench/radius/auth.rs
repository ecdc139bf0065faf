//! Subscribers let in: how many a second with one core, what a million costs, and how long each waits.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use muralla_lab::load::radius::requests::{Authentications, Method, Requests};

use super::super::table::Row;
use super::contender::{Contender, Setting, Standing};
use super::ground::{FEW_NASES, Ground, SECRET};
use super::load::{Ids, Saturation, Steadiness};

/// Requests a second at which latencies are looked at, if the contender can answer more.
const RATES: [u32; 5] = [500, 2_000, 10_000, 30_000, 60_000];
/// Share of what a contender can answer, up to which it is asked at a rate.
pub(super) const MOST: f64 = 0.8;
/// Ours lets in at least so many times as many by PAP as FreeRADIUS with files.
const LEAST_PAP: f64 = 5.0;

struct Measured {
    saturation: Saturation,
    steadiness: [Steadiness; RATES.len()],
}

pub(super) fn rows(ground: &Ground, binary: Option<&Path>, quick: bool) -> Result<Vec<Row>> {
    let (rounds, duration) =
        if quick { (1, Duration::from_secs(2)) } else { (5, Duration::from_secs(4)) };
    let nases = Ground::nases(FEW_NASES);
    let setting = Setting { nases, users: &ground.users, number: 0, interims: false };
    let contenders =
        Contender::those(&[Contender::Files, Contender::Sql, Contender::Muralla], binary);
    // All stand all the time, and cost nothing while they aren't asked.
    let standing: Vec<Standing<'_>> = contenders
        .iter()
        .map(|contender| {
            eprintln!("auth: starting {}", contender.name());
            contender.start(ground, binary, &setting)
        })
        .collect::<Result<_>>()?;
    let mut rows = Vec::new();
    for method in Method::ALL {
        eprintln!("auth: preparing requests by {}", method.name());
        let requests: Arc<dyn Requests> =
            Arc::new(Authentications::prepare(method, ground.subscribers, SECRET)?);
        let mut measured: Vec<Measured> = standing
            .iter()
            .map(|_| Measured { saturation: Saturation::default(), steadiness: Default::default() })
            .collect();
        for round in 1..=rounds {
            for (standing, measured) in standing.iter().zip(&mut measured) {
                let (method, name) = (method.name(), standing.name());
                eprintln!("auth: round {round} of {rounds}, {method}, {name}");
                measured.saturation.round(ground, standing, Arc::clone(&requests), duration)?;
                let most = measured.saturation.usual() * MOST;
                for (rate, steadiness) in RATES.into_iter().zip(&mut measured.steadiness) {
                    if f64::from(rate) < most {
                        let requests = Arc::clone(&requests);
                        steadiness.round(ground, standing, requests, rate, duration)?;
                    }
                }
            }
        }
        rows.extend(report(method, &contenders, &measured));
    }
    Ok(rows)
}

fn report(method: Method, contenders: &[Contender], measured: &[Measured]) -> Vec<Row> {
    let id = |contender: Contender, what: &str| {
        format!("auth.{}.{}.{what}", method.name(), contender.name())
    };
    let (first, beside) = (contenders.first(), measured.first());
    let mut rows = Vec::new();
    for (&contender, result) in contenders.iter().zip(measured) {
        let own = |what: &str| id(contender, what);
        let other = |what: &str| id(Contender::Files, what);
        let other: Ids<'_> = &other;
        let beside = beside.filter(|_| first != Some(&contender));
        let against = beside.map(|beside| (other, &beside.saturation));
        let mut told = result.saturation.rows("requests/s", &own, against);
        if let Some(rate) = told.first_mut()
            && (contender, method) == (Contender::Muralla, Method::Pap)
        {
            rate.budget = Some(LEAST_PAP);
            rate.within = rate.ratio.map(|ratio| ratio >= LEAST_PAP);
        }
        rows.extend(told);
        for (at, (rate, steadiness)) in RATES.into_iter().zip(&result.steadiness).enumerate() {
            let own = |what: &str| id(contender, &format!("at_{rate}.{what}"));
            let other = |what: &str| id(Contender::Files, &format!("at_{rate}.{what}"));
            let other: Ids<'_> = &other;
            let beside = beside.and_then(|beside| beside.steadiness.get(at));
            rows.extend(steadiness.rows(&own, beside.map(|beside| (other, beside))));
        }
    }
    rows
}
