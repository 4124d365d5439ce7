//! Handing descriptors over: what arrives, and what hostile datagrams come to.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::Command;

use cohost::region::pass::{Address, Enclosed, Mailbox, PassError, Sent, send_fd};
use cohost::region::{Geometry, SectionLayout, posix};

/// Jobs of this test run, apart from those of another one on the same machine.
fn job(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

fn address<'a>(job: &'a str, mailbox: &Mailbox) -> Address<'a> {
    Address { job, rank: 1, epoch: 7, secret: mailbox.secret() }
}

fn descriptor() -> File {
    File::open("/dev/null").unwrap()
}

/// The letter that `send_fd` writes, as an attacker would: magic, secret, rank, epoch.
fn letter(secret: &[u8; 16]) -> Vec<u8> {
    let mut letter = b"cohostP1".to_vec();
    letter.extend(secret);
    letter.extend(3_u32.to_le_bytes());
    letter.extend(9_u64.to_le_bytes());
    letter
}

/// Sends anything at all, with any number of descriptors, to whoever has bound a mailbox.
fn send_raw(to: &Mailbox, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> bool {
    use socket2::{Domain, MsgHdr, SockAddr, Socket, Type};
    let name = UnixDatagram::from(to.as_fd().try_clone_to_owned().unwrap()).local_addr().unwrap();
    let mut path = vec![0];
    path.extend(name.as_abstract_name().unwrap());
    use std::os::unix::ffi::OsStringExt;
    let name = SockAddr::unix(std::ffi::OsString::from_vec(path)).unwrap();
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut control = vec![0_u64; 256];
    let parts = [IoSlice::new(bytes)];
    // A control message by hand: length, level, type, descriptors.
    let len = 16 + 4 * fds.len();
    control[0] = len as u64;
    control[1] = (libc::SOL_SOCKET as u64) | (libc::SCM_RIGHTS as u64) << 32;
    let mut raw: Vec<u8> = control.iter().flat_map(|word| word.to_ne_bytes()).collect();
    for (i, fd) in fds.iter().enumerate() {
        raw[16 + 4 * i..20 + 4 * i].copy_from_slice(&fd.as_raw_fd().to_ne_bytes());
    }
    let message = MsgHdr::new().with_addr(&name).with_buffers(&parts);
    let sent = if fds.is_empty() {
        socket.sendmsg(&message, 0)
    } else {
        socket.sendmsg(&message.with_control(&raw[..len.next_multiple_of(8)]), 0)
    };
    sent.is_ok()
}

#[test]
fn a_descriptor_arrives_with_its_rank_and_epoch() {
    let job = job("arrives");
    let mailbox = Mailbox::open(&job, 1, 7).unwrap();
    assert!(mailbox.receive().unwrap().is_none());
    let (mut reader, writer) = std::io::pipe().unwrap();
    let sent =
        send_fd(&address(&job, &mailbox), 5, Enclosed::Section(1 << 60), writer.as_fd()).unwrap();
    assert_eq!(sent, Sent::Delivered);
    drop(writer);
    let received = mailbox.receive().unwrap().unwrap();
    assert_eq!((received.from_rank, received.enclosed), (5, Enclosed::Section(1 << 60)));
    // SAFETY: a query on an open descriptor.
    let flags = unsafe { libc::fcntl(received.fd.as_raw_fd(), libc::F_GETFD) };
    assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
    File::from(received.fd).write_all(b"over").unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "over");
    assert!(mailbox.receive().unwrap().is_none());
}

#[test]
fn a_mailbox_that_is_not_there_is_said_to_be_missing() {
    let to = Address { job: &job("nobody"), rank: 1, epoch: 7, secret: [0; 16] };
    let refused = send_fd(&to, 0, Enclosed::Section(0), descriptor().as_fd());
    assert!(matches!(refused, Err(PassError::NobodyThere { rank: 1 })), "{refused:?}");
}

