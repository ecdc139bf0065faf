//! Debian's recursive resolvers in the edge namespace, to compare with: each on an address and a core of
//! its own, tuned as its manual says for a busy server with one thread, with caches that hold everything.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cpu::resident;
use crate::frames::dns::Query;
use crate::process::Process;
use crate::topology::Lab;

/// A resolver of Debian's.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Resolver {
    /// NLnet Labs' unbound.
    Unbound,
    /// CZ.NIC's Knot Resolver.
    Knot,
    /// PowerDNS' recursor.
    PowerDns,
}

/// How one is run.
#[derive(Clone, Debug)]
pub struct ResolverOptions {
    /// The address that it answers on, port 53; the edge gets it.
    pub address: IpAddr,
    /// The core that it runs on.
    pub core: usize,
    /// Names and addresses of the root servers, as a zone file.
    pub root_hints: String,
    /// The root's DS records as in a zone file (`. IN DS 12345 13 2 0A1B...`); without any, nothing is validated.
    pub trust_anchors: Vec<String>,
    /// Bytes of memory for cached data, which each of them counts in its own way.
    pub cache: u64,
    /// Whether it gives stale answers (RFC 8767) when there are no others.
    pub stale: bool,
}

impl Resolver {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Unbound, Self::Knot, Self::PowerDns];

    /// Its name, and that of its folder and its log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unbound => "unbound",
            Self::Knot => "knot",
            Self::PowerDns => "powerdns",
        }
    }

    /// Starts it in the edge namespace with an empty cache, and waits until it answers.
    ///
    /// # Errors
    /// When it isn't installed, or doesn't answer in time; the error ends with what it printed.
    pub fn start(self, lab: &Lab, options: &ResolverOptions) -> Result<Process> {
        lab.add_service(options.address)?;
        let name = self.process_name(options.address);
        let folder = lab.folder().join(&name);
        // With what an earlier one has cached in it.
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("clearing {}", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let hints = write(&folder, "root.hints", &options.root_hints)?;
        let program = match self {
            Self::Unbound => unbound(&folder, &hints, options),
            Self::Knot => knot(&folder, &hints, options),
            Self::PowerDns => powerdns(&folder, &hints, options),
        }?;
        let mut command = lab.edge().command("taskset");
        command.args(["-c", &options.core.to_string()]);
        command.arg(program.get_program()).args(program.get_args());
        if let Some(folder) = program.get_current_dir() {
            command.current_dir(folder);
        }
        let process = lab.spawn(&name, &mut command)?;
        wait_until_it_answers(lab, options.address, &process)?;
        Ok(process)
    }

    /// Memory that it uses, in bytes: its own, and the pages in use of a cache which it keeps in a file in memory.
    ///
    /// # Errors
    /// When the process is gone, or its cache can't be read.
    pub fn memory(self, lab: &Lab, address: IpAddr, process: &Process) -> Result<u64> {
        let own = resident(process.pid())?;
        if self != Self::Knot {
            return Ok(own);
        }
        // As the process sees it: the file system in memory is its own.
        let root = PathBuf::from(format!("/proc/{}/root", process.pid()));
        let folder = lab.folder().join(self.process_name(address));
        let file = root.join(folder.strip_prefix("/").unwrap_or(&folder)).join("cache/data.mdb");
        let mut start = Vec::new();
        File::open(&file)
            .and_then(|file| file.take(LMDB_START).read_to_end(&mut start))
            .with_context(|| format!("reading {}", file.display()))?;
        Ok(own + lmdb_in_use(&start).context("a cache that is no LMDB")?)
    }

    fn process_name(self, address: IpAddr) -> String {
        format!("{}-{address}", self.name()).replace([':', '.'], "-")
    }
}

