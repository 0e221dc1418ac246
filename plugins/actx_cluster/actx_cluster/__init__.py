"""Analyzers for actx that find structure in stored activations: k-means clusters, principal components."""
