//! A message, read once.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::brand::Brands;
use crate::charset;
use crate::disguise::Disguise;
use crate::fingerprint::{Fingerprint, Key};
use crate::header::Header;
use crate::kind::{Kind, Opening, opening};
use crate::limits::{Limits, Problem, Problems, prefix};
use crate::link::{self, Link, Place, Scheme};
use crate::oddity::{self, Finding};
use crate::page::Page;
use crate::part::{self, Part, Role, Work};
use crate::structure::{self, Room};
use crate::values::Values;

/// What a message is made of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Anatomy<'m> {
    /// Octets of it, read or not.
    pub size: usize,
    /// Its header.
    pub header: Header<'m>,
    /// Its parts, in their order; the first is the message itself.
    pub parts: Vec<Part<'m>>,
    /// The text of its plain parts.
    pub plain: String,
    /// Its pages, those that are attached, too.
    pub pages: Vec<Page>,
    /// Where it leads.
    pub links: Vec<Link>,
    /// What is disguised in its text.
    pub disguise: Disguise,
    /// The same of its subject and of the names of its authors.
    pub subject_disguise: Disguise,
    /// Parts whose text is in a charset that nobody knows.
    pub unknown_charsets: usize,
    /// What was not read.
    pub problems: Problems,
}

/// What else than the message its oddities depend on.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'s> {
    /// Seconds since 1970.
    pub now: i64,
    /// Whose names are looked for: those that are built in, and the provider's own.
    pub brands: &'s Brands,
}

impl<'m> Anatomy<'m> {
    /// Reads a message. Whatever it is, there is an answer, and it takes no more than the limits allow.
    #[must_use]
    pub fn read(message: &'m [u8], limits: &Limits) -> Self {
        // What could panic is contained where it is called; this is for what nobody thought of.
        catch_unwind(AssertUnwindSafe(|| Self::dissect(message, limits))).unwrap_or_else(|_| {
            let mut problems = Problems::default();
            problems.add(Problem::Unreadable);
            Self { size: message.len(), problems, ..Self::default() }
        })
    }

    fn dissect(message: &'m [u8], limits: &Limits) -> Self {
        let mut values = Values::new(limits);
        let bytes = prefix(message, limits.message);
        if bytes.len() < message.len() {
            values.problems.add(Problem::Message);
        }
        let mut room = Room { parts: limits.parts.max(1), messages: limits.messages };
        let found = structure::structure(bytes, 0, &mut values, &mut room);
        let header =
            found.first().map(|first| Header::of(&first.header, &mut values)).unwrap_or_default();
        let mut work = Work { values: &mut values, room, decoded: limits.decoded };
        let parts = part::parts(bytes, found, &mut work);
        let mut anatomy = Self { size: message.len(), header, parts, ..Self::default() };
        anatomy.read_texts(limits, &mut values);
        anatomy.find_links(limits, &mut values);
        anatomy.look_through(limits);
        anatomy.problems = values.problems;
        anatomy
    }

    fn read_texts(&mut self, limits: &Limits, values: &mut Values<'_>) {
        let mut html = limits.html;
        let mut tags = limits.tags;
        for (index, part) in self.parts.iter().enumerate() {
            let charset = part.charset.as_deref();
            if part.role == Role::Text {
                let room = limits.text.saturating_sub(self.plain.len());
                // A charset of a parser's.
                let (text, known) = values
                    .contained(|| charset::text(&part.content, charset, room))
                    .unwrap_or_default();
                self.unknown_charsets += usize::from(!known);
                if part.size() > room {
                    values.problems.add(Problem::Text);
                }
                if !self.plain.is_empty() && !self.plain.ends_with('\n') {
                    self.plain.push('\n');
                }
                self.plain.push_str(&text);
                continue;
            }
            if part.role != Role::Page && !is_page(part) {
                continue;
            }
            let (text, known) = values
                .contained(|| charset::text(&part.content, charset, html))
                .unwrap_or_default();
            self.unknown_charsets += usize::from(!known);
            let Some(mut page) = values.contained(|| Page::read(&text, limits, tags)) else {
                continue;
            };
            page.part = index;
            page.attached = part.role != Role::Page;
            for (met, problem) in [
                (page.cut || part.size() > html, Problem::Html),
                (page.text_cut, Problem::Text),
                (page.more, Problem::Links),
            ] {
                if met {
                    values.problems.add(problem);
                }
            }
            html = html.saturating_sub(page.octets);
            tags = tags.saturating_sub(page.tags);
            self.pages.push(page);
        }
    }

