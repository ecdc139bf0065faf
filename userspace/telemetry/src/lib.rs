//! How a running Muralla is seen from outside.
//!
//! - [`logs`]: the log, as text for people and as JSON for machines
//! - [`exposition`]: Prometheus metrics, gathered at the moment of a scrape
//! - [`budget`]: promises, and how much of the permitted failure is left

pub mod budget;
pub mod exposition;
pub mod logs;
