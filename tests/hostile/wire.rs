//! Network tools of the hostile agent that busybox lacks: raw bytes on a socket, many connections at once, packets of
//! the pod's interfaces, and forged DNS answers.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

type Result<T> = std::io::Result<T>;

const USAGE: &str = "reach ADDRESS | listen ADDRESS | relay LISTEN ADDRESS | catch LISTEN | send ADDRESS SECONDS | hold ADDRESS COUNT SECONDS | trickle ADDRESS SECONDS | sniff SECONDS | \
                     dns LISTEN UPSTREAM WORD ADDRESS; an address is HOST:PORT or unix:PATH";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let seconds = |text: &str| Duration::from_secs_f64(text.parse().expect("seconds"));
    match arguments[..] {
        ["reach", address] => Stream::connect(address).map(|_| println!("reached")),
        ["listen", address] => TcpListener::bind(address).map(|_| println!("listening")),
        ["relay", listen, address] => relay(listen, address),
        ["catch", listen] => catch(listen),
        ["send", address, quiet] => send(address, seconds(quiet)),
        ["hold", address, count, time] => hold(address, count.parse().expect("a count"), seconds(time)),
        ["trickle", address, time] => trickle(address, seconds(time)),
        ["sniff", time] => sniff(seconds(time)),
        ["dns", listen, upstream, word, address] => dns(listen, upstream, word, address),
        _ => panic!("{USAGE}"),
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn connect(address: &str) -> Result<Self> {
        match address.strip_prefix("unix:") {
            Some(path) => UnixStream::connect(path).map(Self::Unix),
            None => TcpStream::connect(address).map(Self::Tcp),
        }
    }

    fn timeouts(&self, read: Duration) -> Result<()> {
        let (read, write) = (Some(read), Some(Duration::from_secs(2)));
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(read).and(stream.set_write_timeout(write)),
            Self::Unix(stream) => stream.set_read_timeout(read).and(stream.set_write_timeout(write)),
        }
    }

    fn try_clone(&self) -> Result<Self> {
        Ok(match self {
            Self::Tcp(stream) => Self::Tcp(stream.try_clone()?),
            Self::Unix(stream) => Self::Unix(stream.try_clone()?),
        })
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Sends standard input to a socket and prints the answer, until the connection closes or is quiet for this time.
fn send(address: &str, quiet: Duration) -> Result<()> {
    let mut stream = Stream::connect(address)?;
    stream.timeouts(quiet)?;
    let mut writing = stream.try_clone()?;
    // The server may close before all is sent, which is not a failure.
    std::thread::spawn(move || std::io::copy(&mut std::io::stdin(), &mut writing));
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    std::io::stdout().write_all(&answer)
}

/// Forwards every connection.
fn relay(listen: &str, address: &str) -> Result<()> {
    for inside in TcpListener::bind(listen)?.incoming() {
        let (mut inside, Ok(mut outside)) = (inside?, TcpStream::connect(address)) else { continue };
        let (mut from, mut to) = (inside.try_clone()?, outside.try_clone()?);
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            to.shutdown(std::net::Shutdown::Write)
        });
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut outside, &mut inside);
            inside.shutdown(std::net::Shutdown::Write)
        });
    }
    Ok(())
}

/// Prints the data of each connection in its first second.
fn catch(listen: &str) -> Result<()> {
    for stream in TcpListener::bind(listen)?.incoming() {
        let mut stream = stream?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let mut caught = Vec::new();
        let _ = stream.read_to_end(&mut caught);
        std::io::stdout().write_all(&caught)?;
        println!();
    }
    Ok(())
}

/// Sends standard input over many connections without reading, and prints how many are open at the end.
fn hold(address: &str, count: usize, time: Duration) -> Result<()> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    let mut streams: Vec<Stream> = (0..count).map(|_| Stream::connect(address)).collect::<Result<_>>()?;
    let start = Instant::now();
    std::thread::scope(|scope| {
        for part in streams.chunks_mut(count.div_ceil(32)) {
            let bytes = &bytes;
            scope.spawn(move || {
                for stream in part {
                    let _ = stream.timeouts(Duration::from_millis(50)).and_then(|()| stream.write_all(bytes));
                }
            });
        }
    });
    println!("holding {count}");
    std::thread::sleep(time.saturating_sub(start.elapsed()));
    let open = streams.iter_mut().filter_map(|stream| is_open(stream).then_some(())).count();
    println!("open {open}");
    Ok(())
}

