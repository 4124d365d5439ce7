//! Real guests: they boot, they are what they should be, those of one host share memory, and
//! nothing of them stays, however their lab ends.
//!
//! Where they cannot boot (no root, nothing fetched) a test says SKIPPED and how to change that;
//! with `COHOST_LAB_REQUIRED` it fails instead.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cohost_lab::{Depot, Guest, Hypervisor, Lab, LabError, LabOptions, Nic, RegionKind, Start};

mod lab_common;

use lab_common::{LIMIT, alone, is_required, sh, skipped, up, verdict};

/// The kernel's verdict on two guests: not the same machine.
fn boot_id(guest: &Guest) -> String {
    sh(guest, "cat /proc/sys/kernel/random/boot_id")
}

fn until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < LIMIT, "not within {} s: {what}", LIMIT.as_secs());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn user_mode_linux_guests_share_memory_within_a_host_and_not_across() {
    let _alone = alone();
    let name = "user_mode_linux_guests_share_memory_within_a_host_and_not_across";
    let Some(lab) = up(name, &LabOptions::new(Hypervisor::Uml, 2, 2)) else {
        return;
    };
    let [a, b, c, d] = lab.guests() else { panic!("{name}: not four guests") };
    for guest in [a, b, c, d] {
        assert_eq!(verdict(guest), "uml", "{}", guest.label());
        assert_eq!(sh(guest, "hostname").trim(), guest.name());
    }
    assert_ne!(boot_id(a), boot_id(b));
    sh(a, "printf first-host > /dev/mmapper");
    sh(c, "printf second-one > /dev/mmapper");
    let read = |guest| sh(guest, "head -c 10 /dev/mmapper");
    assert_eq!(read(b), "first-host", "{} and {}", a.label(), b.label());
    assert_eq!(read(d), "second-one", "{} and {}", c.label(), d.label());
    let file = std::fs::read(a.region_file().unwrap()).unwrap();
    assert_eq!(file[..10], *b"first-host");
    for address in [b.address(), d.address()] {
        sh(a, &format!("ping -c 1 -W 20 {address}"));
    }
}

#[test]
fn a_rank_in_a_guest_speaks_pmi_with_its_launcher_outside() {
    let _alone = alone();
    let name = "a_rank_in_a_guest_speaks_pmi_with_its_launcher_outside";
    let Some(lab) = up(name, &LabOptions::new(Hypervisor::Uml, 1, 1)) else {
        return;
    };
    let guest = &lab.guests()[0];
    let script = "read line <&$PMI_FD; echo \"$PMI_RANK: $line\" >&$PMI_FD; \
                  echo out; echo err >&2; exit 3";
    let start = Start {
        program: "sh".into(),
        args: vec!["-c".into(), script.into()],
        env: vec![("PMI_RANK".into(), "1".into())],
        pmi: true,
    };
    let mut rank = guest.spawn(&start).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut pmi = BufReader::new(rank.pmi.take().unwrap());
    writeln!(pmi.get_mut(), "cmd=response_to_init").unwrap();
    let mut answer = String::new();
    pmi.read_line(&mut answer).unwrap();
    assert_eq!(answer, "1: cmd=response_to_init\n");
    let output = rank.output(LIMIT);
    assert_eq!(output.exit.code(), 3, "{name}: {}", guest.label());
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
}

#[test]
fn bulk_data_between_guests_of_user_mode_linux_is_not_sent_again() {
    let _alone = alone();
    let name = "bulk_data_between_guests_of_user_mode_linux_is_not_sent_again";
    let Some(lab) = up(name, &LabOptions::new(Hypervisor::Uml, 2, 1)) else {
        return;
    };
    let [from, to] = lab.guests() else { panic!("{name}: not two guests") };
    let receive = Start {
        program: "sh".into(),
        args: vec!["-c".into(), "nc -l -p 5000 | wc -c".into()],
        ..Start::default()
    };
    // Its input stays open: nc ends when that does.
    let mut receiver = to.spawn(&receive).unwrap();
    let send = format!(
        "sleep 1; head -c 8000000 /dev/zero | nc {0} 5000 > /dev/null & sleep 6; kill $! 2>/dev/null; \
         awk '/^Tcp: [0-9]/ {{ print $12, $13 }}' /proc/net/snmp",
        to.address()
    );
    let said = sh(from, &send);
    receiver.stdin = None;
    let counts: Vec<u64> = said.split_whitespace().map(|n| n.parse().unwrap()).collect();
    let [sent, again] = counts[..] else { panic!("{name}: {said}") };
    // Cut-off large packets made a third of them be sent again.
    assert!(sent > 100 && again * 10 < sent, "{name}: {again} of {sent} segments sent again");
}

