//! `ringback keys`: edits `KEYS_FILE`, which running services read again by themselves.

mod change;
mod editor;
mod report;
mod text;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use clap::{Args, Parser, Subcommand};
use runtime::duration::HumanDuration;
use runtime::keys::{KeyHash, Role, is_merchant_name, read_keys_file};
use runtime::{Entropy, Secret, Sources};

use crate::key_commands::change::Change;
use crate::key_commands::editor::Editor;
use crate::key_commands::report::Report;
use crate::keys::{MERCHANTS_FILE, random_key};

/// The longest overlap and the longest life of a key.
const TEN_YEARS: Duration = Duration::from_hours(24 * 3650);

/// Adds, rotates, revokes and lists the keys of `KEYS_FILE`. Running services read the file again within a second.
#[derive(Debug, Parser)]
#[command(name = "ringback keys", version)]
struct KeyCommands {
    #[command(subcommand)]
    command: KeyCommand,
    /// The file; `merchants.toml` in the data directory if not set
    #[arg(long, global = true, env = "KEYS_FILE", value_name = "FILE")]
    keys_file: Option<PathBuf>,
    /// The data directory of the all-in-one process
    #[arg(
        long,
        global = true,
        env = "RINGBACK_DATA_DIR",
        default_value = "./ringback-data",
        value_name = "FOLDER"
    )]
    data_dir: PathBuf,
    /// Answers in JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Makes a key, prints it once, and keeps its hash; those that NAME has already stay
    Add {
        #[command(flatten)]
        who: Who,
        /// After how long the key expires, such as `2160h`; never if not set
        #[arg(long, value_name = "TIME", value_parser = life)]
        expires_in: Option<HumanDuration>,
        /// Keeps this SHA-256 of a key that its owner made, and makes none
        #[arg(long, value_name = "HEX")]
        sha256: Option<KeyHash>,
    },
    /// Makes a new key, prints it once, and lets the others of NAME expire
    Rotate {
        #[command(flatten)]
        who: Who,
        /// For how long the others still count; `0s`: not at all
        #[arg(long, value_name = "TIME", default_value = "24h", value_parser = overlap)]
        overlap: HumanDuration,
    },
    /// Removes NAME, or one of its keys; the next request with it is refused
    Revoke {
        #[command(flatten)]
        who: Who,
        /// The key with this fingerprint, as `list` shows it; every key if not set
        #[arg(long, value_name = "FINGERPRINT", value_parser = fingerprint)]
        key: Option<String>,
    },
    /// Shows names, fingerprints and expiries; never a key
    List,
}

#[derive(Debug, Args)]
struct Who {
    /// The merchant, or the operator: 1 to 64 letters, digits, `-`, `_` or `.`
    #[arg(value_parser = name)]
    name: String,
    /// NAME is an operator, who may do everything
    #[arg(long)]
    operator: bool,
}

impl Who {
    fn role(&self) -> Role {
        if self.operator { Role::Operator } else { Role::Merchant }
    }
}

/// Whether the command line asks for this.
pub fn asked_for(arguments: &[OsString]) -> bool {
    arguments.get(1).is_some_and(|first| first == "keys")
}

/// Does what `arguments` say. Exits with 2 when they are wrong; an error is for exit code 1.
pub async fn run(arguments: Vec<OsString>) -> anyhow::Result<ExitCode> {
    let given = std::iter::once("ringback keys".into()).chain(arguments.into_iter().skip(2));
    let asked = KeyCommands::try_parse_from(given).unwrap_or_else(|error| error.exit());
    let path = file(&asked)?;
    let sources = Sources::system();
    let now = sources.clock.wall();
    let report = match asked.command {
        KeyCommand::List => list(path)?,
        command => {
            let (change, key) = planned(command, now, &*sources.entropy)?;
            let editor = Editor::open(path).await?;
            let edited = editor.edit(&change, now)?;
            Report::Changed { change, key, edited }
        }
    };
    report::print(&report, asked.json, now, std::io::stdout())?;
    Ok(ExitCode::SUCCESS)
}

fn file(asked: &KeyCommands) -> anyhow::Result<PathBuf> {
    if let Some(file) = &asked.keys_file {
        return Ok(file.clone());
    }
    if !asked.data_dir.is_dir() {
        let folder = asked.data_dir.display();
        bail!(
            "there is no data directory {folder}: name the file by --keys-file (KEYS_FILE), or the folder by --data-dir (RINGBACK_DATA_DIR)"
        );
    }
    Ok(asked.data_dir.join(MERCHANTS_FILE))
}

fn list(path: PathBuf) -> anyhow::Result<Report> {
    let read = read_keys_file(&path)?;
    let (_, file) = read.with_context(|| format!("there is no file {}", path.display()))?;
    Ok(Report::List { path, entries: change::entries(&file) })
}

/// What is to be changed, and the key that was made for it.
fn planned(
    command: KeyCommand,
    now: DateTime<Utc>,
    entropy: &dyn Entropy,
) -> anyhow::Result<(Change, Option<Secret>)> {
    let in_future = |time: HumanDuration| Some(now.trunc_subsecs(0) + TimeDelta::from_std(time.0).ok()?);
    let fresh = |role: Role| {
        let prefix = if role == Role::Operator { "op" } else { "mk" };
        Secret::new(random_key(prefix, entropy))
    };
    Ok(match command {
        KeyCommand::Add { who, expires_in, sha256 } => {
            let key = sha256.is_none().then(|| fresh(who.role()));
            let given = key.as_ref().map(|key| KeyHash::of(key.expose())).or(sha256);
            let hash = given.context("a key is made where none is given")?;
            let expires_at = expires_in.and_then(in_future);
            (Change::Add { role: who.role(), name: who.name, hash, expires_at }, key)
        }
        KeyCommand::Rotate { who, overlap } => {
            let key = fresh(who.role());
            let hash = KeyHash::of(key.expose());
            let until = in_future(overlap).context("an overlap is ten years at most")?;
            (Change::Rotate { role: who.role(), name: who.name, hash, until }, Some(key))
        }
        KeyCommand::Revoke { who, key } => {
            (Change::Revoke { role: who.role(), name: who.name, fingerprint: key }, None)
        }
        KeyCommand::List => bail!("a list changes nothing"),
    })
}

fn name(text: &str) -> Result<String, &'static str> {
    if is_merchant_name(text) {
        Ok(text.to_owned())
    } else {
        Err("must be 1 to 64 letters, digits, `-`, `_` or `.`")
    }
}

fn fingerprint(text: &str) -> Result<String, &'static str> {
    if (6..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("must be 6 to 64 hexadecimal digits, as `ringback keys list` shows them")
    }
}

fn overlap(text: &str) -> Result<HumanDuration, &'static str> {
    let time = text.parse().ok().filter(|time: &HumanDuration| time.0 <= TEN_YEARS);
    time.ok_or("must be 0s to 87600h, such as `24h`")
}

fn life(text: &str) -> Result<HumanDuration, &'static str> {
    let time = overlap(text).ok().filter(|time| time.0 >= Duration::from_secs(1));
    time.ok_or("must be 1s to 87600h, such as `2160h`")
}
