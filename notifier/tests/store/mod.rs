//! One suite for every store: what each backend must do, whatever its SQL.

pub mod audits;
pub mod bulks;
pub mod clock;
pub mod counts;
pub mod deliveries;
pub mod fairness;
pub mod feed;
pub mod filters;
pub mod health;
pub mod identities;
pub mod log;
pub mod operators;
pub mod pauses;
pub mod retention;
pub mod secrets;
pub mod shelf;
pub mod subscriptions;
mod world;

pub use shelf::{Open, Run, Shelf};
pub use world::World;

/// Makes a test of every case, each in a world of its own from `$world`, or over a database of its
/// own from `$shelf`.
macro_rules! suite {
    ($world:ident, $shelf:ident) => {
        store::cases!($shelf, secrets,
            a_rotated_secret_signs_beside_the_new_one_until_its_very_end
            no_more_than_five_secrets_are_live_and_the_oldest_goes_first
            a_rotation_may_change_the_scheme_and_public_keys_show_as_long_as_they_sign
            a_rotation_shows_when_each_live_secret_was_made_and_when_it_ends
            a_secret_is_kept_encrypted_and_signs_all_the_same
            what_is_in_plain_text_or_under_an_older_key_is_encrypted_under_the_first
            a_key_that_is_missing_is_named_with_how_many_subscriptions_need_it
            a_subscription_whose_secret_cant_be_read_is_left_to_those_who_can
            a_secret_put_in_anothers_row_signs_nothing_and_holds_nobody_else_back
            without_a_key_nothing_is_sealed_or_unsealed
        );
        store::cases!($world, identities,
            events_of_two_sources_with_one_id_are_two_events
            an_event_whose_data_is_spelled_in_another_way_is_the_same_event
            an_event_that_is_stamped_again_is_delivered_once
            an_event_with_anothers_identity_and_other_content_is_refused_and_the_rest_is_kept
            an_event_all_of_whose_keys_are_taken_is_refused_and_stops_nothing
            the_same_identities_at_the_same_time_under_many_times_make_each_event_once
            an_identity_is_known_as_long_as_its_event_is_kept
            events_that_belong_together_are_all_kept_or_none
            events_that_belong_together_and_come_by_many_at_once_are_each_kept_once
        );
        store::cases!($shelf, identities, events_from_before_an_upgrade_are_recognised_after_it);
        store::cases!($world, deliveries,
            an_event_makes_one_notification_per_subscription_however_often_it_arrives
            an_event_that_comes_again_after_its_delivery_is_not_told_again
            an_event_with_odd_attributes_is_kept_like_any_other
            the_same_events_at_the_same_time_make_each_notification_once
            a_merchants_subscription_hears_only_of_that_merchants_events
            fresh_notifications_are_handed_out_at_once_where_there_is_room
            concurrent_claims_never_share_a_notification
            a_lease_that_is_given_back_is_free_at_once_and_one_that_is_not_ones_own_stays
            nothing_under_a_live_lease_is_handed_out_and_an_expired_one_keeps_its_attempt_number
            a_late_result_changes_nothing_and_logs_no_attempt
            a_claim_takes_no_more_than_its_quota_oldest_first
            failures_climb_the_ladder_until_it_is_exhausted
            next_due_tells_when_to_look_again
            a_subscription_that_answers_410_is_disabled_and_its_notification_held
            a_410_of_an_attempt_from_before_a_change_disables_nothing
        );
        store::cases!($world, fairness,
            a_claim_takes_first_attempts_and_retries_by_halves_oldest_first_of_each
            the_odd_one_of_a_claim_is_of_the_kind_whose_turn_it_is
            where_one_kind_has_less_than_its_half_the_other_has_the_rest
            a_resend_goes_among_the_first_attempts_and_a_replay_among_the_retries
        );
        store::cases!($world, subscriptions,
            a_subscription_comes_back_as_it_was_made
            a_name_is_taken_once_per_merchant_and_free_after_deletion
            another_merchants_subscription_is_not_there
            lists_page_newest_first
            a_subscription_is_found_by_its_name_and_whose_it_is
            a_change_reaches_the_directory
            deleting_cancels_what_was_pending
            a_merchant_has_no_more_subscriptions_than_its_limit_and_others_are_not_concerned
            subscriptions_created_at_the_same_time_never_pass_the_limit
        );
        store::cases!($world, audits,
            what_is_done_to_a_subscription_is_kept_in_its_order_and_outlives_it
            what_is_refused_leaves_no_trace
            audits_page_newest_first
        );
        store::cases!($world, operators,
            a_subscription_that_a_410_disables_is_told_to_operators_once
            a_subscription_that_a_person_disables_is_told_to_operators
            an_exhausted_notification_is_told_with_what_it_was_about
            an_exhausted_notification_for_operators_is_not_told
            what_waits_is_counted_by_state_once_in_a_while
            a_backlog_that_grows_is_told_once_until_it_has_calmed_down
            many_processes_measure_once
        );
        store::cases!($world, health,
            a_subscription_whose_endpoint_fails_for_too_long_is_disabled_and_says_since_when
            one_success_starts_the_count_over
            nobody_is_disabled_where_that_is_off
            a_failure_from_before_a_change_disables_nothing
            only_an_endpoint_that_fails_has_a_health_and_a_success_clears_it
            resuming_another_url_and_deletion_hold_nothing_against_it_any_more
            what_many_processes_record_at_once_is_counted_in_full
            while_nobody_is_reached_one_at_a_time_is_tried_and_the_rest_keeps_its_ladder
            what_is_fresh_is_not_handed_out_for_an_endpoint_that_is_unreachable
            many_processes_never_probe_at_once
            a_probe_that_was_lost_is_over_with_its_lease
            what_had_begun_before_neither_ends_a_probe_nor_brings_the_next_one_forward
            probing_ends_with_any_answer_and_with_a_resume
        );
        store::cases!($world, pauses,
            a_receiver_that_asks_for_a_pause_is_left_alone_by_all_and_what_waits_takes_no_step
            without_a_retry_after_the_pause_doubles_up_to_a_minute_while_such_answers_go_on
            a_retry_after_is_kept_up_to_a_day_and_one_of_no_time_counts_as_none
            what_is_fresh_waits_for_the_receivers_pause_as_well
            what_waits_says_for_what_and_until_when
            a_resume_another_url_and_a_test_end_the_receivers_pause
            many_processes_never_probe_at_once_after_a_pause
            a_probe_that_is_given_back_leaves_the_next_one_at_once
        );
        store::cases!($world, log,
            pausing_holds_and_resuming_releases
            a_resend_starts_the_climb_over_and_keeps_numbering
            a_resend_under_a_lease_is_refused
            a_cancelled_notification_stays_so_whatever_its_running_attempt_says
            the_list_answers_every_filter
            the_list_pages_without_gap_or_repetition
            a_notification_shows_its_event_and_every_attempt
            another_merchants_notification_is_not_there
            a_list_of_one_type_goes_through_all_of_its_events
        );
        store::cases!($world, counts,
            every_state_of_a_subscription_is_counted
            what_waits_for_a_subscription_that_is_not_active_is_counted_as_held
            a_count_that_stops_at_the_cap_says_so
            counts_page_as_subscriptions_do_and_show_an_owner_its_own
            what_is_not_delivered_is_added_up_by_currency_with_the_time_of_the_oldest
        );
        store::cases!($world, feed,
            the_feed_is_in_the_order_in_which_events_were_kept_whatever_their_times
            an_event_is_delivered_once_every_subscription_that_it_went_to_has_acknowledged_it
            every_filter_and_page_shows_what_a_model_says
            no_event_ever_appears_behind_a_cursor_while_events_come_in
            a_page_is_short_where_little_matches_and_leads_on
            a_place_that_lies_after_everything_says_that_the_database_was_set_back
        );
        store::cases!($world, bulks,
            a_replay_resends_what_matches_in_batches_and_says_so_in_the_audit
            a_cancellation_ends_what_waits_also_under_a_lease_and_nothing_else
            a_bulk_does_it_to_what_every_filter_matches_and_nothing_else
            bulks_take_turns
            a_merchant_runs_no_more_bulk_actions_than_its_limit_and_a_finished_one_makes_room
            bulk_actions_created_at_the_same_time_never_pass_the_limit
            merchants_take_turns_however_many_bulk_actions_one_of_them_runs
            a_step_is_short_where_little_matches
            bulks_of_a_kind_are_listed_newest_first
            a_replay_of_every_subscription_resends_what_matches_of_each_oldest_first
            a_look_finds_what_a_replay_would_resend_and_changes_nothing
        );
        store::cases!($world, filters,
            every_combination_of_filters_narrows_the_list_and_keeps_its_order
            a_class_of_failures_finds_what_waits_behind_an_endpoint_that_fails_so
            a_family_of_many_types_lists_like_any_other
        );
        store::cases!($world, retention,
            an_event_from_before_midnight_makes_no_second_notification_after_it
            a_day_is_kept_for_the_retention_and_not_longer
            what_waits_is_never_removed_and_its_day_stays_whole
            a_resent_notification_keeps_its_day_until_it_is_final_again
            an_unknown_event_from_before_what_was_removed_is_not_taken
            old_events_are_delivered_on_a_fresh_database_and_kept_from_their_arrival
            finished_replays_go_after_the_retention_and_running_ones_stay
            a_replay_of_what_is_gone_resends_what_is_left_of_it
            a_list_by_arrival_finds_what_came_in_late_or_early
        );
        store::cases!($world, clock,
            a_retry_from_a_clock_that_was_ahead_is_due_after_its_step
            what_is_fresh_from_a_clock_that_was_ahead_is_due_at_once
            a_lease_from_a_clock_that_was_ahead_ends_within_its_length
            a_lease_that_has_not_ended_is_not_taken_over_by_a_clock_that_has_jumped
            times_that_can_be_stay_as_they_are
            an_endpoint_that_was_found_unreachable_by_a_clock_that_was_ahead_is_probed
            a_receivers_pause_stays_as_long_as_it_was_asked_for_whatever_the_clock_did
            the_last_time_that_was_noted_is_kept
            the_time_that_is_noted_does_not_go_back_for_a_process_whose_clock_is_slow
            an_event_below_a_floor_that_was_raised_too_far_is_taken
        );
    };
}

macro_rules! cases {
    ($world:ident, $module:ident, $($case:ident)+) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $case() {
            store::$module::$case($world().await).await;
        })+
    };
}

pub(crate) use {cases, suite};
