//! What kind of drop a reason is: the kernel has over 200 reasons, an alert rule wants nine kinds.
//!
//! The table is `reasons.tsv`, one line per reason name that a kernel from 5.17 (the first with
//! reasons) to 7.3 has had. It is keyed by name because the numbers differ between kernels
//! (`include/net/dropreason-core.h`). Each line says why its category was chosen.

use std::{collections::HashMap, fmt, str::FromStr};

use once_cell::sync::Lazy;

/// The kind of a drop; the value of the `category` label.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Category {
    /// A queue or buffer was full, or was kept short on purpose.
    Congestion,
    /// A filter, a setting or a security check decided.
    Policy,
    /// The packet breaks its protocol or arrived damaged.
    Malformed,
    /// No route, no neighbour, no socket, no handler.
    Unreachable,
    /// It does not fit the state of its connection.
    Connection,
    /// The device is down or has no carrier.
    Link,
    /// No memory.
    Resource,
    /// Nobody's traffic is lost by it: duplicates, other hosts' packets, copies for tcpdump.
    Expected,
    /// The kernel gave no reason, or one that nobody listed.
    Unknown,
}

impl Category {
    /// Every category, in the order of their declaration.
    pub const ALL: [Self; 9] = [
        Self::Congestion,
        Self::Policy,
        Self::Malformed,
        Self::Unreachable,
        Self::Connection,
        Self::Link,
        Self::Resource,
        Self::Expected,
        Self::Unknown,
    ];

    /// The label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Congestion => "congestion",
            Self::Policy => "policy",
            Self::Malformed => "malformed",
            Self::Unreachable => "unreachable",
            Self::Connection => "connection",
            Self::Link => "link",
            Self::Resource => "resource",
            Self::Expected => "expected",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is not the name of a category.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no drop category is called {0:?}")]
pub struct UnknownCategory(String);

impl FromStr for Category {
    type Err = UnknownCategory;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|category| category.as_str() == name)
            .ok_or_else(|| UnknownCategory(name.to_owned()))
    }
}

/// The category of a reason, by its label: the kernel's name without `SKB_DROP_REASON_`.
///
/// [`Category::Unknown`] for a name that is not listed, for a number (`0x0003002a`), and for the
/// empty name of kernels without reasons.
#[must_use]
pub fn category(reason_name: &str) -> Category {
    CATEGORIES
        .get(reason_name)
        .copied()
        .unwrap_or(Category::Unknown)
}

/// What a reason means, in half a sentence; empty for one that is not listed. `reason_name` is as for
/// [`category`].
#[must_use]
pub fn meaning(reason_name: &str) -> &'static str {
    let mut rows = rows(TABLE).flatten();
    rows.find(|row| row.name == reason_name)
        .map_or("", |row| row.meaning)
}

const TABLE: &str = include_str!("reasons.tsv");

// A line that does not parse is left out, so its reason would be `unknown`; the tests refuse such
// a table, and it is part of the binary, so no user ever runs one.
static CATEGORIES: Lazy<HashMap<&'static str, Category>> = Lazy::new(|| {
    rows(TABLE)
        .flatten()
        .map(|row| (row.name, row.category))
        .collect()
});

/// What the program needs of one line; the why is for those who read the table.
#[derive(Debug)]
struct Row<'a> {
    name: &'a str,
    category: Category,
    meaning: &'a str,
}

/// What is wrong with a line of the table.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum RowError {
    #[error("not four fields separated by tabs: {0:?}")]
    Fields(String),
    #[error("an empty field: {0:?}")]
    Empty(String),
    #[error(transparent)]
    Category(#[from] UnknownCategory),
}

/// The rows of a table; lines that start with `#` are comments.
fn rows(table: &str) -> impl Iterator<Item = Result<Row<'_>, RowError>> {
    table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(parse_row)
}

/// Parses `name TAB category TAB meaning TAB why`; none may be empty.
fn parse_row(line: &str) -> Result<Row<'_>, RowError> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [name, category, meaning, why] = fields[..] else {
        return Err(RowError::Fields(line.to_owned()));
    };
    if [name, meaning, why]
        .iter()
        .any(|field| field.trim().is_empty())
    {
        return Err(RowError::Empty(line.to_owned()));
    }
    Ok(Row {
        name,
        category: category.parse()?,
        meaning,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Vec<Row<'static>> {
        rows(TABLE)
            .collect::<Result<_, _>>()
            .expect("every line of reasons.tsv parses")
    }

    #[test]
    fn every_line_of_the_table_parses_and_says_why() {
        assert!(table().len() > 200);
    }

    #[test]
    fn names_are_unique_and_sorted() {
        for pair in table().windows(2) {
            assert!(
                pair[0].name < pair[1].name,
                "{} before {}",
                pair[0].name,
                pair[1].name
            );
        }
    }

    #[test]
    fn names_are_label_values_without_the_prefix_of_the_enum() {
        for row in table() {
            assert!(!row.name.starts_with("SKB_DROP_REASON_"), "{}", row.name);
            assert!(
                row.name
                    .bytes()
                    .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'),
                "{}",
                row.name
            );
        }
    }

    #[test]
    fn every_category_is_used() {
        for category in Category::ALL {
            assert!(
                table().iter().any(|row| row.category == category),
                "{category}"
            );
        }
    }

    #[test]
    fn malformed_lines_are_refused() {
        for line in [
            "",
            "XDP",
            "XDP\tpolicy\tdropped",
            "XDP\tpolicy\tdropped\t",
            "XDP\tpolicy\ta\tb\tc",
        ] {
            assert!(parse_row(line).is_err(), "{line:?}");
        }
        assert!(matches!(
            parse_row("XDP\tPolicy\tdropped\ta filter"),
            Err(RowError::Category(_))
        ));
    }

    #[test]
    fn a_category_is_parsed_from_its_own_name_only() {
        for category in Category::ALL {
            assert_eq!(category.as_str().parse(), Ok(category));
        }
        assert!("".parse::<Category>().is_err());
        assert!("Link".parse::<Category>().is_err());
    }

    #[test]
    fn reasons_have_their_category() {
        for (name, expected) in [
            ("QDISC_DROP", Category::Congestion),
            ("NETFILTER_DROP", Category::Policy),
            ("TCP_CSUM", Category::Malformed),
            ("NO_SOCKET", Category::Unreachable),
            ("TCP_RESET", Category::Connection),
            ("DEV_READY", Category::Link),
            ("NOMEM", Category::Resource),
            ("OTHERHOST", Category::Expected),
            ("NOT_SPECIFIED", Category::Unknown),
            ("OVS_DROP_METER", Category::Policy),
            ("RX_DROP_U_DUP", Category::Expected),
        ] {
            assert_eq!(category(name), expected, "{name}");
        }
    }

    #[test]
    fn what_costs_nobody_a_packet_is_expected() {
        for name in [
            "ARP_PVLAN_DISABLE",
            "OTHERHOST",
            "PACKET_SOCK_ERROR",
            "RX_DROP_U_UNHANDLED_MGMT",
            "TAP_TXFILTER",
            "TCP_OLD_DATA",
        ] {
            assert_eq!(category(name), Category::Expected, "{name}");
        }
    }

    #[test]
    fn what_nobody_listed_is_unknown() {
        for name in [
            "",
            "0x0003002a",
            "SKB_DROP_REASON_XDP",
            "INVENTED_IN_2030",
            "xdp",
        ] {
            assert_eq!(category(name), Category::Unknown, "{name:?}");
        }
    }
}
