//! A model as octets.
//!
//! | octets | |
//! |---|---|
//! | 8 | `MURALLAs` |
//! | 4 | version |
//! | 8 | a number by which the key is known again |
//! | 4 | octets of the parameters, and so many |
//! | | counts of lessons, whom to believe, the tally, the ledger of the day |
//! | | words, fours of letters, runs of letters, opinions: buckets or slots in runs, each with the number of empty and of taken ones before it |
//! | 4 | CRC-32C of all before |
//!
//! All numbers are big-endian. What is read is as big as the parameters say and no bigger than the reader allows; nothing in
//! it is believed before it was looked at.

use std::io::{self, Read, Write};

use crc32c::crc32c_append;

use crate::hash::Key;
use crate::lesson::Day;
use crate::lexicon::{self, Entry};
use crate::model::Model;
use crate::parameters::{Parameters, ParametersError};
use crate::personal::{self, Opinion};
use crate::tally::{Daily, MOST_DAYS};

const MAGIC: &[u8; 8] = b"MURALLAs";
const VERSION: u32 = 1;

/// Octets that are written at once.
const BUFFER: usize = 64 * 1024;

/// Beyond it, a number in a file is damage.
const HIGHEST: f32 = 1e9;

/// Why octets are no model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// They can't be read or written, or end too early.
    #[error("a model can't be read or written")]
    Io(#[from] io::Error),
    /// Something else.
    #[error("this is no model")]
    Foreign,
    /// Of a later version of this program.
    #[error("the model has version {0}, of which only {VERSION} is known")]
    Version(u32),
    /// Learned with another key.
    #[error("the model was learned with another installation's key")]
    Key,
    /// Parameters that no model has.
    #[error(transparent)]
    Parameters(#[from] ParametersError),
    /// More memory than the caller allows.
    #[error("the model would take {0} octets of memory")]
    Memory(u64),
    /// Changed on its way.
    #[error("the model is damaged")]
    Damaged,
}

impl Model {
    /// Writes the model.
    ///
    /// # Errors
    ///
    /// If the writer has any.
    pub fn write(&self, writer: impl Write) -> Result<(), FileError> {
        let mut out = Out { writer, sum: 0, buffer: Vec::with_capacity(BUFFER + 64) };
        out.bytes(MAGIC)?;
        out.u32(VERSION)?;
        out.u64(self.key.check())?;
        let parameters = self.parameters.encode();
        out.u32(parameters.len() as u32)?;
        out.bytes(&parameters)?;
        for number in [self.counts.ham, self.counts.spam, self.tally.ham, self.tally.spam] {
            out.u64(number)?;
        }
        for weight in self.fusion.weights.into_iter().chain([self.fusion.bias]) {
            out.f32(weight)?;
        }
        out.u32(self.tally.days.len() as u32)?;
        for daily in &self.tally.days {
            for number in [daily.day.0, daily.ham, daily.spam] {
                out.u32(number)?;
            }
        }
        out.u32(self.ledger.day.0)?;
        for row in &self.ledger.rows {
            out.runs(row, |&taught| taught == 0, |out, &taught| out.bytes(&[taught]))?;
        }
        let empty = |bucket: &lexicon::Bucket| bucket.0.iter().all(|entry| entry.tag == 0);
        out.runs(&self.lexicon.buckets, empty, |out, bucket| {
            for entry in &bucket.0 {
                out.u32(entry.tag)?;
                out.bytes(&entry.ham.to_be_bytes())?;
                out.bytes(&entry.spam.to_be_bytes())?;
                out.f32(entry.z)?;
                out.f32(entry.n)?;
            }
            Ok(())
        })?;
        out.runs(&self.grams.weights, |&weight| weight == 0.0, |out, &weight| out.f32(weight))?;
        for total in self.contexts.total {
            out.u32(total)?;
        }
        out.runs(
            &self.contexts.short,
            |counts| *counts == [0; 2],
            |out, [ham, spam]| {
                out.u32(*ham)?;
                out.u32(*spam)
            },
        )?;
        out.runs(
            &self.contexts.long,
            |counts| *counts == [0; 2],
            |out, [ham, spam]| {
                out.bytes(&ham.to_be_bytes())?;
                out.bytes(&spam.to_be_bytes())
            },
        )?;
        let empty = |bucket: &personal::Bucket| bucket.0.iter().all(|opinion| opinion.tag == 0);
        out.runs(&self.personal.buckets, empty, |out, bucket| {
            for opinion in &bucket.0 {
                out.u32(opinion.tag)?;
                out.f32(opinion.weight)?;
            }
            Ok(())
        })?;
        out.finish()
    }

    /// Reads a model that takes at most `most_memory` octets.
    ///
    /// # Errors
    ///
    /// [`FileError`] says why it is none.
    pub fn read(reader: impl Read, key: Key, most_memory: u64) -> Result<Self, FileError> {
        let mut input = In { reader, sum: 0, buffer: vec![0; BUFFER], at: 0, end: 0 };
        if input.bytes::<8>()? != *MAGIC {
            return Err(FileError::Foreign);
        }
        let version = input.u32()?;
        if version != VERSION {
            return Err(FileError::Version(version));
        }
        if input.u64()? != key.check() {
            return Err(FileError::Key);
        }
        if input.u32()? as usize != Parameters::ENCODED {
            return Err(FileError::Damaged);
        }
        let parameters = Parameters::decode(&input.bytes()?)?;
        let memory = parameters.memory();
        if memory > most_memory {
            return Err(FileError::Memory(memory));
        }
        let mut model = Self::new(key, parameters)?;
        model.counts.ham = input.u64()?;
        model.counts.spam = input.u64()?;
        model.tally.ham = input.u64()?;
        model.tally.spam = input.u64()?;
        for weight in &mut model.fusion.weights {
            *weight = input.f32()?;
        }
        model.fusion.bias = input.f32()?;
        let days = input.u32()? as usize;
        if days > MOST_DAYS {
            return Err(FileError::Damaged);
        }
        for _ in 0..days {
            let (day, ham, spam) = (Day(input.u32()?), input.u32()?, input.u32()?);
            if model.tally.days.last().is_some_and(|last| last.day >= day) {
                return Err(FileError::Damaged);
            }
            model.tally.days.push(Daily { day, ham, spam });
        }
        model.ledger.day = Day(input.u32()?);
        for row in &mut model.ledger.rows {
            input.runs(row, |input| Ok(u8::from_be_bytes(input.bytes()?)))?;
        }
        input.runs(&mut model.lexicon.buckets, |input| {
            let mut bucket = lexicon::Bucket::default();
            for entry in &mut bucket.0 {
                *entry = Entry {
                    tag: input.u32()?,
                    ham: input.u16()?,
                    spam: input.u16()?,
                    z: input.f32()?,
                    n: input.f32()?,
                };
                if entry.n < 0.0 {
                    return Err(FileError::Damaged);
                }
            }
            Ok(bucket)
        })?;
        input.runs(&mut model.grams.weights, In::f32)?;
        model.contexts.total = [input.u32()?, input.u32()?];
        input.runs(&mut model.contexts.short, |input| Ok([input.u32()?, input.u32()?]))?;
        input.runs(&mut model.contexts.long, |input| Ok([input.u16()?, input.u16()?]))?;
        input.runs(&mut model.personal.buckets, |input| {
            let mut bucket = personal::Bucket::default();
            for opinion in &mut bucket.0 {
                *opinion = Opinion { tag: input.u32()?, weight: input.f32()? };
            }
            Ok(bucket)
        })?;
        input.finish()?;
        Ok(model)
    }
}

/// Writes with a checksum, and not octet by octet.
struct Out<W> {
    writer: W,
    sum: u32,
    buffer: Vec<u8>,
}

impl<W: Write> Out<W> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), FileError> {
        self.sum = crc32c_append(self.sum, &self.buffer);
        self.writer.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    fn u32(&mut self, number: u32) -> Result<(), FileError> {
        self.bytes(&number.to_be_bytes())
    }

