//! The verdict over captured and constructed evidence, and gathering from hostile trees.

use std::fs;
use std::path::{Path, PathBuf};

use cohost::detect::{
    Container, ContainerMarks, Cpuid, DeviceTree, Dmi, Evidence, Hypervisor, HypervisorFiles,
    HypervisorLeaf, Namespaces, PciId, ProcFiles, Reading, Surroundings, Verdict, XenFiles,
    verdict,
};
use proptest::prelude::*;
use serde::Deserialize;

/// One file of `tests/fixtures/detect`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    about: String,
    origin: Origin,
    expect: Expectation,
    evidence: Evidence,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Origin {
    Captured,
    Documentation,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    hypervisor: String,
    outer: Option<String>,
    xen: Option<String>,
    vmware: Option<String>,
    unknown_vendor: Option<String>,
    container: Option<String>,
    /// A part of the decisive line.
    because: String,
    /// Parts of lines, one for each line that contradicts.
    #[serde(default)]
    against: Vec<String>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/detect")
}

fn load(name: &str) -> Fixture {
    let path = folder().join(format!("{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn judge(name: &str) -> Verdict {
    verdict(&load(name).evidence)
}

fn check(name: &str) {
    let fixture = load(name);
    assert!(!fixture.about.is_empty());
    let want = &fixture.expect;
    let got = verdict(&fixture.evidence);
    assert_eq!(got.hypervisor.as_str(), want.hypervisor, "{name}: {got:#?}");
    let id = |one: Option<&'static str>| one.map(str::to_owned);
    let outer = id(got.outer.map(Hypervisor::as_str));
    let xen = id(got.xen.map(|x| x.as_str()));
    let vmware = id(got.vmware.map(|v| v.as_str()));
    let container = id(got.container.map(Container::as_str));
    assert_eq!(outer, want.outer, "{name}: {got:#?}");
    assert_eq!(xen, want.xen, "{name}: {got:#?}");
    assert_eq!(vmware, want.vmware, "{name}: {got:#?}");
    assert_eq!(container, want.container, "{name}: {got:#?}");
    assert_eq!(got.unknown_vendor, want.unknown_vendor, "{name}: {got:#?}");
    let decisive = got.because.first().expect("a verdict has a reason");
    assert!(decisive.contains(&want.because), "{name}: {got:#?}");
    let fits = got.against.len() == want.against.len()
        && want.against.iter().all(|part| got.against.iter().any(|line| line.contains(part)));
    assert!(fits, "{name}: {got:#?}");
}

/// One test per fixture, and the list of them.
macro_rules! fixtures {
    ($($name:ident)*) => {
        $(#[test] fn $name() { check(&stringify!($name).replace('_', "-")); })*
        const FIXTURES: &[&str] = &[$(stringify!($name)),*];
    };
}

fixtures! {
    acrn apple apple_intel bare_metal bare_metal_amazon bare_metal_ibm_z bare_metal_oracle bhyve
    bochs cloud_hypervisor cloud_hypervisor_mshv container_other container_other_named docker
    docker_cgroup firecracker google hyper_v hyper_v_arm hyper_v_root jailhouse jailhouse_arm
    jailhouse_root kubernetes kvm kvm_arm kvm_hyperv_enlightened kvm_ibm_z kvm_linux_hv
    kvm_power lguest linux_vserver linux_vserver_host linux_vserver_old lxc lxc_cgroup
    lxc_libvirt nitro nitro_arm openvz openvz_host parallels parallels_hyperv podman
    podman_variable pouch powervm proot qemu qemu_arm qemu_as_hyper_v qemu_as_vmware qemu_power
    qemu_tcg qemu_tcg_as_parallels qemu_tcg_as_virtualbox qemu_tcg_as_vmware qemu_tcg_silent
    qemu_tcg_unsigned qnx rkt sre systemd_nspawn uml uml_nested unknown unknown_firmware
    unknown_silent virtual_pc virtualbox virtualbox_own_signature vmware vmware_efi vmware_esx
    vmware_fusion vmware_server vmware_workstation wsl wsl_first xen_dom0 xen_dom0_nested
    xen_domu_arm xen_domu_hvm xen_domu_pv xen_domu_pvh xen_domu_viridian z_vm
}

#[test]
fn every_fixture_file_has_its_test() {
    let mut files: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| Some(name.strip_suffix(".json")?.replace('-', "_")))
        .collect();
    files.sort();
    let mut tests: Vec<String> = FIXTURES.iter().map(|name| (*name).to_owned()).collect();
    tests.sort();
    assert_eq!(files, tests);
}

#[test]
fn every_hypervisor_and_container_has_a_fixture() {
    let verdicts: Vec<Verdict> =
        FIXTURES.iter().map(|name| judge(&name.replace('_', "-"))).collect();
    for &one in Hypervisor::ALL {
        let there = verdicts.iter().any(|v| v.hypervisor == one);
        assert!(there, "no fixture for {}", one.as_str());
    }
    for &one in Container::ALL {
        let there = verdicts.iter().any(|v| v.container == Some(one));
        assert!(there, "no fixture for {}", one.as_str());
    }
}

#[test]
fn the_readme_says_which_fixtures_were_captured() {
    let readme = fs::read_to_string(folder().join("README.md")).unwrap();
    let (captured, documented) = readme
        .split_once("## Written from documentation")
        .expect("the README has a section on documentation");
    for name in FIXTURES.iter().map(|name| name.replace('_', "-")) {
        let place = match load(&name).origin {
            Origin::Captured => captured,
            Origin::Documentation => documented,
        };
        assert!(place.contains(&format!("`{name}`")), "{name}");
    }
}

// --- look-alikes, each made from a fixture by changing what an imitation would change ---------

#[test]
fn vmwares_dmi_does_not_hide_the_signature_of_tcg() {
    let mut evidence = load("qemu-tcg").evidence;
    evidence.dmi = load("vmware").evidence.dmi;
    let got = verdict(&evidence);
    assert_eq!(got.hypervisor, Hypervisor::QemuTcg);
    assert!(got.against.iter().any(|line| line.contains("VMware")));
}

#[test]
fn virtualboxes_dmi_goes_before_cpuid_and_tcg_is_listed_against_it() {
    let mut evidence = load("qemu-tcg").evidence;
    evidence.dmi = load("virtualbox").evidence.dmi;
    let got = verdict(&evidence);
    assert_eq!(got.hypervisor, Hypervisor::VirtualBox);
    assert!(got.against.iter().any(|line| line.contains("TCGTCG")));
}

#[test]
fn microsofts_dmi_over_the_signature_of_kvm_is_kvm_and_contradicted() {
    let mut evidence = load("kvm").evidence;
    evidence.dmi = load("hyper-v").evidence.dmi;
    let got = verdict(&evidence);
    assert_eq!(got.hypervisor, Hypervisor::Kvm);
    assert!(got.against.iter().any(|line| line.contains("Hyper-V")));
}

#[test]
fn hypervs_signature_alone_is_hyperv_but_not_with_qemus_dmi() {
    let mut evidence = Evidence { cpuid: load("hyper-v").evidence.cpuid, ..Evidence::default() };
    assert_eq!(verdict(&evidence).hypervisor, Hypervisor::HyperV);
    evidence.dmi.sys_vendor = Reading::Text("QEMU".into());
    assert_eq!(verdict(&evidence).hypervisor, Hypervisor::Qemu);
}

#[test]
fn a_xen_guest_without_xenfs_is_not_judged_by_the_cpuid_of_its_host() {
    let mut evidence = load("xen-domu-pv").evidence;
    evidence.xen.proc_xen = false;
    evidence.xen.capabilities = Reading::Missing;
    let got = verdict(&evidence);
    assert_eq!(got.hypervisor, Hypervisor::XenDomU);
    assert_eq!(got.outer, Some(Hypervisor::QemuTcg));
}

#[test]
fn dom0_is_known_by_its_capabilities_when_features_are_missing() {
    let mut evidence = load("xen-dom0").evidence;
    evidence.xen.features = Reading::not_readable("Permission denied");
    assert_eq!(verdict(&evidence).hypervisor, Hypervisor::XenDom0);
    evidence.xen.capabilities = Reading::Text("control_domain_not".into());
    assert_eq!(verdict(&evidence).hypervisor, Hypervisor::XenDomU);
}

#[test]
fn a_container_in_a_virtual_machine_is_both() {
    let mut evidence = load("vmware").evidence;
    evidence.container = load("podman").evidence.container;
    let got = verdict(&evidence);
    assert_eq!(got.hypervisor, Hypervisor::Vmware);
    assert_eq!(got.container, Some(Container::Podman));
}

#[test]
fn a_docker_mark_on_a_virtual_disk_is_named_as_what_it_is() {
    let mut evidence = load("firecracker").evidence;
    assert_eq!(verdict(&evidence).container, None);
    // The same mark in a namespace of its own is a container.
    evidence.namespaces.0.insert("pid".into(), 4_026_532_201);
    assert_eq!(verdict(&evidence).container, Some(Container::Docker));
}

#[test]
fn no_evidence_at_all_is_unknown_and_not_bare_metal() {
    let got = verdict(&Evidence::default());
    assert_eq!(got.hypervisor, Hypervisor::Unknown);
    assert_eq!(got.unknown_vendor, None);
    assert_eq!(got.because.len(), 1);
}

#[test]
fn unreadable_files_are_recorded_and_do_not_change_the_verdict() {
    let mut evidence = load("kvm").evidence;
    evidence.dmi.sys_vendor = Reading::not_readable("Permission denied");
    evidence.dmi.product_name = Reading::not_readable("Permission denied");
    assert_eq!(verdict(&evidence).hypervisor, Hypervisor::Kvm);
    let text = serde_json::to_string(&evidence).unwrap();
    assert!(text.contains(r#""sys_vendor":{"not_readable":"Permission denied"}"#));
}

#[test]
fn evidence_survives_being_saved() {
    for name in FIXTURES {
        let evidence = load(&name.replace('_', "-")).evidence;
        let text = serde_json::to_string(&evidence).unwrap();
        let again: Evidence = serde_json::from_str(&text).unwrap();
        assert_eq!(evidence, again, "{name}");
    }
}

// --- gathering --------------------------------------------------------------------------------

fn put(root: &Path, path: &str, bytes: &[u8]) {
    let full = root.join(path);
    let parent = full.parent().expect("a path below the root");
    fs::create_dir_all(parent).expect("a folder of the test's own");
    fs::write(full, bytes).expect("a file of the test's own");
}

#[test]
fn an_empty_tree_gives_empty_evidence() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Evidence::gather_from(dir.path()), Evidence::default());
    assert!(Surroundings::look_from(dir.path()).interfaces.is_empty());
    let nowhere = dir.path().join("nowhere");
    assert_eq!(Evidence::gather_from(&nowhere), Evidence::default());
}

#[test]
fn a_tree_of_user_mode_linux_is_gathered_and_judged() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    put(root, "proc/cpuinfo", b"processor\t: 0\nvendor_id\t: User Mode Linux\n");
    put(root, "dev/mmapper", b"");
    let evidence = Evidence::gather_from(root);
    assert_eq!(verdict(&evidence).hypervisor, Hypervisor::UserModeLinux);
    assert_eq!(Surroundings::look_from(root).regions.len(), 1);
}

#[test]
fn of_the_first_processs_environment_only_the_container_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "proc/1/environ", b"TOKEN=hunter2\0container=lxc\0A=b\0");
    let evidence = Evidence::gather_from(dir.path());
    let text = serde_json::to_string(&evidence).unwrap();
    assert!(!text.contains("hunter2"));
    assert_eq!(verdict(&evidence).container, Some(Container::Lxc));
}

