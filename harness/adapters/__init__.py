"""Simulated adapters of the runtime's ports, all driven by one virtual clock."""
