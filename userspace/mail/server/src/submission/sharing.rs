//! What an account sends counts on all servers: each tells the database every few seconds what it took, and hears what there is.
//!
//! Nobody who sends waits for that, but for the first message of an account in a while. While the database is away, what was sent here
//! counts, and it is told later.

use std::time::Duration;

use muralla_mail_directory::{AccountId, Registry, Sent};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::limits::Limits;
use crate::clock;

/// How often the database is told.
const EVERY: Duration = Duration::from_secs(3);

/// How long who sends waits for an answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long the database may take to be told.
const LONGEST: Duration = Duration::from_secs(20);

/// The same at the end.
const FAREWELL: Duration = Duration::from_secs(5);

/// Rows that are told in one transaction.
const PIECE: usize = 1_000;

/// Finds out what an account sent elsewhere, and before this process began, unless that is known.
pub(super) async fn know(limits: &Limits, registry: &Registry, id: AccountId, now: i64) {
    let Some(asked) = limits.ask(id, now) else { return };
    match timeout(PATIENCE, registry.sent(id, now)).await {
        Ok(Ok(sent)) => limits.learn(id, asked, &sent, now),
        Ok(Err(error)) => {
            debug!(account = id.0, %error, "what was sent here alone counts for now");
            limits.unanswered(now);
        }
        Err(_) => limits.unanswered(now),
    }
}

/// Tells what was sent since the last time.
pub(super) async fn tell(limits: &Limits, registry: &Registry, now: i64) -> Result<(), String> {
    let untold = limits.untold(now);
    let (mut rest, mut outcome) = (untold.as_slice(), Ok(()));
    while let Some((piece, others)) = piece(rest) {
        rest = others;
        // Where one fails, the others need not wait for it as well.
        if outcome.is_err() {
            limits.not_told(piece);
            continue;
        }
        outcome = match timeout(LONGEST, registry.add_sent(piece, now)).await {
            Ok(Ok(sent)) => {
                limits.told(piece, &sent, now);
                Ok(())
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the database takes long".to_owned()),
        };
        // If it went away at the very end, some seconds' messages count twice.
        if outcome.is_err() {
            limits.not_told(piece);
        }
    }
    outcome
}

/// What is told in one transaction, and the rest: no account is in both. None if there is nothing.
fn piece(sent: &[Sent]) -> Option<(&[Sent], &[Sent])> {
    let first = sent.get(..sent.len().min(PIECE))?;
    let account = first.last()?.account;
    let more = sent.iter().skip(PIECE).take_while(|sent| sent.account == account);
    sent.split_at_checked(first.len() + more.count())
}

/// Tells it again and again until told to stop, and then once more.
pub(crate) async fn share(limits: &Limits, registry: &Registry, mut stop: watch::Receiver<bool>) {
    loop {
        // Not all servers at once.
        let pause = EVERY.mul_f64(0.8 + 0.4 * rand::random::<f64>());
        let stopped = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => true,
            () = sleep(pause) => false,
        };
        let telling = tell(limits, registry, clock::now());
        if stopped {
            let _ = timeout(FAREWELL, telling).await;
            return;
        }
        if let Err(error) = telling.await {
            debug!(%error, "what was sent here alone counts for now, and is told later");
        }
    }
}

#[cfg(test)]
mod tests {
    use muralla_mail_directory::{Options, SendingLimits};
    use muralla_test_database::{Database, on_both_engines};

    use super::*;

    const ANN: AccountId = AccountId(7);
    const NOW: i64 = 1_800_000_000;

    fn may(messages: u32) -> SendingLimits {
        SendingLimits { messages_per_hour: Some(messages), ..SendingLimits::default() }
    }

    async fn registry(database: &Database) -> Registry {
        Registry::open(database.location(), Options::default()).await.unwrap()
    }

