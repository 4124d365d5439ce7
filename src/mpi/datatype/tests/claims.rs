//! Constructors, one by one.
