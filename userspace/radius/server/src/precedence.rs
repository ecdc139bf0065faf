//! Who goes before whom on a core: who answers, and the journal that answers wait for, before all that follows.

use rustix::process::setpriority_process;

/// What other parts of an answer ask now and then: a quarter of the processor's time beside a thread that answers.
pub(crate) const FOLLOWS: i32 = 5;

/// What nobody waits for: a tenth.
pub(crate) const WAITS: i32 = 10;

/// Has this thread give way to those that answer.
pub(crate) fn give_way(niceness: i32) {
    // Where that can't be, it works all the same.
    let _ = setpriority_process(None, niceness);
}
