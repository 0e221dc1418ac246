"""Latent concepts of words: ConceptX's files, alignment with labels, and flow between layers."""
