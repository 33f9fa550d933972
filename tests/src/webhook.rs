//! A receiver of Alertmanager's notifications: what would have woken somebody up, and when.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::launch::inside;
use crate::netns::Namespace;
use crate::prometheus::texts;

/// A notification: a group of alerts for one receiver
/// (<https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>).
#[derive(Debug, Clone)]
pub struct Notification {
    /// When it came.
    pub at: Instant,
    /// The path of the URL that it came to.
    pub path: String,
    /// Its alerts.
    pub alerts: Vec<Alert>,
}

/// An alert in a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// `firing` or `resolved`.
    pub status: String,
    /// All labels, `alertname` included.
    pub labels: BTreeMap<String, String>,
    /// The annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A running receiver; ends on drop.
#[derive(Debug)]
pub struct Webhook {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Notification>>>,
    stop: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl Webhook {
    /// Starts it on a free port of 127.0.0.1 of a namespace, or here without one.
    pub fn start(namespace: Option<&Namespace>) -> Self {
        let handle = namespace.map(Namespace::handle);
        let listener = inside(handle.as_ref(), || {
            TcpListener::bind("127.0.0.1:0").unwrap()
        });
        let address = listener.local_addr().unwrap();
        // So that it looks at `stop` now and then.
        listener.set_nonblocking(true).unwrap();
        let received = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let server = thread::spawn({
            let (received, stop) = (Arc::clone(&received), Arc::clone(&stop));
            move || serve(&listener, &received, &stop)
        });
        Self {
            address,
            received,
            stop,
            server: Some(server),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All that it has received so far, oldest first.
    pub fn notifications(&self) -> Vec<Notification> {
        let received = self.received.lock();
        received.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if self
            .server
            .take()
            .is_some_and(|server| server.join().is_err())
        {
            eprintln!("the webhook receiver panicked");
        }
    }
}

fn serve(listener: &TcpListener, received: &Mutex<Vec<Notification>>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                let notification = answer(stream);
                let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
                received.push(notification);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(10));
            }
            Err(error) => panic!("the webhook receiver cannot accept: {error}"),
        }
    }
}

/// Reads one notification and says that it is well received.
fn answer(stream: TcpStream) -> Notification {
    stream.set_nonblocking(false).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let path = line.split(' ').nth(1).unwrap().to_owned();
    let mut length = 0;
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    reader.get_mut().write_all(reply).unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    let alerts = body["alerts"].as_array().unwrap().iter();
    Notification {
        at: Instant::now(),
        path,
        alerts: alerts
            .map(|alert| Alert {
                status: alert["status"].as_str().unwrap().to_owned(),
                labels: texts(&alert["labels"]),
                annotations: texts(&alert["annotations"]),
            })
            .collect(),
    }
}
