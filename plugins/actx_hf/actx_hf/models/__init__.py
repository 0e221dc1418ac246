"""Models of the package transformers: options, loading, and the model component."""
