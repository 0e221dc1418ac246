"""Maps: the rows of a tap in a plane."""
