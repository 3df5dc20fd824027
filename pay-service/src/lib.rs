//! Recharges: taken, settled, published, and answered for.

pub mod document;
pub mod domain;
pub mod store;
