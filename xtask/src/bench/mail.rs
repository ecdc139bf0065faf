//! The mail roles beside Postfix and Dovecot: the same cores, the same users, the same messages, the same disk.
//!
//! - [`ground`]: the lab, the users and the disk
//! - [`contender`]: who is compared, and how each is run; [`turns`]: what is made of their turns
//! - [`accept`], [`outgoing`], [`pop3`], [`storage`]: the parts
//!
//! All of it is one box. A cluster (PostgreSQL, and an object store of several nodes) is a part of its own, beside these.

mod accept;
mod contender;
mod ground;
mod outgoing;
mod pop3;
mod storage;
mod turns;

use anyhow::Result;

use super::table::Row;
use super::{Args, Part, measured};
use crate::house::House;
use ground::Ground;

pub(super) fn rows(house: &House, args: &Args, wants: &dyn Fn(Part) -> bool) -> Result<Vec<Row>> {
    let binary = measured(house, args)?;
    let ground = Ground::prepare(binary, &args.disk)?;
    let mut rows = Vec::new();
    if wants(Part::Accept) {
        rows.extend(accept::rows(&ground, args.quick)?);
    }
    if wants(Part::Outgoing) {
        rows.extend(outgoing::rows(&ground, args.quick)?);
    }
    if wants(Part::Pop3) {
        rows.extend(pop3::rows(&ground, args.quick)?);
    }
    if wants(Part::Storage) {
        rows.extend(storage::rows(&ground, args.quick)?);
    }
    Ok(rows)
}
