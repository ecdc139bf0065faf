//! Garage, an object store that speaks S3: several nodes in boxes of their own, three copies of everything, and whatever is
//! acknowledged on the disk.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;

use crate::namespace::Namespace;
use crate::process::Process;
use crate::topology::Lab;

/// The region that it calls itself.
pub const REGION: &str = "garage";
/// The bucket that is made.
pub const BUCKET: &str = "mail";
/// The key that may read and write there: its name and its secret. Nobody else can reach the lab.
pub const ACCESS_KEY: &str = "GK0123456789abcdef01234567";
/// See [`ACCESS_KEY`].
pub const SECRET_KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What all nodes share.
const RPC_SECRET: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";

/// The ports of a node: for S3, and for the others.
const S3: u16 = 3900;
const RPC: u16 = 3901;

/// How long a node may take until it listens, and to do what it is told.
const PATIENCE: Duration = Duration::from_secs(60);

/// How it is run.
#[derive(Clone, Debug)]
pub struct GarageOptions {
    /// Its program.
    pub program: PathBuf,
    /// Where all nodes have their folders, on a disk that is meant to last.
    pub folder: PathBuf,
    /// The core that all nodes run on.
    pub core: usize,
    /// The box of each node, and its address: as many as there are copies, three.
    pub nodes: Vec<(Namespace, Ipv4Addr)>,
}

/// Nodes that run, with a bucket. They end when dropped; their folders stay.
#[derive(Debug)]
pub struct Garage {
    options: GarageOptions,
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    place: Namespace,
    address: Ipv4Addr,
    folder: PathBuf,
    process: Option<Process>,
}

impl Garage {
    /// Starts nodes with nothing in them, lets them find each other, and makes a bucket and a key for it.
    ///
    /// # Errors
    /// When it isn't installed, or a node doesn't do in time what it is told; the error has what it printed.
    pub fn start(lab: &Lab, options: GarageOptions) -> Result<Self> {
        ensure!(options.nodes.len() == COPIES, "garage keeps {COPIES} copies, one in each node");
        let mut garage = Self { options, nodes: Vec::new() };
        for (number, (place, address)) in garage.options.nodes.clone().into_iter().enumerate() {
            let folder = garage.options.folder.join(format!("node{}", number + 1));
            fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
            let file = folder.join(CONFIGURATION);
            fs::write(&file, configuration(&folder, address))
                .with_context(|| format!("writing {}", file.display()))?;
            garage.nodes.push(Node { place, address, folder, process: None });
            garage.begin(lab, number)?;
        }
        garage.join().with_context(|| garage.told())?;
        Ok(garage)
    }

