//! `cargo xtask run`: the appliance, in a lab of its own unless it is given a configuration.
//!
//! - [`appliance`]: `muralla run` between the lab's two sides, and [`admin`]: what it says
//! - [`authority`]: the name server on the Internet that its resolver asks
//! - [`traffic`]: legitimate users, and [`attack`]: those who are not
//! - [`scene`]: what happened in the last second, [`screen`] and [`plain`]: how that is shown
//! - [`cores`]: who runs where

pub(crate) mod admin;
pub(crate) mod appliance;
pub(crate) mod attack;
mod authority;
pub(crate) mod cores;
mod plain;
mod scene;
mod screen;
pub(crate) mod traffic;

use std::fs;
use std::io::{IsTerminal, stdin, stdout};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use muralla_lab::peers::MAILBOX;
use muralla_lab::topology::{DEFAULT_PREFIX, SERVICE_V4};
use muralla_lab::{Lab, LabOptions};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::build::{self, Profile};
use crate::house::{House, is_root};
use crate::process::aloud;
use crate::setup::{self, Purpose};
use appliance::{Appliance, MAIL_PASSWORD};
use attack::Attack;
use scene::Scene;

/// Run the appliance: with --config where it says, else in a lab with real servers, users and floods
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run the appliance on this machine with this configuration, and no lab
    #[arg(long, value_name = "FILE", conflicts_with_all = ["attack", "no_wall", "seconds", "plain"])]
    config: Option<PathBuf>,
    /// Begin this flood after three quiet seconds
    #[arg(long)]
    attack: Option<Attack>,
    /// Leave the wall away, to see what happens without
    #[arg(long)]
    no_wall: bool,
    /// Put this muralla into the lab, instead of building one
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    binary: Option<PathBuf>,
    /// End after so many seconds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// Print lines instead of a live view, as is done without a terminal
    #[arg(long)]
    plain: bool,
}

/// Quiet seconds before a flood that was asked for.
const QUIET: u64 = 3;

pub(crate) fn run(house: &House, args: &Args) -> Result<()> {
    if !is_root() {
        bail!("only root can load programs and make namespaces: run it as root");
    }
    if let Some(config) = &args.config {
        setup::ensure(Purpose::Build)?;
        build::build(house, Profile::Release)?;
        return appliance_alone(house, config);
    }
    setup::ensure(Purpose::Everything)?;
    let binary = binary(house, args.binary.as_deref())?;
    let stopped = stop_by_signal()?;
    let attacker = cores::divide()?;
    println!("Building the lab, with a name server on the Internet ...");
    let lab = Lab::up(DEFAULT_PREFIX, LabOptions::default())?;
    cores::divide_queues(&lab)?;
    let (_authority, server) = authority::start(&lab, &binary)?;
    let wall = if args.no_wall { "without the wall" } else { "and putting the wall up" };
    println!("Starting DNS, RADIUS and mail at the edge, {wall} ...");
    let appliance = Appliance::with_services(&lab, &binary, !args.no_wall, &server)?;
    println!(
        "Mail: {MAILBOX} with the password {MAIL_PASSWORD} sends by {SERVICE_V4}:587 and fetches by {SERVICE_V4}:110 or 995,\n\
         from `nsenter --net=/run/netns/{}`.",
        lab.customers().name()
    );
    let mut scene = Scene::new(&lab, appliance, attacker)?;
    let mut second = 0;
    let each_second = |scene: &mut Scene<'_>| {
        second += 1;
        if let Some(attack) = args.attack
            && second == QUIET
        {
            scene.toggle(attack)?;
        }
        Ok(args.seconds.is_none_or(|last| second < last))
    };
    let live = !args.plain && stdout().is_terminal() && stdin().is_terminal();
    let watched = if live {
        screen::show(&mut scene, &stopped, each_second)
    } else {
        print(&mut scene, &stopped, each_second)
    };
    let summary = scene.end();
    watched?;
    println!("How the legitimate users fared:\n{summary}");
    Ok(())
}

/// When to measure again: a second after the last time, but with room for keys and signals, however long the last one took.
fn second_after(last: Instant) -> Instant {
    (last + Duration::from_secs(1)).max(Instant::now() + Duration::from_millis(200))
}

/// The binary for a lab: the given one, or one that is built now. The programs in it are the same in
/// every profile.
pub(crate) fn binary(house: &House, given: Option<&Path>) -> Result<PathBuf> {
    if let Some(given) = given {
        return fs::canonicalize(given).with_context(|| format!("there is no {}", given.display()));
    }
    build::build(house, Profile::Dev)?;
    Ok(built(house, Profile::Dev))
}

/// Where the binary of that profile lies once it is built.
pub(crate) fn built(house: &House, profile: Profile) -> PathBuf {
    house.target.join(profile.folder()).join("muralla")
}

/// True from the first SIGINT, SIGTERM or SIGHUP on, so that what was built is taken down in order.
pub(crate) fn stop_by_signal() -> Result<Arc<AtomicBool>> {
    let stopped = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stopped)).context("handling signals")?;
    }
    Ok(stopped)
}

fn appliance_alone(house: &House, config: &Path) -> Result<()> {
    let mut command = std::process::Command::new(built(house, Profile::Release));
    command.arg("run").arg("--config").arg(config);
    // Ctrl-C is for the appliance, whose end is ours.
    let _stopped = stop_by_signal()?;
    aloud(command)
}

fn print(
    scene: &mut Scene<'_>,
    stopped: &AtomicBool,
    mut each_second: impl FnMut(&mut Scene<'_>) -> Result<bool>,
) -> Result<()> {
    let mut next = Instant::now();
    loop {
        next = second_after(next);
        while let left = next.saturating_duration_since(Instant::now())
            && !left.is_zero()
        {
            if stopped.load(Ordering::Relaxed) {
                return Ok(());
            }
            thread::sleep(left.min(Duration::from_millis(100)));
        }
        scene.measure()?;
        let second = scene.started.elapsed().as_secs();
        print!("{}", plain::Block { view: &scene.view, second });
        if !each_second(scene)? {
            return Ok(());
        }
    }
}
