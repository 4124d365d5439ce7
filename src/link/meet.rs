//! How a pair comes by its path: contact, proof, and the ring or TCP.

use std::collections::VecDeque;
use std::time::Instant;

use super::card::Sharing;
use super::control::Control;
use super::prove::{self, Next, Proof};
use super::select::{self, Candidate, PathPolicy};
use super::share::{Rings, ShareError};
use super::{Links, Proving, RingIn, RingOut, State, Then};

impl Links {
    /// The connection to a peer is up: begin to prove a ring, or use TCP.
    pub fn on_up(&mut self, peer: u32) -> Then {
        let (candidate, reason) = self.candidate(peer);
        if !self.unsettled.contains(&peer) {
            self.unsettled.push(peer);
        }
        let reason = self.with_reach(reason);
        self.peers[peer as usize].reason = reason.clone();
        if candidate == Candidate::Tcp {
            if self.policy == PathPolicy::Ring {
                return Then::Fault(format!("--path ring was asked for, and: {reason}"));
            }
            self.settle(peer, State::Tcp);
            return Then::Go { resume: None };
        }
        match self.begin_proof(peer) {
            Ok(()) => Then::Nothing,
            Err(why) => {
                // What the peer has said of its proof may arrive before we have given up ours.
                self.peers[peer as usize].fell_back = true;
                Then::FallBack(why)
            }
        }
    }

    fn candidate(&self, peer: u32) -> (Candidate, String) {
        let (mine, theirs) = (&self.cards[self.me as usize], &self.cards[peer as usize]);
        let (candidate, reason) = select::candidate(mine, theirs, self.policy);
        if reason != select::NO_MEMORY {
            return (candidate, reason);
        }
        if mine.sharing == Sharing::Nothing {
            return (candidate, format!("{reason}: {}", self.share.obstacle()));
        }
        (candidate, format!("{reason} by rank {peer}"))
    }

    /// Says what there would be here, where the two have nothing in common.
    fn with_reach(&self, reason: String) -> String {
        let reach = self.share.reach();
        if reason != select::NO_REGION || reach.is_empty() {
            return reason;
        }
        format!("{reason}; within reach here: {reach}")
    }

    fn begin_proof(&mut self, peer: u32) -> Result<(), String> {
        let mut challenge = [0; 16];
        getrandom::fill(&mut challenge)
            .map_err(|error| format!("the system gave no random numbers: {error}"))?;
        let first = self.share.begin(peer, &challenge).map_err(|error| error.to_string())?;
        let proof = Proof::new(challenge);
        let proving = Proving { proof, handed_over: false, offer: None, section: None };
        self.peers[peer as usize].state = State::Proving(Box::new(proving));
        self.say(peer, &first);
        Ok(())
    }

    /// Moves the proofs under way on; to be called now and then while [`Links::unsettled`].
    pub fn advance(&mut self, now: Instant, then: &mut VecDeque<(u32, Then)>) {
        // A mailbox that fails delivers nothing, and the proof's deadline says so.
        let _ = self.share.collect();
        for at in (0..self.unsettled.len()).rev() {
            let peer = self.unsettled[at];
            match self.advance_proof(peer, now) {
                Ok(Next::Wait) => {}
                Ok(next) => then.push_back((peer, self.follow(peer, next))),
                Err(why) => then.push_back((peer, Then::FallBack(why))),
            }
        }
    }

    fn advance_proof(&mut self, peer: u32, now: Instant) -> Result<Next, String> {
        let State::Proving(proving) = &mut self.peers[peer as usize].state else {
            return Ok(Next::Wait);
        };
        let share = &mut self.share;
        let text = |error: ShareError| error.to_string();
        if !proving.handed_over {
            proving.handed_over =
                share.hand_over(peer, &self.cards[peer as usize]).map_err(text)?;
        }
        let (None, Some(offer)) = (&proving.section, &proving.offer) else {
            return Ok(Next::Wait);
        };
        if let Some((section, nonce)) = share.adopt(peer, offer).map_err(text)? {
            proving.section = Some(section);
            let next = proving.proof.read_theirs();
            self.say(peer, &Control::Echo(nonce));
            return Ok(next);
        }
        if proving.proof.overdue(now) {
            let seconds = prove::DEADLINE.as_secs();
            return Err(format!("the peer's memory did not come within {seconds} s"));
        }
        Ok(Next::Wait)
    }

    /// A control message has arrived.
    pub fn on_control(&mut self, peer: u32, control: Control) -> Then {
        if let Control::FallBack { expected, reason } = control {
            return Then::FollowBack { expected, reason };
        }
        if let Control::Return(name) = control {
            self.share.take_back(peer, name);
            return Then::Nothing;
        }
        let State::Proving(proving) = &mut self.peers[peer as usize].state else {
            return match control {
                Control::Doorbell | Control::Acknowledge => Then::Nothing,
                // Left over from a proof that we have given up.
                _ if self.peers[peer as usize].fell_back => Then::Nothing,
                _ => Then::Fault("it spoke of a proof that is not under way".to_owned()),
            };
        };
        let next = match control {
            Control::Offer(offer) => {
                if proving.offer.replace(offer).is_some() {
                    return Then::Fault("it offered its memory twice".to_owned());
                }
                Next::Wait
            }
            Control::Slot(slot) => {
                let challenge = *proving.proof.challenge();
                return match self.share.meet(peer, slot, &challenge) {
                    Ok(offer) => {
                        self.say(peer, &Control::Offer(offer));
                        Then::Nothing
                    }
                    Err(error) => Then::FallBack(error.to_string()),
                };
            }
            Control::Echo(nonce) => proving.proof.echoed(&nonce),
            Control::Ready => proving.proof.heard_ready(),
            _ => Next::Wait,
        };
        self.follow(peer, next)
    }

    fn follow(&mut self, peer: u32, next: Next) -> Then {
        match next {
            Next::Wait => Then::Nothing,
            Next::Refuse(why) => Then::FallBack(why.to_owned()),
            Next::SayReady => {
                self.say(peer, &Control::Ready);
                let State::Proving(proving) = &self.peers[peer as usize].state else {
                    return Then::Nothing;
                };
                let settled = proving.proof.settled();
                self.follow(peer, settled)
            }
            Next::Use => match self.use_ring(peer) {
                Ok(()) => Then::Go { resume: None },
                Err(why) => Then::FallBack(why),
            },
        }
    }

    fn use_ring(&mut self, peer: u32) -> Result<(), String> {
        let State::Proving(proving) = &mut self.peers[peer as usize].state else {
            return Err("no proof is under way".to_owned());
        };
        let section = proving.section.take().ok_or("the peer's section was never read")?;
        let Rings { producer, consumer, ringer, keeps } =
            self.share.rings(peer, section).map_err(|error| error.to_string())?;
        let mut reason = format!("{}, proved by challenge", self.share.describe(peer));
        if !keeps {
            reason = format!("{reason}, rung by {}", ringer.kind());
        }
        if let Some(notice) = self.share.notice(peer) {
            reason = format!("{reason}; {notice}");
        }
        self.peers[peer as usize].reason = reason;
        if !keeps {
            self.look_due.get_or_insert_with(Instant::now);
        }
        self.inputs.push(RingIn { peer, consumer });
        self.settle(peer, State::Ring(Box::new(RingOut { producer, ringer, base: 0, keeps })));
        Ok(())
    }
}
