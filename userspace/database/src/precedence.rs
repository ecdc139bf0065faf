//! Who goes before whom on a core: answers before the database.
//!
//! SQLite works in threads of this process. What it writes is safe in somebody's journal or queue already, or nobody waits for it
//! by the millisecond; who asks a name or logs in does. Where the cores are full (and after a restart they are) the former gives way.

use std::fs;

use rustix::process::{Pid, setpriority_process};

/// Name of SQLite's threads, of at most 15 letters, as Linux has it.
pub(crate) const ENGINE: &str = "muralla-sqlite";

/// A tenth of the processor's time beside a thread that does not give way.
const NICENESS: i32 = 10;

/// Has SQLite's threads give way to all others. Whoever opens a connection calls it: the thread of that is not told by its maker.
pub(crate) fn lower_engines() {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return };
    for thread in threads.flatten() {
        let is_engine = fs::read_to_string(thread.path().join("comm"))
            .is_ok_and(|name| name.trim_end() == ENGINE);
        let number = thread.file_name().to_str().and_then(|number| number.parse().ok());
        if let Some(thread) = number.and_then(Pid::from_raw).filter(|_| is_engine) {
            // It may have ended meanwhile; and where it can't be done, it is as it was.
            let _ = setpriority_process(Some(thread), NICENESS);
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    #[test]
    fn threads_of_that_name_give_way() {
        let (tell, told) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let engine = std::thread::Builder::new().name(ENGINE.to_owned());
        let engine = engine.spawn(move || {
            tell.send(rustix::thread::gettid()).unwrap();
            let _ = ended.recv();
        });
        let thread = told.recv().unwrap();
        let before = getpriority_process(Some(rustix::thread::gettid())).unwrap();
        lower_engines();
        assert_eq!(getpriority_process(Some(thread)).unwrap(), NICENESS);
        assert_eq!(getpriority_process(Some(rustix::thread::gettid())).unwrap(), before);
        drop(end);
        engine.unwrap().join().unwrap();
    }
}
