//! Conversions of single numbers.
