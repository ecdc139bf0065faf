//! Memory for a cached answer: how much a resolver grows by looking up as many.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use muralla_lab::resolvers::Resolver;

use super::super::table::Row;
use super::contender::Contender;
use super::ground::Ground;

const RATE: u32 = 800;
const PATIENCE: Duration = Duration::from_secs(5);
/// Asked before the first look, so that what every process needs once is there.
const BEFORE: usize = 500;

pub(super) fn rows(ground: &Ground, binary: Option<&Path>, quick: bool) -> Result<Vec<Row>> {
    let count = if quick { 4_000 } else { 30_000 };
    let (before, rest) = ground.questions.split_at(BEFORE.min(ground.questions.len()));
    let rest = rest.get(..count).unwrap_or(rest);
    let unit = "bytes/answer";
    let id = |contender: Contender| format!("memory.{}.growth", contender.name());
    let peer = Contender::Peer(Resolver::Unbound);
    let mut rows: Vec<Row> = Vec::new();
    for contender in Contender::all(&[Contender::Wire], binary) {
        eprintln!("memory: {}", contender.name());
        let standing = contender.start(ground, &ground.upstream, binary, false)?;
        ground.ask_once(contender.address(), before, RATE, PATIENCE)?;
        let small = standing.memory(ground)?;
        let outcome = ground.ask_once(contender.address(), rest, RATE, PATIENCE)?;
        let grown = standing.memory(ground)?.saturating_sub(small) as f64 / outcome.good() as f64;
        let against = rows.first().map(|unbound| (id(peer), grown / unbound.value));
        rows.push(Row {
            against: against.as_ref().map(|(id, _)| id.clone()),
            ratio: against.map(|(_, ratio)| ratio),
            ..Row::plain(id(contender), grown, unit)
        });
    }
    Ok(rows)
}
