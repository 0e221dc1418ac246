"""Files that other vision tools read and write."""
