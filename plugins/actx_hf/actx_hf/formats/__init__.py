"""Files of other tools for language models: DeepLens, SAELens, NeuroX."""
