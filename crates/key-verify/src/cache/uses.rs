//! The cache is where keys meet their requests: it hands each key the cell that counts its uses.

use std::sync::Arc;
use std::time::Duration;

use countersign_core::ConfigError;

use super::KeyCache;
use crate::store::KeyStore;
use crate::uses::{UseTracker, UseWriter};

impl KeyCache {
    pub(crate) fn track_uses(&self, interval: Duration) -> Result<UseWriter, ConfigError> {
        UseWriter::check(&**self.store(), interval)?;
        let tracker = Arc::new(UseTracker::default());
        let tracked = self.0.uses.set(Arc::clone(&tracker));
        tracked.map_err(|_| ConfigError::new("last use", "it is tracked already"))?;
        // What came in before has nowhere to leave its marks.
        self.clear();
        Ok(UseWriter::spawn(
            tracker,
            Arc::clone(self.store()),
            interval,
        ))
    }

    pub(crate) fn store(&self) -> &Arc<dyn KeyStore> {
        &self.0.store
    }
}