#[test]
fn mailboxes_of_other_jobs_ranks_and_epochs_are_other_mailboxes() {
    let (one, two) = (job("one"), job("two"));
    let first = Mailbox::open(&one, 1, 7).unwrap();
    assert!(Mailbox::open(&one, 1, 7).is_err(), "the name is taken");
    let others = [
        Mailbox::open(&two, 1, 7).unwrap(),
        Mailbox::open(&one, 2, 7).unwrap(),
        Mailbox::open(&one, 1, 8).unwrap(),
    ];
    assert!(others.iter().all(|other| other.secret() != first.secret()));
    send_fd(&address(&one, &first), 0, Enclosed::Section(0), descriptor().as_fd()).unwrap();
    assert!(others.iter().all(|other| other.receive().unwrap().is_none()));
    assert!(first.receive().unwrap().is_some());
}

#[test]
fn a_full_mailbox_means_later_and_loses_nothing() {
    let job = job("full");
    let mailbox = Mailbox::open(&job, 1, 7).unwrap();
    let to = address(&job, &mailbox);
    let mut delivered = 0;
    while send_fd(&to, delivered, Enclosed::Section(0), descriptor().as_fd()).unwrap()
        == Sent::Delivered
    {
        delivered += 1;
        assert!(delivered < 1_000_000, "a mailbox without end");
    }
    for rank in 0..delivered {
        assert_eq!(mailbox.receive().unwrap().unwrap().from_rank, rank);
    }
    assert_eq!(
        send_fd(&to, 0, Enclosed::Section(0), descriptor().as_fd()).unwrap(),
        Sent::Delivered
    );
}

#[test]
fn hostile_datagrams_are_dropped_and_their_descriptors_closed() {
    // Alone in its process, so that no other test opens files meanwhile.
    if !alone("hostile_datagrams_are_dropped_and_their_descriptors_closed") {
        return;
    }
    let job = job("hostile");
    let mailbox = Mailbox::open(&job, 1, 7).unwrap();
    let good = letter(&mailbox.secret());
    let mut wrong_secret = mailbox.secret();
    wrong_secret[15] ^= 1;
    let file = descriptor();
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open();
    let mut longer = good.clone();
    longer.push(0);
    let letters: [&[u8]; 8] = [
        b"",
        b"x",
        &good[..good.len() - 1],
        &longer,
        &[0xff; 60_000],
        &letter(&wrong_secret),
        &[0; 36],
        b"cohostP2 and whatever may follow it",
    ];
    for bytes in letters {
        for count in [0, 1, 2, 3, 60, 253] {
            assert!(send_raw(&mailbox, bytes, &vec![file.as_fd(); count]), "not sent");
            assert!(mailbox.receive().unwrap().is_none(), "{bytes:x?} with {count} descriptors");
            assert_eq!(open(), before, "{} bytes, {count} descriptors", bytes.len());
        }
    }
    for count in [0, 2, 3, 60, 253] {
        assert!(send_raw(&mailbox, &good, &vec![file.as_fd(); count]));
        assert!(mailbox.receive().unwrap().is_none(), "{count} descriptors");
        assert_eq!(open(), before, "{count} descriptors");
    }
    // The forger itself works: with the right letter and one descriptor it is believed.
    assert!(send_raw(&mailbox, &good, &[file.as_fd()]));
    let received = mailbox.receive().unwrap().unwrap();
    assert_eq!((received.from_rank, received.enclosed), (3, Enclosed::Section(9)));
}

