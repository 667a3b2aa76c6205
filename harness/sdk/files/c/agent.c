/* @NAME@: answers each message with its own bytes, and lets out what comes from outside, numbered. */
#include "sdk/wasm_engine.h"

static uint32_t seen; /* the agent's state: static variables are kept from step to step, and in its snapshot */

uint32_t we_on_init(void) { return 0; }

uint32_t we_on_receive(const we_envelope *message) {
  seen++;
  if (message->kind == WE_MESSAGE) return we_send(message->sender, message->payload, message->length);
  if (message->kind == WE_INPUT) {
    we_writer answer = we_write(8 + message->length);
    we_put_u32(&answer, seen);
    we_put_bytes(&answer, message->payload, message->length);
    return we_output(answer.data, answer.length);
  }
  return 0;
}

uint32_t we_on_step(const we_context *context) {
  (void)context;
  return 0;
}

uint32_t we_on_shutdown(void) { return 0; }
