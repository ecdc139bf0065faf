//! What the header of a message says.

use crate::fields::Block;
use crate::values::Values;

pub use crate::fields::Field;

/// Somebody's name and address, as they stand in a header.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Mailbox {
    /// What people see.
    pub name: String,
    /// Where mail goes. Whatever stood there: it may be none.
    pub address: String,
}

impl Mailbox {
    /// The domain, in lower case; nothing if there is no address.
    #[must_use]
    pub fn domain(&self) -> Option<String> {
        let (local, domain) = self.address.rsplit_once('@')?;
        let domain = domain.trim().trim_end_matches('.');
        (!local.is_empty() && !domain.is_empty()).then(|| domain.to_lowercase())
    }
}

/// When a message was written, by what it says.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Stamp {
    /// It does not say.
    #[default]
    Missing,
    /// Nobody can read it.
    Unreadable,
    /// Seconds since 1970.
    At(i64),
}

/// The header of a message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Header<'m> {
    /// Its fields in their order, as far as they were read.
    pub fields: Vec<Field<'m>>,
    /// Fields that there are, read or not.
    pub count: usize,
    /// Lines that belong to no field.
    pub broken: usize,
    /// Who wrote it.
    pub from: Vec<Mailbox>,
    /// Who sent it.
    pub sender: Option<Mailbox>,
    /// To whom an answer goes.
    pub reply_to: Vec<Mailbox>,
    /// To whom it was written.
    pub to: Vec<Mailbox>,
    /// Who is to know of it.
    pub cc: Vec<Mailbox>,
    /// What it is about.
    pub subject: Option<String>,
    /// When it was written.
    pub date: Stamp,
    /// Its name, without brackets.
    pub message_id: Option<String>,
    /// The list that it came by, as it says.
    pub list_id: Option<String>,
    /// Whether it says how to be left alone.
    pub unsubscribe: bool,
    /// Whether it says that it answers another.
    pub answers: bool,
    /// Whether it says that it was sent by a machine.
    pub automatic: bool,
    /// The program that it was written with, as it says.
    pub mailer: Option<String>,
    /// How often it was received, as it says.
    pub hops: usize,
    /// When it was received last, by what stands there.
    pub received: Option<i64>,
    /// Fields that there are several of where one is allowed.
    pub duplicates: Vec<&'static str>,
    /// Whether there are octets in subject or addresses that are in no charset: RFC 5322 section 2.2 has ASCII, RFC 6532 UTF-8.
    pub raw: bool,
}

/// Fields that stand there once at most: RFC 5322 section 3.6, RFC 2045 section 4.
const SINGLETONS: [&str; 13] = [
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Bcc",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
];

