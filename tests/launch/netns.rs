//! `--netns`: hosts apart, a link between, and nothing left. Needs root.

use std::process::{Command, Stdio};

use super::support::*;

/// Says by name why a test with namespaces cannot run here.
fn impossible(name: &str) -> bool {
    let root = Command::new("id").arg("-u").output().unwrap();
    if stdout(&root).trim() != "0" {
        skipped(name, "network namespaces need root: run the tests with sudo");
        return true;
    }
    if !has_command("ip") || !has_command("tc") {
        skipped(name, "install iproute2 with: apt-get install iproute2");
        return true;
    }
    // A container may forget to let root do it.
    if !Command::new("unshare").args(["-n", "true"]).output().is_ok_and(|o| o.status.success()) {
        skipped(name, "root may not make network namespaces here: needs CAP_SYS_ADMIN");
        return true;
    }
    false
}

#[test]
fn hosts_are_apart_and_joined_by_links_of_a_gigabit() {
    if impossible("hosts_are_apart_and_joined_by_links_of_a_gigabit") {
        return;
    }
    let before = stdout(&Command::new("ip").args(["-o", "link"]).output().unwrap());
    let script = r#"echo "ns $COHOST_HOST $(readlink /proc/self/ns/net)"
        ip -o -4 addr show dev eth0 | sed "s/.*inet /addr $COHOST_HOST /"
        tc qdisc show dev eth0 | sed "s/^/shape $COHOST_HOST /""#;
    let output = run_script(&["--layout", "2x2", "--netns"], script);
    expect_code(&output, 0);
    let text = stdout(&output);
    let mut spaces: Vec<&str> = text.lines().filter(|line| line.starts_with("ns ")).collect();
    assert_eq!(spaces.len(), 4);
    spaces.sort_unstable();
    spaces.dedup();
    assert_eq!(spaces.len(), 2, "ranks of one host share its namespace: {text}");
    assert_ne!(spaces[0].split(' ').nth(2), spaces[1].split(' ').nth(2));
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert!(!text.contains(own.to_str().unwrap()), "{text}");
    assert!(text.contains("addr 0 10.99.0.1/16") && text.contains("addr 1 10.99.0.2/16"), "{text}");
    assert_eq!(text.matches("tbf").count(), 4, "{text}");
    assert_eq!(text.matches("rate 1Gbit").count(), 4, "{text}");
    let after = stdout(&Command::new("ip").args(["-o", "link"]).output().unwrap());
    assert_eq!(names(&before), names(&after), "the machine's own interfaces changed");
}

/// Interface names in the output of `ip -o link`.
fn names(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.split(':').nth(1)).map(|n| n.trim().to_owned()).collect()
}

#[test]
fn one_host_reaches_the_other_over_the_link() {
    if impossible("one_host_reaches_the_other_over_the_link") {
        return;
    }
    if !has_command("bash") {
        return skipped("one_host_reaches_the_other_over_the_link", "install bash");
    }
    // Nobody listens: a host that is there refuses at once, one that is not says so after seconds.
    let script = "(: < /dev/tcp/10.99.0.$((2 - PMI_RANK))/9) 2>&1; exit 0";
    let output = cohost(&["--layout", "2x1", "--netns", "bash", "-c", script]).output().unwrap();
    expect_code(&output, 0);
    assert_eq!(stdout(&output).matches("9: Connection refused").count(), 2, "{}", stdout(&output));
}

