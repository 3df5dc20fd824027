//! Passwords of servers are in no line of the log, whatever is asked for.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A running `pay-service`, killed when the test ends.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What it logs at the finest level until it waits for `part`.
fn log_while_waiting_for(part: &str, database: &str, broker: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pay-service"));
    command.env_clear().env("RUST_LOG", "trace,sqlx=trace,lapin=trace,amq_protocol_tcp=trace");
    command.env("DATABASE_URL", database).env("BROKER_URL", broker).env("LISTEN", "127.0.0.1:0");
    command.env("RINGBACK_OPERATOR_KEY", "hush-operator").env("RINGBACK_MERCHANT_KEYS", "shop=hush-shop");
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut program = Program(child);
    let lines = BufReader::new(program.0.stderr.take().expect("piped")).lines();
    let mut log = String::new();
    for line in lines.map_while(Result::ok) {
        log.push_str(&line);
        log.push('\n');
        if line.contains("startup.waiting") && line.contains(part) {
            break;
        }
    }
    log
}

#[test]
fn no_password_is_logged_at_any_level() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sqlite = format!("sqlite://{}", folder.path().join("pay.db").display());
    let postgres = log_while_waiting_for("database", "postgres://pay:hush@127.0.0.1:1/pay", &sqlite);
    let broker = log_while_waiting_for("broker", &sqlite, "amqp://pay:hush@127.0.0.1:1/%2f");
    for log in [postgres, broker] {
        assert!(log.contains("startup.waiting"), "{log}");
        assert!(!log.contains("hush"), "{log}");
    }
}
