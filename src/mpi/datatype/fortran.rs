//! Types chosen by precision, range or size (MPI 5.0, 19.1.9).

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use super::construct::Laid;
use super::{Basic, Combiner, Contents, Datatype, Origin};
use crate::mpi::failure::{Class, Outcome, fail};

/// What `MPI_Type_match_size` is asked for, with the values of the standard ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum TypeClass {
    /// Integers.
    Integer = 192,
    /// Floating-point numbers.
    Real = 193,
    /// Complex numbers.
    Complex = 194,
}

impl TypeClass {
    /// The class of this value of the standard ABI.
    ///
    /// # Errors
    /// When it is none.
    pub fn of(value: i32) -> Outcome<Self> {
        match value {
            192 => Ok(Self::Integer),
            193 => Ok(Self::Real),
            194 => Ok(Self::Complex),
            _ => fail(Class::Arg, format!("{value} is no class of types")),
        }
    }

    fn members(self) -> &'static [Basic] {
        use Basic::*;
        match self {
            Self::Integer => &[Integer1, Integer2, Integer4, Integer8, Integer16],
            Self::Real => &[Real2, Real4, Real8, Real16],
            Self::Complex => &[Complex4, Complex8, Complex16, Complex32],
        }
    }
}

/// `MPI_UNDEFINED`, for a precision or a range that does not matter.
const UNDEFINED: i32 = -32766;
/// Decimal digits and exponent range of each kind of real, and what the types are.
const REALS: [(i32, i32, Basic, Basic); 3] = [
    (6, 37, Basic::Real4, Basic::Complex8),
    (15, 307, Basic::Real8, Basic::Complex16),
    (33, 4931, Basic::Real16, Basic::Complex32),
];
/// Decimal digits of each kind of integer.
const INTEGERS: [(i32, Basic); 5] = [
    (2, Basic::Integer1),
    (4, Basic::Integer2),
    (9, Basic::Integer4),
    (18, Basic::Integer8),
    (38, Basic::Integer16),
];

/// Types by combiner and arguments.
type Known = HashMap<(i32, i32, i32), Datatype>;

/// Types that were asked for before: the same question gets the same type.
static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

/// The unnamed predefined type that is like `basic`.
fn unnamed(combiner: Combiner, arguments: [i32; 2], basic: Basic) -> Outcome<Datatype> {
    let [first, second] = arguments;
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(there) = known.get(&(combiner as i32, first, second)) {
        return Ok(there.clone());
    }
    let given = if combiner == Combiner::F90Integer { &arguments[..1] } else { &arguments };
    let contents = Contents::new(combiner).plain(given);
    let old = Datatype::predefined(basic);
    let origin = Origin { predefined: true, ..old.0.origin };
    let made = Datatype::new(Laid::of(old).parts_of_one(old, origin, contents))?;
    known.insert((combiner as i32, first, second), made.clone());
    Ok(made)
}

fn real(precision: i32, range: i32) -> Outcome<(Basic, Basic)> {
    if (precision, range) == (UNDEFINED, UNDEFINED) {
        return fail(Class::Arg, "neither a precision nor a range is given");
    }
    let fits = |&&(digits, exponents, ..): &&(i32, i32, Basic, Basic)| {
        precision <= digits && range <= exponents
    };
    match REALS.iter().find(fits) {
        Some(&(_, _, real, complex)) => Ok((real, complex)),
        None => fail(Class::Arg, format!("no real has {precision} digits and the range {range}")),
    }
}

impl Datatype {
    /// `MPI_Type_create_f90_real`.
    ///
    /// # Errors
    /// When no type has this precision and range.
    pub fn f90_real(precision: i32, range: i32) -> Outcome<Self> {
        let (basic, _) = real(precision, range)?;
        unnamed(Combiner::F90Real, [precision, range], basic)
    }

    /// `MPI_Type_create_f90_complex`.
    ///
    /// # Errors
    /// When no type has this precision and range.
    pub fn f90_complex(precision: i32, range: i32) -> Outcome<Self> {
        let (_, basic) = real(precision, range)?;
        unnamed(Combiner::F90Complex, [precision, range], basic)
    }

    /// `MPI_Type_create_f90_integer`.
    ///
    /// # Errors
    /// When no type has this range.
    pub fn f90_integer(range: i32) -> Outcome<Self> {
        match INTEGERS.iter().find(|(digits, _)| range <= *digits) {
            Some(&(_, basic)) => unnamed(Combiner::F90Integer, [range, 0], basic),
            None => fail(Class::Arg, format!("no integer has {range} decimal digits")),
        }
    }

    /// `MPI_Type_match_size`: the named type of this class and size.
    ///
    /// # Errors
    /// When there is none.
    pub fn match_size(class: TypeClass, size: i64) -> Outcome<&'static Self> {
        match class.members().iter().find(|basic| basic.size() == size) {
            Some(&basic) => Ok(Self::predefined(basic)),
            None => fail(Class::Arg, format!("no {class:?} has {size} bytes")),
        }
    }
}
