//! The notifier: subscriptions, notifications, delivery.

pub mod webhook;
