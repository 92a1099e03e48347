//! Which thread this is.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The number of the calling thread, counted from 0 in the order in which threads ask first: for
/// whatever is kept once for each thread, so that threads don't write to the same place.
#[must_use]
#[inline]
pub fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: Cell<Option<usize>> = const { Cell::new(None) };
    }
    NUMBER.get().unwrap_or_else(|| {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        NUMBER.set(Some(next));
        next
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_its_number_and_shares_it_with_no_other() {
        let own = thread_number();
        assert_eq!(thread_number(), own);
        let other = std::thread::spawn(thread_number).join().unwrap();
        assert_ne!(other, own);
    }
}
