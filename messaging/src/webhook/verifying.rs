//! Deciding whether a received message is to be believed.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};

use super::{
    ID_HEADER, PublicKey, SIGNATURE_HEADER, Scheme, TIMESTAMP_HEADER, TOLERANCE, WebhookSecret, key_pair,
    secret,
};

/// More signatures than any rotation sends; what comes after them is not looked at, so that no
/// header makes a receiver compute without end.
const MAX_SIGNATURES: usize = 16;

/// Something that tells genuine signatures of one scheme.
pub trait Verifies {
    /// Whose signatures it can judge; it is asked about no other.
    fn scheme(&self) -> Scheme;

    /// Whether the sender made `signature` (its bytes, not their text) of `signed`.
    fn made(&self, signature: &[u8], signed: &[u8]) -> bool;
}

/// What a receiver was given to verify with: the shared secret or the sender's public key.
#[derive(Clone, PartialEq, Eq)]
pub enum VerifyingKey {
    /// For `v1`.
    Secret(WebhookSecret),
    /// For `v1a`.
    Public(PublicKey),
}

/// The text is neither a signing secret nor a public key. Never shows the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a signing secret (`whsec_` and the base64 of 24 to 64 bytes) or a public key (`whpk_…`)")]
pub struct NotAVerifyingKey;

impl Verifies for VerifyingKey {
    fn scheme(&self) -> Scheme {
        match self {
            Self::Secret(secret) => secret.scheme(),
            Self::Public(key) => key.scheme(),
        }
    }

    fn made(&self, signature: &[u8], signed: &[u8]) -> bool {
        match self {
            Self::Secret(secret) => secret.made(signature, signed),
            Self::Public(key) => key.made(signature, signed),
        }
    }
}

/// The prefix alone decides which it is, so that a public key never serves as a shared secret.
impl FromStr for VerifyingKey {
    type Err = NotAVerifyingKey;

    fn from_str(text: &str) -> Result<Self, NotAVerifyingKey> {
        if text.starts_with(secret::PREFIX) {
            text.parse().map(Self::Secret).map_err(|_| NotAVerifyingKey)
        } else if text.starts_with(key_pair::PUBLIC_PREFIX) {
            text.parse().map(Self::Public).map_err(|_| NotAVerifyingKey)
        } else {
            Err(NotAVerifyingKey)
        }
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(secret) => secret.fmt(f),
            Self::Public(key) => key.fmt(f),
        }
    }
}

/// What a received message claims about itself: its three headers, where they are there and text.
#[derive(Debug, Clone, Copy, Default)]
pub struct Claims<'a> {
    /// [`ID_HEADER`].
    pub id: Option<&'a str>,
    /// [`TIMESTAMP_HEADER`].
    pub timestamp: Option<&'a str>,
    /// [`SIGNATURE_HEADER`].
    pub signature: Option<&'a str>,
}

/// Why a received message is not to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// A header is missing, empty or unreadable.
    #[error("the header `{0}` is missing or unreadable")]
    Header(&'static str),
    /// Sent too long ago or in the future: perhaps a replay.
    #[error("`webhook-timestamp` is more than 5 minutes off")]
    Stale,
    /// No signature was made with a known key.
    #[error("no signature in `webhook-signature` matches")]
    Signature,
}

/// Believes a message that the holder of one of `keys` signed within [`TOLERANCE`] of `now`.
pub fn verify(
    keys: &[impl Verifies],
    claims: Claims<'_>,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<(), Unverified> {
    let present = |claim: Option<_>, header| {
        claim.filter(|text: &&str| !text.is_empty()).ok_or(Unverified::Header(header))
    };
    let id = present(claims.id, ID_HEADER)?;
    let timestamp = present(claims.timestamp, TIMESTAMP_HEADER)?;
    let signatures = present(claims.signature, SIGNATURE_HEADER)?;
    let sent: i64 = timestamp.parse().map_err(|_| Unverified::Header(TIMESTAMP_HEADER))?;
    if now.timestamp().abs_diff(sent) > TOLERANCE.as_secs() {
        return Err(Unverified::Stale);
    }
    let signed = [format!("{id}.{timestamp}.").as_bytes(), body].concat();
    let genuine = signatures.split(' ').take(MAX_SIGNATURES).any(|one| {
        let Some((scheme, signature)) = one.split_once(',') else { return false };
        let Ok(signature) = STANDARD.decode(signature) else { return false };
        keys.iter().any(|key| key.scheme().as_str() == scheme && key.made(&signature, &signed))
    });
    if genuine { Ok(()) } else { Err(Unverified::Signature) }
}

