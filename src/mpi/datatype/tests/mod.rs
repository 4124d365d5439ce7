//! Claims of this room: random nested types against a naive typemap (`properties.rs`), and each
//! constructor's meaning, limits and refusals (`claims.rs`).

mod claims;
mod numbers;
mod oracle;
mod properties;