/// Whether the other side has not closed the connection; its data is read and discarded.
fn is_open(stream: &mut Stream) -> bool {
    let mut buffer = [0; 64 * 1024];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

/// Sends standard input with one byte a second, and prints the answer and the time until the connection closes.
fn trickle(address: &str, time: Duration) -> Result<()> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes)?;
    let mut stream = Stream::connect(address)?;
    stream.timeouts(Duration::from_secs(1))?;
    let start = Instant::now();
    for byte in bytes {
        let mut answer = [0; 1024];
        let _ = stream.write(&[byte]);
        match stream.read(&mut answer) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) | Ok(0) => {
                println!("closed after {} s", start.elapsed().as_secs());
                return Ok(());
            }
            Ok(length) => println!("{}", String::from_utf8_lossy(&answer[..length])),
        }
        if start.elapsed() > time {
            break;
        }
    }
    println!("still open");
    Ok(())
}

/// Prints the raw packets of all interfaces.
fn sniff(time: Duration) -> Result<()> {
    unsafe extern "C" {
        fn socket(domain: i32, kind: i32, protocol: i32) -> i32;
        fn recv(socket: i32, buffer: *mut u8, length: usize, flags: i32) -> isize;
    }
    const AF_PACKET: i32 = 17;
    const SOCK_RAW: i32 = 3;
    const MSG_DONTWAIT: i32 = 0x40;
    const ETH_P_ALL_BIG_ENDIAN: i32 = 0x0300;
    // SAFETY: no pointers.
    let packets = unsafe { socket(AF_PACKET, SOCK_RAW, ETH_P_ALL_BIG_ENDIAN) };
    if packets < 0 {
        return Err(std::io::Error::last_os_error());
    }
    let mut buffer = vec![0; 128 * 1024];
    let mut out = std::io::stdout().lock();
    let start = Instant::now();
    while start.elapsed() < time {
        // SAFETY: the buffer is this long.
        let length = unsafe { recv(packets, buffer.as_mut_ptr(), buffer.len(), MSG_DONTWAIT) };
        match usize::try_from(length) {
            Ok(length) => out.write_all(&buffer[..length])?,
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    out.flush()
}

/// Answers DNS queries for names with this word, and forwards all others to the cluster's DNS.
fn dns(listen: &str, upstream: &str, word: &str, address: &str) -> Result<()> {
    let address: std::net::Ipv4Addr = address.parse().expect("an address");
    let server = UdpSocket::bind(listen)?;
    let mut buffer = [0; 4096];
    loop {
        let (length, peer) = server.recv_from(&mut buffer)?;
        let question = &buffer[..length];
        let answer = match question.windows(word.len()).any(|part| part == word.as_bytes()) {
            true => own(question, address),
            false => forwarded(question, upstream).unwrap_or_default(),
        };
        server.send_to(&answer, peer)?;
    }
}

fn forwarded(question: &[u8], upstream: &str) -> Result<Vec<u8>> {
    let client = UdpSocket::bind("0.0.0.0:0")?;
    client.set_read_timeout(Some(Duration::from_secs(2)))?;
    client.send_to(question, upstream)?;
    let mut buffer = vec![0; 4096];
    let length = client.recv(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

/// Returns an answer (RFC 1035) with the question and one address for type A, and without an answer for other types.
fn own(question: &[u8], address: std::net::Ipv4Addr) -> Vec<u8> {
    let end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap_or(0) + 5;
    let is_a = question.get(end - 4..end - 2) == Some(&[0, 1]);
    let mut answer = question[..end].to_vec();
    answer[2..4].copy_from_slice(&[0x81, 0x80]);
    answer[6..12].copy_from_slice(&[0, u8::from(is_a), 0, 0, 0, 0]);
    if is_a {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        answer.extend(address.octets());
    }
    answer
}
