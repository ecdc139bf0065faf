//! Leases as the database has them. Who has what is told by two tables: leases are offers, and what was told of them;
//! sessions that are open are the truth, whatever a lease says.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use muralla_database::{DatabaseError, Row, Value, Work, dialect};
use tracing::info;

use super::{hash, line_of, name_of, text_of};
use crate::addresses::Plan;
use crate::book::{Known, Moment, Who};
use crate::state::unix_now;
use crate::{Assigned, State};

/// Holds of a lease whose address an open session has, be it the lease's own or not: nobody else gets it, however long nothing
/// was heard of it. A session that its NAS may have made up has nothing.
pub(crate) const LIVES: &str = "(EXISTS (SELECT 1 FROM radius_session s WHERE s.state = 0 AND s.unproven = 0 AND s.address <> '' AND s.address = radius_lease.address) OR EXISTS (SELECT 1 FROM radius_session s WHERE s.state = 0 AND s.unproven = 0 AND s.prefix6 <> '' AND s.prefix6 = radius_lease.address) OR EXISTS (SELECT 1 FROM radius_session s WHERE s.state = 0 AND s.unproven = 0 AND s.delegated6 <> '' AND s.delegated6 = radius_lease.address))";

/// The number of this life of the server.
pub(super) async fn next_incarnation(state: &State) -> Result<i64, DatabaseError> {
    let mut work = state.inner.engine.write().await?;
    let now = dialect::now(&mut work).await?;
    work.execute(
        "INSERT INTO radius_server (name, incarnation, seen) VALUES ($1, 1, $2) ON CONFLICT (name) DO UPDATE SET incarnation = radius_server.incarnation + 1, seen = excluded.seen",
        vec![state.server().into(), now.into()],
    )
    .await?;
    let incarnation = work
        .number(
            "SELECT incarnation FROM radius_server WHERE name = $1",
            vec![state.server().into()],
        )
        .await?;
    work.commit().await?;
    info!(server = state.server(), incarnation, at = unix_now(), "this server has joined");
    Ok(incarnation)
}

/// Up to when the database knows everything that any server was told.
#[derive(Clone, Debug)]
pub(crate) struct Horizon {
    /// In seconds since 1970 by the database's clock.
    pub(crate) until: i64,
    /// The server that has told least, and when it was last heard of.
    pub(crate) last: Option<(String, i64)>,
}

/// Up to when the database knows everything that any server was told: what has ended after that may have been renewed, or
/// begun, by a record that still lies in a journal. A server is waited for until it is back or forgotten: nobody else knows
/// what it was told.
pub(crate) async fn heard_until(work: &mut Work, now: i64) -> Result<Horizon, DatabaseError> {
    let row = work
        .row(
            "SELECT name, exported, seen FROM radius_server WHERE exported > 0 ORDER BY exported, seen LIMIT 1",
            Vec::new(),
        )
        .await?;
    let Some(row) = row else { return Ok(Horizon { until: now, last: None }) };
    Ok(Horizon { until: row.int(1)?.min(now), last: Some((row.text(0)?, row.int(2)?)) })
}

/// Keeps what there is of these leases for the transaction, in the order of their addresses. Whoever writes several leases at once
/// begins with this, and comes to the row of a server after them: so transactions never wait for each other in a circle,
/// which PostgreSQL ends after a second by breaking one of them off.
/// SQLite has one writer, and takes none of them.
pub(crate) async fn lock(
    work: &mut Work,
    addresses: impl IntoIterator<Item = String>,
) -> Result<(), DatabaseError> {
    let for_update = work.flavour().for_update();
    if for_update.is_empty() {
        return Ok(());
    }
    let addresses: BTreeSet<String> = addresses.into_iter().collect();
    let keys: Vec<Value> = addresses.into_iter().map(Value::from).collect();
    // The database's own order of texts may be another than that of the lists which these keys are cut into.
    let sql = format!(
        "SELECT address FROM radius_lease WHERE address IN ({{}}) ORDER BY address COLLATE \"C\"{for_update}"
    );
    work.each_in(&sql, &[], &keys, |_| Ok(())).await
}

/// The columns of sessions in which what a plan gives out may stand.
pub(super) fn columns(plan: &Plan) -> &'static [&'static str] {
    if plan.length() == 32 { &["address"] } else { &["prefix6", "delegated6"] }
}

/// A pool's name and the seconds that its leases live.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Of<'a> {
    pub(crate) pool: &'a str,
    pub(crate) plan: &'a Plan,
    pub(crate) lease_seconds: i64,
}

