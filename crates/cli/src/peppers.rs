//! `--peppers FILE`.

use std::fs;
use std::path::Path;

use countersign::{CompanyId, Digester, KeyRecord, PepperId, SecretDigest};
use zeroize::Zeroizing;

use crate::error::CliError;
use crate::keys;
use crate::session::Session;
use crate::shape::shown_path;

/// How digests are made and compared.
#[derive(Default)]
pub(crate) struct Peppers {
    pub(crate) digester: Digester,
    known: Vec<PepperId>,
}

impl Peppers {
    /// Reads a file with one pepper a line, `<id>:<hex>`, the one for new keys first.
    pub(crate) fn read(file: &Path) -> Result<Self, CliError> {
        let failed = |problem: &str| CliError::Failed(format!("{}: {problem}", shown_path(file)));
        let text = fs::read_to_string(file).map_err(|error| failed(&error.to_string()))?;
        let text = Zeroizing::new(text);
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let peppers: Option<Vec<_>> = lines.map(pepper).collect();
        let peppers =
            peppers.ok_or_else(|| failed("a line is `<id>:<hex of 16 bytes or more>`"))?;
        let mut all = peppers.iter().map(|(id, bytes)| (*id, &bytes[..]));
        let current = all.next().ok_or_else(|| failed("it holds no pepper"))?;
        let digester = Digester::with_peppers(current, all);
        Ok(Self {
            digester: digester.map_err(|error| failed(&error.to_string()))?,
            known: peppers.iter().map(|(id, _)| *id).collect(),
        })
    }

    /// Whether a key can be compared with this digest.
    pub(crate) fn knows(&self, digest: &SecretDigest) -> bool {
        match digest {
            SecretDigest::HmacSha256(id, _) => self.known.contains(id),
            SecretDigest::Sha256(_) | SecretDigest::Imported(_) => true,
        }
    }

    /// Refuses to make a digest without a pepper beside digests that have one. It looks at all keys
    /// of `company` and at some of a few others, so that a store without peppers is not read whole.
    pub(crate) async fn check(session: &Session, company: &CompanyId) -> Result<(), CliError> {
        if !session.peppers.known.is_empty() {
            return Ok(());
        }
        let (manager, actor) = (&session.manager, &session.actor);
        let mut peppered = has_peppered(&keys::list(session, company).await?);
        for other in manager.companies(actor, None, COMPANIES).await? {
            if peppered {
                break;
            }
            peppered = has_peppered(&manager.list(actor, &other.id, None, KEYS).await?);
        }
        if !peppered {
            return Ok(());
        }
        Err(CliError::Failed(
            "keys of this store have digests under peppers, and the new key's would have none: give \
             --peppers FILE, or COUNTERSIGN_PEPPERS"
                .to_owned(),
        ))
    }
}

fn has_peppered(records: &[KeyRecord]) -> bool {
    let mut digests = records.iter().map(|record| &record.digest);
    digests.any(|digest| matches!(digest, SecretDigest::HmacSha256(..)))
}

fn pepper(line: &str) -> Option<(PepperId, Zeroizing<Vec<u8>>)> {
    let (id, hex) = line.trim().split_once(':')?;
    let bytes = hex::decode(hex).ok()?;
    Some((PepperId(id.parse().ok()?), bytes.into()))
}

/// How many companies, and how many keys of each, are looked at for peppers.
const COMPANIES: u32 = 100;
const KEYS: u32 = 100;
