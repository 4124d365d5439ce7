//! Handles that stay valid while a function of the application has them: that of an operation gets
//! the handle of a datatype that may have been freed long before (MPI 5.0, 5.1.9 and 6.9.5).

use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cohost::mpi::datatype::Datatype;
use cohost::mpi::failure::Outcome;

use crate::args::Handle;
use crate::runtime::TYPES;

static PINS: Mutex<Vec<Pin>> = Mutex::new(Vec::new());

/// A handle that functions have.
#[derive(Debug)]
struct Pin {
    handle: Handle,
    users: usize,
    /// The application has freed it: the last user takes it back.
    freed: bool,
}

fn pins() -> MutexGuard<'static, Vec<Pin>> {
    PINS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The handle of a datatype, valid until this is dropped.
#[derive(Debug)]
pub(crate) struct Pinned(Handle);

impl Pinned {
    /// The handle that the application knows, or a new one when that was freed.
    ///
    /// # Errors
    /// `MPI_ERR_NO_MEM` when there are too many.
    pub(crate) fn new(datatype: &Datatype) -> Outcome<Self> {
        let handle = Handle(datatype.handle().load(Ordering::Relaxed));
        if datatype.is_predefined() {
            return Ok(Self(handle));
        }
        let mut pins = pins();
        // Another type may have that handle by now.
        let same = |found: Datatype| std::ptr::eq(found.handle(), datatype.handle());
        let (handle, freed) = match TYPES.get(handle).is_ok_and(same) {
            true => (handle, false),
            false => (TYPES.insert(datatype.clone())?, true),
        };
        match pins.iter_mut().find(|pin| pin.handle == handle) {
            Some(pin) => pin.users += 1,
            None => pins.push(Pin { handle, users: 1, freed }),
        }
        Ok(Self(handle))
    }

    pub(crate) fn handle(&self) -> Handle {
        self.0
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut pins = pins();
        let Some(at) = pins.iter().position(|pin| pin.handle == self.0) else { return };
        pins[at].users -= 1;
        if pins[at].users == 0 && pins.swap_remove(at).freed {
            // It is there: nobody else takes back what is pinned.
            let _ = TYPES.remove(self.0);
        }
    }
}

/// Takes the handle of a datatype back, when no function has it any more.
///
/// # Errors
/// `MPI_ERR_TYPE` when it was freed before.
pub(crate) fn free(handle: Handle) -> Outcome<()> {
    let mut pins = pins();
    match pins.iter_mut().find(|pin| pin.handle == handle && !pin.freed) {
        Some(pin) => pin.freed = true,
        None => drop(TYPES.remove(handle)?),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use cohost::mpi::datatype::Basic;

    use super::*;
    use crate::runtime::new_type;

    fn pair() -> (Datatype, Handle) {
        let pair = Datatype::predefined(Basic::ALL[0]).dup();
        (pair.clone(), new_type(pair).unwrap())
    }

    #[test]
    fn a_handle_that_is_freed_while_a_function_has_it_goes_when_the_function_ends() {
        let (datatype, handle) = pair();
        let (one, two) = (Pinned::new(&datatype).unwrap(), Pinned::new(&datatype).unwrap());
        assert_eq!((one.handle(), two.handle()), (handle, handle));
        free(handle).unwrap();
        drop(one);
        assert!(TYPES.get(handle).is_ok());
        drop(two);
        assert!(TYPES.get(handle).is_err() && free(handle).is_err());
    }

    #[test]
    fn a_type_that_was_freed_before_gets_a_handle_for_as_long_as_a_function_has_it() {
        let (datatype, handle) = pair();
        free(handle).unwrap();
        let pinned = Pinned::new(&datatype).unwrap();
        let other = pinned.handle();
        assert!(TYPES.get(other).is_ok());
        drop(pinned);
        assert!(TYPES.get(other).is_err());
    }
}
