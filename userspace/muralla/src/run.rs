//! `muralla run`: the daemon.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use muralla_telemetry::logs;
use rustix::fs::FlockOperation;
use sd_notify::NotifyState;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{error, info, warn};

use crate::admin::api::{Done, Overview};
use crate::admin::client::Client;
use crate::admin::{server, socket};
use crate::configuration::{self, Configuration};
use crate::daemon::{Daemon, Refused, blocking};
use crate::edge::Builder;
use crate::following;
use crate::metrics;

/// Time that the daemon has for an answer through its own admin socket.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs until SIGTERM or SIGINT. The wall stays up afterwards.
///
/// # Errors
///
/// When the configuration is wrong, another daemon runs, or the wall can't be built.
pub(crate) fn run(
    path: &Path,
    socket: Option<&Path>,
    builder: Box<dyn Builder>,
) -> anyhow::Result<()> {
    let accepted = configuration::load(path)?;
    let mut configuration = accepted.configuration;
    if let Some(socket) = socket {
        configuration.admin.socket = socket.to_owned();
    }
    logs::start(configuration.log.level, configuration.log.format)?;
    for warning in accepted.warnings.lines() {
        warn!("{warning}");
    }
    let _lock = lock(&configuration.admin.socket)?;
    let listener = socket::listen(&configuration.admin.socket)?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(
        path,
        configuration,
        listener,
        builder,
    ))
}

async fn serve(
    path: &Path,
    configuration: Configuration,
    listener: std::os::unix::net::UnixListener,
    builder: Box<dyn Builder>,
) -> anyhow::Result<()> {
    // Before anything is up, so that no signal finds its default.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;

    let metrics = match configuration.metrics.listen {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    let client = Client::new(&configuration.admin.socket);
    let (sources, deliveries) = mpsc::unbounded_channel();
    let owned = path.to_owned();
    let started =
        tokio::task::spawn_blocking(move || Daemon::start(builder, &owned, configuration, sources));
    let daemon = started
        .await?
        .map(Arc::new)
        .context("the wall was not put up; what stood before, if anything, stays in force")?;
    let listener = UnixListener::from_std(listener)?;
    let admin = server::router(Arc::clone(&daemon));
    tokio::spawn(async move { axum::serve(listener, admin).await });
    if let Some(listener) = metrics {
        let router = metrics::router(Arc::clone(&daemon));
        tokio::spawn(async move { axum::serve(listener, router).await });
    }
    tokio::spawn(following::pump(Arc::clone(&daemon), deliveries));
    tokio::spawn(every(Duration::from_secs(1), Arc::clone(&daemon), Daemon::tick));
    tokio::spawn(every(Duration::from_secs(10), Arc::clone(&daemon), Daemon::refresh_if_changed));
    tokio::spawn(watch(client));

    blocking(&daemon, Daemon::tick).await?;
    notify(&[NotifyState::Ready, NotifyState::Status(&summary(&daemon.overview()))]);
    info!(version = env!("CARGO_PKG_VERSION"), configuration = %path.display(), "the wall stands");

    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                // Its outcome is logged, and shown by the status.
                let _ = blocking(&daemon, reload).await?;
            }
        }
    }
    notify(&[NotifyState::Stopping]);
    info!(
        "the daemon stops; the wall stays in force, with its last policy, until `muralla edge detach`"
    );
    Ok(())
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("can't serve metrics on {address}; choose another [metrics] listen, or \"none\"")
    })
}

/// Reloads the configuration and keeps systemd informed.
pub(crate) fn reload(daemon: &Daemon) -> Result<Done, Refused> {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => warn!(%error, "systemd is not told of the reload"),
    }
    let outcome = daemon.reload();
    notify(&[NotifyState::Ready, NotifyState::Status(&summary(&daemon.overview()))]);
    outcome
}

/// The state in one line, for `systemctl status`.
fn summary(overview: &Overview) -> String {
    match (overview.warnings.first(), &overview.edge) {
        (Some(warning), _) => warning.clone(),
        (None, Some(status)) => format!(
            "protecting {} interface(s), {} services, {} prefixes",
            status.interfaces.len(),
            status.services.len(),
            status.prefixes
        ),
        (None, None) => "detached".to_owned(),
    }
}

async fn every(period: Duration, daemon: Arc<Daemon>, act: fn(&Daemon)) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = blocking(&daemon, act).await {
            error!(%error, "a regular task failed; it is tried again");
        }
    }
}

/// Feeds systemd's watchdog, but only with the wall's status as the admin socket gives it.
async fn watch(client: Client) {
    let period = sd_notify::watchdog_enabled();
    let mut ticks = interval(period.map_or(Duration::from_secs(10), |period| period / 3));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match timeout(PATIENCE, client.get::<Overview>("/v1/status")).await {
            Ok(Ok(overview)) => {
                let summary = summary(&overview);
                let mut states = vec![NotifyState::Status(&summary)];
                if period.is_some() {
                    states.push(NotifyState::Watchdog);
                }
                notify(&states);
            }
            Ok(Err(error)) => error!(%error, "the admin socket does not answer"),
            Err(_) => error!("the admin socket does not answer within {PATIENCE:?}"),
        }
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "systemd can't be told");
    }
}

/// Only one daemon per runtime folder. The lock ends with the process, however it ends.
fn lock(socket: &Path) -> anyhow::Result<OwnedFd> {
    let folder = socket.parent().unwrap_or(Path::new("/run/muralla"));
    fs::create_dir_all(folder)
        .with_context(|| format!("can't create {}; run as root", folder.display()))?;
    let path = folder.join("muralla.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("can't open {}; run as root", path.display()))?;
    let file = OwnedFd::from(file);
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => bail!(
            "another muralla is running: it holds {}; `systemctl status muralla` or \
             `muralla status` shows it",
            path.display()
        ),
        Err(error) => Err(error).with_context(|| format!("can't lock {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;

    #[test]
    fn a_second_daemon_is_refused_while_the_first_lives() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("run/admin.sock");
        let first = lock(&socket).unwrap();
        let refused = lock(&socket).unwrap_err().to_string();
        assert!(refused.starts_with("another muralla is running"), "{refused}");
        drop(first);
        lock(&socket).unwrap();
    }

    async fn until(what: &str, mut reached: impl AsyncFnMut() -> bool) {
        for _ in 0..500 {
            if reached().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("never came: {what}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn signals_reload_and_end_the_daemon_and_the_wall_stays() {
        use rustix::process::{Signal, getpid, kill_process};

        let stand = fake::Stand::new();
        let path = stand.path();
        let mut configuration = configuration::load(&path).unwrap().configuration;
        configuration.admin.socket = stand.socket();
        configuration.metrics.listen = None;
        let listener = socket::listen(&stand.socket()).unwrap();
        let builder = Box::new(stand.builder.clone());
        let daemon =
            tokio::spawn(async move { serve(&path, configuration, listener, builder).await });
        let client = Client::new(&stand.socket());
        let overview = async || client.get::<Overview>("/v1/status").await.ok();
        until("an answer", async || overview().await.is_some()).await;

        kill_process(getpid(), Signal::HUP).unwrap();
        until("a reload", async || {
            overview()
                .await
                .and_then(|overview| overview.reload)
                .is_some_and(|reload| reload.applied)
        })
        .await;

        kill_process(getpid(), Signal::TERM).unwrap();
        timeout(Duration::from_secs(20), daemon).await.unwrap().unwrap().unwrap();
        let deeds = stand.builder.0.lock().unwrap();
        assert_eq!((deeds.built, deeds.reloaded, deeds.detached), (1, 1, 0));
    }
}
