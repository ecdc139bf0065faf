//! Each way over real connections: what whoever asks sends and hears, and what comes out behind.

mod common;
mod http;
mod milter;
mod proxy;
