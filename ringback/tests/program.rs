//! The program as a new user meets it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A running `ringback`, killed when the test ends.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ringback(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringback"));
    command.current_dir(folder).env_clear().stdout(Stdio::piped()).stderr(Stdio::piped());
    command.args(["--pay-listen", "127.0.0.1:0", "--notifier-listen", "127.0.0.1:0"]);
    command.args(["--account-listen", "127.0.0.1:0"]);
    command
}

/// Starts it and answers what it printed up to the end of the example.
fn start(folder: &Path) -> (Program, String) {
    let mut child = ringback(folder).spawn().expect("the program starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut printed = String::new();
    for line in lines.map_while(Result::ok) {
        printed.push_str(&line);
        printed.push('\n');
        if line.trim_start().starts_with("-d ") {
            break;
        }
    }
    (Program(child), printed)
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let found = text.split_once(before).and_then(|(_, rest)| rest.split_once(after));
    found.map_or_else(|| panic!("`{before}…{after}` is not in what was printed:\n{text}"), |(found, _)| found)
}

#[tokio::test]
async fn the_printed_curl_works_when_pasted_and_the_keys_survive_a_restart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (program, printed) = start(folder.path());
    let answer = reqwest::Client::new()
        .post(between(&printed, "curl -s ", " \\"))
        .header("authorization", between(&printed, "-H 'authorization: ", "'"))
        .header("content-type", "application/json")
        .body(between(&printed, "-d '", "'").to_owned())
        .send()
        .await
        .expect("answered");
    assert_eq!(answer.status(), 201);
    let recharge: Value = answer.json().await.expect("JSON");
    assert_eq!((&recharge["status"], &recharge["amount"]), (&"succeeded".into(), &1000.into()));
    drop(program);

    let (_program, again) = start(folder.path());
    let key = |text: &str| between(text, "operator key     ", "\n").to_owned();
    assert_eq!(key(&printed), key(&again));
    assert!(folder.path().join("ringback-data/keys.toml").exists());
}

#[test]
fn without_the_key_of_its_secrets_it_says_so_and_does_not_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (program, _) = start(folder.path());
    drop(program);
    let file = folder.path().join("ringback-data/notifier.db.keys");
    let kept = std::fs::read_to_string(&file).expect("the key of its secrets is kept");
    let (id, key) = kept.trim().split_once(':').expect("an id and a key");
    std::fs::remove_file(&file).expect("it can be lost");
    let output = ringback(folder.path()).output().expect("the program ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(errors.contains("SECRET_KEYS") && errors.contains(id), "{errors}");
    assert!(!errors.contains(key), "{errors}");
    std::fs::write(&file, &kept).expect("it can be put back");
    let (_program, printed) = start(folder.path());
    assert!(printed.contains("operator key"), "it starts again:\n{printed}");
}

#[test]
fn the_demo_comes_true() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = ringback(folder.path()).arg("demo").output().expect("the demo runs");
    let story = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{story}\n{errors}");
    for line in
        ["attempt 3: accepts", "exhausted", "loses the notification", "credited by the query", "35.00 CNY"]
    {
        assert!(story.contains(line), "`{line}` is not in:\n{story}");
    }
}

#[test]
fn an_address_in_use_is_said_with_its_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound").to_string();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringback"));
    let output = command
        .current_dir(folder.path())
        .env_clear()
        .args(["--pay-listen", &address])
        .output()
        .expect("the program ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(errors.contains(&address) && errors.contains("--pay-listen"), "{errors}");
}