/// A shell function that sets `pci` to the folder of the ivshmem device, or to nothing.
const FIND_IVSHMEM: &str = "pci=; for d in /sys/bus/pci/devices/*; do \
     [ \"$(cat $d/vendor):$(cat $d/device)\" = 0x1af4:0x1110 ] && pci=$d; done; ";

/// Writes or reads the first word of the ivshmem device through /dev/mem.
fn region_word(guest: &Guest, write: &str) -> String {
    let script = format!(
        "{FIND_IVSHMEM} echo 1 > $pci/enable; \
         at=$(sed -n 3p $pci/resource | cut -d' ' -f1); devmem $at 32 {write}"
    );
    sh(guest, &script).trim().to_owned()
}

#[test]
fn qemu_guests_share_an_ivshmem_device() {
    let _alone = alone();
    let name = "qemu_guests_share_an_ivshmem_device";
    let mut options = LabOptions::new(Hypervisor::Qemu, 1, 2);
    options.region_mib = 4;
    let Some(lab) = up(name, &options) else {
        return;
    };
    let expected = if lab.how().contains("TCG") { "qemu-tcg" } else { "kvm" };
    let [a, b] = lab.guests() else { panic!("{name}: not two guests") };
    for guest in [a, b] {
        assert_eq!(verdict(guest), expected, "{}: {}", guest.label(), lab.how());
        let size = sh(guest, &format!("{FIND_IVSHMEM} stat -c %s $pci/resource2"));
        assert_eq!(size.trim(), (4 << 20).to_string(), "{}", guest.label());
    }
    assert_ne!(boot_id(a), boot_id(b));
    region_word(a, "0x12345678");
    assert_eq!(region_word(b, ""), "0x12345678");
    sh(a, &format!("ping -c 1 -W 20 {}", b.address()));
}

#[test]
fn qemu_guests_with_doorbells_get_numbers_from_the_server_and_vfio_holds_the_device() {
    let _alone = alone();
    let name = "qemu_guests_with_doorbells_get_numbers_from_the_server_and_vfio_holds_the_device";
    let mut options = LabOptions::new(Hypervisor::Qemu, 1, 2);
    options.region_mib = 4;
    options.region_kind = RegionKind::Doorbell(2);
    let Some(lab) = up(name, &options) else {
        return;
    };
    // The register IVPosition, at 8 in the device's first memory.
    let script = format!(
        "{FIND_IVSHMEM} echo 1 > $pci/enable; at=$(head -n 1 $pci/resource | cut -d' ' -f1); \
         devmem $((at + 8)) 32"
    );
    let mut numbers: Vec<String> = lab.guests().iter().map(|guest| sh(guest, &script)).collect();
    numbers.sort();
    assert_eq!(numbers, ["0x00000000\n", "0x00000001\n"], "{name}");
    for guest in lab.guests() {
        let driver = format!("{FIND_IVSHMEM} basename $(readlink $pci/driver); ls /dev/vfio");
        let said = sh(guest, &driver);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.first(), Some(&"vfio-pci"), "{}: {said}", guest.label());
        assert_eq!(lines.len(), 3, "{}: a group and vfio itself: {said}", guest.label());
    }
}

