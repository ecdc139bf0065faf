//! Subscribers of a file, put into the base behind those who are asked for.

use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use muralla_radius_dictionary::Dictionary;
use muralla_radius_policy::Filling;

use crate::convert::{Intake, Taken};
use crate::image::{Image, Kept};
use crate::load::Loaded;
use crate::{State, SubscriberEntry};

/// Subscribers that a thread puts in until it looks whether it is to stop.
const STRETCH: usize = 16_384;

/// Subscribers who are fetched out of a file when they are asked for, as they are not in the base yet.
#[must_use = "the file is in memory until all of it is in the base"]
pub struct Rest {
    state: State,
    image: Arc<Image>,
    filling: Filling,
    dictionary: Arc<Dictionary>,
    loaded: Loaded,
}

impl Rest {
    pub(crate) fn new(
        state: &State,
        image: Arc<Image>,
        filling: Filling,
        dictionary: &Arc<Dictionary>,
        loaded: Loaded,
    ) -> Self {
        Self { state: state.clone(), image, filling, dictionary: Arc::clone(dictionary), loaded }
    }

    /// Puts all of them in, on all cores, which is work for a second or so. Each thread calls `begin` first, so that it may make
    /// way for others, and is ended by `stop`. Gives the load as a whole; none if it was stopped.
    pub fn fill(
        self,
        begin: &(impl Fn() + Sync),
        stop: &(impl Fn() -> bool + Sync),
    ) -> Option<Loaded> {
        let Self { state, image, filling, dictionary, loaded: before } = self;
        let mut loaded = before.clone();
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let mut intakes: Vec<_> =
            std::iter::repeat_with(|| Intake::new(&dictionary)).take(threads).collect();
        let mut rows = image.rows();
        while !rows.is_empty() {
            // The shelf has found all of them to be rows.
            let stretches: Option<Vec<_>> =
                intakes.iter().map(|_| rows.next_stretch(STRETCH)).collect();
            let (stretches, lists) = (stretches?, rows.lists.as_slice());
            let told = thread::scope(|scope| {
                let filling = &filling;
                let threads: Vec<_> = intakes
                    .iter_mut()
                    .zip(stretches)
                    .map(|(intake, rows)| {
                        scope.spawn(move || {
                            begin();
                            taken(filling, intake, &rows, lists)
                        })
                    })
                    .collect();
                let ended = threads.into_iter().map(|thread| match thread.join() {
                    Ok(told) => told,
                    Err(panicked) => std::panic::resume_unwind(panicked),
                });
                ended.collect::<Vec<_>>()
            });
            for (silent, told) in told {
                loaded.subscribers += silent;
                for (name, taken) in told {
                    loaded.note_taken(&name, taken);
                }
            }
            if stop() {
                return None;
            }
        }
        filling.finish();
        state.note_found(&before, &loaded);
        Some(loaded)
    }
}

/// Puts rows in. Gives how many subscribers there was nothing to say about, and what of the others.
fn taken(
    filling: &Filling,
    intake: &mut Intake<'_>,
    rows: &[&[u8]],
    lists: &[Vec<String>],
) -> (u64, Vec<(String, Taken)>) {
    let (mut silent, mut told) = (0, Vec::new());
    for row in rows {
        let (name, taken) = match Kept::of(row) {
            Some(Kept::Subscriber(mut entry, numbers)) => {
                let taken = intake.take_kept(filling, &mut entry, numbers, lists);
                let SubscriberEntry { name, .. } = entry;
                (name, taken.unwrap_or_else(|| Err("his lists are not in the file".into())))
            }
            Some(Kept::Unreadable(name, reason)) => (name, Err(reason)),
            None => continue,
        };
        match taken {
            Ok(notes) if notes.is_empty() => silent += 1,
            taken => {
                if taken.is_err() {
                    filling.shut_out(&name);
                }
                told.push((name, taken));
            }
        }
    }
    (silent, told)
}
