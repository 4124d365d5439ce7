//! Communicators by color, and by what their processes share (MPI 5.0, 7.4.2).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Process;
use crate::mpi::comm::{Comm, Traits};
use crate::mpi::failure::Outcome;
use crate::mpi::info::Info;

/// What `MPI_Comm_split_type` splits by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ranks that can share memory: those of one machine, which is to say of one running kernel.
    Shared,
    /// The resource that the hint `mpi_hw_resource_type` names.
    Guided,
    /// The next level of the hardware.
    Unguided,
    /// The resource or set of processes that a hint names.
    Resource,
    /// This rank will be in none (`MPI_UNDEFINED`).
    None,
}

/// The hint that names a resource.
const RESOURCE: &str = "mpi_hw_resource_type";
/// The hint that names a set of processes.
const SET: &str = "mpi_pset_name";
/// Ranks of one physical host, in whichever virtual machines.
const HOST: &str = "cohost://host";
/// Ranks of one running kernel.
const MACHINE: &str = "cohost://machine";

/// What one rank says in a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Says {
    /// None: it will be in no part.
    color: Option<u32>,
    key: i32,
}

impl Says {
    const BYTES: usize = 12;

    fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&u32::from(self.color.is_some()).to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.color.unwrap_or(0).to_ne_bytes());
        bytes[8..].copy_from_slice(&self.key.to_ne_bytes());
        bytes
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        let word = |at: usize| bytes[at..at + 4].try_into().map_or(0, u32::from_ne_bytes);
        Self { color: (word(0) != 0).then(|| word(4)), key: word(8).cast_signed() }
    }
}

/// Who has this color, by key and then by rank.
fn part(table: &[u8], members: &[u32], color: Option<u32>) -> Arc<[u32]> {
    let all = table.chunks_exact(Says::BYTES).map(Says::of_bytes).zip(members);
    let mut part: Vec<(i32, u32)> = all
        .filter(|(says, _)| color.is_some() && says.color == color)
        .map(|(says, world)| (says.key, *world))
        .collect();
    // Stable: ranks stay in order where keys are the same.
    part.sort_by_key(|(key, _)| *key);
    part.into_iter().map(|(_, world)| world).collect()
}

impl Process {
    /// One communicator for each color, ranks in the order of their keys; none without a color
    /// (`MPI_Comm_split`).
    ///
    /// # Errors
    /// When a peer is gone.
    pub fn split(&self, comm: &Comm, color: Option<u32>, key: i32) -> Outcome<Option<Arc<Comm>>> {
        let table = self.allgather_bytes(comm, &Says { color, key }.to_bytes())?;
        let mine = part(&table, comm.local().members(), color);
        let Some(remote) = comm.remote() else {
            return self.part_of(comm, mine, Traits::plain(comm.errhandler()));
        };
        let theirs = part(&self.swap_with_remote(comm, &table)?, remote.members(), color);
        self.inter_part(comm, &mine, &theirs)
    }

    /// One communicator for all that share something (`MPI_Comm_split_type`). `info` is written
    /// to when the choice is ours.
    ///
    /// # Errors
    /// When a peer is gone.
    pub fn split_type(
        &self,
        comm: &Comm,
        kind: Kind,
        key: i32,
        info: Option<&Info>,
    ) -> Outcome<Option<Arc<Comm>>> {
        let hint = |name| info.and_then(|info: &Info| info.get(name));
        let color = match kind {
            Kind::None => None,
            Kind::Shared => self.resource(MACHINE),
            Kind::Guided => hint(RESOURCE).and_then(|name| self.resource(&name)),
            Kind::Unguided => {
                let level = self.next_level(comm);
                if let (Some(info), Some(level)) = (info, level) {
                    info.set(RESOURCE, level);
                }
                level.and_then(|level| self.resource(level))
            }
            Kind::Resource => match hint(SET) {
                Some(name) => self.set_color(&name),
                None => hint(RESOURCE).and_then(|name| self.resource(&name)),
            },
        };
        self.split(comm, color, key)
    }

    /// The number of this rank's own resource of a kind, if there are such resources.
    fn resource(&self, name: &str) -> Option<u32> {
        let me = self.rank() as usize;
        match name {
            "mpi_shared_memory" | MACHINE => Some(self.machines()[me]),
            HOST => Some(self.hosts()[me]),
            _ => None,
        }
    }

    fn set_color(&self, name: &str) -> Option<u32> {
        match name {
            "mpi://WORLD" => Some(0),
            "mpi://SELF" => Some(self.rank()),
            _ => None,
        }
    }

    /// The first level of hardware at which `comm` falls apart.
    fn next_level(&self, comm: &Comm) -> Option<&'static str> {
        let several = |numbers: &[u32]| {
            let members = comm.everyone().iter().map(|&world| numbers[world as usize]);
            members.collect::<BTreeSet<_>>().len() > 1
        };
        if several(self.hosts()) {
            return Some(HOST);
        }
        several(self.machines()).then_some(MACHINE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_of_one_color_are_in_the_order_of_their_keys_and_then_of_their_ranks() {
        let says = [(Some(1), 5), (Some(1), -5), (None, 0), (Some(1), 5), (Some(0), 0)];
        let table: Vec<u8> =
            says.iter().flat_map(|&(color, key)| Says { color, key }.to_bytes()).collect();
        let members = [10, 11, 12, 13, 14];
        assert_eq!(part(&table, &members, Some(1))[..], [11, 10, 13]);
        assert_eq!(part(&table, &members, Some(0))[..], [14]);
        assert!(part(&table, &members, None).is_empty());
    }
}