#[test]
fn a_qemu_guest_moves_with_its_connections_and_its_region_comes_back() {
    let _alone = alone();
    let name = "a_qemu_guest_moves_with_its_connections_and_its_region_comes_back";
    let mut options = LabOptions::new(Hypervisor::Qemu, 2, 1);
    options.region_mib = 4;
    let Some(lab) = up(name, &options) else {
        return;
    };
    let [guest, other] = lab.guests() else { panic!("{name}: not two guests") };
    let boot = boot_id(guest);
    region_word(other, "0x07EE0001");
    region_word(guest, "0x600DCAFE");
    let mut cat = guest.spawn(&Start { program: "cat".into(), ..Start::default() }).unwrap();
    let mut there = cat.stdin.take().unwrap();
    let mut back = BufReader::new(cat.stdout.take().unwrap());
    let mut echo = |text: &str| {
        writeln!(there, "{text}").unwrap();
        let mut line = String::new();
        back.read_line(&mut line).unwrap();
        assert_eq!(line.trim(), text);
    };
    echo("before");
    let present = format!("{FIND_IVSHMEM} echo ${{pci:+there}}");
    assert_eq!(sh(guest, &present).trim(), "there");
    let took = guest.migrate(0).unwrap_or_else(|error| panic!("{name}: {error}\n{}", guest.log()));
    eprintln!("moved in {:?}, standing still for {:?}", took.total, took.downtime);
    echo("after");
    assert_eq!(sh(guest, &present).trim(), "", "the region is gone while unplugged");
    assert_eq!(boot_id(guest), boot, "the same kernel still runs");
    guest.plug_region().unwrap();
    until("the region is back", || sh(guest, &present).trim() == "there");
    assert_eq!(region_word(guest, ""), "0x600DCAFE");
    assert!(matches!(guest.plug_region(), Err(LabError::Options(_))));
    // To the other host, where its region is that host's.
    guest.migrate(1).unwrap_or_else(|error| panic!("{name}: again: {error}\n{}", guest.log()));
    echo("after the second");
    assert_eq!((guest.host(), guest.region_file()), (1, other.region_file()));
    guest.plug_region().unwrap();
    until("the other region is there", || sh(guest, &present).trim() == "there");
    assert_eq!(region_word(guest, ""), "0x07EE0001");
    sh(guest, &format!("ping -c 1 -W 20 {}", other.address()));
    assert!(matches!(guest.migrate(2), Err(LabError::Options(_))), "there is no host 2");
}

/// Boots one guest of QEMU with this network device and these words of its firmware, and says
/// what `cohost detect` makes of it.
fn look_alike(
    name: &str,
    nic: Nic,
    smbios: &str,
    cpu: Option<&str>,
    driver: &str,
) -> Option<String> {
    let mut options = LabOptions::new(Hypervisor::Qemu, 1, 1);
    options.nic = nic;
    options.cpu = cpu.map(str::to_owned);
    options.region_mib = 0;
    options.smbios = smbios.split(';').map(str::to_owned).collect();
    let lab = up(name, &options)?;
    let guest = &lab.guests()[0];
    let found = sh(guest, "basename $(readlink /sys/class/net/eth0/device/driver)");
    assert_eq!(found.trim(), driver, "{name}: {}", guest.label());
    Some(verdict(guest))
}

/// The signature in CPUID or the firmware's text decides, as with systemd-detect-virt.
fn emulated_as(nic: Nic, smbios: &str, driver: &str, expected: &str) {
    judged(nic, smbios, None, driver, expected);
}

/// The same without QEMU's signature in CPUID: the firmware's text is all there is.
fn unsigned_as(nic: Nic, smbios: &str, driver: &str, expected: &str) {
    judged(nic, smbios, Some("max,tcg-cpuid=off"), driver, expected);
}

fn judged(nic: Nic, smbios: &str, cpu: Option<&str>, driver: &str, expected: &str) {
    let _alone = alone();
    let name = format!("a guest with {nic}, {cpu:?} and {smbios} that should be {expected}");
    if let Some(found) = look_alike(&name, nic, smbios, cpu, driver) {
        assert!(found == expected || found == "kvm", "{name}: {found}");
    }
}

#[test]
fn a_guest_with_e1000_that_looks_like_virtualbox() {
    let smbios = "type=1,manufacturer=innotek GmbH,product=VirtualBox";
    emulated_as(Nic::E1000, smbios, "e1000", "virtualbox");
}

const VMWARE: &str = "type=1,manufacturer=VMware,, Inc.,product=VMware Virtual Platform";
const HYPER_V: &str = "type=1,manufacturer=Microsoft Corporation,product=Virtual Machine;\
                       type=3,manufacturer=Microsoft Corporation";

#[test]
fn a_guest_with_vmxnet3_that_looks_like_vmware_but_for_its_signature() {
    emulated_as(Nic::Vmxnet3, VMWARE, "vmxnet3", "qemu-tcg");
}

