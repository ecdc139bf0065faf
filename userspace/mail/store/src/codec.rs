//! Makes frames of a message, and the same message of its frames. Pure.
//!
//! The payload of a message's frame is the length of its recipe, the recipe, the length of its content (both lengths LEB128) and the
//! content; that of a part's frame is what it holds. Content is compressed when it gets smaller by it.

use std::ops::Range;

use bytes::Bytes;

use crate::dictionaries::{Dictionaries, Dictionary};
use crate::frame::{Coding, Frame, FrameError, Header, PartHash, Subject};
use crate::layout::{Layout, Part, Recipe, push, take};

/// Content with more bytes than this is compressed better by what it says itself than by a dictionary.
const LARGE: usize = 512 << 10;

/// A message, made into frames.
#[derive(Debug)]
pub struct Encoded {
    /// Its own.
    pub message: Frame,
    /// Those of its large parts, each once.
    pub parts: Vec<(PartHash, Frame)>,
}

/// A message's frame, read and decompressed.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// How the message is put together.
    pub recipe: Recipe,
    /// Its text, and what was decoded of it.
    pub content: Bytes,
    digest: [u8; 16],
}

/// Why a frame can't be made into what it was made of.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// The frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// It is the frame of something else.
    #[error("the frame there is another's")]
    Other,
    /// The recipe doesn't fit the message.
    #[error("its recipe is damaged")]
    Recipe,
    /// A part is missing, or of another length.
    #[error("a part of it is missing")]
    Part,
    /// The content can't be decompressed.
    #[error("its content can not be decompressed")]
    Content,
    /// The dictionary isn't known.
    #[error("dictionary {0:08x}, which it was compressed with, is missing")]
    Dictionary(u32),
    /// What came out isn't what was put in.
    #[error("its digest is another")]
    Digest,
}

/// Makes all frames of a message. None if it is longer than a frame may be.
#[must_use]
pub fn encode(
    id: i64,
    raw: &Bytes,
    key: &[u8; 32],
    dictionaries: &Dictionaries,
) -> Option<Encoded> {
    let mut layout = Layout::of(raw, key);
    let mut parts: Vec<(PartHash, Frame)> = Vec::new();
    for part in std::mem::take(&mut layout.parts) {
        if parts.iter().all(|(hash, _)| *hash != part.hash) {
            parts.push((part.hash, encode_part(part, dictionaries)?));
        }
    }
    Some(Encoded { message: encode_message(id, raw, layout, dictionaries)?, parts })
}

/// Makes the frame of a message, less its large parts.
#[must_use]
pub fn encode_message(
    id: i64,
    raw: &Bytes,
    layout: Layout,
    dictionaries: &Dictionaries,
) -> Option<Frame> {
    let mut front = Vec::with_capacity(layout.recipe.len() + 8);
    push(&mut front, layout.recipe.len() as u64);
    front.extend_from_slice(&layout.recipe);
    let content = layout.content.map_or_else(|| raw.clone(), Bytes::from);
    push(&mut front, content.len() as u64);
    let subject = Subject::Message { id, digest: digest(raw) };
    let dictionary =
        if content.len() > LARGE { dictionaries.none() } else { dictionaries.current() };
    let (coding, content) = compress(content, dictionary);
    let dictionary = if coding == Coding::Stored { 0 } else { dictionary.id() };
    Frame::new(subject, coding, dictionary, raw.len(), Bytes::from(front), content)
}

/// Makes the frame of a large part.
#[must_use]
pub fn encode_part(part: Part, dictionaries: &Dictionaries) -> Option<Frame> {
    let length = part.content.len();
    let (coding, content) = compress(Bytes::from(part.content), dictionaries.none());
    let subject = Subject::Part { hash: part.hash };
    Frame::new(subject, coding, 0, length, Bytes::new(), content)
}

/// Reads a message's frame from its payload.
///
/// # Errors
///
/// [`DecodeError`]; [`DecodeError::Dictionary`] can be helped.
pub fn decode_message(
    header: &Header,
    payload: &Bytes,
    dictionaries: &Dictionaries,
) -> Result<Decoded, DecodeError> {
    let Subject::Message { digest, .. } = header.subject else { return Err(DecodeError::Other) };
    let mut rest: &[u8] = payload;
    let length = usize::try_from(take(&mut rest)?).map_err(|_| DecodeError::Recipe)?;
    let recipe = rest.get(..length).ok_or(DecodeError::Recipe)?;
    rest = rest.get(length..).unwrap_or_default();
    let length = usize::try_from(take(&mut rest)?).map_err(|_| DecodeError::Recipe)?;
    let recipe = Recipe::parse(recipe, length, header.original as usize)?;
    let content = decompress(header, payload.slice_ref(rest), length, dictionaries)?;
    Ok(Decoded { recipe, content, digest })
}

/// Reads a part from its frame's payload.
///
/// # Errors
///
/// [`DecodeError`].
pub fn decode_part(
    header: &Header,
    payload: &Bytes,
    dictionaries: &Dictionaries,
) -> Result<Bytes, DecodeError> {
    let Subject::Part { .. } = header.subject else { return Err(DecodeError::Other) };
    decompress(header, payload.clone(), header.original as usize, dictionaries)
}

impl Decoded {
    /// The whole message, with its parts in the recipe's order.
    ///
    /// # Errors
    ///
    /// [`DecodeError`].
    pub fn whole(&self, parts: &[Option<Bytes>]) -> Result<Bytes, DecodeError> {
        let whole = if self.recipe.is_content() {
            self.content.clone()
        } else {
            self.range(&self.recipe.whole(), parts)?
        };
        if digest(&whole) == self.digest { Ok(whole) } else { Err(DecodeError::Digest) }
    }

    /// A range of the message. Only the parts that it [needs](Recipe::needed) must be there.
    ///
    /// # Errors
    ///
    /// [`DecodeError`].
    pub fn range(&self, range: &Range<u64>, parts: &[Option<Bytes>]) -> Result<Bytes, DecodeError> {
        let part = |index: usize| parts.get(index)?.as_deref();
        self.recipe.join(range, &self.content, part).map(Bytes::from)
    }
}

fn compress(content: Bytes, dictionary: &'static Dictionary) -> (Coding, Bytes) {
    match dictionary.compress(&content) {
        // To save less than a thirty-second is not worth the work at each reading.
        Some(compressed) if compressed.len() + content.len() / 32 < content.len() => {
            (Coding::Zstd, Bytes::from(compressed))
        }
        _ => (Coding::Stored, content),
    }
}

fn decompress(
    header: &Header,
    content: Bytes,
    length: usize,
    dictionaries: &Dictionaries,
) -> Result<Bytes, DecodeError> {
    match header.coding {
        Coding::Stored if content.len() == length => Ok(content),
        Coding::Stored => Err(DecodeError::Content),
        Coding::Zstd => {
            let id = header.dictionary;
            let dictionary = dictionaries.find(id).ok_or(DecodeError::Dictionary(id))?;
            dictionary.decompress(&content, length).map(Bytes::from).ok_or(DecodeError::Content)
        }
    }
}

fn digest(raw: &[u8]) -> [u8; 16] {
    let hash = blake3::hash(raw);
    let mut digest = [0; 16];
    for (to, from) in digest.iter_mut().zip(hash.as_bytes()) {
        *to = *from;
    }
    digest
}

#[cfg(test)]
mod tests;
