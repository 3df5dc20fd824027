//! What every backend must do, as functions over a database; each backend's file runs them all.

pub mod accounts;
pub mod audit;
pub mod bad_input;
pub mod cancelled;
pub mod days;
pub mod dead_letters;
pub mod described;
pub mod exceptions;
pub mod ledger;
pub mod notifications;
pub mod orders;
pub mod queue;
pub mod recharges;
pub mod reconciliation;
pub mod requests;
pub mod roads;
pub mod statement;
pub mod statement_answers;
pub mod sweep;

/// Runs the whole suite on the database that `$open` makes.
#[macro_export]
macro_rules! run_suite {
    ($open:path) => {
        $crate::run_suite!(@ $open;
            accounts: an_account_is_opened_once_under_one_name, credits_are_listed_newest_first_page_by_page,
                      only_the_operator_and_the_service_s_own_merchant_may_call,
                      callers_of_the_keys_file_are_known_and_its_operators_named_in_audits,
                      every_endpoint_is_described, the_page_of_metrics_says_what_is_shown;
            audit: books_in_order_are_balanced, credits_whose_orders_are_not_known_are_counted, the_audit_says_what_it_does_not_check_and_what_is_open, a_balance_that_is_not_the_sum_of_its_credits_is_found,
                   the_differing_accounts_that_are_listed_are_bounded;
            bad_input: bad_input_is_refused_with_its_status_and_changes_nothing,
                       a_body_over_the_limit_is_refused, bad_notifications_are_refused_and_change_nothing;
            cancelled: a_reconciliation_that_is_never_answered_rightly_ends_when_it_is_cancelled,
                       whoever_is_at_a_reconciliation_that_is_cancelled_keeps_nothing_of_it,
                       what_has_ended_is_not_cancelled, a_cancelled_night_is_not_begun_again;
            days: days_that_no_process_was_there_for_are_reconciled_oldest_first_and_once,
                  days_that_are_not_reconciled_are_named_in_log_metrics_and_audit,
                  a_day_that_is_never_answered_for_does_not_hold_up_the_others_for_ever,
                  a_day_that_a_clock_that_was_ahead_has_reconciled_is_reconciled_again,
                  clocks_that_differ_for_long_begin_each_day_a_few_times_at_most,
                  a_day_is_reconciled_as_well_when_its_parts_were_asked_for;
            described: clients_can_be_made_from_the_description, every_example_of_the_description_is_taken,
                       a_parameter_with_an_empty_value_answers_400_naming_it;
            exceptions: a_refused_result_is_kept_with_what_is_needed_to_judge_it,
                        every_refusal_is_kept_under_its_kind_beside_what_the_books_hold,
                        a_repetition_counts_up_and_another_telling_is_kept_beside_the_first,
                        a_refusal_that_can_t_be_kept_is_not_answered_as_one,
                        an_exception_closes_itself_when_the_retried_result_credits,
                        what_fails_or_is_passed_over_is_no_exception,
                        a_credit_by_hand_is_audited_and_teaches_the_request,
                        a_credit_that_the_books_can_t_take_is_refused_and_changes_nothing,
                        what_was_dismissed_stays_dismissed_when_it_comes_again,
                        a_credit_by_hand_posts_once_under_all_races,
                        an_account_opened_meanwhile_leaves_no_exception_open,
                        whatever_a_refused_result_holds_can_be_kept,
                        exceptions_are_listed_newest_first_by_state_kind_and_tx_no;
            dead_letters: a_dead_letter_is_listed_and_shown_with_all_that_is_known_of_it,
                          a_requeued_dead_letter_is_a_fresh_result_and_it_is_kept_who_asked,
                          a_dead_letter_whose_reason_no_database_would_hold_is_requeued,
                          a_result_that_no_database_would_hold_stops_no_other,
                          a_dead_letter_with_a_byte_order_mark_is_shown_and_credited_when_it_is_requeued,
                          a_letter_requeued_in_vain_tells_of_it, what_is_no_event_is_shown_as_text,
                          only_the_operator_sees_and_requeues_dead_letters,
                          a_service_without_a_queue_has_no_dead_letters,
                          a_broker_that_is_down_is_told_and_nothing_is_done;
            ledger: a_batch_credits_each_account_by_its_sum, a_tx_no_credits_once_within_and_across_batches,
                    a_refused_result_holds_no_other_back, a_result_that_contradicts_its_credit_is_refused,
                    a_balance_never_overflows,
                    the_database_itself_moves_balances_and_keeps_credits_as_they_are, a_credit_and_its_balance_move_together_or_not_at_all,
                    many_tasks_at_once_leave_exact_balances, one_tx_no_for_two_accounts_credits_one_of_them;
            notifications: a_signed_result_is_credited_once_however_often_it_comes,
                           only_a_fresh_signature_of_a_live_secret_is_believed,
                           what_can_t_be_credited_is_refused_by_name, what_is_not_ours_is_passed_over,
                           a_failed_recharge_credits_nothing, a_flood_of_notifications_leaves_exact_balances,
                           a_broken_database_answers_503_and_the_next_try_credits,
                           the_receiver_is_off_where_results_come_from_the_queue_alone;
            orders: a_second_tx_no_of_a_credited_order_is_an_exception_on_every_road,
                    from_the_queue_a_second_tx_no_of_a_credited_order_is_given_up_at_once,
                    the_sweep_credits_no_second_tx_no_of_an_order,
                    an_order_made_here_and_repeated_elsewhere_is_credited_once,
                    of_two_tx_nos_of_an_order_in_one_batch_or_in_many_at_once_one_is_credited,
                    the_database_itself_credits_an_order_once,
                    a_result_that_did_not_succeed_is_no_second_credit,
                    a_second_credit_of_an_order_needs_the_first_to_be_named,
                    what_was_refused_before_its_order_was_credited_is_not_credited_by_mistake,
                    credits_of_an_earlier_version_learn_their_orders_when_their_results_are_received_again,
                    an_order_that_an_earlier_version_credited_twice_is_found,
                    the_books_of_an_earlier_version_are_kept_and_orders_are_taken_from_requests;
            queue: a_batch_from_the_queue_is_credited_and_others_results_are_passed_over,
                   a_message_is_settled_only_after_the_commit,
                   what_can_never_be_credited_is_given_up_at_once_and_stops_nothing,
                   what_can_t_be_credited_yet_climbs_and_is_credited_when_its_account_is_there,
                   what_is_not_credited_by_the_end_of_the_ladder_is_given_up_with_its_reason,
                   a_result_that_the_database_stumbles_over_holds_no_other_back,
                   both_roads_race_and_each_result_is_credited_once;
            recharges: a_recharge_is_asked_for_and_credited_by_its_notification,
                       a_notification_settles_a_request_whose_answer_was_lost,
                       what_pay_service_refuses_is_refused_and_leaves_nothing,
                       an_answer_about_another_request_is_unknown,
                       an_answer_that_contradicts_the_request_is_unknown_and_kept;
            reconciliation: a_credited_recharge_is_answered_here_while_pay_service_is_down,
                            a_recharge_that_succeeded_is_credited_once_and_then_answered_here,
                            a_recharge_without_result_is_answered_and_not_credited,
                            a_recharge_nobody_knows_is_not_found,
                            a_success_that_can_t_be_credited_says_why;
            requests: a_request_learns_its_result_and_refuses_what_contradicts_it,
                      a_late_pending_does_not_overwrite_a_result,
                      a_withdrawn_request_is_gone_unless_something_was_heard_of_it,
                      two_requests_never_share_a_tx_no;
            roads: a_query_that_pay_service_fails_is_told_as_unknown,
                   a_sweep_that_pay_service_fails_asks_again,
                   a_request_that_pay_service_fails_stays_unknown;
            statement: every_kind_of_difference_is_found_and_put_right_where_it_can_be,
                       a_second_walk_credits_nothing_again_and_asks_nobody_anew,
                       a_walk_survives_restarts_and_crashes_between_any_two_steps,
                       processes_share_the_walks_and_each_page_counts_once,
                       a_process_that_lost_its_lease_changes_nothing,
                       a_side_that_is_empty_or_far_away_is_walked_along_in_pages,
                       what_is_credited_while_the_statement_is_read_is_no_difference,
                       its_progress_can_be_watched_and_reports_are_kept_newest_first,
                       only_so_many_are_under_way, a_request_is_settled_by_the_statement,
                       each_day_is_reconciled_once_by_itself_whoever_begins_it,
                       no_day_is_begun_by_a_clock_that_is_in_doubt;
            statement_answers: a_failing_pay_service_is_told_as_unknown,
                               a_wrong_page_is_reported_and_becomes_no_difference,
                               the_statement_is_asked_for_page_by_page_over_http;
            sweep: a_request_from_a_clock_that_was_ahead_is_asked_about_after_its_step,
                   however_many_times_are_ahead_they_are_brought_back_page_by_page,
                   the_last_time_that_was_noted_is_kept,
                   the_time_that_is_noted_does_not_go_back_for_a_process_whose_clock_is_slow,
                   a_request_that_nothing_was_heard_of_is_asked_about_and_credited_once,
                   a_success_that_no_notification_tells_is_credited_by_the_sweep,
                   a_late_pending_does_not_hide_a_success_that_is_not_credited,
                   a_request_whose_answer_was_lost_is_asked_about_by_its_own_number,
                   what_a_notification_has_told_is_not_asked_about,
                   an_answer_about_another_order_is_no_answer,
                   a_request_that_was_never_taken_is_an_exception_after_the_ladder,
                   a_recharge_that_stays_pending_is_asked_about_at_the_last_step_s_pace,
                   a_recharge_that_pay_service_has_forgotten_is_an_exception_until_it_is_back,
                   an_answer_that_contradicts_the_request_is_a_person_s,
                   an_outage_is_probed_gently_and_nothing_stampedes_after_it,
                   processes_share_the_sweep_and_ask_about_each_request_once,
                   a_dead_process_s_requests_are_asked_about_when_its_lease_is_over,
                   what_is_left_open_is_measured, no_connection_is_held_while_pay_service_is_asked;
        );
    };
    (@ $open:path; $($module:ident: $($name:ident),+;)+) => {
        $(mod $module { $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                $crate::suite::$module::$name($open().await).await;
            }
        )+ })+
    };
}
