//! One spam in a thousand disguises: letters of other alphabets, letters that nobody sees, words out of nowhere, comments in HTML;
//! another sender, subject and host of links each time.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::Result;
use muralla_lab::random::Random;

use super::super::mx::{Mx, user};
use super::super::sender::{Crowd, Envelope, Heard, Pace, felt, taken};
use super::Scene;
use crate::bench::table::Row;

const VARIANTS: u64 = 1_000;
const FEW_VARIANTS: u64 = 100;

/// Variants after which is counted what came into Inboxes: so that it is seen whether the last ones fare as the first ones.
const BATCHES: u64 = 10;

pub(super) fn rows(scene: &Scene<'_>, quiet: &[Heard]) -> Result<Vec<Row>> {
    let all = if scene.quick { FEW_VARIANTS } else { VARIANTS };
    let batch = all / BATCHES;
    eprintln!("attacks: {all} variants of one spam");
    let mx = scene.mx()?;
    let mut told = Vec::new();
    let mut inboxes = vec![mx.in_inboxes()?];
    for number in 0..BATCHES {
        let first = number * batch;
        let pace = Pace {
            target: Mx::target(25),
            rate: 20.0,
            messages: Some(batch),
            at_once: 50,
            core: scene.ground.division.asking,
        };
        let write = move |number| envelope(first + number);
        told.extend(Crowd::start(scene.ground.lab.internet(), pace, write)?.wait()?);
        inboxes.push(mx.in_inboxes()?);
    }
    // What others feel is asked for apart: their letters would be counted among those in Inboxes.
    let honest = scene.honest()?;
    let pace = Pace {
        target: Mx::target(25),
        rate: 20.0,
        messages: Some(batch),
        at_once: 50,
        core: scene.ground.division.asking,
    };
    Crowd::start(scene.ground.lab.internet(), pace, move |number| envelope(all + number))?
        .wait()?;
    let heard = honest.stop()?;

    let came: Vec<u64> = inboxes
        .iter()
        .zip(inboxes.iter().skip(1))
        .map(|(before, after)| after.saturating_sub(*before))
        .collect();
    let share = |of: Option<&u64>| of.copied().unwrap_or_default() as f64 / batch as f64 * 100.0;
    let inbox = came.iter().sum::<u64>() as f64 / all as f64 * 100.0;
    let mut rows = vec![
        Row::plain("attacks.variants.taken", taken(&told) * 100.0, "%"),
        Row::plain("attacks.variants.inbox", inbox, "%"),
        Row::plain("attacks.variants.inbox.first_tenth", share(came.first()), "%"),
        Row::plain("attacks.variants.inbox.last_tenth", share(came.last()), "%"),
    ];
    rows.extend(felt("attacks.variants", &heard, Some(quiet)));
    Ok(rows)
}

fn envelope(number: u64) -> Envelope {
    Envelope {
        source: Ipv4Addr::new(198, 18, 150 + (number % 50) as u8, 11),
        from: format!("offer{number}@s{}.example", number % 200),
        to: user(number),
        letter: Arc::from(variant(number)),
    }
}

/// What all of them say.
const TEXT: [&str; 6] = [
    "Congratulations, you have been selected for a guaranteed loan without any credit check.",
    "Cheap Viagra and Cialis from our licensed pharmacy, no prescription needed.",
    "Lose weight fast with our miracle pills, satisfaction guaranteed or your money back.",
    "Act now, this limited offer expires tonight and only the first hundred customers win.",
    "Click the link below to claim your free prize and unsubscribe at any time.",
    "Earn thousands of dollars every week from home, no experience required.",
];

/// Letters that look like others (Unicode's confusables).
const LOOKALIKES: [(char, char); 10] = [
    ('a', 'а'),
    ('c', 'с'),
    ('e', 'е'),
    ('i', 'і'),
    ('o', 'о'),
    ('p', 'р'),
    ('s', 'ѕ'),
    ('x', 'х'),
    ('y', 'у'),
    ('j', 'ј'),
];

/// Letters that nobody sees: zero-width space, non-joiner and joiner, word joiner, soft hyphen.
const UNSEEN: [char; 5] = ['\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{ad}'];

