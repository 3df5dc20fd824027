//! What a person sees at start: where the services are, the keys, and something to paste.

use std::io::{self, Write};

use crate::keys::EXAMPLE_MERCHANT;
use crate::process::{Process, http};

/// Prints addresses, keys, and a first `curl` that works when pasted.
pub fn print(process: &Process, mut out: impl Write) -> io::Result<()> {
    let addresses = &process.addresses;
    let keys = &process.keys;
    let example = keys.of_merchant(EXAMPLE_MERCHANT).or(keys.merchants.0.first().map(|(_, key)| key));
    writeln!(out, "Ringback is ready.\n")?;
    writeln!(out, "  pay-service      {}", http(addresses.pay))?;
    writeln!(out, "  notifier         {}", http(addresses.notifier))?;
    writeln!(out, "  account-service  {}\n", http(addresses.account))?;
    writeln!(out, "  operator key     {}", keys.operator.expose())?;
    for (merchant, key) in &keys.merchants.0 {
        writeln!(out, "  {merchant:<16} {}", key.expose())?;
    }
    let key = example.unwrap_or(&keys.operator).expose();
    writeln!(out, "\nA first recharge of ten yuan, to paste into another terminal:\n")?;
    writeln!(out, "  curl -s {}/v1/recharges \\", http(addresses.pay))?;
    writeln!(out, "    -H 'authorization: Bearer {key}' -H 'content-type: application/json' \\")?;
    writeln!(
        out,
        "    -d '{{\"merchant_order_no\": \"order-1\", \"account_no\": \"alice\", \"amount\": 1000}}'\n"
    )?;
    out.flush()
}
