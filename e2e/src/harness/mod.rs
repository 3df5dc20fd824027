//! What the tests stand on: processes, receivers, an HTTP client, a publisher, waiting.

mod backup;
mod binaries;
mod client;
mod documented;
mod footing;
pub mod port;
mod process;
mod programs;
mod publisher;
mod receiver;
pub mod signature;
mod stack;
mod story;
mod wait;

pub use backup::Backup;
pub use client::{Answer, Api};
pub use documented::{Documented, Language};
pub use footing::{Footing, Kind};
pub use process::Process;
pub use publisher::Publisher;
pub use receiver::{Gate, Received, Receiver, Reply};
pub use runtime::testing::servers::{PrivateServer, Program};
pub use stack::{ENDING, Options, Service, Stack};
pub use story::{Subscriber, ladder_of_seconds, text};
pub use wait::{PATIENCE, eventually};

/// The key that may do everything.
pub const OPERATOR_KEY: &str = "e2e-operator-key";
/// The key of the merchant `shop`.
pub const SHOP_KEY: &str = "e2e-shop-key";
/// The key of the merchant `account-service`.
pub const ACCOUNT_KEY: &str = "e2e-account-service-key";
/// What the notifiers on Postgres encrypt their signing secrets under.
pub const SECRET_KEYS: &str = "e2e:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/// What signs the callbacks of the channel `sandbox`.
pub const SANDBOX_SECRET: &str = "whsec_c2FuZGJveC1jYWxsYmFjay1zZWNyZXQtZTJlLTAwMDE=";