#[test]
fn a_launcher_killed_with_sigkill_leaves_no_namespace() {
    if impossible("a_launcher_killed_with_sigkill_leaves_no_namespace") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = r#"echo $$ > "$DIR/new.$$"; mv "$DIR/new.$$" "$DIR/pid.$$"; exec sleep 1000"#;
    let mut child = cohost(&["--layout", "2x1", "--netns", "sh", "-c", script])
        .env("DIR", folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pids = await_pids(folder.path(), 2);
    let spaces: Vec<String> = pids
        .iter()
        .map(|pid| std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap())
        .map(|link| link.to_str().unwrap().to_owned())
        .collect();
    child.kill().unwrap();
    child.wait().unwrap();
    expect_gone(&pids);
    // What holds a namespace is a process in it, a descriptor, or a name: none of these is left.
    eventually("nobody is in the namespaces", || !anybody_in(&spaces));
    let named = stdout(&Command::new("ip").args(["netns", "list"]).output().unwrap());
    // Guests that boot meanwhile have namespaces of their own.
    let left = named.lines().find(|it| it.contains("cohost") && !it.starts_with("cohost-lab-"));
    assert_eq!(left, None, "{named}");
}

/// Is any process in one of these namespaces, or does it hold a descriptor of one?
fn anybody_in(spaces: &[String]) -> bool {
    let holds = |path: std::path::PathBuf| {
        std::fs::read_link(path).is_ok_and(|link| spaces.iter().any(|s| link.to_str() == Some(s)))
    };
    let processes = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    processes.filter(|path| path.join("ns").exists()).any(|process| {
        let open = std::fs::read_dir(process.join("fd")).into_iter().flatten();
        holds(process.join("ns/net")) || open.flatten().any(|entry| holds(entry.path()))
    })
}

#[test]
fn without_root_it_is_refused_with_the_remedy() {
    let root = Command::new("id").arg("-u").output().unwrap();
    let cohost = env!("CARGO_BIN_EXE_cohost");
    let output = if stdout(&root).trim() == "0" {
        let name = "without_root_it_is_refused_with_the_remedy";
        if !has_command("setpriv") {
            return skipped(name, "install util-linux (setpriv)");
        }
        // The user nobody may not reach the build folder; the program itself may be read in place.
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let program = folder.path().join("cohost");
        std::fs::copy(cohost, &program).unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(program);
        command.args(["run", "--layout", "2x1", "--netns", "true"]).output().unwrap()
    } else {
        Command::new(cohost).args(["run", "--layout", "2x1", "--netns", "true"]).output().unwrap()
    };
    expect_code(&output, 1);
    assert!(stderr(&output).contains("sudo"), "{}", stderr(&output));
}

/// Talks with the other rank, whose link is then cut without a word; says how that was noticed.
#[test]
#[ignore = "a rank of a_machine_that_vanishes_without_a_word_is_noticed_by_its_peer"]
fn rank_whose_peer_vanishes() {
    let job = cohost::init().unwrap();
    let world = job.world();
    let folder = std::path::PathBuf::from(std::env::var_os("DIR").unwrap());
    let (mut word, any) = ([0; 8], (cohost::Source::Any, cohost::Tag::Any));
    if world.rank() == 1 {
        world.send(&word, 0, 1).unwrap();
        world.recv(&mut word, any.0, any.1).unwrap();
        let cut = Command::new("ip").args(["link", "set", "eth0", "down"]).status();
        assert!(cut.unwrap().success());
        std::fs::write(folder.join("cut"), "").unwrap();
        eventually("the other has noticed", || folder.join("noticed").exists());
        std::process::exit(0);
    }
    world.recv(&mut word, any.0, any.1).unwrap();
    world.send(&word, 1, 1).unwrap();
    eventually("the link is cut", || folder.join("cut").exists());
    let error = match std::env::var("ACT").unwrap().as_str() {
        "waits" => world.recv(&mut word, any.0, any.1).unwrap_err(),
        _ => (0..).find_map(|_| world.send(&[0; 4096], 1, 1).err()).unwrap(),
    };
    println!("noticed: {error}");
    std::fs::write(folder.join("noticed"), "").unwrap();
    std::process::exit(0);
}

#[test]
fn a_machine_that_vanishes_without_a_word_is_noticed_by_its_peer() {
    let name = "a_machine_that_vanishes_without_a_word_is_noticed_by_its_peer";
    if impossible(name) {
        return;
    }
    let program = std::env::current_exe().unwrap();
    for act in ["waits", "sends"] {
        let folder = tempfile::tempdir().unwrap();
        let rank = ["--ignored", "--exact", "netns::rank_whose_peer_vanishes", "--nocapture"];
        let mut run = cohost(&["--layout", "2x1", "--netns", program.to_str().unwrap()]);
        run.args(rank).env("DIR", folder.path()).env("ACT", act).env("COHOST_SILENCE", "2");
        let child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = finish(child);
        let said = format!("{}{}", stdout(&output), stderr(&output));
        assert!(said.contains("noticed: ") && said.contains("its machine died"), "{act}: {said}");
    }
}
