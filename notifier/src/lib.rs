//! The notifier: tells subscribers by signed webhook what happened, and keeps ringing until they
//! answer or the ladder ends.

pub mod domain;
pub mod engine;
pub mod store;
pub mod webhook;
