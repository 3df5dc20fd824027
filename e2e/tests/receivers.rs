//! The receivers of `docs/receivers/`. Needs the Python and the Node packages that `./scripts/test`
//! brings.

e2e::scenarios! { sqlite;
    receivers {
        the_documented_receivers_credit_each_recharge_once,
        the_documented_receivers_are_killed_and_credit_the_rest_when_they_are_back,
        the_documented_receivers_ask_for_what_they_were_never_told,
        the_documented_receivers_credit_once_what_is_told_many_times_at_once,
        the_documented_receivers_refuse_what_is_forged_or_can_not_be_credited,
    }
}

mod with_servers {
    e2e::scenarios! { postgres;
        receivers {
            the_documented_receivers_credit_each_recharge_once,
            the_documented_receivers_are_killed_and_credit_the_rest_when_they_are_back,
        }
    }
}
