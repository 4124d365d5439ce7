//! An operation on the vectors of a collective.

use std::sync::Arc;

use super::Kernel;

/// How two ranges of bytes become one.
#[derive(Clone)]
pub enum Combine {
    /// By a predefined operation, on items of this size.
    Kernel {
        /// What it does.
        kernel: Kernel,
        /// Bytes from one item to the next.
        size: usize,
    },
    /// By any: see [`Combine::run`].
    Function(Function),
}

/// From, into, bytes, and whether `from` is the left operand.
pub type Function = Arc<dyn Fn(*const u8, *mut u8, usize, bool) + Send + Sync>;

impl Combine {
    /// `into = from op into` when the flag (`from` is the left operand) is set, else `into = into op from`,
    /// over two ranges of this many bytes that do not overlap.
    #[inline]
    pub fn run(&self, from: *const u8, into: *mut u8, len: usize, from_left: bool) {
        match self {
            // SAFETY: schedules name ranges of whole items that do not overlap. All of them commute.
            Self::Kernel { kernel, size } => unsafe { kernel(from, into, len / size) },
            Self::Function(function) => function(from, into, len, from_left),
        }
    }
}
