/* checksum: the bytes, then their CRC-32 (as in zlib), little-endian. A zero byte traps. */
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(name), used))

extern unsigned char __heap_base;
static uint32_t used; /* an instance serves one call: nothing is ever given back */

EXPORT("allocate") uint32_t allocate(uint32_t size) {
  uint64_t at = (uintptr_t)&__heap_base + used, end = at + size;
  uint64_t pages = (end + 65535) >> 16, has = __builtin_wasm_memory_size(0);
  if (pages > 65535 || (pages > has && __builtin_wasm_memory_grow(0, pages - has) == (unsigned long)-1)) return 0;
  used += size;
  return (uint32_t)at;
}

EXPORT("transform") uint64_t transform(uint8_t *at, uint32_t length) {
  uint8_t *out = (uint8_t *)(uintptr_t)allocate(length + 4);
  uint32_t crc = ~0u;
  if (!out) __builtin_trap();
  for (uint32_t i = 0; i < length; i++) {
    if (!at[i]) __builtin_trap();
    out[i] = at[i];
    crc ^= at[i];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0xEDB88320u & -(crc & 1));
  }
  crc = ~crc;
  for (uint32_t i = 0; i < 4; i++) out[length + i] = (uint8_t)(crc >> 8 * i);
  return (uint64_t)(uintptr_t)out << 32 | (length + 4);
}
