//! One webhook: who may be reached, how it is sent, and what the answer means.

pub mod address_policy;
mod client;
mod coalesced;
mod failure;
mod judge;
mod request;
pub mod resolver;
mod retry_after;

pub use address_policy::{AddressPolicy, Blocked};
pub use client::{SendWebhook, WebhookClient};
pub use resolver::SystemLookup;
