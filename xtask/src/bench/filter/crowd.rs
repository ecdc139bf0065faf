//! Several who ask at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow};
use muralla_lab::cpu;
use muralla_lab::namespace::Namespace;

use super::corpus::Known;

/// Has all messages asked about by so many at once, on a core, and gives the answers in the messages' order.
pub(super) fn ask<T: Send + 'static>(
    place: &Namespace,
    core: usize,
    askers: usize,
    messages: &[Known],
    ask: impl Fn(&Known) -> Result<T> + Send + Sync + 'static,
) -> Result<Vec<T>> {
    let shared = Arc::new(Shared {
        messages: messages.to_vec(),
        next: AtomicUsize::new(0),
        answers: Mutex::new(Vec::with_capacity(messages.len())),
        ask,
    });
    let threads: Vec<_> = (0..askers)
        .map(|_| {
            let shared = Arc::clone(&shared);
            place.thread("asker", move || {
                cpu::pin(0, core)?;
                shared.work()
            })
        })
        .collect::<Result<_>>()?;
    for thread in threads {
        thread.join().map_err(|_| anyhow!("a thread that asks panicked"))??;
    }
    let mut answers =
        std::mem::take(&mut *shared.answers.lock().unwrap_or_else(PoisonError::into_inner));
    answers.sort_by_key(|(number, _)| *number);
    Ok(answers.into_iter().map(|(_, answer)| answer).collect())
}

struct Shared<T, A> {
    messages: Vec<Known>,
    next: AtomicUsize,
    answers: Mutex<Vec<(usize, T)>>,
    ask: A,
}

impl<T, A: Fn(&Known) -> Result<T>> Shared<T, A> {
    fn work(&self) -> Result<()> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(known) = self.messages.get(number) else { return Ok(()) };
            let answer = (self.ask)(known)
                .with_context(|| format!("asking about {}", known.path.display()))?;
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.push((number, answer));
        }
    }
}
