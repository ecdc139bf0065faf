//! The mail roles beside Postfix and Dovecot: the same cores, the same users, the same messages, the same disk.
//!
//! - [`ground`]: the lab, the users and the disk
//! - [`contender`]: who is compared, and how each is run; [`turns`]: what is made of their turns
//! - [`accept`], [`outgoing`], [`pop3`], [`storage`]: the parts that are one box
//! - [`cluster`]: several boxes, with PostgreSQL and an object store of three nodes
//! - [`figures`]: what the plan of capacity stands on

mod accept;
mod cluster;
mod contender;
mod figures;
mod ground;
mod outgoing;
mod pop3;
mod storage;
mod turns;

use anyhow::{Result, ensure};

use super::table::Row;
use super::{Args, Part, measured};
use crate::house::House;
use crate::setup;
pub(super) use figures::figures;
use ground::Ground;

pub(super) fn rows(house: &House, args: &Args, wants: &dyn Fn(Part) -> bool) -> Result<Vec<Row>> {
    ensure!(
        !args.peers_only || args.only != [Part::Cluster],
        "nobody is compared with the cluster: --peers-only leaves nothing of it"
    );
    let binary = measured(house, args)?;
    // Nobody else has such a thing to compare with.
    let garage = match &binary {
        Some(_) if wants(Part::Cluster) => Some(setup::garage()?),
        _ => None,
    };
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
    if let Some(garage) = garage {
        rows.extend(cluster::rows(&ground, &garage, args.quick)?);
    }
    Ok(rows)
}
