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
    use countersign_core::{AbuseKind, AbuseReaction, Edge, Reason, RequestObserver};
    use http::Request;
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    use crate::{AbuseMonitor, AbuseRule, AbuseRules};

    /// Each counter that was counted up, with its labels.
    fn counted(recorder: &DebuggingRecorder) -> Vec<String> {
        let metrics = recorder.snapshotter().snapshot().into_vec().into_iter();
        let counters = metrics.filter_map(|(metric, _, _, value)| {
            let DebugValue::Counter(value) = value else {
                return None;
            };
            let key = metric.key();
            let labels = key.labels().map(|l| format!("{}={}", l.key(), l.value()));
            let labels: Vec<_> = labels.collect();
            Some(format!("{}{{{}}} +{value}", key.name(), labels.join(",")))
        });
        counters.collect()
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
        let recorder = DebuggingRecorder::new();
        metrics::with_local_recorder(&recorder, || monitor.finished(entered.context(&request)));
        let expected = "countersign_abuse_signals_total{kind=platform_failures,reaction=notify} +1";
        assert_eq!(counted(&recorder), [expected]);
    }
}
