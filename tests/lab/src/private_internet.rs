//! A private Internet on the lab's side of the Internet, for resolvers that begin at its root.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use muralla_internet::{Internet, serve};

use crate::cpu::pin;
use crate::topology::Lab;

/// Servers of an Internet on a thread of their own. They end when dropped.
#[derive(Debug)]
pub struct PrivateInternet {
    /// Names and addresses of the root servers, as a zone file.
    pub root_hints: String,
    /// The root's DS records, as in a zone file.
    pub trust_anchors: Vec<String>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl PrivateInternet {
    /// Binds every server of the Internet. They must all have addresses within `prefix`, which becomes local on the
    /// Internet's side. With a core, that is the one they run on.
    ///
    /// # Errors
    /// When an address can't be bound.
    pub fn start(
        lab: &Lab,
        prefix: &str,
        internet: Arc<Internet>,
        core: Option<usize>,
    ) -> Result<Self> {
        lab.host_on_internet(prefix)?;
        let (root_hints, trust_anchors) = (internet.root_hints(), internet.trust_anchors());
        let stopped = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stopped);
        let (up, is_up) = mpsc::channel();
        let thread = lab.internet().thread("private-internet", move || {
            if let Some(core) = core {
                pin(0, core)?;
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let addresses: Vec<SocketAddr> =
                    internet.addresses().into_iter().map(|ip| SocketAddr::new(ip, 53)).collect();
                let _serving = serve(internet, &addresses).await.context("serving an Internet")?;
                let _ = up.send(());
                while !until.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Ok(())
            })
        })?;
        let mut internet = Self { root_hints, trust_anchors, stopped, thread: Some(thread) };
        if is_up.recv().is_err() {
            internet.stop()?;
        }
        Ok(internet)
    }

    fn stop(&mut self) -> Result<()> {
        self.stopped.store(true, Ordering::Relaxed);
        match self.thread.take() {
            Some(thread) => thread.join().map_err(|_| anyhow!("the Internet panicked"))?,
            None => Ok(()),
        }
    }
}

impl Drop for PrivateInternet {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("{error:#}");
        }
    }
}
