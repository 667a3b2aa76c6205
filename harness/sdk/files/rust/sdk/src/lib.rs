//! wasm-engine's agent ABI, version 1, for Rust (docs/abi.md).
//!
//! Write a type with [`Agent`] and give it to [`export_agent!`]. The type's value is the agent's state: it lives in the
//! module's memory, and so in its snapshots. A call that is refused is an `Err` with its status, and `?` fails the step
//! with that code. Bytes given to a call are kept unchanged until the step has ended, as the ABI asks.

#![deny(missing_docs)]

use core::cell::UnsafeCell;

/// The sender of whatever no agent sent.
pub const OUTSIDE: u32 = 0xFFFF_FFFF;

/// The host functions as they are; [`Host`] is the safe way to call them.
#[cfg(target_arch = "wasm32")]
#[allow(missing_docs)]
pub mod raw {
    #[link(wasm_import_module = "engine")]
    extern "C" {
        pub fn send(agent: u32, data: *const u8, length: u32) -> u32;
        pub fn publish(topic: u32, data: *const u8, length: u32) -> u32;
        pub fn subscribe(topic: u32) -> u32;
        pub fn unsubscribe(topic: u32) -> u32;
        pub fn wake(ticks: u32) -> u32;
        pub fn buffer_write(buffer: u32, data: *const u8, length: u32) -> u32;
        pub fn output(data: *const u8, length: u32) -> u32;
        pub fn infer(model: u32, data: *const u8, length: u32) -> u32;
        pub fn read(source: u32, data: *const u8, length: u32) -> u32;
        pub fn cancel(source: u32) -> u32;
        pub fn now() -> u64;
        pub fn random() -> u64;
        #[link_name = "self"]
        pub fn self_() -> u32;
    }
}

/// Why a host call was refused, or a step fails: the code of its `agent_error:<code>`, never 0.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Failure(pub u32);

/// More effect calls in this step than `send_limit`.
pub const E_LIMIT: Failure = Failure(1);
/// No such agent, topic, buffer or model.
pub const E_TARGET: Failure = Failure(2);
/// Longer than `max_payload`, or than the buffer.
pub const E_SIZE: Failure = Failure(3);
/// A mailbox was full, or a request is unanswered: the channel of an envelope of [`Kind::Refused`].
pub const E_FULL: Failure = Failure(4);
/// A post in a channel of which the agent is no member.
pub const E_MEMBER: Failure = Failure(5);
/// More messages than the agent's tenant has left in this tick.
pub const E_QUOTA: Failure = Failure(6);
/// The receiver's validator did not find the message valid.
pub const E_INVALID: Failure = Failure(7);
/// A [`Reader`] came to the end of what it reads.
pub const TOO_SHORT: Failure = Failure(100);

/// A reading that is whole, or the last part of one.
pub const END: u32 = 0;
/// A part of a reading: reading the source again goes on with it.
pub const MORE: u32 = 1;
/// A reading that could not be made, or did not come to its end.
pub const FAILED: u32 = 2;
/// A reading that an operator ended.
pub const CANCELLED: u32 = 3;

/// What an envelope is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(missing_docs)]
pub enum Kind {
    Message,
    Topic,
    Input,
    Wake,
    Refused,
    Buffer,
    Inference,
    Task,
    /// What was read outside; its payload begins with a status, u32: [`END`], [`MORE`], [`FAILED`] or [`CANCELLED`].
    Reading,
    /// One that this version of the ABI does not know.
    Other(u32),
}

/// One envelope of the inbox: a header of 24 bytes, then the payload.
pub struct Envelope<'a>(&'a [u8]);

impl<'a> Envelope<'a> {
    /// An envelope's bytes; `None` when they are no envelope.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let envelope = Envelope(bytes);
        (bytes.len() >= 24 && envelope.number(20) as usize == bytes.len() - 24).then(|| envelope)
    }

    fn number(&self, at: usize) -> u32 {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&self.0[at..at + 4]);
        u32::from_le_bytes(bytes)
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        match self.number(0) {
            1 => Kind::Message,
            2 => Kind::Topic,
            3 => Kind::Input,
            4 => Kind::Wake,
            5 => Kind::Refused,
            6 => Kind::Buffer,
            7 => Kind::Inference,
            8 => Kind::Task,
            9 => Kind::Reading,
            other => Kind::Other(other),
        }
    }

    /// The agent that it is from, or [`OUTSIDE`].
    pub fn sender(&self) -> u32 {
        self.number(4)
    }

    /// The number that its sender gave it.
    pub fn seq(&self) -> u64 {
        u64::from(self.number(12)) << 32 | u64::from(self.number(8))
    }

    /// The topic, the buffer, the model, or the status code of a refusal.
    pub fn channel(&self) -> u32 {
        self.number(16)
    }

    /// What was sent.
    pub fn payload(&self) -> &'a [u8] {
        &self.0[24..]
    }
}

