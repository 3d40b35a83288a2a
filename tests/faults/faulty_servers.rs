//! The servers that the function calls: AWS, which is ministack behind a proxy, and the camera API. Both inject the
//! faults of a schedule, and both judge each statement of the function at the moment at which it is made.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use testkit::http::{self, Connection, Message, reset};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::effect::{Call, Effect, Statement, aws, camera, judge};
use crate::fault::{Fault, Planned, refusal};
use crate::fixture::Fixture;
use crate::patience::in_time;
use crate::scenario::CANARY;

/// The server that is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Aws,
    Camera,
}

/// The state of a schedule so far.
#[derive(Debug, Default)]
pub struct State {
    plan: Vec<Planned>,
    lasting: Option<(String, Fault)>,
    /// The name of calls that meet a fault, the fault, and how many of them are left.
    pub failing: Option<(&'static str, Fault, usize)>,
    /// Id of the process of the function, which a fault may kill.
    pub victim: u32,
    /// The only recording that the camera API lists, if set.
    pub listed: Option<String>,
    /// What AWS takes for the present, if it is not that of the function.
    pub clock: Option<DateTime<Utc>>,
    /// Whether `FATAL_ERROR` is true, because ffmpeg fails or the camera API refuses.
    pub fatal_is_true: bool,
    /// Whether the queue delivers the message no more, which makes `FATAL_ERROR` true too.
    pub is_last_delivery: bool,
    /// Time since the request was sent, in ms.
    pub age_ms: i64,
    /// Names of the calls.
    pub calls: Vec<String>,
    /// The injected faults.
    pub injected: Vec<String>,
    /// Effects of the calls.
    pub effects: Vec<Effect>,
    /// Violations of the promises.
    pub violations: Vec<String>,
}

/// The part that all connections share.
pub struct Shared {
    pub fixture: Arc<Fixture>,
    state: Mutex<State>,
    /// Whether each side accepts connections.
    open: [watch::Sender<bool>; 2],
    listening: [watch::Sender<bool>; 2],
    /// Number of deliveries that are over. A change ends calls that hang.
    over: watch::Sender<u32>,
    elsewhere: String,
}

/// Both servers. They end when this is dropped.
pub struct FaultyServers {
    pub shared: Arc<Shared>,
    pub aws: String,
    pub camera: String,
    servers: Vec<JoinHandle<()>>,
}

impl Drop for FaultyServers {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

impl FaultyServers {
    pub async fn start(fixture: Arc<Fixture>) -> Self {
        let trap = TcpListener::bind("127.0.0.2:0").await.expect("a free port");
        let elsewhere = trap.local_addr().expect("bound").to_string();
        let switch = || [watch::Sender::new(true), watch::Sender::new(false)];
        let ([open_aws, listens_aws], [open_camera, listens_camera]) = (switch(), switch());
        let shared = Arc::new(Shared {
            fixture,
            state: Mutex::default(),
            open: [open_aws, open_camera],
            listening: [listens_aws, listens_camera],
            over: watch::Sender::new(0),
            elsewhere,
        });
        let mut servers = Vec::new();
        let mut addresses = Vec::new();
        for side in [Side::Aws, Side::Camera] {
            let reserved = reserve_port(0);
            let port = reserved.local_addr().expect("bound").port();
            addresses.push(format!("127.0.0.1:{port}"));
            servers.push(tokio::spawn(listen(Arc::clone(&shared), side, reserved)));
        }
        let trapped = Arc::clone(&shared);
        servers.push(tokio::spawn(async move {
            while trap.accept().await.is_ok() {
                trapped.state().violations.push("the function called another host".to_owned());
            }
        }));
        let [aws, camera] = <[String; 2]>::try_from(addresses).expect("two");
        let servers = Self { shared, aws, camera, servers };
        servers.delivery_is_over().await;
        servers
    }

    /// Begins a schedule.
    pub fn schedule(&self, plan: &[Planned]) {
        let mut state = self.shared.state();
        *state = State { plan: plan.to_vec(), victim: state.victim, ..State::default() };
    }

