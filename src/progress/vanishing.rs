//! Frames out of memory that may vanish while they are copied: they count only if the memory was
//! there after the copy. So the copy comes first, to where the frame belongs or into a buffer of
//! its own, and only then is the frame delivered. One that is not delivered comes again over TCP.

use super::buffers::{Incoming, Outgoing};
use crate::frame::{Header, Payload};
use crate::link::{Consumer, RingFrame};
use crate::proto::Endpoint;

/// Copies a frame's payload, and delivers the frame if its memory was there.
pub(super) fn arrive(
    endpoint: &mut Endpoint<Outgoing, Incoming>,
    consumer: &Consumer,
    peer: u32,
    incoming: &RingFrame,
) -> Result<(), String> {
    let (header, payload) = (&incoming.header, consumer.payload(incoming));
    if payload.is_private() {
        return endpoint.arrive(peer, header, &payload).map_err(|why| why.to_string());
    }
    let placed = place(endpoint, peer, header, &payload);
    let gathered = placed.is_none().then(|| {
        let mut bytes = vec![0; payload.len()];
        payload.copy_to(0, &mut bytes);
        bytes
    });
    consumer.check().map_err(|why| why.to_string())?;
    let arrived = match gathered {
        Some(bytes) => endpoint.arrive(peer, header, &&*bytes),
        None => endpoint.arrived_directly(peer, header),
    };
    arrived.map_err(|why| why.to_string())
}

/// Copies a payload to where it belongs, if that is known and has room.
fn place(
    endpoint: &mut Endpoint<Outgoing, Incoming>,
    peer: u32,
    header: &Header,
    payload: &impl Payload,
) -> Option<()> {
    let (buffer, at) = endpoint.direct(peer, header)?;
    payload.copy_to(0, &mut buffer.tail(at)[..payload.len()]);
    Some(())
}
