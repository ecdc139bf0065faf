//! Who goes before whom on a core: answers before the database.
//!
//! SQLite works in threads of this process. Where nobody waits for it by the millisecond, as what is to be written is safe in a
//! journal already, those threads can give way to the ones that answer: where the cores are full, as they are after a restart,
//! that is what counts.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rustix::process::{Pid, setpriority_process};

/// A tenth of the processor's time beside a thread that does not give way.
const NICENESS: i32 = 10;

/// The threads of one engine.
#[derive(Clone, Debug)]
pub struct Threads {
    /// Their name, of at most 15 letters, as Linux has it; no other engine's threads have it.
    name: Arc<str>,
    give_way: Arc<AtomicBool>,
}

impl Threads {
    pub(crate) fn new() -> Self {
        static ENGINES: AtomicU32 = AtomicU32::new(0);
        let number = ENGINES.fetch_add(1, Ordering::Relaxed) % 100_000_000;
        Self { name: format!("sqlite-{number}").into(), give_way: Arc::default() }
    }

    pub(crate) fn name(&self) -> String {
        self.name.as_ref().to_owned()
    }

    /// From now on they give way, those that are made later as well.
    pub(crate) fn give_way(&self) {
        self.give_way.store(true, Ordering::SeqCst);
        self.lower();
    }

    /// To be called by who has made one: which it is, its maker is not told.
    pub(crate) fn made(&self) {
        if self.give_way.load(Ordering::SeqCst) {
            self.lower();
        }
    }

    fn lower(&self) {
        let Ok(threads) = fs::read_dir("/proc/self/task") else { return };
        for thread in threads.flatten() {
            let is_ours = fs::read_to_string(thread.path().join("comm"))
                .is_ok_and(|name| name.trim_end() == &*self.name);
            let number = thread.file_name().to_str().and_then(|number| number.parse().ok());
            if let Some(thread) = number.and_then(Pid::from_raw).filter(|_| is_ours) {
                // It may have ended meanwhile; and where it can't be done, it is as it was.
                let _ = setpriority_process(Some(thread), NICENESS);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;
    use crate::{Engine, Location};

    /// Niceness of the threads of an engine.
    fn niceness(threads: &Threads) -> Vec<i32> {
        let all = fs::read_dir("/proc/self/task").unwrap().flatten();
        let ours = all.filter(|thread| {
            fs::read_to_string(thread.path().join("comm"))
                .is_ok_and(|name| name.trim_end() == threads.name())
        });
        let number = |thread: fs::DirEntry| thread.file_name().to_str().unwrap().parse().unwrap();
        ours.map(|thread| getpriority_process(Pid::from_raw(number(thread))).unwrap()).collect()
    }

    #[tokio::test]
    async fn an_engine_gives_way_when_it_is_told_to() {
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str| {
            Engine::new(&Location::Sqlite(folder.path().join(name)), "muralla-test").unwrap()
        };
        let (ours, other) = (open("ours"), open("other"));
        let threads = |engine: &Engine| match engine {
            Engine::Sqlite { threads, .. } => threads.clone(),
            Engine::Postgres(_) => panic!("this is SQLite"),
        };
        let begin = getpriority_process(None).unwrap();
        for engine in [&ours, &other] {
            engine.write().await.unwrap().commit().await.unwrap();
            assert_eq!(niceness(&threads(engine)), [begin]);
        }
        ours.give_way();
        assert_eq!(niceness(&threads(&ours)), [NICENESS]);
        // One that is made afterwards does too.
        let (_read, _write) = (ours.read().await.unwrap(), ours.write().await.unwrap());
        assert_eq!(niceness(&threads(&ours)), [NICENESS, NICENESS]);
        assert_eq!(niceness(&threads(&other)), [begin]);
        assert_eq!(getpriority_process(None).unwrap(), begin);
    }
}
