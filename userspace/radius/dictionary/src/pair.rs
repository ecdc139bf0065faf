//! An attribute with an operator and a value.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use crate::attribute::Attribute;
use crate::dictionary::Dictionary;
use crate::lexer::{self, Lexer};
use crate::value::{MOST_TAG, Value};

/// An attribute with an operator and a value, as in `Framed-IP-Address := 192.0.2.1` or `Tunnel-Type:1 = VLAN`.
#[derive(Clone, Eq, PartialEq)]
pub struct Pair {
    /// The attribute.
    pub attribute: Arc<Attribute>,
    /// What is done with it, or what is asked of it.
    pub operator: Operator,
    /// Which tunnel it is about (RFC 2868), at most 31.
    pub tag: Option<u8>,
    /// The value; for [`Operator::Matches`] and [`Operator::MatchesNot`] a regular expression as text, for
    /// [`Operator::Present`] and [`Operator::Absent`] an empty text.
    pub value: Value,
}

impl Pair {
    /// One without a tag.
    pub fn new(attribute: Arc<Attribute>, operator: Operator, value: Value) -> Self {
        Self { attribute, operator, tag: None, value }
    }

    /// Reads one pair, and nothing else.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(dictionary: &Dictionary, text: &str) -> Result<Self, PairError> {
        let mut lexer = Lexer::new(text.as_bytes());
        let pair = Self::read(dictionary, &mut lexer)?;
        lexer.skip_blanks();
        match lexer.rest() {
            [] => Ok(pair),
            rest => Err(PairError::Trailing(String::from_utf8_lossy(rest).into_owned())),
        }
    }

    /// Makes a pair of a row of a database (`radcheck` and the like): the value stands there without quotes. One that
    /// is in quotes as a whole is read as in a file. Without operator it is `==`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_columns(
        dictionary: &Dictionary,
        attribute: &str,
        operator: &str,
        value: &str,
    ) -> Result<Self, PairError> {
        let mut name = Lexer::new(attribute.trim().as_bytes());
        let (attribute, tag) = attribute_of(dictionary, &mut name)?;
        if !name.rest().is_empty() {
            return Err(PairError::Unknown(String::from_utf8_lossy(name.rest()).into_owned()));
        }
        let operator = match operator.trim() {
            "" => Operator::Is,
            symbol => symbol.parse()?,
        };
        let literal = match value.as_bytes() {
            [first @ (b'"' | b'\'' | b'`'), .., last] if first == last => {
                let mut lexer = Lexer::new(value.as_bytes());
                match lexer.value() {
                    Ok(literal) if lexer.rest().is_empty() => literal,
                    // The quotes are part of the value.
                    Ok(_) | Err(PairError::Unclosed(_)) => value.as_bytes().to_vec(),
                    Err(error) => return Err(error),
                }
            }
            plain => plain.to_vec(),
        };
        Self::of(dictionary, attribute, operator, tag, &literal)
    }

    /// Reads the pair at the front of a line.
    pub(crate) fn read(dictionary: &Dictionary, lexer: &mut Lexer<'_>) -> Result<Self, PairError> {
        lexer.skip_blanks();
        let (attribute, tag) = attribute_of(dictionary, lexer)?;
        lexer.skip_blanks();
        let operator = lexer.operator()?;
        lexer.skip_blanks();
        let literal = match operator {
            // They ask for no value, whatever is written: `Attribute =* ANY`.
            Operator::Present | Operator::Absent
                if lexer.at_end() || lexer.peek() == Some(b',') =>
            {
                Vec::new()
            }
            _ => lexer.value()?,
        };
        Self::of(dictionary, attribute, operator, tag, &literal)
    }

    fn of(
        dictionary: &Dictionary,
        attribute: Arc<Attribute>,
        operator: Operator,
        tag: Option<u8>,
        literal: &[u8],
    ) -> Result<Self, PairError> {
        let value = match operator {
            Operator::Matches | Operator::MatchesNot => Value::Text(literal.into()),
            Operator::Present | Operator::Absent => Value::Text(Box::default()),
            _ => Value::parse(&attribute, literal, &dictionary.zone).map_err(|expected| {
                PairError::Value {
                    attribute: attribute.name().into(),
                    value: match attribute.is_secret() {
                        true => "what is written".into(),
                        false => format!("\"{}\"", String::from_utf8_lossy(literal)),
                    },
                    expected,
                }
            })?,
        };
        Ok(Self { attribute, operator, tag, value })
    }

    /// As [`Display`](fmt::Display), without what must not be shown: for logs.
    pub fn redacted(&self) -> impl fmt::Display + '_ {
        Redacted(self)
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, secrets: bool) -> fmt::Result {
        f.write_str(self.attribute.name())?;
        if let Some(tag) = self.tag {
            write!(f, ":{tag}")?;
        }
        write!(f, " {} ", self.operator.symbol())?;
        match self.operator {
            Operator::Present | Operator::Absent => f.write_str("ANY"),
            _ if !secrets && self.attribute.is_secret() => f.write_str("***"),
            _ => write!(f, "{}", self.value.shown(&self.attribute)),
        }
    }
}

