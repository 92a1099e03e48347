//! The consumer of the assembled stacks' events: awake while there are events, as the receiving
//! task of a busy service is. Were it to wait for each event, every request would pay for waking
//! it with a system call.

use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// The sending side, and a thread that hands every event to `consume` until all senders are gone.
pub(crate) fn start<T: Send + 'static>(consume: impl FnMut(T) + Send + 'static) -> Sender<T> {
    let (sender, receiver) = channel(CAPACITY);
    thread::spawn(move || drain(receiver, consume));
    sender
}

fn drain<T>(mut receiver: Receiver<T>, mut consume: impl FnMut(T)) {
    let mut last = Instant::now();
    loop {
        match receiver.try_recv() {
            Ok(event) => {
                consume(event);
                last = Instant::now();
            }
            Err(TryRecvError::Empty) if last.elapsed() < PATIENCE => thread::yield_now(),
            Err(TryRecvError::Empty) => thread::sleep(NAP),
            Err(TryRecvError::Disconnected) => return,
        }
    }
}

/// Sends `event`. A benchmark that loses events would flatter the stack it measures.
pub(crate) fn send<T>(sender: &Sender<T>, event: T) {
    let sent = sender.try_send(event).is_ok();
    assert!(sent, "the drain thread fell behind");
}

/// After this long without an event the other stacks get the processor.
const PATIENCE: Duration = Duration::from_millis(1);
const NAP: Duration = Duration::from_micros(500);
const CAPACITY: usize = 1 << 20;
