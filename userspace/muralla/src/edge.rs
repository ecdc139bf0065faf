//! The wall as the daemon sees it: a trait, so that everything above it is tested without a kernel.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::Path;

use ipnet::IpNet;
use muralla_abi::sample::Sample;
use muralla_edge::config::EdgeConfig;
use muralla_edge::offenders::{Judgement, Offence};
use muralla_edge::ring::Samples;
use muralla_edge::talkers::Top;
use muralla_edge::wall::{
    self, BlockEntry, BlockRequest, CounterRow, InterfaceStatus, Status, Wall,
};

/// Busiest sources and networks that are told.
const MOST_TALKERS: usize = 20;

/// A wall that stands.
pub(crate) trait Edge: Send {
    /// Swaps the whole policy, or changes nothing; what the operator should know of it.
    fn reload(&mut self, config: EdgeConfig) -> anyhow::Result<Vec<String>>;
    /// Reads feeds and allow files again; what the operator should know of it.
    fn refresh(&mut self, config: EdgeConfig) -> anyhow::Result<Vec<String>>;
    /// Attaches where an interface came back; what happened, a line each.
    fn heal(&mut self) -> Vec<String>;
    fn status(&self) -> Status;
    fn counters(&self) -> anyhow::Result<Vec<CounterRow>>;
    /// The stream of samples; once.
    fn samples(&mut self) -> anyhow::Result<Box<dyn SampleSource>>;
    fn observe(&mut self, samples: &[Sample]);
    fn top(&self) -> Top;
    /// What was blocked, which for an IPv6 address is its network.
    fn block(&mut self, request: BlockRequest) -> anyhow::Result<IpNet>;
    fn unblock(&mut self, prefix: IpNet) -> anyhow::Result<bool>;
    fn blocks(&self) -> anyhow::Result<Vec<BlockEntry>>;
    fn allow(&mut self, prefix: IpNet) -> anyhow::Result<()>;
    fn disallow(&mut self, prefix: IpNet) -> anyhow::Result<bool>;
    fn report(&mut self, offence: &Offence) -> anyhow::Result<Judgement>;
    fn customer_seen(&mut self, source: IpAddr, account: &str);
    fn sweep(&mut self) -> anyhow::Result<()>;
}

/// Samples as they come out of the kernel; its descriptor is readable when there are some.
pub(crate) trait SampleSource: AsFd + Send + Sync {
    fn next(&mut self) -> Option<Sample>;
}

/// Builds walls and takes them down.
pub(crate) trait Builder: Send + Sync {
    /// `state` is the file in which blocks and bans outlive a reboot.
    fn build(&self, config: EdgeConfig, state: &Path) -> anyhow::Result<Box<dyn Edge>>;
    /// Takes the programs off; the interfaces that they were on.
    fn detach(&self, pin_dir: &Path) -> anyhow::Result<Vec<String>>;
}

/// The real one.
pub(crate) struct Kernel;

impl Builder for Kernel {
    fn build(&self, config: EdgeConfig, state: &Path) -> anyhow::Result<Box<dyn Edge>> {
        Ok(Box::new(Wall::start(config, state)?))
    }

    fn detach(&self, pin_dir: &Path) -> anyhow::Result<Vec<String>> {
        Ok(wall::detach(pin_dir)?)
    }
}

/// What is attached, from the pins alone.
pub(crate) fn show(pin_dir: &Path) -> anyhow::Result<Vec<InterfaceStatus>> {
    Ok(wall::show(pin_dir)?)
}

impl Edge for Wall {
    fn reload(&mut self, config: EdgeConfig) -> anyhow::Result<Vec<String>> {
        Ok(Self::reload(self, config)?.warnings)
    }

    fn refresh(&mut self, config: EdgeConfig) -> anyhow::Result<Vec<String>> {
        Ok(Self::reload(self, config)?.warnings)
    }

    fn heal(&mut self) -> Vec<String> {
        Self::heal(self).into_iter().map(|event| event.event).collect()
    }

    fn status(&self) -> Status {
        Self::status(self)
    }

    fn counters(&self) -> anyhow::Result<Vec<CounterRow>> {
        Ok(Self::counters(self)?)
    }

    fn samples(&mut self) -> anyhow::Result<Box<dyn SampleSource>> {
        Ok(Box::new(Self::samples(self)?))
    }

    fn observe(&mut self, samples: &[Sample]) {
        for sample in samples {
            Self::observe(self, sample);
        }
    }

    fn top(&self) -> Top {
        Self::top(self, MOST_TALKERS)
    }

    fn block(&mut self, request: BlockRequest) -> anyhow::Result<IpNet> {
        Ok(Self::block(self, request)?)
    }

    fn unblock(&mut self, prefix: IpNet) -> anyhow::Result<bool> {
        Ok(Self::unblock(self, prefix)?)
    }

    fn blocks(&self) -> anyhow::Result<Vec<BlockEntry>> {
        Ok(Self::blocks(self)?)
    }

    fn allow(&mut self, prefix: IpNet) -> anyhow::Result<()> {
        Ok(Self::allow(self, prefix)?)
    }

    fn disallow(&mut self, prefix: IpNet) -> anyhow::Result<bool> {
        Ok(Self::disallow(self, prefix)?)
    }

    fn report(&mut self, offence: &Offence) -> anyhow::Result<Judgement> {
        Ok(Self::report(self, offence)?)
    }

    fn customer_seen(&mut self, source: IpAddr, account: &str) {
        Self::customer_seen(self, source, account);
    }

    fn sweep(&mut self) -> anyhow::Result<()> {
        Ok(Self::sweep(self)?)
    }
}

impl SampleSource for Samples {
    fn next(&mut self) -> Option<Sample> {
        Self::next(self)
    }
}
