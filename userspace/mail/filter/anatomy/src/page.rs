//! What a page of HTML shows, what it hides, where it leads and what it does.

use std::borrow::Cow;

use crate::disguise::is_invisible;
use crate::html::style::{Colour, Sheet, Size, Style};
use crate::html::tokens::{Tag, Token, Tokens};
use crate::limits::{Limits, head};

pub use crate::html::style::Hiding;

/// A part of HTML.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// Which part it is, by its place in the list of parts.
    pub part: usize,
    /// Whether it is an attachment, which is opened in a browser, and not what a mail program shows.
    pub attached: bool,
    /// What a reader sees.
    pub visible: String,
    /// What is there for programs alone.
    pub hidden: String,
    /// Characters that are hidden, by how they are, in the order of [`Hiding::ALL`]. Spaces and what nobody sees anyway do not
    /// count.
    pub hiding: [usize; Hiding::ALL.len()],
    /// Words that are cut by something hidden in the middle of them: shown as one, read as two.
    pub cut_words: usize,
    /// What its title says.
    pub title: String,
    /// What is told in the place of images.
    pub alternatives: String,
    /// Links, in their order.
    pub anchors: Vec<Anchor>,
    /// Forms.
    pub forms: Vec<Form>,
    /// Images, those behind text, too.
    pub images: Vec<Image>,
    /// What else is loaded or opened: frames, objects, scripts, style sheets from elsewhere.
    pub loaded: Vec<String>,
    /// Where all relative links begin.
    pub base: Option<String>,
    /// Where a reader is taken to without having done anything.
    pub refresh: Option<String>,
    /// Tags, start and end.
    pub tags: usize,
    /// Octets of HTML that were read.
    pub octets: usize,
    /// Comments.
    pub comments: usize,
    /// Scripts and event handlers.
    pub scripts: Scripts,
    /// Frames and objects.
    pub frames: usize,
    /// Links, forms or images that were not kept.
    pub(crate) more: bool,
    /// Whether it ended before its end: too long, or too many tags.
    pub(crate) cut: bool,
    /// Whether there was more text than is kept.
    pub(crate) text_cut: bool,
}

/// A link and what is seen of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Anchor {
    /// Where it leads, as it stands there.
    pub target: String,
    /// What is seen of it.
    pub text: String,
    /// Whether an image is in it.
    pub image: bool,
}

/// A form.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Form {
    /// Where what is filled in is sent to.
    pub action: String,
    /// Fields of it.
    pub fields: usize,
    /// Whether one of them is for a password.
    pub password: bool,
}

/// An image.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Image {
    /// Where it is loaded from.
    pub source: String,
    /// Whether it is loaded from elsewhere, and not brought along.
    pub remote: bool,
    /// Whether it is there to be loaded, and not to be seen.
    pub pixel: bool,
}

/// What scripts there are, and whether they build files out of what a mail can bring past a scanner.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Scripts {
    /// Elements with scripts.
    pub count: usize,
    /// Octets in them.
    pub octets: usize,
    /// Attributes with scripts.
    pub handlers: usize,
    /// Words that a page needs in order to make a file: `Blob`, `createObjectURL`, `msSaveBlob`, `.download`, `data:` in a link.
    pub makes_files: usize,
    /// Words that undo an encoding: `atob`, `fromCharCode`, `unescape`, `decodeURIComponent`, `eval`, `document.write`.
    pub decodes: usize,
    /// Words that take a reader elsewhere: `location`, `window.open`.
    pub leaves: usize,
    /// The longest piece of base64 or of hexadecimal digits, in octets.
    pub longest_encoded: usize,
}

impl Scripts {
    /// Whether a page brings a file in pieces that no scanner puts together.
    #[must_use]
    pub const fn smuggles(&self) -> bool {
        self.longest_encoded >= 512 && self.makes_files > 0 && self.decodes + self.makes_files > 1
            || self.longest_encoded >= 4_096 && self.decodes > 0
    }
}

impl Page {
    /// Reads a page. `tags` is how many tags may still be looked at.
    pub(crate) fn read(html: &str, limits: &Limits, tags: usize) -> Self {
        let read = head(html, limits.html);
        let mut reader = Reader::new(limits);
        reader.page.cut = read.len() < html.len();
        reader.page.octets = read.len();
        // Rules may stand behind what they are about.
        reader.sheet = sheet(read, limits);
        reader.background_is_known = !reader.sheet.paints_elsewhere;
        for token in Tokens::new(read, limits.attributes) {
            if reader.page.tags >= tags {
                reader.page.cut = true;
                break;
            }
            reader.token(token);
        }
        reader.close_anchor();
        reader.page
    }

