//! The progress line: one line on standard error, written over itself.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

const PERIOD: Duration = Duration::from_millis(200);

/// Says what is being done. On a terminal the line is written over; elsewhere only its steps show.
pub struct Progress {
    terminal: bool,
    state: Mutex<(String, Instant)>,
}

impl Progress {
    /// A line that says nothing yet.
    pub fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), state: Mutex::new((String::new(), Instant::now())) }
    }

    /// A new step begins.
    pub fn step(&self, step: &str) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *state = (step.to_owned(), Instant::now());
        Self::write(step, !self.terminal);
    }

    /// How far the step is. Cheap enough to be called often.
    pub fn at(&self, done: usize, all: usize) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.terminal && state.1.elapsed() >= PERIOD {
            state.1 = Instant::now();
            Self::write(&format!("{}: {done} of {all}", state.0), false);
        }
    }

    /// Nothing more to say.
    pub fn clear(&self) {
        if self.terminal {
            Self::write("", false);
        }
    }

    fn write(text: &str, line: bool) {
        let mut out = std::io::stderr().lock();
        // A progress line that can't be written is missed by nobody.
        let _ = if line { writeln!(out, "{text}") } else { write!(out, "\r\x1b[2K{text}") };
        let _ = out.flush();
    }
}