    fn u64(&mut self, number: u64) -> Result<(), FileError> {
        self.bytes(&number.to_be_bytes())
    }

    fn f32(&mut self, number: f32) -> Result<(), FileError> {
        self.u32(number.to_bits())
    }

    /// Slots in runs: so many empty ones, so many taken, and these.
    fn runs<T>(
        &mut self,
        slots: &[T],
        empty: impl Fn(&T) -> bool,
        mut write: impl FnMut(&mut Self, &T) -> Result<(), FileError>,
    ) -> Result<(), FileError> {
        let mut rest = slots;
        while !rest.is_empty() {
            let skipped = rest.iter().position(|slot| !empty(slot)).unwrap_or(rest.len());
            rest = rest.get(skipped..).unwrap_or_default();
            let taken = rest.iter().position(&empty).unwrap_or(rest.len());
            let (run, behind) = rest.split_at(taken);
            rest = behind;
            self.u32(skipped as u32)?;
            self.u32(taken as u32)?;
            for slot in run {
                write(self, slot)?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), FileError> {
        self.flush()?;
        let sum = self.sum.to_be_bytes();
        self.writer.write_all(&sum)?;
        self.writer.flush()?;
        Ok(())
    }
}

/// Reads with a checksum.
struct In<R> {
    reader: R,
    sum: u32,
    buffer: Vec<u8>,
    /// What of the buffer was not used yet.
    at: usize,
    end: usize,
}

impl<R: Read> In<R> {
    /// The next octets, which are summed up when the buffer was used.
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], FileError> {
        while self.end - self.at < N {
            self.fill()?;
        }
        let mut bytes = [0; N];
        let source = self.buffer.get(self.at..self.at + N).ok_or(FileError::Damaged)?;
        bytes.copy_from_slice(source);
        self.at += N;
        Ok(bytes)
    }

    fn fill(&mut self) -> Result<(), FileError> {
        self.sum_up();
        let room = self.buffer.get_mut(self.end..).ok_or(FileError::Damaged)?;
        match self.reader.read(room) {
            Ok(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(read) => {
                self.end += read;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Sums up what was used of the buffer, and makes room for more.
    fn sum_up(&mut self) {
        self.sum = crc32c_append(self.sum, self.buffer.get(..self.at).unwrap_or_default());
        self.buffer.copy_within(self.at..self.end, 0);
        self.end -= self.at;
        self.at = 0;
    }

    fn u16(&mut self) -> Result<u16, FileError> {
        Ok(u16::from_be_bytes(self.bytes()?))
    }

    fn u32(&mut self) -> Result<u32, FileError> {
        Ok(u32::from_be_bytes(self.bytes()?))
    }

    fn u64(&mut self) -> Result<u64, FileError> {
        Ok(u64::from_be_bytes(self.bytes()?))
    }

    fn f32(&mut self) -> Result<f32, FileError> {
        let number = f32::from_bits(self.u32()?);
        if number.abs() <= HIGHEST { Ok(number) } else { Err(FileError::Damaged) }
    }

    fn runs<T>(
        &mut self,
        slots: &mut [T],
        mut read: impl FnMut(&mut Self) -> Result<T, FileError>,
    ) -> Result<(), FileError> {
        let mut rest = slots;
        while !rest.is_empty() {
            let (skipped, taken) = (self.u32()? as usize, self.u32()? as usize);
            // A run of nothing would let a file go on for ever.
            if skipped == 0 && taken == 0 {
                return Err(FileError::Damaged);
            }
            let (_, behind) = rest.split_at_mut_checked(skipped).ok_or(FileError::Damaged)?;
            let (run, behind) = behind.split_at_mut_checked(taken).ok_or(FileError::Damaged)?;
            for slot in run {
                *slot = read(self)?;
            }
            rest = behind;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), FileError> {
        self.sum_up();
        let expected = self.sum;
        if self.u32()? == expected { Ok(()) } else { Err(FileError::Damaged) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::tests::{ham, spam, taught};
    use crate::scratch::Scratch;
    use crate::{Class, Lesson, Model, User};

    const ENOUGH: u64 = 1 << 25;

    fn key() -> Key {
        Key::new(b"a test")
    }

    fn written(model: &Model) -> Vec<u8> {
        let mut octets = Vec::new();
        model.write(&mut octets).unwrap();
        octets
    }

    fn read(octets: &[u8]) -> Result<Model, FileError> {
        Model::read(octets, key(), ENOUGH)
    }

    /// A model with something in every part of it.
    fn model() -> Model {
        let mut model = taught();
        let lesson = Lesson::of_user(User(1), Class::Ham, Day(20_005));
        model.learn(&spam(3).text(), &lesson, &mut Scratch::new());
        model
    }

    #[test]
    fn models_come_back() {
        let model = model();
        let octets = written(&model);
        let mut back = read(&octets).unwrap();
        assert!(written(&back) == octets);
        assert_eq!(back.tally(), model.tally());
        assert_eq!(back.parameters(), model.parameters());
        let mut scratch = Scratch::new();
        for (text, user) in [(ham(7).text(), None), (spam(3).text(), Some(User(1)))] {
            assert_eq!(
                back.score(&text, user, &mut scratch),
                model.score(&text, user, &mut scratch)
            );
        }
        // The day's limits with them.
        let mut model = model;
        let lesson = Lesson::of_user(User(1), Class::Ham, Day(20_005));
        for turn in 0..30 {
            let learned = model.learn(&spam(turn).text(), &lesson, &mut scratch);
            let again = back.learn(&spam(turn).text(), &lesson, &mut scratch);
            assert_eq!(again.common, learned.common);
        }
    }

    #[test]
    fn a_young_model_is_small() {
        let octets = written(&crate::model::tests::small());
        assert!(octets.len() < 400, "{}", octets.len());
        assert!(read(&octets).is_ok());
    }

    #[test]
    fn a_file_that_ends_early_is_noticed() {
        let octets = written(&model());
        let ends = (0..300).chain((300..octets.len()).step_by(997)).chain([octets.len() - 1]);
        for end in ends {
            assert!(matches!(read(&octets[..end]), Err(FileError::Io(_))), "{end}");
        }
    }

    #[test]
    fn a_changed_octet_is_noticed() {
        let mut octets = written(&model());
        let places = (0..300).chain((300..octets.len()).step_by(991)).collect::<Vec<usize>>();
        for at in places {
            for flip in [1, 0x80, 0xff] {
                octets[at] ^= flip;
                assert!(read(&octets).is_err(), "{at} {flip}");
                octets[at] ^= flip;
            }
        }
        assert!(read(&octets).is_ok());
    }

    #[test]
    fn what_is_wrong_is_told() {
        let octets = written(&model());
        let with = |at: usize, bytes: &[u8]| {
            let mut octets = octets.clone();
            octets[at..at + bytes.len()].copy_from_slice(bytes);
            read(&octets).map(drop)
        };
        assert!(matches!(with(0, b"MURALLAj"), Err(FileError::Foreign)));
        assert!(matches!(with(8, &[0, 0, 0, 2]), Err(FileError::Version(2))));
        assert!(matches!(with(12, &[0; 8]), Err(FileError::Key)));
        assert!(matches!(with(20, &[0xff; 4]), Err(FileError::Damaged)));
        assert!(matches!(with(24, &[30]), Err(FileError::Parameters(_))));
        assert!(matches!(with(24, &[24]), Err(FileError::Memory(_))));
        let last = octets.len() - 1;
        assert!(matches!(with(last, &[!octets[last]]), Err(FileError::Damaged)));
        let other = Model::read(octets.as_slice(), Key::new(b"another"), ENOUGH);
        assert!(matches!(other, Err(FileError::Key)));
    }

    #[test]
    fn readers_may_be_slow() {
        struct Slow<'a>(&'a [u8]);
        impl Read for Slow<'_> {
            fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
                let most = room.len().min(7);
                self.0.read(&mut room[..most])
            }
        }
        let octets = written(&model());
        let back = Model::read(Slow(&octets), key(), ENOUGH).unwrap();
        assert!(written(&back) == octets);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Damage that has the right checksum is refused, or is a model that judges and can be written.
        #[test]
        fn nothing_in_a_file_is_believed(
            places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            early in any::<bool>(),
        ) {
            let mut octets = written(&taught());
            let end = octets.len() - 4;
            let within = if early { 400 } else { end };
            for (place, byte) in places {
                octets[24 + place.index(within - 24)] = byte;
            }
            let sum = crc32c::crc32c(&octets[..end]).to_be_bytes();
            octets[end..].copy_from_slice(&sum);
            if let Ok(model) = read(&octets) {
                let score = model.score(&spam(3).text(), Some(User(1)), &mut Scratch::new());
                prop_assert!(!score.probability.is_nan());
                written(&model);
            }
        }
    }
}
