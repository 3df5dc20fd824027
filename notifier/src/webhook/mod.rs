//! One webhook: who may be reached, how it is sent, and what the answer means.

pub mod address_policy;
pub mod resolver;

pub use address_policy::{AddressPolicy, Blocked};
