//! What a person sees at start: where the services are, the keys that were made just now, and
//! something to paste. Standard output may be a log, so a key is shown once, when it is made.

use std::io::{self, Write};

use runtime::Secret;

use crate::keys::{EXAMPLE_MERCHANT, Keys, Origin};
use crate::process::{Process, http};

/// Prints addresses, keys, and a first `curl` that works when pasted.
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
    writeln!(out, "\nA first recharge of ten yuan, to paste into another terminal:\n")?;
    writeln!(out, "  curl -s {}/v1/recharges \\", http(addresses.pay))?;
    writeln!(out, "    -H {} -H 'content-type: application/json' \\", authorization(keys))?;
    writeln!(
        out,
        "    -d '{{\"merchant_order_no\": \"order-1\", \"account_no\": \"alice\", \"amount\": 1000}}'\n"
    )?;
    out.flush()
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
