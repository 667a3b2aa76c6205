/* wasm-engine's agent ABI, version 1, for C (docs/abi.md).
 *
 * Include it in one file, write the four we_on_ functions below, and build freestanding wasm32. There is no libc and no
 * malloc: what lasts lives in static variables, which are part of the agent's snapshot. A version that takes over the
 * state of another one defines WE_MIGRATES before it includes this file, and writes we_on_migrate.
 *
 * What this header guarantees: a message and its payload stay as they are until the step ends, and so do the bytes given
 * to a call when they come from a we_writer or from we_room. Bytes of your own must not change before the step ends.
 */
#ifndef WASM_ENGINE_H
#define WASM_ENGINE_H

#include <stddef.h>
#include <stdint.h>

/* --- numbers of the ABI ------------------------------------------------------------------------------------------ */

#define WE_OUTSIDE 0xFFFFFFFFu /* the sender of whatever no agent sent */

enum { WE_END = 0, WE_MORE = 1, WE_FAILED = 2, WE_CANCELLED = 3 }; /* how a reading ends */

enum {
  WE_OK = 0,
  WE_E_LIMIT = 1,
  WE_E_TARGET = 2,
  WE_E_SIZE = 3,
  WE_E_FULL = 4,
  WE_E_MEMBER = 5,
  WE_E_QUOTA = 6,
  WE_E_INVALID = 7
};

enum {
  WE_MESSAGE = 1,
  WE_TOPIC = 2,
  WE_INPUT = 3,
  WE_WAKE = 4,
  WE_REFUSED = 5,
  WE_BUFFER = 6,
  WE_INFERENCE = 7,
  WE_TASK = 8,
  WE_READING = 9 /* the payload begins with a status, u32: WE_END, WE_MORE, … */
};

/* --- host functions: each needs its group among the manifest's capabilities --------------------------------------- */

#define WE_IMPORT(name) __attribute__((import_module("engine"), import_name(name)))

WE_IMPORT("send") uint32_t we_send(uint32_t agent, const void *data, uint32_t length);
WE_IMPORT("publish") uint32_t we_publish(uint32_t topic, const void *data, uint32_t length);
WE_IMPORT("subscribe") uint32_t we_subscribe(uint32_t topic);
WE_IMPORT("unsubscribe") uint32_t we_unsubscribe(uint32_t topic);
WE_IMPORT("wake") uint32_t we_wake(uint32_t ticks);
WE_IMPORT("buffer_write") uint32_t we_buffer_write(uint32_t buffer, const void *data, uint32_t length);
WE_IMPORT("output") uint32_t we_output(const void *data, uint32_t length);
WE_IMPORT("infer") uint32_t we_infer(uint32_t model, const void *data, uint32_t length);
WE_IMPORT("read") uint32_t we_read_outside(uint32_t source, const void *data, uint32_t length);
WE_IMPORT("cancel") uint32_t we_cancel(uint32_t source);
WE_IMPORT("now") uint64_t we_now(void);
WE_IMPORT("random") uint64_t we_random(void);
WE_IMPORT("self") uint32_t we_self(void);

/* --- what an agent is given ---------------------------------------------------------------------------------------- */

typedef struct {
  uint32_t kind;
  uint32_t sender;
  uint64_t seq;
  uint32_t channel; /* the topic, the buffer, the model, or the status code of a refusal */
  uint32_t length;  /* of the payload */
  uint8_t payload[];
} we_envelope;

typedef struct {
  uint64_t tick;
  uint32_t agent;
  uint32_t flags;
} we_context;

_Static_assert(offsetof(we_envelope, payload) == 24, "the envelope's header has 24 bytes");
_Static_assert(sizeof(we_context) == 16, "the context has 16 bytes");

/* --- what you write: each gives 0, or a code that fails the step as agent_error:<code> ----------------------------- */

uint32_t we_on_init(void);
uint32_t we_on_receive(const we_envelope *message);
uint32_t we_on_step(const we_context *context);
uint32_t we_on_shutdown(void);

#ifdef WE_MIGRATES
/* The state of the version before: `version` is its number, `memory` all of its memory, of `length` bytes. */
typedef struct {
  uint32_t version;
  uint32_t globals; /* how many mutable globals it has; we_before_global reads them */
  const uint8_t *memory;
  uint32_t length;
  const uint8_t *cells_;
} we_before;

/* A hot reload, in place of we_on_init. Any other code than 0 leaves the version before as it was. */
uint32_t we_on_migrate(const we_before *before);
#endif

/* --- room that lasts until the step ends --------------------------------------------------------------------------- */

extern unsigned char __heap_base;
static uint32_t we_free_, we_stale_ = 1;

/* `size` bytes at a multiple of 8, or NULL beyond limits.memory. They are yours until the step ends. */
static inline void *we_room(uint32_t size) {
  if (we_stale_) {
    we_free_ = ((uint32_t)(uintptr_t)&__heap_base + 7) & ~7u;
    we_stale_ = 0;
  }
  uint32_t at = we_free_, pages = (uint32_t)__builtin_wasm_memory_size(0);
  uint64_t end = ((uint64_t)at + size + 7) & ~7ull;
  uint64_t wanted = (end + 65535) >> 16;
  if (wanted > 65535) return NULL;
  if (wanted > pages && __builtin_wasm_memory_grow(0, (uint32_t)wanted - pages) == (size_t)-1) return NULL;
  we_free_ = (uint32_t)end;
  return (void *)(uintptr_t)at;
}

