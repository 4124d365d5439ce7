//! The agent that runs in every guest, and the protocol it speaks.
//!
//! The agent is a library function of the project's one static binary, started in a guest as
//! `cohost lab-agent`. Over one TCP connection it starts one program, relays its standard
//! streams and, when asked, its PMI connection, each as a channel of its own, and reports its
//! end. When the connection breaks, the program is killed. [`frame`] is the format, `pump` moves
//! the bytes (the same code on both sides), [`serve()`] is the guest's side; the host's side is
//! [`crate::remote`].
//!
//! It must know nothing of hypervisors or of how guests are started.

pub mod frame;
pub(crate) mod pump;
mod serve;

pub use frame::Token;
pub use serve::{PORT, serve, token_of_kernel};
