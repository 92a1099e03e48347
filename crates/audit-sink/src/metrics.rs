//! `countersign_requests_total` and `countersign_request_seconds`: one reading for each outcome
//! event, so that no refusal is missed. Nothing without the feature `metrics`.

#[cfg(feature = "metrics")]
mod enabled {
    use crate::AuditEvent;

    pub(crate) fn count(event: &AuditEvent) {
        let decision = event.decision().map_or("", crate::Decision::as_str);
        let reason = event.denial_reason();
        let route = event.route().unwrap_or_default().to_owned();
        metrics::counter!(
            "countersign_requests_total",
            "decision" => decision,
            "reason" => reason,
            "route" => route.clone(),
        )
        .increment(1);
        let seconds = event.latency_us().unwrap_or_default() as f64 / 1e6;
        metrics::histogram!("countersign_request_seconds", "decision" => decision, "route" => route)
            .record(seconds);
    }
}

#[cfg(not(feature = "metrics"))]
mod disabled {
    pub(crate) const fn count(_: &crate::AuditEvent) {}
}

#[cfg(not(feature = "metrics"))]
pub(crate) use disabled::count;
#[cfg(feature = "metrics")]
pub(crate) use enabled::count;

pub(crate) const ENABLED: bool = cfg!(feature = "metrics");

#[cfg(all(test, feature = "metrics"))]
mod tests {
    use std::sync::{Arc, Mutex};

    use countersign_core::{Denial, Edge, Reason};
    use http::{Request, Response};
    use metrics::{
        Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    };

    use super::count;
    use crate::AuditEvent;
    use crate::event::{Arrival, Outcome, SourceForm};

    /// Keeps the labels of each counter that was counted up.
    #[derive(Default)]
    struct Labels(Arc<Mutex<Vec<String>>>);

    struct Counted(Arc<Mutex<Vec<String>>>, String);

    impl CounterFn for Counted {
        fn increment(&self, by: u64) {
            let mut counted = self.0.lock().expect("nobody panicked");
            counted.push(format!("{} +{by}", self.1));
        }

        fn absolute(&self, _: u64) {}
    }

    impl Recorder for Labels {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            let labels: Vec<_> = key
                .labels()
                .map(|l| format!("{}={}", l.key(), l.value()))
                .collect();
            let text = format!("{}{{{}}}", key.name(), labels.join(","));
            Counter::from_arc(Arc::new(Counted(Arc::clone(&self.0), text)))
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn a_refusal_is_counted_with_its_reason() {
        let labels = Labels::default();
        let mut request = Request::new(());
        let entered = Edge::default().enter(&mut request);
        let context = entered.context(&request);
        context.deny(Denial::new(Reason::LimitKey));
        let arrival = Arrival::of(&request, context, &SourceForm::Plain);
        let outcome = Outcome::Answered {
            status: Response::new(()).status(),
            grpc: None,
        };
        let event = AuditEvent::outcome(context, arrival, outcome);
        metrics::with_local_recorder(&labels, || count(&event));
        let counted = labels.0.lock().expect("nobody panicked");
        let expected =
            "countersign_requests_total{decision=rate_limited,reason=limit_key,route=} +1";
        assert_eq!(*counted, [expected]);
    }
}
