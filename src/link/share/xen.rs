//! Pages granted to peers in other domains of Xen: two sections for every pair, one in each
//! direction, of two members each; the lower rank is member 0.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::ShareError;
use crate::doorbell::xen::EventChannel;
use crate::link::control::Offer;
use crate::region::xen::{self, Invitation};
use crate::region::{Geometry, OwnSection, PeerSection};

/// The pairs that we share pages in.
#[derive(Debug)]
pub(super) struct Pairs {
    rank: u32,
    domain: u16,
    geometry: Geometry,
    sections: HashMap<u32, OwnSection>,
    /// Doorbells, for both directions of a pair.
    channels: HashMap<u32, Arc<EventChannel>>,
}

impl Pairs {
    /// For `rank`, in `domain`.
    pub(super) fn new(rank: u32, domain: u16, geometry: Geometry) -> Self {
        Self { rank, domain, geometry, sections: HashMap::new(), channels: HashMap::new() }
    }

    fn me(&self, peer: u32) -> u32 {
        u32::from(self.rank > peer)
    }

    pub(super) fn geometry(&self) -> Geometry {
        self.geometry
    }

    pub(super) fn sections(&self) -> impl Iterator<Item = &OwnSection> {
        self.sections.values()
    }

    pub(super) fn own(&mut self, peer: u32) -> Result<&mut OwnSection, ShareError> {
        self.sections.get_mut(&peer).ok_or(ShareError::Stranger(peer))
    }

    /// Grants a section to a peer in `domain`, with the challenge in it.
    pub(super) fn offer(
        &mut self,
        peer: u32,
        domain: u16,
        challenge: &[u8; 16],
    ) -> Result<Offer, ShareError> {
        let (me, devices) = (self.me(peer), Path::new(xen::DEVICES));
        let (mut own, mut invitation) =
            xen::grant(devices, Some(self.domain), domain, self.geometry, me)?;
        super::Sleeper::prepare(&own);
        let offer = super::ready(&mut own, 1 - me, challenge)?;
        self.sections.insert(peer, own);
        // One of the two offers the channel; without one, bytes wake.
        if me == 0
            && let Ok(channel) = EventChannel::offer(devices, domain)
        {
            invitation.port = channel.port();
            self.channels.insert(peer, Arc::new(channel));
        }
        Ok(Offer { grants: invitation.encode(), ..offer })
    }

    /// Maps what a peer granted us. Which domain it is, its card said before.
    pub(super) fn adopt(
        &mut self,
        peer: u32,
        domain: u16,
        offer: &Offer,
    ) -> Result<PeerSection, ShareError> {
        let me = self.me(peer);
        let invitation = Invitation::decode(&offer.grants, self.geometry, me)?;
        super::compare(peer, offer, &invitation.identity)?;
        let devices = Path::new(xen::DEVICES);
        let section = xen::map(devices, domain, &invitation, me)?;
        if me == 1
            && invitation.port != 0
            && let Ok(channel) = EventChannel::connect(devices, domain, invitation.port)
        {
            self.channels.insert(peer, Arc::new(channel));
        }
        Ok(section)
    }

    /// The doorbell of a pair.
    pub(super) fn channel(&self, peer: u32) -> Option<Arc<EventChannel>> {
        self.channels.get(&peer).cloned()
    }

    pub(super) fn forget(&mut self, peer: u32) {
        self.sections.remove(&peer);
        self.channels.remove(&peer);
    }
}
