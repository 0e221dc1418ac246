"""Parts of activations: non-negative matrix factorization, principal and independent components."""
