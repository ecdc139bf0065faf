//! An edge appliance for Internet providers: the wall at the network card, and the services behind it.
//!
//! - [`cli`]: the command line, and [`commands`]: what it does
//! - [`configuration`]: the file, read whole and complained about whole
//! - [`run`]: the daemon's process, and [`daemon`]: its state
//! - [`roles`]: what one process does
//! - [`edge`], [`dns`], [`radius`]: the wall and the services as the daemon sees them, and [`hot`] between the first two
//! - [`admin`]: the socket between the two
//! - [`following`]: samples on their way from the kernel to those who follow them
//! - [`failure`]: an error in the words that a person gets to see
//! - [`metrics`]: what Prometheus sees
//! - [`top`]: the live view

mod admin;
mod cli;
mod commands;
mod configuration;
mod daemon;
mod descriptor;
mod dns;
mod edge;
mod failure;
#[cfg(test)]
mod fake;
mod following;
mod hot;
mod mail;
mod metrics;
mod radius;
mod roles;
mod run;
mod top;

use std::process::ExitCode;

use clap::Parser;
use muralla_edge::offenders::Offence;

use admin::client::Client;
use cli::{Cli, Command, DnsCommand, EdgeCommand, ZoneCommand};
use commands::Call;
use edge::{Builder, Kernel};
use run::Makers;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match act(cli) {
        Ok(code) => code,
        Err(error) if commands::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("muralla: {}", failure::words(&error));
            ExitCode::FAILURE
        }
    }
}

fn act(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Run { ref roles } => {
            let makers = Makers {
                edge: Box::new(Kernel),
                dns: Box::new(dns::Sockets),
                radius: Box::new(radius::Sockets),
                mail: Box::new(mail::Sockets),
            };
            run::run(&cli.config, cli.socket.as_deref(), roles, makers)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Dns(DnsCommand::Zone(ZoneCommand::Check { ref file, ref origin, ref format })) => {
            commands::dns::zone_check(
                &cli.config,
                file,
                origin.as_deref(),
                format.as_deref(),
                cli.json,
            )
        }
        Command::Check { ref file, print } => {
            let path = file.as_deref().unwrap_or(&cli.config);
            commands::check(path, &cli.addresses(), print, cli.json)
        }
        Command::Edge(EdgeCommand::Show { pin_dir }) => {
            let pin_dir = commands::pin_dir(pin_dir, &cli.config);
            commands::edge_show(&edge::show(&pin_dir)?, cli.json)
        }
        _ => tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(ask(cli)),
    }
}

async fn ask(cli: Cli) -> anyhow::Result<ExitCode> {
    let addresses = cli.addresses();
    let call = Call {
        client: Client::new(&addresses.common),
        dns: Client::new(&addresses.dns),
        radius: Client::new(&addresses.radius),
        mail: Client::new(&addresses.mail),
        config: cli.config.clone(),
        json: cli.json,
    };
    let call = &call;
    match cli.command {
        Command::Run { .. }
        | Command::Check { .. }
        | Command::Edge(EdgeCommand::Show { .. })
        | Command::Dns(DnsCommand::Zone(ZoneCommand::Check { .. })) => {
            // They are done without a daemon, above.
            Ok(ExitCode::SUCCESS)
        }
        Command::Status => commands::status(call, &cli.config).await,
        Command::Dns(command) => commands::dns::act(call, command).await,
        Command::Radius(command) => commands::radius::act(call, *command).await,
        Command::Mail(command) => commands::mail::act(call, *command).await,
        Command::Filter(command) => commands::filter::act(call, command).await,
        Command::Top { once, interval } => {
            let interval = std::time::Duration::from_secs_f64(interval);
            top::run(call, interval, once).await
        }
        Command::Drops { reason, service, all, end } => {
            commands::drops(call, reason.as_deref(), service.as_deref(), all, end).await
        }
        Command::Capture { write, all, end } => commands::capture(call, &write, all, end).await,
        Command::Block { prefix, time, note, service } => {
            commands::block(call, prefix, time, note, service).await
        }
        Command::Unblock { prefix } => commands::unblock(call, prefix).await,
        Command::Blocks => commands::blocks(call).await,
        Command::Allow { prefix, remove } => commands::allow(call, prefix, remove).await,
        Command::Edge(EdgeCommand::Attach) => commands::attach(call).await,
        Command::Edge(EdgeCommand::Detach { pin_dir }) => {
            let pin_dir = commands::pin_dir(pin_dir, &cli.config);
            commands::detach(call, &pin_dir, |pin_dir| Kernel.detach(pin_dir)).await
        }
        Command::Reload => commands::reload(call).await,
        Command::Offend { source, service, reason, weight, handshake, account } => {
            let offence = Offence { source, service, reason, weight, handshake, account };
            commands::offend(call, &offence).await
        }
        Command::Ping => commands::ping(call).await,
    }
}
