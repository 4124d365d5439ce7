//! Which path to try with a peer, from what both published: evidence only. A ring is used only
//! after it was proved ([`super::prove`]). Pure, and symmetric in its two cards, so that both
//! sides try the same.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::card::{Card, Sharing};

/// What the user asked for (`--path`, `COHOST_PATH`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PathPolicy {
    /// Rings where memory can be shared, TCP elsewhere.
    #[default]
    Auto,
    /// Rings; a pair that cannot share memory is an error.
    Ring,
    /// TCP for every pair.
    Tcp,
}

/// A word that names no path policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown path '{0}': known are auto, ring and tcp")]
pub struct UnknownPath(pub String);

impl FromStr for PathPolicy {
    type Err = UnknownPath;

    fn from_str(word: &str) -> Result<Self, UnknownPath> {
        match word {
            "auto" => Ok(Self::Auto),
            "ring" => Ok(Self::Ring),
            "tcp" => Ok(Self::Tcp),
            _ => Err(UnknownPath(word.to_owned())),
        }
    }
}

/// What to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidate {
    /// A ring in memory of this kind.
    Ring(Sharing),
    /// TCP at once.
    Tcp,
}

/// The reason when one of two ranks on one machine has no memory to share.
pub const NO_MEMORY: &str = "no shared memory could be made";

/// Why there is no ring between machines that have no region in common.
pub const NO_REGION: &str = "different machines (boot ids differ) without a region in common";

/// Whether the two ranks run on the same kernel, and no layout keeps them apart.
#[must_use]
pub fn same_machine(a: &Card, b: &Card) -> bool {
    a.host == b.host && a.boot == b.boot && !a.boot.is_empty()
}

/// The region that both have within reach; the one that both think better of, where there are
/// several.
#[must_use]
pub fn common_region(a: &Card, b: &Card) -> Option<u64> {
    let rank_of = |card: &Card, id| card.regions.iter().position(|&other| other == id);
    let both = a.regions.iter().filter_map(|&id| Some((rank_of(a, id)? + rank_of(b, id)?, id)));
    both.min().map(|(_, id)| id)
}

/// Something that only ranks of one host have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Bond {
    Layout(u32),
    Boot(String),
    Region(u64),
}

/// A layout says where its ranks are; without one, the kernel and the regions do.
fn bonds(card: &Card) -> Vec<Bond> {
    if let Some(host) = card.host {
        return vec![Bond::Layout(host)];
    }
    let regions = card.regions.iter().copied().map(Bond::Region);
    let boot = (!card.boot.is_empty()).then(|| Bond::Boot(card.boot.clone()));
    boot.into_iter().chain(regions).collect()
}

/// The host of every rank, named by its lowest rank: ranks with a bond in common share a host, and
/// so do those that share one with the same third. A guess, for dividing the work of collectives;
/// every rank comes to the same.
#[must_use]
pub fn hosts(cards: &[Card]) -> Vec<u32> {
    let bonds: Vec<Vec<Bond>> = cards.iter().map(bonds).collect();
    let mut hosts: Vec<u32> = (0..cards.len() as u32).collect();
    let mut lowest: BTreeMap<&Bond, u32> = BTreeMap::new();
    // Every round lowers a number or is the last.
    loop {
        let mut changed = false;
        for (host, bonds) in hosts.iter_mut().zip(&bonds) {
            let known = bonds.iter().filter_map(|bond| lowest.get(bond)).min();
            let least = known.copied().map_or(*host, |known| known.min(*host));
            changed |= least != *host;
            *host = least;
            for bond in bonds {
                changed |= lowest.insert(bond, least) != Some(least);
            }
        }
        if !changed {
            return hosts;
        }
    }
}

/// What to try with a peer, and why.
#[must_use]
pub fn candidate(mine: &Card, theirs: &Card, policy: PathPolicy) -> (Candidate, String) {
    let tcp = |why: &str| (Candidate::Tcp, why.to_owned());
    if policy == PathPolicy::Tcp {
        return tcp("asked for by --path tcp");
    }
    if let (Some(a), Some(b)) = (mine.host, theirs.host)
        && a != b
    {
        return tcp("different hosts of the layout");
    }
    if mine.boot == theirs.boot && !mine.boot.is_empty() {
        return within_machine(mine.sharing, theirs.sharing);
    }
    if common_region(mine, theirs).is_some() {
        return (Candidate::Ring(Sharing::Device), "a region in common".to_owned());
    }
    if let (Some(a), Some(b)) = (mine.domain, theirs.domain)
        && a != b
    {
        return (Candidate::Ring(Sharing::Xen), "domains of Xen".to_owned());
    }
    if mine.boot.is_empty() || theirs.boot.is_empty() {
        return tcp("a boot id is unknown, so nothing says that the two share a machine");
    }
    tcp(NO_REGION)
}

