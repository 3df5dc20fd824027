//! Recharges: taken, settled, published, and answered for.

#![cfg_attr(
    not(feature = "postgres"),
    allow(dead_code, unused_imports, unused_variables, reason = "lints look at the build with all features")
)]

pub mod api;
pub mod document;
pub mod domain;
pub mod metrics;
pub mod service;
pub mod settings;
pub mod store;
pub mod usecases;

pub use service::{Parts, Service, run};
pub use settings::Settings;