/// Gives of these what open sessions have to them, where no lease says who has it.
pub(crate) async fn adopt(
    state: &State,
    work: &mut Work,
    of: Of<'_>,
    addresses: &[Value],
    now: i64,
) -> Result<(), DatabaseError> {
    let mut held: BTreeMap<String, (i64, Vec<Value>)> = BTreeMap::new();
    for column in columns(of.plan) {
        let sql = format!(
            "SELECT {column}, id, user_name, nas, line, started FROM radius_session WHERE state = 0 AND unproven = 0 AND {column} <> '' AND {column} IN ({{}})"
        );
        work.each_in(&sql, &[], addresses, |row| {
            let (address, user, nas, port) =
                (row.text(0)?, row.text(2)?, row.text(3)?, row.text(4)?);
            let number = address.parse().ok().and_then(|assigned| of.plan.number(assigned));
            let (Some(number), started) = (number, row.int(5)?) else { return Ok(()) };
            let line = if port.is_empty() { 0 } else { line_of(&user, &nas, &port).cast_signed() };
            let values = vec![
                address.as_str().into(),
                of.pool.into(),
                text_of(of.plan, of.plan.block_of(number)).into(),
                user.into(),
                nas.into(),
                line.into(),
                Value::Bytes(Some(row.bytes(1)?)),
                now.into(),
                now.saturating_add(of.lease_seconds).into(),
                0i64.into(),
            ];
            // Of two that claim it, the later one.
            if held.get(&address).is_none_or(|(before, _)| *before < started) {
                held.insert(address, (started, values));
            }
            Ok(())
        })
        .await?;
    }
    let attached: Vec<String> = held.keys().cloned().collect();
    work.bulk(
        "INSERT INTO radius_lease (address, pool, block, user_name, nas, line, session, since, expires, released)",
        "ON CONFLICT (address) DO UPDATE SET pool = excluded.pool, block = excluded.block, user_name = excluded.user_name, nas = excluded.nas, line = excluded.line, session = excluded.session, since = CASE WHEN radius_lease.session = excluded.session THEN radius_lease.since ELSE excluded.since END, expires = excluded.expires, released = 0 WHERE radius_lease.released = 1 OR radius_lease.expires <= excluded.since",
        10,
        held.into_values().map(|(_, values)| values).collect(),
    )
    .await?;
    state.note_attached(attached);
    Ok(())
}

/// The leases in some blocks, by block. What was given back is forgotten.
pub(super) async fn leases_in(
    state: &State,
    work: &mut Work,
    of: Of<'_>,
    blocks: &[u64],
    now: i64,
    moment: Moment,
) -> Result<HashMap<u64, Vec<Known>>, DatabaseError> {
    let Of { plan, pool, .. } = of;
    let all = || blocks.iter().flat_map(|block| *block..=plan.last_of(*block));
    let numbers = |inside: bool| -> Vec<Value> {
        let some = all().filter(|number| plan.contains(*number) == inside);
        some.map(|number| plan.assigned(number).to_string().into()).collect()
    };
    lock(work, all().map(|number| plan.assigned(number).to_string())).await?;
    let (inside, outside) = (numbers(true), numbers(false));
    adopt(state, work, of, &inside, now).await?;
    let mut leases: HashMap<u64, Vec<Known>> = HashMap::new();
    // Of whatever pool it was leased: an operator may have moved the range. But of what has left the pool only what is its own
    // still: the rest is another's.
    let own = vec![pool.into()];
    for (whose, values, addresses) in [("", Vec::new(), inside), ("pool = $1 AND ", own, outside)] {
        let given_back =
            format!("DELETE FROM radius_lease WHERE {whose}released = 1 AND address IN ({{}})");
        work.execute_in(&given_back, &values, &addresses).await?;
        let held = format!(
            "SELECT address, user_name, line, expires, session FROM radius_lease WHERE {whose}address IN ({{}})"
        );
        work.each_in(&held, &values, &addresses, |row| {
            let assigned = row.text(0)?.parse::<Assigned>();
            if let Some(number) = assigned.ok().and_then(|assigned| plan.unit(assigned)) {
                let known = known(number, &row, now, moment)?;
                leases.entry(plan.block_of(number)).or_default().push(known);
            }
            Ok(())
        })
        .await?;
    }
    Ok(leases)
}

/// What a row says of a lease: user, line, end and session, after its address.
pub(super) fn known(
    number: u64,
    row: &Row,
    now: i64,
    moment: Moment,
) -> Result<Known, DatabaseError> {
    let (user, line, expires) = (row.text(1)?, row.int(2)?, row.int(3)?);
    let left = expires.saturating_sub(now).max(0).cast_unsigned();
    let line = (line != 0).then_some(line.cast_unsigned());
    Ok(Known {
        number,
        who: Who { user: hash(&[&user]), line },
        session: row.bytes_or_none(4)?.map_or(0, |session| name_of(&session)),
        until: moment.saturating_add(left.saturating_mul(1000)),
    })
}
