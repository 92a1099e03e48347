//! A request's company scope in a background job.
//!
//! A queue is a place where a job can lose its company, or be given another. Here the scope and
//! the job's own data are one sealed text: whoever can read and write the queue can drop a job or
//! run it twice, and nothing else. [`JobSealer::open`] gives a job if
//! 1. the text is one that [`JobSealer::seal`] made, in its version 1 form, not one byte changed:
//!    HMAC-SHA-256 (RFC 2104) over the whole of it, compared in constant time,
//! 2. under a secret that the sealer knows by its version,
//! 3. for the kind of job that is asked for, and
//! 4. before it expires.
//!
//! The seal is not encryption: what is in a job can be read by who can read the queue. A job that
//! is run twice has the same [`ScopedJob::id`] both times. The scope in it was verified when the
//! request came in: a key that is revoked afterwards does not stop jobs that are sealed already,
//! so give them no longer a life than they need.
//!
//! ```
//! use std::time::Duration;
//!
//! use countersign_company_scope::{CompanyScope, Job, JobError, JobKeys, JobSealer};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, Serialize, Deserialize)]
//! struct SendReceipt {
//!     payment: String,
//! }
//!
//! impl Job for SendReceipt {
//!     const KIND: &'static str = "send-receipt";
//! }
//!
//! // In the handler, which has the scope as an argument:
//! fn enqueue(sealer: &JobSealer, scope: &CompanyScope) -> Result<String, JobError> {
//!     let job = SendReceipt { payment: "pay_1201".to_owned() };
//!     sealer.seal(scope, &job, Duration::from_secs(3600))
//! }
//!
//! // In the worker, which gets the scope out of the job and out of nothing else:
//! fn work(sealer: &JobSealer, text: &str) -> Result<(), JobError> {
//!     let job = sealer.open::<SendReceipt>(text)?;
//!     println!("a receipt of {} for {}", job.payload().payment, job.scope().company());
//!     Ok(())
//! }
//!
//! # let secret = [7; 32];
//! let sealer = JobSealer::new(JobKeys::new(1, secret));
//! # let _ = (enqueue, work, sealer);
//! ```

mod error;
mod keys;
mod sealed;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use countersign_core::{Clock, EventId, SystemClock, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::error::JobError;
pub use self::keys::JobKeys;
use self::sealed::Sealed;
use crate::CompanyScope;

/// The data of one kind of background job.
pub trait Job: Serialize + DeserializeOwned {
    /// The kind's name, 1 to 64 characters of `a-z 0-9 . _ -`. A sealed job opens as its own kind
    /// and as no other, so give each kind its own name, and a new one when its data change their
    /// meaning.
    const KIND: &'static str;
}

/// Seals jobs and opens them again. A clone is a handle to the same secrets.
#[derive(Debug, Clone)]
#[must_use]
pub struct JobSealer {
    keys: Arc<JobKeys>,
    clock: Arc<dyn Clock>,
}

impl JobSealer {
    /// The longest life of a job: 7 days.
    pub const MAX_LIFETIME: Duration = Duration::from_secs(7 * 86_400);
    /// The longest sealed text, in bytes: 256 KiB. A job names things; it doesn't carry them.
    pub const MAX_LENGTH: usize = 256 * 1024;

    /// A sealer with these secrets and the system's clock.
    pub fn new(keys: JobKeys) -> Self {
        Self {
            keys: Arc::new(keys),
            clock: Arc::new(SystemClock),
        }
    }

    /// Reads time from `clock`.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The job as text for a queue: `csj1.`, the secret's version, the data and the seal, separated
    /// by dots, of the characters `A-Z a-z 0-9 . _ -`.
    ///
    /// # Errors
    /// [`JobError::Kind`] when the kind's name is not acceptable, [`JobError::Lifetime`] when
    /// `lifetime` is zero or too long, [`JobError::TooLong`] when the text would be, and
    /// [`JobError::Payload`] when the data can't be written as JSON.
    pub fn seal<J: Job>(
        &self,
        scope: &CompanyScope,
        job: &J,
        lifetime: Duration,
    ) -> Result<String, JobError> {
        if !is_kind(J::KIND) {
            return Err(JobError::Kind);
        }
        if lifetime.is_zero() || lifetime > Self::MAX_LIFETIME {
            return Err(JobError::Lifetime);
        }
        let now = self.clock.now().wall;
        let sealed = Sealed {
            kind: J::KIND.into(),
            id: EventId::generate(now),
            company: *scope.company(),
            owner: *scope.owner(),
            environment: scope.environment(),
            expires_at: now.saturating_add(lifetime),
            payload: job,
        };
        sealed.write(&self.keys)
    }

    /// The job in a text that [`JobSealer::seal`] made.
    ///
    /// # Errors
    /// [`JobError::Malformed`], [`JobError::TooLong`], [`JobError::UnknownSecret`] or
    /// [`JobError::Forged`] for a text that is not one; [`JobError::OtherKind`] and
    /// [`JobError::Expired`] for a job that is not wanted here or now; [`JobError::Payload`] when
    /// its data are not of the shape that `J` has. A worker puts such a job aside and never runs it.
    pub fn open<J: Job>(&self, text: &str) -> Result<ScopedJob<J>, JobError> {
        let sealed = Sealed::<J>::read(&self.keys, text, J::KIND)?;
        if self.clock.now().wall >= sealed.expires_at {
            return Err(JobError::Expired);
        }
        Ok(ScopedJob {
            id: sealed.id,
            scope: CompanyScope::of_job(sealed.company, sealed.owner, sealed.environment),
            expires_at: sealed.expires_at,
            payload: sealed.payload,
        })
    }
}

/// A job, opened: its data, and the company scope of the request that asked for it.
#[derive(Debug)]
pub struct ScopedJob<J> {
    id: EventId,
    scope: CompanyScope,
    expires_at: Timestamp,
    payload: J,
}

impl<J> ScopedJob<J> {
    /// Names this sealed job; the same each time it is opened. Not a secret.
    #[must_use]
    pub const fn id(&self) -> EventId {
        self.id
    }

    /// Whose data the job may touch.
    #[must_use]
    pub const fn scope(&self) -> &CompanyScope {
        &self.scope
    }

    /// When it stops being one.
    #[must_use]
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// The job's own data.
    #[must_use]
    pub const fn payload(&self) -> &J {
        &self.payload
    }

    /// The scope and the data.
    #[must_use]
    pub fn into_parts(self) -> (CompanyScope, J) {
        (self.scope, self.payload)
    }
}

fn is_kind(name: &str) -> bool {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    (1..=64).contains(&name.len()) && name.bytes().all(good)
}
