//! Samples on their way from the kernel to everybody who follows them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use muralla_abi::sample::Sample;
use serde::Serialize;
use tokio::sync::{broadcast, mpsc};
use tracing::warn;

use crate::admin::api::{SampleLine, Sighting};
use crate::daemon::Daemon;
use crate::descriptor::Readable;
use crate::edge::SampleSource;

/// Lines that a follower may be behind before it loses some.
const BEHIND: usize = 1024;

/// Samples that are taken out of the kernel at a time.
const BATCH: usize = 256;

/// Hands every line to every follower; nobody waits for a slow one.
#[derive(Clone, Debug)]
pub(crate) struct Hub(broadcast::Sender<Bytes>);

impl Default for Hub {
    fn default() -> Self {
        Self(broadcast::Sender::new(BEHIND))
    }
}

impl Hub {
    /// Whether anybody would see a line.
    pub(crate) fn is_followed(&self) -> bool {
        self.0.receiver_count() > 0
    }

    pub(crate) fn publish(&self, line: &SampleLine) {
        // No receiver is no error: followers come and go.
        let _ = self.0.send(encode(line));
    }

    /// Lines from now on.
    pub(crate) fn follow(&self) -> mpsc::Receiver<Bytes> {
        relay(self.0.subscribe(), |line| line, |lost| encode(&SampleLine::Lost(lost)))
    }
}

/// Hands what is broadcast on to one follower, as lines, and tells it what it was too slow for. The task ends with
/// the receiver.
pub(crate) fn relay<T: Clone + Send + 'static>(
    mut source: broadcast::Receiver<T>,
    line: impl Fn(T) -> Bytes + Send + 'static,
    lost: impl Fn(u64) -> Bytes + Send + 'static,
) -> mpsc::Receiver<Bytes> {
    use broadcast::error::RecvError;
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        loop {
            let line = tokio::select! {
                () = sender.closed() => return,
                next = source.recv() => match next {
                    Ok(next) => line(next),
                    Err(RecvError::Lagged(count)) => lost(count),
                    Err(RecvError::Closed) => return,
                },
            };
            if sender.send(line).await.is_err() {
                return;
            }
        }
    });
    receiver
}

/// One line of JSON.
pub(crate) fn encode(line: &impl Serialize) -> Bytes {
    match serde_json::to_vec(line) {
        Ok(mut text) => {
            text.push(b'\n');
            text.into()
        }
        // Only a map with odd keys, or a failing writer, can't be JSON.
        Err(_) => Bytes::new(),
    }
}

/// Moves samples from the walls that `sources` delivers, one after the other, to talkers and
/// followers. Ends when the daemon drops the sending side.
pub(crate) async fn pump(
    daemon: Arc<Daemon>,
    mut sources: mpsc::UnboundedReceiver<Box<dyn SampleSource>>,
) {
    let mut next = sources.recv().await;
    while let Some(source) = next {
        next = tokio::select! {
            newer = sources.recv() => newer,
            () = drain(&daemon, source) => sources.recv().await,
        };
    }
}

async fn drain(daemon: &Arc<Daemon>, mut source: Box<dyn SampleSource>) {
    if let Err(error) = try_drain(daemon, source.as_mut()).await {
        warn!(%error, "samples can't be waited for; drops are counted, but not shown");
    }
}

async fn try_drain(daemon: &Arc<Daemon>, source: &mut dyn SampleSource) -> std::io::Result<()> {
    let readable = Readable::new(source.as_fd().try_clone_to_owned()?)?;
    loop {
        let mut ready = readable.wait().await?;
        let mut batch = Vec::new();
        while batch.len() < BATCH {
            match source.next() {
                Some(sample) => batch.push(sample),
                None => {
                    ready.clear_ready();
                    break;
                }
            }
        }
        if batch.is_empty() {
            continue;
        }
        let daemon = Arc::clone(daemon);
        // Takes the wall's lock, for which a reload may make it wait.
        let _ = tokio::task::spawn_blocking(move || daemon.samples_seen(&batch)).await;
    }
}

/// Wall clock minus CLOCK_MONOTONIC: when the samples' time began.
pub(crate) fn boot() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(since_boot())
}

fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::try_from(now).unwrap_or_default()
}

/// Puts a sample into words.
pub(crate) fn describe(
    sample: &Sample,
    services: &[String],
    interfaces: &BTreeMap<u32, String>,
    boot: Duration,
) -> SampleLine {
    let drop = muralla_edge::samples::describe(sample, services, interfaces).on_clock(boot);
    SampleLine::Sample(Box::new(Sighting::new(sample, drop)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_follower_loses_lines_and_is_told_how_many() {
        let hub = Hub::default();
        assert!(!hub.is_followed());
        let mut slow = hub.follow();
        let total = BEHIND as u64 + 500;
        for number in 0..total {
            hub.publish(&SampleLine::Lost(number));
        }
        let mut lost = None;
        let mut seen = 0;
        while seen + lost.unwrap_or(0) < total {
            let line = slow.recv().await.unwrap();
            let SampleLine::Lost(number) = serde_json::from_slice(&line).unwrap() else { panic!() };
            match lost {
                // The first line tells of the loss, the others carry what is left.
                None => lost = Some(number),
                Some(first) => {
                    assert_eq!(number, first + seen);
                    seen += 1;
                }
            }
        }
        assert_eq!(lost, Some(500));
        drop(slow);
        for _ in 0..1000 {
            if !hub.is_followed() {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("the follower's task stayed");
    }
}
