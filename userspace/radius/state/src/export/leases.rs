//! What accounting tells of leases.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use muralla_database::{DatabaseError, Value, Work, dialect};

use crate::addresses::Plan;
use crate::book::MOST_CLAIMS;
use crate::credits::spelling;
use crate::leases::{Of, adopt, line_of, lock, text_of};
use crate::sessions::SessionState;
use crate::state::unix_now;
use crate::stored::{plan, readable_pools};
use crate::{Assigned, PoolEntry, State};

/// Something that a session has, or had if it has ended.
#[derive(Debug)]
struct Told {
    assigned: Assigned,
    session: Vec<u8>,
    is_open: bool,
    user: String,
    nas: String,
    /// What tells the line, hashed; 0 if nothing does.
    line: i64,
    /// In seconds since 1970 by this server's clock.
    updated: i64,
    started: i64,
}

/// Out of which pool something was leased, and its block.
#[derive(Clone, Debug)]
struct Place {
    pool: String,
    block: String,
}

/// Renews the leases of sessions that are open, and gives back those of sessions that have ended. One of which nothing was
/// heard for too long may go on: its lease lasts as long as it lasts.
pub(super) async fn write_leases(
    state: &State,
    work: &mut Work,
    keys: &[Value],
) -> Result<(), DatabaseError> {
    // What is wrong with the others is told by who gives out of them.
    let (pools, _) = readable_pools(work).await?;
    let plans: Vec<(&PoolEntry, Plan)> =
        pools.iter().filter_map(|pool| Some((pool, plan(pool).ok()?))).collect();
    if plans.is_empty() {
        return Ok(());
    }
    let told = told_by(work, keys).await?;
    lock(work, told.iter().map(|told| told.assigned.to_string())).await?;
    let is_of = |assigned: Assigned| {
        plans.iter().find_map(|(pool, plan)| {
            let number = plan.number(assigned)?;
            let block = text_of(plan, plan.block_of(number));
            Some(Place { pool: pool.name.clone(), block })
        })
    };
    let mut places: HashMap<Assigned, Place> =
        told.iter().filter_map(|told| Some((told.assigned, is_of(told.assigned)?))).collect();
    let mut left: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for told in told.iter().filter(|told| !told.is_open) {
        if let Some(place) = places.get(&told.assigned) {
            left.entry(place.pool.clone()).or_default().push(told.assigned.to_string().into());
        }
    }
    find_strays(work, &told, &mut places).await?;
    let now = dialect::now(work).await?;
    let told = tell_apart(state, work, told, &places, now).await?;
    give_back(work, &told, &places, now).await?;
    renew(work, &told, &places, &pools, now).await?;
    // What was given on before its owner knew that it was free for that is its next session's.
    for (pool, plan) in &plans {
        if let Some(left) = left.get(&pool.name) {
            let of = Of { pool: &pool.name, plan, lease_seconds: pool.lease_seconds.into() };
            adopt(state, work, of, left, now).await?;
        }
    }
    Ok(())
}

/// What these sessions have or had.
async fn told_by(work: &mut Work, keys: &[Value]) -> Result<Vec<Told>, DatabaseError> {
    let mut told = Vec::new();
    work.each_in(
        "SELECT id, state, user_name, nas, line, address, prefix6, delegated6, updated, started FROM radius_session WHERE id IN ({})",
        &[],
        keys,
        |row| {
            let state = SessionState::of(row.int(1)?);
            if state == SessionState::Lost {
                return Ok(());
            }
            let (user, nas, port) = (row.text(2)?, row.text(3)?, row.text(4)?);
            let line = if port.is_empty() { 0 } else { line_of(&user, &nas, &port).cast_signed() };
            for column in 5..8 {
                let Ok(assigned) = row.text(column)?.parse::<Assigned>() else { continue };
                told.push(Told {
                    assigned,
                    session: row.bytes(0)?,
                    is_open: state == SessionState::Open,
                    user: user.clone(),
                    nas: nas.clone(),
                    line,
                    updated: row.int(8)?,
                    started: row.int(9)?,
                });
            }
            Ok(())
        },
    )
    .await?;
    Ok(told)
}

