//! `cohost run` and the launch library against real processes.

mod command;
mod death;
mod netns;
mod pmi;
mod support;
