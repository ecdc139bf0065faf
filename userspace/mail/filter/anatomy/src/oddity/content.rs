//! Oddities of text and pages.

use std::collections::HashSet;

use super::{Found, Oddity};
use crate::anatomy::Anatomy;
use crate::disguise::Disguise;
use crate::page::{Hiding, Page};

/// What newsletters hide so as to be shown in lists of messages has one or two lines; some repeat what telephones show.
const MUCH_HIDDEN: usize = 300;

/// An invoice has more letters, and a photograph of the children comes with fewer.
const LITTLE: usize = 40;

pub(super) fn look(anatomy: &Anatomy<'_>, found: &mut Found) {
    for page in &anatomy.pages {
        hidden(page, found);
        active(anatomy, page, found);
    }
    amount(anatomy, found);
    letters(&anatomy.disguise, found);
}

fn hidden(page: &Page, found: &mut Found) {
    let much = page.hidden_characters() > MUCH_HIDDEN;
    // A style sheet may hide what is for other screens. This hides from people.
    let tricks: usize = Hiding::ALL
        .iter()
        .zip(page.hiding)
        .filter(|(how, _)| {
            matches!(how, Hiding::Colour | Hiding::OffScreen | Hiding::Clipped | Hiding::Tiny)
        })
        .map(|(_, count)| count)
        .sum();
    if !page.attached && (much || tricks > MUCH_HIDDEN / 3) {
        let (how, _) = Hiding::ALL
            .iter()
            .zip(page.hiding)
            .max_by_key(|(_, count)| *count)
            .unwrap_or((&Hiding::Display, 0));
        found.add(
            Oddity::HiddenText,
            format_args!(
                "{} characters, most of them {}",
                page.hidden_characters(),
                how.describe()
            ),
        );
    }
    found.add_if(page.cut_words > 0, Oddity::CutWords);
}

fn active(anatomy: &Anatomy<'_>, page: &Page, found: &mut Found) {
    for form in page.forms.iter().filter(|form| form.fields > 0) {
        let action = if form.action.is_empty() { "a script" } else { &form.action };
        found.add(Oddity::FormInMail, action);
        if form.password {
            found.add(Oddity::AsksPassword, action);
        }
    }
    if !page.attached {
        found.add_if(page.scripts.count + page.scripts.handlers > 0, Oddity::ScriptInMail);
        if page.frames > 0 {
            found.add(Oddity::FrameInMail, page.loaded.first().map_or("", String::as_str));
        }
    }
    if let Some(target) = &page.refresh {
        found.add(Oddity::Refresh, target);
    }
    if page.scripts.smuggles() {
        let name = anatomy.parts.get(page.part).and_then(|part| part.name.as_deref());
        found.add(Oddity::Smuggling, name.unwrap_or("the message itself"));
    }
}

fn amount(anatomy: &Anatomy<'_>, found: &mut Found) {
    let shown: Vec<&Page> = anatomy.pages.iter().filter(|page| !page.attached).collect();
    let letters =
        |text: &str| text.chars().filter(|char| char.is_alphanumeric()).take(4_096).count();
    let text: usize = shown.iter().map(|page| letters(&page.visible)).sum();
    let images: usize =
        shown.iter().map(|page| page.images.iter().filter(|image| !image.pixel).count()).sum();
    let octets: usize = shown.iter().map(|page| page.octets).sum();
    if !shown.is_empty() && text < LITTLE && images > 0 {
        found.add(Oddity::ImageOnly, "");
    } else if octets > 10_000 && text * 50 < octets {
        found.add(Oddity::LittleText, "");
    }
    if let [page, ..] = shown[..] {
        found.add_if(differ(&anatomy.plain, &page.visible), Oddity::TextsDiffer);
    }
}

/// Whether two texts have hardly a word in common. What is too short says nothing.
fn differ(plain: &str, page: &str) -> bool {
    let words = |text: &str| -> HashSet<String> {
        text.split(|char: char| !char.is_alphanumeric())
            .filter(|word| word.chars().nth(3).is_some())
            .take(500)
            .map(str::to_lowercase)
            .collect()
    };
    let (plain, page) = (words(plain), words(page));
    let fewest = plain.len().min(page.len());
    fewest >= 15 && plain.intersection(&page).count() * 10 < fewest
}

fn letters(letters: &Disguise, found: &mut Found) {
    // One may be an accident: programs leave soft hyphens and marks behind.
    found.add_if(letters.invisible_in_words > 4, Oddity::InvisibleLetters);
    found.add_if(letters.mixed > 1, Oddity::MixedScripts);
    found.add_if(letters.styled > 2, Oddity::StyledLetters);
    found.add_if(letters.spaced > 1, Oddity::SpacedLetters);
    found.add_if(letters.digits > 1, Oddity::DigitsForLetters);
    found.add_if(letters.directions > 0, Oddity::TurnedText);
    if let Some(bait) = letters.baits.first() {
        found.add(Oddity::Bait, bait);
    }
}