/// How long a server may take until its first answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks a resolver in the edge namespace for the root's name servers until there is an answer of any kind.
///
/// # Errors
/// When there is none within 20 seconds, or the process ends; the error ends with what it printed.
pub fn wait_until_it_answers(lab: &Lab, address: IpAddr, process: &Process) -> Result<()> {
    const NS: u16 = 2;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answered = lab.edge().inside(move || {
            let socket = UdpSocket::bind((address, 0)).context("asking a resolver")?;
            socket.set_read_timeout(Some(Duration::from_millis(200)))?;
            let target = SocketAddr::new(address, 53);
            Ok(socket.send_to(&Query::new(".", NS).encode(), target).is_ok()
                && socket.recv(&mut [0; 512]).is_ok())
        })?;
        if answered {
            return Ok(());
        }
        if !process.is_running() || Instant::now() > deadline {
            let output = process.output();
            let tail = output.lines().count().saturating_sub(20);
            let tail: Vec<&str> = output.lines().skip(tail).collect();
            bail!("{} does not answer at {address}:\n{}", process.name(), tail.join("\n"));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn write(folder: &Path, name: &str, content: &str) -> Result<PathBuf> {
    let file = folder.join(name);
    fs::write(&file, content).with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

/// Bytes that hold both of LMDB's first pages, if they are the usual ones of 4 KiB.
const LMDB_START: u64 = 8_192;

/// Bytes that an LMDB environment has used so far, out of its first two pages, of which the one with the higher
/// transaction number holds. The file itself has all blocks from the beginning, as Knot Resolver reserves them.
fn lmdb_in_use(start: &[u8]) -> Option<u64> {
    const PAGE: usize = 4_096;
    const MAGIC: u32 = 0xbeef_c0de;
    // Within a page, behind its header of 16 bytes (lmdb.h, `MDB_meta`).
    const MAGIC_AT: usize = 16;
    const LAST_PAGE_AT: usize = 136;
    const TRANSACTION_AT: usize = 144;
    let number = |at: usize| start.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes);
    let meta = |page: usize| {
        let magic = start.get(page + MAGIC_AT..page + MAGIC_AT + 4)?;
        (magic == MAGIC.to_le_bytes())
            .then_some((number(page + TRANSACTION_AT)?, number(page + LAST_PAGE_AT)?))
    };
    let (_, last) = meta(0)?.max(meta(PAGE)?);
    Some((last + 1) * PAGE as u64)
}

/// unbound.conf(5) and "Howto optimise": one slab for one thread, RRset cache twice as large as that of
/// messages, as many queries a thread as half of its ports allow, large socket buffers. Built-in answers for
/// reserved top-level domains are left away, as they are no part of the Internet that is asked.
fn unbound(folder: &Path, hints: &Path, options: &ResolverOptions) -> Result<Command> {
    let name = folder.display();
    let (validation, anchor) = if options.trust_anchors.is_empty() {
        ("iterator", String::new())
    } else {
        let file = write(folder, "root.anchor", &(options.trust_anchors.join("\n") + "\n"))?;
        ("validator iterator", format!("  trust-anchor-file: \"{}\"\n", file.display()))
    };
    // RFC 8767: a client waits 1.8 s for what is fresh.
    let stale = if options.stale {
        "  serve-expired: yes\n  serve-expired-ttl: 86400\n  serve-expired-client-timeout: 1800\n"
    } else {
        ""
    };
    let configuration = format!(
        r#"server:
  directory: "{name}"
  chroot: ""
  username: ""
  pidfile: "{name}/unbound.pid"
  do-daemonize: no
  use-syslog: no
  verbosity: 0
  num-threads: 1
  interface: {address}
  access-control: 0.0.0.0/0 allow
  access-control: ::/0 allow
  module-config: "{validation}"
  root-hints: "{hints}"
{anchor}{stale}  msg-cache-slabs: 1
  rrset-cache-slabs: 1
  infra-cache-slabs: 1
  key-cache-slabs: 1
  msg-cache-size: {messages}
  rrset-cache-size: {records}
  key-cache-size: 64m
  neg-cache-size: 64m
  infra-cache-numhosts: 100000
  outgoing-range: 8192
  num-queries-per-thread: 4096
  so-rcvbuf: 4m
  so-sndbuf: 4m
  do-not-query-localhost: no
  local-zone: "test." nodefault
  local-zone: "invalid." nodefault
remote-control:
  control-enable: no
"#,
        address = options.address,
        hints = hints.display(),
        messages = options.cache / 3,
        records = options.cache / 3 * 2,
    );
    let file = write(folder, "unbound.conf", &configuration)?;
    let mut command = Command::new("unbound");
    command.args(["-d", "-p", "-c"]).arg(file);
    Ok(command)
}

/// Knot Resolver's documentation: its cache on a file system in memory, which is mounted for this process alone. It
/// has one thread by design.
fn knot(folder: &Path, hints: &Path, options: &ResolverOptions) -> Result<Command> {
    let mut validation = String::from("trust_anchors.remove('.')\n");
    if options.trust_anchors.is_empty() {
        validation.push_str("modules.unload('ta_signal_query')\nmodules.unload('ta_update')\n");
    } else {
        let file = write(folder, "root.anchor", &(options.trust_anchors.join("\n") + "\n"))?;
        let _ = writeln!(validation, "trust_anchors.add_file('{}', true)", file.display());
    }
    // It looks at this time, in milliseconds, only when a query to a server has timed out: with the default of 3 s stale
    // answers come after more than 4 s. What is asked for most is 0.5 s.
    let stale = if options.stale {
        "modules.load('serve_stale < cache')\nserve_stale.timeout = 500\n"
    } else {
        ""
    };
    let configuration = format!(
        r#"net.listen('{address}', 53, {{ kind = 'dns' }})
log_level('crit')
cache.open({cache}, 'lmdb://{folder}/cache')
modules.load('hints > iterate')
hints.root_file('{hints}')
{validation}{stale}"#,
        address = options.address,
        cache = options.cache,
        folder = folder.display(),
        hints = hints.display(),
    );
    let file = write(folder, "kresd.conf", &configuration)?;
    let cache = folder.join("cache");
    fs::create_dir_all(&cache).with_context(|| format!("making {}", cache.display()))?;
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "sh",
        "-c",
        r#"mount -t tmpfs cache "$1" && shift && exec "$@""#,
        "sh",
    ]);
    command.arg(cache).args(["kresd", "-n", "-c"]).arg(file).arg(folder).current_dir(folder);
    Ok(command)
}

