//! How results travel between the services: the event envelope, a broker behind a narrow trait,
//! the outbox and its relay, and the ladder on which deliveries are repeated.

#![cfg_attr(
    not(feature = "rabbitmq"),
    allow(dead_code, unused_imports, unused_variables, reason = "lints look at the build with all features")
)]

pub mod broker;
pub mod consumer;
pub mod event;
pub mod ladder;
pub mod outbox;
mod spans;
pub mod webhook;

pub use broker::{Broker, BrokerUrl, Consumer};
pub use consumer::{HandleEvents, Intake, Verdict};
pub use event::{Event, EventKey};
pub use ladder::Ladder;
pub use outbox::{OutboxStore, Relay};
