//! The RADIUS server beside FreeRADIUS: the same cores, the same subscribers, the same disk.
//!
//! - [`ground`]: the lab, the subscribers and the disk; [`load`]: how each is asked
//! - [`contender`]: who is compared, and how each is run
//! - [`auth`], [`nases`], [`accounting`], [`memory`], [`floods`], [`continuity`]: the parts

mod accounting;
mod auth;
mod contender;
mod continuity;
mod floods;
mod ground;
mod load;
mod memory;
mod nases;

use anyhow::Result;

use super::table::Row;
use super::{Args, Part, measured};
use crate::house::House;
use ground::Ground;

const SUBSCRIBERS: u32 = 500_000;
const FEW_SUBSCRIBERS: u32 = 50_000;

pub(super) fn rows(house: &House, args: &Args, wants: &dyn Fn(Part) -> bool) -> Result<Vec<Row>> {
    let binary = measured(house, args)?;
    let binary = binary.as_deref();
    let subscribers = if args.quick { FEW_SUBSCRIBERS } else { SUBSCRIBERS };
    let mut rows = Vec::new();
    let parts = [Part::Auth, Part::Nases, Part::Accounting, Part::Memory, Part::Continuity];
    if parts.into_iter().any(wants) {
        let ground = Ground::prepare(subscribers, &args.disk)?;
        if wants(Part::Auth) {
            rows.extend(auth::rows(&ground, binary, args.quick)?);
        }
        if wants(Part::Nases) {
            rows.extend(nases::rows(&ground, binary, args.quick)?);
        }
        if wants(Part::Accounting) {
            rows.extend(accounting::rows(&ground, binary, args.quick)?);
        }
        if wants(Part::Memory) {
            rows.extend(memory::rows(&ground, binary, args.quick)?);
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
