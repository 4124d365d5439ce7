//! Pairs of a value and its index (MPI 5.0, 6.9.4).

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use super::{Basic, Combiner, Contents, Datatype, Group, Origin, Parts, Signature, construct};
use crate::mpi::failure::Outcome;

/// Pairs without a name that were asked for before: the same question gets the same type.
static KNOWN: LazyLock<Mutex<HashMap<(usize, usize), Datatype>>> = LazyLock::new(Mutex::default);

fn is_integer(basic: Basic) -> bool {
    matches!(basic.group(), Group::CInteger | Group::FortranInteger | Group::MultiLanguage)
}

impl Datatype {
    /// `MPI_Type_get_value_index`: the pair of these two types; none when there is no such pair
    /// (`MPI_DATATYPE_NULL`), because one of them is not predefined, is not ordered, or the index is
    /// no integer.
    ///
    /// # Errors
    /// Never, for predefined types of this size.
    pub fn value_index(value: &Self, index: &Self) -> Outcome<Option<Self>> {
        let (Some(first), Some(second)) = (value.basic(), index.basic()) else {
            return Ok(None);
        };
        if let Some(named) = Basic::of_pair(first, second) {
            return Ok(Some(Self::of(named)));
        }
        let ordered = is_integer(first) || first.group() == Group::Floating;
        if !(ordered && is_integer(second) && value.is_predefined() && index.is_predefined()) {
            return Ok(None);
        }
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (first.handle(), second.handle());
        if let Some(there) = known.get(&key) {
            return Ok(Some(there.clone()));
        }
        let made = unnamed(first, second)?;
        known.insert(key, made.clone());
        Ok(Some(made))
    }
}

fn unnamed(first: Basic, second: Basic) -> Outcome<Datatype> {
    let at = (first.size() + second.align() - 1) & -second.align();
    let construct::Laid { bounds, part: shape } = construct::pair(first, at, second);
    let both = [first, second];
    Datatype::new(Parts {
        origin: Origin { basic: None, pair: Some((first, at, second)), predefined: true },
        bounds,
        shape,
        signature: Signature::sequence(both.into_iter().map(Signature::of)),
        unit: None,
        contents: Contents::new(Combiner::ValueIndex).types(&both.map(Datatype::of)),
    })
}
