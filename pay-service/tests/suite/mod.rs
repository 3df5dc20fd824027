//! The tests, the same on every backend.

mod bad_input;
mod callbacks;
mod create;
mod described;
mod keys;
mod outage;
mod payresult;
mod running;
mod statement;
mod store;
mod totals;
