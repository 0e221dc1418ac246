"""Data for language models: Hugging Face data sets and files of the same formats."""
