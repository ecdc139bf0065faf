//! `cargo xtask train`: a model for the filter that knows something from the first day.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::bench::corpus::Corpus;
use crate::bench::rehearsal::Rehearsal;
use crate::build::{self, Profile};
use crate::house::House;
use crate::run::{binary, built};
use crate::setup::{self, Purpose};

/// Train the filter's model by the first half of SpamAssassin's public corpus, in the order in which it came
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where it is written; by default into the target folder
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Let this muralla learn, instead of building one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Learn the second half, too: nothing is left then to try the model with
    #[arg(long)]
    whole: bool,
    /// Keep what was seen once only: the model is larger, and a little better
    #[arg(long)]
    full: bool,
}

pub(crate) fn run(house: &House, args: &Args) -> Result<()> {
    setup::ensure(Purpose::Build)?;
    let corpus = Corpus::spamassassin(house)?;
    println!("{}", corpus.told()?);
    let binary = match &args.binary {
        Some(given) => binary(house, Some(given))?,
        None => {
            build::build(house, Profile::Release)?;
            built(house, Profile::Release)
        }
    };
    let (first, _) = corpus.halves();
    let taught = if args.whole { corpus.messages.as_slice() } else { first };
    let list = corpus.list("taught", taught)?;
    let out = args.out.clone().unwrap_or_else(|| house.target.join("filter/filter.model"));
    println!("learning {} of them ...", taught.len());
    let way = Rehearsal { save: Some(&out), condensed: !args.full, ..Rehearsal::of(&list) };
    way.run(&binary)?;
    println!("{}", told(&out, taught.len())?);
    Ok(())
}

/// What it is, how large, and what it was made of.
fn told(model: &Path, messages: usize) -> Result<String> {
    let bytes = fs::metadata(model).with_context(|| format!("{}", model.display()))?.len();
    Ok(format!(
        "{}: {:.1} MB, made of {messages} messages whose licences are PDDL 1.0 and CC0 1.0; it has no words of theirs, but hashes",
        model.display(),
        bytes as f64 / 1e6
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_told_with_its_size_and_what_it_was_made_of() {
        let model = std::env::temp_dir().join(format!("muralla-model-{}", std::process::id()));
        fs::write(&model, vec![0; 1_260_000]).unwrap();
        let told = told(&model, 3_023);
        fs::remove_file(&model).unwrap();
        let told = told.unwrap();
        for word in ["1.3 MB", "3023", "CC0"] {
            assert!(told.contains(word), "{told}");
        }
    }
}
