"""The harness: simulated adapters, oracles, campaigns, builds and the command line."""
