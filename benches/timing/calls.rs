//! The calls that are timed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use countersign::{Edge, KeyPrefix, KeyStore, KeyVerifier, KeyVerifyLayer, ManualClock, RawKey};
use fastrand::Rng;
use http::{Request, Response, StatusCode};
use tower::util::BoxCloneService;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::support::api;
use crate::support::keys::{self, Key};
use crate::welch::Samples;

/// What the cache knows when a call comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cache {
    /// The key, or that there is none.
    Warm,
    /// Nothing: the store is asked.
    Cold,
}

/// A layer that verifies keys, and keys that it refuses.
pub(crate) struct Calls {
    service: BoxCloneService<Request<Body>, Response<Body>, Infallible>,
    verifier: KeyVerifier,
    cache: Cache,
    /// Known prefixes with secrets that are not theirs, and unknown prefixes.
    texts: [Vec<String>; 2],
    rng: Rng,
}

impl Calls {
    pub(crate) async fn new(store: Arc<dyn KeyStore>, known: &[Key], cache: Cache) -> Self {
        let unknown = keys::generate(known.len());
        let secrets = keys::generate(known.len());
        // Its hands don't move, so that nothing leaves the cache by its age.
        let clock = ManualClock::default();
        let verifier = KeyVerifier::builder(store).clock(clock.clone());
        let verifier = verifier
            .staleness_bound(Duration::from_secs(60))
            .absent_for(Duration::from_secs(60))
            .cached_keys(2 * known.len())
            .cached_absent(2 * known.len())
            .build()
            .expect("settings within their bounds");
        let layer =
            KeyVerifyLayer::new(verifier.clone()).with_edge(Edge::builder().clock(clock).build());
        let inner = service_fn(async |_: Request<Body>| Ok(Response::new(Body::empty())));
        let wrong = known.iter().zip(&secrets);
        let wrong = wrong.map(|(key, other)| with_secret_of(&key.text, &other.text));
        let texts = [
            wrong.collect(),
            unknown.into_iter().map(|key| key.text).collect(),
        ];
        let mut calls = Self {
            service: BoxCloneService::new(layer.layer(inner)),
            verifier,
            cache,
            texts,
            rng: Rng::new(),
        };
        if cache == Cache::Warm {
            calls.warm().await;
        }
        calls
    }

    /// Calls with one or the other, as a coin falls.
    pub(crate) async fn run(&mut self, count: usize, samples: &mut Samples) {
        for _ in 0..count {
            let unknown = self.rng.bool();
            let texts = &self.texts[usize::from(unknown)];
            let text = &texts[self.rng.usize(..texts.len())];
            if self.cache == Cache::Cold {
                self.verifier.cache().evict(&prefix(text));
            }
            let request = api::request(text);
            let service = self.service.ready().await;
            let Ok(service) = service;
            let started = Instant::now();
            let Ok(response) = service.call(request).await;
            let taken = started.elapsed();
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
            samples.push(unknown, taken.as_nanos());
        }
    }

    /// In mixed order: what comes into a table first is found a little faster.
    async fn warm(&mut self) {
        let mut all = self.texts.concat();
        self.rng.shuffle(&mut all);
        for text in all {
            let Ok(response) = self.service.clone().oneshot(api::request(&text)).await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        }
    }
}

fn prefix(text: &str) -> KeyPrefix {
    *RawKey::parse(text.as_bytes()).expect("a key").prefix()
}

/// The key `text` with the secret of another key.
fn with_secret_of(text: &str, other: &str) -> String {
    let secret = &other[other.len() - SECRET - CHECK..other.len() - CHECK];
    let body = format!("{}{secret}", &text[..text.len() - SECRET - CHECK]);
    let mut crc = crc32fast::hash(body.as_bytes());
    let mut check = [0; CHECK];
    for digit in check.iter_mut().rev() {
        *digit = DIGITS[(crc % 62) as usize];
        crc /= 62;
    }
    let check = check.map(char::from);
    body + &String::from_iter(check)
}

const SECRET: usize = 43;
const CHECK: usize = 6;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