/// Of what is in no pool, finds what left one after it was leased.
async fn find_strays(
    work: &mut Work,
    told: &[Told],
    places: &mut HashMap<Assigned, Place>,
) -> Result<(), DatabaseError> {
    let strays = told.iter().filter(|told| !places.contains_key(&told.assigned));
    let strays: Vec<Value> = strays.map(|told| told.assigned.to_string().into()).collect();
    let sql = "SELECT address, pool, block FROM radius_lease WHERE address IN ({})";
    work.each_in(sql, &[], &strays, |row| {
        if let Ok(assigned) = row.text(0)?.parse() {
            places.insert(assigned, Place { pool: row.text(1)?, block: row.text(2)? });
        }
        Ok(())
    })
    .await
}

/// Tells sessions apart that may have what they say from those that nobody but their NAS knows of, and leaves the former. What
/// somebody was offered is in a lease of his; without one, as where the server that offered it died before it wrote that down, a
/// subscriber has it by his NAS's word, if he has not too much already.
async fn tell_apart(
    state: &State,
    work: &mut Work,
    told: Vec<Told>,
    places: &HashMap<Assigned, Place>,
    now: i64,
) -> Result<Vec<Told>, DatabaseError> {
    let claims = |told: &&Told| told.is_open && places.contains_key(&told.assigned);
    let addresses: Vec<Value> =
        told.iter().filter(claims).map(|told| told.assigned.to_string().into()).collect();
    if addresses.is_empty() {
        return Ok(told);
    }
    let mut leased: HashMap<Assigned, String> = HashMap::new();
    let sql = "SELECT address, user_name FROM radius_lease WHERE address IN ({})";
    work.each_in(sql, &[], &addresses, |row| {
        if let Ok(assigned) = row.text(0)?.parse() {
            leased.insert(assigned, row.text(1)?);
        }
        Ok(())
    })
    .await?;
    let is_proven = |told: &Told| leased.get(&told.assigned) == Some(&told.user);
    let users: BTreeSet<&str> = told
        .iter()
        .filter(claims)
        .filter(|told| !is_proven(told))
        .map(|told| told.user.as_str())
        .collect();
    let mut left = may_claim(state, work, &users, now).await?;
    let (mut proven, mut unproven) = (BTreeSet::new(), BTreeSet::new());
    for told in told.iter().filter(claims) {
        let left = left.get_mut(&told.user).filter(|left| **left > 0);
        let is_taken = match (is_proven(told), left) {
            (true, _) => true,
            (false, Some(left)) => {
                *left -= 1;
                true
            }
            (false, None) => false,
        };
        // One that has something beside it by right is no invention.
        if is_taken {
            proven.insert(told.session.clone());
        } else {
            unproven.insert(told.session.clone());
        }
    }
    unproven.retain(|session| !proven.contains(session));
    for (sessions, mark) in [(&unproven, 1i64), (&proven, 0)] {
        let keys: Vec<Value> = sessions.iter().map(|session| Value::from(&session[..])).collect();
        let sql = "UPDATE radius_session SET unproven = $1 WHERE unproven <> $1 AND id IN ({})";
        work.execute_in(sql, &[mark.into()], &keys).await?;
    }
    let stays = |told: &Told| !(told.is_open && unproven.contains(&told.session));
    Ok(told.into_iter().filter(stays).collect())
}

/// How many addresses these users may have by their NASes' words alone; those who may have none are left out.
async fn may_claim(
    state: &State,
    work: &mut Work,
    users: &BTreeSet<&str>,
    now: i64,
) -> Result<HashMap<String, usize>, DatabaseError> {
    let keys: Vec<Value> = users.iter().map(|user| Value::from(*user)).collect();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let mut left: HashMap<String, usize> = HashMap::new();
    // Most are entered in the letters that their sessions have, which is found at once.
    let folded = spelling(state.inner.options.fold_names, work.flavour());
    let columns = ["name", folded];
    let columns = columns.iter().take(if folded == "name" { 1 } else { 2 });
    for name in columns {
        let missing: Vec<Value> = users
            .iter()
            .filter(|user| !left.contains_key(**user))
            .map(|user| Value::from(*user))
            .collect();
        if missing.is_empty() {
            break;
        }
        let sql = format!("SELECT {name} FROM radius_subscriber WHERE {name} IN ({{}})");
        work.each_in(&sql, &[], &missing, |row| {
            left.insert(row.text(0)?, MOST_CLAIMS);
            Ok(())
        })
        .await?;
    }
    let sql = "SELECT user_name, count(*) FROM radius_lease WHERE released = 0 AND expires > $1 AND user_name IN ({}) GROUP BY user_name";
    work.each_in(sql, &[now.into()], &keys, |row| {
        if let Some(left) = left.get_mut(&row.text(0)?) {
            *left = left.saturating_sub(usize::try_from(row.int(1)?).unwrap_or(usize::MAX));
        }
        Ok(())
    })
    .await?;
    Ok(left)
}