    fn find_links(&mut self, limits: &Limits, values: &mut Values<'_>) {
        let most = limits.links;
        let mut links = Vec::new();
        let mut more = false;
        let mut add = |written: &str, place, text: Option<&str>, base: Option<&str>| {
            if links.len() >= most {
                more = true;
                return;
            }
            let read = values.contained(|| Link::read(written, place, text, base, limits.link));
            // Neither places on the same page nor nothing at all lead anywhere.
            links.extend(read.filter(|link: &Link| {
                !link.written.is_empty()
                    && !(link.scheme == Scheme::None && link.written.starts_with('#'))
            }));
        };
        for page in &self.pages {
            let base = page.base.as_deref();
            for anchor in &page.anchors {
                add(&anchor.target, Place::Anchor, Some(&anchor.text), base);
            }
            for form in page.forms.iter().filter(|form| !form.action.is_empty()) {
                add(&form.action, Place::Form, None, base);
            }
            if let Some(refresh) = &page.refresh {
                add(refresh, Place::Refresh, None, base);
            }
        }
        // A page shows those that are no links, too, and mail programs make some of them.
        let bare = self.pages.iter().filter(|page| page.anchors.is_empty());
        let invitations = self.parts.iter().filter(|part| part.media == "text/calendar");
        let texts = [Cow::Borrowed(self.plain.as_str())]
            .into_iter()
            .chain(bare.map(|page| Cow::Borrowed(page.visible.as_str())))
            .chain(
                invitations.map(|part| String::from_utf8_lossy(prefix(&part.content, limits.text))),
            );
        for text in texts {
            for written in link::in_text(&text, most) {
                let whole = if written.starts_with("www.") {
                    format!("http://{written}").into()
                } else {
                    Cow::Borrowed(written)
                };
                add(&whole, Place::Text, None, None);
            }
        }
        for page in &self.pages {
            let base = page.base.as_deref();
            for loaded in &page.loaded {
                add(loaded, Place::Loaded, None, base);
            }
            for image in page.images.iter().filter(|image| image.remote) {
                add(&image.source, Place::Image, None, base);
            }
        }
        if more {
            values.problems.add(Problem::Links);
        }
        self.links = links;
    }

    fn look_through(&mut self, limits: &Limits) {
        let mut found = Disguise::of(&self.plain, limits);
        for page in self.pages.iter().filter(|page| !page.attached) {
            found.add(Disguise::of(&page.visible, limits));
        }
        self.disguise = found;
        let mut found = Disguise::of(self.header.subject.as_deref().unwrap_or_default(), limits);
        for author in self.header.from.iter().take(4) {
            found.add(Disguise::of(&author.name, limits));
        }
        self.subject_disguise = found;
    }

    /// What a reader sees: the pages that are shown, or the plain text if there is none.
    #[must_use]
    pub fn shown(&self) -> &str {
        self.pages
            .iter()
            .filter(|page| !page.attached)
            .map(|page| page.visible.as_str())
            .max_by_key(|visible| visible.len())
            .filter(|visible| !visible.is_empty())
            .unwrap_or(&self.plain)
    }

    /// Its header fields in their order, as far as they were read: names as written, values unfolded, encoded words decoded.
    #[must_use]
    pub fn decoded_fields(&self, limits: &Limits) -> Vec<(String, String)> {
        let mut values = Values::new(limits);
        let decoded =
            self.header.fields.iter().map(|field| {
                (String::from_utf8_lossy(field.name).into_owned(), values.text(*field))
            });
        decoded.collect()
    }

    /// The HTML that is shown, of all pages together, at most so many octets of it.
    #[must_use]
    pub fn markup(&self, most: usize) -> String {
        let mut markup = String::new();
        for page in self.pages.iter().filter(|page| !page.attached) {
            let Some(part) = self.parts.get(page.part) else { continue };
            let room = most.saturating_sub(markup.len());
            // A charset of a parser's.
            let read = || charset::text(&part.content, part.charset.as_deref(), room).0;
            markup.push_str(&catch_unwind(AssertUnwindSafe(read)).unwrap_or_default());
        }
        markup
    }

    /// What is offered to be opened.
    pub fn attachments(&self) -> impl Iterator<Item = &Part<'m>> {
        self.parts.iter().filter(|part| part.role == Role::Attachment && !part.is_embedded())
    }

    /// What it is known by.
    #[must_use]
    pub fn fingerprint(&self, key: &Key) -> Fingerprint {
        Fingerprint::of(self.shown(), &self.parts, key)
    }

    /// What is odd about it.
    #[must_use]
    pub fn findings(&self, surroundings: &Surroundings<'_>) -> Vec<Finding> {
        oddity::findings(self, surroundings)
    }
}

/// Whether a part is a page that a browser would open.
fn is_page(part: &Part<'_>) -> bool {
    part.role == Role::Attachment
        && (matches!(part.kind, Kind::Html | Kind::Svg)
            || matches!(
                part.media.as_str(),
                "text/html" | "application/xhtml+xml" | "image/svg+xml"
            )
            || matches!(part.kind, Kind::Text)
                && part.name.as_deref().and_then(opening) == Some(Opening::Page))
}

#[cfg(test)]
mod tests;