#[test]
fn a_letter_from_another_user_is_refused() {
    let job = job("user");
    let mailbox = Mailbox::open(&job, 1, 7).unwrap();
    let name = UnixDatagram::from(mailbox.as_fd().try_clone_to_owned().unwrap());
    let name = name.local_addr().unwrap().as_abstract_name().unwrap().to_vec();
    // The real attack, from a process of another user: only root can play that part.
    let mut other = Command::new(std::env::current_exe().unwrap());
    other
        .args(["--exact", "letter_writer", "--ignored", "--test-threads=1"])
        .env("COHOST_TEST_NAME", String::from_utf8(name).unwrap())
        .env("COHOST_TEST_SECRET", u128::from_le_bytes(mailbox.secret()).to_string());
    use std::os::unix::process::CommandExt;
    // SAFETY: a query.
    if unsafe { libc::getuid() } != 0 {
        eprintln!("skipped: only root can be another user");
        return;
    }
    let as_ourselves = other.output().unwrap();
    assert!(as_ourselves.status.success(), "{as_ourselves:?}");
    assert!(mailbox.receive().unwrap().is_some(), "the same letter from our own user");
    let Ok(as_another) = other.uid(65534).gid(65534).output() else {
        eprintln!("skipped: another user cannot run this test's file");
        return;
    };
    assert!(as_another.status.success(), "{as_another:?}");
    assert!(mailbox.receive().unwrap().is_none());
}

#[test]
#[ignore = "a part of `a_letter_from_another_user_is_refused`, in a process of its own"]
fn letter_writer() {
    let Ok(name) = std::env::var("COHOST_TEST_NAME") else {
        return;
    };
    let secret: u128 = std::env::var("COHOST_TEST_SECRET").unwrap().parse().unwrap();
    // `send_fd` only knows numbers; the name says which.
    let mut parts = name.split('/').skip(1);
    let hash = parts.next().unwrap().to_owned();
    let socket = UnixDatagram::unbound().unwrap();
    socket.connect_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    assert_eq!(hash.len(), 16);
    let mut raw = vec![0_u8; 24];
    raw[..8].copy_from_slice(&20_u64.to_ne_bytes());
    raw[8..12].copy_from_slice(&libc::SOL_SOCKET.to_ne_bytes());
    raw[12..16].copy_from_slice(&libc::SCM_RIGHTS.to_ne_bytes());
    let file = descriptor();
    raw[16..20].copy_from_slice(&file.as_raw_fd().to_ne_bytes());
    let bytes = letter(&secret.to_le_bytes());
    let parts = [IoSlice::new(&bytes)];
    let message = socket2::MsgHdr::new().with_buffers(&parts).with_control(&raw);
    socket2::SockRef::from(&socket).sendmsg(&message, 0).unwrap();
}

#[test]
fn a_flood_of_garbage_costs_a_bounded_time_per_call() {
    let job = job("flood");
    let mailbox = Mailbox::open(&job, 1, 7).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                send_raw(&mailbox, b"garbage", &[]);
            }
        });
        // Each call returns although the mailbox never stays empty.
        for _ in 0..200 {
            assert!(mailbox.receive().unwrap().is_none());
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a_passed_section_is_adopted() {
    let job = job("adopted");
    let layout = SectionLayout::new(2, Geometry::MIN).unwrap();
    let mut own = posix::create_memfd(layout, 0).unwrap();
    own.activate(1).unwrap();
    own.pair(1).unwrap().bulk.copy_in(0, b"hello");
    let mailbox = Mailbox::open(&job, 1, 7).unwrap();
    let to = address(&job, &mailbox);
    send_fd(&to, 0, Enclosed::Section(own.identity().epoch), own.fd().unwrap()).unwrap();
    let received = mailbox.receive().unwrap().unwrap();
    assert_eq!(received.enclosed, Enclosed::Section(own.identity().epoch));
    let peer = posix::adopt(received.fd, own.identity(), 1).unwrap();
    let mut out = [0; 5];
    peer.pair().unwrap().bulk.copy_out(0, &mut out);
    assert_eq!(&out, b"hello");
}

/// Runs a test once more in a process of its own; true in that process.
fn alone(test: &str) -> bool {
    const MARK: &str = "COHOST_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--test-threads=1"])
        .env(MARK, "1")
        .status()
        .unwrap();
    assert!(status.success());
    false
}
