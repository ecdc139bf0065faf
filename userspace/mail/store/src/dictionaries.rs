//! What short messages are compressed with: bytes that both sides know already.
//!
//! Number 0 stands for none. Number 1 comes with the program, so that an empty store begins well. The others are trained with the
//! store's own mail ([`train`]); their numbers follow from what they hold, and have the highest bit set. They are kept as objects
//! beside the packs and never deleted, for frames need them as long as there are any; each has pieces of mail in it, and
//! is as secret as the packs.

use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};

/// Bytes of a trained dictionary.
pub const SIZE: usize = 512 << 10;

/// Most bytes of an object with a dictionary.
pub const MOST: usize = 1 << 20;

/// Most bytes of samples to train with: a hundred times the dictionary, and more brings nothing.
pub const SAMPLES: usize = 50 << 20;

const MAGIC: [u8; 8] = *b"MURDICT1";

/// Released with the first version, and never changed: frames need it as it is. Another one gets another number.
const FIRST: &[u8] = include_bytes!("dictionaries/first.txt");
const FIRST_NUMBER: u32 = 1;

/// Contexts that are kept for the next one who needs one.
const KEPT: usize = 16;

/// The dictionaries of a store.
#[derive(Debug)]
pub struct Dictionaries {
    level: i32,
    none: &'static Dictionary,
    known: RwLock<Known>,
}

#[derive(Debug)]
struct Known {
    all: BTreeMap<u32, &'static Dictionary>,
    current: &'static Dictionary,
}

/// A dictionary, or none, with the contexts of zstd that work with it.
///
/// It stays in memory until the process ends, because the contexts refer to it; there is one more of them a month.
pub struct Dictionary {
    id: u32,
    made: i64,
    level: i32,
    encoder: Option<EncoderDictionary<'static>>,
    decoder: Option<DecoderDictionary<'static>>,
    compressors: Mutex<Vec<Compressor<'static>>>,
    decompressors: Mutex<Vec<Decompressor<'static>>>,
}

/// Why a dictionary can't be used or made.
#[derive(Debug, thiserror::Error)]
pub enum DictionaryError {
    /// The object isn't one, or was damaged.
    #[error(
        "the dictionary {0} is damaged: restore it from a copy, for mail can not be read without it"
    )]
    Damaged(String),
    /// There is too little mail to train with.
    #[error("there is too little mail to train a dictionary with: {0}")]
    Training(String),
}

impl Dictionaries {
    /// Those that come with the program, to compress at a level of zstd.
    #[must_use]
    pub fn new(level: i32) -> Self {
        let none = Dictionary::of(0, 0, level, &[]);
        let first = Dictionary::of(FIRST_NUMBER, 0, level, FIRST);
        let all = BTreeMap::from([(0, none), (FIRST_NUMBER, first)]);
        Self { level, none, known: RwLock::new(Known { all, current: first }) }
    }

    /// Adds one from its object. The one that was made last is compressed with from now on. Returns its number.
    ///
    /// # Errors
    ///
    /// [`DictionaryError::Damaged`].
    pub fn add(&self, name: &str, object: &[u8]) -> Result<u32, DictionaryError> {
        let damaged = || DictionaryError::Damaged(name.to_owned());
        let rest = object.strip_prefix(&MAGIC).ok_or_else(damaged)?;
        let (made, content) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
        let id = number(object);
        // The name says what it holds.
        if object.len() > MOST || content.is_empty() || name != object_name(id) {
            return Err(damaged());
        }
        let made = i64::from_be_bytes(*made);
        let dictionary = Dictionary::of(id, made, self.level, content);
        let mut known = self.known.write();
        known.all.insert(id, dictionary);
        if (known.current.made, known.current.id) < (made, id) {
            known.current = dictionary;
        }
        Ok(id)
    }

    /// The one by its number.
    #[must_use]
    pub fn find(&self, id: u32) -> Option<&'static Dictionary> {
        self.known.read().all.get(&id).copied()
    }

    /// The one to compress with.
    #[must_use]
    pub fn current(&self) -> &'static Dictionary {
        self.known.read().current
    }

    /// None.
    #[must_use]
    pub fn none(&self) -> &'static Dictionary {
        self.none
    }
}

impl Dictionary {
    /// Each is made once in a process, whoever needs it.
    fn of(id: u32, made: i64, level: i32, content: &[u8]) -> &'static Self {
        type All = BTreeMap<(u32, i32, [u8; 32]), &'static Dictionary>;
        static ALL: Mutex<All> = Mutex::new(BTreeMap::new());
        let mut all = ALL.lock();
        all.entry((id, level, *blake3::hash(content).as_bytes())).or_insert_with(|| {
            let is_one = !content.is_empty();
            Box::leak(Box::new(Self {
                id,
                made,
                level,
                encoder: is_one.then(|| EncoderDictionary::copy(content, level)),
                decoder: is_one.then(|| DecoderDictionary::copy(content)),
                compressors: Mutex::new(Vec::new()),
                decompressors: Mutex::new(Vec::new()),
            }))
        })
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// When it was trained, in seconds since 1970; 0 if it came with the program.
    #[must_use]
    pub fn made(&self) -> i64 {
        self.made
    }

    /// Compresses. None if zstd doesn't.
    pub(crate) fn compress(&'static self, content: &[u8]) -> Option<Vec<u8>> {
        let kept = self.compressors.lock().pop();
        let mut compressor = match kept {
            Some(compressor) => compressor,
            None => self.compressor()?,
        };
        let compressed = compressor.compress(content).ok();
        let mut kept = self.compressors.lock();
        if compressed.is_some() && kept.len() < KEPT {
            kept.push(compressor);
        }
        compressed
    }

