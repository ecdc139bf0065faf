//! Several boxes: two that take mail and two that give it, a database, and an object store of three nodes, each in a box of its own.
//! What they do beside one box, and whether anything of what was promised is missing when some of them have died under load.
//!
//! - [`boxes`]: what runs where
//! - [`throughput`]: two boxes beside one
//! - [`storm`]: what dies, while mail comes; [`visitor`]: who looks for it meanwhile; [`tally`]: what is there afterwards

mod boxes;
mod storm;
mod tally;
mod throughput;
mod visitor;

use std::path::Path;

use anyhow::{Context, Result};

use super::super::table::Row;
use super::ground::Ground;
use boxes::Boxes;

pub(super) fn rows(ground: &Ground, garage: &Path, quick: bool) -> Result<Vec<Row>> {
    let binary = ground.binary.as_deref().context("there is no muralla to put into boxes")?;
    let mut boxes = Boxes::start(ground, binary, garage)?;
    let mut rows = throughput::rows(ground, &boxes, quick)?;
    rows.extend(storm::rows(ground, &mut boxes, quick)?);
    Ok(rows)
}
