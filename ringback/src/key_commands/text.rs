//! The file's text with another content: only what differs is changed, so that comments stay.

use std::fmt::Write;
use std::ops::Range;

use chrono::SecondsFormat;
use runtime::keys::{BadKeysFile, Holder, KeysFile};

use super::change::{Entry, Key, entries};

/// What a new file begins with.
const HEADING: &str = "# Who may call, with the SHA-256 of their keys. `ringback keys` edits this file; running services read it again.\n";

/// A text that holds what it should.
#[derive(Debug, PartialEq, Eq)]
pub struct Written {
    pub text: String,
    /// Whether it had to be written from its content alone.
    pub lost_comments: bool,
}

/// A text with `wanted` in the place of what `file`, read from `text`, holds. `text` is empty for a new file.
pub fn written(text: &str, file: &KeysFile, wanted: &[Entry]) -> Result<Written, BadKeysFile> {
    let edited = if text.trim().is_empty() { rendered(wanted) } else { edited(text, file, wanted) };
    match KeysFile::parse(&edited) {
        Ok(file) if same(&entries(&file), wanted) => Ok(Written { text: edited, lost_comments: false }),
        _ => {
            // TOML can write the same in ways that the edits do not know.
            let text = rendered(wanted);
            KeysFile::parse(&text)?;
            Ok(Written { text, lost_comments: true })
        }
    }
}

fn same(left: &[Entry], right: &[Entry]) -> bool {
    left.len() == right.len() && left.iter().all(|entry| right.contains(entry))
}

fn edited(text: &str, file: &KeysFile, wanted: &[Entry]) -> String {
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    for holder in &file.holders {
        let kept = wanted.iter().find(|entry| entry.role == holder.role && entry.name == holder.name);
        match kept {
            Some(entry) => edit_keys(text, holder, entry, &mut edits),
            None => edits.push((block(text, holder), String::new())),
        }
    }
    edits.sort_by_key(|(place, _)| std::cmp::Reverse(place.start));
    let mut edited = text.to_owned();
    for (place, by) in edits {
        edited.replace_range(place, &by);
    }
    for entry in wanted.iter().filter(|entry| file.find(entry.role, &entry.name).is_none()) {
        let gap = if edited.ends_with('\n') || edited.is_empty() { "\n" } else { "\n\n" };
        edited.push_str(gap);
        edited.push_str(&table(entry));
    }
    edited
}

/// New keys come first, so that comments behind the others stay with these.
fn edit_keys(text: &str, holder: &Holder, entry: &Entry, edits: &mut Vec<(Range<usize>, String)>) {
    let keys = &holder.keys;
    let wanted = |index: usize| entry.keys.iter().find(|key| key.hash == keys[index].hash);
    let last_kept = (0..keys.len()).rev().find(|index| wanted(*index).is_some());
    for (index, key) in keys.iter().enumerate() {
        match wanted(index) {
            Some(new) if new.expires_at == key.expires_at => {}
            Some(new) => edits.push((key.place.clone(), element(new))),
            None if last_kept.is_some_and(|kept| index < kept) => {
                edits.push((key.place.start..keys[index + 1].place.start, String::new()));
            }
            None => {}
        }
    }
    // Those after the last kept key go together with the comma before them.
    let gone = keys.last().filter(|_| last_kept != Some(keys.len() - 1)).map(|last| {
        let start = last_kept.map_or(keys[0].place.start, |kept| keys[kept].place.end);
        start..last.place.end
    });
    edits.extend(gone.map(|place| (place, String::new())));
    let lines = text[holder.list_place.clone()].starts_with("[\n");
    let mut fresh = String::new();
    for new in entry.keys.iter().filter(|new| keys.iter().all(|key| key.hash != new.hash)) {
        let (before, after) =
            if lines { ("\n    ", ",") } else { ("", if last_kept.is_some() { ", " } else { "" }) };
        // Writing to a text does not fail.
        let _ = write!(fresh, "{before}{}{after}", element(new));
    }
    if !fresh.is_empty() {
        let start = holder.list_place.start + 1;
        edits.push((start..start, fresh));
    }
}

/// The lines of a table, with the blank line before it.
fn block(text: &str, holder: &Holder) -> Range<usize> {
    let end = holder.list_place.end.max(holder.name_place.end);
    let end = text[end..].find('\n').map_or(text.len(), |line| end + line + 1);
    let start = text[..holder.place.start].rfind('\n').map_or(0, |line| line + 1);
    let blank = text[..start].ends_with("\n\n") && (text[end..].is_empty() || text[end..].starts_with('\n'));
    start - usize::from(blank)..end
}

fn rendered(wanted: &[Entry]) -> String {
    let tables: Vec<_> = wanted.iter().map(|entry| format!("\n{}", table(entry))).collect();
    format!("{HEADING}{}", tables.concat())
}

fn table(entry: &Entry) -> String {
    let keys: Vec<_> = entry.keys.iter().map(element).collect();
    let keys = match keys.as_slice() {
        [] | [_] => keys.concat(),
        _ => format!("\n    {},\n", keys.join(",\n    ")),
    };
    format!("[[{}]]\nname = \"{}\"\nkey_sha256 = [{keys}]\n", entry.role.as_str(), entry.name)
}

fn element(key: &Key) -> String {
    match key.expires_at {
        None => format!("\"{}\"", key.hash),
        Some(end) => {
            let end = end.to_rfc3339_opts(SecondsFormat::AutoSi, true);
            format!("{{ sha256 = \"{}\", expires_at = \"{end}\" }}", key.hash)
        }
    }
}

#[cfg(test)]
mod tests {
    use runtime::keys::{KeyHash, Role};

    use super::*;

    fn key(text: &str) -> Key {
        Key { hash: KeyHash::of(text), expires_at: None }
    }

