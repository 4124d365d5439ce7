//! The processor's own word: CPUID leaf 1 and the leaves reserved for hypervisors.

use serde::{Deserialize, Serialize};

/// What CPUID says about a hypervisor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cpuid {
    /// Leaf 1, ECX bit 31: a hypervisor admits to being there.
    pub hypervisor_bit: bool,
    /// The signatures found at 0x4000_0000, 0x4000_0100 and so on, in order. A hypervisor that
    /// poses as another for the guest's sake keeps its own signature in the second place.
    pub leaves: Vec<HypervisorLeaf>,
}

/// One signature.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HypervisorLeaf {
    /// The leaf.
    pub base: u32,
    /// EAX: the highest leaf of this set.
    pub max: u32,
    /// EBX, ECX, EDX as twelve bytes of text, NULs at the end dropped.
    pub vendor: String,
    /// EAX of the next leaf: the interface, as "Hv#1" (0x3123_7648) or KVM's features.
    pub interface: u32,
    /// EBX of `base + 3`, when the interface is "Hv#1": bit 0 marks a root partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privileges: Option<u32>,
}

/// "Hv#1" in EAX: the interface of Hyper-V.
pub(super) const HYPERV_INTERFACE: u32 = 0x3123_7648;

/// The text of a signature: printable characters as they are, others as U+FFFD.
fn signature(ebx: u32, ecx: u32, edx: u32) -> String {
    let bytes: Vec<u8> = [ebx, ecx, edx].into_iter().flat_map(u32::to_le_bytes).collect();
    let text: String = bytes
        .iter()
        .map(|&byte| match byte {
            0 | b' '..=b'~' => char::from(byte),
            _ => char::REPLACEMENT_CHARACTER,
        })
        .collect();
    text.trim_end_matches('\0').to_owned()
}

/// Assembles the evidence from a function that answers CPUID: (leaf) -> EAX, EBX, ECX, EDX.
fn read(mut ask: impl FnMut(u32) -> [u32; 4]) -> Cpuid {
    const FIRST: u32 = 0x4000_0000;
    const STEP: u32 = 0x100;
    const PLACES: u32 = 16;

    let hypervisor_bit = ask(1)[2] >> 31 == 1;
    let mut leaves: Vec<HypervisorLeaf> = Vec::new();
    // Without the bit these leaves answer with those of another leaf on some processors.
    let places = if hypervisor_bit { PLACES } else { 0 };
    for base in (0..places).map(|place| FIRST + place * STEP) {
        let [max, ebx, ecx, edx] = ask(base);
        let vendor = signature(ebx, ecx, edx);
        let plausible = max == 0 || (base..base + STEP).contains(&max);
        let silent = vendor.is_empty() && base != FIRST;
        let again = leaves.iter().any(|leaf| leaf.vendor == vendor);
        let garbled = base != FIRST && (!plausible || vendor.contains(char::REPLACEMENT_CHARACTER));
        if silent || again || garbled {
            continue;
        }
        let interface = if max > base { ask(base + 1)[0] } else { 0 };
        let hyperv = interface == HYPERV_INTERFACE && max >= base + 3;
        leaves.push(HypervisorLeaf {
            base,
            max,
            vendor,
            interface,
            privileges: hyperv.then(|| ask(base + 3)[1]),
        });
    }
    Cpuid { hypervisor_bit, leaves }
}

#[cfg(target_arch = "x86_64")]
impl Cpuid {
    /// Asks this processor.
    pub fn gather() -> Option<Cpuid> {
        use std::arch::x86_64::__cpuid;
        Some(read(|leaf| {
            // Unsafe up to Rust 1.93, safe since: both must compile.
            #[allow(unused_unsafe)]
            // SAFETY: every x86-64 processor has CPUID, it answers any leaf and changes no memory.
            let answer = unsafe { __cpuid(leaf) };
            [answer.eax, answer.ebx, answer.ecx, answer.edx]
        }))
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Cpuid {
    /// There is no CPUID on this processor.
    pub fn gather() -> Option<Cpuid> {
        let _ = read;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> [u32; 3] {
        let mut bytes = [0_u8; 12];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        [word(0), word(4), word(8)]
    }

    fn answer(max: u32, text: &str) -> [u32; 4] {
        let [b, c, d] = words(text);
        [max, b, c, d]
    }

    #[test]
    fn a_second_signature_behind_hyperv_is_found() {
        let cpuid = read(|leaf| match leaf {
            1 => [0, 0, 1 << 31, 0],
            0x4000_0000 => answer(0x4000_0005, "Microsoft Hv"),
            0x4000_0001 => [HYPERV_INTERFACE, 0, 0, 0],
            0x4000_0003 => [0, 1, 0, 0],
            0x4000_0100 => answer(0x4000_0101, "KVMKVMKVM"),
            _ => [0; 4],
        });
        let vendors: Vec<&str> = cpuid.leaves.iter().map(|l| l.vendor.as_str()).collect();
        assert_eq!(vendors, ["Microsoft Hv", "KVMKVMKVM"]);
        assert_eq!(cpuid.leaves[0].privileges, Some(1));
        assert_eq!(cpuid.leaves[1].base, 0x4000_0100);
    }

    #[test]
    fn without_the_bit_the_hypervisor_leaves_are_not_believed() {
        let cpuid = read(|leaf| match leaf {
            1 => [0; 4],
            _ => answer(0x4000_0000, "KVMKVMKVM"),
        });
        assert_eq!(cpuid, Cpuid::default());
    }

    #[test]
    fn a_processor_that_answers_garbage_everywhere_gives_one_leaf() {
        let cpuid = read(|_| [u32::MAX; 4]);
        assert!(cpuid.hypervisor_bit);
        assert_eq!(cpuid.leaves.len(), 1);
    }

    #[test]
    fn a_silent_hypervisor_still_leaves_its_empty_signature() {
        let cpuid = read(|leaf| if leaf == 1 { [0, 0, 1 << 31, 0] } else { [0; 4] });
        assert_eq!(cpuid.leaves.len(), 1);
        assert_eq!(cpuid.leaves[0].vendor, "");
    }
}
