//! The text of a job.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_core::{CompanyId, Environment, EventId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Job, JobError, JobKeys, JobSealer};

/// What is sealed. The data stand last: whose they are is read before them.
#[derive(Serialize)]
pub(super) struct Sealed<'a, J> {
    pub(super) kind: Cow<'a, str>,
    pub(super) id: EventId,
    pub(super) company: CompanyId,
    pub(super) owner: CompanyId,
    pub(super) environment: Environment,
    pub(super) expires_at: Timestamp,
    pub(super) payload: J,
}

/// The data are read only when all else is known to be right.
#[derive(Deserialize)]
struct Opened<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    id: EventId,
    company: CompanyId,
    owner: CompanyId,
    environment: Environment,
    expires_at: Timestamp,
    payload: serde_json::Value,
}

impl<J: Job> Sealed<'_, &J> {
    pub(super) fn write(&self, keys: &JobKeys) -> Result<String, JobError> {
        let data = serde_json::to_vec(self).map_err(JobError::Payload)?;
        if data.len() > JobSealer::MAX_LENGTH {
            return Err(JobError::TooLong);
        }
        let mut text = format!("{FORM}.{}.", keys.version());
        URL_SAFE_NO_PAD.encode_string(&data, &mut text);
        let seal = keys.seal(&text);
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(seal, &mut text);
        if text.len() > JobSealer::MAX_LENGTH {
            return Err(JobError::TooLong);
        }
        Ok(text)
    }
}

impl<'a, J: Job> Sealed<'a, J> {
    /// Nothing of the text is believed, and none of its data are read, before its seal was.
    pub(super) fn read(keys: &JobKeys, text: &str, kind: &'a str) -> Result<Self, JobError> {
        if text.len() > JobSealer::MAX_LENGTH {
            return Err(JobError::TooLong);
        }
        let (signed, seal) = text.rsplit_once('.').ok_or(JobError::Malformed)?;
        let (head, data) = signed.rsplit_once('.').ok_or(JobError::Malformed)?;
        let version = version(head).ok_or(JobError::Malformed)?;
        // One seal, one text: spare bits that are not zero, and padding, are refused.
        let seal = URL_SAFE_NO_PAD.decode(seal);
        keys.check(version, signed, &seal.map_err(|_| JobError::Malformed)?)?;
        let data = URL_SAFE_NO_PAD.decode(data);
        let data = data.map_err(|_| JobError::Malformed)?;
        let opened: Opened<'_> = serde_json::from_slice(&data).map_err(JobError::Payload)?;
        if opened.kind != kind {
            return Err(JobError::OtherKind);
        }
        Ok(Self {
            kind: Cow::Borrowed(kind),
            id: opened.id,
            company: opened.company,
            owner: opened.owner,
            environment: opened.environment,
            expires_at: opened.expires_at,
            payload: serde_json::from_value(opened.payload).map_err(JobError::Payload)?,
        })
    }
}

/// The secret's version in `csj1.7`.
fn version(head: &str) -> Option<u16> {
    let digits = head.strip_prefix(FORM)?.strip_prefix('.')?;
    let version: u16 = digits.parse().ok()?;
    (version.to_string() == digits).then_some(version)
}

/// Another form of the text, or another algorithm, would have another name.
const FORM: &str = "csj1";
