//! What a rank sends to a peer in another domain, over TCP, so that it can map the section granted
//! to it. Total over all bytes; what it says is compared with what we expect, and the references
//! are checked by the hypervisor.

use crate::region::layout::{PAGE, SectionLayout};
use crate::region::{Geometry, Identity};

const VERSION: u8 = 2;
/// Version, member index, domain, cells, bulk, epoch, port.
const HEAD: usize = 1 + 1 + 2 + 4 + 4 + 8 + 4;
/// Says that a domain is not known.
const UNKNOWN: u16 = u16::MAX;

/// A section that was granted to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// What the section says of itself: two members, of which the owner is one.
    pub identity: Identity,
    /// The owner's domain, when it knows it. A hint: the mapping works or fails.
    pub domain: Option<u16>,
    /// The event channel that the owner offers to the peer, as a doorbell for both; 0 for none.
    pub port: u32,
    /// A grant reference for each of its pages.
    pub references: Vec<u32>,
}

/// Bytes that are no invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a peer's grants cannot be read ({0}): all ranks must run the same version of cohost with the \
     same settings"
)]
pub struct InvitationError(pub &'static str);

impl Invitation {
    /// The invitation as bytes: 24 and 4 for each page.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Geometry { cells, bulk } = self.identity.layout.geometry();
        let mut bytes = Vec::with_capacity(HEAD + 4 * self.references.len());
        // Two members: the index is 0 or 1.
        bytes.extend([VERSION, self.identity.index as u8]);
        bytes.extend(self.domain.unwrap_or(UNKNOWN).to_le_bytes());
        bytes.extend(cells.to_le_bytes());
        bytes.extend(bulk.to_le_bytes());
        bytes.extend(self.identity.epoch.to_le_bytes());
        bytes.extend(self.port.to_le_bytes());
        for reference in &self.references {
            bytes.extend(reference.to_le_bytes());
        }
        bytes
    }

    /// Reads an invitation to the section of the other member of a pair with rings of `geometry`.
    ///
    /// # Errors
    /// When it is of another length, geometry or version, or for somebody else's place.
    pub fn decode(
        bytes_untrusted: &[u8],
        geometry: Geometry,
        me: u32,
    ) -> Result<Self, InvitationError> {
        let mut rest = bytes_untrusted;
        let [version, index] = take(&mut rest)?;
        if version != VERSION {
            return Err(InvitationError("version"));
        }
        let index = u32::from(index);
        if index > 1 || index == me {
            return Err(InvitationError("member index"));
        }
        let domain = u16::from_le_bytes(take(&mut rest)?);
        let found = Geometry {
            cells: u32::from_le_bytes(take(&mut rest)?),
            bulk: u32::from_le_bytes(take(&mut rest)?),
        };
        if found != geometry {
            return Err(InvitationError("geometry"));
        }
        let layout = SectionLayout::new(2, geometry).map_err(|_| InvitationError("geometry"))?;
        let epoch = u64::from_le_bytes(take(&mut rest)?);
        let port = u32::from_le_bytes(take(&mut rest)?);
        if rest.len() != layout.total_bytes() / PAGE * 4 {
            return Err(InvitationError("number of pages"));
        }
        let references = rest
            .chunks_exact(4)
            .map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
            .collect();
        Ok(Self {
            identity: Identity { layout, index, epoch },
            domain: (domain != UNKNOWN).then_some(domain),
            port,
            references,
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], InvitationError> {
    let (first, behind) = rest.split_first_chunk().ok_or(InvitationError("length"))?;
    *rest = behind;
    Ok(*first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn invitation(geometry: Geometry, index: u32, domain: Option<u16>) -> Invitation {
        let layout = SectionLayout::new(2, geometry).unwrap();
        Invitation {
            identity: Identity { layout, index, epoch: 0x0123_4567_89ab_cdef },
            domain,
            port: index * 17,
            references: (0..layout.total_bytes() as u32 / 4096).map(|i| i * 7).collect(),
        }
    }

    #[test]
    fn an_invitation_is_read_back() {
        for (index, domain) in [(0, None), (1, Some(3))] {
            let sent = invitation(Geometry::default(), index, domain);
            let read = Invitation::decode(&sent.encode(), Geometry::default(), 1 - index);
            assert_eq!(read, Ok(sent));
        }
    }

    #[test]
    fn what_differs_from_our_own_settings_is_refused_by_name() {
        let bytes = invitation(Geometry::MIN, 0, None).encode();
        let why =
            |bytes: &[u8], geometry, me| Invitation::decode(bytes, geometry, me).unwrap_err().0;
        assert_eq!(why(&bytes, Geometry::default(), 1), "geometry");
        assert_eq!(why(&bytes, Geometry::MIN, 0), "member index");
        assert_eq!(why(&bytes[..bytes.len() - 1], Geometry::MIN, 1), "number of pages");
        assert_eq!(why(&[9; 100], Geometry::MIN, 1), "version");
        assert_eq!(why(&[], Geometry::MIN, 1), "length");
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Invitation::decode(&bytes, Geometry::MIN, 1);
        }
    }
}
