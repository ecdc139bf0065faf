//! CSS, as far as it hides things: declarations, and rules with plain selectors.

use std::collections::HashMap;

use memchr::memmem;

/// How something on a page is made invisible.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Hiding {
    /// `display: none`, or the attribute `hidden`.
    Display,
    /// `visibility: hidden`.
    Visibility,
    /// Transparent.
    Opacity,
    /// Letters of less than two pixels.
    Tiny,
    /// Placed where nobody looks.
    OffScreen,
    /// Cut away.
    Clipped,
    /// In a box without room.
    NoRoom,
    /// In the colour of what is behind it.
    Colour,
}

impl Hiding {
    /// All ways.
    pub const ALL: [Self; 8] = [
        Self::Display,
        Self::Visibility,
        Self::Opacity,
        Self::Tiny,
        Self::OffScreen,
        Self::Clipped,
        Self::NoRoom,
        Self::Colour,
    ];

    /// In words.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Display => "not displayed",
            Self::Visibility => "invisible",
            Self::Opacity => "transparent",
            Self::Tiny => "in tiny letters",
            Self::OffScreen => "off the screen",
            Self::Clipped => "cut away",
            Self::NoRoom => "in a box without room",
            Self::Colour => "in the colour of the background",
        }
    }
}

/// A colour, if it is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Colour {
    Known([u8; 3]),
    Transparent,
    Unknown,
}

impl Colour {
    /// Whether nobody can tell one on the other.
    pub(crate) fn vanishes_on(self, background: Self) -> bool {
        match (self, background) {
            (Self::Transparent, _) => true,
            (Self::Known(one), Self::Known(other)) => {
                one.iter().zip(other).all(|(one, other)| one.abs_diff(other) <= 10)
            }
            _ => false,
        }
    }

    pub(crate) fn parse(value: &str) -> Self {
        let value = value.trim();
        let lower = value.to_ascii_lowercase();
        if let Some(digits) = lower.strip_prefix('#') {
            return Self::hexadecimal(digits).unwrap_or(Self::Unknown);
        }
        if let Some(inner) = lower.strip_prefix("rgb") {
            let mut numbers = numbers(inner);
            let channel = |number: Option<f32>| number.map(|number| number.clamp(0.0, 255.0) as u8);
            let (red, green, blue) =
                (channel(numbers.next()), channel(numbers.next()), channel(numbers.next()));
            return match (red, green, blue, numbers.next()) {
                (_, _, _, Some(alpha)) if alpha <= 0.05 => Self::Transparent,
                (Some(red), Some(green), Some(blue), _) if !inner.contains('%') => {
                    Self::Known([red, green, blue])
                }
                _ => Self::Unknown,
            };
        }
        if lower == "transparent" {
            return Self::Transparent;
        }
        NAMES.iter().find(|(name, _)| *name == lower).map_or_else(
            || Self::hexadecimal(&lower).unwrap_or(Self::Unknown),
            |(_, colour)| Self::Known(*colour),
        )
    }

    /// As attributes may have it, also without the hash.
    fn hexadecimal(digits: &str) -> Option<Self> {
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let number = u32::from_str_radix(digits, 16).ok()?;
        let [first, second, third, fourth] = number.to_be_bytes();
        match digits.len() {
            3 => {
                let double = |shift: u32| ((number >> shift & 15) * 17) as u8;
                Some(Self::Known([double(8), double(4), double(0)]))
            }
            4 if number & 15 == 0 => Some(Self::Transparent),
            6 => Some(Self::Known([second, third, fourth])),
            8 if fourth <= 12 => Some(Self::Transparent),
            8 => Some(Self::Known([first, second, third])),
            _ => None,
        }
    }
}

