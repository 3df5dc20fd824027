//! What a person sees at start: where the services and the data are, the keys that were made just now, and
//! commands to paste. Standard output may be a log, so a key is shown once, when it is made.

use std::io::{self, Write};

use runtime::Secret;

use crate::keys::{EXAMPLE_MERCHANT, Keys, Origin};
use crate::process::{Process, http};

/// Prints addresses, keys, the data directory, and commands that work when pasted: subscribe, then recharge.
pub fn print(process: &Process, mut out: impl Write) -> io::Result<()> {
    let addresses = &process.addresses;
    let keys = &process.keys;
    writeln!(out, "Ringback is ready.\n")?;
    writeln!(out, "  pay-service      {}", http(addresses.pay))?;
    writeln!(out, "  notifier         {}", http(addresses.notifier))?;
    writeln!(out, "  account-service  {}\n", http(addresses.account))?;
    writeln!(out, "  operator key     {}", shown(keys, &keys.operator, keys.operator_origin()))?;
    for (merchant, key) in &keys.merchants.0 {
        writeln!(out, "  {merchant:<16} {}", shown(keys, key, keys.merchant_origin(merchant)))?;
    }
    writeln!(out, "\n  data and keys    {}\n", std::path::absolute(process.data_directory())?.display())?;
    writeln!(
        out,
        "A subscription, to paste into another terminal. The answer shows its signing secret, once:\n"
    )?;
    command(
        &mut out,
        &format!("{}/v1/subscriptions", http(addresses.notifier)),
        keys,
        r#"{"name": "my-shop", "url": "http://127.0.0.1:9000/hooks", "event_types": ["recharge.*"]}"#,
    )?;
    writeln!(out, "A recharge of ten yuan, whose result the subscription is sent:\n")?;
    command(
        &mut out,
        &format!("{}/v1/recharges", http(addresses.pay)),
        keys,
        r#"{"merchant_order_no": "start-1", "account_no": "alice", "amount": 1000}"#,
    )?;
    out.flush()
}

/// A `curl` of the example merchant that posts `body` to `url`.
fn command(out: &mut impl Write, url: &str, keys: &Keys, body: &str) -> io::Result<()> {
    writeln!(out, "  curl -s {url} \\")?;
    writeln!(out, "    -H {} -H 'content-type: application/json' \\", authorization(keys))?;
    writeln!(out, "    -d '{body}'\n")
}

fn shown(keys: &Keys, key: &Secret, origin: Origin) -> String {
    match origin {
        Origin::Made => key.expose().to_owned(),
        Origin::Kept => format!("in {}", keys.file().display()),
        Origin::Configured => "as configured".to_owned(),
    }
}

/// The header of the example merchant, quoted for a shell, which reads a kept key from its file.
fn authorization(keys: &Keys) -> String {
    let example = keys.of_merchant(EXAMPLE_MERCHANT).map(|key| (EXAMPLE_MERCHANT, key));
    let first = || keys.merchants.0.first().map(|(name, key)| (name.as_str(), key));
    let Some((merchant, key)) = example.or_else(first) else {
        return "'authorization: Bearer KEY'".to_owned();
    };
    match keys.merchant_origin(merchant) {
        Origin::Made => format!("'authorization: Bearer {}'", key.expose()),
        Origin::Kept => {
            let file = keys.file().display();
            format!("\"authorization: Bearer $(sed -n 's/^{merchant} = \"\\(.*\\)\"$/\\1/p' '{file}')\"")
        }
        Origin::Configured => format!("'authorization: Bearer KEY_OF_{merchant}'"),
    }
}
