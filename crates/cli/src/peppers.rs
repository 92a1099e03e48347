//! `--peppers FILE`.

use std::fs;
use std::path::Path;

use countersign::{Digester, PepperId, SecretDigest};
use zeroize::Zeroizing;

use crate::error::CliError;
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
}

fn pepper(line: &str) -> Option<(PepperId, Zeroizing<Vec<u8>>)> {
    let (id, hex) = line.trim().split_once(':')?;
    let bytes = hex::decode(hex).ok()?;
    Some((PepperId(id.parse().ok()?), bytes.into()))
}