    async fn two_processes_and_one_limit(database: Database) {
        let registry = registry(&database).await;
        let (one, other) = (Limits::default(), Limits::default());
        for _ in 0..3 {
            one.spend(ANN, &may(5), 1, NOW).unwrap();
        }
        tell(&one, &registry, NOW).await.unwrap();
        know(&other, &registry, ANN, NOW).await;
        other.spend(ANN, &may(5), 1, NOW).unwrap();
        other.spend(ANN, &may(5), 1, NOW).unwrap();
        assert!(other.spend(ANN, &may(5), 1, NOW).is_err());
        // What they send at the same moment may be more by that much, and is known within seconds.
        one.spend(ANN, &may(5), 1, NOW).unwrap();
        let (here, there) =
            tokio::join!(tell(&one, &registry, NOW + 3), tell(&other, &registry, NOW + 3));
        assert!(here.is_ok() && there.is_ok(), "{here:?} {there:?}");
        know(&one, &registry, ANN, NOW + 20).await;
        assert!(one.may(ANN, &may(6), 1, NOW + 20).is_err());
        assert!(one.may(ANN, &may(7), 1, NOW + 20).is_ok());
        tell(&one, &registry, NOW + 20).await.unwrap();
        let sql = "SELECT CAST(sum(messages) AS BIGINT) FROM mail_sent WHERE seconds = 300";
        assert_eq!(database.number(sql).await, 6);
    }

    async fn a_restart_forgives_nothing_that_was_told(database: Database) {
        let registry = registry(&database).await;
        let before = Limits::default();
        before.spend(ANN, &may(2), 9, NOW).unwrap();
        tell(&before, &registry, NOW).await.unwrap();
        before.spend(ANN, &may(2), 9, NOW).unwrap();
        let after = Limits::default();
        know(&after, &registry, ANN, NOW + 600).await;
        after.spend(ANN, &may(2), 9, NOW + 600).unwrap();
        assert!(after.spend(ANN, &may(2), 9, NOW + 600).is_err());
        // Within the hour it comes back.
        know(&after, &registry, ANN, NOW + 3_600).await;
        after.spend(ANN, &may(2), 9, NOW + 3_600).unwrap();
    }

    async fn many_are_told_in_pieces(database: Database) {
        let registry = registry(&database).await;
        let limits = Limits::default();
        for id in 0..1_200 {
            limits.spend(AccountId(id), &may(9), 1, NOW).unwrap();
        }
        tell(&limits, &registry, NOW).await.unwrap();
        assert_eq!(database.number("SELECT count(*) FROM mail_sent").await, 2_400);
        assert!(limits.untold(NOW).is_empty());
    }

    async fn a_database_that_is_away_keeps_nobody_from_sending(database: Database) {
        let gone = registry(&database).await;
        gone.close().await;
        let limits = Limits::default();
        know(&limits, &gone, ANN, NOW).await;
        limits.spend(ANN, &may(2), 1, NOW).unwrap();
        assert!(tell(&limits, &gone, NOW).await.is_err());
        limits.spend(ANN, &may(2), 1, NOW).unwrap();
        assert!(limits.spend(ANN, &may(2), 1, NOW).is_err(), "what was sent here counts");
        assert!(limits.ask(ANN, NOW + 15).is_none(), "it is left alone for a while");
        let back = registry(&database).await;
        tell(&limits, &back, NOW + 60).await.unwrap();
        assert_eq!(back.sent(ANN, NOW + 60).await.unwrap()[0].messages, 2, "once");
        assert!(limits.ask(ANN, NOW + 75).is_some());
    }

    on_both_engines!(
        two_processes_and_one_limit,
        a_restart_forgives_nothing_that_was_told,
        many_are_told_in_pieces,
        a_database_that_is_away_keeps_nobody_from_sending,
    );

    #[test]
    fn no_account_is_in_two_pieces() {
        let sent = |account, slot| Sent {
            account: AccountId(account),
            seconds: 300,
            slot,
            messages: 1,
            recipients: 1,
        };
        let mut all: Vec<Sent> = (0..999).map(|id| sent(id, 0)).collect();
        all.extend((0..5).map(|slot| sent(1_000, slot)));
        all.push(sent(1_001, 0));
        let (first, rest) = piece(&all).unwrap();
        assert_eq!((first.len(), rest.len()), (1_004, 1));
        assert_eq!(piece(rest).unwrap(), (rest, &[][..]));
        assert!(piece(&[]).is_none());
    }
}