#[test]
fn a_tree_of_xen_and_a_device_tree_are_read_whole() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    put(root, "sys/hypervisor/type", b"xen\n");
    put(root, "sys/hypervisor/version/major", b"4\n");
    put(root, "sys/hypervisor/version/minor", b"17\n");
    put(root, "sys/hypervisor/version/extra", b".3\n");
    put(root, "sys/hypervisor/properties/features", b"00000705\n");
    put(root, "proc/device-tree/compatible", b"xen,xenvm-4.17\0xen,xenvm\0");
    put(root, "proc/device-tree/fw-cfg@9020000/reg", b"");
    put(root, "sys/bus/pci/devices/0000:00:01.0/vendor", b"0x1af4\n");
    put(root, "sys/bus/pci/devices/0000:00:01.0/device", b"0x1110\n");
    let evidence = Evidence::gather_from(root);
    assert_eq!(evidence.xen.version.text(), Some("4.17.3"));
    assert_eq!(evidence.device_tree.compatible.text(), Some("xen,xenvm-4.17\0xen,xenvm"));
    assert!(evidence.device_tree.fw_cfg);
    assert_eq!(evidence.pci.len(), 1);
    assert_eq!(verdict(&evidence).hypervisor, Hypervisor::XenDomU);
}

#[test]
fn this_machine_gets_the_same_verdict_twice_with_a_reason() {
    let evidence = Evidence::gather();
    let first = verdict(&evidence);
    assert!(!first.because.is_empty());
    assert_eq!(first, verdict(&evidence));
    assert_eq!(first.hypervisor, verdict(&Evidence::gather()).hypervisor);
}

