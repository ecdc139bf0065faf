//! Rows of bodies, parts and packs.

use std::collections::{BTreeMap, HashMap};

use muralla_database::{DatabaseError, Row, Value, Work, dialect};
use sqlx::AssertSqlSafe;

use crate::bodies::{BodyId, Located};
use crate::error::BodyError;
use crate::frame::PartHash;
use crate::packs::{PackId, Place, now};

/// Bytes of packs that rows name from now on, or no longer.
#[derive(Default)]
pub(crate) struct Live {
    packs: BTreeMap<PackId, Change>,
    parts: Vec<PartHash>,
}

#[derive(Default)]
struct Change {
    more: i64,
    end: u64,
}

impl Live {
    pub(crate) fn add(&mut self, place: Place) {
        let change = self.packs.entry(place.pack).or_default();
        change.more += i64::from(place.length);
        change.end = change.end.max(place.start + u64::from(place.length));
    }

    /// A part, which a list of keys may name twice.
    pub(super) fn add_once(&mut self, hash: PartHash, place: Place) {
        if !self.parts.contains(&hash) {
            self.parts.push(hash);
            self.add(place);
        }
    }

    pub(crate) fn remove(&mut self, place: Place) {
        self.packs.entry(place.pack).or_default().more -= i64::from(place.length);
    }

    /// Writes it down. Packs that are being emptied take nothing new: that is what a lock on their rows makes sure of.
    pub(crate) async fn enter(self, work: &mut Work) -> Result<(), BodyError> {
        let sql = format!(
            "INSERT INTO mail_pack (id, created, bytes, live, state, since) VALUES ($1, $2, $3, $4, 0, $2) ON CONFLICT (id) DO UPDATE SET live = mail_pack.live + excluded.live, {} WHERE mail_pack.state = 0",
            dialect::greater("mail_pack", "bytes")
        );
        for (pack, change) in self.packs {
            let entered = if change.end > 0 {
                let values = vec![
                    Value::from(pack.0),
                    Value::from(now()),
                    number(change.end),
                    Value::from(change.more),
                ];
                work.execute(AssertSqlSafe(sql.clone()), values).await?
            } else {
                work.execute(
                    "UPDATE mail_pack SET live = live + $2 WHERE id = $1",
                    vec![Value::from(pack.0), Value::from(change.more)],
                )
                .await?;
                1
            };
            if entered == 0 {
                return Err(BodyError::Stale);
            }
        }
        Ok(())
    }
}

/// Counts those who need bodies up or down.
pub(super) async fn count(
    work: &mut Work,
    changes: &[(BodyId, i64)],
    sign: i64,
) -> Result<(), BodyError> {
    let mut sums: BTreeMap<BodyId, i64> = BTreeMap::new();
    for (id, change) in changes {
        *sums.entry(*id).or_default() += change * sign;
    }
    let keys: Vec<Value> = sums.keys().map(|id| Value::from(id.0)).collect();
    let mut missing = sums.clone();
    let sql = format!(
        "SELECT id FROM mail_body WHERE id IN ({{}}) ORDER BY id{}",
        work.flavour().for_update()
    );
    work.each_in(&sql, &[], &keys, |row| {
        missing.remove(&BodyId(row.int(0)?));
        Ok(())
    })
    .await?;
    let rows = sums.iter().map(|(id, change)| vec![Value::from(id.0), Value::from(*change)]);
    work.bulk(
        "WITH change (id, more) AS (",
        ") UPDATE mail_body SET refs = mail_body.refs + change.more FROM change WHERE mail_body.id = change.id",
        2,
        rows.collect(),
    )
    .await?;
    match missing.keys().next() {
        Some(missing) => Err(BodyError::Missing(*missing)),
        None => Ok(()),
    }
}

pub(super) async fn locate(
    work: &mut Work,
    ids: &[BodyId],
) -> Result<HashMap<BodyId, Located>, BodyError> {
    let keys: Vec<Value> = ids.iter().map(|id| Value::from(id.0)).collect();
    let mut located = HashMap::with_capacity(ids.len());
    let mut with_parts: Vec<(BodyId, Vec<PartHash>)> = Vec::new();
    let sql =
        "SELECT id, pack, start, length, original, header, parts FROM mail_body WHERE id IN ({})";
    work.each_in(sql, &[], &keys, |row| {
        let id = BodyId(row.int(0)?);
        let found = Located {
            id,
            place: place(&row, 1)?,
            original: unsigned(row.int(4)?)?,
            header: unsigned(row.int(5)?)?,
            parts: Vec::new(),
        };
        if located.insert(id, found).is_none()
            && let Some(parts) = row.bytes_or_none(6)?
        {
            with_parts.push((id, part_hashes(&parts)?));
        }
        Ok(())
    })
    .await?;
    let keys: Vec<Value> = with_parts
        .iter()
        .flat_map(|(_, parts)| parts)
        .map(|hash| Value::from(hash.0.as_slice()))
        .collect();
    let mut places = HashMap::new();
    let sql = "SELECT hash, pack, start, length FROM mail_part WHERE hash IN ({})";
    work.each_in(sql, &[], &keys, |row| {
        let (hash, place) = part_row(&row)?;
        places.insert(hash, place);
        Ok(())
    })
    .await?;
    for (id, parts) in with_parts {
        if let Some(located) = located.get_mut(&id) {
            let parts = parts.into_iter();
            located.parts = parts.filter_map(|hash| Some((hash, *places.get(&hash)?))).collect();
        }
    }
    Ok(located)
}

/// The hashes in the column `parts`.
pub(crate) fn part_hashes(bytes: &[u8]) -> Result<Vec<PartHash>, DatabaseError> {
    bytes.chunks(32).map(part_hash).collect()
}

pub(crate) fn part_hash(bytes: &[u8]) -> Result<PartHash, DatabaseError> {
    let hash = <[u8; 32]>::try_from(bytes);
    hash.map(PartHash).map_err(|_| DatabaseError::Row("a part's hash has not 32 bytes".into()))
}

pub(super) fn part_row(row: &Row) -> Result<(PartHash, Place), DatabaseError> {
    Ok((part_hash(&row.bytes(0)?)?, place(row, 1)?))
}

/// A place in three columns from one on.
pub(crate) fn place(row: &Row, column: usize) -> Result<Place, DatabaseError> {
    let length = row.int(column + 2)?;
    Ok(Place {
        pack: PackId(row.int(column)?),
        start: unsigned(row.int(column + 1)?)?,
        length: u32::try_from(length)
            .map_err(|_| DatabaseError::Row(format!("a frame can't have {length} bytes")))?,
    })
}

fn unsigned(number: i64) -> Result<u64, DatabaseError> {
    u64::try_from(number).map_err(|_| DatabaseError::Row(format!("{number} is less than nothing")))
}

pub(crate) fn number(number: u64) -> Value {
    Value::from(i64::try_from(number).unwrap_or(i64::MAX))
}
