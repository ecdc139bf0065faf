//! What work costs: processor time of programs, of kernel threads and of whole cores.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

/// Processor time of a process, all threads that live. Exact to the nanosecond, unlike what is counted in
/// clock ticks. Interrupts and packets that were handled meanwhile on its account are part of it.
///
/// # Errors
/// When it doesn't exist.
pub fn of_process(pid: u32) -> Result<Duration> {
    let tasks = format!("/proc/{pid}/task");
    let threads = fs::read_dir(&tasks).with_context(|| format!("process {pid} is gone"))?;
    let mut sum = Duration::ZERO;
    for thread in threads.flatten() {
        // One that ends meanwhile has no time any more.
        if let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) {
            sum += on_cpu(&text).context("an unreadable schedstat")?;
        }
    }
    Ok(sum)
}

/// Processor time of all that a process has started and that has ended, and what those had started: in steps of a clock
/// tick for all of it together. For servers whose processes come and go, beside [`of_process`] of those that live.
///
/// # Errors
/// When there is no such process.
pub fn of_ended(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} is gone"))?;
    of_waited(&stat).context("an unreadable stat")
}

/// The 16th and the 17th field (proc(5): cutime, cstime). The second is a name in parentheses, which may hold any character.
fn of_waited(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(13);
    let [user, system] = [fields.next()?.parse::<u64>().ok()?, fields.next()?.parse().ok()?];
    Some(Duration::from_millis((user + system) * 1_000 / TICKS))
}

/// Processor time of the whole core since the start of the machine, but for idling and waiting: in steps
/// of a clock tick, and measured by sampling.
///
/// # Errors
/// When there is no such core.
pub fn of_core(core: usize) -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
    busy(&stat, core).with_context(|| format!("no core {core} in /proc/stat"))
}

/// Ticks of /proc in a second, whatever the kernel's own are (proc(5), USER_HZ).
const TICKS: u64 = 100;

fn busy(stat: &str, core: usize) -> Option<Duration> {
    let name = format!("cpu{core}");
    let line = stat.lines().find(|line| line.split_whitespace().next() == Some(&name))?;
    let ticks: Vec<u64> =
        line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq; guests are within user, and stolen time is nobody's.
    let [user, nice, system, _idle, _iowait, irq, softirq, ..] = ticks[..] else {
        return None;
    };
    Some(Duration::from_millis((user + nice + system + irq + softirq) * 1_000 / TICKS))
}

/// The first field: nanoseconds on a processor.
fn on_cpu(schedstat: &str) -> Option<Duration> {
    schedstat.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// Resident memory of a process, in bytes: what is its own, without files that it has mapped.
///
/// # Errors
/// When it doesn't exist.
pub fn resident(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("process {pid} is gone"))?;
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse::<u64>().ok());
    kilobytes.map(|kilobytes| kilobytes << 10).with_context(|| format!("no RssAnon of {pid}"))
}

/// Keeps a thread (0 for the calling one) on a core.
///
/// # Errors
/// When there is no such thread, or the core may not be used.
pub fn pin(thread: u32, core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(Pid::from_raw(thread as i32), &set)
        .with_context(|| format!("running thread {thread} on core {core}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_busy_with_all_but_waiting() {
        let stat =
            "cpu  1 1 1 1 1 1 1 1 0 0\ncpu0 100 10 200 5000 70 3 7 9 0 0\ncpu1 1 2\nintr 5\n";
        assert_eq!(busy(stat, 0), Some(Duration::from_millis(3_200)));
        assert_eq!((busy(stat, 1), busy(stat, 2)), (None, None));
    }

    #[test]
    fn time_on_the_processor_is_the_first_field() {
        assert_eq!(on_cpu("106689 69874 2\n"), Some(Duration::from_nanos(106_689)));
        assert_eq!(on_cpu(""), None);
    }

    #[test]
    fn what_has_ended_is_counted_at_who_waited_for_it() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 1 0 0 0 10 20 300 45 20 0 1 0 4242 8192 1";
        assert_eq!(of_waited(stat), Some(Duration::from_millis(3_450)));
        assert_eq!((of_waited("7 (a) S 1"), of_waited("")), (None, None));
        assert!(of_ended(std::process::id()).is_ok());
    }

    #[test]
    fn this_process_uses_time_and_memory() {
        assert!(of_process(std::process::id()).unwrap() > Duration::ZERO);
        assert!(resident(std::process::id()).unwrap() > 100_000);
    }
}
