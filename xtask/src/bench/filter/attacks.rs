//! Attacks over SMTP: what got through, when it stopped, and what legitimate senders felt meanwhile.
//!
//! - [`guesses`]: somebody looks for addresses; [`bombs`]: messages that are larger than they look; [`variants`]: one spam in a
//!   thousand disguises; [`stolen`]: a user's password in others' hands

mod bombs;
mod guesses;
mod stolen;
mod variants;

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::super::table::Row;
use super::delay::{HONEST, honest, letters};
use super::ground::Ground;
use super::mx::{Mx, Settings};
use super::nowhere::{self, Answer, Nowhere};
use super::sender::{Crowd, Heard, Pace, felt};

/// Where attacks come from: each host has a network of its own.
const ATTACKERS: &str = "198.18.0.0/16";

/// Messages a second of legitimate senders.
const RATE: f64 = 5.0;

pub(super) fn rows(ground: &Ground, binary: &Path, quick: bool) -> Result<Vec<Row>> {
    for places in [HONEST, ATTACKERS] {
        ground.lab.host_on_internet(places)?;
    }
    let scene = Scene { ground, binary, quick, letters: letters(ground)? };
    let mut rows = Vec::new();
    let quiet = {
        let _nowhere = Nowhere::start(ground.lab.edge(), Answer::NoName)?;
        let quiet = scene.quiet()?;
        rows.extend(felt("attacks.quiet", &quiet, None));
        rows.extend(guesses::rows(&scene, &quiet)?);
        rows.extend(bombs::rows(&scene, &quiet)?);
        rows.extend(variants::rows(&scene, &quiet)?);
        quiet
    };
    rows.extend(stolen::rows(&scene, &quiet)?);
    Ok(rows)
}

/// Where all of it happens.
struct Scene<'g> {
    ground: &'g Ground,
    binary: &'g Path,
    quick: bool,
    letters: Vec<Arc<[u8]>>,
}

impl<'g> Scene<'g> {
    /// Ours as it is by default.
    fn mx(&self) -> Result<Mx<'g>> {
        let names = nowhere::ADDRESS.into();
        let settings = Settings { filter: true, pause: true, submission: false, names };
        Mx::start(self.ground, self.binary, settings)
    }

    /// Legitimate senders.
    fn honest(&self) -> Result<Crowd> {
        let letters = self.letters.clone();
        let pace = Pace {
            target: Mx::target(25),
            rate: RATE,
            messages: None,
            at_once: 100,
            core: self.ground.division.asking,
        };
        let crowd =
            Crowd::start(self.ground.lab.internet(), pace, move |number| honest(&letters, number));
        // They were there before.
        thread::sleep(Duration::from_secs(2));
        crowd
    }

    /// What they feel when nothing else happens.
    fn quiet(&self) -> Result<Vec<Heard>> {
        eprintln!("attacks: nothing happens");
        let _mx = self.mx()?;
        let honest = self.honest()?;
        thread::sleep(Duration::from_secs(if self.quick { 5 } else { 30 }));
        honest.stop()
    }
}
