//! Standard Webhooks 1.0 as a receiver or a payment platform implements it, written here a second
//! time on purpose: the services' own code is what is under test.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use runtime::clock::{Clock, SystemClock};

/// The three headers that sign `body` as message `id`, now.
pub fn headers(secret: &str, id: &str, body: &str) -> [(&'static str, String); 3] {
    headers_at(secret, id, body, now())
}

/// The three headers as they were made at `timestamp`, in seconds since the epoch.
pub fn headers_at(secret: &str, id: &str, body: &str, timestamp: i64) -> [(&'static str, String); 3] {
    let signature = sign(secret, id, timestamp, body.as_bytes());
    [
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", timestamp.to_string()),
        ("webhook-signature", signature),
    ]
}

/// `v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`.
pub fn sign(secret: &str, id: &str, timestamp: i64, body: &[u8]) -> String {
    let encoded = secret.strip_prefix("whsec_").expect("a secret starts with whsec_");
    let key = STANDARD.decode(encoded).expect("a secret is base64 after its prefix");
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let mut content = format!("{id}.{timestamp}.").into_bytes();
    content.extend_from_slice(body);
    format!("v1,{}", STANDARD.encode(hmac::sign(&key, &content)))
}

/// The time as a signer writes it: seconds since the epoch.
pub fn now() -> i64 {
    SystemClock::default().wall().timestamp()
}

#[cfg(test)]
mod tests {
    use super::sign;

    #[test]
    fn the_example_of_the_document_is_signed_as_it_says() {
        let document = include_str!("../../../docs/receiving.md");
        let (_, example) = document.split_once("```http\n").expect("it shows a webhook");
        let (head, rest) = example.split_once("\n\n").expect("a head ends with an empty line");
        let (body, _) = rest.split_once("\n```").expect("the example ends");
        let header = |name: &str| {
            let told = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
            told.unwrap_or_else(|| panic!("{name} is shown"))
        };
        let timestamp = header("webhook-timestamp").parse().expect("seconds");
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        assert!(document.contains(secret));
        let signature = sign(secret, header("webhook-id"), timestamp, body.as_bytes());
        assert_eq!(header("webhook-signature"), signature);
        assert_eq!(header("content-length"), body.len().to_string());
    }

    #[test]
    fn the_example_of_the_standard_is_signed_as_it_says() {
        let signature = sign(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