    /// Images that are there to be loaded, and not to be seen: they tell that a message was opened.
    #[must_use]
    pub fn pixels(&self) -> usize {
        self.images.iter().filter(|image| image.pixel).count()
    }

    /// Characters that are hidden, in all ways.
    #[must_use]
    pub fn hidden_characters(&self) -> usize {
        self.hiding.iter().sum()
    }
}

fn sheet(html: &str, limits: &Limits) -> Sheet {
    let mut sheet = Sheet::default();
    let bytes = html.as_bytes();
    // Almost no mail of people has any; those need not be read twice.
    let any = memchr::memchr_iter(b'<', bytes).any(|at| {
        bytes.get(at + 1..at + 6).is_some_and(|name| name.eq_ignore_ascii_case(b"style"))
    });
    if !any {
        return sheet;
    }
    let mut inside = false;
    for token in Tokens::new(html, limits.attributes) {
        match token {
            Token::Start(tag) => inside = tag.name == "style",
            Token::Text(text) if inside => sheet.read(&text),
            _ => inside = false,
        }
    }
    sheet
}

/// What an element hands down to what is in it.
#[derive(Clone, Copy, Debug)]
struct Inherited {
    hidden: Option<Hiding>,
    visible: bool,
    font: f32,
    colour: Colour,
    background: Colour,
    preformatted: bool,
}

impl Inherited {
    /// How text that stands here is hidden.
    fn hiding(&self) -> Option<Hiding> {
        if self.hidden.is_some() {
            self.hidden
        } else if !self.visible {
            Some(Hiding::Visibility)
        } else if self.font < 2.0 {
            Some(Hiding::Tiny)
        } else if self.colour == Colour::Transparent {
            Some(Hiding::Opacity)
        } else if self.colour.vanishes_on(self.background) {
            Some(Hiding::Colour)
        } else {
            None
        }
    }
}

/// An element that is open.
#[derive(Debug)]
struct Open<'h> {
    name: Cow<'h, str>,
    inherited: Inherited,
}

/// Where the last visible character stands to what comes next.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Gap {
    #[default]
    None,
    Space,
    Line,
}

#[derive(Debug)]
struct Reader<'h, 'l> {
    page: Page,
    limits: &'l Limits,
    sheet: Sheet,
    background_is_known: bool,
    open: Vec<Open<'h>>,
    /// Elements that are open beyond the limit.
    deeper: usize,
    gap: Gap,
    hidden_gap: Gap,
    /// Whether something was hidden right behind a letter, with nothing between.
    hidden_in_word: bool,
    /// The link that is open, and where in the visible text it began.
    anchor: Option<(Anchor, usize)>,
    /// The element whose raw text comes next.
    raw: Raw,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Raw {
    #[default]
    None,
    Script,
    Style,
    Title,
    /// Shown where what it stands for is not.
    Other,
}

impl<'h, 'l> Reader<'h, 'l> {
    fn new(limits: &'l Limits) -> Self {
        Self {
            page: Page::default(),
            limits,
            sheet: Sheet::default(),
            background_is_known: true,
            open: Vec::new(),
            deeper: 0,
            gap: Gap::None,
            hidden_gap: Gap::None,
            hidden_in_word: false,
            anchor: None,
            raw: Raw::None,
        }
    }

    fn inherited(&self) -> Inherited {
        self.open.last().map_or(
            Inherited {
                hidden: None,
                visible: true,
                font: 16.0,
                colour: Colour::Known([0; 3]),
                background: if self.background_is_known {
                    Colour::Known([255; 3])
                } else {
                    Colour::Unknown
                },
                preformatted: false,
            },
            |open| open.inherited,
        )
    }

    fn token(&mut self, token: Token<'h>) {
        match token {
            Token::Text(text) => self.text(&text),
            Token::Start(tag) => {
                self.page.tags += 1;
                self.start(tag);
            }
            Token::End(name) => {
                self.page.tags += 1;
                self.raw = Raw::None;
                self.end(&name);
            }
            Token::Comment(_) => self.page.comments += 1,
        }
    }

