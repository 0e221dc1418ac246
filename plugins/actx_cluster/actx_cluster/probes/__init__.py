"""Linear probes: what can be read from each tap, with controls."""
