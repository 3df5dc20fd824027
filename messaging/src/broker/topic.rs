//! Topic patterns: words between dots, `*` is exactly one word, `#` any number, none included
//! (<https://www.rabbitmq.com/tutorials/tutorial-five-rust>).

/// Whether the binding `pattern` takes messages of `routing_key`.
pub fn matches(pattern: &str, routing_key: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('.').collect();
    let key: Vec<&str> = routing_key.split('.').collect();
    // `reachable[k]`: the pattern read so far can match the first `k` words.
    let mut reachable = vec![false; key.len() + 1];
    reachable[0] = true;
    for word in pattern {
        reachable = match word {
            "#" => after_any_number(&reachable),
            _ => after_one_word(&reachable, &key, word),
        };
    }
    reachable[key.len()]
}

fn after_any_number(reachable: &[bool]) -> Vec<bool> {
    let first = reachable.iter().position(|reached| *reached).unwrap_or(reachable.len());
    (0..reachable.len()).map(|words| words >= first).collect()
}

fn after_one_word(reachable: &[bool], key: &[&str], word: &str) -> Vec<bool> {
    let took = |words: usize| words > 0 && reachable[words - 1] && (word == "*" || word == key[words - 1]);
    (0..reachable.len()).map(took).collect()
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_is_one_word_and_a_hash_any_number() {
        for (pattern, key, expected) in [
            ("#", "recharge.succeeded", true),
            ("#", "ping", true),
            ("recharge.*", "recharge.succeeded", true),
            ("recharge.*", "recharge", false),
            ("recharge.*", "recharge.succeeded.late", false),
            ("recharge.#", "recharge", true),
            ("recharge.#", "recharge.succeeded.late", true),
            ("recharge.#", "refund.succeeded", false),
            ("*.succeeded", "recharge.succeeded", true),
            ("#.late", "recharge.succeeded.late", true),
            ("#.succeeded.#", "recharge.succeeded", true),
            ("a.#.b.*", "a.x.b.b.c", true),
            ("a.#.b.*", "a.b", false),
            ("recharge.succeeded", "recharge.succeeded", true),
            ("recharge.succeeded", "recharge.failed", false),
        ] {
            assert_eq!(matches(pattern, key), expected, "{pattern} {key}");
        }
    }
}
