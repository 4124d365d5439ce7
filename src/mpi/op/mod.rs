//! Reduction operations (MPI 5.0, 6.9): the predefined ones on every type that the standard allows, and
//! those of applications.

mod combine;
mod extended;
mod half;
mod kernels;
mod quad;
mod slots;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

pub use combine::Combine;
pub use kernels::{Kernel, kernel};
pub use slots::Slots;

use super::datatype::Datatype;
use super::failure::{Class, Outcome, fail};

macro_rules! operations {
    ($($name:ident = $value:literal, $standard:literal;)*) => {
        /// The predefined operations. The discriminant is the handle of the standard ABI.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum BasicOp {
            $(#[doc = concat!("`", $standard, "`.")] $name = $value,)*
        }

        impl BasicOp {
            /// All of them.
            pub const ALL: &[BasicOp] = &[$(BasicOp::$name,)*];

            /// Its name in the standard.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(BasicOp::$name => $standard,)* }
            }

            /// The operation of this handle.
            #[must_use]
            pub fn from_handle(handle: usize) -> Option<Self> {
                match handle { $($value => Some(BasicOp::$name),)* _ => None }
            }
        }
    };
}

operations! {
    Sum = 33, "MPI_SUM";
    Min = 34, "MPI_MIN";
    Max = 35, "MPI_MAX";
    Prod = 36, "MPI_PROD";
    Band = 40, "MPI_BAND";
    Bor = 41, "MPI_BOR";
    Bxor = 42, "MPI_BXOR";
    Land = 48, "MPI_LAND";
    Lor = 49, "MPI_LOR";
    Lxor = 50, "MPI_LXOR";
    Minloc = 56, "MPI_MINLOC";
    Maxloc = 57, "MPI_MAXLOC";
    Replace = 60, "MPI_REPLACE";
    NoOp = 61, "MPI_NO_OP";
}

/// A function of the application: `inout[i] = in[i] op inout[i]` for this many items of the type.
pub type UserFunction = Box<dyn Fn(*const u8, *mut u8, i64, &Datatype) + Send + Sync>;

/// An operation. Clones are the same operation.
#[derive(Clone, Debug)]
pub enum Op {
    /// A predefined one.
    Basic(BasicOp),
    /// One of the application.
    User(Arc<User>),
}

/// An operation of the application.
pub struct User {
    commutes: bool,
    function: UserFunction,
    /// Room for the handle that the C interface gave it; 0 is none.
    pub handle: AtomicUsize,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("commutes", &self.commutes).finish_non_exhaustive()
    }
}

/// Memory for one operand, aligned for any type.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl Op {
    /// An operation of the application (`MPI_Op_create`). The function is called with two vectors that do
    /// not overlap, each aligned for the type, wherever the vectors of the ranks were.
    #[must_use]
    pub fn user(commutes: bool, function: UserFunction) -> Self {
        Self::User(Arc::new(User { commutes, function, handle: AtomicUsize::new(0) }))
    }

    /// Whether operands may change places (`MPI_Op_commutative`).
    #[must_use]
    #[inline]
    pub fn commutes(&self) -> bool {
        match self {
            Op::Basic(op) => *op != BasicOp::Replace,
            Op::User(user) => user.commutes,
        }
    }

    /// What to do with ranges of bytes of this type, which hold items as [`Slots`] says.
    ///
    /// # Errors
    /// Class `Op` when the operation is not defined for the type.
    #[inline]
    pub fn combiner(&self, datatype: &Datatype) -> Outcome<Combine> {
        match self {
            Op::Basic(op) => {
                let basic = datatype.basic();
                let Some(kernel) = basic.and_then(|basic| kernel(*op, basic)) else {
                    return self.refuse(datatype);
                };
                Ok(Combine::Kernel { kernel, size: datatype.extent() as usize })
            }
            Op::User(user) => {
                let (user, datatype) = (Arc::clone(user), datatype.clone());
                let slots = Slots::of(&datatype)?;
                Ok(Combine::Function(Arc::new(move |from, into, len, from_left| {
                    if from_left || user.commutes {
                        return user.run(&datatype, slots, from, into, len);
                    }
                    // The result has to come where the left operand is: the function writes to the right.
                    let mut right = vec![Line([0; 64]); len.div_ceil(64)];
                    let aside = right.as_mut_ptr().cast::<u8>();
                    // SAFETY: as many bytes as `aside` has room for, in another allocation.
                    unsafe { std::ptr::copy_nonoverlapping(from, aside, len) };
                    user.run(&datatype, slots, into.cast_const(), aside, len);
                    // SAFETY: as above, back.
                    unsafe { std::ptr::copy_nonoverlapping(aside.cast_const(), into, len) };
                })))
            }
        }
    }

    /// `inout[i] = in[i] op inout[i]` on items as they lie in memory (`MPI_Reduce_local`).
    ///
    /// # Errors
    /// Class `Op` when the operation is not defined for the type, `Count` when the count is negative.
    ///
    /// # Safety
    /// Both buffers hold `count` items of the type and do not overlap.
    pub unsafe fn local(
        &self,
        from: *const u8,
        into: *mut u8,
        count: i64,
        datatype: &Datatype,
    ) -> Outcome<()> {
        let Ok(items) = usize::try_from(count) else {
            return fail(Class::Count, format!("the count {count} is negative"));
        };
        match self {
            Op::User(user) => (user.function)(from, into, count, datatype),
            Op::Basic(op) => match datatype.basic().and_then(|basic| kernel(*op, basic)) {
                // SAFETY: by the contract of this function.
                Some(kernel) => unsafe { kernel(from, into, items) },
                None => return self.refuse(datatype),
            },
        }
        Ok(())
    }

    fn refuse<T>(&self, datatype: &Datatype) -> Outcome<T> {
        let name = match self {
            Op::Basic(op) => op.name(),
            Op::User(_) => "the operation",
        };
        let of = datatype.name();
        let of = if of.is_empty() { "a derived datatype".to_owned() } else { of };
        fail(
            Class::Op,
            format!(
                "{name} is not defined for {of}: use a type it is defined for, or MPI_Op_create"
            ),
        )
    }
}

impl User {
    /// Calls the function for the items in `len` bytes of slots.
    fn run(&self, datatype: &Datatype, slots: Slots, from: *const u8, into: *mut u8, len: usize) {
        let count = len / slots.bytes;
        let (from, into) = (from.wrapping_offset(slots.base), into.wrapping_offset(slots.base));
        if !slots.apart {
            return (self.function)(from, into, count as i64, datatype);
        }
        for at in (0..count).map(|i| i * slots.bytes) {
            (self.function)(from.wrapping_add(at), into.wrapping_add(at), 1, datatype);
        }
    }
}
