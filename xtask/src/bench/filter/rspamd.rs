//! rspamd with Debian's settings and its statistics in a redis of its own, one worker; without the modules that ask the Internet.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use muralla_lab::process::Process;

use super::super::disk::empty;
use super::checkv2::{self, check};
use super::corpus::Known;
use super::crowd;
use super::curve::Judged;
use super::ground::Ground;
use super::nowhere;

/// Where its worker listens, inside of the edge.
pub(super) const WORKER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 21_333);
const CONTROLLER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 21_334);

/// It compiles its expressions before it serves.
const PATIENCE: Duration = Duration::from_secs(120);

/// What needs the Internet, or a history of who sends, which nobody has here.
const OFF: [&str; 17] = [
    "arc",
    "asn",
    "dkim",
    "dkim_signing",
    "dmarc",
    "fuzzy_check",
    "greylist",
    "history_redis",
    "mx_check",
    "ratelimit",
    "rbl",
    "replies",
    "reputation",
    "spamtrap",
    "spf",
    "surbl",
    "url_redirector",
];

/// It ends when dropped, and its redis with it.
pub(super) struct Rspamd {
    process: Process,
    redis: Process,
}

impl Rspamd {
    /// Starts one that has learned nothing, and waits until it answers; `alone` keeps it on the core that serves.
    pub(super) fn start(ground: &Ground, alone: bool) -> Result<Self> {
        let folder = ground.disk.folder.join("rspamd");
        empty(&folder)?;
        for name in ["local.d", "override.d", "db", "log", "run"] {
            empty(&folder.join(name))?;
        }
        let socket = folder.join("redis.sock");
        for (name, text) in settings(&socket) {
            fs::write(folder.join(&name), text)
                .with_context(|| format!("writing {}", name.display()))?;
        }
        let program = |name: &str| match alone {
            true => ground.serving(name),
            false => ground.anywhere(name),
        };
        let mut redis = program("redis-server");
        redis
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(&socket);
        let redis = ground.lab.spawn("redis", redis.arg("--dir").arg(&folder))?;
        wait(&redis, || ensure_there(&socket))?;

        let mut rspamd = program("rspamd");
        // As root, which the benchmark is: the others have no user of their own here, either.
        rspamd.args(["-f", "-i", "-u", "root", "-g", "root", "-c", "/etc/rspamd/rspamd.conf"]);
        for (name, place) in
            [("LOCAL_CONFDIR", ""), ("DBDIR", "db"), ("RUNDIR", "run"), ("LOGDIR", "log")]
        {
            rspamd.arg(format!("--var={name}={}", folder.join(place).display()));
        }
        let process = ground.lab.spawn("rspamd", &mut rspamd)?;
        let edge = ground.lab.edge();
        wait(&process, || edge.inside(|| checkv2::ping(WORKER).and(checkv2::ping(CONTROLLER))))?;
        Ok(Self { process, redis })
    }

    /// Learns them all by its own client.
    pub(super) fn learn(&self, ground: &Ground, messages: &[Known]) -> Result<()> {
        /// Names for a command line.
        const AT_ONCE: usize = 500;
        let mut learned = 0;
        for (spam, command) in [(false, "learn_ham"), (true, "learn_spam")] {
            let of_kind = messages.iter().filter(|known| known.spam == spam);
            let paths: Vec<&Path> = of_kind.map(|known| known.path.as_path()).collect();
            for some in paths.chunks(AT_ONCE) {
                let mut client = ground.anywhere("rspamc");
                client.args(["-h", &CONTROLLER.to_string(), "-n", "4", command]).args(some);
                // It fails if one of them teaches nothing new.
                let output = client.output().context("running rspamc")?;
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                learned += text.matches("success = true").count();
            }
        }
        eprintln!("rspamd has learned {learned} messages of {}", messages.len());
        ensure!(learned * 5 > messages.len() * 4, "rspamd learns too little:\n{}", self.tail());
        Ok(())
    }

    /// Judges them all, each with everything that it can look at.
    pub(super) fn judge(&self, ground: &Ground, messages: &[Known]) -> Result<Vec<Judged>> {
        let ask = |known: &Known| anyhow::Ok(check(WORKER, known, true)?.judged(known.spam));
        crowd::ask(ground.lab.edge(), ground.division.asking, 4, messages, ask)
    }

    /// Its processes, and that of what has its statistics.
    pub(super) fn pids(&self) -> Vec<u32> {
        [self.process.family(), self.redis.family()].concat()
    }

    fn tail(&self) -> String {
        tail(&self.process)
    }
}

fn ensure_there(path: &Path) -> Result<()> {
    ensure!(path.exists(), "{} is not there", path.display());
    Ok(())
}

fn wait(process: &Process, ready: impl Fn() -> Result<()>) -> Result<()> {
    let begun = Instant::now();
    while let Err(error) = ready() {
        ensure!(
            process.is_running() && begun.elapsed() < PATIENCE,
            "{} is not ready: {error:#}\n{}",
            process.name(),
            tail(process)
        );
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// The last lines of what it printed.
pub(super) fn tail(process: &Process) -> String {
    let output = process.output();
    let skipped = output.lines().count().saturating_sub(20);
    output.lines().skip(skipped).collect::<Vec<_>>().join("\n")
}

/// Files with what is not as Debian has it.
fn settings(redis: &Path) -> Vec<(PathBuf, String)> {
    let name_server = nowhere::ADDRESS;
    let mut files = vec![
        ("local.d/options.inc", format!("dns {{ nameserver = [\"{name_server}\"]; }}\n")),
        ("local.d/redis.conf", format!("servers = \"{}\";\n", redis.display())),
        // It learns what it is taught, and nothing while it is asked.
        ("local.d/classifier-bayes.conf", "autolearn = false;\n".to_owned()),
        ("local.d/phishing.conf", "phishtank_enabled = false;\n".to_owned()),
        // Of what it looks at, links alone need nobody's answer.
        (
            "local.d/hfilter.conf",
            "helo_enabled = false;\nhostname_enabled = false;\nfrom_enabled = false;\nrcpt_enabled = false;\n"
                .to_owned(),
        ),
        (
            "override.d/worker-normal.inc",
            format!("bind_socket = \"{WORKER}\";\ncount = 1;\n"),
        ),
        ("override.d/worker-controller.inc", format!("bind_socket = \"{CONTROLLER}\";\n")),
        ("override.d/worker-proxy.inc", "enabled = false;\n".to_owned()),
        ("override.d/logging.inc", "type = \"console\";\nlevel = \"error\";\n".to_owned()),
    ]
    .into_iter()
    .map(|(name, text)| (PathBuf::from(name), text))
    .collect::<Vec<_>>();
    let off = OFF.map(|name| {
        (PathBuf::from(format!("local.d/{name}.conf")), "enabled = false;\n".to_owned())
    });
    files.extend(off);
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_asks_the_internet_is_off_and_statistics_are_on() {
        let files = settings(Path::new("/srv/redis.sock"));
        let text = |name: &str| {
            let file = files.iter().find(|(path, _)| path.as_path() == Path::new(name));
            file.map(|(_, text)| text.as_str()).unwrap_or_default()
        };
        assert_eq!(text("local.d/rbl.conf"), "enabled = false;\n");
        assert_eq!(text("local.d/redis.conf"), "servers = \"/srv/redis.sock\";\n");
        assert!(text("override.d/worker-normal.inc").contains("127.0.0.1:21333"));
        assert!(text("local.d/options.inc").contains("127.0.0.1:5354"));
    }
}
