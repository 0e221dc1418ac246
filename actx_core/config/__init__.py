"""From TOML or a dict to a checked pipeline."""
