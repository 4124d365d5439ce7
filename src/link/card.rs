//! What a rank publishes about itself in the launcher's key-value space, so that others can reach
//! it. One line of text without spaces, at most 1024 bytes (the limit of PMI-1).

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::str::FromStr;

/// Longest card, in bytes.
pub const CARD_MAX: usize = 1024;

/// Most regions that a card names.
pub const REGIONS_MAX: usize = 4;

const VERSION: &str = "c2";

/// Memory that ranks share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// A sealed memfd, handed over a Unix socket.
    Memfd,
    /// A file in a directory that the ranks have in common (`COHOST_SHM_DIR`).
    File,
    /// None.
    Nothing,
    /// A device that several machines of a host map ([`crate::region::device`]).
    Device,
    /// Pages that domains of a Xen host grant to each other, pair by pair.
    Xen,
}

impl Sharing {
    fn as_str(self) -> &'static str {
        match self {
            Self::Memfd => "memfd",
            Self::File => "file",
            Self::Nothing => "none",
            Self::Device => "device",
            Self::Xen => "xen",
        }
    }
}

/// A rank's card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Random, not zero: tells this life of the rank from any other.
    pub epoch: u64,
    /// What a connection must know to be let in.
    pub secret: [u8; 16],
    /// What a letter with a descriptor must carry.
    pub mailbox: [u8; 16],
    /// Host of the layout, when one was given.
    pub host: Option<u32>,
    /// Virtual machine of that host, when a layout was given.
    pub vm: Option<u32>,
    /// Boot id of the running kernel, without dashes; empty when unknown.
    pub boot: String,
    /// Processors this rank may run on.
    pub cpus: CpuSet,
    /// How many of them it may keep busy at once (a quota may allow fewer).
    pub cores: u32,
    /// Memory it can share with other processes of its machine: not a device, nor grants.
    pub sharing: Sharing,
    /// Bytes free for that, where there is a limit other than memory itself.
    pub room: Option<u64>,
    /// Ids of the device regions within its reach, best first, at most [`REGIONS_MAX`]: evidence
    /// of whom to try, since copies of a region share them.
    pub regions: Vec<u64>,
    /// Domain of Xen that it believes to be, when it can share memory by grants.
    pub domain: Option<u16>,
    /// Where it listens, best first.
    pub addresses: Vec<SocketAddr>,
}

/// A card that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the card of rank {rank} cannot be read ({why}): all ranks must run the same version of cohost"
)]
pub struct CardError {
    /// Whose card.
    pub rank: u32,
    /// Which part.
    pub why: &'static str,
}

impl Card {
    /// The card as one line. Addresses that do not fit any more are left out, the last first.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut line = format!(
            "{VERSION};{:016x};{};{};{};{};{};{};{};{};{};{};{};",
            self.epoch,
            hex(&self.secret),
            hex(&self.mailbox),
            dash(self.host),
            dash(self.vm),
            self.boot,
            self.cpus,
            self.cores,
            self.sharing.as_str(),
            dash(self.room),
            ids(&self.regions),
            dash(self.domain),
        );
        for (i, address) in self.addresses.iter().enumerate() {
            let before = line.len();
            let comma = if i == 0 { "" } else { "," };
            // Writing to a string cannot fail.
            let _ = write!(line, "{comma}{address}");
            if line.len() > CARD_MAX {
                line.truncate(before);
                break;
            }
        }
        line
    }

    /// Reads a card. Total over all texts.
    ///
    /// # Errors
    /// With the part that is wrong.
    pub fn decode(rank: u32, line: &str) -> Result<Self, CardError> {
        let wrong = |why| CardError { rank, why };
        let mut parts = line.split(';');
        let mut next = |why| parts.next().ok_or(wrong(why));
        if next("version")? != VERSION {
            return Err(wrong("version"));
        }
        let epoch = u64::from_str_radix(next("epoch")?, 16).map_err(|_| wrong("epoch"))?;
        let secret = unhex(next("secret")?).ok_or(wrong("secret"))?;
        let mailbox = unhex(next("mailbox")?).ok_or(wrong("mailbox"))?;
        let host = number(next("host")?).ok_or(wrong("host"))?;
        let vm = number(next("vm")?).ok_or(wrong("vm"))?;
        let boot = next("boot")?.to_owned();
        let cpus = next("cpus")?.parse().map_err(|()| wrong("cpus"))?;
        let cores = next("cores")?.parse().map_err(|_| wrong("cores"))?;
        let sharing = match next("sharing")? {
            "memfd" => Sharing::Memfd,
            "file" => Sharing::File,
            "none" => Sharing::Nothing,
            _ => return Err(wrong("sharing")),
        };
        let room = number(next("room")?).ok_or(wrong("room"))?;
        let regions = next("regions")?.split(',').filter(|id| !id.is_empty());
        let regions: Vec<u64> = regions
            .map(|id| u64::from_str_radix(id, 16))
            .collect::<Result<_, _>>()
            .map_err(|_| wrong("regions"))?;
        let domain = number(next("domain")?).ok_or(wrong("domain"))?;
        let list = next("addresses")?;
        let addresses = list.split(',').filter(|a| !a.is_empty()).map(str::parse);
        let addresses = addresses.collect::<Result<_, _>>().map_err(|_| wrong("addresses"))?;
        if epoch == 0 || regions.len() > REGIONS_MAX || parts.next().is_some() {
            return Err(wrong("end"));
        }
        let card = Self {
            epoch,
            secret,
            mailbox,
            host,
            vm,
            boot,
            cpus,
            cores,
            sharing,
            room,
            regions,
            domain,
            addresses,
        };
        Ok(card)
    }
}

