//! A range of whole numbers as a regular expression, since a schema can bound numbers but no texts of them.

use std::collections::BTreeSet;

/// Alternatives that match the decimals from `from` to `to`, without leading zeros, and nothing else.
pub fn decimals(from: u64, to: u64) -> String {
    let mut start = from;
    let alternatives = ends(from, to).into_iter().map(|end| {
        let same_length = alternative(start, end);
        start = end + 1;
        same_length
    });
    alternatives.collect::<Vec<_>>().join("|")
}

/// Where the range has to be cut so that within each piece every digit runs on its own.
fn ends(from: u64, to: u64) -> BTreeSet<u64> {
    let powers = || (1..19).map(|exponent| 10_u64.pow(exponent));
    let cut = powers().filter(|power| !from.is_multiple_of(*power) || from < *power);
    let nines = cut.map(|power| from - from % power + power - 1).take_while(|end| *end < to);
    let zeros = powers().map(|power| (to + 1) - (to + 1) % power).take_while(|next| *next > from);
    let zeros = zeros.map(|next| next - 1);
    nines.chain(zeros).chain([to]).collect()
}

/// `from` and `to` have the same number of digits, of which the last ones are free.
fn alternative(from: u64, to: u64) -> String {
    let (from, to) = (from.to_string(), to.to_string());
    let digits: Vec<_> = from.chars().zip(to.chars()).collect();
    let free = digits.iter().rev().take_while(|digit| **digit == ('0', '9')).count();
    let bound = digits[..digits.len() - free]
        .iter()
        .map(|(low, high)| if low == high { low.to_string() } else { format!("[{low}-{high}]") });
    let free = match free {
        0 => String::new(),
        1 => "[0-9]".to_owned(),
        _ => format!("[0-9]{{{free}}}"),
    };
    bound.chain([free]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_numbers_becomes_alternatives_of_digits() {
        for (from, to, pattern) in [
            (1, 9, "[1-9]"),
            (0, 10, "[0-9]|10"),
            (1, 24, "[1-9]|1[0-9]|2[0-4]"),
            (7, 7, "7"),
            (1000, 30_000, "[1-9][0-9]{3}|[1-2][0-9]{4}|30000"),
        ] {
            assert_eq!(decimals(from, to), pattern, "{from} to {to}");
        }
    }

    /// Every piece covers as many numbers as lie between its ends, so nothing is left out or counted twice.
    #[test]
    fn the_alternatives_together_cover_the_range() {
        for (from, to) in [(1, 86_400), (1000, 86_400_000), (0, 604_800_000), (1, 1440), (99, 101)] {
            let covered: u64 = decimals(from, to).split('|').map(choices).sum();
            assert_eq!(covered, to - from + 1, "{from} to {to}");
        }
    }

    fn choices(alternative: &str) -> u64 {
        let mut rest = alternative;
        let mut product = 1;
        while let Some(next) = rest.chars().next() {
            let Some(class) = rest.strip_prefix('[') else {
                rest = &rest[next.len_utf8()..];
                continue;
            };
            let bytes = class.as_bytes();
            let mut count = u64::from(bytes[2] - bytes[0]) + 1;
            rest = &class[4..];
            if let Some((times, after)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
                count = count.pow(times.parse().expect("a number"));
                rest = after;
            }
            product *= count;
        }
        product
    }
}
