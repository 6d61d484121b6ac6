//! A network in miniature between a client and etcd: passes everything on, or
//! loses what etcd answers.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    loses_answers: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
    /// What the clients sent, one entry for each time that something arrived.
    heard: Mutex<Vec<Vec<u8>>>,
}

impl Proxy {
    pub(crate) fn new(to_port: u16) -> Self {
        Self::at(0, to_port)
    }

    /// One that listens at `port`.
    pub(crate) fn at(port: u16, to_port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared::default());
        let own = shared.clone();
        // Ends with the process.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if let Ok(server) = TcpStream::connect(("127.0.0.1", to_port)) {
                    connect(client, server, &own);
                }
            }
        });
        Self { port, shared }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// From now on etcd hears everything, and its answers are lost.
    pub(crate) fn lose_answers(&self) {
        self.shared.loses_answers.store(true, Ordering::SeqCst);
    }

    /// What clients have sent since this was last asked, cut as it arrived.
    pub(crate) fn take_heard(&self) -> Vec<Vec<u8>> {
        let heard = self.shared.heard.lock();
        std::mem::take(&mut *heard.unwrap_or_else(PoisonError::into_inner))
    }

    /// Ends all connections and passes everything on again.
    pub(crate) fn heal(&self) {
        self.shared.loses_answers.store(false, Ordering::SeqCst);
        self.cut();
    }

    /// Ends all connections.
    pub(crate) fn cut(&self) {
        for stream in self.shared.lock().drain(..) {
            // It may have ended by itself.
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn connect(client: TcpStream, server: TcpStream, shared: &Arc<Shared>) {
    let clone = |stream: &TcpStream| stream.try_clone().expect("a second handle");
    shared.lock().extend([clone(&client), clone(&server)]);
    let (from_client, to_client) = (clone(&client), client);
    let (from_server, to_server) = (clone(&server), server);
    let hearing = shared.clone();
    let hears = move |bytes: &[u8]| {
        let mut heard = hearing.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.push(bytes.to_vec());
        true
    };
    std::thread::spawn(move || relay(from_client, to_server, hears));
    let shared = shared.clone();
    let passes = move |_: &[u8]| !shared.loses_answers.load(Ordering::SeqCst);
    std::thread::spawn(move || relay(from_server, to_client, passes));
}

fn relay(mut from: TcpStream, mut to: TcpStream, passes: impl Fn(&[u8]) -> bool) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let bytes = &buffer[..read];
        if passes(bytes) && to.write_all(bytes).is_err() {
            break;
        }
    }
    to.shutdown(Shutdown::Both).ok();
}
