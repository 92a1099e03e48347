//! Digests that were made in an older way are made anew when their key is used: only then is the
//! secret at hand.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_core::{KeyId, KeyPrefix, StoreError};

use crate::cache::KeyCache;
use crate::cached::CachedKey;
use crate::digest::{Digester, SecretDigest};
use crate::key::RawKey;
use crate::store::{Change, KeyStore, Write};

/// At most one attempt for a key at a time, and at most [`MOST`] in all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Renewal(Arc<Mutex<HashSet<KeyId>>>);

impl Renewal {
    /// The key was just accepted. Where its digest is an older one, a task replaces it.
    #[inline]
    pub(crate) fn offer(
        &self,
        digester: &Digester,
        cache: &KeyCache,
        key: &RawKey,
        found: &CachedKey,
    ) {
        if !digester.is_current(&found.digest) {
            self.begin(digester.digest(key.secret()), *key.prefix(), cache, found);
        }
    }

    #[cold]
    fn begin(&self, digest: SecretDigest, prefix: KeyPrefix, cache: &KeyCache, found: &CachedKey) {
        let Some(id) = found.identity.key_id() else {
            return;
        };
        // Outside a runtime the key simply keeps its digest.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        {
            let mut under_way = self.lock();
            if under_way.len() >= MOST || !under_way.insert(id) {
                return;
            }
        }
        let (this, cache, old) = (self.clone(), cache.clone(), found.digest);
        runtime.spawn(async move {
            // In a task of its own, and in time: a store that panics or hangs has failed, and the
            // key's place is freed.
            let work = tokio::spawn(async move {
                let replacing = replace(&**cache.store(), id, old, digest);
                let replaced = tokio::time::timeout(DEADLINE, replacing).await;
                // Also where that was cut off: the record may be a new one.
                cache.evict(&prefix);
                replaced
            });
            if !matches!(work.await, Ok(Ok(Ok(())))) {
                // Where the service may not write, not every request tries.
                tracing::warn!(target: "countersign", key = %id, "a key's digest could not be renewed");
                tokio::time::sleep(PAUSE).await;
            }
            this.lock().remove(&id);
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<KeyId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts `new` in the place of `old`, and of nothing else. It is no change of the key's life, and no
/// event tells of it.
async fn replace(
    store: &dyn KeyStore,
    id: KeyId,
    old: SecretDigest,
    new: SecretDigest,
) -> Result<(), StoreError> {
    let Some(mut record) = store.get(id).await? else {
        return Ok(());
    };
    if record.digest != old {
        return Ok(());
    }
    let expected = record.version;
    record.digest = new;
    record.version += 1;
    let change = Change {
        writes: vec![Write::UpdateKey { record, expected }],
        events: Vec::new(),
    };
    store.commit(&change).await
}

const MOST: usize = 256;
const PAUSE: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(5);