/* --- bytes out: little-endian, texts and byte strings with their length before them (u32) -------------------------- */

typedef struct {
  uint8_t *data;
  uint32_t length, capacity;
  int failed; /* set when something did not fit */
} we_writer;

static inline we_writer we_write(uint32_t capacity) {
  we_writer writer = {(uint8_t *)we_room(capacity), 0, capacity, 0};
  writer.failed = writer.data == NULL;
  return writer;
}

static inline void we_put(we_writer *writer, const void *data, uint32_t length) {
  if (writer->failed || length > writer->capacity - writer->length) {
    writer->failed = 1;
    return;
  }
  for (uint32_t i = 0; i < length; i++) writer->data[writer->length + i] = ((const uint8_t *)data)[i];
  writer->length += length;
}

static inline void we_put_u8(we_writer *writer, uint8_t value) { we_put(writer, &value, 1); }
static inline void we_put_u32(we_writer *writer, uint32_t value) { we_put(writer, &value, 4); }
static inline void we_put_u64(we_writer *writer, uint64_t value) { we_put(writer, &value, 8); }
static inline void we_put_i64(we_writer *writer, int64_t value) { we_put(writer, &value, 8); }
static inline void we_put_f64(we_writer *writer, double value) { we_put(writer, &value, 8); }
static inline void we_put_bytes(we_writer *writer, const void *data, uint32_t length) {
  we_put_u32(writer, length);
  we_put(writer, data, length);
}

/* --- bytes in: beyond the end everything is 0 and `failed` is set -------------------------------------------------- */

typedef struct {
  const uint8_t *data;
  uint32_t length, at;
  int failed;
} we_reader;

static inline we_reader we_read(const void *data, uint32_t length) {
  we_reader reader = {(const uint8_t *)data, length, 0, 0};
  return reader;
}

static inline const uint8_t *we_get(we_reader *reader, uint32_t length) {
  if (reader->failed || length > reader->length - reader->at) {
    reader->failed = 1;
    return NULL;
  }
  reader->at += length;
  return reader->data + reader->at - length;
}

static inline uint64_t we_get_number_(we_reader *reader, uint32_t length) {
  const uint8_t *from = we_get(reader, length);
  uint64_t value = 0;
  for (uint32_t i = length; from && i > 0; i--) value = value << 8 | from[i - 1];
  return value;
}

static inline uint8_t we_get_u8(we_reader *reader) { return (uint8_t)we_get_number_(reader, 1); }
static inline uint32_t we_get_u32(we_reader *reader) { return (uint32_t)we_get_number_(reader, 4); }
static inline uint64_t we_get_u64(we_reader *reader) { return we_get_number_(reader, 8); }
static inline int64_t we_get_i64(we_reader *reader) { return (int64_t)we_get_number_(reader, 8); }
static inline double we_get_f64(we_reader *reader) {
  union {
    uint64_t bits;
    double value;
  } both = {we_get_number_(reader, 8)};
  return both.value;
}
/* A byte string: where it lies, its length in *length. */
static inline const uint8_t *we_get_bytes(we_reader *reader, uint32_t *length) {
  *length = we_get_u32(reader);
  const uint8_t *from = we_get(reader, *length);
  if (!from) *length = 0;
  return from;
}

#ifdef WE_MIGRATES
/* The bits of a mutable global of the version before, in index order; 0 where it has none of that number. */
static inline uint64_t we_before_global(const we_before *before, uint32_t number) {
  if (number >= before->globals) return 0;
  we_reader cell = we_read(before->cells_ + 16 * number + 8, 8);
  return we_get_u64(&cell);
}
#endif

/* --- the exports ----------------------------------------------------------------------------------------------------- */

#define WE_EXPORT(name) __attribute__((export_name(name), used))

WE_EXPORT("agent_alloc") uint32_t we_agent_alloc_(uint32_t size) { return (uint32_t)(uintptr_t)we_room(size); }
WE_EXPORT("agent_receive") uint32_t we_agent_receive_(uint32_t at, uint32_t length) {
  const we_envelope *message = (const we_envelope *)(uintptr_t)at;
  return length < 24 || message->length != length - 24 ? 1 : we_on_receive(message);
}
WE_EXPORT("agent_step") uint32_t we_agent_step_(uint32_t at) {
  uint32_t code = we_on_step((const we_context *)(uintptr_t)at);
  we_stale_ = 1; /* what this step was given is free in the next, but is still read after this one */
  return code;
}
WE_EXPORT("agent_init") uint32_t we_agent_init_(void) {
  uint32_t code = we_on_init();
  we_stale_ = 1;
  return code;
}
WE_EXPORT("agent_shutdown") uint32_t we_agent_shutdown_(void) {
  uint32_t code = we_on_shutdown();
  we_stale_ = 1;
  return code;
}

#ifdef WE_MIGRATES
WE_EXPORT("agent_migrate") uint32_t we_agent_migrate_(uint32_t version, uint32_t at, uint32_t length) {
  we_reader state = we_read((const void *)(uintptr_t)at, length);
  we_before before;
  before.version = version;
  before.globals = we_get_u32(&state);
  before.length = we_get_u32(&state) << 16;
  before.cells_ = we_get(&state, before.globals < length / 16 ? 16 * before.globals : length);
  before.memory = we_get(&state, before.length);
  if (state.failed) return 1;
  uint32_t code = we_on_migrate(&before);
  we_stale_ = 1;
  return code;
}
#endif

#endif