impl<'m> Header<'m> {
    pub(crate) fn of(block: &Block<'m>, values: &mut Values<'_>) -> Self {
        let mut header = Self {
            fields: block.fields.clone(),
            count: block.count,
            broken: block.broken,
            ..Self::default()
        };
        header.duplicates = SINGLETONS
            .into_iter()
            .filter(|name| block.fields.iter().filter(|field| field.is(name)).nth(1).is_some())
            .collect();
        let people = |name: &str, values: &mut Values<'_>| {
            block.first(name).map(|field| values.mailboxes(field)).unwrap_or_default()
        };
        header.from = people("From", values);
        header.sender = people("Sender", values).into_iter().next();
        header.reply_to = people("Reply-To", values);
        header.to = people("To", values);
        header.cc = people("Cc", values);
        header.subject = block.first("Subject").map(|field| values.text(field));
        header.date = match block.first("Date").map(|field| values.date(field)) {
            None => Stamp::Missing,
            Some(None) => Stamp::Unreadable,
            Some(Some(at)) => Stamp::At(at),
        };
        header.message_id =
            block.first("Message-ID").and_then(|field| values.ids(field).into_iter().next());
        header.list_id = block.first("List-Id").map(|field| values.text(field));
        header.mailer = block
            .first("X-Mailer")
            .or_else(|| block.first("User-Agent"))
            .map(|field| values.text(field));
        header.unsubscribe = block.first("List-Unsubscribe").is_some();
        header.answers =
            block.first("In-Reply-To").is_some() || block.first("References").is_some();
        header.automatic = block
            .first("Auto-Submitted")
            .is_some_and(|field| !field.value.trim_ascii().eq_ignore_ascii_case(b"no"))
            || block.first("Precedence").is_some_and(|field| {
                let value = field.value.trim_ascii().to_ascii_lowercase();
                matches!(&value[..], b"bulk" | b"junk" | b"list" | b"auto_reply")
            });
        // RFC 5321 section 4.4: the date stands behind the last semicolon.
        header.received = block.first("Received").and_then(|field| {
            let at = memchr::memrchr(b';', field.value)?;
            values.date(Field { value: field.value.get(at + 1..)?, ..field })
        });
        header.hops = block.fields.iter().filter(|field| field.is("Received")).count();
        header.raw = ["From", "To", "Reply-To", "Subject"]
            .into_iter()
            .filter_map(|name| block.first(name))
            .any(|field| std::str::from_utf8(field.value).is_err());
        header
    }

    /// The first author.
    #[must_use]
    pub fn author(&self) -> Option<&Mailbox> {
        self.from.first()
    }

    /// The domain of the first author.
    #[must_use]
    pub fn author_domain(&self) -> Option<String> {
        self.author().and_then(Mailbox::domain)
    }

    /// The first field of that name.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<Field<'m>> {
        self.fields.iter().find(|field| field.is(name)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::block;
    use crate::limits::Limits;

    fn read(text: &str) -> Header<'_> {
        let limits = Limits::default();
        let mut values = Values::new(&limits);
        Header::of(&block(text.as_bytes(), 0, &limits, |_| false), &mut values)
    }

    #[test]
    fn facts() {
        let header = read(
            "Received: a; b; Fri, 21 Nov 1997 09:55:36 -0600\nReceived: b\nFrom: \"A, B\" <a@Example.ORG>\nReply-To: c@example.net\nTo: d@e.example, f@g.example\n\
             Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\nDate: Fri, 21 Nov 1997 09:55:06 -0600\nMessage-ID: <x@y>\n\
             List-Id: A list <l.example.org>\nList-Unsubscribe: <mailto:x>\nPrecedence: bulk\nIn-Reply-To: <z@y>\n\
             X-Mailer: Some program\n\n",
        );
        assert_eq!(header.author().unwrap().name, "A, B");
        assert_eq!(header.author_domain().as_deref(), Some("example.org"));
        assert_eq!((header.hops, header.to.len(), header.count), (2, 2, 13));
        assert_eq!(header.subject.as_deref(), Some("gr\u{fc}\u{df}e"));
        assert_eq!(header.date, Stamp::At(880_127_706));
        assert_eq!(header.received, Some(880_127_736));
        assert_eq!(header.message_id.as_deref(), Some("x@y"));
        assert_eq!(header.mailer.as_deref(), Some("Some program"));
        assert!(header.unsubscribe && header.automatic && header.answers && !header.raw);
        assert!(header.duplicates.is_empty());
        assert!(header.first("list-id").is_some());
    }

    #[test]
    fn what_is_missing_or_twice() {
        let header = read("X: y\n\n");
        assert_eq!((header.date, header.subject), (Stamp::Missing, None));
        assert!(header.from.is_empty() && header.message_id.is_none());
        let header = read("From: a@b\nfrom: c@d\nDate: x\nSubject: \nSubject: \nSubject: \n\n");
        assert_eq!(header.duplicates, ["From", "Subject"]);
        assert_eq!(header.date, Stamp::Unreadable);
        assert_eq!(header.author().unwrap().address, "a@b");
    }

    #[test]
    fn domains() {
        for (address, domain) in [
            ("a@b.example", Some("b.example")),
            ("\"a@b\"@C.example.", Some("c.example")),
            ("a", None),
            ("@b", None),
            ("a@", None),
            ("", None),
        ] {
            let mailbox = Mailbox { address: address.into(), ..Mailbox::default() };
            assert_eq!(mailbox.domain().as_deref(), domain, "{address}");
        }
    }
}
