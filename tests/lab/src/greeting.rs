//! Servers that speak first, waited for until they do.

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::topology::Lab;

/// Waits, inside of the edge, for a greeting that begins with that.
pub(crate) fn wait_until_it_greets(
    lab: &Lab,
    target: SocketAddr,
    word: &'static str,
    patience: Duration,
    runs: impl Fn() -> bool,
) -> Result<()> {
    let deadline = Instant::now() + patience;
    while let Err(error) = lab.edge().inside(move || greeting(target, word)) {
        if !runs() || Instant::now() > deadline {
            bail!("nobody greets at {target}: {error:#}");
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn greeting(target: SocketAddr, word: &str) -> Result<()> {
    let limit = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&target, limit).context("connecting")?;
    stream.set_read_timeout(Some(limit)).context("setting a timeout")?;
    let mut heard = [0; 512];
    let length = stream.read(&mut heard).context("waiting for a greeting")?;
    let heard = heard.get(..length).unwrap_or_default();
    ensure!(heard.starts_with(word.as_bytes()), "it says {:?}", String::from_utf8_lossy(heard));
    Ok(())
}
