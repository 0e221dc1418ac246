"""A plugin for tests of text sources, and a server that fails."""
