//! `Range` (RFC 9110 section 14): which bytes of a file somebody wants.

use std::ops::Range;

/// Ranges of one request at most; who asks for more gets the whole file, which the RFC allows.
const RANGES_MAX: usize = 16;

/// What a request wants of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it: no range, or one that need not be followed.
    Whole,
    /// These bytes, in the order in which they were asked for; at least one range, none of them empty.
    Parts(Vec<Range<u64>>),
    /// Nothing that is there.
    Nothing,
}

/// Reads the header. What is malformed counts for nothing, and so does a wish for more than the whole file.
pub(super) fn wanted(header: Option<&str>, bytes: u64) -> Wanted {
    let Some((unit, specs)) = header.and_then(|header| header.split_once('=')) else { return Wanted::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    let specs: Vec<&str> = specs.split(',').map(str::trim).filter(|spec| !spec.is_empty()).collect();
    let Some(ranges) = specs.iter().map(|spec| range(spec, bytes)).collect::<Option<Vec<_>>>() else {
        return Wanted::Whole;
    };
    if ranges.is_empty() || ranges.len() > RANGES_MAX {
        return Wanted::Whole;
    }
    let ranges: Vec<_> = ranges.into_iter().filter(|range| !range.is_empty()).collect();
    if ranges.is_empty() {
        return Wanted::Nothing;
    }
    let sum = ranges.iter().map(|range| range.end - range.start).fold(0, u64::saturating_add);
    if ranges.len() > 1 && sum > bytes { Wanted::Whole } else { Wanted::Parts(ranges) }
}

/// One range of a file of so many bytes, empty where it lies outside; nothing where it is malformed.
fn range(spec: &str, bytes: u64) -> Option<Range<u64>> {
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?;
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        let suffix: u64 = number(last)?;
        return Some(bytes.saturating_sub(suffix)..bytes);
    }
    let first: u64 = number(first)?;
    let end = match last {
        "" => bytes,
        last => number(last).filter(|last: &u64| *last >= first)?.saturating_add(1).min(bytes),
    };
    Some(first.min(bytes)..end.max(first.min(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        let parts = |ranges: &[(u64, u64)]| Wanted::Parts(ranges.iter().map(|(start, end)| *start..*end).collect());
        for (header, expected) in [
            ("bytes=0-499", parts(&[(0, 500)])),
            ("Bytes = 500-999", parts(&[(500, 1_000)])),
            ("bytes=-500", parts(&[(9_500, 10_000)])),
            ("bytes=9500-", parts(&[(9_500, 10_000)])),
            ("bytes=0-", parts(&[(0, 10_000)])),
            ("bytes=0-0,-1", parts(&[(0, 1), (9_999, 10_000)])),
            ("bytes= 0-0 , , 5-6", parts(&[(0, 1), (5, 7)])),
            ("bytes=9999-20000", parts(&[(9_999, 10_000)])),
            ("bytes=-20000", parts(&[(0, 10_000)])),
            ("bytes=0-18446744073709551615", parts(&[(0, 10_000)])),
            ("bytes=20000-30000,5-6", parts(&[(5, 7)])),
            ("bytes=10000-", Wanted::Nothing),
            ("bytes=20000-30000", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=5-4", Wanted::Whole),
            ("bytes=a-4", Wanted::Whole),
            ("bytes=+1-4", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=", Wanted::Whole),
            ("bytes=1-99999999999999999999999", Wanted::Whole),
            ("lines=1-2", Wanted::Whole),
            ("nonsense", Wanted::Whole),
            ("bytes=0-,0-", Wanted::Whole),
        ] {
            assert_eq!(wanted(Some(header), 10_000), expected, "{header}");
        }
        assert_eq!(wanted(None, 10_000), Wanted::Whole);
        let many = |count: u64| format!("bytes={}", (0..count).map(|n| format!("{n}-{n},")).collect::<String>());
        assert!(matches!(wanted(Some(&many(16)), 10_000), Wanted::Parts(ranges) if ranges.len() == 16));
        assert_eq!(wanted(Some(&many(17)), 10_000), Wanted::Whole);
        assert_eq!(wanted(Some("bytes=0-0"), 0), Wanted::Nothing, "an empty file");
    }
}