    fn text(&mut self, text: &str) {
        match std::mem::take(&mut self.raw) {
            Raw::Script => {
                self.page.scripts.octets += text.len();
                self.script(text);
            }
            Raw::Style => {}
            Raw::Title => {
                push(&mut self.page.title, Gap::Space, text.trim(), 1_000);
            }
            Raw::None | Raw::Other => {
                let inherited = self.inherited();
                match inherited.hiding() {
                    Some(how) => self.hide(text, how),
                    None => self.show(text, inherited.preformatted),
                }
            }
        }
    }

    fn show(&mut self, text: &str, preformatted: bool) {
        for piece in text.split_inclusive(is_space) {
            let word = piece.trim_end_matches(is_space);
            if !word.is_empty() {
                if self.gap == Gap::None && self.hidden_in_word && starts_with_letter(word) {
                    self.page.cut_words += 1;
                }
                self.hidden_in_word = false;
                let all = push(&mut self.page.visible, self.gap, word, self.limits.text);
                self.page.text_cut |= !all;
                self.gap = Gap::None;
            }
            if word.len() < piece.len() {
                let line = preformatted && piece.ends_with('\n');
                self.gap = self.gap.or(if line { Gap::Line } else { Gap::Space });
            }
        }
    }

    fn hide(&mut self, text: &str, how: Hiding) {
        if let Some(count) = Hiding::ALL
            .iter()
            .position(|&known| known == how)
            .and_then(|at| self.page.hiding.get_mut(at))
        {
            // Newsletters fill up what lists of messages show with what nobody sees anywhere.
            *count += text.chars().filter(|&char| !is_space(char) && !is_invisible(char)).count();
        }
        for piece in text.split_inclusive(is_space) {
            let word = piece.trim_end_matches(is_space);
            if !word.is_empty() {
                let all = push(&mut self.page.hidden, self.hidden_gap, word, self.limits.text);
                self.page.text_cut |= !all;
                self.hidden_gap = Gap::None;
                let behind_letter =
                    self.page.visible.chars().next_back().is_some_and(char::is_alphanumeric);
                self.hidden_in_word |= self.gap == Gap::None && behind_letter;
            }
            if word.len() < piece.len() {
                self.hidden_gap = self.hidden_gap.or(Gap::Space);
            }
        }
    }

    fn start(&mut self, tag: Tag<'h>) {
        self.implied_ends(&tag.name);
        let style = self.style(&tag);
        let mut inherited = self.inherited();
        apply(&style, &mut inherited);
        for source in &style.images {
            self.image(source, false);
        }
        self.facts(&tag, &style, inherited.hiding().is_some());
        if is_block(&tag.name) {
            self.gap = Gap::Line;
            self.hidden_gap = Gap::Line;
        } else if matches!(&*tag.name, "td" | "th") {
            self.gap = self.gap.or(Gap::Space);
            self.hidden_gap = self.hidden_gap.or(Gap::Space);
        }
        if is_void(&tag.name) {
            return;
        }
        if tag.name == "pre" {
            inherited.preformatted = true;
        }
        // What is for those who have none of it is not shown by those who have.
        if matches!(&*tag.name, "noembed" | "noframes" | "template" | "datalist" | "iframe") {
            inherited.hidden.get_or_insert(Hiding::Display);
        }
        if self.open.len() < self.limits.open {
            self.open.push(Open { name: tag.name, inherited });
        } else {
            self.deeper += 1;
        }
    }

    /// What is said of an element: by attributes, by rules, by itself.
    fn style(&self, tag: &Tag<'_>) -> Style {
        let mut style = Style::default();
        for (name, value) in &tag.attributes {
            match &**name {
                "hidden" => style.hidden = Some(Hiding::Display),
                "bgcolor" => style.background = Some(Colour::parse(value)),
                "background" => style.background = Some(Colour::Unknown),
                "color" | "text" => style.colour = Some(Colour::parse(value)),
                "type" if tag.name == "input" && value.eq_ignore_ascii_case("hidden") => {
                    style.hidden = Some(Hiding::Display);
                }
                _ => {}
            }
        }
        let (class, id) = (tag.attribute("class"), tag.attribute("id"));
        if let Some(rules) = self.sheet.style(&tag.name, class, id) {
            style.add(&rules);
        }
        if let Some(own) = tag.attribute("style") {
            style.add(&Style::parse(own));
        }
        // Links have a colour of their own, which nobody's background is.
        if tag.name == "a" && style.colour.is_none() {
            style.colour = Some(Colour::Unknown);
        }
        style
    }

