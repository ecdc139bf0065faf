//! The grammar of header fields: addresses, encoded words, parameters, dates. It is mail-parser's, which is the best there is
//! and has panicked before; so that it is asked for one value at a time, bounded in length, and what it does there stays there.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mail_parser::HeaderValue;
use mail_parser::parsers::MessageStream;

use crate::fields::{Field, cut};
use crate::header::Mailbox;
use crate::limits::{Limits, Problem, Problems};

/// Mailboxes of a field that are kept: who writes to more is no person.
const MOST_MAILBOXES: usize = 100;

/// A type or a disposition, with its parameters: RFC 2045 section 5.1, RFC 2183, RFC 2231.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Parameterised {
    /// What stands before the slash, in lower case.
    pub(crate) kind: String,
    /// What stands behind it, in lower case, or nothing.
    pub(crate) subkind: String,
    parameters: Vec<(String, String)>,
}

impl Parameterised {
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Reads values, and remembers what went wrong.
#[derive(Debug)]
pub(crate) struct Values<'l> {
    pub(crate) limits: &'l Limits,
    pub(crate) problems: Problems,
}

impl<'l> Values<'l> {
    pub(crate) fn new(limits: &'l Limits) -> Self {
        Self { limits, problems: Problems::default() }
    }

    /// What `read` gives, or nothing if it panics.
    pub(crate) fn contained<T>(&mut self, read: impl FnOnce() -> T) -> Option<T> {
        // What a panic may leave half done is given away with it.
        let result = catch_unwind(AssertUnwindSafe(read)).ok();
        if result.is_none() {
            self.problems.add(Problem::Unreadable);
        }
        result
    }

