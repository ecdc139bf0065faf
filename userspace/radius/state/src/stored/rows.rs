//! Rows of the tables, as entries and the other way round.

use std::net::IpAddr;

use ipnet::IpNet;
use muralla_database::{DatabaseError, Row, Value};

use crate::entries::{items, lines};
use crate::{Hidden, NasEntry, ProfileEntry, SubscriberEntry};

pub(crate) const SUBSCRIBER: &str = "SELECT name, credential, profiles, disabled, not_before, not_after, credit_seconds, credit_bytes, simultaneous, check_items, reply_items, address, prefix6, delegated6, pool, pool6, delegated_pool6, note FROM radius_subscriber";
/// Holds of a subscriber who has nothing but a name, a credential and profiles.
pub(crate) const PLAIN: &str = "disabled = 0 AND check_items = '' AND reply_items = '' AND coalesce(not_before, not_after, credit_seconds, credit_bytes, simultaneous) IS NULL AND coalesce(address, prefix6, delegated6, pool, pool6, delegated_pool6) IS NULL";
pub(crate) const PROFILE: &str = "SELECT name, parents, check_items, reply_items, fall_through, simultaneous, pool, pool6, delegated_pool6, login_times, session_timeout, idle_timeout, interim, note FROM radius_profile";
pub(crate) const NAS: &str = "SELECT prefix, name, secret, next_secret, telco, relaxed, coa_port, huntgroups, note FROM radius_nas";

pub(super) const PUT_SUBSCRIBER: (&str, &str) = (
    "INSERT INTO radius_subscriber (name, credential, profiles, disabled, not_before, not_after, credit_seconds, credit_bytes, simultaneous, check_items, reply_items, address, prefix6, delegated6, pool, pool6, delegated_pool6, note)",
    "ON CONFLICT (name) DO UPDATE SET credential = excluded.credential, profiles = excluded.profiles, disabled = excluded.disabled, not_before = excluded.not_before, not_after = excluded.not_after, credit_seconds = excluded.credit_seconds, credit_bytes = excluded.credit_bytes, simultaneous = excluded.simultaneous, check_items = excluded.check_items, reply_items = excluded.reply_items, address = excluded.address, prefix6 = excluded.prefix6, delegated6 = excluded.delegated6, pool = excluded.pool, pool6 = excluded.pool6, delegated_pool6 = excluded.delegated_pool6, note = excluded.note",
);
/// The same out of an import: what FreeRADIUS does not have stays, and nobody is let in who was disabled here meanwhile.
pub(super) const PUT_IMPORTED: (&str, &str) = (
    PUT_SUBSCRIBER.0,
    "ON CONFLICT (name) DO UPDATE SET credential = excluded.credential, profiles = excluded.profiles, disabled = CASE WHEN radius_subscriber.disabled = 1 THEN 1 ELSE excluded.disabled END, not_after = excluded.not_after, simultaneous = excluded.simultaneous, check_items = excluded.check_items, reply_items = excluded.reply_items, address = excluded.address, prefix6 = excluded.prefix6, delegated6 = excluded.delegated6, pool = excluded.pool, pool6 = excluded.pool6, delegated_pool6 = excluded.delegated_pool6",
);
pub(super) const PUT_PROFILE: (&str, &str) = (
    "INSERT INTO radius_profile (name, parents, check_items, reply_items, fall_through, simultaneous, pool, pool6, delegated_pool6, login_times, session_timeout, idle_timeout, interim, note)",
    "ON CONFLICT (name) DO UPDATE SET parents = excluded.parents, check_items = excluded.check_items, reply_items = excluded.reply_items, fall_through = excluded.fall_through, simultaneous = excluded.simultaneous, pool = excluded.pool, pool6 = excluded.pool6, delegated_pool6 = excluded.delegated_pool6, login_times = excluded.login_times, session_timeout = excluded.session_timeout, idle_timeout = excluded.idle_timeout, interim = excluded.interim, note = excluded.note",
);
pub(super) const PUT_NAS: (&str, &str) = (
    "INSERT INTO radius_nas (prefix, name, secret, next_secret, telco, relaxed, coa_port, huntgroups, note)",
    "ON CONFLICT (prefix) DO UPDATE SET name = excluded.name, secret = excluded.secret, next_secret = excluded.next_secret, telco = excluded.telco, relaxed = excluded.relaxed, coa_port = excluded.coa_port, huntgroups = excluded.huntgroups, note = excluded.note",
);

pub(crate) fn subscriber_of(row: &Row) -> Result<SubscriberEntry, DatabaseError> {
    Ok(SubscriberEntry {
        name: row.text(0)?,
        credential: Hidden::new(row.text(1)?),
        profiles: items(&row.text(2)?),
        disabled: row.int(3)? != 0,
        not_before: row.int_or_none(4)?,
        not_after: row.int_or_none(5)?,
        credit_seconds: row.int_or_none(6)?,
        credit_bytes: row.int_or_none(7)?,
        simultaneous: row.int_or_none(8)?.map(small).transpose()?,
        check: items(&row.text(9)?),
        reply: items(&row.text(10)?),
        address: parsed("address", row.text_or_none(11)?)?,
        prefix6: parsed("prefix6", row.text_or_none(12)?)?,
        delegated6: parsed("delegated6", row.text_or_none(13)?)?,
        pool: row.text_or_none(14)?,
        pool6: row.text_or_none(15)?,
        delegated_pool6: row.text_or_none(16)?,
        note: row.text_or_none(17)?,
    })
}

