//! Subscribers of a provider by number, as FreeRADIUS and others read them: as many as a benchmark wants, and the
//! same in every run.

use std::io::{self, Write};

/// So many subscribers, all with the same service and each with a password of its own, in clear text, as CHAP needs it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Subscribers {
    /// Numbers go up to here, which is excluded.
    pub count: u32,
}

/// What an accepted subscriber gets: names and values of attributes.
pub const REPLY: [(&str, &str); 3] =
    [("Service-Type", "Framed-User"), ("Framed-Protocol", "PPP"), ("Session-Timeout", "86400")];

impl Subscribers {
    /// A subscriber's name.
    pub fn name(number: u32) -> String {
        format!("user{number:07}")
    }

    /// That subscriber's password.
    pub fn password(number: u32) -> String {
        format!("pw-{:08x}", spread(number))
    }

    /// All of them, in the format of FreeRADIUS' `users` file.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn write_users(self, to: &mut impl Write) -> io::Result<()> {
        let items: Vec<String> =
            REPLY.iter().map(|(name, value)| format!("\t{name} = {value}")).collect();
        let items = items.join(",\n");
        for number in 0..self.count {
            let (name, password) = (Self::name(number), Self::password(number));
            writeln!(to, "{name} Cleartext-Password := \"{password}\"\n{items}\n")?;
        }
        Ok(())
    }

    /// Rows of `radcheck` (username, attribute, op, value), as PostgreSQL's COPY reads them.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn write_radcheck(self, to: &mut impl Write) -> io::Result<()> {
        (0..self.count).try_for_each(|number| {
            let (name, password) = (Self::name(number), Self::password(number));
            writeln!(to, "{name}\tCleartext-Password\t:=\t{password}")
        })
    }

    /// Rows of `radreply` (username, attribute, op, value), as PostgreSQL's COPY reads them.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn write_radreply(self, to: &mut impl Write) -> io::Result<()> {
        for number in 0..self.count {
            let name = Self::name(number);
            for (attribute, value) in REPLY {
                writeln!(to, "{name}\t{attribute}\t=\t{value}")?;
            }
        }
        Ok(())
    }
}

/// Different numbers for different numbers, all over the range: Knuth's multiplicative hash.
const fn spread(number: u32) -> u32 {
    number.wrapping_mul(2_654_435_761)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(Subscribers, &mut Vec<u8>) -> io::Result<()>) -> String {
        let mut text = Vec::new();
        write(Subscribers { count: 2 }, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn what_is_written() {
        let users = written(Subscribers::write_users);
        let second = "user0000001 Cleartext-Password := \"pw-9e3779b1\"\n\tService-Type = Framed-User,\n\
                      \tFramed-Protocol = PPP,\n\tSession-Timeout = 86400\n\n";
        assert!(users.ends_with(second), "{users}");
        let check = written(Subscribers::write_radcheck);
        assert!(check.ends_with("user0000001\tCleartext-Password\t:=\tpw-9e3779b1\n"), "{check}");
        let reply = written(Subscribers::write_radreply);
        assert_eq!(reply.lines().count(), 6);
        assert!(reply.ends_with("user0000001\tSession-Timeout\t=\t86400\n"), "{reply}");
    }
}
