//! The scenarios that one process can show, on the all-in-one program.

e2e::scenarios! { all_in_one;
    success {
        a_recharge_is_credited_and_its_subscriber_gets_a_signed_webhook,
        a_merchant_hears_of_its_own_recharges_only,
    }
    retries {
        a_subscriber_that_refuses_twice_is_rung_until_it_accepts,
    }
    duplicates {
        an_event_published_again_makes_no_second_notification_and_no_second_credit,
    }
    foreign {
        a_message_that_is_no_event_is_put_aside_with_the_reason_and_stops_nothing,
    }
    reconciliation {
        a_result_that_never_arrived_is_asked_for_and_credited_once,
        a_pending_recharge_is_answered_as_pending_until_the_platform_calls_back,
    }
    termination {
        sigterm_lets_the_attempt_in_flight_finish_and_refuses_new_connections,
    }
}