/// When and who: what a step is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(missing_docs)]
pub struct Context {
    pub tick: u64,
    pub agent: u32,
    pub flags: u32,
}

/// An agent. Whatever is not written does nothing.
pub trait Agent: Default {
    /// Once per life, first of all.
    fn init(&mut self, _host: &mut Host) -> Result<(), Failure> {
        Ok(())
    }
    /// One envelope of the inbox.
    fn receive(&mut self, _host: &mut Host, _message: &Envelope) -> Result<(), Failure> {
        Ok(())
    }
    /// The turn itself, after the inbox.
    fn step(&mut self, _host: &mut Host, _context: Context) -> Result<(), Failure> {
        Ok(())
    }
    /// The last call of a life.
    fn shutdown(&mut self, _host: &mut Host) -> Result<(), Failure> {
        Ok(())
    }
}

/// An agent that takes over the state of another version, in place of [`Agent::init`]; see [`export_migrating_agent!`].
pub trait Migrate: Agent {
    /// A hot reload. A failure leaves the version before as it was.
    fn migrate(&mut self, _host: &mut Host, _before: &Before) -> Result<(), Failure>;
}

/// The state of the version before.
pub struct Before<'a> {
    version: u32,
    cells: &'a [u8],
    memory: &'a [u8],
}

impl<'a> Before<'a> {
    fn new(version: u32, state: &'a [u8]) -> Result<Self, Failure> {
        let mut reader = Reader::new(state);
        let (globals, pages) = (reader.u32()? as usize, reader.u32()? as usize);
        let cells = reader.raw(globals.checked_mul(16).ok_or(TOO_SHORT)?)?;
        let memory = reader.raw(pages.checked_mul(65_536).ok_or(TOO_SHORT)?)?;
        Ok(Before { version, cells, memory })
    }

    /// Its number: what its reload said, 1 where there was none.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// How many mutable globals it has.
    pub fn globals(&self) -> usize {
        self.cells.len() / 16
    }

    /// The bits of a mutable global, in index order.
    pub fn global(&self, number: usize) -> Option<u64> {
        let cell = self.cells.chunks_exact(16).nth(number)?;
        Reader::new(&cell[8..]).u64().ok()
    }

    /// All of its memory.
    pub fn memory(&self) -> &'a [u8] {
        self.memory
    }
}

/// The host functions. Each needs its group among the manifest's capabilities.
#[derive(Default)]
pub struct Host {
    kept: Vec<Vec<u8>>,
    given: Vec<Vec<u64>>,
    stale: bool,
}

#[cfg(target_arch = "wasm32")]
impl Host {
    fn keep(&mut self, bytes: impl Into<Vec<u8>>) -> (*const u8, u32) {
        self.fresh();
        self.kept.push(bytes.into());
        let last = &self.kept[self.kept.len() - 1];
        (last.as_ptr(), last.len() as u32)
    }

    /// Sends to an agent.
    pub fn send(&mut self, agent: u32, bytes: impl Into<Vec<u8>>) -> Result<(), Failure> {
        let (data, length) = self.keep(bytes);
        status(unsafe { raw::send(agent, data, length) })
    }

    /// Sends to all that subscribe to a topic.
    pub fn publish(&mut self, topic: u32, bytes: impl Into<Vec<u8>>) -> Result<(), Failure> {
        let (data, length) = self.keep(bytes);
        status(unsafe { raw::publish(topic, data, length) })
    }

    /// From the next tick on, a topic's messages come here.
    pub fn subscribe(&mut self, topic: u32) -> Result<(), Failure> {
        status(unsafe { raw::subscribe(topic) })
    }

    /// And no longer.
    pub fn unsubscribe(&mut self, topic: u32) -> Result<(), Failure> {
        status(unsafe { raw::unsubscribe(topic) })
    }

    /// A wake, so many ticks from now.
    pub fn wake(&mut self, ticks: u32) -> Result<(), Failure> {
        status(unsafe { raw::wake(ticks) })
    }