    fn value<T>(
        &mut self,
        field: Field<'_>,
        parse: impl FnOnce(&mut MessageStream<'_>) -> T,
    ) -> Option<T> {
        let mut value = cut(field.value, self.limits.value).trim_ascii_end().to_vec();
        // The grammar ends at the end of a line, and nowhere else.
        value.push(b'\n');
        self.contained(|| parse(&mut MessageStream::new(&value)))
    }

    /// Text, its encoded words (RFC 2047) decoded.
    pub(crate) fn text(&mut self, field: Field<'_>) -> String {
        self.value(field, |stream| match stream.parse_unstructured() {
            HeaderValue::Text(text) => text.into_owned(),
            _ => String::new(),
        })
        .unwrap_or_default()
    }

    /// Mailboxes, those in groups, too.
    pub(crate) fn mailboxes(&mut self, field: Field<'_>) -> Vec<Mailbox> {
        self.value(field, |stream| match stream.parse_address() {
            HeaderValue::Address(list) => list
                .iter()
                .take(MOST_MAILBOXES)
                .map(|one| Mailbox {
                    name: one.name().unwrap_or_default().trim().to_owned(),
                    address: one.address().unwrap_or_default().trim().to_owned(),
                })
                .collect(),
            _ => Vec::new(),
        })
        .unwrap_or_default()
    }

    /// Seconds since 1970.
    pub(crate) fn date(&mut self, field: Field<'_>) -> Option<i64> {
        self.value(field, |stream| match stream.parse_date() {
            HeaderValue::DateTime(date) if date.is_valid() => Some(date.to_timestamp()),
            _ => None,
        })
        .flatten()
    }

    /// Names of messages, without their brackets.
    pub(crate) fn ids(&mut self, field: Field<'_>) -> Vec<String> {
        self.value(field, |stream| match stream.parse_id() {
            HeaderValue::Text(id) => vec![id.into_owned()],
            HeaderValue::TextList(ids) => ids.into_iter().map(|id| id.into_owned()).collect(),
            _ => Vec::new(),
        })
        .unwrap_or_default()
    }

    /// A type or a disposition.
    pub(crate) fn parameterised(&mut self, field: Field<'_>) -> Option<Parameterised> {
        self.value(field, |stream| match stream.parse_content_type() {
            HeaderValue::ContentType(read) => Some(Parameterised {
                kind: read.ctype().trim().to_ascii_lowercase(),
                subkind: read.subtype().unwrap_or_default().trim().to_ascii_lowercase(),
                parameters: read
                    .attributes()
                    .unwrap_or_default()
                    .iter()
                    .map(|one| (one.name.to_ascii_lowercase(), one.value.trim().to_owned()))
                    .collect(),
            }),
            _ => None,
        })
        .flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(value: &str, read: impl FnOnce(&mut Values<'_>, Field<'_>) -> T) -> T {
        let limits = Limits::default();
        let mut values = Values::new(&limits);
        let read = read(&mut values, Field { name: b"X", value: value.as_bytes() });
        assert!(values.problems.is_empty());
        read
    }

    #[test]
    fn text() {
        for (value, expected) in [
            ("", ""),
            (" \r\n", ""),
            (" plain text\r\n", "plain text"),
            (" folded\r\n text\r\n", "folded text"),
            (" =?utf-8?q?gr=C3=BC=C3=9Fe?= all\r\n", "gr\u{fc}\u{df}e all"),
            (" =?iso-8859-1?b?Z3L832U=?=", "gr\u{fc}\u{df}e"),
            (" =?utf-8?q?two_?=\r\n =?utf-8?q?words?=\r\n", "two words"),
            (" =?broken?x?=", "=?broken?x?="),
        ] {
            assert_eq!(with(value, |values, field| values.text(field)), expected, "{value:?}");
        }
    }

    #[test]
    fn mailboxes() {
        let mailbox =
            |name: &str, address: &str| Mailbox { name: name.into(), address: address.into() };
        for (value, expected) in [
            ("", vec![]),
            (" a@example.org\r\n", vec![mailbox("", "a@example.org")]),
            (
                " A B <a@example.org>, c@example.org\r\n",
                vec![mailbox("A B", "a@example.org"), mailbox("", "c@example.org")],
            ),
            (" \"A, B\" <a@example.org>", vec![mailbox("A, B", "a@example.org")]),
            (
                " =?utf-8?q?J=C3=BCrgen?= <a@example.org>",
                vec![mailbox("J\u{fc}rgen", "a@example.org")],
            ),
            (
                " team: a@example.org, b@example.org;\r\n",
                vec![mailbox("", "a@example.org"), mailbox("", "b@example.org")],
            ),
        ] {
            assert_eq!(with(value, |values, field| values.mailboxes(field)), expected, "{value:?}");
        }
    }

    #[test]
    fn dates() {
        for (value, expected) in [
            (" Fri, 21 Nov 1997 09:55:06 -0600\r\n", Some(880_127_706)),
            (" 21 Nov 1997 15:55:06 GMT\r\n", Some(880_127_706)),
            (" Thu, 1 Jan 1970 00:00:00 +0000 (UTC)", Some(0)),
            (" yesterday\r\n", None),
            (" Fri, 99 Nov 1997 09:55:06 -0600\r\n", None),
            ("", None),
        ] {
            assert_eq!(with(value, |values, field| values.date(field)), expected, "{value:?}");
        }
    }

    #[test]
    fn types() {
        for (value, kind, name, expected) in [
            (" text/plain\r\n", "text/plain", "charset", None),
            (" TEXT/Html; Charset=\"UTF-8\"\r\n", "text/html", "charset", Some("UTF-8")),
            (" attachment; filename=a.txt\r\n", "attachment/", "filename", Some("a.txt")),
            (
                " attachment;\r\n filename*=UTF-8''gr%C3%BC%C3%9Fe.pdf\r\n",
                "attachment/",
                "filename",
                Some("gr\u{fc}\u{df}e.pdf"),
            ),
            (
                " attachment; filename*0=\"one \"; filename*1=\"two.exe\"\r\n",
                "attachment/",
                "filename",
                Some("one two.exe"),
            ),
            (
                " application/pdf; name=\"=?utf-8?q?gr=C3=BC=C3=9Fe.pdf?=\"\r\n",
                "application/pdf",
                "name",
                Some("gr\u{fc}\u{df}e.pdf"),
            ),
        ] {
            let read = with(value, |values, field| values.parameterised(field)).unwrap();
            assert_eq!(format!("{}/{}", read.kind, read.subkind), kind, "{value:?}");
            assert_eq!(read.parameter(name), expected, "{value:?}");
        }
        assert_eq!(with("\r\n", |values, field| values.parameterised(field)), None);
    }

    #[test]
    fn ids() {
        for (value, expected) in [
            (" <a@b>\r\n", vec!["a@b"]),
            (" <a@b>\r\n <c@d>\r\n", vec!["a@b", "c@d"]),
            ("", vec![]),
        ] {
            assert_eq!(with(value, |values, field| values.ids(field)), expected, "{value:?}");
        }
    }

    #[test]
    fn a_panic_is_a_problem() {
        let limits = Limits::default();
        let mut values = Values::new(&limits);
        assert_eq!(values.contained(|| 1), Some(1));
        assert!(values.problems.is_empty());
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let nothing = values.contained(|| Option::<u8>::None.unwrap());
        std::panic::set_hook(hook);
        assert_eq!(nothing, None);
        assert!(values.problems.has(Problem::Unreadable));
    }
}
