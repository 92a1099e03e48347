//! Whole decisions against a map of integers.

use super::*;

/// A counter for each name, and a request that takes from all of them or from none.
#[derive(Default)]
struct Model(HashMap<String, u64>);

impl Model {
    fn decide(&mut self, request: &LimitRequest<'_>, now: u64) -> (bool, Vec<u32>) {
        let names: Vec<String> = request
            .limits()
            .map(|limit| request.key(&limit).to_string())
            .collect();
        let verdicts: Vec<[Verdict; 2]> = names
            .iter()
            .zip(request.limits())
            .map(|(name, limit)| {
                let tat = self.0.get(name).copied().unwrap_or(0);
                [limit.cost(), 0].map(|cost| decide(tat, now, limit.quota(), cost))
            })
            .collect();
        let allowed = verdicts.iter().all(|[taken, _]| taken.allowed);
        let said = |[taken, untouched]: &[Verdict; 2]| {
            let what = if allowed { taken } else { untouched };
            what.remaining
        };
        let remaining = verdicts.iter().map(said).collect();
        if allowed {
            let spent = verdicts.iter().map(|[taken, _]| taken.new_tat);
            self.0.extend(names.into_iter().zip(spent));
        }
        (allowed, remaining)
    }
}

fn every_dimension() -> Policies {
    let seconds = |burst, seconds| quota(burst, Duration::from_secs(seconds));
    Policies::new([
        Policy::new("key", Dimension::Key, seconds(4, 2))
            .for_operation(OperationType::Write, seconds(2, 5))
            .and("hour", seconds(9, 20)),
        Policy::new("company", Dimension::Company, seconds(6, 1))
            .cost_of(Endpoint::post("/payments"), 3),
        Policy::new("endpoint", Dimension::Endpoint, seconds(5, 3)),
        Policy::new("operation", Dimension::Operation, seconds(7, 2)),
        Policy::new("source", Dimension::Source, seconds(5, 2)),
        Policy::new("platform", Dimension::Platform, seconds(12, 1)),
    ])
    .unwrap()
}

proptest! {
    #[test]
    fn a_decision_about_every_dimension_is_that_of_a_map(
        requests in prop::collection::vec((0usize..4, 0usize..3, 0usize..3, 0u64..1500), 1..150),
    ) {
        let (store, policies, mut model) = (LocalLimits::new(), every_dimension(), Model::default());
        let first = Caller::new();
        let callers = [first.colleague(), first, Caller::new(), Caller::new()];
        let sources = ["192.0.2.1", "192.0.2.2", "2001:db8::1"];
        let endpoints = [
            Endpoint::get("/accounts"), Endpoint::post("/payments"), Endpoint::get("/payments"),
        ];
        let mut millis = 43_200_000;
        for (caller, source, endpoint, gap) in requests {
            millis += gap;
            let at = after(Duration::from_millis(millis));
            let context = callers[caller].asks_from(sources[source], endpoints[endpoint].clone(), at);
            let request = policies.request(&context).unwrap();
            let (allowed, remaining) = model.decide(&request, at.monotonic.as_nanos());
            let decision = store.decide(&request).unwrap();
            prop_assert_eq!(decision.is_allowed(), allowed);
            for ((limit, outcome), left) in request.limits().zip(decision.outcomes()).zip(remaining) {
                // What companies share is not looked at where the company's own limits refuse.
                if allowed || limit.dimension().is_per_company() {
                    prop_assert_eq!(outcome.remaining(), left, "{}", limit.policy());
                }
            }
        }
    }
}
