//! Clients that ask and do not read: what they take, and what is left for others.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use netdrop_tests::netns::Veth;
use netdrop_tests::{Exporter, Namespace, Room};
use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};

/// Pairs of links; 1,000 links make a page of about 640 KB.
const PAIRS: usize = 500;
/// As many as are served at a time.
const CLIENTS: usize = 256;
/// Longer than a scrape, so that each client gets a page of its own.
const APART: Duration = Duration::from_millis(15);
/// The bound on the exporter's memory, and that on what the kernel holds for its clients, in KiB.
const LIMIT_KIB: u64 = 40 * 1024;
const KERNEL_LIMIT_KIB: u64 = 48 * 1024;
/// How long a scraper at another address waits at most. It takes some 50 ms, or seconds for a place where it gets none.
const ANSWER: Duration = Duration::from_secs(3);

const PLAIN: &str = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
const GZIP: &str = "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n";

#[test]
#[ignore = "needs root: run by tests/run.sh"]
fn slow_readers_take_little_memory_and_no_place_from_others() {
    let _room = Room::enter();
    let (here, there) = (Namespace::with_veths(PAIRS), Namespace::new());
    let veth = Veth::between(&here, &there);
    here.ip(&["addr", "add", "192.0.2.1/24", "dev", &veth.a]);
    there.ip(&["addr", "add", "192.0.2.2/24", "dev", &veth.b]);
    let exporter = Exporter::launch()
        .namespace(&here)
        .arguments(&["--web.listen-address=192.0.2.1:0"])
        .start();
    let page = exporter.scrape_text().len();
    assert!(page > 500_000, "a page of {page} bytes is too small");
    let idle = exporter.resident_kib();
    let port = exporter.address().port();

    // Pages as different as can be, in all ways to leave them unread.
    let pipelined = PLAIN.repeat(100);
    let requests = [PLAIN, GZIP, &pipelined];
    let ask = |number| {
        sleep(APART);
        ask_and_do_not_read(exporter.address(), requests[number % requests.len()])
    };
    let slow: Vec<_> = there.enter(|| (0..CLIENTS).map(ask).collect());
    let resident = exporter.resident_kib();
    // All places at once.
    let ask = |_| ask_and_do_not_read(exporter.address(), GZIP);
    let many: Vec<_> = there.enter(|| (0..2 * CLIENTS).map(ask).collect());
    let kernel = socket_buffers_kib(&here, port);

    for headers in [&[][..], &["Accept-Encoding: gzip"]] {
        let begin = Instant::now();
        let response = exporter.request("GET", "/metrics", headers);
        let took = begin.elapsed();
        assert_eq!(response.status, 200);
        println!("another scraper was served in {} ms", took.as_millis());
        assert!(took <= ANSWER, "{took:?}");
    }
    let resident = resident.max(exporter.resident_kib());
    println!(
        "{:.1} MiB resident with {CLIENTS} slow readers of {page} bytes, {:.1} without; \
         {:.1} MiB in the buffers of sockets",
        resident as f64 / 1024.0,
        idle as f64 / 1024.0,
        kernel as f64 / 1024.0,
    );
    assert!(resident < LIMIT_KIB, "{resident} KiB resident");
    assert!(kernel < KERNEL_LIMIT_KIB, "{kernel} KiB in the kernel");
    drop((slow, many));
}

/// A connection whose kernel takes little, so that the page stays with the server.
fn ask_and_do_not_read(server: SocketAddr, request: &str) -> TcpStream {
    let client: OwnedFd = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_recv_buffer_size(&client, 4096).unwrap();
    connect(&client, &server).unwrap();
    let mut client = TcpStream::from(client);
    client.write_all(request.as_bytes()).unwrap();
    client
}

/// What the sockets of the server hold: `skmem:(r<received>,..,w<to be sent>,..)` of ss(8).
fn socket_buffers_kib(namespace: &Namespace, port: u16) -> u64 {
    let filter = format!("sport = :{port}");
    let text = namespace.exec(&["ss", "-Htnm", "state", "connected", &filter]);
    let fields = text
        .split("skmem:(")
        .skip(1)
        .flat_map(|socket| socket.split(')').next().unwrap().split(','));
    let held = fields.filter_map(|field| {
        let number = field.strip_prefix('r').or(field.strip_prefix('w'))?;
        number.parse::<u64>().ok()
    });
    held.sum::<u64>() / 1024
}
