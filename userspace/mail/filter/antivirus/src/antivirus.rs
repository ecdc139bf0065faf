//! A message's parts, looked at by all who look, within a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task;
use tokio::time::{Instant, timeout_at};

use crate::cache::{Cache, Key};
use crate::clamd::Clamd;
use crate::engine::{Engine, Examination};
use crate::part::Part;
use crate::verdict::{Finding, Verdict, Why};

/// What there is to say of a message.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// Of its worst part.
    pub verdict: Verdict,
    /// Of each part, in order.
    pub parts: Vec<Verdict>,
    /// Everything that was found, the worst of each part first.
    pub findings: Vec<Finding>,
    /// Parts that were seen before, and not looked at again.
    pub remembered: usize,
}

/// Looks at messages.
#[derive(Debug)]
pub struct Antivirus {
    engine: Arc<Engine>,
    clamd: Option<Clamd>,
    seen: Cache<Examination>,
    heard: Cache<Verdict>,
    /// For a message.
    time: Duration,
    /// Messages that the engine looks through at once.
    threads: Arc<Semaphore>,
}

impl Antivirus {
    /// The engine, a clamd if there is one, and `time` for each message. As many messages as there are `threads` are looked
    /// through at once, and as many answers as there is `room` for are remembered, of each.
    #[must_use]
    pub fn new(
        engine: Engine,
        clamd: Option<Clamd>,
        time: Duration,
        threads: usize,
        room: usize,
    ) -> Self {
        Self {
            engine: Arc::new(engine),
            clamd,
            seen: Cache::new(room),
            heard: Cache::new(room),
            time,
            threads: Arc::new(Semaphore::new(threads.clamp(1, Semaphore::MAX_PERMITS))),
        }
    }

    /// Looks at the parts of a message. There is always an answer, and soon after the time is over at the latest.
    pub async fn scan(&self, parts: Vec<Part>) -> Report {
        let deadline = Instant::now() + self.time;
        let parts: Arc<[Part]> = parts.into();
        let ((ours, seen), (theirs, heard)) =
            tokio::join!(self.ask_engine(&parts, deadline), self.ask_clamd(&parts, deadline));
        let mut report = Report { remembered: seen + heard, ..Report::default() };
        for ((part, ours), theirs) in parts.iter().zip(ours).zip(theirs) {
            let ours = ours.of(part);
            let theirs = Examination { verdict: theirs, ..Examination::default() }.of(part);
            if let Verdict::Found(finding) | Verdict::Suspicious(finding) = &theirs.verdict {
                report.findings.push(finding.clone());
            }
            report.findings.extend(ours.findings);
            let verdict = ours.verdict.worse(theirs.verdict);
            report.parts.push(verdict.clone());
            report.verdict = std::mem::take(&mut report.verdict).worse(verdict);
        }
        report
    }

    /// What the engine says of each part, and how many answers were remembered.
    async fn ask_engine(
        &self,
        parts: &Arc<[Part]>,
        deadline: Instant,
    ) -> (Vec<Examination>, usize) {
        let keys: Vec<Key> = parts.iter().map(|part| Key::of_engine(&self.engine, part)).collect();
        let known: Vec<Option<Examination>> = keys.iter().map(|key| self.seen.get(key)).collect();
        let unknown: Vec<Part> = parts
            .iter()
            .zip(&known)
            .filter(|(_, known)| known.is_none())
            .map(|(part, _)| part.clone())
            .collect();
        let remembered = parts.len() - unknown.len();
        let mut fresh = self.examine(unknown, deadline).await.into_iter();
        let answers = known
            .into_iter()
            .zip(&keys)
            .map(|(known, key)| {
                known.unwrap_or_else(|| {
                    let answer =
                        fresh.next().unwrap_or_else(|| Examination::unscanned(Why::Failed));
                    if answer.lasting {
                        self.seen.put(*key, answer.clone());
                    }
                    answer
                })
            })
            .collect();
        (answers, remembered)
    }

    async fn examine(&self, parts: Vec<Part>, deadline: Instant) -> Vec<Examination> {
        let count = parts.len();
        if count == 0 {
            return Vec::new();
        }
        let nobody = |why: &Why| vec![Examination::unscanned(why.clone()); count];
        let Ok(Ok(thread)) = timeout_at(deadline, Arc::clone(&self.threads).acquire_owned()).await
        else {
            return nobody(&Why::Late);
        };
        let engine = Arc::clone(&self.engine);
        let work = task::spawn_blocking(move || {
            // Until the thread is done, however long nobody has been waiting for it.
            let _thread = thread;
            engine.examine(&parts, &|| Instant::now() >= deadline)
        });
        // It looks at the clock between two files; one file may take the rules a moment longer.
        match timeout_at(deadline + Duration::from_millis(200), work).await {
            Ok(Ok(examinations)) => examinations,
            Ok(Err(_)) => nobody(&Why::Failed),
            Err(_) => nobody(&Why::Late),
        }
    }

    /// What clamd says of each part, and how many answers were remembered. Without one, nothing is said.
    async fn ask_clamd(&self, parts: &Arc<[Part]>, deadline: Instant) -> (Vec<Verdict>, usize) {
        let Some(clamd) = &self.clamd else { return (vec![Verdict::Clean; parts.len()], 0) };
        let version = clamd.version(deadline).await;
        let mut verdicts = Vec::with_capacity(parts.len());
        let mut remembered = 0;
        for part in parts.iter() {
            if part.content.is_empty() {
                verdicts.push(Verdict::Clean);
                continue;
            }
            // What nobody knows the version of is not remembered.
            let key = version.as_deref().map(|version| Key::of_scanner(version, &part.content));
            if let Some(verdict) = key.and_then(|key| self.heard.get(&key)) {
                remembered += 1;
                verdicts.push(verdict);
                continue;
            }
            let verdict = clamd.scan(&part.content, deadline).await;
            if let Some(key) = key.filter(|_| !matches!(verdict, Verdict::Unscanned(_))) {
                self.heard.put(key, verdict.clone());
            }
            verdicts.push(verdict);
        }
        (verdicts, remembered)
    }
}

#[cfg(test)]
#[cfg(feature = "rules")]
mod tests;
