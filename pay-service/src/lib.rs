//! Recharges: taken, settled, published, and answered for.

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