    /// Ends calls that hang and faults that last, and lets both sides listen again.
    pub async fn delivery_is_over(&self) {
        self.shared.state().lasting = None;
        self.shared.over.send_modify(|over| *over += 1);
        for (open, listening) in self.shared.open.iter().zip(&self.shared.listening) {
            open.send_replace(true);
            let mut listening = listening.subscribe();
            let listens = listening.wait_for(|&listening| listening);
            in_time("a server listens again", listens).await.expect("it lives as long as this");
        }
    }
}

impl Shared {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while it was held")
    }

    /// Records a call, and returns the fault that it meets.
    fn arrives(&self, name: &str) -> Option<Fault> {
        let mut state = self.state();
        let planned = state.plan.iter().find(|planned| planned.call.is(&state.calls, name)).copied();
        state.calls.push(name.to_owned());
        if let Some(planned) = planned.filter(|planned| planned.lasting) {
            state.lasting = Some((name.to_owned(), planned.fault));
        }
        let lasting = state.lasting.as_ref().filter(|(lasting, _)| lasting == name).map(|(_, fault)| *fault);
        let failing = state.failing.as_mut().filter(|(failing, _, left)| *failing == name && *left > 0);
        let failing = failing.map(|(_, fault, left)| {
            *left -= 1;
            *fault
        });
        let fault = planned.map(|planned| planned.fault).or(lasting).or(failing);
        if let Some(fault) = fault {
            state.injected.push(format!("{name}: {fault:?}"));
            // after a refusal for good by the camera API, the function must say FATAL_ERROR
            state.fatal_is_true |= name.starts_with("camera GET") && fault.is_refusal();
        }
        fault
    }

    /// Kills the process of the function.
    pub fn kill(&self) {
        let victim = rustix::process::Pid::from_raw(self.state().victim.cast_signed());
        if let Some(victim) = victim {
            let _ = rustix::process::kill_process(victim, rustix::process::Signal::KILL);
        }
    }

    /// Waits until the delivery is over.
    async fn rest(&self) {
        let _ = self.over.subscribe().changed().await;
    }
}

/// Returns a socket that reserves a port: as long as it exists, the system gives the port to no other process.
fn reserve_port(port: u16) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option of sockets");
    socket.bind(([127, 0, 0, 1], port).into()).expect("a free port");
    socket
}

/// Listens while the side is open. While it is closed, connections are refused.
async fn listen(shared: Arc<Shared>, side: Side, held: TcpSocket) {
    let port = held.local_addr().expect("bound").port();
    let mut open = shared.open[side as usize].subscribe();
    loop {
        open.wait_for(|&open| open).await.expect("it lives as long as this");
        let listener = reserve_port(port).listen(64).expect("listens");
        shared.listening[side as usize].send_replace(true);
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    if let Ok((connection, _)) = accepted {
                        tokio::spawn(serve(Arc::clone(&shared), side, connection));
                    }
                }
                _ = open.wait_for(|&open| !open) => break,
            }
        }
        shared.listening[side as usize].send_replace(false);
    }
}

async fn serve(shared: Arc<Shared>, side: Side, connection: TcpStream) {
    let mut open = shared.open[side as usize].subscribe();
    let mut connection = BufReader::new(connection);
    loop {
        let request = tokio::select! {
            request = http::read(&mut connection, false) => request,
            _ = open.wait_for(|&open| !open) => return reset(&connection),
        };
        let Ok(Some(request)) = request else { return };
        if answer(&shared, side, &request, &mut connection).await.is_none() {
            return;
        }
    }
}

/// Refuses a signature that is 15 minutes off by the clock of AWS.
fn wrong_clock(shared: &Shared, call: &Call, request: &Message) -> Option<Message> {
    let now = shared.state().clock?;
    let signed = NaiveDateTime::parse_from_str(request.header("x-amz-date")?, "%Y%m%dT%H%M%SZ").ok()?.and_utc();
    let code = match call.name.split(' ').next() {
        Some("S3") => "RequestTimeTooSkewed",
        Some("SQS") => "InvalidSignatureException",
        _ => "SignatureDoesNotMatch",
    };
    if (signed - now).abs() <= TimeDelta::minutes(15) {
        return None;
    }
    shared.state().injected.push(format!("{}: {code}", call.name));
    Some(refusal(&call.name, 403, code))
}

