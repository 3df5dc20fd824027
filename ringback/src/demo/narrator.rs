//! Tells what happens as it happens, one line each.

use std::io::Write;
use std::sync::Arc;

use tokio::time::Instant;

/// Writes lines with the seconds since the story began.
#[derive(Clone)]
pub struct Narrator(Arc<Instant>);

impl Narrator {
    /// The story begins now.
    pub fn new() -> Self {
        Self(Arc::new(Instant::now()))
    }

    /// `who` does `what`.
    pub fn tell(&self, who: &str, what: &str) {
        let seconds = self.0.elapsed().as_secs_f32();
        // A reader that went away does not change what happens.
        let _ = writeln!(std::io::stdout(), "{seconds:6.2}s  {who:<16} {what}");
    }
}

/// Money for people: `35.00 CNY`.
pub fn yuan(amount: i64) -> String {
    format!("{}.{:02} CNY", amount / 100, amount % 100)
}
