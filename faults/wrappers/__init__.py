"""Wrappers: one file per port. Each holds an inner port and an `Injector`, and is transparent where no fault fires.

Order, from the orchestrator outwards: `crash` (its death), then `workers` and `gateway` (frames), then the adapter.
Inside a worker: `guests` and `memory`, sharing one `WorkerSite`. `storage` says what a crash leaves on the disk.
"""