/// Answers a call, or injects its fault. Returns `None` if the connection has ended.
async fn answer(shared: &Shared, side: Side, request: &Message, connection: &mut Connection) -> Option<()> {
    let call = Call::of(&shared.fixture, side, request);
    let fault = shared.arrives(&call.name);
    judge(shared, &call).await;
    match fault {
        Some(Fault::Refused) => {
            shared.open[side as usize].send_replace(false);
            reset(connection);
            return None;
        }
        Some(Fault::ResetBefore) => {
            reset(connection);
            return None;
        }
        Some(Fault::KillBefore) => {
            shared.kill();
            return None;
        }
        Some(Fault::Hang) => {
            shared.rest().await;
            return None;
        }
        _ => {}
    }
    let head = request.method() == "HEAD";
    let mut answer = match fault {
        Some(fault @ (Fault::Status(_) | Fault::Code(..) | Fault::RetryAfter(..))) => fault.answer(&call.name),
        Some(Fault::Elsewhere) => {
            let mut answer = Message::answer(307, "");
            answer.set("Location", &format!("http://{}/", shared.elsewhere));
            answer
        }
        Some(Fault::Lie) => Message::answer(
            200,
            "<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>",
        ),
        _ if side == Side::Camera => camera(shared, request),
        Some(Fault::Corrupt) => {
            let mut request = request.clone();
            *request.body.first_mut().expect("a body") ^= 1;
            aws(shared, &call, &request).await
        }
        _ => match wrong_clock(shared, &call, request) {
            Some(refusal) => refusal,
            None => aws(shared, &call, request).await,
        },
    };
    if let Some(now) = shared.state().clock {
        answer.set("Date", &now.format("%a, %d %b %Y %H:%M:%S GMT").to_string());
    }
    if let Statement::Put(metadata) = &call.statement {
        shared.state().effects.push(Effect::Put { status: answer.status(), metadata: metadata.clone() });
    }
    answer.set("X-Canary", CANARY);
    let whole = if head { answer.head() } else { [answer.head(), answer.body.clone()].concat() };
    match fault {
        Some(Fault::ResetAfter) => reset(connection),
        Some(Fault::KillAfter) => shared.kill(),
        Some(fault @ (Fault::Drip | Fault::DripInBody)) => {
            let at_once = if fault == Fault::Drip { 0 } else { answer.head().len() };
            connection.get_mut().write_all(&whole[..at_once]).await.ok()?;
            for &byte in &whole[at_once..] {
                let dripped = connection.get_mut().write_all(&[byte]).await;
                tokio::select! {
                    () = shared.rest() => return None,
                    () = tokio::time::sleep(Duration::from_millis(20)) => dripped.ok()?,
                }
            }
            return Some(());
        }
        Some(fault @ (Fault::CutShort | Fault::SilentInBody)) => {
            let part = if answer.body.is_empty() || head {
                answer.head().len() / 2
            } else {
                whole.len() - answer.body.len().div_ceil(2)
            };
            connection.get_mut().write_all(&whole[..part]).await.ok()?;
            if fault == Fault::SilentInBody {
                shared.rest().await;
            }
        }
        Some(Fault::WrongLength) => {
            let length = answer.header("Content-Length").and_then(|length| length.parse().ok()).unwrap_or(0) / 2 + 1;
            answer.body.resize(if head { 0 } else { length }, b' ');
            answer.set("Content-Length", &length.to_string());
            return http::write(connection, &answer).await.ok();
        }
        Some(Fault::Garbage) => {
            let answer = Message::answer(200, if head { "" } else { "{\"rubbish\": [" });
            return http::write(connection, &answer).await.ok();
        }
        _ => return connection.get_mut().write_all(&whole).await.ok(),
    }
    None
}
