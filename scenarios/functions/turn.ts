// turn: the bytes in the other order.

export function allocate(size: u32): usize {
  return heap.alloc(size);
}

export function transform(at: usize, length: u32): u64 {
  const out = heap.alloc(length);
  for (let i: u32 = 0; i < length; i++) store<u8>(out + i, load<u8>(at + (length - 1 - i)));
  return ((out as u64) << 32) | (length as u64);
}
