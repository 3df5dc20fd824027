//! Recharges as pay-service tells them, made up without it.

use std::sync::Arc;

use messaging::Event;
use runtime::Sources;
use runtime::clock::SystemClock;
use runtime::identity::Entropy;
use runtime::testing::SeededEntropy;
use serde_json::json;
use uuid::Uuid;

/// The merchant whose recharges account-service credits.
pub const ACCOUNT_MERCHANT: &str = "account-service";

/// Makes events; the same for the same seed, but for their times.
pub struct Maker {
    sources: Sources,
    entropy: Arc<SeededEntropy>,
}

impl Maker {
    /// Draws everything from `seed`.
    pub fn new(seed: u64) -> Self {
        let entropy = Arc::new(SeededEntropy::new(seed));
        Self { sources: Sources::new(Arc::new(SystemClock::default()), entropy.clone()), entropy }
    }

    /// A number below `limit`.
    pub fn draw(&self, limit: usize) -> usize {
        let mut bytes = [0; 8];
        self.entropy.fill(&mut bytes);
        usize::try_from(u64::from_le_bytes(bytes) % limit.max(1) as u64).expect("it is below a usize")
    }

    /// A fresh id.
    pub fn id(&self) -> Uuid {
        self.sources.ids.next()
    }

    /// A succeeded recharge of 1 fen to `account_no`, an affair of `merchant`.
    pub fn succeeded(&self, merchant: &str, account_no: &str) -> Event {
        let (tx_no, now) = (self.id(), self.sources.clock.now());
        let recharge = json!({
            "tx_no": tx_no, "merchant": merchant, "merchant_order_no": format!("order-{tx_no}"),
            "account_no": account_no, "amount": 1, "currency": "CNY", "channel": "instant",
            "status": "succeeded", "attach": null, "created_at": now, "settled_at": now, "failure": null,
        });
        let event = Event::new(self.id(), "/pay-service", "recharge.succeeded", now, &recharge);
        event.expect("a recharge is JSON").about(tx_no, merchant)
    }
}

/// The body of the webhook about `event`.
pub fn webhook(event: &Event) -> String {
    let (kind, time) = (&event.kind, event.time.to_rfc3339());
    format!(r#"{{"type":"{kind}","timestamp":"{time}","data":{}}}"#, event.data.get())
}

/// The `tx_no` that a webhook or an answer of pay-service tells about, found without reading the rest.
pub fn tx_no(json: &[u8]) -> Option<Uuid> {
    const KEY: &[u8] = b"\"tx_no\":\"";
    let at = json.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
    Uuid::try_parse_ascii(json.get(at..at + 36)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tx_no_is_found_in_a_webhook() {
        let maker = Maker::new(7);
        let event = maker.succeeded("shop", "a-1");
        let found = tx_no(webhook(&event).as_bytes()).map(|tx_no| tx_no.to_string());
        assert_eq!(found, event.subject);
        assert_eq!(tx_no(b"{}"), None);
    }
}
