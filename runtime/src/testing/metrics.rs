//! Holds `docs/metrics.md` and what `/metrics` shows against each other.

use std::collections::{BTreeMap, BTreeSet};

/// A metric's type and its labels.
type Shape = (String, BTreeSet<String>);

/// Asserts that `exposition`, the text of `/metrics` after at least one request, shows what the page
/// documents for `service` and for every service: the same names, types and labels, nothing else;
/// and that the alerts ask for none that there is not.
pub fn assert_documented(service: &str, exposition: &str) {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let sections = ["Every service", service].map(|heading| section(&page, heading));
    let documented: BTreeMap<String, Shape> = sections.iter().flat_map(|text| table(text)).collect();
    assert_eq!(exposed(exposition), documented, "left: /metrics, right: docs/metrics.md");
    for name in sections.iter().flat_map(|text| mentioned(text)) {
        assert!(documented.contains_key(name), "the page speaks of {name}");
    }
}

/// What stands under one heading.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let after = page.split_once(&format!("## {heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    after.1.split("\n## ").next().unwrap_or_default()
}

/// The metrics of the tables: name, type and unit, and labels, each in the first three columns, names
/// and labels in backticks.
fn table(text: &str) -> BTreeMap<String, Shape> {
    text.lines().filter_map(row).collect()
}

fn row(line: &str) -> Option<(String, Shape)> {
    let mut cells = line.strip_prefix("| `")?.split('|');
    let name = cells.next()?.trim().trim_matches('`').to_owned();
    let kind = cells.next()?.split(',').next()?.trim().to_owned();
    let labels = cells.next()?.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    ["counter", "gauge", "histogram"].contains(&kind.as_str()).then_some((name, (kind, labels)))
}

/// The metrics whose series are named, also within an expression.
fn mentioned(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("ringback_")).map(|word| {
        let series = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
        series.unwrap_or(word)
    })
}

/// The metrics of the text format. `le` belongs to every histogram.
fn exposed(text: &str) -> BTreeMap<String, Shape> {
    let mut found: BTreeMap<String, Shape> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(described) = line.strip_prefix("# TYPE ") {
            let (name, kind) = described.split_once(' ').expect("a name and a type");
            name.clone_into(&mut current);
            found.insert(current.clone(), (kind.to_owned(), BTreeSet::new()));
        } else if let Some((_, labels)) = line.split_once('{').filter(|_| !line.starts_with('#')) {
            let names = labels.split("=\"").filter_map(|part| part.rsplit(['"', ',', '{']).next());
            let names = names.filter(|name| !name.contains('}') && *name != "le" && !name.is_empty());
            let shape = found.get_mut(&current).expect("a sample follows its type");
            shape.1.extend(names.map(str::to_owned));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_types_and_labels_are_read_from_page_and_exposition() {
        let page =
            "## notifier\n\n| metric |\n| --- |\n| `a_total` | counter | `x`, `y` | text `z` |\n\n## other\n";
        let text = "# HELP a_total h\n# TYPE a_total counter\na_total{x=\"1\",y=\"{2,}\"} 3\n\
                    # HELP b h\n# TYPE b histogram\nb_bucket{le=\"1\"} 0\nb_sum 0\n";
        let labels = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let documented = table(section(page, "notifier"));
        assert_eq!(documented, [("a_total".into(), ("counter".into(), labels(&["x", "y"])))].into());
        let found = exposed(text);
        assert_eq!(found["a_total"], ("counter".into(), labels(&["x", "y"])));
        assert_eq!(found["b"], ("histogram".into(), labels(&[])));
    }
}