    fn expiring(text: &str) -> Key {
        Key { expires_at: Some("2026-12-31T00:00:00Z".parse().expect("a time")), ..key(text) }
    }

    fn entry(role: Role, name: &str, keys: &[Key]) -> Entry {
        Entry { role, name: name.to_owned(), keys: keys.to_vec() }
    }

    fn write(text: &str, wanted: &[Entry]) -> Written {
        written(text, &KeysFile::parse(text).expect("well-formed"), wanted).expect("well-formed")
    }

    fn edit(text: &str, wanted: &[Entry]) -> String {
        let written = write(text, wanted);
        assert!(!written.lost_comments, "{text}\n{}", written.text);
        written.text
    }

    /// `text` with the hash of each key that stands in angle brackets.
    fn with_hashes(text: &str) -> String {
        let mut text = text.to_owned();
        for name in ["k1", "k2", "k3", "k4"] {
            text = text.replace(&format!("<{name}>"), &KeyHash::of(name).to_string());
        }
        text
    }

    #[test]
    fn an_edit_changes_its_own_place_and_keeps_comments() {
        let text = with_hashes(
            "# ours\n\n[[merchant]] # the shop\nname = \"shop\"\nkey_sha256 = [\"<k1>\", \"<k2>\"] # two\n\n\
             # temporary\n[[operator]]\nname = \"ann\"\nkey_sha256 = [\n    \"<k3>\", # her laptop\n]\n",
        );
        let shop = |keys: &[Key]| entry(Role::Merchant, "shop", keys);
        let ann = |keys: &[Key]| entry(Role::Operator, "ann", keys);
        let (k1, k2, k3, k4) = (key("k1"), key("k2"), key("k3"), key("k4"));
        let list = "[\"<k1>\", \"<k2>\"]";
        for (wanted, old, new) in [
            (vec![shop(&[k4, k1, k2]), ann(&[k3])], list, "[\"<k4>\", \"<k1>\", \"<k2>\"]"),
            (vec![shop(&[k1]), ann(&[k3])], list, "[\"<k1>\"]"),
            (vec![shop(&[k2]), ann(&[k3])], list, "[\"<k2>\"]"),
            (vec![shop(&[k4]), ann(&[k3])], list, "[\"<k4>\"]"),
            (
                vec![shop(&[expiring("k1"), k2]), ann(&[k3])],
                "\"<k1>\"",
                "{ sha256 = \"<k1>\", expires_at = \"2026-12-31T00:00:00Z\" }",
            ),
            (vec![shop(&[k1, k2]), ann(&[k4, k3])], "[\n    \"<k3>\",", "[\n    \"<k4>\",\n    \"<k3>\","),
            (
                vec![ann(&[k3])],
                "\n[[merchant]] # the shop\nname = \"shop\"\nkey_sha256 = [\"<k1>\", \"<k2>\"] # two\n",
                "",
            ),
        ] {
            let expected = text.replace(&with_hashes(old), &with_hashes(new));
            assert_eq!(edit(&text, &wanted), expected);
        }
        let more = edit(&text, &[shop(&[k1, k2]), ann(&[k3]), entry(Role::Merchant, "kiosk", &[k4])]);
        let added = with_hashes("\n[[merchant]]\nname = \"kiosk\"\nkey_sha256 = [\"<k4>\"]\n");
        assert_eq!(more, text + &added);
    }

    #[test]
    fn every_change_from_any_list_to_any_other_gives_what_was_wanted() {
        let all = [key("k1"), key("k2"), key("k3"), expiring("k1")];
        let lists: Vec<Vec<Key>> = (0..16_usize)
            .filter(|bits| bits & 0b1001 != 0b1001)
            .map(|bits| (0..4).filter(|index| bits & (1 << index) != 0).map(|index| all[index]).collect())
            .collect();
        for before in &lists {
            let text = rendered(&[
                entry(Role::Merchant, "shop", before),
                entry(Role::Operator, "ann", &[key("k4")]),
            ]);
            for style in [text.clone(), text.replace(",\n]", "]").replace("\n    ", " ")] {
                for after in &lists {
                    let fresh: Vec<_> =
                        after.iter().filter(|key| before.iter().all(|old| old.hash != key.hash)).collect();
                    let old = before.iter().filter_map(|old| after.iter().find(|key| key.hash == old.hash));
                    let keys: Vec<Key> = fresh.into_iter().chain(old).copied().collect();
                    let wanted =
                        [entry(Role::Operator, "ann", &[key("k4")]), entry(Role::Merchant, "shop", &keys)];
                    let text = write(&style, &wanted).text;
                    let file = KeysFile::parse(&text).expect("well-formed");
                    assert_eq!(entries(&file), wanted, "{style}\n{text}");
                }
            }
        }
    }

    #[test]
    fn what_is_written_in_another_way_is_kept_without_its_comments() {
        let text = with_hashes("# ours\nmerchant = [{ name = \"shop\", key_sha256 = [\"<k1>\"] }]\n");
        let wanted =
            [entry(Role::Merchant, "shop", &[key("k1")]), entry(Role::Merchant, "kiosk", &[key("k2")])];
        let written = write(&text, &wanted);
        assert!(written.lost_comments);
        assert_eq!(entries(&KeysFile::parse(&written.text).expect("well-formed")), wanted);
    }

    #[test]
    fn a_new_file_says_what_it_is() {
        let text = edit("", &[entry(Role::Operator, "ann", &[key("k1"), expiring("k2")])]);
        assert!(text.starts_with("# Who may call"), "{text}");
        let (_, error) =
            (text, written("", &KeysFile::default(), &[entry(Role::Merchant, "shop", &[key("")])]));
        assert!(error.expect_err("no key at all").why.contains("no key at all"));
    }
}
