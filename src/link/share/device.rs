//! Our slot in a device that other machines map too.

use std::collections::HashMap;

use super::ShareError;
use super::bells::{Bells, From};
use crate::doorbell::Far;
use crate::doorbell::ivshmem::Doorbell;
use crate::link::control::Offer;
use crate::link::reach::Reached;
use crate::region::device::Device;
use crate::region::{Identity, OwnSection, PeerSection, RegionError};

/// One device, and what we have in it.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) device: Device,
    /// Its interrupts, where it has any that can be used.
    doorbell: Option<Doorbell>,
    /// Our section, or why there is none.
    section: Result<OwnSection, String>,
    /// Slots that ranks say are theirs.
    slots: HashMap<u32, u32>,
}

impl Room {
    /// Takes a slot, which may take a lease time. What interrupts us is added to `bells`.
    pub(super) fn enter(found: Reached, bells: &mut Bells) -> Self {
        let Reached { device, registers } = found;
        let section = device.claim().map_err(|error| error.to_string());
        let mut doorbell = None;
        if let Ok(section) = &section {
            super::Sleeper::prepare(section);
            // Why there are no interrupts is not told: most devices have none, and bytes wake.
            let opened = registers.and_then(|registers| Doorbell::open(registers).ok());
            doorbell = opened.map(|(doorbell, events)| {
                device.set_bell(section, doorbell.address());
                bells.add(From::Device(device.id()), events.into());
                doorbell
            });
        }
        Self { device, doorbell, section, slots: HashMap::new() }
    }

    /// How the owner of `slot` is rung. Its address was there before it told us its slot.
    pub(super) fn far(&self, slot: u32) -> Far {
        let bell = self.doorbell.as_ref().and_then(|ours| ours.bell(self.device.bell(slot)));
        bell.map_or(Far::Byte, Far::Msix)
    }

    /// Our section, or why there is none.
    pub(super) fn section(&self) -> Result<&OwnSection, &str> {
        self.section.as_ref().map_err(String::as_str)
    }

    pub(super) fn own(&mut self) -> Result<&mut OwnSection, ShareError> {
        let clone = |why: &mut String| ShareError::Unavailable(why.clone());
        self.section.as_mut().map_err(clone)
    }

    /// Our slot, to tell a peer.
    pub(super) fn slot(&mut self) -> Result<u32, ShareError> {
        Ok(self.own()?.identity().index)
    }

    /// A peer has told its slot: our block for it can be made ready.
    pub(super) fn meet(
        &mut self,
        rank: u32,
        slot_untrusted: u32,
        challenge: &[u8; 16],
    ) -> Result<Offer, ShareError> {
        let place = self.device.place().to_owned();
        let own = self.own()?;
        if own.identity().index == slot_untrusted {
            return Err(ShareError::SameSlot { rank, slot: slot_untrusted, place });
        }
        // Refuses slots that there are not.
        let offer = super::ready(own, slot_untrusted, challenge)?;
        if self.slots.insert(rank, slot_untrusted).is_some() {
            return Err(ShareError::Unavailable(format!("rank {rank} told its slot twice")));
        }
        Ok(offer)
    }

    pub(super) fn adopt(&mut self, rank: u32, offer: &Offer) -> Result<PeerSection, ShareError> {
        let me = self.slot()?;
        let layout = self.device.section_layout();
        let slot = self.slots.get(&rank).ok_or(ShareError::Stranger(rank))?;
        let expected = Identity { layout, index: *slot, epoch: offer.epoch };
        super::compare(rank, offer, &expected)?;
        self.device.peer(&expected, me).map_err(|error| match error {
            RegionError::WrongHeader { .. } => ShareError::OtherMemory {
                rank,
                place: self.device.place().to_owned(),
                source: error,
            },
            other => other.into(),
        })
    }

    /// Whether our slot is somebody else's by now; it is given up then, and the reason kept.
    pub(super) fn is_lost(&mut self) -> bool {
        let lost = self.section.as_ref().is_ok_and(OwnSection::is_lost);
        if lost {
            let place = self.device.place();
            self.section = Err(format!(
                "our slot of {place} is gone: the device was unplugged or claimed anew, or this \
                 machine was suspended for longer than a lease"
            ));
        }
        lost
    }

    /// For people.
    pub(super) fn describe(&self) -> String {
        let (kind, place) = (self.device.kind(), self.device.place());
        format!("one host, {kind} {place}")
    }
}