    fn end(&mut self, name: &str) {
        if name == "a" {
            self.close_anchor();
        }
        if is_block(name) {
            self.gap = Gap::Line;
            self.hidden_gap = Gap::Line;
        } else if matches!(name, "td" | "th") {
            self.gap = self.gap.or(Gap::Space);
            self.hidden_gap = self.hidden_gap.or(Gap::Space);
        }
        if self.deeper > 0 && !is_void(name) {
            self.deeper -= 1;
            return;
        }
        // An end tag that nothing fits closes nothing. Cells keep what is in them from closing what is around them.
        let scope = self.open.iter().rev().position(|open| {
            open.name == name
                || matches!(&*open.name, "td" | "th")
                    && !matches!(name, "tr" | "table" | "tbody" | "body" | "html")
        });
        if let Some(up) = scope
            && let Some(at) = self.open.len().checked_sub(up + 1)
            && self.open.get(at).is_some_and(|open| open.name == name)
        {
            self.open.truncate(at);
        }
    }

    /// Ends of elements that may be left out: HTML standard, section 13.1.2.4.
    fn implied_ends(&mut self, name: &str) {
        let (closed, until): (&[&str], &[&str]) = match name {
            "li" => (&["li", "p"], &["ul", "ol", "menu"]),
            "dt" | "dd" => (&["dt", "dd", "p"], &["dl"]),
            "td" | "th" => (&["td", "th", "p"], &["tr", "table"]),
            "tr" => (&["tr", "td", "th", "p"], &["table", "tbody", "thead", "tfoot"]),
            "tbody" | "thead" | "tfoot" => {
                (&["tbody", "thead", "tfoot", "tr", "td", "th", "p"], &["table"])
            }
            "option" | "optgroup" => (&["option"], &["select", "datalist"]),
            "body" => (&["head"], &[]),
            "br" | "title" | "html" => return,
            _ if is_block(name) => (&["p"], &["td", "th", "table", "div", "li", "button"]),
            _ => return,
        };
        let mut at = None;
        for (index, open) in self.open.iter().enumerate().rev() {
            if until.contains(&&*open.name) {
                break;
            }
            if closed.contains(&&*open.name) {
                at = Some(index);
            }
        }
        if let Some(at) = at {
            self.open.truncate(at);
        }
    }

    fn facts(&mut self, tag: &Tag<'h>, style: &Style, hidden: bool) {
        for (name, value) in &tag.attributes {
            if name.starts_with("on") && name.len() > 3 {
                self.page.scripts.handlers += 1;
                self.script(value);
            }
        }
        self.raw = match &*tag.name {
            "script" => Raw::Script,
            "style" => Raw::Style,
            "title" => Raw::Title,
            "textarea" | "xmp" | "iframe" | "noembed" | "noframes" | "plaintext" => Raw::Other,
            _ => Raw::None,
        };
        let source = || tag.attribute("src").filter(|source| !source.trim().is_empty());
        match &*tag.name {
            "a" | "area" => {
                if let Some(target) = tag.attribute("href").or_else(|| tag.attribute("xlink:href"))
                {
                    self.anchor(target, tag.name == "area");
                }
            }
            "base" => {
                if self.page.base.is_none() {
                    self.page.base = tag.attribute("href").map(|href| kept(href, self.limits));
                }
            }
            "img" | "image" | "input" | "video" | "source" => {
                if tag.name == "input" {
                    self.field(tag);
                }
                let source = source()
                    .or_else(|| tag.attribute("poster"))
                    .or_else(|| tag.attribute("xlink:href"))
                    .or_else(|| tag.attribute("href").filter(|_| tag.name == "image"));
                if let Some(source) = source {
                    self.image(source, hidden || is_pixel(tag, style));
                    if let Some((anchor, _)) = &mut self.anchor {
                        anchor.image = true;
                    }
                }
                if let Some(alternative) = tag.attribute("alt")
                    && !alternative.trim().is_empty()
                {
                    let most = self.limits.text / 4;
                    push(&mut self.page.alternatives, Gap::Space, alternative.trim(), most);
                }
            }
            "form" => {
                let action = tag.attribute("action").map(|action| kept(action, self.limits));
                self.form(action.unwrap_or_default());
            }
            "select" | "textarea" => self.field(tag),
            "button" => {
                if let Some(action) = tag.attribute("formaction") {
                    let action = kept(action, self.limits);
                    self.form(action);
                }
            }
            "iframe" | "frame" | "embed" | "object" | "applet" => {
                self.page.frames += 1;
                if let Some(source) = source().or_else(|| tag.attribute("data")) {
                    self.load(source);
                }
                if let Some(inside) = tag.attribute("srcdoc") {
                    self.script(inside);
                }
            }
            "script" => {
                // Data for programs that read mail, such as tickets, are no script.
                let kind = tag.attribute("type").unwrap_or_default().to_ascii_lowercase();
                self.page.scripts.count += usize::from(!kind.contains("json"));
                if let Some(source) = source() {
                    self.load(source);
                }
            }
            "link" => {
                let sheet = tag
                    .attribute("rel")
                    .is_some_and(|rel| rel.to_ascii_lowercase().contains("stylesheet"));
                if let Some(href) = tag.attribute("href")
                    && sheet
                {
                    self.load(href);
                }
            }
            "meta" => {
                let refresh = tag
                    .attribute("http-equiv")
                    .is_some_and(|name| name.trim().eq_ignore_ascii_case("refresh"));
                if refresh && self.page.refresh.is_none() {
                    let target = tag.attribute("content").and_then(refresh_target);
                    self.page.refresh = target.map(|target| kept(target, self.limits));
                }
            }
            _ => {
                if let Some(source) = tag.attribute("background") {
                    self.image(source, false);
                }
            }
        }
    }

