//! Every scenario on three processes and `SQLite` files.

e2e::every_scenario!(sqlite);
