//! Servers and clients small enough to be written here: echo, one datagram, one DNS question.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use super::{LabError, Namespace};

/// A UDP socket in a namespace, on any port, with a time limit for answers.
///
/// # Errors
/// When the kernel refuses.
pub fn udp_socket(namespace: &Namespace, address: IpAddr, port: u16) -> Result<UdpSocket, LabError> {
    let socket = namespace.enter(move || UdpSocket::bind((address, port)))?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    Ok(socket)
}

/// Echoes every datagram until the word `quit` comes, or nothing for half a minute.
///
/// # Errors
/// When the port is taken.
pub fn udp_echo(namespace: &Namespace, port: u16) -> Result<thread::JoinHandle<()>, LabError> {
    let socket = udp_socket(namespace, Ipv6Addr::UNSPECIFIED.into(), port)?;
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    Ok(thread::spawn(move || {
        let mut buffer = vec![0; 65536];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            if &buffer[..length] == b"quit" || socket.send_to(&buffer[..length], from).is_err() {
                return;
            }
        }
    }))
}

/// Sends a datagram and waits for the same bytes to come back.
///
/// # Errors
/// When nothing comes back in time.
pub fn echo_once(socket: &UdpSocket, to: SocketAddr, payload: &[u8]) -> Result<bool, LabError> {
    socket.send_to(payload, to)?;
    let mut buffer = vec![0; 65536];
    loop {
        let (length, from) = socket
            .recv_from(&mut buffer)
            .map_err(LabError::io(format!("echo of {} bytes from {to}", payload.len())))?;
        if from == to {
            return Ok(&buffer[..length] == payload);
        }
    }
}

/// Accepts one TCP connection and echoes it until it closes; the address it came from is the result.
///
/// # Errors
/// When the port is taken.
pub fn tcp_echo(
    namespace: &Namespace,
    port: u16,
) -> Result<thread::JoinHandle<Option<SocketAddr>>, LabError> {
    let listener = namespace.enter(move || TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)))?;
    listener.set_nonblocking(true)?;
    Ok(thread::spawn(move || {
        let (mut stream, from) = accept(&listener)?;
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            stream.write_all(&buffer[..length]).ok()?;
        }
        Some(from)
    }))
}

/// A client that never comes must not block the test for ever.
fn accept(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    for _ in 0..500 {
        match listener.accept() {
            Ok((stream, from)) => {
                stream.set_nonblocking(false).ok()?;
                stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
                return Some((stream, from));
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(20)),
            Err(_) => return None,
        }
    }
    None
}

/// Connects from inside a namespace.
///
/// # Errors
/// When nobody answers within 5 seconds.
pub fn tcp_connect(namespace: &Namespace, to: SocketAddr) -> Result<TcpStream, LabError> {
    let connected = namespace.enter(move || TcpStream::connect_timeout(&to, Duration::from_secs(5)));
    let stream = connected.map_err(LabError::io(format!("connect to {to}")))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(stream)
}

/// Writes and waits for the same bytes.
///
/// # Errors
/// When they do not come back within 5 seconds.
pub fn echo_on(stream: &mut TcpStream, bytes: &[u8]) -> Result<bool, LabError> {
    stream.write_all(bytes)?;
    let mut answer = vec![0; bytes.len()];
    stream.read_exact(&mut answer)?;
    Ok(answer == bytes)
}

/// A DNS query: recursion desired, one question, and EDNS with room for 1,400 bytes.
#[must_use]
pub fn dns_query(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut query = id.to_be_bytes().to_vec();
    query.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).unwrap_or(0));
        query.extend(label.bytes());
    }
    query.push(0);
    query.extend(kind.to_be_bytes());
    query.extend([0, 1]);
    query.extend([0, 0, 41, 0x05, 0x78, 0, 0, 0, 0, 0, 0]);
    query
}
