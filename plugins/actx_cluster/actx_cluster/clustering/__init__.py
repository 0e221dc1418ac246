"""Clusters of rows: k-means, agglomerative, leaders, HDBSCAN, with quality and stability beside each."""