async fn give_back(
    work: &mut Work,
    told: &[Told],
    places: &HashMap<Assigned, Place>,
    now: i64,
) -> Result<(), DatabaseError> {
    let is_leased = |told: &&Told| !told.is_open && places.contains_key(&told.assigned);
    let mut ended: Vec<(String, &Told)> =
        told.iter().filter(is_leased).map(|told| (told.assigned.to_string(), told)).collect();
    // In order, so that two servers which write the same ones never wait for each other in a circle.
    ended
        .sort_unstable_by(|(one, of), (other, its)| (one, &of.session).cmp(&(other, &its.session)));
    let wall = i64::try_from(unix_now()).unwrap_or(i64::MAX);
    for (address, told) in ended {
        let began = now.saturating_sub(wall.saturating_sub(told.started).max(0));
        // Somebody may have it again already, he himself included: only what is this session's, or was offered before it
        // began.
        work.execute(
            "UPDATE radius_lease SET released = 1, expires = 0 WHERE address = $1 AND released = 0 AND (session = $2 OR (session IS NULL AND user_name = $3 AND nas = $4 AND since <= $5))",
            vec![
                address.into(),
                Value::from(&told.session[..]),
                told.user.as_str().into(),
                told.nas.as_str().into(),
                began.into(),
            ],
        )
        .await?;
    }
    Ok(())
}

/// What was given back is whose session says so, even before its owner has written down to whom it was given; and it is his from
/// now on, so that what the owner writes then leaves it with the session.
async fn renew(
    work: &mut Work,
    told: &[Told],
    places: &HashMap<Assigned, Place>,
    pools: &[PoolEntry],
    now: i64,
) -> Result<(), DatabaseError> {
    // Of two that claim it, the later one.
    let mut held: BTreeMap<String, &Told> = BTreeMap::new();
    for told in told.iter().filter(|told| told.is_open) {
        let known = held.entry(told.assigned.to_string()).or_insert(told);
        if known.updated <= told.updated {
            *known = told;
        }
    }
    let rows = held.into_iter().filter_map(|(address, told)| {
        let Place { pool, block } = places.get(&told.assigned)?;
        let pool = pools.iter().find(|known| known.name == *pool)?;
        Some(vec![
            address.into(),
            pool.name.as_str().into(),
            block.as_str().into(),
            told.user.as_str().into(),
            told.nas.as_str().into(),
            told.line.into(),
            Value::from(&told.session[..]),
            now.into(),
            now.saturating_add(pool.lease_seconds.into()).into(),
            0i64.into(),
        ])
    });
    let rows = rows.collect();
    work.bulk(
        "INSERT INTO radius_lease (address, pool, block, user_name, nas, line, session, since, expires, released)",
        "ON CONFLICT (address) DO UPDATE SET pool = excluded.pool, block = excluded.block, user_name = excluded.user_name, nas = excluded.nas, line = CASE WHEN radius_lease.line <> 0 AND radius_lease.released = 0 AND radius_lease.user_name = excluded.user_name THEN radius_lease.line ELSE excluded.line END, session = excluded.session, since = CASE WHEN radius_lease.session = excluded.session THEN radius_lease.since ELSE excluded.since END, expires = CASE WHEN excluded.expires > radius_lease.expires THEN excluded.expires ELSE radius_lease.expires END, released = 0 WHERE radius_lease.user_name = excluded.user_name OR radius_lease.released = 1",
        10,
        rows,
    )
    .await
}