/// The attribute at the front, and its tag.
fn attribute_of(
    dictionary: &Dictionary,
    lexer: &mut Lexer<'_>,
) -> Result<(Arc<Attribute>, Option<u8>), PairError> {
    let name = lexer.name();
    if name.is_empty() {
        return Err(PairError::NoName(String::from_utf8_lossy(lexer.rest()).into_owned()));
    }
    let attribute = dictionary.find(name).ok_or_else(|| PairError::Unknown(name.into()))?;
    // The colon of `:=` begins no tag.
    if lexer.rest().starts_with(b":=") {
        return Ok((attribute, None));
    }
    let Some(tag) = lexer.tag() else { return Ok((attribute, None)) };
    let number = std::str::from_utf8(tag).ok().and_then(|tag| tag.parse::<u8>().ok());
    match number {
        Some(tag) if tag <= MOST_TAG && attribute.tagged() => Ok((attribute, Some(tag))),
        _ => Err(PairError::Tag {
            attribute: attribute.name().into(),
            tag: String::from_utf8_lossy(tag).into_owned(),
            advice: match attribute.tagged() {
                true => "tags are 0 to 31",
                false => "that attribute takes none, leave it out",
            },
        }),
    }
}

struct Redacted<'p>(&'p Pair);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write(f, false)
    }
}

impl fmt::Display for Pair {
    /// As it is read again, passwords included.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, true)
    }
}

impl fmt::Debug for Pair {
    /// Without passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, false)
    }
}

/// What is done with an attribute of a reply, or asked of one of a request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Operator {
    /// `:=` sets it, instead of what is there.
    Set,
    /// `+=` adds it to what is there.
    Add,
    /// `=` sets it, unless it is there.
    Equal,
    /// `==`
    Is,
    /// `!=`
    IsNot,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `=~` matches a regular expression.
    Matches,
    /// `!~` doesn't.
    MatchesNot,
    /// `=*` is there.
    Present,
    /// `!*` isn't.
    Absent,
}

impl Operator {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Set,
        Self::Add,
        Self::Equal,
        Self::Is,
        Self::IsNot,
        Self::Greater,
        Self::GreaterOrEqual,
        Self::Less,
        Self::LessOrEqual,
        Self::Matches,
        Self::MatchesNot,
        Self::Present,
        Self::Absent,
    ];

    /// As it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Set => ":=",
            Self::Add => "+=",
            Self::Equal => "=",
            Self::Is => "==",
            Self::IsNot => "!=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Matches => "=~",
            Self::MatchesNot => "!~",
            Self::Present => "=*",
            Self::Absent => "!*",
        }
    }

    /// Whether it sets something, rather than asking for something.
    pub fn sets(self) -> bool {
        matches!(self, Self::Set | Self::Add | Self::Equal)
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.symbol())
    }
}

impl FromStr for Operator {
    type Err = PairError;

    fn from_str(symbol: &str) -> Result<Self, PairError> {
        Self::ALL
            .into_iter()
            .find(|operator| operator.symbol() == symbol)
            .ok_or_else(|| PairError::Operator(symbol.into()))
    }
}

/// What is wrong with a pair.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum PairError {
    /// There is no name of an attribute.
    #[error("the name of an attribute should stand where \"{0}\" does; write NAME OPERATOR VALUE")]
    NoName(String),
    /// No dictionary has that attribute.
    #[error(
        "\"{0}\" is not an attribute of any dictionary; correct it, add the dictionary that has it, or write it by \
         numbers, as Attr-26.VENDOR.NUMBER"
    )]
    Unknown(String),
    /// There is no operator, or one that is not known.
    #[error("\"{0}\" is not an operator; there are := += = == != > >= < <= =~ !~ =* and !*")]
    Operator(String),
    /// A tag that the attribute does not take.
    #[error("\"{tag}\" is not a tag of {attribute}; {advice}")]
    Tag {
        /// The attribute.
        attribute: Box<str>,
        /// What stands for a tag.
        tag: String,
        /// What to do.
        advice: &'static str,
    },
    /// The value is missing.
    #[error("a value is missing behind the operator; write \"\" for an empty one")]
    NoValue,
    /// A quote is not closed.
    #[error(
        "a quoted value is not closed on its line; close it with {0}, and escape one that belongs to it"
    )]
    Unclosed(char),
    /// A command in back-quotes.
    #[error("a command in back-quotes is never run; write the value itself")]
    Command,
    /// One of FreeRADIUS' expansions.
    #[error(
        "FreeRADIUS' expansions, %{{...}}, are not done here; write the value itself, or put it in single quotes if \
         it really is one"
    )]
    Expansion,
    /// The value is not one of the attribute's.
    #[error("{value} can't be a value of {attribute}: it is not {expected}")]
    Value {
        /// The attribute.
        attribute: Box<str>,
        /// What is written.
        value: String,
        /// What could stand there.
        expected: String,
    },
    /// Something follows.
    #[error("\"{0}\" follows the value; put values with blanks or commas in quotes")]
    Trailing(String),
}

impl PairError {
    /// The mistyped name, if that is what is wrong.
    pub(crate) fn unknown_name(&self) -> Option<&str> {
        match self {
            Self::Unknown(name) if name.bytes().all(lexer::is_name_byte) => Some(name),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
