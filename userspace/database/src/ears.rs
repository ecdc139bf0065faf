//! Waiting until there may be something new in the database.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPool};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::Engine;

/// How long is waited where nobody says that there is something new.
const POLL: Duration = Duration::from_millis(250);

/// How long is waited where somebody does, because he might be mistaken; and for a connection to hear him by.
const CHECK: Duration = Duration::from_secs(5);

/// How long is waited for more after the first word of something new.
const GATHER: Duration = Duration::from_millis(20);

/// Waits for what PostgreSQL's triggers say on a channel (`LISTEN`, `NOTIFY`). SQLite says nothing: there, and as long as nobody
/// listens, a wait is 250 ms; otherwise it ends 20 ms after the first word, so that what is written together is read together,
/// and after 5 s without one, since a word can be lost with its connection.
#[derive(Debug)]
pub struct Ears {
    channel: &'static str,
    open: Option<Open>,
}

/// Why a wait has ended. In any case it is time to look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Woken {
    /// PostgreSQL said something, or the connection to it was lost, and with it perhaps what it said.
    Heard,
    /// What the caller gave was there.
    Nudged,
    /// It was long enough.
    Unheard,
}

impl Ears {
    /// Ears for a channel, which listen from the first wait on.
    #[must_use]
    pub const fn new(channel: &'static str) -> Self {
        Self { channel, open: None }
    }

    /// Waits until there may be something new, or `nudged` is there: the word of somebody in this process who has written
    /// himself, or [`std::future::pending`].
    ///
    /// While nobody listens yet, it begins to: what came before, nobody was told, so this wait is a short one, and does not look
    /// at `nudged`.
    pub async fn wait(&mut self, engine: &Engine, nudged: impl Future<Output = ()>) -> Woken {
        let Some(pool) = engine.postgres() else {
            return timeout(POLL, nudged).await.map_or(Woken::Unheard, |()| Woken::Nudged);
        };
        match &self.open {
            Some(open) if !open.task.is_finished() => {
                let word = async {
                    tokio::select! {
                        () = open.heard.notified() => Woken::Heard,
                        () = nudged => Woken::Nudged,
                    }
                };
                let Ok(woken) = timeout(CHECK, word).await else { return Woken::Unheard };
                sleep(GATHER).await;
                woken
            }
            _ => {
                let open = timeout(CHECK, Open::on(pool, self.channel)).await;
                self.open = open.ok().and_then(Result::ok);
                sleep(POLL).await;
                Woken::Unheard
            }
        }
    }

    /// Hangs up; the next wait listens anew. For whoever found that the database is away.
    pub fn close(&mut self) {
        self.open = None;
    }
}

/// Listens in a task of its own, so that no word is cut off in the middle.
#[derive(Debug)]
struct Open {
    heard: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Open {
    async fn on(pool: &PgPool, channel: &str) -> Result<Self, sqlx::Error> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(channel).await?;
        let heard = Arc::new(Notify::new());
        let says = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            // It ends with the connection, and with it perhaps some words were lost.
            while let Ok(Some(_)) = listener.try_recv().await {
                says.notify_one();
            }
            says.notify_one();
        });
        Ok(Self { heard, task })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}
