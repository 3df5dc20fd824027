//! One webhook: who may be reached, how it is sent, and what the answer means.

pub mod address_policy;
mod bounded;
mod client;
mod connector;
mod dial;
pub mod dns;
mod egress;
mod failure;
mod judge;
pub mod lookup;
pub mod networks;
mod progress;
mod proxy;
mod request;
mod retry_after;
mod socket;
mod system_lookup;
pub mod tls;

pub use address_policy::{AddressPolicy, Blocked};
pub use client::{SendWebhook, WebhookClient};
pub use egress::Egress;
pub use lookup::Lookup;
pub use proxy::{EgressProxy, NotAProxy};
pub use system_lookup::SystemLookup;
