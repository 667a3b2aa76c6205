//! caller: plugins_caller.wat once more, in Rust with the SDK.

use wasm_engine_agent::{export_agent, Agent, Envelope, Failure, Host, Kind, Reader, Writer};

macro_rules! plugin {
    ($name:ident, $module:literal) => {
        mod $name {
            #[link(wasm_import_module = $module)]
            extern "C" {
                pub fn transform(data: *const u8, length: u32, room: *mut u8, capacity: u32) -> i32;
            }
        }
    };
}

plugin!(capitals, "capitals");
plugin!(checksum, "checksum");
plugin!(pack, "pack");
plugin!(turn, "turn");
plugin!(ticket, "ticket");

const AGENTS: u32 = 4;
const LONGEST: usize = 4096;

/// What a plugin makes of a text, or the number that it gives instead.
fn carried_out(step: u8, text: &[u8]) -> Result<Vec<u8>, i32> {
    let transform = match step % 5 {
        0 => capitals::transform,
        1 => checksum::transform,
        2 => pack::transform,
        3 => turn::transform,
        _ => ticket::transform,
    };
    let mut room = vec![0; LONGEST];
    let got = unsafe { transform(text.as_ptr(), text.len() as u32, room.as_mut_ptr(), LONGEST as u32) };
    if got < 0 {
        return Err(got);
    }
    room.truncate(got as usize);
    Ok(room)
}

#[derive(Default)]
struct Caller {
    seen: u32,
}

impl Agent for Caller {
    fn receive(&mut self, host: &mut Host, message: &Envelope) -> Result<(), Failure> {
        if !matches!(message.kind(), Kind::Message | Kind::Input) {
            return Ok(());
        }
        self.seen += 1;
        let mut input = Reader::new(message.payload());
        let (job, count) = (input.u32()?, input.u8()?);
        let steps = input.raw(usize::from(count))?;
        let text = input.raw(input.left())?;
        if steps.is_empty() {
            return host.output(Writer::new().u32(job).u32(0).u32(self.seen).raw(text));
        }
        match carried_out(steps[0], text) {
            Ok(made) => {
                let rest = Writer::new().u32(job).u8(count - 1).raw(&steps[1..]).raw(&made);
                host.send((host.own_number() + 1) % AGENTS, rest)
            }
            Err(number) => host.output(Writer::new().u32(job).u32(number as u32).u32(self.seen)),
        }
    }
}

export_agent!(Caller);