#[test]
fn a_guest_with_vmxnet3_that_looks_like_vmware() {
    unsigned_as(Nic::Vmxnet3, VMWARE, "vmxnet3", "vmware");
}

#[test]
fn a_guest_with_e1000e_that_looks_like_hyper_v() {
    unsigned_as(Nic::E1000e, HYPER_V, "e1000e", "hyper-v");
}

#[test]
fn a_guest_with_pcnet_that_looks_like_parallels() {
    let smbios = "type=1,manufacturer=Parallels Software International Inc.,\
                  product=Parallels Virtual Platform";
    emulated_as(Nic::Pcnet, smbios, "pcnet32", "parallels");
}

#[test]
fn a_guest_with_e1000e_that_looks_like_hyper_v_but_for_its_signature() {
    emulated_as(Nic::E1000e, HYPER_V, "e1000e", "qemu-tcg");
}

#[test]
fn wrong_use_is_told_from_failure() {
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_cohost")).arg("lab").args(args).output();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    for (args, word) in [
        (&["up", "--hypervisor", "vmware"][..], "vmware"),
        (&["up", "--hypervisor", "uml", "--layout", "2y2"], "2y2"),
        (&["up", "--hypervisor", "uml", "--layout", "0x2"], "0x2"),
        (&["up", "--hypervisor", "uml", "--nic", "e1000"], "e1000"),
        (&["up", "--hypervisor", "qemu", "--region", "3"], "power of two"),
        (&["up", "--hypervisor", "qemu", "--memory", "8"], "8 MiB"),
        (&["run", "--hypervisor", "uml"], "no command"),
    ] {
        let (code, said) = run(args);
        assert_eq!(code, Some(2), "{args:?}: {said}");
        assert!(said.contains(word), "{args:?}: {said}");
    }
}

#[test]
fn a_machine_without_what_the_lab_needs_is_told_how_to_get_it() {
    let empty = tempfile::tempdir().unwrap();
    for hypervisor in Hypervisor::ALL {
        let mut options = LabOptions::new(hypervisor, 1, 1);
        options.depot = Some(Depot::at(empty.path()).unwrap());
        let error = Lab::up(&options).unwrap_err();
        assert!(error.is_missing(), "{hypervisor}: {error}");
        assert!(error.to_string().contains("cohost lab setup"), "{error}");
    }
    let left: Vec<_> = std::fs::read_dir(empty.path()).unwrap().collect();
    assert!(left.is_empty(), "nothing is made before it is known that it can be: {left:?}");
}

/// A `cohost lab up` that has come up, and its folder.
struct Running {
    process: Child,
    dir: PathBuf,
}

