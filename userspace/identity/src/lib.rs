//! One person who has access and mail: a subscriber of RADIUS, and the mail accounts that are his, with one password.
//!
//! Where subscribers and mail accounts lie in one database, an account that is linked with a subscriber has his credential, the same text
//! in both rows. The database itself sees to that: triggers carry a password that is changed on one side to the other, in the transaction
//! that changes it, whoever does it: a command, an import, a web application with SQL of its own. So nobody has to remember to, and
//! neither side needs to know the other's rows.
//!
//! - an account is linked when it comes to name a subscriber who is there, and his password is its from then on: it is the one that is
//!   written down in people's modems;
//! - what is changed later, on either side, is both's; keys of SCRAM-SHA-256 can't be made of a hash, so those of an account go when
//!   its password was changed on the other side, and are made anew when its owner logs in;
//! - `{ANYTHING}`, for access that is known by its line alone, is no account's password, and no account's password takes its place;
//! - a subscriber who is blocked is marked in the accounts, whose own rule says what that means;
//! - who is removed as a subscriber is no account's any more: another person may get his name.
//!
//! Where they lie in two databases there is no such thing, and an account's subscriber is a note, as is one who was not there when he was
//! named.

#![forbid(unsafe_code)]

use muralla_database::{DatabaseError, Engine, Flavour, Schema, Step, Work, migrate};

/// Most accounts of one subscriber that are told.
pub const MOST_ACCOUNTS: u32 = 100;

/// What keeps both alike.
const SCHEMA: Schema = Schema {
    table: "identity_schema",
    steps: &[Step {
        name: "one password of a subscriber and his mail accounts",
        tables: "",
        sqlite: include_str!("../migrations/0001_identity.sqlite.sql"),
        postgres: include_str!("../migrations/0001_identity.postgres.sql"),
    }],
};

/// A subscriber, as far as his mail is concerned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Subscriber {
    /// Whether nobody can log in as him: there is no password, or any will do.
    pub without_password: bool,
    /// Whether he is blocked.
    pub blocked: bool,
}

/// Has the database keep subscribers and mail accounts alike, if both lie in it; tells whether they do. To be done by whoever has made the
/// tables of either.
///
/// # Errors
///
/// [`DatabaseError`]: such as [`DatabaseError::Unfit`] where somebody else owns the other's tables.
pub async fn ensure(engine: &Engine) -> Result<bool, DatabaseError> {
    let mut work = engine.read().await?;
    let both = are_together(&mut work).await?;
    drop(work);
    if both {
        migrate(engine, &SCHEMA).await?;
    }
    Ok(both)
}

/// The subscriber of a name in the database of mail accounts; none if there is none, or subscribers lie elsewhere.
///
/// # Errors
///
/// [`DatabaseError`].
pub async fn subscriber(engine: &Engine, name: &str) -> Result<Option<Subscriber>, DatabaseError> {
    let mut work = engine.read().await?;
    if !are_together(&mut work).await? {
        return Ok(None);
    }
    let sql = "SELECT credential, disabled FROM radius_subscriber WHERE name = $1";
    let row = work.row(sql, vec![name.into()]).await?;
    row.map(|row| {
        let credential = row.text(0)?.to_ascii_uppercase();
        // As `muralla_credentials` reads them: `{ANY}` is `{ANYTHING}`.
        let opens_nothing = ["{NONE", "{ANY"].iter().any(|scheme| credential.starts_with(scheme));
        let without_password = credential.is_empty() || opens_nothing;
        Ok(Subscriber { without_password, blocked: row.int(1)? != 0 })
    })
    .transpose()
}

/// Names of mail accounts that have a subscriber's password, in their order, at most [`MOST_ACCOUNTS`]; none if mail accounts lie elsewhere.
///
/// # Errors
///
/// [`DatabaseError`].
pub async fn accounts(engine: &Engine, subscriber: &str) -> Result<Vec<String>, DatabaseError> {
    let mut work = engine.read().await?;
    if !are_together(&mut work).await? {
        return Ok(Vec::new());
    }
    let sql = "SELECT name FROM mail_account WHERE subscriber = $1 AND subscriber_state IS NOT NULL ORDER BY name LIMIT $2";
    named(&mut work, sql, subscriber).await
}

/// Names of mail accounts that say to be a subscriber's, whether or not his row is in the same database.
///
/// # Errors
///
/// [`DatabaseError`]; also if there are no mail accounts in it.
pub async fn noted(engine: &Engine, subscriber: &str) -> Result<Vec<String>, DatabaseError> {
    let mut work = engine.read().await?;
    let sql = "SELECT name FROM mail_account WHERE subscriber = $1 ORDER BY name LIMIT $2";
    named(&mut work, sql, subscriber).await
}

async fn named(
    work: &mut Work,
    sql: &'static str,
    subscriber: &str,
) -> Result<Vec<String>, DatabaseError> {
    let mut names = Vec::new();
    work.each(sql, vec![subscriber.into(), i64::from(MOST_ACCOUNTS).into()], |row| {
        names.push(row.text(0)?);
        Ok(())
    })
    .await?;
    Ok(names)
}

/// Whether both lie in this database, in one place of it, and mail accounts know of subscribers already.
async fn are_together(work: &mut Work) -> Result<bool, DatabaseError> {
    let sql = match work.flavour() {
        Flavour::Sqlite => {
            "SELECT count(*) FROM pragma_table_info('mail_account') WHERE name = 'subscriber_state' \
             AND EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'radius_subscriber')"
        }
        Flavour::Postgres => {
            "SELECT count(*) FROM pg_catalog.pg_class AS subscriber \
             JOIN pg_catalog.pg_class AS account ON account.relnamespace = subscriber.relnamespace \
             JOIN pg_catalog.pg_attribute AS state ON state.attrelid = account.oid \
             WHERE subscriber.oid = to_regclass('radius_subscriber') AND account.oid = to_regclass('mail_account') \
             AND state.attname = 'subscriber_state' AND NOT state.attisdropped"
        }
    };
    Ok(work.number(sql, Vec::new()).await? > 0)
}
