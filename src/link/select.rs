//! Which path to try with a peer, from what both published: evidence only. A ring is used only
//! after it was proved ([`super::prove`]). Pure, and symmetric in its two cards, so that both
//! sides try the same.

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

/// Whether the two ranks may share a host by what they published: the same host of a layout and
/// the same running kernel. Also groups ranks for collectives.
#[must_use]
pub fn same_host(a: &Card, b: &Card) -> bool {
    a.host == b.host && a.boot == b.boot && !a.boot.is_empty()
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
    if mine.boot.is_empty() || theirs.boot.is_empty() {
        return tcp("a boot id is unknown, so nothing says that the two share a machine");
    }
    if mine.boot != theirs.boot {
        return tcp("different machines (boot ids differ) without a region in common");
    }
    match (mine.sharing, theirs.sharing) {
        (Sharing::Memfd, Sharing::Memfd) => {
            (Candidate::Ring(Sharing::Memfd), "one machine, memfd".to_owned())
        }
        (Sharing::File, Sharing::File) => {
            (Candidate::Ring(Sharing::File), "one machine, file in COHOST_SHM_DIR".to_owned())
        }
        (Sharing::Nothing, _) | (_, Sharing::Nothing) => tcp("no shared memory could be made"),
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

    #[test]
    fn both_sides_try_the_same() {
        let kinds = [Sharing::Memfd, Sharing::File, Sharing::Nothing];
        let mut cards = Vec::new();
        for host in [None, Some(0), Some(1)] {
            for boot in ["", "a", "b"] {
                cards.extend(kinds.map(|kind| card(host, boot, kind)));
            }
        }
        for a in &cards {
            for b in &cards {
                assert_eq!(
                    candidate(a, b, PathPolicy::Auto).0,
                    candidate(b, a, PathPolicy::Auto).0
                );
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
