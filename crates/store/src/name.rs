//! Names that people type and that stand in addresses.

use crate::error::{Error, Result};

/// The most characters of a name: it fits into a DNS label.
const NAME_CHARS_MAX: usize = 63;

/// Checks that `name` is a slug.
pub(crate) fn check(name: &str) -> Result<()> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let fits = (1..=NAME_CHARS_MAX).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-');
    if fits { Ok(()) } else { Err(Error::BadName(name.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_slugs() {
        for good in ["a", "acme", "acme-2", "0", &"x".repeat(63)] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "Acme", "a_b", "a b", "é", &"x".repeat(64), "a\r\nb"] {
            assert!(matches!(check(bad), Err(Error::BadName(_))), "{bad}");
        }
    }
}
