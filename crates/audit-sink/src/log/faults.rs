//! A disk that fails when a test says so.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};

/// Which of the operations to come fail, and how. A clone is another handle to the same plan.
#[derive(Debug, Clone, Default)]
pub(super) struct Faults(Arc<Mutex<Plan>>);

#[derive(Debug, Default)]
struct Plan {
    /// Operations still to succeed before the fault; `None`: no fault is planned.
    after: Option<u64>,
    /// How many operations fail from then on.
    times: u64,
    /// The error, as the system numbers it.
    errno: i32,
    /// Operations so far.
    done: u64,
    /// What the page cache was told to let go of: from where on, and how many bytes.
    let_go: Vec<(u64, u64)>,
    /// What somebody else does, after so many more operations.
    hand: Option<(u64, Hand)>,
}

struct Hand(Box<dyn FnOnce() + Send>);

impl fmt::Debug for Hand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<fn>")
    }
}

impl Faults {
    /// After `after` more operations, `times` of them fail with `errno`.
    pub(super) fn plan(&self, after: u64, times: u64, errno: i32) {
        let mut plan = self.lock();
        (plan.after, plan.times, plan.errno) = (Some(after), times, errno);
    }

    /// Between the operation after `after` more of them and the one before, `hand` is run.
    pub(super) fn interpose(&self, after: u64, hand: impl FnOnce() + Send + 'static) {
        self.lock().hand = Some((after, Hand(Box::new(hand))));
    }

    /// Nothing fails any longer, and nobody interposes.
    pub(super) fn heal(&self) {
        let mut plan = self.lock();
        (plan.after, plan.hand) = (None, None);
    }

    /// How many operations there were.
    pub(super) fn operations(&self) -> u64 {
        self.lock().done
    }

    /// A write that fails has written half of it.
    pub(super) fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        self.step().inspect_err(|_| {
            file.write_all(&bytes[..bytes.len() / 2])
                .expect("the disk itself works");
        })
    }

    pub(super) fn let_go(&self, start: u64, bytes: u64) {
        self.lock().let_go.push((start, bytes));
    }

    /// What the page cache was told to let go of since this was last asked.
    pub(super) fn take_let_go(&self) -> Vec<(u64, u64)> {
        std::mem::take(&mut self.lock().let_go)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.step()
    }

    pub(super) fn rename(&self) -> io::Result<()> {
        self.step()
    }

    pub(super) fn create(&self) -> io::Result<()> {
        self.step()
    }

    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().expect("nobody panics with the plan in hand")
    }

    fn step(&self) -> io::Result<()> {
        if let Some(Hand(hand)) = self.lock().take_hand() {
            hand();
        }
        let mut plan = self.lock();
        plan.done += 1;
        match plan.after {
            None => Ok(()),
            Some(0) if plan.times > 0 => {
                plan.times -= 1;
                Err(io::Error::from_raw_os_error(plan.errno))
            }
            Some(0) => Ok(()),
            Some(left) => {
                plan.after = Some(left - 1);
                Ok(())
            }
        }
    }
}

impl Plan {
    fn take_hand(&mut self) -> Option<Hand> {
        let (left, hand) = self.hand.take()?;
        if left > 0 {
            self.hand = Some((left - 1, hand));
            return None;
        }
        Some(hand)
    }
}
