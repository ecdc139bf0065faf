//! How far something is that takes long, for who sits in front of it.

use std::io::{IsTerminal as _, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of so many steps; elsewhere than on a terminal a line that says what is done. It goes away when dropped.
pub(super) struct Progress(ProgressBar);

impl Progress {
    pub(super) fn of(what: impl Into<String>, steps: u64) -> Self {
        let what = what.into();
        if !stderr().is_terminal() {
            eprintln!("{what}");
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(steps);
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {elapsed}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_millis(250));
        Self(bar)
    }

    /// Another step is done.
    pub(super) fn step(&self) {
        self.0.inc(1);
    }

    /// Says what is being done now.
    pub(super) fn say(&self, what: impl Into<String>) {
        let what = what.into();
        if self.0.is_hidden() {
            eprintln!("{what}");
        }
        self.0.set_message(what);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
