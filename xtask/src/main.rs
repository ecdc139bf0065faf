//! Every habit of a developer as a command: `cargo xtask --help` lists them.
//!
//! One module for each habit; [`house`] knows where things lie, [`process`] how programs are run.

mod bench;
mod build;
mod ebpf;
mod fuzz;
mod house;
mod lab;
mod package;
mod process;
mod run;
mod setup;
mod test;
mod train;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use house::House;

fn main() -> ExitCode {
    match run(Xtask::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Muralla's habits. Each command first installs what it needs and is missing.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Xtask {
    Setup(setup::Args),
    Build(build::Args),
    Run(run::Args),
    Test(test::Args),
    Bench(bench::Args),
    Fuzz(fuzz::Args),
    Package(package::Args),
    Train(train::Args),
    Lab(lab::Args),
}

fn run(command: Xtask) -> Result<()> {
    let house = House::find()?;
    match command {
        Xtask::Setup(args) => setup::run(&house, &args),
        Xtask::Build(args) => build::run(&house, &args),
        Xtask::Run(args) => run::run(&house, &args),
        Xtask::Test(args) => test::run(&house, &args),
        Xtask::Bench(args) => bench::run(&house, &args),
        Xtask::Fuzz(args) => fuzz::run(&house, &args),
        Xtask::Package(args) => package::run(&house, &args),
        Xtask::Train(args) => train::run(&house, &args),
        Xtask::Lab(args) => lab::run(&args),
    }
}
