"""Images: folders, tables, stacks, THINGS; replicates and alpha masks."""
