//! What tools are told (MPI 5.0, 15): settings (control variables), what is counted (performance
//! variables), and the categories that both are in. Handles and C are elsewhere.
//!
//! Everything may be asked before the job is joined and after it was left, and by any thread.

pub mod settings;
mod variables;

pub use settings::{SETTINGS, Setting, Settings, Value};
pub use variables::{Class, VARIABLES, Variable, Watch};

/// Whom something is of interest to; with the values of the standard ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Verbosity {
    /// All users.
    UserBasic = 9,
    /// Users that look closer.
    UserDetail = 10,
    /// Those who tune.
    TunerBasic = 17,
    /// Those who tune closely.
    TunerDetail = 18,
    /// Developers of the library.
    DeveloperDetail = 34,
}

/// What belongs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Which way messages go.
    Paths,
    /// What is kept of messages, and for how long.
    Memory,
    /// What a rank does while it waits.
    Waiting,
}

/// A category.
#[derive(Debug)]
pub struct Category {
    /// Its name.
    pub name: &'static str,
    /// What is in it.
    pub description: &'static str,
    /// What belongs to it; the first category has the others instead.
    pub group: Option<Group>,
}

/// All categories. The list never changes.
pub const CATEGORIES: &[Category] = &[
    Category { name: "cohost", description: "All settings and counters of cohost", group: None },
    Category {
        name: "cohost_paths",
        description: "Which way messages go: through rings in shared memory, over TCP, or to the rank itself",
        group: Some(Group::Paths),
    },
    Category {
        name: "cohost_memory",
        description: "What is kept of messages that came early or may have to be sent again",
        group: Some(Group::Memory),
    },
    Category {
        name: "cohost_waiting",
        description: "What a rank does while it waits: yield, sleep, wake others",
        group: Some(Group::Waiting),
    },
];

impl Category {
    /// Numbers of the categories in it.
    pub fn categories(&self) -> Vec<usize> {
        let inside = self.group.is_none();
        (0..CATEGORIES.len()).filter(|at| inside && CATEGORIES[*at].group.is_some()).collect()
    }

    /// Numbers of the settings in it.
    pub fn settings(&self) -> Vec<usize> {
        (0..SETTINGS.len()).filter(|at| Some(SETTINGS[*at].group) == self.group).collect()
    }

    /// Numbers of the variables in it.
    pub fn variables(&self) -> Vec<usize> {
        (0..VARIABLES.len()).filter(|at| Some(VARIABLES[*at].group) == self.group).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn everything_has_a_name_of_its_own_and_is_in_one_category() {
        let names: Vec<_> = (SETTINGS.iter().map(|it| it.name))
            .chain(VARIABLES.iter().map(|it| it.name))
            .chain(CATEGORIES.iter().map(|it| it.name))
            .collect();
        assert_eq!(BTreeSet::from_iter(&names).len(), names.len());
        let of = |all: fn(&Category) -> Vec<usize>| -> Vec<usize> {
            let mut all: Vec<_> = CATEGORIES.iter().flat_map(all).collect();
            all.sort_unstable();
            all
        };
        assert_eq!(of(Category::settings), Vec::from_iter(0..SETTINGS.len()));
        assert_eq!(of(Category::variables), Vec::from_iter(0..VARIABLES.len()));
        assert_eq!(of(Category::categories), Vec::from_iter(1..CATEGORIES.len()));
    }
}
