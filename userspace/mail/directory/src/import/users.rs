//! A table of mailboxes that are brought over together from another server.

use std::fmt;
use std::io::Read;

use csv::StringRecord;

use super::table::Table;

/// A mailbox of a table.
#[derive(Clone, Eq, PartialEq)]
pub struct User {
    /// The account here.
    pub account: String,
    /// Who it is there; the account's name if the table does not say.
    pub user: String,
    /// The password there, if the table has it.
    pub password: Option<String>,
    /// The line of the table.
    pub line: u64,
}

/// Why a table can't be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct UsersError {
    /// Which line.
    pub line: u64,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Debug for User {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?} for {:?}", self.user, self.account)
    }
}

/// Names of columns, for the account, the user and the password.
const COLUMNS: [&[&str]; 3] = [
    &["account", "name", "address", "email", "to"],
    &["user", "username", "login", "source", "from"],
    &["password", "cleartext"],
];

/// Reads a table. Its first line names the columns: `account`, and perhaps `user` and `password`. What parts them is a comma, a
/// semicolon or a tab, as in the first line.
///
/// # Errors
///
/// [`UsersError`], of the first line that can't be read.
pub fn read_users(input: impl Read) -> Result<Vec<User>, UsersError> {
    let wrong =
        |line: u64, reason: &dyn fmt::Display| UsersError { line, reason: reason.to_string() };
    let table = Table::read(input).map_err(|reason| wrong(1, &reason))?;
    let column = |names: &[&str]| {
        let mut headers = table.headers().iter();
        headers.position(|header| names.iter().any(|name| header.eq_ignore_ascii_case(name)))
    };
    let [account, user, password] = COLUMNS.map(column);
    let account = account
        .ok_or_else(|| wrong(1, &"it names the columns, and account has to be one of them"))?;
    let mut users = Vec::new();
    for (line, record) in table.records() {
        let record = record.map_err(|error| wrong(line, &error))?;
        let field = |at: Option<usize>| field(&record, at);
        let Some(account) = field(Some(account)) else {
            return Err(wrong(line, &"it names no account"));
        };
        let user = field(user).unwrap_or_else(|| account.clone());
        // A password may begin or end with a blank.
        let password = password.and_then(|at| record.get(at)).filter(|text| !text.is_empty());
        let password = password.map(str::to_owned);
        users.push(User { account, user, password, line });
    }
    Ok(users)
}

fn field(record: &StringRecord, at: Option<usize>) -> Option<String> {
    let text = record.get(at?)?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables() {
        let user = |account: &str, user: &str, password: Option<&str>, line| User {
            account: account.to_owned(),
            user: user.to_owned(),
            password: password.map(str::to_owned),
            line,
        };
        for (text, users) in [
            (
                "account,user,password\nann@a.example,ann,x y \n bob@a.example ,,\"a,b\"\n",
                vec![
                    user("ann@a.example", "ann", Some("x y "), 2),
                    user("bob@a.example", "bob@a.example", Some("a,b"), 3),
                ],
            ),
            (
                "\u{feff}Login;Email\r\nann;ann@a.example\r\n",
                vec![user("ann@a.example", "ann", None, 2)],
            ),
            ("address\nann@a.example\n", vec![user("ann@a.example", "ann@a.example", None, 2)]),
            ("account\n", vec![]),
        ] {
            assert_eq!(read_users(text.as_bytes()).unwrap(), users, "{text}");
        }
        for (text, line) in [("", 1), ("user,password\na,b\n", 1), ("account,user\na,b\n,c\n", 3)] {
            assert_eq!(read_users(text.as_bytes()).unwrap_err().line, line, "{text}");
        }
        assert!(!format!("{:?}", user("a", "b", Some("secret"), 1)).contains("secret"));
    }
}
