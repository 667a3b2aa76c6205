"""Wrappers: one file per port. Each holds an inner port and an `Injector`, and is transparent where no fault fires.

Order, from the orchestrator outwards: `crash` (its death), then `workers`, `gateway` and `accelerators` (frames), then
the adapter. Inside a worker: `guests` and `memory`, sharing one `WorkerSite`. Inside a device's process: `models`,
sharing one `DeviceSite` with `accelerators`. `storage` says what a crash leaves on the disk.
"""