impl Running {
    /// Starts a lab of two guests of User-Mode Linux in another process.
    fn start(name: &str) -> Option<Running> {
        let depot = Depot::open().unwrap();
        let root = is_root();
        let ready = depot.uml().map(drop).and_then(|()| depot.busybox().map(drop));
        if let Err(error) = ready.and(if root { Ok(()) } else { Err(LabError::NotRoot) }) {
            skipped(name, Hypervisor::Uml, &error);
            return None;
        }
        // Scripts start what they put in the background with SIGINT ignored, perhaps these tests.
        let mut process = Command::new("env")
            .args(["--default-signal=INT,HUP,TERM", env!("CARGO_BIN_EXE_cohost")])
            .args(["lab", "up", "--hypervisor", "uml", "--layout", "1x2"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap());
        for guest in ["uml h0v0", "uml h0v1"] {
            let mut line = String::new();
            lines.read_line(&mut line).unwrap();
            assert!(line.starts_with(guest), "{name}: {line:?}");
        }
        let dir = depot.dir().join(format!("runs/{}-0", process.id()));
        let running = Running { process, dir };
        assert!(running.dir.is_dir(), "{name}: {}", running.dir.display());
        assert_ne!(running.guests(), 0, "{name}: no process of a guest is found");
        assert_ne!(running.traces(), Vec::<String>::new(), "{name}: no trace is found");
        Some(running)
    }

    /// Processes that were started with this lab's region among their arguments.
    fn guests(&self) -> usize {
        let name = format!("cohost-lab-{}-", self.process.id());
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter_map(|p| std::fs::read(p.path().join("cmdline")).ok());
        let lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
        lines.filter(|line| line.contains(&name)).count()
    }

    /// Namespaces and regions with this lab's name.
    fn traces(&self) -> Vec<String> {
        let prefix = format!("cohost-lab-{}-", self.process.id());
        let places = ["/run/netns", "/dev/shm"].map(std::fs::read_dir);
        let names = places.into_iter().flatten().flatten().flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with(&prefix)).collect()
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The effective user, as the kernel tells it.
fn is_root() -> bool {
    let mut status = String::new();
    let file = std::fs::File::open("/proc/self/status");
    file.and_then(|mut file| file.read_to_string(&mut status)).unwrap();
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    ids.and_then(|ids| ids.split_whitespace().nth(1)) == Some("0")
}

#[test]
fn a_killed_lab_leaves_no_guest_and_the_next_removes_its_traces() {
    let _alone = alone();
    let name = "a_killed_lab_leaves_no_guest_and_the_next_removes_its_traces";
    let Some(mut running) = Running::start(name) else {
        return;
    };
    running.signal("KILL");
    running.process.wait().unwrap();
    until("all guests have gone", || running.guests() == 0);
    cohost_lab::remove_leftovers(&Depot::open().unwrap());
    assert_eq!(running.traces(), Vec::<String>::new());
    assert!(!running.dir.exists());
}

#[test]
fn an_interrupted_lab_takes_everything_down_before_it_ends() {
    let _alone = alone();
    let name = "an_interrupted_lab_takes_everything_down_before_it_ends";
    let Some(mut running) = Running::start(name) else {
        return;
    };
    running.signal("INT");
    let status = running.process.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    assert_eq!(running.guests(), 0);
    assert_eq!(running.traces(), Vec::<String>::new());
    assert!(!running.dir.exists());
}

/// `unshare`, which holds a guest, complained of each that was killed, and stood last in the words of a
/// job that died with its guest.
#[test]
fn a_guest_that_was_killed_leaves_only_its_own_words() {
    let _alone = alone();
    let name = "a_guest_that_was_killed_leaves_only_its_own_words";
    let Some(lab) = up(name, &LabOptions::new(Hypervisor::Uml, 1, 1)) else { return };
    let guest = &lab.guests()[0];
    guest.stop();
    let begun = Instant::now();
    while guest.is_running() {
        assert!(begun.elapsed() < LIMIT, "{name}: it lives");
        std::thread::sleep(Duration::from_millis(5));
    }
    let log = guest.log();
    assert!(log.contains("Linux") && !log.contains("unshare"), "{name}: {log}");
}

#[test]
fn a_guest_that_does_not_boot_is_named_with_its_log_and_nothing_stays() {
    let _alone = alone();
    let name = "a_guest_that_does_not_boot_is_named_with_its_log_and_nothing_stays";
    let mut options = LabOptions::new(Hypervisor::Uml, 1, 1);
    options.kernel_args = vec!["rdinit=/no/such/init".into()];
    let error = match Lab::up(&options) {
        Ok(_) => panic!("{name}: it came up"),
        Err(error) if error.is_missing() => return skipped(name, options.hypervisor, &error),
        Err(error) => error,
    };
    let text = error.to_string();
    assert!(text.contains("uml h0v0"), "{name}: {text}");
    let LabError::Boot { log, .. } = error else { panic!("{name}: {text}") };
    assert!(std::fs::metadata(&log).unwrap().len() > 0, "{name}: {text}");
    let prefix = format!("cohost-lab-{}-", std::process::id());
    for place in ["/run/netns", "/dev/shm"].map(Path::new) {
        for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
            let left = entry.file_name().to_string_lossy().into_owned();
            assert!(!left.starts_with(&prefix), "{name}: {} has {left}", place.display());
        }
    }
}

/// One hypervisor that cannot be set up must not have the tests of the others skipped.
#[test]
fn each_hypervisor_is_required_by_name_or_all_of_them() {
    let required = |value| Hypervisor::ALL.map(|hypervisor| is_required(value, hypervisor));
    assert_eq!(required("1"), [true; 3]);
    assert_eq!(required(""), [false; 3]);
    assert_eq!(required("0"), [false; 3]);
    assert_eq!(required("qemu,uml"), [true, true, false]);
    assert_eq!(required(" xen , "), [false, false, true]);
    assert!(std::panic::catch_unwind(|| is_required("qemu,vmware", Hypervisor::Qemu)).is_err());
}