// --- totality ---------------------------------------------------------------------------------

/// Text that is often nearly right: pieces of what the verdict looks for, and noise.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "KVM",
            "QEMU",
            "xen",
            "1",
            "0",
            ":",
            "\0",
            "\n",
            " - ",
            ",",
            "\t",
            " ",
            ".metal",
            "User Mode Linux",
            "vendor_id",
            "flags",
            "hypervisor",
            "control_d",
            "PVH",
            "00000800",
            "VM00 Control Program",
            "z/VM",
            "linux,kvm",
            "VxID",
            "envID",
            "Microsoft",
            "/docker/",
            "Amazon EC2",
            "Oracle Corporation",
            "DSDT ",
            "FIRECK",
            "overlay",
            "/dev/",
            "oci",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn reading() -> impl Strategy<Value = Reading> {
    prop_oneof![
        Just(Reading::Missing),
        text().prop_map(Reading::Text),
        text().prop_map(|why| Reading::not_readable(&why)),
    ]
}

fn leaf() -> impl Strategy<Value = HypervisorLeaf> {
    let numbers = (any::<u32>(), any::<u32>(), any::<u32>(), any::<Option<u32>>());
    (numbers, text()).prop_map(|((base, max, interface, privileges), vendor)| HypervisorLeaf {
        base,
        max,
        vendor,
        interface,
        privileges,
    })
}