const NAMES: [(&str, [u8; 3]); 20] = [
    ("white", [255, 255, 255]),
    ("black", [0, 0, 0]),
    ("red", [255, 0, 0]),
    ("green", [0, 128, 0]),
    ("blue", [0, 0, 255]),
    ("yellow", [255, 255, 0]),
    ("gray", [128, 128, 128]),
    ("grey", [128, 128, 128]),
    ("silver", [192, 192, 192]),
    ("navy", [0, 0, 128]),
    ("maroon", [128, 0, 0]),
    ("purple", [128, 0, 128]),
    ("teal", [0, 128, 128]),
    ("orange", [255, 165, 0]),
    ("snow", [255, 250, 250]),
    ("ivory", [255, 255, 240]),
    ("whitesmoke", [245, 245, 245]),
    ("ghostwhite", [248, 248, 255]),
    ("azure", [240, 255, 255]),
    ("lightgray", [211, 211, 211]),
];

/// What declarations do to an element and what is in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Style {
    /// The whole of it is hidden so.
    pub(crate) hidden: Option<Hiding>,
    /// It is displayed, whatever rules that weigh less say.
    pub(crate) displayed: bool,
    pub(crate) visible: Option<bool>,
    pub(crate) font: Option<Size>,
    pub(crate) colour: Option<Colour>,
    pub(crate) background: Option<Colour>,
    /// What an image behind it is loaded from.
    pub(crate) images: Vec<String>,
    /// Width and height, in pixels, where they are given so.
    pub(crate) width: Option<f32>,
    pub(crate) height: Option<f32>,
}

/// How large letters are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Size {
    Pixels(f32),
    /// In parts of what they were outside.
    Times(f32),
}

/// Declarations of one element that are looked at.
const MOST_DECLARATIONS: usize = 100;

/// Images behind one element that are kept.
const MOST_IMAGES: usize = 4;

impl Style {
    pub(crate) fn parse(text: &str) -> Self {
        let mut style = Self::default();
        let mut box_ = Box_::default();
        for (property, value) in declarations(text).take(MOST_DECLARATIONS) {
            style.declare(&property, value, &mut box_);
        }
        if style.hidden.is_none() {
            style.hidden = box_.hides();
        }
        style
    }

    fn declare(&mut self, property: &str, value: &str, box_: &mut Box_) {
        let lower = value.to_ascii_lowercase();
        let length = || length(&lower);
        match property {
            "display" if lower == "none" => self.hide(Hiding::Display),
            "display" => self.displayed = true,
            "visibility" => self.visible = Some(!matches!(lower.as_str(), "hidden" | "collapse")),
            "opacity" if number(&lower).is_some_and(|number| number <= 0.05) => {
                self.hide(Hiding::Opacity);
            }
            "filter" if lower.contains("opacity(0)") || lower.contains("opacity=0)") => {
                self.hide(Hiding::Opacity);
            }
            "font-size" => self.font = size(&lower),
            // The size stands before a slash or the family.
            "font" => {
                if let Some(found) = lower.split([' ', '/']).find_map(|word| {
                    word.starts_with(|char: char| char.is_ascii_digit()).then(|| size(word))
                }) {
                    self.font = found;
                }
            }
            "color" | "-webkit-text-fill-color" => self.colour = Some(Colour::parse(&lower)),
            "background-color" => self.background = Some(Colour::parse(&lower)),
            "background" | "background-image" => self.paint(property, value, &lower),
            "width" | "max-width" => {
                box_.width = length();
                self.width = length();
            }
            "height" | "max-height" => {
                box_.height = length();
                self.height = length();
            }
            "overflow" | "overflow-x" | "overflow-y" => {
                box_.overflow_hidden |= matches!(lower.as_str(), "hidden" | "clip");
            }
            "position" => box_.positioned = matches!(lower.as_str(), "absolute" | "fixed"),
            "left" | "top" | "right" | "bottom" => {
                box_.away |= length().is_some_and(|length| length <= -200.0);
            }
            "text-indent" if length().is_some_and(|length| length <= -200.0) => {
                self.hide(Hiding::OffScreen);
            }
            "margin-left" | "margin-top" | "margin-right"
                if length().is_some_and(|length| length <= -500.0) =>
            {
                self.hide(Hiding::OffScreen);
            }
            "transform" | "-webkit-transform" => {
                if lower.contains("scale(0)") || lower.contains("scale(0,") {
                    self.hide(Hiding::NoRoom);
                } else if lower.contains("translate")
                    && numbers(&lower).any(|number| number <= -500.0)
                {
                    self.hide(Hiding::OffScreen);
                }
            }
            "clip" => {
                if let Some(inner) = lower.strip_prefix("rect")
                    && numbers(inner).count() == 4
                    && numbers(inner).all(|number| number.abs() <= 1.0)
                {
                    box_.clipped = true;
                }
            }
            "clip-path" => {
                let nothing = lower.contains("circle(0")
                    || lower.contains("inset(50%")
                    || lower.contains("inset(100%")
                    || lower.contains("polygon(0 0, 0 0");
                if nothing {
                    self.hide(Hiding::Clipped);
                }
            }
            _ => {}
        }
    }

