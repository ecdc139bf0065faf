//! The command line of the filter.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// A model and the messages that are judged by it.
#[derive(Args, Clone, Debug)]
pub(crate) struct Model {
    /// What was learned before. Without it, and without one in the configuration, no words are known.
    #[arg(long, value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FilterCommand {
    /// Judge messages in files, as for somebody who has no history, and without asking anybody.
    ///
    /// Exit code 0 if all of them would come into the Inbox, 1 if not.
    #[command(after_help = "\
Examples:
  muralla filter test message.eml
  muralla filter test --json Maildir/cur/* | jq '.[] | .log_odds'")]
    Test {
        #[command(flatten)]
        model: Model,
        /// Messages, as they came or as they are stored.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Say why a message is judged as it is: what was found, and the words that say most.
    #[command(after_help = "\
Examples:
  muralla filter explain message.eml")]
    Explain {
        #[command(flatten)]
        model: Model,
        /// The message.
        file: PathBuf,
    },
    /// Learn what messages are, into a model's file.
    ///
    /// The roles that use it take it with their next start.
    #[command(after_help = "\
Examples:
  muralla filter learn --spam traps/*.eml
  muralla filter learn --ham --model new.model sorted/*.eml")]
    Learn {
        #[command(flatten)]
        model: Model,
        /// They are spam.
        #[arg(long, required_unless_present = "ham", conflicts_with = "ham")]
        spam: bool,
        /// Somebody wants them.
        #[arg(long)]
        ham: bool,
        /// Messages, as they came or as they are stored.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Go through mail of which it is known what it is: judge each message, then learn it.
    ///
    /// It shows how well the filter would have done, and makes a model.
    #[command(after_help = "\
Examples:
  muralla filter rehearse --list corpus/list --save new.model
  muralla filter rehearse --list corpus/list --model new.model --no-learning --json

Each line of the list is `ham PATH` or `spam PATH`, in the order in which the mail came; paths begin at the list's folder.")]
    Rehearse {
        #[command(flatten)]
        model: Model,
        /// Which files, and what they are.
        #[arg(long, value_name = "FILE")]
        list: PathBuf,
        /// Where the model is written that was learned.
        #[arg(long, value_name = "FILE")]
        save: Option<PathBuf>,
        /// Leave out of that model what was seen once: it is smaller, and nearly as good.
        #[arg(long, requires = "save")]
        condensed: bool,
        /// Only judge.
        #[arg(long)]
        no_learning: bool,
    },
}
