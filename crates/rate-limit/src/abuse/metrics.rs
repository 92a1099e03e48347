//! `countersign_abuse_signals_total`, by kind and reaction. Nothing without the feature `metrics`.

use countersign_core::AbuseSignal;

#[cfg(feature = "metrics")]
pub(super) fn count(signal: &AbuseSignal) {
    metrics::counter!(
        "countersign_abuse_signals_total",
        "kind" => signal.kind.as_str(),
        "reaction" => signal.reaction.as_str(),
    )
    .increment(1);
}

#[cfg(not(feature = "metrics"))]
pub(super) const fn count(_: &AbuseSignal) {}

#[cfg(all(test, feature = "metrics"))]
mod tests {
    use std::sync::{Arc, Mutex};

    use countersign_core::{AbuseKind, AbuseReaction, Edge, Reason, RequestObserver};
    use http::Request;
    use metrics::{
        Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    };

    use crate::{AbuseMonitor, AbuseRule, AbuseRules};

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
            let labels = key.labels().map(|l| format!("{}={}", l.key(), l.value()));
            let labels: Vec<_> = labels.collect();
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
    fn a_signal_is_counted_with_its_kind_and_reaction() {
        let rule = AbuseRule::new(1, std::time::Duration::from_secs(60));
        let rule = rule.react(AbuseReaction::Notify);
        let rules = AbuseRules::none().with(AbuseKind::PlatformFailures, rule);
        let monitor = AbuseMonitor::builder().rules(rules).build().unwrap();
        let mut request = Request::new(());
        let entered = Edge::default().enter(&mut request);
        entered.context(&request).deny(Reason::MissingApiKey.into());
        let labels = Labels::default();
        metrics::with_local_recorder(&labels, || monitor.finished(entered.context(&request)));
        let expected = "countersign_abuse_signals_total{kind=platform_failures,reaction=notify} +1";
        assert_eq!(*labels.0.lock().unwrap(), [expected]);
    }
}
