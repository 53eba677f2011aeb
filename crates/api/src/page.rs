//! Lists that come in pages. A page ends with a cursor, the place of its last row: the next page begins behind that row,
//! whatever came or went in between.

use std::fmt;
use std::str::FromStr;

use aimg_core::{SessionId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::problem::Problem;

/// Rows of a page where nobody says how many.
const LIMIT_DEFAULT: u64 = 50;
/// Rows of a page at most.
pub(crate) const LIMIT_MAX: u64 = 500;

/// Which page of a list that has rows of every tenant.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageOfTenant {
    /// Only what is this tenant's.
    pub(crate) tenant: Option<Uuid>,
    /// Rows of a page; 50 where it is absent.
    #[param(minimum = 1, maximum = 500)]
    pub(crate) limit: Option<u64>,
    /// `next` of the page before.
    pub(crate) after: Option<String>,
}

/// A part of a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// What is in it.
    pub(crate) items: Vec<T>,
    /// What the next page is asked for with, as `after`; null where this is the last one.
    pub(crate) next: Option<String>,
}

/// In which order a list is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// The newest first.
    #[default]
    Newest,
    /// The oldest first.
    Oldest,
}

/// How many rows a page is to have.
pub(crate) fn limit(asked: Option<u64>) -> Result<u64, Problem> {
    match asked.unwrap_or(LIMIT_DEFAULT) {
        limit @ 1..=LIMIT_MAX => Ok(limit),
        _ => Err(Problem::invalid("limit", format!("a page has 1 to {LIMIT_MAX} rows"))),
    }
}

/// The place in a list that the parameter `after` names.
pub(crate) fn after<T: FromStr>(cursor: Option<&str>) -> Result<Option<T>, Problem> {
    let refused = |_| Problem::invalid("after", "this is no `next` of this list");
    cursor.map(|cursor| cursor.parse().map_err(refused)).transpose()
}

impl<T> Page<T> {
    /// The page of so many of these rows. There is one more where another page follows.
    pub(crate) fn of<R: Into<T>, P: ToString>(mut rows: Vec<R>, limit: u64, place: impl Fn(&R) -> P) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|last| place(last).to_string());
        Self { items: rows.into_iter().map(Into::into).collect(), next }
    }
}

/// A row's place in a list of calls, or of their recordings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// By which the list is ordered.
    pub(crate) at: Timestamp,
    /// The session.
    pub(crate) session: SessionId,
    /// The part of its capture; 0 in lists of calls.
    pub(crate) part: u16,
}

impl Place {
    /// The place that a cursor of ours names.
    pub(crate) fn of_cursor(cursor: Option<&str>) -> Result<Option<Self>, Problem> {
        after(cursor)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.at.as_micros(), self.session, self.part)
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(cursor: &str) -> Result<Self, ()> {
        let mut fields = cursor.split('.');
        let mut next = || fields.next().ok_or(());
        let at = Timestamp::from_micros(next()?.parse().map_err(drop)?);
        let session = next()?.parse().map_err(drop)?;
        let part = next()?.parse().map_err(drop)?;
        if fields.next().is_some() { Err(()) } else { Ok(Self { at, session, part }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_cursor_only_where_another_one_follows() {
        let place = |n: &i64| Place { at: Timestamp::from_micros(*n), session: ID.parse().unwrap(), part: 7 };
        let page: Page<i64> = Page::of(vec![5, 4, 3], 2, place);
        assert_eq!(page.items, [5, 4]);
        assert_eq!(Place::of_cursor(page.next.as_deref()).unwrap(), Some(place(&4)));
        assert_eq!(Page::<i64>::of(vec![5, 4], 2, place).next, None);
        assert_eq!(Page::<i64>::of(vec![], 2, place).next, None);
        for bad in ["", "4", "x.y.z", "1.2.3", &format!("1.{ID}"), &format!("1.{ID}.1.1"), &format!("1.{ID}.-1")] {
            assert!(Place::of_cursor(Some(bad)).is_err(), "{bad}");
        }
        for bad in [0, 501, u64::MAX] {
            assert!(limit(Some(bad)).is_err(), "{bad}");
        }
    }

    const ID: &str = "0198c1de-1111-7000-8000-000000000000";
}
