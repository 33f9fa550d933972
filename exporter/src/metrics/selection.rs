//! Which collectors a scrape asks for.

use std::collections::BTreeSet;

use super::Exposition;

/// All collectors, or some of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection(Option<BTreeSet<&'static str>>);

/// Why names select nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// There is no such collector, or it is switched off.
    #[error("there is no collector {name:?} here; there are: {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// One of them would decide nothing.
    #[error("collect[] and exclude[] exclude each other")]
    Both,
}

impl Selection {
    /// All collectors.
    pub const ALL: Self = Self(None);

    /// Those that are to be collected, or all but those that are to be left out.
    ///
    /// # Errors
    ///
    /// There are names of both kinds, or one of no collector.
    pub fn new(
        exposition: &Exposition,
        collect: &[String],
        exclude: &[String],
    ) -> Result<Self, SelectionError> {
        if !collect.is_empty() && !exclude.is_empty() {
            return Err(SelectionError::Both);
        }
        let known: BTreeSet<_> = exposition.names().collect();
        let named = collect.iter().chain(exclude);
        let named: BTreeSet<_> = named
            .map(|name| {
                let found = known.get(name.as_str()).copied();
                found.ok_or_else(|| SelectionError::Unknown {
                    name: name.clone(),
                    known: known.iter().copied().collect::<Vec<_>>().join(", "),
                })
            })
            .collect::<Result<_, _>>()?;
        let selected = match (collect, exclude) {
            ([], []) => return Ok(Self::ALL),
            ([], _) => &known - &named,
            _ => named,
        };
        Ok(Self((selected != known).then_some(selected)))
    }

    /// Whether this collector is to be asked.
    pub fn has(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|names| names.contains(name))
    }
}
