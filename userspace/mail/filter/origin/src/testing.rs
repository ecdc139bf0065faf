//! A zone, and a signer, for tests.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use data_encoding::BASE64;
use futures_util::future::{BoxFuture, FutureExt, pending, ready};
use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair};

use crate::names::{Answer, Exchange, Names};

/// Answers what it was told, at once. A name that has other records, or names below it, is there.
#[derive(Default)]
pub(crate) struct Zone {
    txt: HashMap<String, Vec<Vec<u8>>>,
    a: HashMap<String, Vec<Ipv4Addr>>,
    aaaa: HashMap<String, Vec<Ipv6Addr>>,
    mx: HashMap<String, Vec<Exchange>>,
    ptr: HashMap<IpAddr, Vec<String>>,
    broken: HashSet<String>,
    slow: HashSet<String>,
}

impl Zone {
    pub(crate) fn txt(mut self, name: &str, text: impl AsRef<[u8]>) -> Self {
        self.txt.entry(name.to_owned()).or_default().push(text.as_ref().to_vec());
        self
    }

    pub(crate) fn host(mut self, name: &str, address: &str) -> Self {
        match address.parse().unwrap() {
            IpAddr::V4(address) => self.a.entry(name.to_owned()).or_default().push(address),
            IpAddr::V6(address) => self.aaaa.entry(name.to_owned()).or_default().push(address),
        }
        self
    }

    pub(crate) fn mx(mut self, name: &str, host: &str) -> Self {
        let exchange = Exchange { preference: 10, host: host.to_owned() };
        self.mx.entry(name.to_owned()).or_default().push(exchange);
        self
    }

    pub(crate) fn ptr(mut self, address: &str, name: &str) -> Self {
        self.ptr.entry(address.parse().unwrap()).or_default().push(name.to_owned());
        self
    }

    pub(crate) fn broken(mut self, name: &str) -> Self {
        self.broken.insert(name.to_owned());
        self
    }

    pub(crate) fn slow(mut self, name: &str) -> Self {
        self.slow.insert(name.to_owned());
        self
    }

    fn exists(&self, name: &str) -> bool {
        let all = self.txt.keys().chain(self.a.keys()).chain(self.aaaa.keys());
        all.chain(self.mx.keys()).any(|there| crate::names::is_within(there, name))
    }

    fn find<T: Clone + Send + 'static>(
        &self,
        name: &str,
        records: &HashMap<String, Vec<T>>,
    ) -> BoxFuture<'static, Answer<T>> {
        let name = name.to_ascii_lowercase();
        if self.slow.contains(&name) {
            return pending().boxed();
        }
        let answer = match records.get(&name) {
            Some(records) => Answer::Records(records.clone()),
            None if self.broken.contains(&name) => Answer::Failed,
            None if self.exists(&name) => Answer::Empty,
            None => Answer::NoName,
        };
        ready(answer).boxed()
    }
}

impl Names for Zone {
    fn txt<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Answer<Vec<u8>>> {
        self.find(name, &self.txt)
    }

    fn a<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Answer<Ipv4Addr>> {
        self.find(name, &self.a)
    }

    fn aaaa<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Answer<Ipv6Addr>> {
        self.find(name, &self.aaaa)
    }

    fn mx<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Answer<Exchange>> {
        self.find(name, &self.mx)
    }

    fn ptr(&self, ip: IpAddr) -> BoxFuture<'_, Answer<String>> {
        if self.broken.contains(&ip.to_string()) {
            return ready(Answer::Failed).boxed();
        }
        ready(self.ptr.get(&ip).map_or(Answer::NoName, |names| Answer::Records(names.clone())))
            .boxed()
    }
}

/// Signs as others do, in relaxed form with Ed25519; by other code than that which verifies.
pub(crate) struct Signer {
    pair: Ed25519KeyPair,
    pub(crate) domain: &'static str,
}

impl Signer {
    pub(crate) fn new(domain: &'static str, seed: u8) -> Self {
        Self { pair: Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap(), domain }
    }

    pub(crate) fn record(&self) -> String {
        let key = BASE64.encode(self.pair.public_key().as_ref());
        format!("v=DKIM1; k=ed25519; p={key}")
    }

    pub(crate) fn publish(&self, zone: Zone) -> Zone {
        zone.txt(&format!("sel._domainkey.{}", self.domain), &self.record())
    }

