//! Signing and verifying by Standard Webhooks 1.0
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).

mod key_pair;
mod secret;
mod signing;
#[cfg(test)]
mod vectors;
mod verifying;

use std::time::Duration;

use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

pub use key_pair::{NotAPrivateKey, NotAPublicKey, PrivateKey, PublicKey};
pub use secret::{NotASecret, WebhookSecret};
pub use signing::{NotASigningKey, Scheme, SigningKey};
pub use verifying::{Claims, NotAVerifyingKey, Unverified, Verifies, VerifyingKey, verify};

/// The header with the message's id: the receiver's deduplication key.
pub const ID_HEADER: &str = "webhook-id";
/// The header with the time of the attempt, in Unix seconds.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// The header with the signatures, separated by spaces.
pub const SIGNATURE_HEADER: &str = "webhook-signature";
/// How far a message's timestamp may be from the receiver's clock, either way.
pub const TOLERANCE: Duration = Duration::from_mins(5);

/// Keys are taken with and without padding, as the standard's libraries do.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
