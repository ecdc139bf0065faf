//! Attachments: pictures and archives, which nothing makes shorter, tables, which become much shorter, and documents, which are a
//! little of both.

use std::fmt::Write as _;

use crate::random::Random;

use super::below;
use super::words::Words;

/// A file that is sent along.
#[derive(Debug)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) media_type: &'static str,
    pub(super) content: Vec<u8>,
}

impl File {
    pub(super) fn new(words: &Words, random: &mut Random) -> Self {
        let name = words.name(random);
        let kilobytes = 8 + below(random, 11).pow(2) * 2;
        match below(random, 10) {
            0..4 => picture(name, kilobytes, random),
            4..7 => document(name, kilobytes, words, random),
            _ => table(name, kilobytes, words, random),
        }
    }
}

fn picture(name: String, kilobytes: u64, random: &mut Random) -> File {
    let mut content =
        b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00".to_vec();
    // One in twenty is one of a few that many send.
    let mut noise = match below(random, 20) {
        0 => Random::seeded(1_000 + below(random, 5)),
        _ => Random::seeded(random.next_u64()),
    };
    fill(&mut content, kilobytes, &mut noise);
    content.extend_from_slice(b"\xff\xd9");
    File { name: format!("{name}.jpg"), media_type: "image/jpeg", content }
}

/// Text, and streams that are compressed already.
fn document(name: String, kilobytes: u64, words: &Words, random: &mut Random) -> File {
    let mut content = b"%PDF-1.7\n".to_vec();
    let end = (kilobytes << 10) as usize;
    let mut object = 1;
    while content.len() < end {
        let dictionary = format!(
            "{object} 0 obj\n<< /Type /Page /Parent 2 0 R /Resources << /Font << /F1 5 0 R >> >> \
             /MediaBox [0 0 595 842] /Contents {} 0 R /Title ({}) >>\nendobj\n{} 0 obj\n<< /Length 3072 \
             /Filter /FlateDecode >>\nstream\n",
            object + 1,
            String::from_utf8_lossy(&words.sentence(random)),
            object + 1
        );
        content.extend_from_slice(dictionary.as_bytes());
        fill(&mut content, 3, random);
        content.extend_from_slice(b"\nendstream\nendobj\n");
        object += 2;
    }
    File { name: format!("{name}.pdf"), media_type: "application/pdf", content }
}

fn table(name: String, kilobytes: u64, words: &Words, random: &mut Random) -> File {
    let mut text = String::from("number;date;customer;item;amount;price;sum;state\r\n");
    let end = (kilobytes << 10) as usize;
    let mut number = 10_000 + below(random, 80_000);
    while text.len() < end {
        let (amount, price) = (1 + below(random, 20), 100 + below(random, 9_900));
        let day = 1 + below(random, 28);
        // Writing to a string can't fail.
        let _ = write!(
            text,
            "{number};2026-11-{day:02};{};{} {};{amount};{price};{};paid\r\n",
            words.name(random),
            words.word(random),
            words.word(random),
            amount * price
        );
        number += 1;
    }
    File { name: format!("{name}.csv"), media_type: "text/csv", content: text.into_bytes() }
}

fn fill(content: &mut Vec<u8>, kilobytes: u64, random: &mut Random) {
    for _ in 0..kilobytes << 7 {
        content.extend_from_slice(&random.next_u64().to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_of_all_kinds() {
        let words = Words::new();
        let mut random = Random::seeded(5);
        let files: Vec<File> = (0..200).map(|_| File::new(&words, &mut random)).collect();
        for kind in ["image/jpeg", "application/pdf", "text/csv"] {
            let of_kind = files.iter().filter(|file| file.media_type == kind).count();
            assert!(of_kind > 30, "{of_kind} of {kind}");
        }
        let longest = files.iter().map(|file| file.content.len()).max().unwrap();
        assert!((150_000..220_000).contains(&longest), "{longest}");
    }
}