    fn anchor(&mut self, target: &str, complete: bool) {
        self.close_anchor();
        if self.page.anchors.len() >= self.limits.links {
            self.page.more = true;
            return;
        }
        let anchor = Anchor { target: kept(target, self.limits), ..Anchor::default() };
        if starts_with(&anchor.target, "data:") {
            self.page.scripts.makes_files += 1;
        }
        if complete {
            self.page.anchors.push(anchor);
        } else {
            self.anchor = Some((anchor, self.page.visible.len()));
        }
    }

    fn close_anchor(&mut self) {
        if let Some((mut anchor, from)) = self.anchor.take() {
            let text = self.page.visible.get(from..).unwrap_or_default().trim();
            anchor.text = head(text, 1_000).to_owned();
            self.page.anchors.push(anchor);
        }
    }

    fn image(&mut self, source: &str, pixel: bool) {
        if self.page.images.len() >= self.limits.links {
            self.page.more = true;
            return;
        }
        let source = kept(source, self.limits);
        let remote = ["http:", "https:", "//"].iter().any(|scheme| starts_with(&source, scheme));
        self.page.images.push(Image { source, remote, pixel: pixel && remote });
    }

    fn load(&mut self, source: &str) {
        if self.page.loaded.len() >= self.limits.links {
            self.page.more = true;
            return;
        }
        self.page.loaded.push(kept(source, self.limits));
    }

    fn form(&mut self, action: String) {
        if self.page.forms.len() >= self.limits.links {
            self.page.more = true;
            return;
        }
        self.page.forms.push(Form { action, ..Form::default() });
    }

    fn field(&mut self, tag: &Tag<'_>) {
        let kind = tag.attribute("type").unwrap_or_default().trim().to_ascii_lowercase();
        if matches!(kind.as_str(), "submit" | "button" | "image" | "reset") {
            return;
        }
        // A field may belong to no form: a script sends it.
        if self.page.forms.is_empty() {
            self.form(String::new());
        }
        if let Some(form) = self.page.forms.last_mut() {
            form.fields += 1;
            form.password |= kind == "password";
        }
    }

