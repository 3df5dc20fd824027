//! The URL that a subscription's webhooks are sent to.
//!
//! Which addresses may be reached is not decided here: what a name means is known only when it is
//! connected to.

use runtime::validation::Invalid;
use url::Url;

/// The longest URL, in bytes.
pub const MAX_URL: usize = 2048;

/// Refuses what is no `http` or `https` URL, and what no request could be sent to.
pub fn parse_url(text: &str) -> Result<Url, Invalid> {
    let refuse = |message: &str| Err(Invalid::field("url", message));
    if text.len() > MAX_URL {
        return refuse("must have at most 2048 bytes");
    }
    match Url::parse(text) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") || !url.has_host() => {
            refuse("must be an http:// or https:// URL")
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            refuse("must not hold a user or password; use `headers`")
        }
        Ok(url) if url.fragment().is_some() => refuse("must not have a fragment"),
        Ok(url) if !url.domain().is_none_or(is_host_name) => {
            refuse("must have a host of labels of 1 to 63 letters, digits, `-` and `_`")
        }
        Ok(url) => Ok(url),
        Err(_) => refuse("must be an absolute URL"),
    }
}

/// What can be looked up and sent as a `Host`: a URL may hold more. A dot at the end is the root's.
fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_refused(url: &str) {
        let Err(Invalid(errors)) = parse_url(url) else { panic!("{url} is taken") };
        assert_eq!(errors[0].field, "url", "{url}");
    }

    #[test]
    fn a_url_is_absolute_http_and_holds_no_user() {
        for url in ["", "shop", "/hook", "ftp://shop/x", "https://u:p@shop/x", "http://", "http://a/#f"] {
            assert_refused(url);
        }
        assert_refused(&format!("http://a/{}", "x".repeat(2048)));
    }

    #[test]
    fn a_host_is_an_address_or_a_name_that_can_be_looked_up() {
        let (label, name) = ("x".repeat(64), "x.".repeat(126) + "com");
        for host in ["a\"b", "a`b", "a{b}", "{shop}", "a|b", "a$b", "a'b", "a,b", "a;b", "a=b", "(a)", "*.a"]
        {
            assert_refused(&format!("https://{host}/hook"));
        }
        for host in ["~a", "a+b", "a!", "a&b", "a..b", ".a", "a..", &label, &name] {
            assert_refused(&format!("https://{host}/hook"));
        }
        for host in ["shop", "shop_1.example", "a-b.example.", "bücher.example", "1.2.3.4", "0x7f.1", "[::1]"]
        {
            assert!(parse_url(&format!("https://{host}:8443/a?b={{c}}")).is_ok(), "{host}");
        }
    }

    #[test]
    fn what_looks_like_a_host_and_is_none_misleads_nobody() {
        for (url, host) in [
            ("https://@shop.example/", "shop.example"),
            ("https://shop.example\\@127.0.0.1/", "shop.example"),
            ("https:/shop.example", "shop.example"),
            ("https:\\\\shop.example", "shop.example"),
            ("https://shop.example:443?@127.0.0.1", "shop.example"),
            ("https://SHOP。example/", "shop.example"),
        ] {
            assert_eq!(parse_url(url).expect(url).host_str(), Some(host), "{url}");
        }
        for url in ["https://shop.example@127.0.0.1/", "https://a:x@127.0.0.1", "https://a#@127.0.0.1"] {
            assert_refused(url);
        }
    }
}
