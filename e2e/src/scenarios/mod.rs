//! What the services promise, each promise a function of the footing it is tested on.

pub mod bad_input;
pub mod duplicates;
pub mod foreign;
pub mod intake;
pub mod interface;
pub mod ladder;
pub mod libraries;
pub mod receivers;
pub mod reconciliation;
pub mod restores;
pub mod retries;
pub mod secrecy;
pub mod sharing;
pub mod success;
pub mod termination;

/// Makes a test of each named scenario on a footing: `sqlite`, `postgres`, `postgres_apart` or `all_in_one`.
#[macro_export]
macro_rules! scenarios {
    ($footing:ident; $($area:ident { $($name:ident),+ $(,)? })+) => {
        $(mod $area {
            $(#[tokio::test]
            async fn $name() {
                e2e::scenarios::$area::$name(e2e::harness::Footing::$footing().await).await;
            })+
        })+
    };
}

/// Every scenario that takes separate services.
#[macro_export]
macro_rules! every_scenario {
    ($footing:ident) => {
        e2e::scenarios! { $footing;
            success {
                a_recharge_is_credited_and_its_subscriber_gets_a_signed_webhook,
                a_merchant_hears_of_its_own_recharges_only,
            }
            retries {
                a_subscriber_that_refuses_twice_is_rung_until_it_accepts,
                a_subscriber_that_never_answers_is_rung_until_its_ladder_is_exhausted,
                an_address_that_must_not_be_reached_is_refused_at_the_connection,
                an_exhausted_notification_is_delivered_when_an_operator_resends_it,
            }
            duplicates {
                an_event_published_again_makes_no_second_notification_and_no_second_credit,
                an_event_published_twice_at_once_makes_one_notification_per_subscription,
            }
            foreign {
                an_event_of_another_program_is_delivered_to_the_subscriptions_that_match,
                a_message_that_is_no_event_is_put_aside_with_the_reason_and_stops_nothing,
            }
            intake {
                results_taken_from_the_queue_and_by_webhook_are_credited_once,
                results_taken_from_the_queue_need_no_notifier,
            }
            reconciliation {
                what_is_credited_here_is_answered_from_the_ledger,
                a_result_that_never_arrived_is_asked_for_and_credited_once,
                a_pending_recharge_is_answered_as_pending_until_the_platform_calls_back,
                a_failed_recharge_is_answered_as_failed_and_credits_nothing,
                a_transaction_that_nobody_knows_is_answered_404,
                while_pay_service_is_down_nothing_is_made_up,
            }
            secrecy {
                no_secret_is_in_a_log_a_metric_a_problem_or_the_database_file,
            }
            sharing {
                a_burst_of_events_is_shared_and_each_is_sent_once,
            }
            bad_input {
                bad_input_at_pay_service_is_refused_and_changes_nothing,
                bad_input_at_the_notifier_is_refused_and_changes_nothing,
                bad_input_at_account_service_is_refused_and_changes_nothing,
            }
            termination {
                sigterm_lets_the_attempt_in_flight_finish_and_refuses_new_connections,
                sigterm_ends_every_idle_service_with_success,
            }
        }
    };
}
