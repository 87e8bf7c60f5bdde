#!/usr/bin/env python3
"""Traffic for a translator: run beside the client (IPv4) or the server (IPv6)."""
import socket, struct, sys, time

def server():
    u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); u.bind(("::", 5000))
    t = socket.socket(socket.AF_INET6, socket.SOCK_STREAM); t.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    t.bind(("::", 5001)); t.listen(); t.settimeout(20); u.settimeout(20)
    print("ready", flush=True)
    c, _ = t.accept(); got = b""
    while len(got) < 5000: got += c.recv(5000)
    c.sendall(got); c.close()
    while True:
        try: data, peer = u.recvfrom(65535)
        except TimeoutError: return
        if data == b"end": return
        u.sendto(data, peer)

def client(target):
    c = socket.create_connection((target, 5001), timeout=10); c.sendall(b"t" * 5000); got = b""
    while len(got) < 5000:
        d = c.recv(5000)
        if not d: break
        got += d
    assert len(got) == 5000; c.close()
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(3)
    IP_MTU_DISCOVER, DONT = 10, 0
    u.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, DONT)
    for size in (10, 1000, 1400, 3000):
        u.sendto(bytes(size), (target, 5000))
        try: assert len(u.recv(65535)) == size
        except TimeoutError: print("no answer to", size)
    # With a class of its own, and with a hop too few.
    u.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0xb8); u.sendto(b"marked", (target, 5000)); u.recv(100)
    u.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 2); u.sendto(b"expires", (target, 5000))
    # Nobody listens.
    u.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 64); u.sendto(b"refused", (target, 5999))
    time.sleep(0.5)
    u.close()
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.setsockopt(socket.SOL_SOCKET, 11, 1)  # SO_NO_CHECK
    u.sendto(b"no checksum", (target, 5000)); time.sleep(0.3)
    u.setsockopt(socket.SOL_SOCKET, 11, 0); u.sendto(b"end", (target, 5000)); time.sleep(0.3)

sys.argv[1:] == ["server"] and server() or len(sys.argv) == 3 and client(sys.argv[2])
