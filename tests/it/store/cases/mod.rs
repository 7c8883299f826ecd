//! The cases of the contract. Each gets an engine and opens stores on it.

mod catalog;
mod devices;
mod find;
mod forwarding;
mod guards;
mod life;
mod packages;
mod pushes;
mod rows;
mod sessions;

pub(crate) use catalog::{
    audit_ranges_markers_and_expiry, catalog_guards_hold_or_conflict, catalog_records_come_and_go,
    files_with_their_contents, owners_are_there_until_they_are_deleted,
    subtasks_in_order_and_by_ranges,
};
pub(crate) use devices::{
    deleted_device_is_gone, devices_and_their_indexes, each_device_comes_once_with_its_state,
    moved_device_leaves_no_index_behind, pages_of_devices, products_codecs_settings,
    versions_of_codecs,
};
pub(crate) use find::{prefixes_of_many, searches_answer_as_looking_does};
pub(crate) use forwarding::{
    forwarding_guards_hold_or_conflict, forwarding_lies_sealed, forwarding_records_come_and_go,
};
pub(crate) use guards::{
    commits_of_one_batch_see_each_other, conflict_changes_nothing, guards_hold_or_conflict,
};
pub(crate) use life::{
    closed_store_refuses, everything_survives_reopening, expiry_takes_the_old_and_nothing_else,
    sequence_numbers_never_repeat,
};
pub(crate) use packages::packages_and_their_names;
pub(crate) use pushes::progress_of_pushes_and_what_is_set_aside;
pub(crate) use rows::{
    events_in_order_without_gaps, history_ranges_and_markers, long_values_are_split_and_cleaned_up,
    many_rows_of_the_largest_size, raw_uplinks_are_read_late, raw_uplinks_newest_first,
    replaced_values_are_never_read_torn, replays_go_with_their_product,
};
pub(crate) use sessions::{
    a_session_is_not_replaced_by_an_older_one, secrets_lie_sealed, sessions_are_guarded_by_number,
    sessions_come_and_go, sessions_end_with_their_device,
};
