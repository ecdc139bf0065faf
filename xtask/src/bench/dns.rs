//! The resolver beside Debian's: the same cores, the same questions, the same Internet.
//!
//! - [`ground`]: the lab, the private Internet and what runs on which core
//! - [`contender`]: who is compared, and how each is run
//! - [`hits`], [`misses`], [`floods`], [`memory`], [`lists`], [`continuity`]: the parts

mod contender;
mod continuity;
mod floods;
mod ground;
mod hits;
mod lists;
mod memory;
mod misses;

use anyhow::Result;

use super::table::Row;
use super::{Args, Part, measured};
use crate::house::House;
use ground::Ground;

/// Zones of the private Internet; it has about six questions for each.
const ZONES: usize = 10_000;
const FEW_ZONES: usize = 1_000;

pub(super) fn rows(house: &House, args: &Args, wants: &dyn Fn(Part) -> bool) -> Result<Vec<Row>> {
    let binary = measured(house, args)?;
    let binary = binary.as_deref();
    let zones = if args.quick { FEW_ZONES } else { ZONES };
    let mut rows = Vec::new();
    let parts = [Part::Hits, Part::Misses, Part::Memory, Part::Lists, Part::Continuity];
    if parts.into_iter().any(wants) {
        let ground = Ground::prepare(zones)?;
        if wants(Part::Hits) {
            rows.extend(hits::rows(&ground, binary, args.quick)?);
        }
        if wants(Part::Misses) {
            rows.extend(misses::rows(&ground, binary, args.quick)?);
        }
        if wants(Part::Memory) {
            rows.extend(memory::rows(&ground, binary, args.quick)?);
        }
        if let (Some(binary), true) = (binary, wants(Part::Lists)) {
            rows.extend(lists::rows(&ground, binary, args.quick)?);
        }
        if let (Some(binary), true) = (binary, wants(Part::Continuity)) {
            rows.extend(continuity::rows(&ground, binary, args.quick)?);
        }
    }
    if let (Some(binary), true) = (binary, wants(Part::Floods)) {
        rows.extend(floods::rows(binary, args.quick)?);
    }
    Ok(rows)
}
