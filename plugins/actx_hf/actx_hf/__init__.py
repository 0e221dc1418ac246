"""actx-hf: transformers models, datasets and text for actx; declares nothing yet."""