    fn hide(&mut self, how: Hiding) {
        self.hidden.get_or_insert(how);
    }

    fn paint(&mut self, property: &str, value: &str, lower: &str) {
        if let Some(at) = lower.find("url(") {
            // Nobody knows what is on it.
            self.background = Some(Colour::Unknown);
            let inner = value.get(at + 4..).unwrap_or_default();
            let inner = inner.split(')').next().unwrap_or_default();
            let inner = inner.trim().trim_matches(['"', '\'']);
            if !inner.is_empty() && self.images.len() < MOST_IMAGES {
                self.images.push(inner.to_owned());
            }
        } else if lower.contains("gradient") {
            self.background = Some(Colour::Unknown);
        } else if property == "background" {
            let colour = if lower.starts_with("rgb") {
                Colour::parse(lower)
            } else {
                Colour::parse(lower.split(' ').next().unwrap_or_default())
            };
            self.background = Some(colour);
        }
    }

    /// What another one, of a selector that weighs more, adds.
    pub(crate) fn add(&mut self, other: &Self) {
        if other.displayed && self.hidden == Some(Hiding::Display) {
            self.hidden = None;
        }
        self.hidden = self.hidden.or(other.hidden);
        self.visible = other.visible.or(self.visible);
        self.font = other.font.or(self.font);
        self.colour = other.colour.or(self.colour);
        self.background = other.background.or(self.background);
        self.width = other.width.or(self.width);
        self.height = other.height.or(self.height);
        let room = MOST_IMAGES.saturating_sub(self.images.len());
        self.images.extend(other.images.iter().take(room).cloned());
    }
}

/// What hides only together.
#[derive(Debug, Default)]
struct Box_ {
    width: Option<f32>,
    height: Option<f32>,
    overflow_hidden: bool,
    positioned: bool,
    away: bool,
    clipped: bool,
}

impl Box_ {
    fn hides(&self) -> Option<Hiding> {
        let none = |length: Option<f32>| length.is_some_and(|length| (0.0..=1.0).contains(&length));
        if self.positioned && self.away {
            Some(Hiding::OffScreen)
        } else if self.positioned && self.clipped {
            Some(Hiding::Clipped)
        } else if self.overflow_hidden && (none(self.width) || none(self.height)) {
            Some(Hiding::NoRoom)
        } else {
            None
        }
    }
}

/// Properties in lower case, with their values.
fn declarations(text: &str) -> impl Iterator<Item = (String, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let end = declaration_end(rest);
            let (one, behind) = rest.split_at_checked(end).unwrap_or((rest, ""));
            rest = behind.get(1..).unwrap_or_default();
            let one = one.trim();
            // A comment in front belongs to nothing.
            let one = match one.strip_prefix("/*") {
                Some(comment) => comment.split_once("*/").map_or("", |(_, behind)| behind),
                None => one,
            };
            if let Some((property, value)) = one.split_once(':') {
                let value = value.split('!').next().unwrap_or_default().trim();
                return Some((property.trim().to_ascii_lowercase(), value));
            }
        }
        None
    })
}

