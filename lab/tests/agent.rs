//! The agent and the host's side of it, over loopback, without any guest.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use cohost_lab::agent::frame::{HELLO, Start, Token};
use cohost_lab::agent::serve;
use cohost_lab::remote::{RemoteExit, RemoteProcess};

const LIMIT: Duration = Duration::from_secs(60);

fn agent() -> (SocketAddr, Token) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let token = Token::random().unwrap();
    let theirs = token.clone();
    std::thread::spawn(move || serve(listener, theirs));
    (address, token)
}

fn shell(script: &str, pmi: bool) -> RemoteProcess {
    let (address, token) = agent();
    let start = Start {
        program: "bash".into(),
        args: vec!["-c".into(), script.into()],
        env: vec![("GREETING".into(), "hello there".into())],
        pmi,
    };
    let stream = TcpStream::connect(address).unwrap();
    RemoteProcess::start(stream, &token, &start, "loopback").unwrap()
}

/// Whether a process runs; one that was killed and not yet reaped by anybody does not.
fn runs(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"))
}

fn comes_true(what: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < LIMIT {
        if what() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

#[test]
fn output_environment_and_exit_code_arrive() {
    let output = shell("echo \"$GREETING\"; echo oops >&2; exit 7", false).output(LIMIT);
    assert_eq!(output.exit, RemoteExit::Code(7));
    assert_eq!(output.stdout, b"hello there\n");
    assert_eq!(output.stderr, b"oops\n");
}

#[test]
fn megabytes_go_there_and_back_unchanged() {
    let mut cat = shell("cat", false);
    let data: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let (mut stdin, mut stdout) = (cat.stdin.take().unwrap(), cat.stdout.take().unwrap());
    let mut back = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            stdin.write_all(&data).unwrap();
            drop(stdin);
        });
        stdout.read_to_end(&mut back).unwrap();
    });
    assert!(back == data, "{} of {} bytes came back", back.len(), data.len());
    assert_eq!(cat.wait(LIMIT), Some(RemoteExit::Code(0)));
}

#[test]
fn a_rank_that_reads_no_input_still_gets_its_pmi_answers() {
    let script = "read line <&$PMI_FD; echo \"got $line\" >&$PMI_FD; read line <&$PMI_FD; exit 5";
    let mut rank = shell(script, true);
    let mut stdin = rank.stdin.take().unwrap();
    let jam = std::thread::spawn(move || stdin.write_all(&vec![b'x'; 4 << 20]));
    let mut pmi = BufReader::new(rank.pmi.take().unwrap());
    pmi.get_ref().set_read_timeout(Some(LIMIT)).unwrap();
    // Both pipes and the window are full by now or will be: the answer must pass them.
    pmi.get_mut().write_all(b"cmd=one\n").unwrap();
    let mut line = String::new();
    pmi.read_line(&mut line).unwrap();
    assert_eq!(line, "got cmd=one\n");
    pmi.get_mut().write_all(b"cmd=two\n").unwrap();
    assert_eq!(rank.wait(LIMIT), Some(RemoteExit::Code(5)));
    let mut rest = Vec::new();
    pmi.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "the rank's end is the end of its PMI connection");
    drop(rank);
    assert!(jam.join().unwrap().is_err(), "nobody reads it any more");
}

#[test]
fn a_signal_is_delivered_and_reported() {
    let process = shell("exec sleep 1000", false);
    assert_eq!(process.try_wait(), None);
    process.kill(15).unwrap();
    assert_eq!(process.wait(LIMIT), Some(RemoteExit::Signal(15)));
    process.kill(15).unwrap();
}

#[test]
fn dropping_it_kills_the_program_and_its_children() {
    let mut process = shell("sleep 1000 & echo $!; wait", false);
    let mut child = String::new();
    let mut stdout = BufReader::new(process.stdout.take().unwrap());
    stdout.read_line(&mut child).unwrap();
    assert!(runs(child.trim()));
    drop(process);
    assert!(comes_true(|| !runs(child.trim())), "{child} is still there");
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let (address, token) = agent();
    let start = Start { program: "/no/such/program".into(), ..Start::default() };
    let stream = TcpStream::connect(address).unwrap();
    let error = RemoteProcess::start(stream, &token, &start, "guest h0v1").unwrap_err();
    let text = error.to_string();
    assert!(text.contains("/no/such/program") && text.contains("h0v1"), "{text}");
}

#[test]
fn strangers_and_nonsense_are_sent_away_and_the_agent_lives_on() {
    let (address, token) = agent();
    let greet = [&HELLO[..], token.as_str().as_bytes()].concat();
    let wrong = [&HELLO[..], &[b'0'; 32]].concat();
    let start = |rest: &[u8]| [&greet[..], rest].concat();
    let attempts = [
        b"GET / HTTP/1.1\r\n\r\n .............................".to_vec(),
        wrong,
        greet[..20].to_vec(),
        start(&[255; 300]),
        start(&[1, 0, 0, 1, 0]),
        start(&[1, 255, 255, 255, 255]),
        start(&[1, 5, 0, 0, 0, 0, 255, 255, 255, 255]),
        start(&[2, 1, 0, 0, 0, b'x']),
    ];
    for (n, attempt) in attempts.iter().enumerate() {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.write_all(attempt).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        // A reset is as good an answer as an end.
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() <= 5, "attempt {n} was answered with {answer:?}");
    }
    let mut stream = TcpStream::connect(address).unwrap();
    RemoteProcess::greet(&mut stream, &token).unwrap();
}

#[test]
fn an_agent_that_goes_away_is_a_lost_program_not_a_hang() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let fake = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut hello = [0; 40];
        stream.read_exact(&mut hello).unwrap();
        stream.write_all(&[0, 0, 0, 0, 0]).unwrap();
        let mut some = [0; 64];
        let _ = stream.read(&mut some).unwrap();
        stream.write_all(&[10, 4, 0, 0, 0, 1, 0, 0, 0]).unwrap();
        stream.write_all(&[3, 2, 0, 0, 0, b'h', b'i', 3, 200]).unwrap();
    });
    let stream = TcpStream::connect(address).unwrap();
    let token = Token::random().unwrap();
    let start = Start::default();
    let process = RemoteProcess::start(stream, &token, &start, "fake").unwrap();
    fake.join().unwrap();
    let output = process.output(LIMIT);
    assert!(matches!(output.exit, RemoteExit::Lost(_)), "{:?}", output.exit);
    assert_eq!(output.stdout, b"hi");
}
