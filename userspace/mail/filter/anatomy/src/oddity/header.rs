//! Oddities of headers.

use super::{Found, Oddity};
use crate::anatomy::{Anatomy, Surroundings};
use crate::brand::Borrowed;
use crate::header::{Header, Mailbox, Stamp};
use crate::limits::Problem;
use crate::link::registrable;

/// Clocks that go wrong, and zones that are taken for each other.
const AHEAD: i64 = 26 * 3600;

/// Queues give up after five days; whoever was away may be answered after weeks.
const BEHIND: i64 = 30 * 86_400;

/// Forwarded twice, through a list and two gateways.
const MANY_HOPS: usize = 25;

pub(super) fn look(anatomy: &Anatomy<'_>, surroundings: &Surroundings<'_>, found: &mut Found) {
    for problem in anatomy.problems.iter() {
        found.add(
            match problem {
                Problem::Unreadable => Oddity::Unreadable,
                Problem::Message => Oddity::TooLarge,
                Problem::Header => Oddity::HugeHeader,
                Problem::Depth => Oddity::TooDeep,
                Problem::Parts => Oddity::TooManyParts,
                Problem::Messages => Oddity::TooManyMessages,
                Problem::Decoded => Oddity::TooMuchContent,
                Problem::Html => Oddity::TooMuchHtml,
                Problem::Text => Oddity::TooMuchText,
                Problem::Links => Oddity::TooManyLinks,
            },
            "",
        );
    }
    let header = &anatomy.header;
    form(header, found);
    date(header, surroundings.now, found);
    author(header, surroundings, found);
    let letters = &anatomy.subject_disguise;
    // Titles are spaced out now and then; what is bait never is.
    let disguised = letters.invisible_in_words
        + letters.hyphens
        + letters.mixed
        + letters.styled
        + letters.baits.len();
    found.add_if(disguised > 0, Oddity::DisguisedSubject);
    found.add_if(letters.directions > 0, Oddity::ReversedSubject);
}

fn form(header: &Header<'_>, found: &mut Found) {
    if let Some(name) = header.duplicates.first() {
        found.add(Oddity::DuplicateField, name);
    }
    found.add_if(header.broken > 0, Oddity::BrokenHeader);
    found.add_if(header.raw, Oddity::RawHeader);
    match &header.message_id {
        None => found.add(Oddity::NoMessageId, ""),
        Some(id) if !id.contains('@') || id.contains(char::is_whitespace) => {
            found.add(Oddity::BadMessageId, id);
        }
        Some(_) => {}
    }
    // Groups without members are how programs write that nobody is told who else.
    let addressed = ["To", "Cc", "Bcc"].into_iter().any(|name| header.first(name).is_some());
    found.add_if(!addressed, Oddity::NoRecipient);
    let subject = header.subject.as_deref().unwrap_or_default();
    found.add_if(subject.trim().is_empty(), Oddity::NoSubject);
    if header.hops >= MANY_HOPS {
        found.add(Oddity::ManyHops, header.hops);
    }
    let reply = ["re:", "aw:", "sv:", "antw:", "rv:", "odp:", "vs:"].into_iter().any(|mark| {
        subject.get(..mark.len()).is_some_and(|start| start.eq_ignore_ascii_case(mark))
    });
    found.add_if(reply && !header.answers, Oddity::FalseReply);
}

fn date(header: &Header<'_>, now: i64, found: &mut Found) {
    match header.date {
        Stamp::Missing => found.add(Oddity::NoDate, ""),
        Stamp::Unreadable => found.add(Oddity::BadDate, ""),
        Stamp::At(at) => {
            let ahead = at.saturating_sub(now);
            if ahead > AHEAD {
                found.add(Oddity::FutureDate, days(ahead));
            } else if ahead < -BEHIND {
                found.add(Oddity::OldDate, days(-ahead));
            }
        }
    }
}