fn cpuid() -> impl Strategy<Value = Option<Cpuid>> {
    let some = (any::<bool>(), prop::collection::vec(leaf(), 0..4));
    prop::option::of(some.prop_map(|(hypervisor_bit, leaves)| Cpuid { hypervisor_bit, leaves }))
}

/// Fills every field from lists of readings and bits, cycling through them.
fn evidence() -> impl Strategy<Value = Evidence> {
    let pools = (
        prop::collection::vec(reading(), 1..32),
        prop::collection::vec(any::<bool>(), 1..16),
        prop::collection::vec(text(), 0..4),
        prop::collection::vec(any::<(u16, u16, u16, u16)>(), 0..4),
        prop::collection::btree_map("[a-z]{3,6}", any::<u64>(), 0..4),
        prop::option::of(any::<bool>()),
    );
    (pools, cpuid()).prop_map(|((readings, bits, acpi, pci, spaces, vm_bit), cpuid)| {
        let mut readings = readings.into_iter().cycle();
        let mut r = move || readings.next().unwrap_or_default();
        let mut bits = bits.into_iter().cycle();
        let mut b = move || bits.next().unwrap_or_default();
        let pci = pci
            .into_iter()
            .map(|(vendor, device, subsystem_vendor, subsystem_device)| PciId {
                vendor,
                device,
                subsystem_vendor,
                subsystem_device,
            })
            .collect();
        let dmi = Dmi {
            product_name: r(),
            product_version: r(),
            product_family: r(),
            sys_vendor: r(),
            board_vendor: r(),
            board_name: r(),
            bios_vendor: r(),
            bios_version: r(),
            chassis_vendor: r(),
            chassis_asset_tag: r(),
            smbios_vm_bit: vm_bit,
        };
        let proc = ProcFiles { cpuinfo: r(), version: r(), osrelease: r(), sysinfo: r() };
        let xen = XenFiles {
            proc_xen: b(),
            capabilities: r(),
            features: r(),
            guest_type: r(),
            uuid: r(),
            version: r(),
        };
        let hypervisor = HypervisorFiles {
            kind: r(),
            jailhouse_enabled: r(),
            lguest_bus: b(),
            vmbus_devices: b(),
            qemu_fw_cfg: b(),
        };
        let device_tree = DeviceTree {
            present: b(),
            compatible: r(),
            hypervisor_compatible: r(),
            fw_cfg: b(),
            ibm_partition_name: b(),
            hmc_managed: b(),
            qemu_graphic_width: b(),
        };
        let container = ContainerMarks {
            manager: r(),
            systemd: r(),
            init_variable: r(),
            containerenv: b(),
            dockerenv: b(),
            init_cgroup: r(),
            proc_vz: b(),
            proc_bc: b(),
            status: r(),
            tracer: r(),
            root_mount: r(),
        };
        Evidence {
            arch: String::new(),
            cpuid,
            dmi,
            acpi,
            proc,
            xen,
            hypervisor,
            device_tree,
            pci,
            container,
            namespaces: Namespaces(spaces),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_evidence_gets_a_verdict_with_a_reason(evidence in evidence()) {
        let got = verdict(&evidence);
        prop_assert!(!got.because.is_empty());
        prop_assert_eq!(&got, &verdict(&evidence));
        serde_json::to_string(&got).unwrap();
        let saved = serde_json::to_string(&evidence).unwrap();
        let again: Evidence = serde_json::from_str(&saved).unwrap();
        prop_assert_eq!(evidence, again);
    }

}

proptest! {
    // Each case writes some twenty files.
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_bytes_in_the_files_can_be_gathered(
        files in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..8),
        texts in prop::collection::vec(text(), 1..8),
    ) {
        const PATHS: &[&str] = &[
            "proc/cpuinfo", "proc/self/status", "proc/self/mountinfo", "proc/1/environ",
            "proc/1/cgroup", "proc/stat", "proc/sysinfo", "proc/xen/capabilities",
            "proc/device-tree/compatible", "proc/device-tree/hypervisor/compatible",
            "proc/sys/kernel/osrelease", "sys/hypervisor/type", "sys/hypervisor/guest_type",
            "sys/hypervisor/properties/features", "sys/class/dmi/id/product_name",
            "sys/class/dmi/id/sys_vendor", "sys/firmware/dmi/entries/0-0/raw",
            "sys/firmware/acpi/tables/DSDT", "sys/bus/pci/devices/0000:00:00.0/vendor",
            "sys/bus/pci/devices/0000:00:00.0/device",
            "sys/bus/pci/devices/0000:00:00.0/resource", "sys/devices/system/cpu/online",
            "sys/class/net/eth0/flags", "sys/class/net/eth0/mtu", "sys/block/pmem0/size",
        ];
        let dir = tempfile::tempdir().unwrap();
        let noise = files.iter().map(Vec::as_slice);
        let nearly = texts.iter().map(String::as_bytes);
        let contents: Vec<&[u8]> = noise.chain(nearly).collect();
        for (path, bytes) in PATHS.iter().zip(contents.iter().cycle()) {
            put(dir.path(), path, bytes);
        }
        let got = verdict(&Evidence::gather_from(dir.path()));
        prop_assert!(!got.because.is_empty());
        let around = Surroundings::look_from(dir.path());
        serde_json::to_string(&around).unwrap();
    }
}
