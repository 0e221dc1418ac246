"""What becomes of stored activations of Go positions: files, boards with marks, search, comparison."""
