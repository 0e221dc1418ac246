"""Sources that need no domain: rows of arrays, and text."""