#[cfg(test)]
mod tests {
    use runtime::testing::SeededEntropy;

    use super::*;
    use crate::webhook::PrivateKey;
    use crate::webhook::vectors::{BODY, ID, SENT, TIMESTAMP, V1, V1A, VECTORS, claims};

    fn after(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(SENT + seconds, 0).expect("a time")
    }

    fn key(text: &str) -> VerifyingKey {
        text.parse().expect("a key")
    }

    #[test]
    fn one_matching_signature_among_several_is_enough_whichever_key_made_it() {
        let stranger = PrivateKey::generate(&SeededEntropy::new(1)).public_key();
        let other = WebhookSecret::generate(&SeededEntropy::new(1));
        for vector in VECTORS {
            let several = format!("v1a,xyz v1,AAAA v2,{} {} v1", &vector.signature[3..], vector.signature);
            let keys =
                [VerifyingKey::Public(stranger), VerifyingKey::Secret(other.clone()), key(vector.verifying)];
            assert_eq!(verify(&keys, claims(TIMESTAMP, &several), BODY, after(0)), Ok(()));
            assert_eq!(
                verify(&keys[..2], claims(TIMESTAMP, &several), BODY, after(0)),
                Err(Unverified::Signature)
            );
        }
    }

    #[test]
    fn a_signature_counts_for_its_own_scheme_alone() {
        for (vector, other) in [(V1, "v1a"), (V1A, "v1")] {
            let (_, bytes) = vector.signature.split_once(',').expect("a signature");
            let disguised = format!("{other},{bytes}");
            let verified = verify(&[key(vector.verifying)], claims(TIMESTAMP, &disguised), BODY, after(0));
            assert_eq!(verified, Err(Unverified::Signature), "{other}");
        }
    }

    #[test]
    fn a_changed_byte_a_missing_header_or_five_minutes_are_refused() {
        for vector in VECTORS {
            let keys = [key(vector.verifying)];
            let intact = claims(TIMESTAMP, vector.signature);
            let refused = Err(Unverified::Signature);
            assert_eq!(verify(&keys, intact, b"{}", after(0)), refused);
            assert_eq!(verify(&keys, claims("1614265331", vector.signature), BODY, after(0)), refused);
            assert_eq!(verify(&keys, Claims { id: Some("msg_"), ..intact }, BODY, after(0)), refused);
            assert_eq!(verify(&keys[..0], intact, BODY, after(0)), refused);
            let nameless = Claims { id: None, ..intact };
            assert_eq!(verify(&keys, nameless, BODY, after(0)), Err(Unverified::Header(ID_HEADER)));
            assert_eq!(verify(&keys, intact, BODY, after(300)), Ok(()));
            for off in [301, -301] {
                assert_eq!(verify(&keys, intact, BODY, after(off)), Err(Unverified::Stale));
            }
        }
    }

    #[test]
    fn a_header_full_of_signatures_is_not_read_to_its_end() {
        let flood = |before: usize| format!("{}{}", "v1a,AAAA ".repeat(before), V1A.signature);
        let verified =
            |header: &str| verify(&[key(V1A.verifying)], claims(TIMESTAMP, header), BODY, after(0));
        assert_eq!(verified(&flood(MAX_SIGNATURES - 1)), Ok(()));
        assert_eq!(verified(&flood(MAX_SIGNATURES)), Err(Unverified::Signature));
    }

    #[test]
    fn a_private_key_is_nothing_to_verify_with() {
        let private = PrivateKey::generate(&SeededEntropy::new(1)).expose();
        for text in ["", "whsec_", "whpk_AAAA", private.expose(), ID] {
            assert_eq!(text.parse::<VerifyingKey>(), Err(NotAVerifyingKey), "{text}");
        }
    }
}