/// A set of processors, written as the kernel does: `0-3,8`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuSet(BTreeSet<u16>);

impl CpuSet {
    /// The processors that the calling thread may run on; none when the kernel does not say.
    #[must_use]
    pub fn allowed() -> Self {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        list.and_then(|list| list.trim().parse().ok()).unwrap_or_default()
    }

    /// Number of processors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds all of another set.
    pub fn add(&mut self, other: &Self) {
        self.0.extend(&other.0);
    }
}

impl FromStr for CpuSet {
    type Err = ();

    fn from_str(list: &str) -> Result<Self, ()> {
        let mut set = BTreeSet::new();
        for part in list.split(',').filter(|part| !part.is_empty()) {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            let (low, high): (u16, u16) =
                (low.parse().map_err(|_| ())?, high.parse().map_err(|_| ())?);
            set.extend(low..=high);
        }
        Ok(Self(set))
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.iter().copied().peekable();
        let mut comma = "";
        while let Some(low) = rest.next() {
            let mut high = low;
            while rest.peek() == Some(&high.saturating_add(1)) && high < u16::MAX {
                high += 1;
                rest.next();
            }
            if low == high {
                write!(f, "{comma}{low}")?
            } else {
                write!(f, "{comma}{low}-{high}")?
            }
            comma = ",";
        }
        Ok(())
    }
}

/// Cores of this machine that the ranks with these cards can keep busy together.
#[must_use]
pub fn cores_together<'a>(cards: impl Iterator<Item = &'a Card>) -> u32 {
    let (mut all, mut quota) = (CpuSet::default(), u32::MAX);
    for card in cards {
        if (card.cores as usize) < card.cpus.len() || card.cpus.is_empty() {
            quota = quota.min(card.cores);
        }
        all.add(&card.cpus);
    }
    let known = if all.is_empty() { u32::MAX } else { all.len() as u32 };
    known.min(quota).max(1)
}

fn dash<T: ToString>(value: Option<T>) -> String {
    value.map_or("-".to_owned(), |value| value.to_string())
}

fn ids(regions: &[u64]) -> String {
    let ids: Vec<String> = regions.iter().take(REGIONS_MAX).map(|id| format!("{id:x}")).collect();
    ids.join(",")
}

fn number<T: FromStr>(text: &str) -> Option<Option<T>> {
    if text == "-" { Some(None) } else { text.parse().ok().map(Some) }
}

fn hex(bytes: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*bytes))
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(super) fn card() -> Card {
        Card {
            epoch: 7,
            secret: [1; 16],
            mailbox: [255; 16],
            host: Some(1),
            vm: None,
            boot: "0123456789abcdef".to_owned(),
            cpus: "0-1,7".parse().unwrap(),
            cores: 2,
            sharing: Sharing::Memfd,
            room: Some(1 << 40),
            regions: vec![u64::MAX, 1],
            domain: Some(7),
            addresses: vec!["127.0.0.1:80".parse().unwrap(), "[::1]:9".parse().unwrap()],
        }
    }

    #[test]
    fn a_card_survives_its_line() {
        assert_eq!(Card::decode(0, &card().encode()), Ok(card()));
    }

    #[test]
    fn ranks_pinned_to_a_core_each_have_all_their_cores_together() {
        let pinned = |cpus: &str, cores| Card { cpus: cpus.parse().unwrap(), cores, ..card() };
        let cores = |cards: &[Card]| cores_together(cards.iter());
        assert_eq!(cores(&[pinned("0", 1), pinned("1", 1)]), 2);
        assert_eq!(cores(&[pinned("0-3", 4), pinned("0-3", 4)]), 4);
        assert_eq!(cores(&[pinned("0-3", 2), pinned("0-3", 2)]), 2, "a quota");
        assert_eq!(cores(&[pinned("", 2), pinned("", 2)]), 2, "unknown");
    }

    #[test]
    fn a_card_with_many_addresses_fits_the_limit() {
        let mut many = card();
        many.regions = vec![u64::MAX; REGIONS_MAX];
        many.addresses = vec!["[2001:db8::ffff:ffff:ffff:ffff]:65535".parse().unwrap(); 100];
        let line = many.encode();
        assert!(line.len() <= CARD_MAX);
        assert!(Card::decode(0, &line).unwrap().addresses.len() > 10);
    }

    proptest! {
        #[test]
        fn any_text_is_a_card_or_an_error(text in ".{0,200}", cut in 0..200_usize) {
            let _ = Card::decode(1, &text);
            let line = card().encode();
            let cut = cut.min(line.len());
            let _ = Card::decode(1, &line[..cut]);
            let _ = Card::decode(1, &format!("{}{text}", &line[..cut]));
        }
    }
}
