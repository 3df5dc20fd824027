//! `ringback keys` as a process, beside a service that runs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

fn keys(file: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringback"));
    command.env_clear().env("KEYS_FILE", file).arg("keys").args(arguments);
    command
}

fn run(file: &Path, arguments: &[&str]) -> Output {
    keys(file, arguments).output().expect("the program ends")
}

/// The answer of a command that does well.
fn answer(file: &Path, arguments: &[&str]) -> Value {
    let output = run(file, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no text `{field}` in {value}"))
}

#[test]
fn keys_are_added_rotated_listed_and_revoked_and_each_is_shown_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("keys.toml");
    let first = answer(&file, &["add", "shop"]);
    let operator = answer(&file, &["add", "ann", "--operator", "--expires-in", "2160h"]);
    assert!(text(&first, "key").starts_with("mk_") && text(&operator, "key").starts_with("op_"));
    assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    fs::write(&file, fs::read_to_string(&file).expect("there") + "# reviewed\n").expect("written");

    let second = answer(&file, &["rotate", "shop", "--overlap", "24h"]);
    let listed = answer(&file, &["list"]);
    let shop = listed["items"].as_array().expect("a list").iter().find(|item| item["name"] == "shop");
    let shop_keys = shop.expect("listed")["keys"].as_array().expect("a list").clone();
    let prints: Vec<_> = shop_keys.iter().map(|key| text(key, "fingerprint")).collect();
    assert_eq!(prints, [text(&second, "fingerprint"), text(&first, "fingerprint")]);
    assert!(shop_keys[0]["expires_at"].is_null() && shop_keys[1]["expires_at"].is_string(), "{listed}");
    let kept = fs::read_to_string(&file).expect("there");
    assert!(kept.contains("# reviewed"), "comments stay: {kept}");
    for made in [&first, &operator, &second] {
        let key = text(made, "key");
        assert!(!kept.contains(key) && !listed.to_string().contains(key), "{key}");
    }

    let revoked = answer(&file, &["revoke", "shop", "--key", prints[1]]);
    assert_eq!(revoked["revoked"], serde_json::json!([prints[1]]));
    answer(&file, &["revoke", "shop"]);
    let printed = run(&file, &["list"]);
    let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(printed.contains("ann") && !printed.contains("shop"), "{printed}");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("its owner may");
    answer(&file, &["add", "kiosk"]);
    assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_can_not_be_done_exits_with_its_code_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("keys.toml");
    assert_eq!(run(&file, &["list"]).status.code(), Some(1), "there is no file");
    answer(&file, &["add", "shop"]);
    let before = fs::read_to_string(&file).expect("there");
    for (arguments, code, named) in [
        (&["rotate", "kiosk"][..], 1, "kiosk"),
        (&["revoke", "shop", "--operator"], 1, "operator"),
        (&["revoke", "shop", "--key", "00000000"], 1, "00000000"),
        (&["add", "two words"], 2, "1 to 64"),
        (&["add", "shop", "--sha256", "hush"], 2, "--sha256"),
        (&["rotate", "shop", "--overlap", "soon"], 2, "--overlap"),
        (&["forget", "shop"], 2, "forget"),
        (&[], 2, "add"),
    ] {
        let output = run(&file, arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert!(errors.contains(named), "{arguments:?}: {errors}");
    }
    assert_eq!(fs::read_to_string(&file).expect("there"), before);
    fs::write(&file, "[[merchant]]\nname = \"shop\"\n").expect("written");
    let output = run(&file, &["add", "kiosk"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && errors.contains("line 1"), "{errors}");
    let mut nowhere = Command::new(env!("CARGO_BIN_EXE_ringback"));
    let output = nowhere.current_dir(folder.path()).env_clear().args(["keys", "add", "shop"]).output();
    let errors = String::from_utf8_lossy(&output.expect("the program ends").stderr).into_owned();
    assert!(errors.contains("--keys-file"), "{errors}");
}

#[test]
fn editors_that_run_at_once_lose_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("keys.toml");
    let names: Vec<_> = (0..8).map(|number| format!("shop-{number}")).collect();
    let start = |name: &String| {
        keys(&file, &["add", name]).stdout(Stdio::null()).spawn().expect("the program starts")
    };
    let editors: Vec<Child> = names.iter().map(start).collect();
    for mut editor in editors {
        assert!(editor.wait().expect("it ends").success());
    }
    let listed = answer(&file, &["list"]);
    assert_eq!(listed["items"].as_array().expect("a list").len(), names.len());
    let left: Vec<_> =
        fs::read_dir(folder.path()).expect("there").map(|file| file.expect("there").file_name()).collect();
    assert_eq!(left.len(), 2, "the file and its lock: {left:?}");
}

/// A running `ringback`, killed when the test ends.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts it in `folder`; answers the address of the notifier.
fn start(folder: &Path) -> (Program, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringback"));
    command.current_dir(folder).env_clear().stdout(Stdio::piped()).stderr(Stdio::null());
    command.args(["--pay-listen", "127.0.0.1:0", "--notifier-listen", "127.0.0.1:0"]);
    let mut child = command.args(["--account-listen", "127.0.0.1:0"]).spawn().expect("the program starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let program = Program(child);
    let mut notifier =
        lines.filter_map(|line| line.trim().strip_prefix("notifier ").map(|url| url.trim().to_owned()));
    (program, notifier.next().expect("it prints its addresses"))
}

/// Asks until the answer has this status.
async fn until(status: u16, key: &str, url: &str) {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let asked = async {
        loop {
            let answer = client.get(format!("{url}/v1/subscriptions")).bearer_auth(key).send().await;
            if answer.expect("answered").status() == status {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asked).await.expect("in time");
}

#[tokio::test]
async fn beside_the_all_in_one_process_keys_count_without_a_restart_until_they_are_revoked() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let parent = folder.path().to_owned();
    let (_program, url) = tokio::task::spawn_blocking(move || start(&parent)).await.expect("started");
    let file = folder.path().join("ringback-data/merchants.toml");
    let edit = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringback"));
        let command =
            command.current_dir(folder.path()).env_clear().arg("keys").args(arguments).arg("--json");
        let output = command.output().expect("the program ends");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    let made = edit(&["add", "kiosk"]);
    assert_eq!(Path::new(text(&made, "file")), file.canonicalize().expect("made"));
    let first = text(&made, "key");
    until(200, first, &url).await;
    let rotated = edit(&["rotate", "kiosk"]);
    let second = text(&rotated, "key");
    until(200, second, &url).await;
    until(200, first, &url).await;
    edit(&["revoke", "kiosk", "--key", text(&made, "fingerprint")]);
    until(401, first, &url).await;
    until(200, second, &url).await;
    edit(&["revoke", "kiosk"]);
    until(401, second, &url).await;
}
