//! The same from few and from many NASes, each with an entry of its own in the server's configuration.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use muralla_lab::load::radius::requests::{Authentications, Method, Requests};

use super::super::table::Row;
use super::contender::{Contender, Setting, Standing};
use super::ground::{FEW_NASES, Ground, SECRET};
use super::load::{Ids, Saturation};

const COUNTS: [u32; 2] = [FEW_NASES, 10_000];

pub(super) fn rows(ground: &Ground, binary: Option<&Path>, quick: bool) -> Result<Vec<Row>> {
    let (rounds, duration) =
        if quick { (1, Duration::from_secs(2)) } else { (5, Duration::from_secs(4)) };
    let contenders =
        Contender::those(&[Contender::Files, Contender::Sql, Contender::Muralla], binary);
    let requests: Arc<dyn Requests> =
        Arc::new(Authentications::prepare(Method::Pap, ground.subscribers, SECRET)?);
    let mut rows = Vec::new();
    for contender in contenders {
        let standing: Vec<Standing<'_>> = (1..)
            .zip(COUNTS)
            .map(|(number, count)| {
                eprintln!("nases: starting {} for {count}", contender.name());
                let nases = Ground::nases(count);
                contender.start(
                    ground,
                    binary,
                    &Setting { nases, users: &ground.users, number, interims: false },
                )
            })
            .collect::<Result<_>>()?;
        let mut measured: [Saturation; COUNTS.len()] = Default::default();
        for round in 1..=rounds {
            for (standing, measured) in standing.iter().zip(&mut measured) {
                let count = standing.nases.count;
                eprintln!("nases: round {round} of {rounds}, {count}, {}", contender.name());
                measured.round(ground, standing, Arc::clone(&requests), duration)?;
            }
        }
        let id =
            |count: u32| move |what: &str| format!("nases.{count}.{}.{what}", contender.name());
        let [few, many] = COUNTS.map(id);
        let few: Ids<'_> = &few;
        let [first, last] = &measured;
        rows.extend(first.rows("requests/s", few, None));
        rows.extend(last.rows("requests/s", &many, Some((few, first))));
    }
    Ok(rows)
}
