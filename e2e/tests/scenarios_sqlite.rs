//! Every scenario on three processes and `SQLite` files.

e2e::every_scenario!(sqlite);

// On RabbitMQ among the faults, where the broker is killed as well.
e2e::scenarios! { sqlite;
    ladder {
        results_climb_the_ladder_across_kills_of_their_consumer,
    }
}
