//! What the tables were made with, kept beside them: the seeds of the keyed hash, and the policy's number.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::Ordering;

use muralla_abi::table::Seeds;

use crate::kernel::{self, Shared};

/// A pinned map of two lines: twelve words of seeds, then the generation.
#[derive(Debug)]
pub(crate) struct Keyring {
    shared: Shared,
}

const LINES: u32 = 2;
const GENERATION: usize = Seeds::WORDS;

impl Keyring {
    /// The keyring pinned at `path`, or a new one with seeds of its own.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let (map, new) = match kernel::open_pinned(path) {
            Ok(map) => (map, false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (kernel::create_lines("KEYRING", LINES)?, true)
            }
            Err(error) => return Err(error),
        };
        let keyring = Self { shared: Shared::new(map.as_fd(), LINES as usize * 8)? };
        if new {
            for (word, seed) in keyring.shared.words().iter().zip(random_seeds()?.0) {
                word.store(seed, Ordering::Relaxed);
            }
            // Pinned when it is complete, and before any table is made with it.
            kernel::pin(map.as_fd(), path)?;
        }
        Ok(keyring)
    }

    /// The keyring pinned at `path`.
    pub(crate) fn view(path: &Path) -> io::Result<Self> {
        let map = kernel::open_pinned(path)?;
        Ok(Self { shared: Shared::new(map.as_fd(), LINES as usize * 8)? })
    }

    /// The seeds.
    pub(crate) fn seeds(&self) -> Seeds {
        let mut seeds = Seeds::default();
        for (seed, word) in seeds.0.iter_mut().zip(self.shared.words()) {
            *seed = word.load(Ordering::Relaxed);
        }
        seeds
    }

    /// The number of the policy that was published last.
    pub(crate) fn generation(&self) -> u64 {
        self.shared.words().get(GENERATION).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// Notes that a policy was published.
    pub(crate) fn set_generation(&self, generation: u64) {
        if let Some(word) = self.shared.words().get(GENERATION) {
            word.store(generation, Ordering::Relaxed);
        }
    }
}

fn random_seeds() -> io::Result<Seeds> {
    let mut bytes = [0u8; Seeds::WORDS * 8];
    io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    let (words, _) = bytes.as_chunks();
    let mut seeds = Seeds::default();
    for (seed, bytes) in seeds.0.iter_mut().zip(words) {
        *seed = u64::from_ne_bytes(*bytes);
    }
    Ok(seeds)
}
