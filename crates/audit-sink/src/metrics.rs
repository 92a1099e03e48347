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
    use countersign_core::{Denial, Edge, Reason};
    use http::{Request, Response};
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    use super::count;
    use crate::AuditEvent;
    use crate::event::{Arrival, Outcome, SourceForm};

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
    fn a_refusal_is_counted_with_its_reason() {
        let recorder = DebuggingRecorder::new();
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
        metrics::with_local_recorder(&recorder, || count(&event));
        let expected =
            "countersign_requests_total{decision=rate_limited,reason=limit_key,route=} +1";
        assert_eq!(counted(&recorder), [expected]);
    }
}
