//! stub
pub mod matching;
pub mod slots;