/// The next semicolon outside of brackets and quotes: addresses of data have some.
fn declaration_end(text: &str) -> usize {
    let mut quote = None;
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (Some(end), _) if byte == end => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'(') => depth += 1,
            (None, b')') => depth = depth.saturating_sub(1),
            (None, b';') if depth == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

/// The number that a text begins with.
fn number(text: &str) -> Option<f32> {
    let text = text.trim_start();
    let end = text
        .bytes()
        .position(|byte| !matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+'))
        .unwrap_or(text.len());
    text.get(..end)?.parse().ok().filter(|number: &f32| number.is_finite())
}

/// All numbers in a text.
fn numbers(text: &str) -> impl Iterator<Item = f32> {
    text.split(|char: char| !matches!(char, '0'..='9' | '.' | '-' | '+')).filter_map(number)
}

/// A length in pixels; nothing if it depends on what is around it.
fn length(text: &str) -> Option<f32> {
    let number = number(text)?;
    let unit =
        text.trim_start_matches(|char: char| matches!(char, '0'..='9' | '.' | '-' | '+' | ' '));
    match unit {
        "" | "px" => Some(number),
        "pt" => Some(number * 4.0 / 3.0),
        "em" | "rem" | "ex" => Some(number * 16.0),
        "in" => Some(number * 96.0),
        "cm" => Some(number * 37.8),
        // Nothing of anything, or far away.
        _ if number == 0.0 => Some(0.0),
        "%" | "vw" | "vh" if number <= -100.0 => Some(number * 10.0),
        _ => None,
    }
}

fn size(text: &str) -> Option<Size> {
    match text {
        "xx-small" | "x-small" | "small" | "medium" | "large" | "x-large" | "xx-large" => {
            return Some(Size::Pixels(12.0));
        }
        "inherit" => return None,
        _ => {}
    }
    let number = number(text)?;
    Some(if text.ends_with("rem") {
        Size::Pixels(number * 16.0)
    } else if text.ends_with("em") {
        Size::Times(number)
    } else if text.ends_with('%') {
        Size::Times(number / 100.0)
    } else {
        Size::Pixels(length(text)?)
    })
}

/// The rules of a page with selectors of one element, class or name: what mail programs support, and what hides.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sheet {
    rules: HashMap<String, Style>,
    /// Whether something that is not understood here may paint a background.
    pub(crate) paints_elsewhere: bool,
}

/// Rules of a page that are kept.
const MOST_RULES: usize = 1_000;

impl Sheet {
    /// Adds what is between the tags of a style element.
    pub(crate) fn read(&mut self, text: &str) {
        let text = without_comments(text);
        let mut rest = text.as_str();
        for _ in 0..MOST_RULES {
            rest =
                rest.trim_start().trim_start_matches("<!--").trim_start_matches("-->").trim_start();
            let Some(open) = rest.find(['{', ';']) else { return };
            let (selectors, behind) = rest.split_at_checked(open).unwrap_or((rest, ""));
            if behind.starts_with(';') {
                // `@import`, or a mistake.
                rest = behind.get(1..).unwrap_or_default();
                continue;
            }
            let (body, behind) = block(behind);
            rest = behind;
            if selectors.starts_with('@') {
                // What is for one kind of screen says nothing for the others.
                self.paints_elsewhere |= body.contains("background");
                continue;
            }
            let style = Style::parse(body);
            for selector in selectors.split(',') {
                self.rule(selector.trim(), &style);
            }
        }
    }

