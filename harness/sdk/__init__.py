"""The SDK for agents: a folder to start from, compilers, and a written conversation to test against (docs/sdk.md).

`files/` holds what a new agent's folder gets: bindings of the ABI for C, Rust and AssemblyScript, and one example in
each language. The Python here never runs an agent itself; the runtime does, under the simulation.
"""
