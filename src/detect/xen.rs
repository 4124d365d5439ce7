//! Xen's own marks: whether it is there, dom0 or DomU, and how the guest is virtualised.

use super::evidence::Evidence;
use super::kinds::{Hypervisor, XenGuest};

// xen/include/public/features.h
const XENFEAT_WRITABLE_PAGE_TABLES: u64 = 1 << 0;
const XENFEAT_AUTO_TRANSLATED_PHYSMAP: u64 = 1 << 2;
const XENFEAT_DOM0: u64 = 1 << 11;

/// Why Xen is believed to be there, from what the kernel's own Xen code exports. CPUID is not
/// asked: a paravirtual guest sees that of whatever Xen itself runs on.
pub(super) fn presence(evidence: &Evidence) -> Option<String> {
    if evidence.hypervisor.kind.text() == Some("xen") {
        return Some("/sys/hypervisor/type: \"xen\"".to_owned());
    }
    evidence.xen.proc_xen.then(|| "/proc/xen is there".to_owned())
}

fn features(evidence: &Evidence) -> Option<u64> {
    let text = evidence.xen.features.text()?.trim();
    u64::from_str_radix(text.trim_start_matches("0x"), 16).ok()
}

/// dom0 or DomU, and the line that says so.
pub(super) fn domain(evidence: &Evidence) -> (Hypervisor, String) {
    if let Some(bits) = features(evidence) {
        let (which, word) = if bits & XENFEAT_DOM0 != 0 {
            (Hypervisor::XenDom0, "set")
        } else {
            (Hypervisor::XenDomU, "not set")
        };
        let line =
            format!("/sys/hypervisor/properties/features {bits:08x}: XENFEAT_dom0 is {word}");
        return (which, line);
    }
    match evidence.xen.capabilities.text() {
        Some(text) if text.split([',', '\n']).any(|c| c.trim() == "control_d") => {
            (Hypervisor::XenDom0, "/proc/xen/capabilities has control_d".to_owned())
        }
        Some(_) => (Hypervisor::XenDomU, "/proc/xen/capabilities has no control_d".to_owned()),
        None => (
            Hypervisor::XenDomU,
            "no mark of dom0: neither features nor capabilities name it".to_owned(),
        ),
    }
}

/// How the guest is virtualised, where the evidence shows it, and the line that says so.
pub(super) fn guest(evidence: &Evidence) -> Option<(XenGuest, String)> {
    if let Some(text) = evidence.xen.guest_type.text() {
        let kind = match text.trim() {
            "PV" => Some(XenGuest::Pv),
            "HVM" => Some(XenGuest::Hvm),
            "PVH" => Some(XenGuest::Pvh),
            _ => None,
        };
        if let Some(kind) = kind {
            return Some((kind, format!("/sys/hypervisor/guest_type: {text:?}")));
        }
    }
    let product = evidence.dmi.product_name.text().unwrap_or_default();
    if product.starts_with("HVM domU") {
        return Some((XenGuest::Hvm, format!("DMI product_name: {product:?}")));
    }
    // Kernels before 4.13 have no guest_type. A paravirtual guest manages page tables itself; a
    // translated one without firmware strings was started without firmware.
    let bits = features(evidence)?;
    let translated = bits & XENFEAT_AUTO_TRANSLATED_PHYSMAP != 0;
    let kind = match (translated, bits & XENFEAT_WRITABLE_PAGE_TABLES != 0) {
        (false, _) => XenGuest::Pv,
        (true, false) => return None,
        (true, true) if product.is_empty() => XenGuest::Pvh,
        (true, true) => return None,
    };
    let state = if translated { "translated" } else { "its own" };
    Some((kind, format!("/sys/hypervisor/properties/features {bits:08x}: page tables are {state}")))
}
