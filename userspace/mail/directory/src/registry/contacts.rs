//! Whom accounts know. Asked for in the database, message by message: all of them together are too many for memory.

use std::collections::BTreeMap;

use muralla_database::{DatabaseError, Value, dialect};
use muralla_mail_envelope::Address;

use super::patiently;
use crate::entries::{ContactEntry, ContactSource};
use crate::{AccountId, DirectoryError, Registry};

/// Most contacts of an account.
const MOST: i64 = 20_000;

/// Longest name of a contact in bytes.
const LONGEST_NAME: usize = 200;

impl Registry {
    /// Enters contacts of an account, new or instead of those of their addresses; one that a person entered is not replaced
    /// by one to whom mail was sent.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`]; if there is no such account, or it would have too many.
    pub async fn put_contacts(
        &self,
        account: AccountId,
        contacts: &[ContactEntry],
    ) -> Result<(), DirectoryError> {
        // One row for each address, in one order.
        let mut sorted: BTreeMap<String, &ContactEntry> = BTreeMap::new();
        for contact in contacts {
            let name = contact.name.as_deref().unwrap_or_default();
            if name.len() > LONGEST_NAME || name.contains(char::is_control) {
                return Err(DirectoryError::invalid(
                    format!("contact {}", contact.address),
                    "a name has at most 200 bytes and is in one line",
                ));
            }
            let slot = sorted.entry(key(&contact.address)).or_insert(contact);
            if contact.source == ContactSource::Person {
                *slot = contact;
            }
        }
        if sorted.is_empty() {
            return Ok(());
        }
        patiently!(self.put_contacts_once(account, &sorted))
    }

    async fn put_contacts_once(
        &self,
        account: AccountId,
        contacts: &BTreeMap<String, &ContactEntry>,
    ) -> Result<(), DirectoryError> {
        let mut work = self.engine.write().await?;
        let what = || format!("contacts of account {account}");
        let sql = "SELECT count(*) FROM mail_account WHERE id = $1";
        if work.number(sql, vec![account.0.into()]).await? == 0 {
            return Err(DirectoryError::Missing {
                kind: "account",
                name: account.to_string(),
                hint: "it was removed",
            });
        }
        let sql = "SELECT count(*) FROM mail_contact WHERE account = $1";
        let there = work.number(sql, vec![account.0.into()]).await?;
        if there.saturating_add(i64::try_from(contacts.len()).unwrap_or(i64::MAX)) > MOST {
            return Err(DirectoryError::invalid(
                what(),
                "an account has at most 20000: remove some",
            ));
        }
        let now = dialect::now(&mut work).await?;
        let rows = contacts
            .iter()
            .map(|(address, contact)| {
                vec![
                    account.0.into(),
                    address.as_str().into(),
                    contact.name.clone().into(),
                    contact.source.name().into(),
                    now.into(),
                ]
            })
            .collect();
        work.bulk(
            "INSERT INTO mail_contact (account, address, name, source, created)",
            "ON CONFLICT (account, address) DO UPDATE SET name = coalesce(excluded.name, mail_contact.name), \
             source = CASE WHEN excluded.source = 'person' THEN 'person' ELSE mail_contact.source END",
            5,
            rows,
        )
        .await?;
        self.commit(work).await
    }

    /// Takes a contact out; false if there was none.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn remove_contact(
        &self,
        account: AccountId,
        address: &Address,
    ) -> Result<bool, DirectoryError> {
        patiently!(self.remove_contact_once(account, address))
    }

    async fn remove_contact_once(
        &self,
        account: AccountId,
        address: &Address,
    ) -> Result<bool, DirectoryError> {
        let mut work = self.engine.write().await?;
        let sql = "DELETE FROM mail_contact WHERE account = $1 AND address = $2";
        let removed = work.execute(sql, vec![account.0.into(), key(address).into()]).await?;
        self.commit(work).await?;
        Ok(removed > 0)
    }

    /// Contacts of an account by their addresses, from the one after `after` on.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`].
    pub async fn contacts(
        &self,
        account: AccountId,
        after: &str,
        limit: u32,
    ) -> Result<Vec<ContactEntry>, DirectoryError> {
        let mut work = self.engine.read().await?;
        let mut contacts = Vec::new();
        let sql = "SELECT address, name, source, created FROM mail_contact WHERE account = $1 AND address > $2 \
                   ORDER BY address LIMIT $3";
        work.each(sql, vec![account.0.into(), after.into(), i64::from(limit).into()], |row| {
            let address = row.text(0)?;
            let wrong = |_| DatabaseError::Row(format!("contact {address:?} is no address"));
            contacts.push(ContactEntry {
                address: Address::parse(&address).map_err(wrong)?,
                name: row.text_or_none(1)?,
                source: ContactSource::of(&row.text(2)?),
                created: row.int(3)?,
            });
            Ok(())
        })
        .await?;
        Ok(contacts)
    }

    /// Which of these accounts know an address.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`]. While the database is away nobody knows.
    pub async fn who_knows(
        &self,
        address: &Address,
        accounts: &[AccountId],
    ) -> Result<Vec<AccountId>, DirectoryError> {
        let mut work = self.engine.read().await?;
        let keys: Vec<Value> = accounts.iter().map(|account| account.0.into()).collect();
        let mut knowing = Vec::new();
        let sql = "SELECT account FROM mail_contact WHERE address = $1 AND account IN ({})";
        work.each_in(sql, &[key(address).into()], &keys, |row| {
            knowing.push(AccountId(row.int(0)?));
            Ok(())
        })
        .await?;
        Ok(knowing)
    }
}

/// The form in which contacts are compared. The local part of somebody else's address could have capitals that mean
/// something, but people write them as they like, and nobody gives the two forms to two persons.
fn key(address: &Address) -> String {
    let folded = muralla_mail_envelope::LocalPart::new(&address.local.folded());
    match folded {
        Ok(local) => Address { local, domain: address.domain.clone() }.to_string(),
        Err(_) => address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_for_each_person() {
        for (address, expected) in [
            ("Bob@Example.ORG", "bob@example.org"),
            ("\"bob\"@example.org", "bob@example.org"),
            ("\"Bob B\"@example.org", "\"bob b\"@example.org"),
            ("x@[192.0.2.1]", "x@[192.0.2.1]"),
        ] {
            assert_eq!(key(&Address::parse(address).unwrap()), expected);
        }
    }
}