    /// The next version of a buffer that this agent writes.
    pub fn buffer_write(&mut self, buffer: u32, bytes: impl Into<Vec<u8>>) -> Result<(), Failure> {
        let (data, length) = self.keep(bytes);
        status(unsafe { raw::buffer_write(buffer, data, length) })
    }

    /// Lets something out.
    pub fn output(&mut self, bytes: impl Into<Vec<u8>>) -> Result<(), Failure> {
        let (data, length) = self.keep(bytes);
        status(unsafe { raw::output(data, length) })
    }

    /// Appends tokens to the session with a model, which forgets its own first where `anew`; the next token comes as an
    /// envelope of [`Kind::Inference`].
    pub fn infer(&mut self, model: u32, anew: bool, tokens: &[u32]) -> Result<(), Failure> {
        let mut request = Writer::new().u32(u32::from(anew));
        for token in tokens {
            request = request.u32(*token);
        }
        let (data, length) = self.keep(request);
        status(unsafe { raw::infer(model, data, length) })
    }

    /// Reads a source outside, or the next part of what it has begun to give; the answer comes as an envelope of
    /// [`Kind::Reading`].
    pub fn read(&mut self, source: u32, bytes: impl Into<Vec<u8>>) -> Result<(), Failure> {
        let (data, length) = self.keep(bytes);
        status(unsafe { raw::read(source, data, length) })
    }

    /// Wants no more of what this agent reads from a source.
    pub fn cancel(&mut self, source: u32) -> Result<(), Failure> {
        status(unsafe { raw::cancel(source) })
    }

    /// Milliseconds since 1970, of this tick.
    pub fn now(&self) -> u64 {
        unsafe { raw::now() }
    }

    /// 64 random bits, the same whenever this step is run.
    pub fn random(&self) -> u64 {
        unsafe { raw::random() }
    }

    /// The agent's own number.
    pub fn own_number(&self) -> u32 {
        unsafe { raw::self_() }
    }
}

impl Host {
    /// What the last step was given and gave is free: the step after it begins.
    fn fresh(&mut self) {
        if self.stale {
            self.kept.clear();
            self.given.clear();
            self.stale = false;
        }
    }

    fn room(&mut self, size: u32) -> *mut u8 {
        self.fresh();
        let mut room: Vec<u64> = Vec::new();
        if room.try_reserve_exact((size as usize + 7) / 8 + 1).is_err() {
            return core::ptr::null_mut();
        }
        let at = room.as_mut_ptr() as *mut u8;
        self.given.push(room);
        at
    }
}

/// What a status says.
pub fn status(code: u32) -> Result<(), Failure> {
    if code == 0 {
        Ok(())
    } else {
        Err(Failure(code))
    }
}

/// Bytes in the making: little-endian, byte strings and texts with their length (u32) before them.
#[derive(Clone, Debug, Default)]
pub struct Writer(Vec<u8>);

#[allow(missing_docs)]
impl Writer {
    pub fn new() -> Self {
        Writer(Vec::new())
    }
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
    pub fn u8(self, value: u8) -> Self {
        self.raw(&[value])
    }
    pub fn u32(self, value: u32) -> Self {
        self.raw(&value.to_le_bytes())
    }
    pub fn u64(self, value: u64) -> Self {
        self.raw(&value.to_le_bytes())
    }
    pub fn i64(self, value: i64) -> Self {
        self.raw(&value.to_le_bytes())
    }
    pub fn f64(self, value: f64) -> Self {
        self.raw(&value.to_le_bytes())
    }
    pub fn bytes(self, bytes: &[u8]) -> Self {
        self.u32(bytes.len() as u32).raw(bytes)
    }
    pub fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }
}

impl From<Writer> for Vec<u8> {
    fn from(writer: Writer) -> Self {
        writer.0
    }
}

/// What a [`Writer`] wrote, read; [`TOO_SHORT`] beyond its end.
pub struct Reader<'a>(&'a [u8]);

#[allow(missing_docs)]
impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }
    pub fn raw(&mut self, length: usize) -> Result<&'a [u8], Failure> {
        if length > self.0.len() {
            return Err(TOO_SHORT);
        }
        let (taken, left) = self.0.split_at(length);
        self.0 = left;
        Ok(taken)
    }
    fn number(&mut self, length: usize) -> Result<u64, Failure> {
        Ok(self.raw(length)?.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }
    pub fn u8(&mut self) -> Result<u8, Failure> {
        self.number(1).map(|value| value as u8)
    }
    pub fn u32(&mut self) -> Result<u32, Failure> {
        self.number(4).map(|value| value as u32)
    }
    pub fn u64(&mut self) -> Result<u64, Failure> {
        self.number(8)
    }
    pub fn i64(&mut self) -> Result<i64, Failure> {
        self.number(8).map(|value| value as i64)
    }
    pub fn f64(&mut self) -> Result<f64, Failure> {
        self.number(8).map(f64::from_bits)
    }
    pub fn bytes(&mut self) -> Result<&'a [u8], Failure> {
        let length = self.u32()? as usize;
        self.raw(length)
    }
    pub fn left(&self) -> usize {
        self.0.len()
    }
}

