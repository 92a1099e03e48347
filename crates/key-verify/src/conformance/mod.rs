//! The suite that every key store must pass, ours included.
//!
//! ```
//! # #[tokio::main]
//! # async fn main() {
//! use countersign_key_verify::{MemoryKeyStore, conformance};
//!
//! conformance::run(async || MemoryKeyStore::default()).await;
//! # }
//! ```

mod changes;
mod companies;
mod crowds;
mod expiry;
mod feed;
mod races;
mod records;
mod support;
mod uses;

use std::sync::Arc;

pub use self::changes::{
    a_change_is_made_whole_or_not_at_all, events_come_back_as_they_were_given,
    events_wait_until_they_are_acknowledged,
};
pub use self::companies::{
    a_company_s_standing_is_seen_at_once, a_suspended_company_and_a_changed_key_are_both_kept,
    companies_are_paged, refuses_a_company_s_other_versions,
};
pub use self::crowds::{
    one_of_many_inserts_wins, one_of_many_updates_wins, revocation_is_never_undone_by_a_rotation,
};
pub use self::expiry::{
    a_sweep_goes_page_by_page, a_sweep_undoes_no_other_change, due_keys_are_those_that_ended,
    many_sweeps_tell_each_end_once,
};
pub use self::feed::{
    changes_are_told, no_change_is_missed_among_many, one_at_a_time_claims_the_outbox,
};
pub use self::races::{
    a_rotation_asks_whose_key_it_is, a_suspension_is_seen_by_every_later_use,
    keeps_what_is_as_long_as_can_be, keys_at_their_end_stay, two_issues_of_one_id,
    two_rotations_leave_one_successor,
};
pub use self::records::{
    a_company_is_not_one_whose_id_begins_alike, names_are_compared_to_the_letter,
    pages_ten_thousand_keys, reads_what_was_written, refuses_what_exists_and_what_does_not,
};
pub use self::uses::{uses_add_up, uses_are_no_change_of_a_key, uses_of_many_writers_add_up};
use crate::store::KeyStore;

/// Runs every property, each on a new and empty store that `make` gives.
///
/// # Panics
/// When the store lacks a property; the message says which. Call it on a runtime with several
/// threads, so that races are races.
pub async fn run<S: KeyStore>(make: impl AsyncFn() -> S) {
    reads_what_was_written(&make().await).await;
    refuses_what_exists_and_what_does_not(&make().await).await;
    a_change_is_made_whole_or_not_at_all(&make().await).await;
    events_come_back_as_they_were_given(&make().await).await;
    a_company_is_not_one_whose_id_begins_alike(&make().await).await;
    names_are_compared_to_the_letter(&make().await).await;
    a_company_s_standing_is_seen_at_once(&make().await).await;
    refuses_a_company_s_other_versions(&make().await).await;
    pages_ten_thousand_keys(&make().await).await;
    events_wait_until_they_are_acknowledged(&make().await).await;
    one_of_many_inserts_wins(Arc::new(make().await)).await;
    one_of_many_updates_wins(Arc::new(make().await)).await;
    two_issues_of_one_id(Arc::new(make().await)).await;
    two_rotations_leave_one_successor(Arc::new(make().await)).await;
    a_rotation_asks_whose_key_it_is(Arc::new(make().await)).await;
    a_suspension_is_seen_by_every_later_use(Arc::new(make().await)).await;
    keys_at_their_end_stay(Arc::new(make().await)).await;
    keeps_what_is_as_long_as_can_be(&make().await).await;
    revocation_is_never_undone_by_a_rotation(Arc::new(make().await)).await;
    a_suspended_company_and_a_changed_key_are_both_kept(Arc::new(make().await)).await;
    due_keys_are_those_that_ended(&make().await).await;
    a_sweep_goes_page_by_page(Arc::new(make().await)).await;
    many_sweeps_tell_each_end_once(Arc::new(make().await)).await;
    a_sweep_undoes_no_other_change(Arc::new(make().await)).await;
    changes_are_told(Arc::new(make().await)).await;
    no_change_is_missed_among_many(Arc::new(make().await)).await;
    one_at_a_time_claims_the_outbox(Arc::new(make().await)).await;
    companies_are_paged(&make().await).await;
    uses_add_up(&make().await).await;
    uses_are_no_change_of_a_key(&make().await).await;
    uses_of_many_writers_add_up(Arc::new(make().await)).await;
}
