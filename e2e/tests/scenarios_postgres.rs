//! Every scenario on four processes, two of them notifiers, on Postgres and `RabbitMQ`.

e2e::every_scenario!(postgres);
