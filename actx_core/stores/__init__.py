"""File formats for stored arrays: npy, HDF5 and Parquet."""
