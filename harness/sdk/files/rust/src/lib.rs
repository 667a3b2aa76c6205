//! @NAME@: answers each message with its own bytes, and lets out what comes from outside, numbered.

use wasm_engine_agent::{export_agent, Agent, Envelope, Failure, Host, Kind, Writer};

/// The agent's state: kept from step to step, and in its snapshot.
#[derive(Default)]
struct Counting {
    seen: u32,
}

impl Agent for Counting {
    fn receive(&mut self, host: &mut Host, message: &Envelope) -> Result<(), Failure> {
        self.seen += 1;
        match message.kind() {
            Kind::Message => host.send(message.sender(), message.payload())?,
            Kind::Input => host.output(Writer::new().u32(self.seen).bytes(message.payload()))?,
            _ => {}
        }
        Ok(())
    }
}

export_agent!(Counting);
