//! The uses of all keys.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_core::{KeyId, ScopeSet};

use super::KeyUse;
use super::cell::{ROUTE_ROOM, UseCell};

/// Hands out a cell for each key that comes into the cache, and collects what is in them.
#[derive(Debug, Default)]
pub(crate) struct UseTracker {
    cells: Mutex<Cells>,
    routes: Arc<Routes>,
}

#[derive(Debug, Default)]
struct Cells {
    by_key: HashMap<KeyId, Arc<UseCell>>,
    /// Cells that lack room for the scopes that their keys have by now.
    outgrown: Vec<(KeyId, Arc<UseCell>)>,
}

impl UseTracker {
    /// The key's cell. Asked when a key comes out of the store, never by a request that finds it in
    /// the cache.
    pub(crate) fn cell(&self, key: KeyId, scopes: &ScopeSet) -> Arc<UseCell> {
        let mut cells = self.lock();
        if let Some(cell) = cells
            .by_key
            .get(&key)
            .filter(|cell| cell.has_room_for(scopes))
        {
            return Arc::clone(cell);
        }
        let cell = Arc::new(UseCell::new(scopes, Arc::clone(&self.routes)));
        if let Some(outgrown) = cells.by_key.insert(key, Arc::clone(&cell)) {
            cells.outgrown.push((key, outgrown));
        }
        cell
    }

    /// Everything that was noted since the last call, added to `waiting`. A cell that nobody else
    /// holds any more, because its key left the cache, is emptied and let go.
    pub(crate) fn collect(&self, waiting: &mut HashMap<KeyId, KeyUse>) {
        let mut cells = self.lock();
        let Cells { by_key, outgrown } = &mut *cells;
        by_key.retain(|key, cell| keep(*key, cell, waiting));
        outgrown.retain(|(key, cell)| keep(*key, cell, waiting));
    }

    fn lock(&self) -> MutexGuard<'_, Cells> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn keep(key: KeyId, cell: &Arc<UseCell>, waiting: &mut HashMap<KeyId, KeyUse>) -> bool {
    // Counted before it is emptied: who is alone now stays alone, for the lock is held.
    let held = Arc::strong_count(cell) > 1;
    if let Some(taken) = cell.take(key) {
        add(waiting, taken);
    }
    held
}

pub(super) fn add(waiting: &mut HashMap<KeyId, KeyUse>, uses: KeyUse) {
    waiting
        .entry(uses.key)
        .and_modify(|before| before.add(&uses))
        .or_insert(uses);
}

/// Route templates by number, so that a time and a route fit into one word. They come from the
/// contract, and are as few as its endpoints.
#[derive(Debug, Default)]
pub(super) struct Routes {
    numbers: papaya::HashMap<Box<str>, u32>,
    names: Mutex<Vec<Arc<str>>>,
}

impl Routes {
    /// The route's number; 0 where there is no number left.
    pub(super) fn number(&self, template: &str) -> u32 {
        let numbers = self.numbers.pin();
        if let Some(number) = numbers.get(template) {
            return *number;
        }
        // Once for each route in a process's life.
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = numbers.get(template) {
            return *number;
        }
        let number = u32::try_from(names.len() + 1).unwrap_or(u32::MAX);
        if u64::from(number) >= ROUTE_ROOM {
            return 0;
        }
        names.push(template.into());
        numbers.insert(template.into(), number);
        number
    }

    pub(super) fn name(&self, number: u32) -> Option<Arc<str>> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        names.get(index).cloned()
    }
}
