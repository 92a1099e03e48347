//! Why a job was not sealed or not opened.

/// What is wrong with a job. No message repeats anything of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// The kind's name is not acceptable.
    #[error("a kind of job is named by 1 to 64 characters of a-z 0-9 . _ -")]
    Kind,
    /// The lifetime is zero or too long.
    #[error("a job lives for more than no time and at most 7 days")]
    Lifetime,
    /// The text is longer than a sealed job may be.
    #[error("a sealed job is at most 256 KiB long: let it name what it is about")]
    TooLong,
    /// The text has not the form of a sealed job.
    #[error("not a sealed job")]
    Malformed,
    /// It names a secret that this sealer doesn't know.
    #[error("the job was sealed under a secret that is not known here")]
    UnknownSecret,
    /// Its seal is not that of its data: something of it was changed.
    #[error("the seal does not belong to the job")]
    Forged,
    /// It is another kind of job.
    #[error("a job of another kind")]
    OtherKind,
    /// It expired.
    #[error("the job has expired")]
    Expired,
    /// Its data are not what the kind of job says.
    #[error("the job's data have another shape")]
    Payload(#[source] serde_json::Error),
}
