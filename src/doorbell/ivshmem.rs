//! Interrupts of an ivshmem-doorbell device: a peer's write to its doorbell register becomes an
//! MSI-X interrupt in our guest, and vfio-pci makes it a count in an eventfd.
//! Source: `ivshmem-spec.rst` of QEMU.
//!
//! Nothing depends on an interrupt: one that is lost ends with the sleep's time limit, and one too
//! many makes the sleeper look into its rings. That an address is a peer's word is harmless for the
//! same reason: whoever is rung by mistake looks, and sleeps again.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use super::interrupt::eventfd;
use crate::region::vfio::Registers;

/// Our own number among the guests, given by the server; all ones until then.
const IV_POSITION: u64 = 8;
/// Target in the upper half, vector in the lower.
const DOORBELL: u64 = 12;
/// Marks an address as one: the others are other devices' or none.
const MARK: u64 = 0x1a << 32;

/// Why there are no interrupts; the TCP byte wakes then.
#[derive(Debug, thiserror::Error)]
pub enum MsixError {
    /// The device is one of the plain kind.
    #[error("the device has no MSI-X vectors: it is ivshmem-plain, or was given vectors=0")]
    NoVectors,
    /// The server has not spoken to our hypervisor yet, or there is none.
    #[error("the device has no number among the guests: is its ivshmem-server running?")]
    NoPosition,
    /// The system.
    #[error("interrupts of the ivshmem device cannot be set up: {0}")]
    System(#[from] io::Error),
}

/// Our side of a doorbell device.
#[derive(Clone, Debug)]
pub struct Doorbell {
    device: Arc<dyn Registers>,
    position: u16,
}

impl Doorbell {
    /// Sets up the first interrupt of a device, and returns the eventfd it counts up.
    ///
    /// # Errors
    /// When the device has none, or the kernel cannot route it.
    pub fn open(device: Arc<dyn Registers>) -> Result<(Self, OwnedFd), MsixError> {
        if device.vectors() == 0 {
            return Err(MsixError::NoVectors);
        }
        let position = device.read(IV_POSITION)?;
        let position = u16::try_from(position).map_err(|_| MsixError::NoPosition)?;
        let events = eventfd()?;
        device.route(0, events.as_fd())?;
        Ok((Self { device, position }, events))
    }

    /// Where peers reach us, for [`crate::region::device::Device::set_bell`].
    #[must_use]
    pub fn address(&self) -> u64 {
        MARK | u64::from(self.position) << 16
    }

    /// How the peer with this address is rung; `None` when the address is none of ours.
    #[must_use]
    pub fn bell(&self, address_untrusted: u64) -> Option<Bell> {
        if address_untrusted & !u64::from(u32::MAX) != MARK {
            return None;
        }
        // All values of target and vector are harmless: the hypervisor ignores unknown ones.
        let word = address_untrusted as u32;
        Some(Bell { device: Arc::clone(&self.device), word })
    }
}

/// Rings one peer.
#[derive(Clone, Debug)]
pub struct Bell {
    device: Arc<dyn Registers>,
    word: u32,
}

impl Bell {
    pub(super) fn ring(&self) -> io::Result<()> {
        self.device.write(DOORBELL, self.word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::vfio::Vfio;

    fn doorbell(position: u16) -> Doorbell {
        let device = Vfio::played_by(tempfile::tempfile().unwrap());
        Doorbell { device: Arc::new(device), position }
    }

    #[test]
    fn ringing_writes_the_peers_number_into_the_register() {
        let (ours, theirs) = (doorbell(3), doorbell(9));
        ours.bell(theirs.address()).unwrap().ring().unwrap();
        assert_eq!(ours.device.read(DOORBELL).unwrap(), 9 << 16);
    }

    #[test]
    fn what_is_no_address_of_this_kind_is_not_rung() {
        let ours = doorbell(3);
        for word in [0, 1, u64::from(u32::MAX), u64::MAX, 0x1b << 32] {
            assert!(ours.bell(word).is_none());
        }
    }

    #[test]
    fn a_device_without_a_server_or_interrupts_says_so() {
        let device = Vfio::played_by(tempfile::tempfile().unwrap());
        device.write(IV_POSITION, u32::MAX).unwrap();
        let refused = Doorbell::open(Arc::new(device));
        assert!(matches!(refused, Err(MsixError::NoPosition)));
        // A file cannot route interrupts.
        let device = Vfio::played_by(tempfile::tempfile().unwrap());
        device.write(IV_POSITION, 1).unwrap();
        assert!(matches!(Doorbell::open(Arc::new(device)), Err(MsixError::System(_))));
    }
}
