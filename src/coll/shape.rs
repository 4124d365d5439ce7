//! Who takes part in a collective, and which ranks share a host.

/// The ranks of a communicator by host, as one of them sees it. Built once per communicator, so that
/// starting a collective allocates nothing.
///
/// `hosts` and `cores_per_host` must be the same at every rank: the choice of the algorithm depends on
/// them, and ranks that choose differently wait for each other for ever.
#[derive(Clone, Debug)]
pub struct Shape {
    rank: u32,
    hosts: Vec<u32>,
    crowded: bool,
    /// All ranks, those of one host next to each other; hosts in the order of their lowest rank.
    by_host: Vec<u32>,
    /// First position of each host in `by_host`, and the number of ranks as a last entry.
    starts: Vec<u32>,
    /// For each host its lowest rank.
    leaders: Vec<u32>,
    /// For each rank the number of its host, counted in the order of `leaders`.
    host_number: Vec<u32>,
}

impl Shape {
    /// The shape as seen by `rank`; `hosts[r]` names the host of rank `r`, by any number.
    /// `cores_per_host` is the least number of cores that any host offers to this job, if known.
    ///
    /// A `rank` outside `hosts` is a mistake of the caller and makes every schedule meaningless.
    pub fn new(rank: u32, hosts: &[u32], cores_per_host: Option<u32>) -> Shape {
        debug_assert!((rank as usize) < hosts.len());
        let ranks = 0..u32::try_from(hosts.len()).unwrap_or(u32::MAX);
        let mut numbers = std::collections::HashMap::new();
        let mut leaders = Vec::new();
        let mut host_number = Vec::with_capacity(hosts.len());
        for (r, host) in ranks.clone().zip(hosts) {
            let next = u32::try_from(leaders.len()).unwrap_or(u32::MAX);
            let number = *numbers.entry(*host).or_insert(next);
            if number == next {
                leaders.push(r);
            }
            host_number.push(number);
        }
        let mut by_host: Vec<u32> = ranks.collect();
        by_host.sort_by_key(|&r| (host_number[r as usize], r));
        let mut starts = vec![0; leaders.len() + 1];
        for number in &host_number {
            starts[*number as usize + 1] += 1;
        }
        for i in 1..starts.len() {
            starts[i] += starts[i - 1];
        }
        let most = starts.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0);
        let crowded = cores_per_host.is_some_and(|cores| most > cores);
        Shape { rank, hosts: hosts.to_vec(), crowded, by_host, starts, leaders, host_number }
    }

    /// This rank.
    pub fn rank(&self) -> u32 {
        self.rank
    }

    /// Number of ranks.
    pub fn size(&self) -> u32 {
        self.by_host.len() as u32
    }

    /// The host of each rank, as given.
    pub fn hosts(&self) -> &[u32] {
        &self.hosts
    }

    /// Number of hosts.
    pub fn host_count(&self) -> u32 {
        self.leaders.len() as u32
    }

    /// Whether some host has more ranks than cores, so that each round of messages costs context switches.
    pub fn crowded(&self) -> bool {
        self.crowded
    }

    /// Whether there are several hosts and some host has several ranks, so that two levels can pay.
    pub fn two_levels(&self) -> bool {
        self.leaders.len() > 1 && self.leaders.len() < self.by_host.len()
    }

    /// Whether the ranks of every host follow each other, so that going by host keeps the order of ranks.
    pub fn contiguous(&self) -> bool {
        self.by_host.iter().zip(0..).all(|(&r, i)| r == i)
    }

    /// All ranks, those of one host next to each other.
    pub(super) fn by_host(&self) -> &[u32] {
        &self.by_host
    }

    /// The lowest rank of each host.
    pub(super) fn leaders(&self) -> &[u32] {
        &self.leaders
    }

    /// The number of a rank's host, in the order of `leaders`.
    pub(super) fn host_of(&self, rank: u32) -> u32 {
        self.host_number[rank as usize]
    }

    /// Positions in `by_host` of the ranks of a host.
    pub(super) fn positions(&self, host: u32) -> std::ops::Range<usize> {
        self.starts[host as usize] as usize..self.starts[host as usize + 1] as usize
    }

    /// The ranks of a host, ascending.
    pub(super) fn members(&self, host: u32) -> &[u32] {
        &self.by_host[self.positions(host)]
    }
}
