"""Scenarios that people write as files: `scenario.toml`, its agents' manifests and modules, in one folder."""
