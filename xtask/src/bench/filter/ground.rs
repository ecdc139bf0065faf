//! Where the contenders stand: a lab without an Internet, a folder on a disk, and the messages.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use muralla_lab::{Lab, LabOptions};

use super::super::PREFIX;
use super::super::disk::Disk;
use super::super::division::Division;
use super::corpus::Corpus;
use super::rehearsal::Rehearsal;
use crate::house::House;

/// Of the corpus, one message of so many is used for a look.
const FEW: usize = 5;

/// The lab, and all that the parts share.
pub(super) struct Ground {
    model: OnceCell<PathBuf>,
    pub(super) lab: Lab,
    pub(super) division: Division,
    /// Ours, if it is measured.
    pub(super) binary: Option<PathBuf>,
    pub(super) disk: Disk,
    /// What all are taught, and what they are asked about.
    pub(super) corpus: Corpus,
    /// Ham of today's kind.
    pub(super) made_up: Corpus,
}

impl Ground {
    pub(super) fn prepare(
        house: &House,
        binary: Option<PathBuf>,
        disk: &Path,
        quick: bool,
    ) -> Result<Self> {
        let few = if quick { FEW } else { 1 };
        let corpus = Corpus::spamassassin(house)?.thinned(few);
        let made_up = Corpus::made_up(house)?.thinned(few);
        let division = Division::of_cores()?;
        // Mail comes from more places than the lab has of itself.
        let lab = Lab::up(PREFIX, LabOptions { internet: HOSTS, ..LabOptions::default() })?;
        lab.queue_links()?;
        let disk = Disk::prepare(disk, "filter")?;
        Ok(Self { model: OnceCell::new(), lab, division, binary, disk, corpus, made_up })
    }

    /// What ours learned from the first half.
    pub(super) fn model(&self) -> Result<&Path> {
        if let Some(model) = self.model.get() {
            return Ok(model);
        }
        let binary = self.binary.as_deref().context("there is no muralla that could learn")?;
        let list = self.corpus.list("first", self.corpus.halves().0)?;
        let model = self.disk.folder.join("first-half.model");
        eprintln!("filter: muralla learns the first half");
        Rehearsal { save: Some(&model), ..Rehearsal::of(&list) }.run(binary)?;
        Ok(self.model.get_or_init(|| model))
    }

    /// A program inside of the edge, on both cores: this thread's own choice of one is not for it.
    pub(super) fn anywhere(&self, program: &str) -> Command {
        self.inside(program, &format!("{},{}", self.division.serving, self.division.asking))
    }

    /// A program inside of the edge, on the core that serves.
    pub(super) fn serving(&self, program: &str) -> Command {
        self.inside(program, &self.division.serving.to_string())
    }

    fn inside(&self, program: &str, cores: &str) -> Command {
        let mut command = self.lab.edge().command("taskset");
        command.args(["-c", cores, program]);
        command
    }
}

/// Hosts on the Internet.
const HOSTS: u8 = 120;
