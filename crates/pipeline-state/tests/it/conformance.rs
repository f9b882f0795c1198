//! What every store must hold to: one suite, all stores, at chosen times.
#![allow(missing_docs)]

use crate::cases;
use crate::support;

/// Runs every case on a store of its own, or on one store with a pipeline of its own.
macro_rules! suite {
    ($kit:expr, $($module:ident: $($case:ident),+;)+) => {
        $($({
            let kit = $kit;
            eprintln!("  {}", stringify!($case));
            cases::$module::$case(&kit).await;
        })+)+
    };
}

macro_rules! all {
    ($kit:expr) => {
        suite!(
            $kit,
            items: items_go_from_phase_to_phase_and_are_counted,
                adding_again_adds_nothing,
                the_oldest_come_first_and_no_more_than_were_asked_for,
                any_name_within_the_bound_comes_back_as_it_was,
                everything_wrong_with_what_is_given_is_told_at_once,
                what_is_not_there_is_named,
                a_batch_that_fails_leaves_nothing_behind,
                a_call_that_is_dropped_is_there_whole_or_not_at_all,
                a_pipeline_that_is_removed_leaves_others_alone,
                failures_are_listed_in_pages_and_counted_by_category,
                failed_items_are_reset_by_phase_and_category,
                any_course_of_events_is_counted_right;
            leases: no_item_is_given_to_two_workers,
                what_a_dead_worker_held_comes_back_and_its_late_word_is_not_taken,
                a_renewed_lease_holds_and_a_lost_one_cannot_be_renewed,
                an_item_whose_workers_die_too_often_counts_as_failed,
                an_idle_worker_is_told_when_to_look_again,
                a_worker_known_to_be_dead_gives_its_items_back_at_once,
                an_item_that_is_released_is_pending_at_once;
            resume: checkpoints_come_by_count_and_by_time,
                old_checkpoints_go_but_for_the_last_payload,
                a_corrupt_checkpoint_is_told_and_nothing_changes,
                the_failed_only_go_on_unless_all_are_asked_for,
                a_pipeline_goes_back_to_a_checkpoint,
                a_pipeline_goes_on_from_the_start_of_a_phase,
                counts_that_do_not_fit_are_put_right,
                the_configuration_says_what_is_resumed;
        )
    };
}

#[tokio::test]
async fn sqlite_conforms() {
    all!(support::Sqlite::new().await);
}

#[tokio::test]
async fn postgres_conforms() {
    let Some(server) = support::server::PostgresServer::start("the suite on PostgreSQL") else {
        return;
    };
    // One database for all: what belongs to one pipeline must not show in another.
    let kit = support::Postgres::new(&server.url()).await;
    all!(kit.clone());
}