    fn rule(&mut self, selector: &str, style: &Style) {
        if *style == Style::default() {
            return;
        }
        let plain = selector
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'#' | b'-' | b'_'));
        let marks = selector.bytes().filter(|byte| matches!(byte, b'.' | b'#')).count();
        if plain && marks <= 1 && !selector.is_empty() && self.rules.len() < MOST_RULES {
            let key = match selector.find(['.', '#']) {
                Some(at) => {
                    let (element, rest) = selector.split_at_checked(at).unwrap_or((selector, ""));
                    format!("{}{rest}", element.to_ascii_lowercase())
                }
                None => selector.to_ascii_lowercase(),
            };
            self.rules.entry(key).or_default().add(style);
        } else {
            self.paints_elsewhere |= style.background.is_some();
        }
    }

    /// What the rules say of an element; nothing if none is about it.
    pub(crate) fn style(
        &self,
        element: &str,
        class: Option<&str>,
        id: Option<&str>,
    ) -> Option<Style> {
        if self.rules.is_empty() {
            return None;
        }
        let mut style: Option<Style> = None;
        let mut add = |key: &str| {
            if let Some(rule) = self.rules.get(key) {
                style.get_or_insert_default().add(rule);
            }
        };
        add(element);
        for class in class.unwrap_or_default().split_ascii_whitespace().take(16) {
            add(&format!(".{class}"));
            add(&format!("{element}.{class}"));
        }
        if let Some(id) = id {
            add(&format!("#{id}"));
            add(&format!("{element}#{id}"));
        }
        style
    }
}

/// What is between the bracket that a text begins with and the one that ends it, and what is behind.
fn block(text: &str) -> (&str, &str) {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    let body = text.get(1..at).unwrap_or_default();
                    return (body, text.get(at + 1..).unwrap_or_default());
                }
            }
            _ => {}
        }
    }
    (text.get(1..).unwrap_or_default(), "")
}

fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = memmem::find(rest.as_bytes(), b"/*") {
        out.push_str(rest.get(..start).unwrap_or_default());
        let behind = rest.get(start + 2..).unwrap_or_default();
        rest = match memmem::find(behind.as_bytes(), b"*/") {
            Some(end) => behind.get(end + 2..).unwrap_or_default(),
            None => "",
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides() {
        for (text, hidden) in [
            ("", None),
            ("display:none", Some(Hiding::Display)),
            ("DISPLAY: None !important", Some(Hiding::Display)),
            ("color:red;display : none ;", Some(Hiding::Display)),
            ("/* x */ display:none", Some(Hiding::Display)),
            ("background:url('data:image/png;base64,x;y');display:none", Some(Hiding::Display)),
            ("display:block", None),
            ("opacity:0", Some(Hiding::Opacity)),
            ("opacity:.01", Some(Hiding::Opacity)),
            ("opacity:0.5", None),
            ("filter:alpha(opacity=0)", Some(Hiding::Opacity)),
            ("position:absolute;left:-9999px", Some(Hiding::OffScreen)),
            ("position:relative;left:-9999px", None),
            ("left:-9999px", None),
            ("text-indent:-5000px", Some(Hiding::OffScreen)),
            ("text-indent:-5px", None),
            ("transform:translateX(-9999px)", Some(Hiding::OffScreen)),
            ("transform:scale(0)", Some(Hiding::NoRoom)),
            ("position:absolute;clip:rect(0,0,0,0)", Some(Hiding::Clipped)),
            ("position:absolute;clip:rect(0 0 0 0)", Some(Hiding::Clipped)),
            ("clip-path:inset(50%)", Some(Hiding::Clipped)),
            ("height:0;overflow:hidden", Some(Hiding::NoRoom)),
            ("max-height:0px;max-width:0px;overflow:hidden", Some(Hiding::NoRoom)),
            ("height:0", None),
            ("width:100%;overflow:hidden", None),
        ] {
            assert_eq!(Style::parse(text).hidden, hidden, "{text}");
        }
        assert_eq!(Style::parse("visibility:hidden").visible, Some(false));
        assert_eq!(Style::parse("visibility:visible").visible, Some(true));
    }

    #[test]
    fn sizes() {
        for (text, font) in [
            ("font-size:12px", Some(Size::Pixels(12.0))),
            ("font-size:0", Some(Size::Pixels(0.0))),
            ("font-size:1pt", Some(Size::Pixels(4.0 / 3.0))),
            ("font-size:50%", Some(Size::Times(0.5))),
            ("font-size:2em", Some(Size::Times(2.0))),
            ("font-size:1rem", Some(Size::Pixels(16.0))),
            ("font-size:small", Some(Size::Pixels(12.0))),
            ("font:bold 1px/1px Arial", Some(Size::Pixels(1.0))),
            ("font:0/0 a", Some(Size::Pixels(0.0))),
            ("font-size:inherit", None),
            ("font-family:Arial", None),
        ] {
            assert_eq!(Style::parse(text).font, font, "{text}");
        }
    }

    #[test]
    fn colours() {
        for (text, colour) in [
            ("#fff", Colour::Known([255, 255, 255])),
            ("#A0b1C2", Colour::Known([0xa0, 0xb1, 0xc2])),
            ("ffffff", Colour::Known([255, 255, 255])),
            ("#ffffff00", Colour::Transparent),
            ("#11223344", Colour::Known([0x11, 0x22, 0x33])),
            ("rgb(1, 2, 3)", Colour::Known([1, 2, 3])),
            ("rgba(1,2,3,0)", Colour::Transparent),
            ("rgba(1,2,3,1)", Colour::Known([1, 2, 3])),
            ("rgb(10%,20%,30%)", Colour::Unknown),
            ("WHITE", Colour::Known([255, 255, 255])),
            ("transparent", Colour::Transparent),
            ("hsl(0,0%,0%)", Colour::Unknown),
            ("#", Colour::Unknown),
            ("#\u{e4}", Colour::Unknown),
            ("", Colour::Unknown),
        ] {
            assert_eq!(Colour::parse(text), colour, "{text}");
        }
        let white = Colour::Known([255; 3]);
        for (one, other, vanishes) in [
            (white, white, true),
            (Colour::Known([250; 3]), white, true),
            (Colour::Known([200; 3]), white, false),
            (Colour::Transparent, Colour::Unknown, true),
            (white, Colour::Unknown, false),
            (Colour::Unknown, white, false),
        ] {
            assert_eq!(one.vanishes_on(other), vanishes, "{one:?} {other:?}");
        }
    }

    #[test]
    fn sheets() {
        let mut sheet = Sheet::default();
        sheet.read(
            "<!-- @import url(x); /* .a{} */ .a, P.b {display:none} #c{color:#FFF}
             @media screen { .d { display:none } } .e .f { display:none } i{opacity:0} -->",
        );
        for (element, class, id, hidden) in [
            ("p", Some("a"), None, Some(Hiding::Display)),
            ("p", Some("x a"), None, Some(Hiding::Display)),
            ("p", Some("b"), None, Some(Hiding::Display)),
            ("i", None, None, Some(Hiding::Opacity)),
            ("i", Some("b"), None, Some(Hiding::Opacity)),
            ("td", Some("b"), None, None),
            ("p", Some("d"), None, None),
            ("p", Some("f"), None, None),
            ("p", None, Some("c"), None),
        ] {
            let style = sheet.style(element, class, id);
            assert_eq!(style.and_then(|style| style.hidden), hidden, "{element} {class:?} {id:?}");
        }
        let style = sheet.style("p", None, Some("c")).unwrap();
        assert_eq!(style.colour, Some(Colour::Known([255; 3])));
        assert!(!sheet.paints_elsewhere);
        sheet.read("table td { background: #000 }");
        assert!(sheet.paints_elsewhere);
        // What does not end, ends.
        for text in ["{", "a{", "@", "a{b:c", "/*", "}}}}", ";;;;", "a{{{{}"] {
            sheet.read(text);
        }
    }

    #[test]
    fn images() {
        assert_eq!(Style::parse("background:url( \"a.png\" )").images, ["a.png"]);
        assert_eq!(Style::parse("background:url(a.png").images, ["a.png"]);
        assert_eq!(Style::parse("background:#fff").background, Some(Colour::Known([255; 3])));
        assert_eq!(Style::parse("background:url()").background, Some(Colour::Unknown));
    }
}
