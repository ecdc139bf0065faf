//! The filter beside bogofilter, rspamd and SpamAssassin as Debian packages them: the same messages in the same order, all of them
//! taught by the same half, and nobody with a network.
//!
//! - [`corpus`]: mail of which it is known what it is, in the order in which it came ([`dates`])
//! - [`curve`]: how well scores tell spam from ham
//! - [`ground`]: the lab, the disk and the messages; [`nowhere`]: the name server of whoever has no network
//! - [`rehearsal`]: ours on files; [`bogofilter`], [`rspamd`], [`spamassassin`]: who is compared
//! - [`crowd`], [`checkv2`]: those who ask
//! - [`quality`], [`speed`], [`delay`], [`attacks`]: the parts; the last two over SMTP, by [`sender`]

mod attacks;
mod bogofilter;
mod checkv2;
pub(crate) mod corpus;
mod crowd;
mod curve;
mod dates;
mod delay;
mod ground;
mod mx;
mod nowhere;
mod quality;
pub(crate) mod rehearsal;
mod rspamd;
mod sender;
mod spamassassin;
mod speed;

use anyhow::{Result, ensure};

use super::table::Row;
use super::{Args, Part, measured};
use crate::house::House;
use ground::Ground;

pub(super) fn rows(house: &House, args: &Args, wants: &dyn Fn(Part) -> bool) -> Result<Vec<Row>> {
    let alone = [Part::Delay, Part::Attacks];
    ensure!(
        !args.peers_only
            || args.only.is_empty()
            || args.only.iter().any(|part| !alone.contains(part)),
        "nobody is compared with these parts: --peers-only leaves nothing of them"
    );
    let binary = measured(house, args)?;
    let ground = Ground::prepare(house, binary, &args.disk, args.quick)?;
    eprintln!("filter: {}", ground.corpus.told()?);
    let mut rows = Vec::new();
    if wants(Part::Quality) {
        rows.extend(quality::rows(&ground)?);
    }
    if wants(Part::Speed) {
        rows.extend(speed::rows(&ground, args.quick)?);
    }
    if let Some(binary) = &ground.binary {
        if wants(Part::Delay) {
            rows.extend(delay::rows(&ground, binary, args.quick)?);
        }
        if wants(Part::Attacks) {
            rows.extend(attacks::rows(&ground, binary, args.quick)?);
        }
    }
    Ok(rows)
}
