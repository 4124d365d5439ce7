//! How a datatype was made, as the application can ask for it (MPI 5.0, 5.1.13).

use super::Datatype;
use crate::mpi::failure::{Class, Outcome, fail};

/// The constructor of a type, with its value in the standard ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Combiner {
    /// A named predefined type.
    Named = 101,
    /// `MPI_Type_dup`.
    Dup = 102,
    /// `MPI_Type_contiguous`.
    Contiguous = 103,
    /// `MPI_Type_vector`.
    Vector = 104,
    /// `MPI_Type_create_hvector`.
    Hvector = 105,
    /// `MPI_Type_indexed`.
    Indexed = 106,
    /// `MPI_Type_create_hindexed`.
    Hindexed = 107,
    /// `MPI_Type_create_indexed_block`.
    IndexedBlock = 108,
    /// `MPI_Type_create_hindexed_block`.
    HindexedBlock = 109,
    /// `MPI_Type_create_struct`.
    Struct = 110,
    /// `MPI_Type_create_subarray`.
    Subarray = 111,
    /// `MPI_Type_create_darray`.
    Darray = 112,
    /// `MPI_Type_create_f90_real`.
    F90Real = 113,
    /// `MPI_Type_create_f90_complex`.
    F90Complex = 114,
    /// `MPI_Type_create_f90_integer`.
    F90Integer = 115,
    /// `MPI_Type_create_resized`.
    Resized = 116,
    /// `MPI_Type_get_value_index`, for pairs without a name.
    ValueIndex = 117,
}

/// Which form of a constructor was called; its arguments are given back in the same form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Counts are `int`, addresses `MPI_Aint`.
    Int,
    /// Counts and addresses are `MPI_Count`.
    Large,
}

/// The arguments of a constructor, in the standard's order.
#[derive(Clone, Debug)]
pub struct Contents {
    /// What made the type.
    pub combiner: Combiner,
    /// Arguments of type `int`.
    pub integers: Vec<i32>,
    /// Arguments of type `MPI_Aint`.
    pub addresses: Vec<i64>,
    /// Arguments of type `MPI_Count`, of the large form.
    pub large: Vec<i64>,
    /// Datatypes.
    pub datatypes: Vec<Datatype>,
}

impl Contents {
    pub(super) fn new(combiner: Combiner) -> Self {
        let (integers, addresses, large) = (Vec::new(), Vec::new(), Vec::new());
        Self { combiner, integers, addresses, large, datatypes: Vec::new() }
    }

    /// Adds arguments that are `int` in both forms.
    pub(super) fn plain(mut self, values: &[i32]) -> Self {
        self.integers.extend_from_slice(values);
        self
    }

    /// Adds counts: `int` in the small form.
    pub(super) fn counts(mut self, form: Form, values: &[i64]) -> Outcome<Self> {
        if form == Form::Large {
            self.large.extend_from_slice(values);
            return Ok(self);
        }
        for &value in values {
            let Ok(value) = i32::try_from(value) else {
                return fail(Class::Count, format!("{value} is not an int: use the large form"));
            };
            self.integers.push(value);
        }
        Ok(self)
    }

    /// Adds a length, which is a count.
    pub(super) fn len(self, form: Form, len: usize) -> Outcome<Self> {
        self.counts(form, &[len as i64])
    }

    /// Adds displacements in bytes: `MPI_Aint` in the small form.
    pub(super) fn bytes(mut self, form: Form, values: &[i64]) -> Self {
        let to = if form == Form::Large { &mut self.large } else { &mut self.addresses };
        to.extend_from_slice(values);
        self
    }

    pub(super) fn types(mut self, types: &[Datatype]) -> Self {
        self.datatypes.extend_from_slice(types);
        self
    }
}
