//! What the firmware's DMI strings say. They can be set freely on most hypervisors, so only a
//! few of them go before the processor's own word; see [`super::verdict()`].

use super::evidence::{Dmi, Evidence};
use super::kinds::{Hypervisor, VmwareProduct};

/// A string in DMI and whose it is.
pub(super) struct Found {
    /// Whose.
    pub hypervisor: Hypervisor,
    /// The file and its content, for the list of evidence.
    pub line: String,
}

/// Beginnings of strings, in any of the fields of [`fields`].
const VENDORS: &[(&str, Hypervisor)] = &[
    ("KVM", Hypervisor::Kvm),
    ("OpenStack", Hypervisor::Kvm),
    ("KubeVirt", Hypervisor::Kvm),
    ("cloud-hypervisor", Hypervisor::CloudHypervisor),
    ("Cloud Hypervisor", Hypervisor::CloudHypervisor),
    ("Amazon EC2", Hypervisor::Nitro),
    ("QEMU", Hypervisor::Qemu),
    ("VMware", Hypervisor::Vmware),
    ("VMW", Hypervisor::Vmware),
    ("innotek GmbH", Hypervisor::VirtualBox),
    ("VirtualBox", Hypervisor::VirtualBox),
    ("Oracle Corporation", Hypervisor::VirtualBox),
    ("Xen", Hypervisor::XenDomU),
    ("Bochs", Hypervisor::Bochs),
    ("Parallels", Hypervisor::Parallels),
    ("BHYVE", Hypervisor::Bhyve),
    ("ACRN", Hypervisor::Acrn),
    ("Hyper-V", Hypervisor::HyperV),
    ("Apple Virtualization", Hypervisor::Apple),
    ("Google Compute Engine", Hypervisor::Google),
];

/// The fields that name a maker, the most telling first: the product before the vendor, since
/// KVM's product stands on QEMU as the vendor.
fn fields(dmi: &Dmi) -> impl Iterator<Item = (&'static str, &str)> {
    [
        ("product_name", &dmi.product_name),
        ("sys_vendor", &dmi.sys_vendor),
        ("board_vendor", &dmi.board_vendor),
        ("board_name", &dmi.board_name),
        ("bios_vendor", &dmi.bios_vendor),
        ("product_version", &dmi.product_version),
        ("chassis_vendor", &dmi.chassis_vendor),
    ]
    .into_iter()
    .filter_map(|(name, reading)| Some((name, reading.text()?)))
}

/// Whether any DMI string was readable.
pub(super) fn is_readable(dmi: &Dmi) -> bool {
    fields(dmi).next().is_some()
}

/// The hypervisor that the strings name, if any, after sorting out the makers who also sell
/// real machines.
pub(super) fn vendor(evidence: &Evidence) -> Option<Found> {
    let dmi = &evidence.dmi;
    let by_table = fields(dmi).find_map(|(name, text)| {
        let &(_, hypervisor) = VENDORS.iter().find(|(start, _)| text.starts_with(start))?;
        Some(Found { hypervisor, line: format!("DMI {name}: {text:?}") })
    });
    match by_table {
        Some(found) if is_real_machine(evidence, &found) => None,
        Some(found) => Some(found),
        None => microsoft(evidence),
    }
}

/// Makers of hypervisors whose strings also stand on real machines.
fn is_real_machine(evidence: &Evidence, found: &Found) -> bool {
    let denies_vm = evidence.hypervisor_bit() == Some(false);
    match found.hypervisor {
        // Bare-metal instances carry the same vendor. SMBIOS tells them apart where it is
        // readable, the product name where not.
        Hypervisor::Nitro => match evidence.dmi.smbios_vm_bit {
            Some(is_vm) => !is_vm,
            None => is_metal_product(evidence.dmi.product_name.text().unwrap_or_default()),
        },
        Hypervisor::Google => denies_vm,
        // Oracle sells servers; VirtualBox also names itself somewhere.
        Hypervisor::VirtualBox if found.line.contains("Oracle Corporation") => {
            let named = fields(&evidence.dmi).any(|(_, text)| {
                text.starts_with("VirtualBox") || text.starts_with("innotek GmbH")
            });
            !named && evidence.hypervisor_bit() != Some(true)
        }
        _ => false,
    }
}

