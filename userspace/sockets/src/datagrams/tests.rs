use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::time::Duration;

use super::*;
use crate::bound;

#[test]
fn an_answer_leaves_from_the_address_that_was_asked() {
    for (wildcard, asked, client) in [
        ("0.0.0.0:0", "127.0.0.9", "127.0.0.1:0"),
        ("127.0.0.9:0", "127.0.0.9", "127.0.0.1:0"),
        ("[::]:0", "::1", "[::1]:0"),
    ] {
        let server = bound::udp(wildcard.parse().unwrap()).unwrap();
        let server = UdpSocket::from(server);
        let asked = SocketAddr::new(asked.parse().unwrap(), server.local_addr().unwrap().port());
        let client = client_at(client);
        let (mut inbox, mut outbox) = (Inbox::<64>::new(), Outbox::<64>::new());
        for query in [b"one", b"two"] {
            client.send_to(query, asked).unwrap();
        }
        assert_eq!(inbox.receive(server.as_fd()).unwrap(), 2);
        for (query, path) in inbox.datagrams() {
            let room = outbox.room().unwrap();
            room[..3].copy_from_slice(query);
            outbox.push(3, &path);
            send_one(server.as_fd(), b"again", &path).unwrap();
        }
        assert_eq!(outbox.send(server.as_fd()), 0);
        for expected in [&b"again"[..], b"again", b"one", b"two"] {
            let mut answer = [0; 16];
            let (len, from) = client.recv_from(&mut answer).unwrap();
            assert_eq!((&answer[..len], from), (expected, asked));
        }
    }
}

/// A full batch for two clients, in turn, of three lengths, one of which is longer than a packet.
#[test]
fn answers_that_leave_together_arrive_one_by_one() {
    for cuts in [true, false] {
        for (wildcard, asked, near) in [
            ("0.0.0.0:0", "127.0.0.9", "127.0.0.1:0"),
            ("127.0.0.9:0", "127.0.0.9", "127.0.0.1:0"),
            ("[::]:0", "::1", "[::1]:0"),
        ] {
            let server = UdpSocket::from(bound::udp(wildcard.parse().unwrap()).unwrap());
            let port = server.local_addr().unwrap().port();
            let asked = SocketAddr::new(asked.parse().unwrap(), port);
            let clients = [client_at(near), client_at(near)];
            let (mut inbox, mut outbox) = (Inbox::<64>::new(), Outbox::<4_096>::new());
            outbox.cuts = cuts;
            for client in &clients {
                client.send_to(b"?", asked).unwrap();
            }
            assert_eq!(inbox.receive(server.as_fd()).unwrap(), 2);
            // The second round finds a box as empty as the first did.
            for round in 0..2_u8 {
                for number in 0..BATCH / 2 {
                    for (_, path) in inbox.datagrams() {
                        let room = outbox.room().unwrap();
                        room[..2].copy_from_slice(&[round, number as u8]);
                        outbox.push([20, 44, 4_000][number % 3], &path);
                    }
                }
                assert!(outbox.room().is_none());
                assert_eq!(outbox.bundles.all().len(), 4 + 2 * (BATCH / 2 / 3));
                assert_eq!(outbox.send(server.as_fd()), 0);
                assert_eq!(outbox.cuts, cuts);
                for client in &clients {
                    let mut numbers = BTreeSet::new();
                    for _ in 0..BATCH / 2 {
                        let mut answer = [0; 5_000];
                        let (length, from) = client.recv_from(&mut answer).unwrap();
                        assert_eq!((answer[0], from), (round, asked));
                        assert_eq!(length, [20, 44, 4_000][usize::from(answer[1]) % 3]);
                        numbers.insert(answer[1]);
                    }
                    assert_eq!(numbers, (0..BATCH as u8 / 2).collect());
                }
            }
        }
    }
}

/// Without checksums the kernel cuts nothing (EINVAL).
#[test]
fn where_the_kernel_does_not_cut_every_answer_still_arrives_once() {
    let server = UdpSocket::from(bound::udp("127.0.0.9:0".parse().unwrap()).unwrap());
    let on: i32 = 1;
    // SAFETY: the option's value is the integer that is passed with its length.
    let set = unsafe {
        libc::setsockopt(
            server.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NO_CHECK,
            ptr::from_ref(&on).cast(),
            size_of::<i32>() as u32,
        )
    };
    assert_eq!(set, 0);
    let clients = [client_at("127.0.0.1:0"), client_at("127.0.0.1:0")];
    let paths =
        [&clients[0], &clients[1]].map(|client| Path::to(client.local_addr().unwrap(), None));
    let mut outbox = Outbox::<64>::new();
    // The first is alone and is sent; the others of each client are in a bundle.
    for number in 0..9_u8 {
        outbox.room().unwrap()[0] = number;
        outbox.push(if number == 0 { 1 } else { 2 }, &paths[usize::from(number % 2)]);
    }
    assert_eq!(outbox.send(server.as_fd()), 0);
    // That may have been for the peer's sake.
    assert!(outbox.cuts);
    for (client, expected) in clients.iter().zip([&[0, 2, 4, 6, 8][..], &[1, 3, 5, 7]]) {
        let mut numbers: Vec<u8> = expected
            .iter()
            .map(|_| {
                let mut answer = [0; 16];
                client.recv_from(&mut answer).unwrap();
                answer[0]
            })
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, expected);
        client.set_nonblocking(true).unwrap();
        let nothing_more = client.recv_from(&mut [0; 16]).map_err(|error| error.kind());
        assert_eq!(nothing_more, Err(io::ErrorKind::WouldBlock));
    }
}

#[test]
fn answers_that_cannot_be_sent_are_counted_each() {
    let server = UdpSocket::from(bound::udp("127.0.0.9:0".parse().unwrap()).unwrap());
    let client = client_at("127.0.0.1:0");
    let nowhere = Path::to("[2001:db8::1]:9".parse().unwrap(), None);
    let somewhere = Path::to(client.local_addr().unwrap(), None);
    let mut outbox = Outbox::<64>::new();
    let no_port = Path::to("127.0.0.1:0".parse().unwrap(), None);
    for path in [&nowhere, &no_port, &no_port, &somewhere, &nowhere, &nowhere] {
        outbox.room().unwrap()[..2].copy_from_slice(b"ok");
        outbox.push(2, path);
    }
    assert_eq!(outbox.send(server.as_fd()), 5);
    let mut answer = [0; 16];
    let (length, _) = client.recv_from(&mut answer).unwrap();
    assert_eq!(&answer[..length], b"ok");
    // None of that was for being cut: alone they would not have left either.
    assert!(outbox.cuts);
}

fn client_at(address: &str) -> UdpSocket {
    let client = UdpSocket::bind(address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    client
}
