"""How representations relate: dissimilarities, RSA, CKA, Procrustes distance, neighbours, tuning curves."""