/// A subscriber of whom [`PLAIN`] holds, out of his name, credential and profiles.
pub(crate) fn plain_subscriber_of(row: &Row) -> Result<SubscriberEntry, DatabaseError> {
    Ok(SubscriberEntry {
        name: row.text(0)?,
        credential: Hidden::new(row.text(1)?),
        profiles: items(&row.text(2)?),
        ..SubscriberEntry::default()
    })
}

pub(super) fn subscriber_values(entry: &SubscriberEntry) -> Vec<Value> {
    vec![
        entry.name.as_str().into(),
        entry.credential.reveal().into(),
        lines(&entry.profiles).into(),
        entry.disabled.into(),
        entry.not_before.into(),
        entry.not_after.into(),
        entry.credit_seconds.into(),
        entry.credit_bytes.into(),
        entry.simultaneous.map(i64::from).into(),
        lines(&entry.check).into(),
        lines(&entry.reply).into(),
        entry.address.map(|address| address.to_string()).into(),
        entry.prefix6.map(|prefix| prefix.trunc().to_string()).into(),
        entry.delegated6.map(|prefix| prefix.trunc().to_string()).into(),
        entry.pool.clone().into(),
        entry.pool6.clone().into(),
        entry.delegated_pool6.clone().into(),
        entry.note.clone().into(),
    ]
}

pub(crate) fn profile_of(row: &Row) -> Result<ProfileEntry, DatabaseError> {
    Ok(ProfileEntry {
        name: row.text(0)?,
        parents: items(&row.text(1)?),
        check: items(&row.text(2)?),
        reply: items(&row.text(3)?),
        fall_through: row.int(4)? != 0,
        simultaneous: row.int_or_none(5)?.map(small).transpose()?,
        pool: row.text_or_none(6)?,
        pool6: row.text_or_none(7)?,
        delegated_pool6: row.text_or_none(8)?,
        login_times: row.text_or_none(9)?,
        session_timeout: row.int_or_none(10)?.map(small).transpose()?,
        idle_timeout: row.int_or_none(11)?.map(small).transpose()?,
        interim: row.int_or_none(12)?.map(small).transpose()?,
        note: row.text_or_none(13)?,
    })
}

pub(super) fn profile_values(entry: &ProfileEntry) -> Vec<Value> {
    vec![
        entry.name.as_str().into(),
        lines(&entry.parents).into(),
        lines(&entry.check).into(),
        lines(&entry.reply).into(),
        entry.fall_through.into(),
        entry.simultaneous.map(i64::from).into(),
        entry.pool.clone().into(),
        entry.pool6.clone().into(),
        entry.delegated_pool6.clone().into(),
        entry.login_times.clone().into(),
        entry.session_timeout.map(i64::from).into(),
        entry.idle_timeout.map(i64::from).into(),
        entry.interim.map(i64::from).into(),
        entry.note.clone().into(),
    ]
}

pub(super) fn nas_of(row: &Row) -> Result<NasEntry, DatabaseError> {
    let prefix = row.text(0)?;
    // A single address is a prefix as well, when people write it by hand.
    let parsed = prefix.parse::<IpNet>().or_else(|_| prefix.parse::<IpAddr>().map(IpNet::from));
    Ok(NasEntry {
        prefix: parsed.map_err(|_| DatabaseError::Row(format!("{prefix:?} is no prefix")))?,
        name: row.text(1)?,
        secret: Hidden::new(row.text(2)?),
        next_secret: row.text_or_none(3)?.map(Hidden::new),
        telco: row.text_or_none(4)?,
        relaxed: row.int(5)? != 0,
        coa_port: small(row.int(6)?)?,
        groups: items(&row.text(7)?),
        note: row.text_or_none(8)?,
    })
}

pub(super) fn nas_values(entry: &NasEntry) -> Vec<Value> {
    vec![
        entry.prefix.trunc().to_string().into(),
        entry.name.as_str().into(),
        entry.secret.reveal().into(),
        entry.next_secret.as_ref().map(|secret| secret.reveal().to_owned()).into(),
        entry.telco.clone().into(),
        entry.relaxed.into(),
        i64::from(entry.coa_port).into(),
        lines(&entry.groups).into(),
        entry.note.clone().into(),
    ]
}

/// A number of the database in a smaller type; an operator's own SQL may hold anything.
pub(crate) fn small<T: TryFrom<i64>>(number: i64) -> Result<T, DatabaseError> {
    T::try_from(number).map_err(|_| DatabaseError::Row(format!("{number} is out of range")))
}

fn parsed<T: std::str::FromStr>(
    column: &'static str,
    text: Option<String>,
) -> Result<Option<T>, DatabaseError> {
    let parse = |text: String| {
        text.parse().map_err(|_| DatabaseError::Row(format!("{column} {text:?} is none")))
    };
    text.filter(|text| !text.is_empty()).map(parse).transpose()
}
