//! Guests of Xen, in a file of their own since they take longer than the others.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod lab_common;

use cohost_lab::{Hypervisor, LabOptions};
use lab_common::{alone, sh, up, verdict};

#[test]
fn xen_boots_two_guests_with_the_devices_for_grants_and_events() {
    let _alone = alone();
    let name = "xen_boots_two_guests_with_the_devices_for_grants_and_events";
    let options = LabOptions::new(Hypervisor::Xen, 1, 2);
    let Some(lab) = up(name, &options) else {
        return;
    };
    let [a, b] = lab.guests() else { panic!("{name}: not two guests") };
    for guest in [a, b] {
        assert_eq!(verdict(guest), "xen-domu", "{}", guest.label());
        sh(guest, "ls /dev/xen/gntalloc /dev/xen/gntdev /dev/xen/evtchn /dev/xen/xenbus");
        assert_eq!(sh(guest, "hostname").trim(), guest.name());
    }
    sh(a, &format!("ping -c 1 -W 60 {}", b.address()));
    assert!(b.log().contains("COHOST-BOOTED"), "{}: {}", b.label(), b.log());
    b.stop();
    assert!(!b.is_running() && a.is_running(), "only {} was stopped", b.label());
    sh(a, "true");
}