fn days(seconds: i64) -> String {
    match seconds / 86_400 {
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

fn author(header: &Header<'_>, surroundings: &Surroundings<'_>, found: &mut Found) {
    let Some(author) = header.author() else {
        found.add(Oddity::NoAuthor, "");
        return;
    };
    let Some(domain) = author.domain() else {
        let shown = if author.address.is_empty() { &author.name } else { &author.address };
        found.add(Oddity::BadAuthor, shown);
        return;
    };
    if header.from.len() > 1 && header.sender.is_none() {
        let addresses: Vec<_> = header.from.iter().map(|one| one.address.as_str()).collect();
        found.add(Oddity::SeveralAuthors, addresses.join(", "));
    }
    let brands = surroundings.brands;
    // Lists write for others, and say so.
    if header.list_id.is_none()
        && let Some(address) = address_in(&author.name)
        && owner(address.rsplit('@').next().unwrap_or_default()) != owner(&domain)
    {
        found.add(Oddity::AddressInName, format_args!("{address} instead of {}", author.address));
    }
    if let Some(brand) = brands.named(&author.name, &domain) {
        found.add(Oddity::BrandInName, format_args!("{brand} and writes from {domain}"));
    }
    let (shown, ascii) = both_forms(&domain);
    if let Some(Borrowed::Looks(name)) = brands.borrowed(&shown, &ascii) {
        found.add(Oddity::LookalikeAuthor, format_args!("{shown} like {name}"));
    }
    reply(header, author, &domain, found);
}

/// A domain as people see it and as it is in DNS.
fn both_forms(domain: &str) -> (String, String) {
    let (shown, _) = idna::domain_to_unicode(domain);
    let ascii = idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_owned());
    (shown, ascii)
}

fn reply(header: &Header<'_>, author: &Mailbox, domain: &str, found: &mut Found) {
    // Lists take the answers to themselves.
    if header.list_id.is_some() {
        return;
    }
    let elsewhere = header.reply_to.iter().find_map(|reply| {
        let there = reply.domain()?;
        (owner(&there) != owner(domain)).then_some((reply, there))
    });
    let Some((reply, there)) = elsewhere else { return };
    if is_freemail(&there) && !is_freemail(domain) {
        found.add(
            Oddity::ReplyToFreemail,
            format_args!("{}, answers go to {}", author.address, reply.address),
        );
    } else {
        found.add(Oddity::ReplyElsewhere, &reply.address);
    }
}

fn owner(domain: &str) -> String {
    let domain = domain.trim_end_matches(['.', '>', ')', '"', '\'']).to_lowercase();
    registrable(&domain).unwrap_or(&domain).to_owned()
}

/// A mail address in a text for people.
fn address_in(name: &str) -> Option<&str> {
    name.split([' ', '<', '>', '(', ')', '"', '\'', ',', ';', ':', '[', ']']).find(|word| {
        word.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty()
                && domain.contains('.')
                && !domain.contains('@')
                && domain.chars().all(|char| char.is_alphanumeric() || matches!(char, '.' | '-'))
        })
    })
}

/// Whether anybody can have a mailbox there.
fn is_freemail(domain: &str) -> bool {
    FREEMAIL.binary_search(&owner(domain).as_str()).is_ok()
}

/// In order.
const FREEMAIL: &[&str] = &[
    "126.com",
    "163.com",
    "aim.com",
    "aol.com",
    "att.net",
    "bk.ru",
    "comcast.net",
    "fastmail.com",
    "free.fr",
    "freenet.de",
    "gmail.com",
    "gmx.at",
    "gmx.ch",
    "gmx.com",
    "gmx.de",
    "gmx.net",
    "googlemail.com",
    "hotmail.co.uk",
    "hotmail.com",
    "hotmail.es",
    "hotmail.fr",
    "hotmail.it",
    "icloud.com",
    "inbox.lv",
    "inbox.ru",
    "laposte.net",
    "libero.it",
    "list.ru",
    "live.com",
    "mac.com",
    "mail.com",
    "mail.ru",
    "me.com",
    "msn.com",
    "naver.com",
    "onet.pl",
    "orange.fr",
    "outlook.com",
    "outlook.es",
    "outlook.fr",
    "proton.me",
    "protonmail.com",
    "qq.com",
    "rambler.ru",
    "rediffmail.com",
    "rocketmail.com",
    "seznam.cz",
    "sina.com",
    "t-online.de",
    "terra.com.br",
    "tutanota.com",
    "uol.com.br",
    "virgilio.it",
    "web.de",
    "wp.pl",
    "ya.ru",
    "yahoo.co.in",
    "yahoo.co.jp",
    "yahoo.co.uk",
    "yahoo.com",
    "yahoo.com.br",
    "yahoo.de",
    "yahoo.es",
    "yahoo.fr",
    "yahoo.it",
    "yandex.com",
    "yandex.ru",
    "yeah.net",
    "ymail.com",
    "zoho.com",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_order() {
        assert!(FREEMAIL.is_sorted());
        assert!(
            is_freemail("GMAIL.com.")
                && is_freemail("mail.yahoo.co.uk")
                && !is_freemail("example.org")
        );
    }

    #[test]
    fn addresses_in_names() {
        for (name, address) in [
            ("a@b.example", Some("a@b.example")),
            ("Support (a@b.example)", Some("a@b.example")),
            ("Jane @ Work", None),
            ("Jane", None),
            ("a@b", None),
            ("", None),
        ] {
            assert_eq!(address_in(name), address, "{name}");
        }
    }
}
