//! Shipping to a broker: everything, in order, and after a failure or a crash again.

use std::sync::{Arc, Mutex};

use super::*;
use crate::{EventBroker, LogShipper, ShippedEvent};

/// Keeps what it is given, and fails as it is told.
#[derive(Debug, Clone, Default)]
struct Broker(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    events: Vec<ShippedEvent>,
    calls: Vec<usize>,
    fails: Option<Failure>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Failure {
    Before,
    /// The events are there, and the acknowledgement is lost.
    After,
}

#[async_trait]
impl EventBroker for Broker {
    async fn publish(&mut self, events: &[ShippedEvent]) -> Result<(), StoreError> {
        let mut kept = self.0.lock().unwrap();
        if kept.fails == Some(Failure::Before) {
            return Err(unavailable("away"));
        }
        kept.events.extend_from_slice(events);
        kept.calls.push(events.len());
        match kept.fails.take() {
            Some(_) => Err(unavailable("the answer is lost")),
            None => Ok(()),
        }
    }
}

impl Broker {
    fn seqs(&self) -> Vec<u64> {
        let kept = self.0.lock().unwrap();
        kept.events.iter().map(|event| event.seq).collect()
    }

    fn fail(&self, failure: Option<Failure>) {
        self.0.lock().unwrap().fails = failure;
    }
}

fn shipper(place: &Place, broker: &Broker) -> LogShipper<Broker> {
    let position = place.log().with_extension("position");
    LogShipper::open(place.log(), position, broker.clone()).unwrap()
}

#[tokio::test]
async fn everything_signed_is_shipped_once_when_nothing_fails() {
    let place = Place::with(&[4, 3]).await;
    let broker = Broker::default();
    let mut first = shipper(&place, &broker).batch(3);
    assert_eq!(first.ship().await.unwrap(), 7);
    assert_eq!(first.ship().await.unwrap(), 0);
    assert_eq!(broker.seqs(), (0..7).collect::<Vec<_>>());
    assert_eq!(broker.0.lock().unwrap().calls, [3, 3, 1]);
    let mut log = place.options().segment_bytes(1000).open().unwrap();
    append_all(&mut log, &[1; 12]).await;
    log.settle().await.unwrap();
    // Another process goes on where this one ended.
    let mut second = shipper(&place, &broker);
    assert_eq!(second.position(), 7);
    assert_eq!(second.ship().await.unwrap(), 12);
    assert_eq!(broker.seqs(), (0..19).collect::<Vec<_>>());
    let kept = broker.0.lock().unwrap();
    for event in &kept.events {
        assert_eq!(event.id, format!("{}/{}", log.origin, event.seq));
        assert_eq!([&event.line[..], b"\n"].concat(), line(event.seq));
    }
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_and_what_was_does_not() {
    let place = Place::with(&[9]).await;
    let broker = Broker::default();
    let mut shipping = shipper(&place, &broker).batch(4);
    broker.fail(Some(Failure::Before));
    shipping.ship().await.unwrap_err();
    assert_eq!((broker.seqs(), shipping.position()), (vec![], 0));
    broker.fail(Some(Failure::After));
    shipping.ship().await.unwrap_err();
    assert_eq!((broker.seqs(), shipping.position()), (vec![0, 1, 2, 3], 0));
    drop(shipping);
    let mut again = shipper(&place, &broker).batch(4);
    assert_eq!(again.ship().await.unwrap(), 9);
    let expected: Vec<_> = (0..4).chain(0..9).collect();
    assert_eq!(broker.seqs(), expected, "at least once");
    // The position is kept before the next batch goes out.
    assert_eq!(shipper(&place, &broker).position(), 9);
}

#[tokio::test]
async fn what_no_checkpoint_signs_waits() {
    let place = Place::with(&[3]).await;
    let broker = Broker::default();
    let mut shipping = shipper(&place, &broker);
    assert_eq!(shipping.ship().await.unwrap(), 3);
    let mut lines = place.read(FIRST);
    lines.extend_from_slice(&line(3));
    place.write(FIRST, lines);
    assert_eq!(shipping.ship().await.unwrap(), 0);
    drop(place.open().unwrap());
    assert_eq!(shipping.ship().await.unwrap(), 1, "signed by now");
}

#[tokio::test]
async fn deleted_lines_are_counted_and_passed_over() {
    let place = Place::new();
    let options = place.options().segment_bytes(1000).keep_bytes(3000);
    let mut log = options.open().unwrap();
    for _ in 0..60 {
        append_all(&mut log, &[1]).await;
        tell_notices(&mut log).await;
    }
    log.settle().await.unwrap();
    let broker = Broker::default();
    let mut shipping = shipper(&place, &broker);
    let shipped = shipping.ship().await.unwrap();
    assert!(shipping.missed() > 0);
    assert_eq!(shipping.missed() + shipped, shipping.position());
    assert_eq!(shipping.position(), log.next);
}

#[tokio::test]
async fn a_position_belongs_to_one_log() {
    let place = Place::with(&[3]).await;
    let broker = Broker::default();
    assert_eq!(shipper(&place, &broker).ship().await.unwrap(), 3);
    let position = place.log().with_extension("position");
    let kept = std::fs::read_to_string(&position).unwrap();
    std::fs::write(&position, kept.replace("\"log\":\"", "\"log\":\"other/")).unwrap();
    assert_eq!(shipper(&place, &broker).position(), 0);
    std::fs::write(&position, "{").unwrap();
    let kind = |error: StoreError| error.kind();
    let opened = LogShipper::open(place.log(), &position, broker.clone());
    assert_eq!(opened.map(drop).map_err(kind), Err(StoreErrorKind::Corrupt));
    let nowhere = LogShipper::open(place.log().join("absent"), &position, broker);
    assert_eq!(
        nowhere.map(drop).map_err(kind),
        Err(StoreErrorKind::NotFound)
    );
}
