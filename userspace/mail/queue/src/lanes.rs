//! Destinations as the database has them: when something is due for one, and until when it is left alone.

use std::collections::{BTreeMap, BTreeSet};

use muralla_database::{DatabaseError, Value, Work};

/// What is to be written of destinations at the end of a transaction.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    /// When something is due, and until when nothing is tried.
    wanted: BTreeMap<String, (i64, i64)>,
    /// Those that are tried whatever was.
    revived: BTreeSet<String>,
}

impl Lanes {
    /// Something is due there.
    pub(crate) fn due(&mut self, name: &str, due: i64) {
        let lane = self.of(name);
        lane.0 = lane.0.min(due);
    }

    /// It is left alone until then.
    pub(crate) fn back_off(&mut self, name: &str, until: i64) {
        let lane = self.of(name);
        lane.1 = lane.1.max(until);
    }

    /// It is tried again at once.
    pub(crate) fn revive(&mut self, name: &str) {
        self.revived.insert(name.to_owned());
    }

    fn of(&mut self, name: &str) -> &mut (i64, i64) {
        self.wanted.entry(name.to_owned()).or_insert((i64::MAX, 0))
    }

    /// Writes it down, in the order of the names. After recipients and before bodies.
    pub(crate) async fn enter(self, work: &mut Work) -> Result<(), DatabaseError> {
        let revived: Vec<Value> = self.revived.iter().map(|name| name.as_str().into()).collect();
        if !revived.is_empty() {
            let sql = format!(
                "SELECT name FROM mail_queue_destination WHERE name IN ({{}}) ORDER BY name{}",
                work.flavour().for_update()
            );
            work.each_in(&sql, &[], &revived, |_| Ok(())).await?;
            let sql = "UPDATE mail_queue_destination SET backoff = 0 WHERE name IN ({})";
            work.execute_in(sql, &[], &revived).await?;
        }
        let rows = self.wanted.into_iter().map(|(name, (due, backoff))| {
            vec![name.into(), due.max(backoff).min(FAR).into(), backoff.into()]
        });
        work.bulk(
            "INSERT INTO mail_queue_destination (name, due, backoff)",
            "ON CONFLICT (name) DO UPDATE SET \
             backoff = CASE WHEN excluded.backoff > mail_queue_destination.backoff \
             THEN excluded.backoff ELSE mail_queue_destination.backoff END, \
             due = CASE \
             WHEN excluded.backoff > mail_queue_destination.backoff THEN \
             CASE WHEN mail_queue_destination.due > excluded.backoff \
             THEN CASE WHEN excluded.due < mail_queue_destination.due \
             THEN excluded.due ELSE mail_queue_destination.due END \
             ELSE excluded.backoff END \
             WHEN excluded.due >= mail_queue_destination.due THEN mail_queue_destination.due \
             WHEN excluded.due < mail_queue_destination.backoff THEN mail_queue_destination.backoff \
             ELSE excluded.due END",
            3,
            rows.collect(),
        )
        .await
    }
}

/// A time that doesn't come.
pub(crate) const FAR: i64 = i64::MAX / 4;

/// The due times of destinations that something was taken from: what comes next, under the lock of each. Those that nothing
/// waits for any more go. Tells those that still have something due.
pub(crate) async fn settle(
    work: &mut Work,
    names: &BTreeSet<String>,
    now: i64,
) -> Result<BTreeSet<String>, DatabaseError> {
    let keys: Vec<Value> = names.iter().map(|name| name.as_str().into()).collect();
    let mut backoffs = BTreeMap::new();
    let sql = format!(
        "SELECT name, backoff FROM mail_queue_destination WHERE name IN ({{}}) ORDER BY name{}",
        work.flavour().for_update()
    );
    work.each_in(&sql, &[], &keys, |row| {
        backoffs.insert(row.text(0)?, row.int(1)?);
        Ok(())
    })
    .await?;
    // A question of its own: it sees what those committed whose lock was waited for.
    let mut next = BTreeMap::new();
    let sql = "SELECT name, (SELECT min(due) FROM mail_queue_recipient WHERE destination = name AND state = 0) \
               FROM mail_queue_destination WHERE name IN ({})";
    work.each_in(sql, &[], &keys, |row| {
        next.insert(row.text(0)?, row.int_or_none(1)?);
        Ok(())
    })
    .await?;
    let (mut rows, mut gone, mut more) = (Vec::new(), Vec::new(), BTreeSet::new());
    for (name, backoff) in backoffs {
        match next.get(&name).copied().flatten() {
            None if backoff <= now => gone.push(Value::from(name)),
            due => {
                let due = due.unwrap_or(backoff).max(backoff);
                rows.push(vec![name.as_str().into(), due.into()]);
                if due <= now {
                    more.insert(name);
                }
            }
        }
    }
    work.execute_in("DELETE FROM mail_queue_destination WHERE name IN ({})", &[], &gone).await?;
    work.bulk(
        "WITH change (lane, comes) AS (",
        ") UPDATE mail_queue_destination SET due = change.comes FROM change WHERE mail_queue_destination.name = change.lane",
        2,
        rows,
    )
    .await?;
    Ok(more)
}

#[cfg(test)]
mod tests;