    /// The message with a signature above it.
    pub(crate) fn sign(&self, message: &str) -> String {
        self.sign_with(message, "", "from:to:subject:date")
    }

    pub(crate) fn sign_with(&self, message: &str, tags: &str, names: &str) -> String {
        let fields = fields(message);
        let field = format!(
            "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d={}; s=sel;\r\n\t{tags}h={names};\r\n\tbh={}; b=",
            self.domain,
            body_hash(message),
        );
        let signed = chosen(&fields, names);
        format!("{field}{}\r\n{message}", self.signature(&signed, &field))
    }

    /// The message with a set of ARC above it.
    pub(crate) fn seal(&self, message: &str, number: usize, before: &str) -> String {
        let Self { domain, .. } = self;
        let results = format!("ARC-Authentication-Results: i={number}; {domain}; spf=pass");
        let names = "from:to:subject:date:dkim-signature";
        let signature = format!(
            "ARC-Message-Signature: i={number}; a=ed25519-sha256; c=relaxed/relaxed; d={domain}; s=sel; h={names}; bh={}; b=",
            body_hash(message),
        );
        let signed = chosen(&fields(message), names);
        let signature = format!("{signature}{}", self.signature(&signed, &signature));
        let seal =
            format!("ARC-Seal: i={number}; a=ed25519-sha256; cv={before}; d={domain}; s=sel; b=");
        let mut sealed: Vec<String> = Vec::new();
        for earlier in 1..number {
            for name in ["arc-authentication-results", "arc-message-signature", "arc-seal"] {
                let own = |field: &&String| {
                    let field = field.to_lowercase();
                    field.starts_with(name) && field.contains(&format!("i={earlier};"))
                };
                sealed.extend(fields(message).iter().filter(own).cloned());
            }
        }
        sealed.extend([results.clone(), signature.clone()]);
        let seal = format!("{seal}{}", self.signature(&sealed, &seal));
        format!("{seal}\r\n{signature}\r\n{results}\r\n{message}")
    }

    fn signature(&self, signed: &[String], own: &str) -> String {
        let mut data = String::new();
        for field in signed {
            data.push_str(&relaxed(field));
            data.push_str("\r\n");
        }
        data.push_str(&relaxed(own));
        let hash = digest(&SHA256, data.as_bytes());
        BASE64.encode(self.pair.sign(hash.as_ref()).as_ref())
    }
}

fn fields(message: &str) -> Vec<String> {
    let (header, _) = message.split_once("\r\n\r\n").unwrap();
    let unfolded = header.replace("\r\n ", "\u{1} ").replace("\r\n\t", "\u{1}\t");
    unfolded.split("\r\n").map(|field| field.replace('\u{1}', "\r\n")).collect()
}

fn chosen(fields: &[String], names: &str) -> Vec<String> {
    let mut left = fields.to_vec();
    let mut chosen = Vec::new();
    for name in names.split(':') {
        let named =
            |field: &String| field.split_once(':').unwrap().0.trim().eq_ignore_ascii_case(name);
        if let Some(at) = left.iter().rposition(named) {
            chosen.push(left.remove(at));
        }
    }
    chosen
}

fn relaxed(field: &str) -> String {
    let (name, value) = field.split_once(':').unwrap();
    let words: Vec<&str> = value.split_whitespace().collect();
    format!("{}:{}", name.trim().to_lowercase(), words.join(" "))
}

fn body_hash(message: &str) -> String {
    let (_, body) = message.split_once("\r\n\r\n").unwrap();
    let lines = body.split("\r\n").map(|line| {
        let words: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        let indent = if line.starts_with([' ', '\t']) && !words.is_empty() { " " } else { "" };
        format!("{indent}{}", words.join(" "))
    });
    let mut body = lines.collect::<Vec<_>>().join("\r\n");
    while body.ends_with("\r\n") {
        body.truncate(body.len() - 2);
    }
    if !body.is_empty() {
        body.push_str("\r\n");
    }
    BASE64.encode(digest(&SHA256, body.as_bytes()).as_ref())
}

/// A message of that author.
pub(crate) fn message(from: &str) -> String {
    format!(
        "From: {from}\r\nTo: user@ours.example\r\nSubject: One  \r\n\ttwo\r\nDate: Tue, 1 Dec 2026 10:00:00 +0000\r\n\r\nHello,\r\n  this is  it.\r\n\r\n\r\n"
    )
}