fn within_machine(mine: Sharing, theirs: Sharing) -> (Candidate, String) {
    let tcp = |why: &str| (Candidate::Tcp, why.to_owned());
    match (mine, theirs) {
        (Sharing::Memfd, Sharing::Memfd) => {
            (Candidate::Ring(Sharing::Memfd), "one machine, memfd".to_owned())
        }
        (Sharing::File, Sharing::File) => {
            (Candidate::Ring(Sharing::File), "one machine, file in COHOST_SHM_DIR".to_owned())
        }
        (Sharing::Nothing, _) | (_, Sharing::Nothing) => tcp(NO_MEMORY),
        _ => tcp("one rank has COHOST_SHM_DIR set and the other has not"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(host: Option<u32>, boot: &str, sharing: Sharing) -> Card {
        Card {
            epoch: 1,
            secret: [0; 16],
            mailbox: [0; 16],
            host,
            vm: None,
            boot: boot.to_owned(),
            cpus: crate::link::card::CpuSet::default(),
            cores: 2,
            sharing,
            room: None,
            regions: Vec::new(),
            domain: None,
            addresses: Vec::new(),
        }
    }

    #[test]
    fn a_ring_is_tried_on_one_machine_only() {
        use Sharing::{File, Memfd, Nothing};
        let ring =
            |a: &Card, b: &Card| matches!(candidate(a, b, PathPolicy::Auto).0, Candidate::Ring(_));
        assert!(ring(&card(None, "a", Memfd), &card(None, "a", Memfd)));
        assert!(ring(&card(Some(1), "a", File), &card(Some(1), "a", File)));
        assert!(!ring(&card(Some(1), "a", Memfd), &card(Some(0), "a", Memfd)));
        assert!(!ring(&card(None, "a", Memfd), &card(None, "b", Memfd)));
        assert!(!ring(&card(None, "", Memfd), &card(None, "", Memfd)));
        assert!(!ring(&card(None, "a", Memfd), &card(None, "a", File)));
        assert!(!ring(&card(None, "a", Nothing), &card(None, "a", Nothing)));
    }

    fn with(regions: &[u64], domain: Option<u16>, card: Card) -> Card {
        Card { regions: regions.to_vec(), domain, ..card }
    }

    #[test]
    fn between_machines_a_region_in_common_is_tried_then_grants_unless_the_layout_forbids() {
        use Sharing::{Device, Memfd, Nothing, Xen};
        let tried = |a: &Card, b: &Card| candidate(a, b, PathPolicy::Auto).0;
        let machine =
            |boot, regions: &[u64], domain| with(regions, domain, card(None, boot, Memfd));
        let (a, b) = (machine("a", &[1, 2], Some(1)), machine("b", &[3, 2], Some(2)));
        assert_eq!(tried(&a, &b), Candidate::Ring(Device));
        assert_eq!(tried(&a, &with(&[2], None, card(None, "", Nothing))), Candidate::Ring(Device));
        assert_eq!(tried(&a, &with(&[2], None, card(None, "a", Memfd))), Candidate::Ring(Memfd));
        assert_eq!(tried(&a, &machine("b", &[4], Some(2))), Candidate::Ring(Xen));
        assert_eq!(tried(&a, &machine("b", &[4], Some(1))), Candidate::Tcp, "clones");
        assert_eq!(tried(&a, &machine("b", &[], None)), Candidate::Tcp);
        let on_host = |host, card: &Card| Card { host: Some(host), ..card.clone() };
        assert_eq!(tried(&on_host(0, &a), &on_host(1, &b)), Candidate::Tcp);
        assert_eq!(tried(&on_host(1, &a), &on_host(1, &b)), Candidate::Ring(Device));
    }

    #[test]
    fn of_several_regions_both_choose_the_same() {
        let region = |ids: &[u64]| with(ids, None, card(None, "a", Sharing::Nothing));
        let chosen = |a: &[u64], b: &[u64]| common_region(&region(a), &region(b));
        assert_eq!(chosen(&[1, 2, 3], &[3, 2, 1]), chosen(&[3, 2, 1], &[1, 2, 3]));
        assert_eq!(chosen(&[9, 2], &[9, 2]), Some(9));
        assert_eq!(chosen(&[9, 2], &[1, 2]), Some(2));
        assert_eq!(chosen(&[], &[1]), None);
    }

    #[test]
    fn hosts_are_found_by_layout_kernel_and_region_whatever_the_order() {
        let machine = |boot, regions: &[u64]| with(regions, None, card(None, boot, Sharing::Memfd));
        let mut cards = vec![
            machine("a", &[1]),
            machine("b", &[2]),
            machine("c", &[2, 1]),
            machine("d", &[3]),
            machine("d", &[]),
            machine("", &[]),
            machine("", &[]),
        ];
        assert_eq!(hosts(&cards), [0, 0, 0, 3, 3, 5, 6]);
        cards.reverse();
        assert_eq!(hosts(&cards), [0, 1, 2, 2, 4, 4, 4]);
        let layout = [2, 1, 2].map(|host| with(&[7], None, card(Some(host), "a", Sharing::Memfd)));
        assert_eq!(hosts(&layout), [0, 1, 0]);
    }

    #[test]
    fn both_sides_try_the_same() {
        let kinds = [Sharing::Memfd, Sharing::File, Sharing::Nothing];
        let mut cards = Vec::new();
        for host in [None, Some(0), Some(1)] {
            for boot in ["", "a", "b"] {
                cards.extend(kinds.map(|kind| card(host, boot, kind)));
                for regions in [&[1][..], &[1, 2], &[2, 1]] {
                    cards.push(with(regions, None, card(host, boot, Sharing::Memfd)));
                }
                cards.extend([1, 2].map(|d| with(&[], Some(d), card(host, boot, Sharing::Memfd))));
            }
        }
        for a in &cards {
            for b in &cards {
                assert_eq!(
                    candidate(a, b, PathPolicy::Auto).0,
                    candidate(b, a, PathPolicy::Auto).0
                );
                assert_eq!(common_region(a, b), common_region(b, a));
                assert_eq!(candidate(a, b, PathPolicy::Tcp).0, Candidate::Tcp);
            }
        }
    }

    #[test]
    fn an_unknown_path_is_refused_with_the_list() {
        let error = "rings".parse::<PathPolicy>().unwrap_err();
        assert_eq!(error.to_string(), "unknown path 'rings': known are auto, ring and tcp");
    }
}
