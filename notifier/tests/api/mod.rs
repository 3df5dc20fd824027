//! The API in this process: what it answers, whom, and what it refuses.

mod audits;
mod bad_input;
mod bulks;
mod clock;
mod counts;
mod described;
mod events;
mod feed;
mod harness;
mod health;
mod isolation;
mod limits;
mod metrics;
mod names;
mod notifications;
mod retention;
mod signatures;
mod subscriptions;
