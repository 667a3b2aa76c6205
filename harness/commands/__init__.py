"""The commands of `wasm-engine`, one per module."""