/// "c5.metal", "m7g.metal-24xl".
fn is_metal_product(product: &str) -> bool {
    product.split_once(".metal").is_some_and(|(_, rest)| rest.is_empty() || rest.starts_with('-'))
}

/// Microsoft's strings name the maker of Surface computers too: only its product name
/// "Virtual Machine" counts, and without the processor's signature it is the older Virtual PC.
fn microsoft(evidence: &Evidence) -> Option<Found> {
    let vendor = evidence.dmi.sys_vendor.text()?;
    let product = evidence.dmi.product_name.text()?;
    if !vendor.starts_with("Microsoft Corporation") || product != "Virtual Machine" {
        return None;
    }
    let hypervisor = match evidence.hypervisor_bit() {
        Some(false) => Hypervisor::VirtualPc,
        Some(true) | None => Hypervisor::HyperV,
    };
    Some(Found {
        hypervisor,
        line: format!("DMI sys_vendor and product_name: {vendor:?}, {product:?}"),
    })
}

/// Which VMware product, where a DMI string says so; current ones mostly do not.
pub(super) fn vmware_product(dmi: &Dmi) -> Option<(VmwareProduct, String)> {
    const PRODUCTS: &[(&str, VmwareProduct)] = &[
        ("ESX", VmwareProduct::Esx),
        ("Fusion", VmwareProduct::Fusion),
        ("Workstation", VmwareProduct::Workstation),
        ("VMware Server", VmwareProduct::Workstation),
        ("GSX", VmwareProduct::Workstation),
        ("VMware Player", VmwareProduct::Workstation),
    ];
    let more = [
        ("product_family", &dmi.product_family),
        ("bios_version", &dmi.bios_version),
        ("chassis_asset_tag", &dmi.chassis_asset_tag),
    ];
    let more = more.into_iter().filter_map(|(name, reading)| Some((name, reading.text()?)));
    fields(dmi).chain(more).find_map(|(name, text)| {
        let &(_, product) = PRODUCTS.iter().find(|(part, _)| text.contains(part))?;
        Some((product, format!("DMI {name}: {text:?}")))
    })
}

/// The virtual-machine bit of a raw SMBIOS type 0 structure (SMBIOS 3.4, 7.1.2.2): bit 4 of the
/// second extension byte, at offset 0x13; none when the structure is too short to have it.
pub(super) fn smbios_vm_bit(raw: &[u8]) -> Option<bool> {
    const OFFSET: usize = 0x13;
    let length = usize::from(*raw.get(1)?);
    if length <= OFFSET {
        return None;
    }
    raw.get(OFFSET).map(|byte| byte & 0x10 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metal_products_are_told_from_others() {
        assert!(is_metal_product("c5.metal"));
        assert!(is_metal_product("m7g.metal-24xl"));
        assert!(!is_metal_product("c5.large"));
        assert!(!is_metal_product("c5.metallic"));
    }

    #[test]
    fn the_vm_bit_needs_a_structure_that_has_it() {
        let mut raw = vec![0_u8; 24];
        raw[0x13] = 0x1c;
        raw[1] = 0x18;
        assert_eq!(smbios_vm_bit(&raw), Some(true));
        raw[0x13] = 0x0c;
        assert_eq!(smbios_vm_bit(&raw), Some(false));
        raw[1] = 0x13;
        assert_eq!(smbios_vm_bit(&raw), None);
        assert_eq!(smbios_vm_bit(&raw[..1]), None);
        assert_eq!(smbios_vm_bit(&[0, 0xff, 0]), None);
    }
}
