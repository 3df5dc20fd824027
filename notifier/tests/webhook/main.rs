//! The webhook client over real sockets, against receivers of every kind.

#[path = "../support/mod.rs"]
mod support;

mod attempts;
mod dns;
mod kept_alive;
mod misbehaving;
mod proxy;
mod targets;
mod tls;
