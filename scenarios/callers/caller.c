/* caller: plugins_caller.wat once more, in C with the SDK. */
#include "sdk/wasm_engine.h"

#define PLUGIN(name)                                                         \
  __attribute__((import_module(#name), import_name("transform"))) int32_t name( \
      const void *data, uint32_t length, void *room, uint32_t capacity)

PLUGIN(capitals);
PLUGIN(checksum);
PLUGIN(pack);
PLUGIN(turn);
PLUGIN(ticket);

enum { AGENTS = 4, LONGEST = 4096 };

static uint32_t seen;

static uint32_t let_out(uint32_t job, int32_t answer, const void *text, uint32_t length) {
  we_writer out = we_write(12 + length);
  we_put_u32(&out, job);
  we_put_u32(&out, (uint32_t)answer);
  we_put_u32(&out, seen);
  we_put(&out, text, length);
  return out.failed ? 1 : we_output(out.data, out.length);
}

static int32_t carried_out(uint8_t step, const uint8_t *text, uint32_t length, void *room) {
  switch (step % 5) {
  case 0: return capitals(text, length, room, LONGEST);
  case 1: return checksum(text, length, room, LONGEST);
  case 2: return pack(text, length, room, LONGEST);
  case 3: return turn(text, length, room, LONGEST);
  default: return ticket(text, length, room, LONGEST);
  }
}

uint32_t we_on_init(void) { return 0; }

uint32_t we_on_receive(const we_envelope *message) {
  if (message->kind != WE_MESSAGE && message->kind != WE_INPUT) return 0;
  seen++;
  we_reader in = we_read(message->payload, message->length);
  uint32_t job = we_get_u32(&in), count = we_get_u8(&in);
  const uint8_t *steps = we_get(&in, count);
  if (in.failed) return 1;
  const uint8_t *text = message->payload + in.at;
  uint32_t length = message->length - in.at;
  if (!count) return let_out(job, 0, text, length);
  we_writer out = we_write(5 + count + LONGEST);
  we_put_u32(&out, job);
  we_put_u8(&out, (uint8_t)(count - 1));
  we_put(&out, steps + 1, count - 1);
  if (out.failed) return 1;
  int32_t got = carried_out(steps[0], text, length, out.data + out.length);
  if (got < 0) return let_out(job, got, text, 0);
  return we_send((we_self() + 1) % AGENTS, out.data, out.length + (uint32_t)got);
}

uint32_t we_on_step(const we_context *context) { return context->flags; }

uint32_t we_on_shutdown(void) { return 0; }
