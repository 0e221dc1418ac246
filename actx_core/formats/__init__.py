"""Export formats: a run as the files of other tools."""
