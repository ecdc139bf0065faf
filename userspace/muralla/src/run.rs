//! `muralla run`: the daemon.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use muralla_telemetry::logs;
use rustix::fs::FlockOperation;
use sd_notify::NotifyState;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::{Handle, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{error, info, warn};

use crate::admin::api::{Done, Overview};
use crate::admin::client::Client;
use crate::admin::{server, socket};
use crate::configuration::{self, AdminConfig, Configuration};
use crate::daemon::{Daemon, Refused, blocking};
use crate::descriptor;
use crate::dns::Starter;
use crate::edge::Builder;
use crate::following;
use crate::mail;
use crate::metrics;
use crate::radius;
use crate::roles::{Role, Roles};

/// Time that the daemon has for an answer through its own admin socket.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who makes the roles' real things.
pub(crate) struct Makers {
    pub(crate) edge: Box<dyn Builder>,
    pub(crate) dns: Box<dyn Starter>,
    pub(crate) radius: Box<dyn radius::Starter>,
    pub(crate) mail: Box<dyn mail::Starter>,
}

/// Runs the wanted roles, or all that are configured, until SIGTERM or SIGINT. The wall stays up afterwards.
///
/// # Errors
///
/// When the configuration is wrong, another daemon runs, or a role can't begin.
pub(crate) fn run(
    path: &Path,
    socket: Option<&Path>,
    wanted: &[Role],
    makers: Makers,
) -> anyhow::Result<()> {
    let accepted = configuration::load(path)?;
    let mut configuration = accepted.configuration;
    let roles = Roles::of(&configuration, wanted)?;
    if let Some(socket) = socket {
        configuration.admin = AdminConfig {
            socket: socket.to_owned(),
            dns_socket: socket.to_owned(),
            radius_socket: socket.to_owned(),
            mail_socket: socket.to_owned(),
            reports_socket: socket.with_file_name("reports.sock"),
        };
    }
    logs::start(configuration.log.level, configuration.log.format)?;
    for warning in accepted.warnings.lines() {
        warn!("{warning}");
    }
    let inherited = descriptor::passed_by_systemd().context("taking what systemd passed")?;
    let socket = roles.socket(&configuration.admin);
    let _locks = lock(&roles, &folder(socket))?;
    let listener = socket::listen(socket, inherited.admin)?;
    let reports = reports(&roles, &configuration.admin, inherited.reports);
    let threads = |name: &str| {
        tokio::runtime::Builder::new_multi_thread().thread_name(name).enable_all().build()
    };
    // Whoever asks for thousands of names that don't exist, or sends a thousand messages at once, has as many tasks wait for
    // their turn. Operators, the watchdog and the other roles do not stand in that line.
    let resolving = roles.has(Role::Dns).then(|| threads("resolver")).transpose()?;
    let posting = roles.has(Role::Mail).then(|| threads("mail")).transpose()?;
    let apart = Apart {
        resolving: resolving.as_ref().map(Runtime::handle).cloned(),
        posting: posting.as_ref().map(Runtime::handle).cloned(),
    };
    let listeners = Listeners { admin: listener, reports };
    let served = threads("muralla")?.block_on(serve(
        path,
        configuration,
        roles,
        listeners,
        inherited.kept,
        makers,
        apart,
    ));
    for runtime in [resolving, posting].into_iter().flatten() {
        runtime.shutdown_background();
    }
    served
}

/// Where this process hears operators, and services that tell the wall what they saw.
struct Listeners {
    admin: std::os::unix::net::UnixListener,
    reports: Option<std::os::unix::net::UnixListener>,
}

/// Threads of roles whose crowds must not have anybody else wait; none: those of everybody.
#[derive(Default)]
struct Apart {
    resolving: Option<Handle>,
    posting: Option<Handle>,
}

/// Where services tell the wall what they saw. It does its work without.
fn reports(
    roles: &Roles,
    admin: &AdminConfig,
    passed: Option<std::os::unix::net::UnixListener>,
) -> Option<std::os::unix::net::UnixListener> {
    if !roles.has(Role::Edge) {
        return None;
    }
    socket::listen(&admin.reports_socket, passed)
        .inspect_err(|error| warn!(%error, "services can't tell the wall who offends"))
        .ok()
}

async fn serve(
    path: &Path,
    configuration: Configuration,
    roles: Roles,
    listeners: Listeners,
    kept: Vec<(String, OwnedFd)>,
    makers: Makers,
    apart: Apart,
) -> anyhow::Result<()> {
    // Before anything is up, so that no signal finds its default.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;

    let metrics = match roles.metrics(&configuration.metrics) {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    let client = Client::new(roles.socket(&configuration.admin));
    let (sources, deliveries) = mpsc::unbounded_channel();
    let owned = path.to_owned();
    let runtime = Handle::current();
    let started = tokio::task::spawn_blocking(move || {
        let mut daemon = Daemon::start(roles, makers.edge, &owned, configuration, sources)
            .context("the wall was not put up; what stood before, if anything, stays in force")?;
        let before: Vec<String> = kept.iter().map(|(name, _)| name.clone()).collect();
        let (mail, others): (Vec<_>, Vec<_>) =
            kept.into_iter().partition(|(name, _)| name.starts_with("mail-"));
        let (radius, dns) = others.into_iter().partition(|(name, _)| name.starts_with("radius-"));
        daemon
            .start_dns(makers.dns.as_ref(), dns, apart.resolving.unwrap_or_else(|| runtime.clone()))
            .context("DNS does not answer")?;
        daemon
            .start_radius(makers.radius.as_ref(), radius, runtime.clone())
            .context("RADIUS does not answer")?;
        daemon
            .start_mail(makers.mail.as_ref(), mail, apart.posting.unwrap_or(runtime))
            .context("mail is not served")?;
        daemon.keep_sockets(&before);
        anyhow::Ok(daemon)
    });
    let daemon = started.await?.map(Arc::new)?;
    let listener = UnixListener::from_std(listeners.admin)?;
    let admin = server::router(Arc::clone(&daemon));
    tokio::spawn(async move { axum::serve(listener, admin).await });
    if let Some(listener) = listeners.reports {
        let listener = UnixListener::from_std(listener)?;
        let router = server::reports_router(Arc::clone(&daemon));
        tokio::spawn(async move { axum::serve(listener, router).await });
    }
    if let Some(listener) = metrics {
        let router = metrics::router(Arc::clone(&daemon));
        tokio::spawn(async move { axum::serve(listener, router).await });
    }
    tokio::spawn(following::pump(Arc::clone(&daemon), deliveries));
    tokio::spawn(every(Duration::from_secs(1), Arc::clone(&daemon), Daemon::tick));
    tokio::spawn(every(Duration::from_secs(10), Arc::clone(&daemon), Daemon::refresh_if_changed));
    tokio::spawn(canaries(Arc::clone(&daemon)));
    tokio::spawn(greetings(Arc::clone(&daemon)));
    tokio::spawn(watch(client, Arc::clone(&daemon)));

    blocking(&daemon, Daemon::tick).await?;
    notify(&[NotifyState::Ready, NotifyState::Status(&summary(&daemon.overview()))]);
    let names: Vec<&str> = daemon.roles().iter().map(Role::name).collect();
    info!(
        version = env!("CARGO_PKG_VERSION"),
        configuration = %path.display(),
        roles = names.join(", "),
        "in service"
    );

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
    tokio::join!(daemon.stop_dns(), daemon.stop_radius(), daemon.stop_mail());
    if daemon.roles().has(Role::Edge) {
        info!(
            "the daemon stops; the wall stays in force, with its last policy, until `muralla edge detach`"
        );
    } else {
        info!("the daemon stops");
    }
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
    if let Some(warning) = overview.warnings.first() {
        return warning.clone();
    }
    let wall = overview.edge.as_ref().map(|status| {
        format!(
            "protecting {} interface(s), {} services, {} prefixes",
            status.interfaces.len(),
            status.services.len(),
            status.prefixes
        )
    });
    let names = overview.dns.as_ref().map(|status| {
        format!("answering DNS on {}, {} cached", status.listen.join(" "), status.cache.entries)
    });
    let access = overview.radius.as_ref().map(|status| {
        format!(
            "answering RADIUS for {} NAS(es), {} subscribers, {} sessions",
            status.nases.len(),
            status.subscribers,
            status.sessions
        )
    });
    let letters = overview.mail.as_ref().map(|status| {
        let waiting = status.queue.map_or(0, |queue| queue.messages);
        format!("serving mail of {} accounts, {waiting} queued", status.directory.accounts)
    });
    let parts: Vec<String> = wall.into_iter().chain(names).chain(access).chain(letters).collect();
    if parts.is_empty() { "detached".to_owned() } else { parts.join("; ") }
}

/// Asks each role a question each second: for the promise, and to say so when there is no answer.
async fn canaries(daemon: Arc<Daemon>) {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // What they found is logged and shown by the status.
        let _ = tokio::join!(daemon.canary(), daemon.radius_canary());
    }
}

/// Has every mail service greet a client of our own, now and then: a greeting may take a second on purpose.
async fn greetings(daemon: Arc<Daemon>) {
    let mut ticks = interval(Duration::from_secs(5));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        daemon.mail_canary().await;
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

/// Feeds systemd's watchdog, but only with real work: for the wall its status as the admin socket gives it, for DNS and
/// RADIUS a request that was answered through the socket that clients ask.
async fn watch(client: Client, daemon: Arc<Daemon>) {
    let period = sd_notify::watchdog_enabled();
    let mut ticks = interval(period.map_or(Duration::from_secs(10), |period| period / 3));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // Its reason was logged when it began.
        let answering = daemon.probe().await.is_ok();
        match timeout(PATIENCE, client.get::<Overview>("/v1/status")).await {
            Ok(Ok(overview)) => {
                let summary = summary(&overview);
                let mut states = vec![NotifyState::Status(&summary)];
                if period.is_some() && answering {
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

/// Where this process's locks lie: the folder that systemd made for it, or else that of its socket.
fn folder(socket: &Path) -> PathBuf {
    let given = std::env::var("RUNTIME_DIRECTORY").ok();
    // Several have colons between them; the first is the unit's own.
    let given =
        given.as_deref().and_then(|all| all.split(':').next()).filter(|one| !one.is_empty());
    given.map_or_else(
        || socket.parent().unwrap_or(Path::new("/run/muralla")).to_owned(),
        PathBuf::from,
    )
}

/// Only one daemon for each role and folder. The locks end with the process, however it ends.
fn lock(roles: &Roles, folder: &Path) -> anyhow::Result<Vec<OwnedFd>> {
    fs::create_dir_all(folder)
        .with_context(|| format!("can't create {}; run as root", folder.display()))?;
    roles.locks(folder).iter().map(|path| lock_file(path)).collect()
}

fn lock_file(path: &Path) -> anyhow::Result<OwnedFd> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("can't open {}; run as root", path.display()))?;
    let file = OwnedFd::from(file);
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => bail!(
            "another muralla is running: it holds {}; `systemctl status muralla muralla-dns muralla-radius muralla-mail` or \
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
        let stand = fake::Stand::new();
        let roles = |wanted: &[Role]| {
            Roles::of(&configuration::load(&stand.path()).unwrap().configuration, wanted).unwrap()
        };
        let run = folder(&stand.socket());
        let first = lock(&roles(&[Role::Edge]), &run).unwrap();
        let other = lock(&roles(&[Role::Dns]), &run).unwrap();
        for wanted in [&[Role::Edge][..], &[Role::Dns], &[]] {
            let refused = lock(&roles(wanted), &run).unwrap_err().to_string();
            assert!(refused.starts_with("another muralla is running"), "{refused}");
        }
        drop((first, other));
        lock(&roles(&[]), &run).unwrap();
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
        let roles = Roles::of(&configuration, &[]).unwrap();
        let listener = socket::listen(&stand.socket(), None).unwrap();
        let makers = stand.makers();
        let listeners = Listeners { admin: listener, reports: None };
        let daemon = tokio::spawn(async move {
            serve(&path, configuration, roles, listeners, Vec::new(), makers, Apart::default())
                .await
        });
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
        let deeds = stand.starter.0.lock().unwrap();
        assert_eq!((deeds.started, deeds.reloaded, deeds.stopped), (1, 1, 1));
    }
}
