//! What every Ringback process needs and no domain knows: time and identity, settings and secrets,
//! the HTTP shell, databases, background work, telemetry, and an orderly end.

#![cfg_attr(
    not(feature = "postgres"),
    allow(dead_code, unused_imports, unused_variables, reason = "lints look at the build with all features")
)]

pub mod authorities;
pub mod background;
pub mod batcher;
pub mod clock;
pub mod database;
pub mod descriptors;
pub mod duration;
pub mod http;
pub mod identity;
pub mod keys;
pub mod lifecycle;
pub mod private_file;
pub mod problem;
pub mod recurring;
pub mod repeated;
pub mod secret;
pub mod settings;
pub mod startup;
pub mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod trace;
pub mod validation;
pub mod vault;

pub use authorities::Authorities;
pub use clock::{Clock, SharedClock, SystemClock};
pub use identity::{Entropy, Ids, Sources};
pub use lifecycle::Shutdown;
pub use problem::Problem;
pub use secret::Secret;
pub use vault::{SecretKeys, Vault};