/// The letter of a number: the same one in every run.
fn variant(number: u64) -> Vec<u8> {
    let mut random = Random::seeded(number.wrapping_mul(0x9e37_79b9).wrapping_add(17));
    let host = format!("{}-{}.example", word(&mut random), number % 97);
    let mut body = String::from("<html><body>");
    let mut lines: Vec<&str> = TEXT.to_vec();
    // Another order each time.
    for at in (1..lines.len()).rev() {
        lines.swap(at, below(&mut random, at as u64 + 1) as usize);
    }
    for line in lines {
        let _ = write!(body, "<p>{}</p>\r\n", disguised(line, &mut random, true));
        if below(&mut random, 3) == 0 {
            let words: Vec<String> = (0..6).map(|_| word(&mut random)).collect();
            let _ = write!(
                body,
                "<div style=\"font-size:1px;color:#fefefe\">{}</div>\r\n",
                words.join(" ")
            );
        }
    }
    let _ = write!(
        body,
        "<p><a href=\"http://{host}/{}\">{}</a></p></body></html>\r\n",
        word(&mut random),
        disguised("Claim your prize here", &mut random, true)
    );
    let subject = disguised("You won a guaranteed prize", &mut random, false);
    format!(
        "From: {} <offer{number}@s{}.example>\r\nTo: {}\r\nSubject: {subject}\r\n\
         Date: Sun, 1 Nov 2026 10:{:02}:{:02} +0000\r\nMessage-ID: <{:016x}@{host}>\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{body}",
        word(&mut random),
        number % 200,
        user(number),
        number / 60 % 60,
        number % 60,
        random.next_u64(),
    )
    .into_bytes()
}

/// A line as people still read it, and programs that look for words don't.
fn disguised(line: &str, random: &mut Random, html: bool) -> String {
    let mut text = String::new();
    for letter in line.chars() {
        let lookalike = LOOKALIKES.iter().find(|(plain, _)| *plain == letter.to_ascii_lowercase());
        match (below(random, 12), lookalike) {
            (0, Some((_, other))) => text.push(*other),
            (1, _) if letter.is_alphabetic() => {
                text.push(letter);
                let at = below(random, UNSEEN.len() as u64) as usize;
                text.extend(UNSEEN.get(at));
            }
            (2, _) if html && letter.is_alphabetic() => {
                let _ = write!(text, "{letter}<!-- {} -->", word(random));
            }
            _ => text.push(letter),
        }
    }
    text
}

/// A word that means nothing.
fn word(random: &mut Random) -> String {
    const SYLLABLES: [&str; 16] = [
        "ba", "ke", "lo", "mi", "nu", "ra", "se", "ti", "vo", "wa", "zen", "dor", "fil", "gan",
        "hul", "pes",
    ];
    let syllables = 2 + below(random, 3);
    (0..syllables)
        .map(|_| {
            let at = below(random, SYLLABLES.len() as u64) as usize;
            SYLLABLES.get(at).copied().unwrap_or_default()
        })
        .collect()
}

const fn below(random: &mut Random, limit: u64) -> u64 {
    random.next_u64() % limit
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn variants_are_the_same_in_every_run_and_none_is_like_another() {
        assert_eq!(variant(7), variant(7));
        let all: BTreeSet<Vec<u8>> = (0..200).map(variant).collect();
        assert_eq!(all.len(), 200);
        let text = String::from_utf8(variant(7)).unwrap();
        assert!(text.lines().all(|line| line.len() <= 998), "{text}");
        assert!(!text.contains("\n.") && text.ends_with("\r\n"));
        for part in ["text/html", "<!-- ", "href="] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn people_read_what_programs_do_not() {
        let mut random = Random::seeded(3);
        let line = TEXT[1];
        let hidden = disguised(line, &mut random, false);
        assert_ne!(hidden, line);
        let shown: String = hidden
            .chars()
            .filter(|letter| !UNSEEN.contains(letter))
            .map(|letter| {
                let plain = LOOKALIKES.iter().find(|(_, other)| *other == letter);
                plain.map_or(letter, |(plain, _)| *plain)
            })
            .collect();
        assert_eq!(shown.to_lowercase(), line.to_lowercase());
    }
}