    fn script(&mut self, text: &str) {
        let scripts = &mut self.page.scripts;
        let count = |words: &[&str]| {
            words
                .iter()
                .filter(|word| memchr::memmem::find(text.as_bytes(), word.as_bytes()).is_some())
                .count()
        };
        scripts.makes_files += count(&[
            "Blob(",
            "createObjectURL",
            "msSaveBlob",
            "msSaveOrOpenBlob",
            ".download",
            "'download'",
            "\"download\"",
        ]);
        scripts.decodes += count(&[
            "atob(",
            "fromCharCode",
            "unescape(",
            "decodeURIComponent(",
            "eval(",
            "document.write",
            "Function(",
            "Uint8Array",
        ]);
        scripts.leaves += count(&[
            "location.href",
            "location.replace",
            "location.assign",
            "location =",
            "location=",
            "window.open(",
        ]);
        scripts.longest_encoded = scripts.longest_encoded.max(longest_encoded(text));
    }
}

/// The longest run of base64's digits, which those of hexadecimal are, too.
fn longest_encoded(text: &str) -> usize {
    text.as_bytes()
        .split(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')))
        .map(<[u8]>::len)
        .max()
        .unwrap_or_default()
}

fn apply(style: &Style, inherited: &mut Inherited) {
    inherited.hidden = inherited.hidden.or(style.hidden);
    if let Some(visible) = style.visible {
        inherited.visible = visible;
    }
    match style.font {
        Some(Size::Pixels(pixels)) => inherited.font = pixels,
        Some(Size::Times(times)) => inherited.font *= times,
        None => {}
    }
    if let Some(colour) = style.colour {
        inherited.colour = colour;
    }
    match style.background {
        // What is behind is seen through it.
        Some(Colour::Transparent) | None => {}
        Some(colour) => inherited.background = colour,
    }
}

/// Whether an image is too small to be seen.
fn is_pixel(tag: &Tag<'_>, style: &Style) -> bool {
    let side = |name: &str, styled: Option<f32>| {
        styled.or_else(|| tag.attribute(name)?.trim().trim_end_matches("px").parse().ok())
    };
    let small = |side: Option<f32>| side.is_some_and(|side| side <= 2.0);
    small(side("width", style.width)) && small(side("height", style.height))
}

/// Where `5; url=...` leads.
fn refresh_target(content: &str) -> Option<&str> {
    let at = content.to_ascii_lowercase().find("url")?;
    let rest = content.get(at + 3..)?.trim_start();
    Some(rest.strip_prefix('=')?.trim().trim_matches(['"', '\'']))
}

/// As much of an address as may be parsed, without what browsers pass over.
fn kept(address: &str, limits: &Limits) -> String {
    // One octet more says that it was longer.
    let address = head(address.trim(), limits.link + 1);
    address.chars().filter(|char| !matches!(char, '\t' | '\n' | '\r')).collect()
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// What browsers make one space of.
const fn is_space(char: char) -> bool {
    matches!(char, ' ' | '\t' | '\n' | '\r' | '\u{c}' | '\u{a0}')
}

fn starts_with_letter(word: &str) -> bool {
    word.chars().next().is_some_and(char::is_alphanumeric)
}

impl Gap {
    fn or(self, other: Self) -> Self {
        if self == Self::None { other } else { self }
    }
}

/// Adds as much as fits, behind a gap. Says whether that was all.
fn push(text: &mut String, gap: Gap, more: &str, most: usize) -> bool {
    if text.len() >= most {
        return false;
    }
    match gap {
        _ if text.is_empty() => {}
        Gap::None => {}
        Gap::Space => text.push(' '),
        Gap::Line => text.push('\n'),
    }
    let fits = head(more, most - text.len());
    text.push_str(fits);
    fits.len() == more.len()
}

fn is_void(name: &str) -> bool {
    matches!(
        name,
        "area"
            | "base"
            | "basefont"
            | "bgsound"
            | "br"
            | "col"
            | "embed"
            | "frame"
            | "hr"
            | "img"
            | "input"
            | "keygen"
            | "link"
            | "meta"
            | "param"
            | "source"
            | "track"
            | "wbr"
    )
}

fn is_block(name: &str) -> bool {
    matches!(
        name,
        "address"
            | "article"
            | "aside"
            | "blockquote"
            | "body"
            | "br"
            | "center"
            | "dd"
            | "details"
            | "dir"
            | "div"
            | "dl"
            | "dt"
            | "fieldset"
            | "figcaption"
            | "figure"
            | "footer"
            | "form"
            | "h1"
            | "h2"
            | "h3"
            | "h4"
            | "h5"
            | "h6"
            | "header"
            | "hr"
            | "html"
            | "li"
            | "main"
            | "menu"
            | "nav"
            | "ol"
            | "option"
            | "p"
            | "pre"
            | "section"
            | "summary"
            | "table"
            | "tbody"
            | "tfoot"
            | "thead"
            | "title"
            | "tr"
            | "ul"
            | "xmp"
    )
}

#[cfg(test)]
mod tests;
