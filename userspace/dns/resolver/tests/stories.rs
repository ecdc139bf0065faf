//! Stories: each file of `stories/` is a small Internet with servers that misbehave, the questions that are asked of
//! the resolver, and what must come of it. `story/script.rs` says how they are written.
//!
//! Time is virtual: a server that is silent for seconds costs none.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod private_internet;
mod story;

use std::path::Path;

use libtest_mimic::{Arguments, Failed, Trial};

use story::{play, script};

fn main() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stories");
    let mut files: Vec<_> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "story"))
        .collect();
    files.sort();
    let trials = files.into_iter().map(|path| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        Trial::test(name, move || {
            let text = std::fs::read_to_string(&path)?;
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            let story = script::parse(&text).map_err(|e| Failed::from(format!("{file}: {e:#}")))?;
            play::play(&story).map_err(|e| Failed::from(format!("{file}: {e:#}")))
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}