    /// The URL that a node speaks S3 at, by its number from 0 on.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn endpoint(&self, number: usize) -> Result<String> {
        let address = self.node(number)?.address;
        Ok(format!("http://{}", SocketAddr::new(address.into(), S3)))
    }

    /// Kills a node, by its number from 0 on: it has no time for anything.
    ///
    /// # Errors
    /// When there is no such node, or it doesn't end.
    pub fn kill(&mut self, number: usize) -> Result<()> {
        let node = self.nodes.get_mut(number).with_context(|| format!("no node {number}"))?;
        if let Some(mut process) = node.process.take() {
            process.signal(Signal::KILL);
            process.wait(PATIENCE)?;
        }
        Ok(())
    }

    /// Starts a node, with all that it had.
    ///
    /// # Errors
    /// When it doesn't listen in time; the error ends with what it printed.
    pub fn begin(&mut self, lab: &Lab, number: usize) -> Result<()> {
        let (program, core) = (self.options.program.clone(), self.options.core);
        let node = self.nodes.get_mut(number).with_context(|| format!("no node {number}"))?;
        let mut command = node.place.command("taskset");
        command.args(["-c", &core.to_string()]).arg(program);
        command.arg("-c").arg(node.folder.join(CONFIGURATION)).arg("server");
        // Each request is told otherwise.
        command.env("RUST_LOG", "garage=warn,netapp=warn");
        let process = lab.spawn(&format!("garage{}", number + 1), &mut command)?;
        let process = node.process.insert(process);
        for port in [RPC, S3] {
            wait_until_it_listens(
                &node.place,
                SocketAddr::new(node.address.into(), port),
                process,
            )?;
        }
        Ok(())
    }

    /// The process numbers of all nodes.
    pub fn pids(&self) -> Vec<u32> {
        let running = self.nodes.iter().filter_map(|node| node.process.as_ref());
        running.flat_map(Process::family).collect()
    }

    /// What all nodes printed last.
    pub fn told(&self) -> String {
        let last = |process: &Process| {
            let output = process.output();
            let skipped = output.lines().count().saturating_sub(8);
            output.lines().skip(skipped).collect::<Vec<_>>().join("\n")
        };
        let running = self.nodes.iter().filter_map(|node| node.process.as_ref());
        running.map(last).collect::<Vec<_>>().join("\n")
    }

    /// Lets the nodes find each other and part the bytes among them, and makes the bucket.
    fn join(&self) -> Result<()> {
        let count = self.nodes.len();
        let ids: Vec<String> = (0..count)
            .map(|number| {
                let printed = self.command(number, &["node", "id", "-q"])?;
                let id = printed.lines().next().unwrap_or_default().trim().to_owned();
                ensure!(id.contains('@'), "a node is called {printed:?}");
                Ok(id)
            })
            .collect::<Result<_>>()?;
        for id in ids.iter().skip(1) {
            self.until(&["node", "connect", id])?;
        }
        let names: Vec<&str> = ids.iter().filter_map(|id| id.split('@').next()).collect();
        let assign = ["layout", "assign", "--zone", "lab", "--capacity", "100GB"];
        // A node isn't known at once to one that it has just met.
        self.until(&[&assign[..], names.as_slice()].concat())?;
        self.until(&["layout", "apply", "--version", "1"])?;
        self.until(&["key", "import", "--yes", ACCESS_KEY, SECRET_KEY])?;
        self.until(&["bucket", "create", BUCKET])?;
        self.until(&["bucket", "allow", "--read", "--write", "--key", ACCESS_KEY, BUCKET])
    }

    /// Says something to the first node until it does it.
    fn until(&self, arguments: &[&str]) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = self.command(0, arguments) {
            if Instant::now() > deadline {
                return Err(error);
            }
            thread::sleep(Duration::from_millis(500));
        }
        Ok(())
    }

    /// Runs the program's command line against a node. It is killed if it hangs.
    fn command(&self, number: usize, arguments: &[&str]) -> Result<String> {
        let node = self.node(number)?;
        let limit = PATIENCE.as_secs().to_string();
        let program = self.options.program.to_string_lossy();
        let file = node.folder.join(CONFIGURATION);
        let file = file.to_string_lossy();
        let command = ["--signal=KILL", &*limit, &*program, "-c", &*file];
        node.place.run("timeout", command.iter().chain(arguments))
    }

    fn node(&self, number: usize) -> Result<&Node> {
        self.nodes.get(number).with_context(|| format!("no node {number}"))
    }
}

/// Copies of everything.
const COPIES: usize = 3;

const CONFIGURATION: &str = "garage.toml";

fn wait_until_it_listens(place: &Namespace, target: SocketAddr, process: &Process) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let connect = move || {
        TcpStream::connect_timeout(&target, Duration::from_secs(2)).context("connecting").map(drop)
    };
    while let Err(error) = place.inside(connect) {
        if !process.is_running() || Instant::now() > deadline {
            bail!(
                "{} does not listen at {target}: {error:#}\n{}",
                process.name(),
                process.output()
            );
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// By default Garage acknowledges what the system has only in memory. What comes is compressed already.
fn configuration(folder: &Path, address: Ipv4Addr) -> String {
    let folder = folder.display();
    format!(
        r#"metadata_dir = "{folder}/meta"
data_dir = "{folder}/data"
db_engine = "lmdb"
metadata_fsync = true
data_fsync = true
replication_factor = {COPIES}
consistency_mode = "consistent"
compression_level = "none"
rpc_secret = "{RPC_SECRET}"
rpc_bind_addr = "{address}:{RPC}"
rpc_public_addr = "{address}:{RPC}"

[s3_api]
api_bind_addr = "{address}:{S3}"
s3_region = "{REGION}"
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_acknowledged_is_on_the_disk() {
        let text = configuration(Path::new("/srv/g"), Ipv4Addr::new(203, 0, 113, 71));
        for line in [
            "metadata_fsync = true",
            "data_fsync = true",
            "replication_factor = 3",
            "rpc_public_addr = \"203.0.113.71:3901\"",
            "data_dir = \"/srv/g/data\"",
        ] {
            assert!(text.lines().any(|there| there == line), "{line} in {text}");
        }
    }

    #[test]
    fn keys_are_of_a_form_that_garage_takes() {
        let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(ACCESS_KEY.strip_prefix("GK").is_some_and(|rest| rest.len() == 24 && hex(rest)));
        assert!([SECRET_KEY, RPC_SECRET].iter().all(|key| key.len() == 64 && hex(key)));
    }
}