/// PowerDNS' "Performance guide": one thread that receives and answers, and a packet cache before the record
/// cache. Both are sized in entries, here of half a KiB each.
fn powerdns(folder: &Path, hints: &Path, options: &ResolverOptions) -> Result<Command> {
    let mut lua = String::from("clearTA('.')\n");
    for anchor in &options.trust_anchors {
        let data = anchor.split_once(" DS ").context("a trust anchor that is no DS record")?.1;
        let _ = writeln!(lua, "addTA('.', \"{data}\")");
    }
    let lua = write(folder, "recursor.lua", &lua)?;
    let validation = if options.trust_anchors.is_empty() { "off" } else { "validate" };
    // Extensions are of 30 seconds each: a day. The first stale answer for a name comes after all servers of the zone
    // above have timed out, one after the other: 6.4 s at 1.5 s each, the default, where the longest way has 40 ms.
    // From then on it comes at once.
    let stale =
        if options.stale { "serve-stale-extensions=2880\nnetwork-timeout=200\n" } else { "" };
    let configuration = format!(
        "local-address={address}
local-port=53
allow-from=0.0.0.0/0,::/0
dont-query=
threads=1
distributor-threads=0
pdns-distributes-queries=no
max-cache-entries={entries}
max-packetcache-entries={entries}
hint-file={hints}
lua-config-file={lua}
dnssec={validation}
{stale}socket-dir={folder}
daemon=no
disable-syslog=yes
quiet=yes
loglevel=2
log-common-errors=no
security-poll-suffix=
webserver=no
",
        address = options.address,
        entries = options.cache / 512,
        hints = hints.display(),
        lua = lua.display(),
        folder = folder.display(),
    );
    write(folder, "recursor.conf", &configuration)?;
    let mut command = Command::new("pdns_recursor");
    command.arg(format!("--config-dir={}", folder.display()));
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_lmdb_are_those_of_the_last_transaction() {
        let page = |transaction: u64, last: u64| {
            let mut page = vec![0; 4_096];
            page[16..20].copy_from_slice(&0xbeef_c0de_u32.to_le_bytes());
            page[136..144].copy_from_slice(&last.to_le_bytes());
            page[144..152].copy_from_slice(&transaction.to_le_bytes());
            page
        };
        for (pages, expected) in [
            ([page(1, 9), page(2, 4)].concat(), Some(5 * 4_096)),
            ([page(3, 9), page(2, 4)].concat(), Some(10 * 4_096)),
            (page(1, 9), None),
            (vec![0; 8_192], None),
            (vec![], None),
        ] {
            assert_eq!(lmdb_in_use(&pages), expected);
        }
    }
}
