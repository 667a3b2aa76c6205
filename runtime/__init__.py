"""The runtime: deterministic ticks, agents as WebAssembly modules, a journal that replays.

Way in: `orchestrator.Orchestrator` (one per incarnation), `worker.WorkerCore` (one per worker), `ports` (what both
see of the world). Nothing here knows of simulation, faults or tests.
"""