/// The one agent of a module, and what it was lent. Used by [`export_agent!`].
#[doc(hidden)]
pub struct Seat<A>(UnsafeCell<Option<(A, Host)>>);

// An agent's module has one thread and is never entered twice.
unsafe impl<A> Sync for Seat<A> {}

#[doc(hidden)]
impl<A: Agent> Seat<A> {
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Seat(UnsafeCell::new(None))
    }

    #[allow(clippy::mut_from_ref)]
    fn taken(&self) -> &mut (A, Host) {
        unsafe { &mut *self.0.get() }.get_or_insert_with(Default::default)
    }

    pub fn alloc(&self, size: u32) -> u32 {
        self.taken().1.room(size) as usize as u32
    }

    fn call(&self, ends: bool, turn: impl FnOnce(&mut A, &mut Host) -> Result<(), Failure>) -> u32 {
        let (agent, host) = self.taken();
        let code = turn(agent, host).map_or_else(|failure| failure.0, |()| 0);
        host.stale = ends || host.stale;
        code
    }

    pub fn init(&self) -> u32 {
        self.call(true, |agent, host| agent.init(host))
    }

    /// # Safety
    /// `at` and `length` are what `alloc` gave and the host filled.
    pub unsafe fn receive(&self, at: u32, length: u32) -> u32 {
        let bytes = core::slice::from_raw_parts(at as usize as *const u8, length as usize);
        self.call(false, |agent, host| match Envelope::new(bytes) {
            Some(message) => agent.receive(host, &message),
            None => Err(Failure(1)),
        })
    }

    /// # Safety
    /// As for `receive`, with 16 bytes.
    pub unsafe fn step(&self, at: u32) -> u32 {
        let mut reader = Reader::new(core::slice::from_raw_parts(at as usize as *const u8, 16));
        self.call(true, |agent, host| {
            let context = Context { tick: reader.u64()?, agent: reader.u32()?, flags: reader.u32()? };
            agent.step(host, context)
        })
    }

    pub fn shutdown(&self) -> u32 {
        self.call(true, |agent, host| agent.shutdown(host))
    }
}

#[doc(hidden)]
impl<A: Migrate> Seat<A> {
    /// # Safety
    /// As for `receive`, with the state of the version before.
    pub unsafe fn migrate(&self, version: u32, at: u32, length: u32) -> u32 {
        let state = core::slice::from_raw_parts(at as usize as *const u8, length as usize);
        self.call(true, |agent, host| agent.migrate(host, &Before::new(version, state)?))
    }
}

/// As [`export_agent!`], of a type with [`Migrate`]: a reload to this version calls it. Without it, a reload takes the
/// memory over as it is.
#[macro_export]
macro_rules! export_migrating_agent {
    ($agent:ty) => {
        $crate::export_agent!($agent);

        #[no_mangle]
        pub extern "C" fn agent_migrate(version: u32, at: u32, length: u32) -> u32 {
            unsafe { SEAT.migrate(version, at, length) }
        }
    };
}

/// Makes a type with [`Agent`] the agent of this module.
#[macro_export]
macro_rules! export_agent {
    ($agent:ty) => {
        static SEAT: $crate::Seat<$agent> = $crate::Seat::new();

        #[no_mangle]
        pub extern "C" fn agent_alloc(size: u32) -> u32 {
            SEAT.alloc(size)
        }
        #[no_mangle]
        pub extern "C" fn agent_init() -> u32 {
            SEAT.init()
        }
        #[no_mangle]
        pub extern "C" fn agent_receive(at: u32, length: u32) -> u32 {
            unsafe { SEAT.receive(at, length) }
        }
        #[no_mangle]
        pub extern "C" fn agent_step(at: u32) -> u32 {
            unsafe { SEAT.step(at) }
        }
        #[no_mangle]
        pub extern "C" fn agent_shutdown() -> u32 {
            SEAT.shutdown()
        }
    };
}
