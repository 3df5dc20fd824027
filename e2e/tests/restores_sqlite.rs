//! Restored backups that are older than the other services, on `SQLite` files.

e2e::scenarios! { sqlite;
    restores {
        an_older_pay_service_gets_no_order_credited_twice,
        an_older_account_service_gets_its_credits_back_from_the_statement,
    }
}
