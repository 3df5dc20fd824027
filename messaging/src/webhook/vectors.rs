//! Known answers that others have published, held against our own.

use super::{Claims, SigningKey, VerifyingKey, verify};

/// The message that all of them sign.
pub const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
/// When it was sent, in Unix seconds.
pub const SENT: i64 = 1_614_265_330;
/// The same as its header says it.
pub const TIMESTAMP: &str = "1614265330";
/// Its body.
pub const BODY: &[u8] = br#"{"test": 2432232314}"#;

/// A key and the signature it makes.
#[derive(Debug, Clone, Copy)]
pub struct Vector {
    /// What signs.
    pub signing: &'static str,
    /// What verifies.
    pub verifying: &'static str,
    /// The signature, with its identifier.
    pub signature: &'static str,
}

/// From the tests of every library of the standard.
pub const V1: Vector = Vector {
    signing: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    verifying: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    signature: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
};

/// From `TestAsymmetricWebhookSign` of the standard's Go library.
pub const V1A: Vector = Vector {
    signing: "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=",
    verifying: "whpk_ZlN4eg7dSSqi0moX9hQUk3orrOouK3QVQSlJa248c/g=",
    signature: "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag==",
};

/// From `test_asymmetric_key_signing` of the Svix server, which writes the public key behind the
/// private one.
const V1A_BOTH: Vector = Vector {
    signing: "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
    verifying: "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=",
    signature: "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",
};

/// All of them.
pub const VECTORS: [Vector; 3] = [V1, V1A, V1A_BOTH];

/// What the message claims.
pub fn claims<'a>(timestamp: &'a str, signature: &'a str) -> Claims<'a> {
    Claims { id: Some(ID), timestamp: Some(timestamp), signature: Some(signature) }
}

#[test]
fn published_messages_are_signed_as_they_were_and_verified() {
    for Vector { signing, verifying, signature } in VECTORS {
        let key: SigningKey = signing.parse().expect("a signing key");
        assert_eq!(key.sign(ID, SENT, BODY), signature);
        let public: VerifyingKey = verifying.parse().expect("a verifying key");
        let now = chrono::DateTime::from_timestamp(SENT, 0).expect("a time");
        assert_eq!(verify(&[public], claims(TIMESTAMP, signature), BODY, now), Ok(()));
    }
}

#[test]
fn a_private_keys_public_key_is_the_published_one() {
    for Vector { signing, verifying, .. } in [V1A, V1A_BOTH] {
        let key: SigningKey = signing.parse().expect("a signing key");
        assert_eq!(key.public_key().expect("a pair").to_string(), verifying);
    }
}
