//! The notifier: tells subscribers by signed webhook what happened, and keeps ringing until they
//! answer or the ladder ends.

#![cfg_attr(
    not(feature = "postgres"),
    allow(
        dead_code,
        irrefutable_let_patterns,
        unused_imports,
        unused_variables,
        reason = "lints look at the build with all features"
    )
)]

pub mod api;
pub mod domain;
pub mod engine;
pub mod secrets;
pub mod service;
pub mod settings;
pub mod store;
pub mod usecases;
pub mod webhook;

pub use service::{Parts, Service, run};
pub use settings::Settings;