    fn compressor(&'static self) -> Option<Compressor<'static>> {
        let mut compressor = match &self.encoder {
            Some(encoder) => Compressor::with_prepared_dictionary(encoder),
            None => Compressor::new(self.level),
        }
        .ok()?;
        compressor.include_magicbytes(false).ok()?;
        compressor.include_contentsize(false).ok()?;
        compressor.include_dictid(false).ok()?;
        compressor.include_checksum(false).ok()?;
        Some(compressor)
    }

    /// Decompresses to just so many bytes.
    pub(crate) fn decompress(&'static self, content: &[u8], length: usize) -> Option<Vec<u8>> {
        let kept = self.decompressors.lock().pop();
        let mut decompressor = match kept {
            Some(decompressor) => decompressor,
            None => self.decompressor()?,
        };
        // Memory that nothing was written to costs nothing, whatever length a damaged frame tells.
        let mut decompressed = Vec::with_capacity(length);
        let done = decompressor.decompress_to_buffer(content, &mut decompressed).ok();
        let mut kept = self.decompressors.lock();
        if kept.len() < KEPT {
            kept.push(decompressor);
        }
        (done == Some(length) && decompressed.len() == length).then_some(decompressed)
    }

    fn decompressor(&'static self) -> Option<Decompressor<'static>> {
        let mut decompressor = match &self.decoder {
            Some(decoder) => Decompressor::with_prepared_dictionary(decoder),
            None => Decompressor::new(),
        }
        .ok()?;
        decompressor.include_magicbytes(false).ok()?;
        Some(decompressor)
    }
}

impl std::fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Dictionary({:08x})", self.id)
    }
}

/// Trains a dictionary with contents of messages. Returns the name and the bytes of the object to keep.
///
/// # Errors
///
/// [`DictionaryError::Training`] if there are too few samples.
pub fn train(samples: &[Bytes], made: i64) -> Result<(String, Bytes), DictionaryError> {
    let trained = zstd::dict::from_samples(samples, SIZE)
        .map_err(|error| DictionaryError::Training(error.to_string()))?;
    let mut object = MAGIC.to_vec();
    object.extend_from_slice(&made.to_be_bytes());
    object.extend_from_slice(&trained);
    Ok((object_name(number(&object)), Bytes::from(object)))
}

/// The name of the object with a dictionary.
#[must_use]
pub fn object_name(id: u32) -> String {
    format!("{id:08x}.dictionary")
}

/// A number from what it holds.
pub(crate) fn number(object: &[u8]) -> u32 {
    let hash = blake3::hash(object);
    let first = hash.as_bytes().first_chunk::<4>().copied().unwrap_or_default();
    u32::from_be_bytes(first) | 1 << 31
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Bytes> {
        (0..3000u32)
            .map(|at| {
                let text = format!(
                    "Received: from relay{}.example.net\r\nSubject: order {} of the day\r\n\r\nYour order {at} was shipped on day {}.\r\n",
                    at % 7,
                    at * 7919 % 10_007,
                    at % 31
                );
                Bytes::from(text)
            })
            .collect()
    }

    #[test]
    fn a_trained_one_is_kept_and_used() {
        let (name, object) = train(&samples(), 1_800_000_000).unwrap();
        let dictionaries = Dictionaries::new(3);
        let first = dictionaries.current().compress(&samples()[5]).unwrap();
        let id = dictionaries.add(&name, &object).unwrap();
        assert_eq!((dictionaries.current().id(), id >> 31), (id, 1));
        let trained = dictionaries.current().compress(&samples()[5]).unwrap();
        assert!(trained.len() < first.len(), "{} and {}", trained.len(), first.len());
        let found = dictionaries.find(id).unwrap();
        assert_eq!(found.decompress(&trained, samples()[5].len()).unwrap(), samples()[5]);
        assert_eq!(found.decompress(&trained, samples()[5].len() + 1), None);
        assert_eq!(found.decompress(&trained, samples()[5].len() - 1), None);
        let old = dictionaries.find(1).unwrap();
        assert_eq!(old.decompress(&first, samples()[5].len()).unwrap(), samples()[5]);
        // One that was made before is known, but not compressed with.
        let (older, object) = train(&samples(), 1_700_000_000).unwrap();
        let older = dictionaries.add(&older, &object).unwrap();
        assert_eq!(dictionaries.current().id(), id);
        assert!(dictionaries.find(older).is_some());
    }

    #[test]
    fn a_damaged_one_is_refused() {
        let (name, object) = train(&samples(), 1_800_000_000).unwrap();
        let dictionaries = Dictionaries::new(3);
        for at in [0, 8, 15, 16, 5000] {
            let mut object = object.to_vec();
            object[at] ^= 1;
            assert!(dictionaries.add(&name, &object).is_err(), "{at}");
        }
        assert!(dictionaries.add(&name, &object[..16]).is_err());
        assert!(dictionaries.add(&name, b"").is_err());
        assert_eq!(dictionaries.current().id(), 1);
    }

    #[test]
    fn the_first_one_never_changes() {
        let hash = blake3::hash(FIRST).to_hex();
        assert_eq!(&hash.as_str()[..16], "4d19da32db893542", "frames were compressed with it");
    }

    #[test]
    fn too_few_samples_train_nothing() {
        let error = train(&[Bytes::from_static(b"one")], 0).unwrap_err();
        assert!(matches!(error, DictionaryError::Training(_)), "{error}");
    }
}
