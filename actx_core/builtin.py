"""The plugin that ships in core: what needs no domain."""

from __future__ import annotations

from collections.abc import Iterator

from actx_core.hookspecs import Component, hookimpl


@hookimpl
def actx_models() -> Iterator[Component]:
    yield Component(
        "module",
        "actx_core.torch.module:Module",
        "Any importable callable that returns an nn.Module, with a local checkpoint.",
        config="actx_core.torch.config:ModuleConfig",
        extra="torch",
    )


@hookimpl
def actx_sources() -> Iterator[Component]:
    yield Component(
        "arrays",
        "actx_core.sources.arrays:Arrays",
        "Rows of a .npy or .npz file.",
        config="actx_core.sources.arrays:ArraysConfig",
    )
    yield Component(
        "text",
        "actx_core.sources.text:Text",
        "Lines of text files, or a column of JSON lines.",
        config="actx_core.sources.text:TextConfig",
    )


@hookimpl
def actx_poolers() -> Iterator[Component]:
    reduce, select = "actx_core.poolers.reduce", "actx_core.poolers.select"
    yield Component("mean", f"{reduce}:Mean", "Mean over the named axes; masked values left out.")
    yield Component("max", f"{reduce}:Max", "Maximum over the named axes; masked values left out.")
    yield Component("std", f"{reduce}:Std", "Standard deviation over the named axes.")
    yield Component("select", f"{select}:Select", "One index of an axis: first, last, or a number.")
    yield Component("flatten", f"{select}:Flatten", "Join the named axes into one.")
    yield Component("identity", f"{select}:Identity", "Keep the activation whole.")
    yield Component("grid", "actx_core.poolers.grid:Grid", "k x k means over the plane.")
    yield Component(
        "projection",
        "actx_core.poolers.project:Projection",
        "Seeded sparse random projection of the named axes to a few dimensions.",
    )


@hookimpl
def actx_stores() -> Iterator[Component]:
    yield Component("npy", "actx_core.stores.npy:Npy", "NumPy .npy files.")
    yield Component(
        "hdf5", "actx_core.stores.hdf5:Hdf5", "HDF5 files, one dataset each.", extra="hdf5"
    )
    yield Component("parquet", "actx_core.stores.parquet:Parquet", "Parquet files, a row a row.")


@hookimpl
def actx_executors() -> Iterator[Component]:
    yield Component("serial", "actx_core.executors.serial:Serial", "In this process.")
    yield Component(
        "local",
        "actx_core.executors.local:Local",
        "Several processes on this machine.",
        config="actx_core.executors.local:LocalConfig",
    )


@hookimpl
def actx_formats() -> Iterator[Component]:
    formats = "actx_core.formats"
    yield Component(
        "hdf5",
        f"{formats}.hdf5:Hdf5File",
        "One HDF5 file with every array, for any HDF5 reader.",
        extra="hdf5",
    )
    yield Component("npz", f"{formats}.npz:Npz", "One .npz file with every array, for numpy.load.")
    yield Component(
        "npy", f"{formats}.npy:NpyFolder", "A folder of .npy files, for numpy.load and mapping."
    )
    yield Component(
        "parquet",
        f"{formats}.parquet:ParquetFolder",
        "A folder of Parquet files with rows and values, for pandas, polars, DuckDB and R.",
    )
    yield Component(
        "text",
        f"{formats}.text:Text",
        "A folder of text files, for numpy.loadtxt, R, MATLAB and spreadsheets.",
        config=f"{formats}.config:TextConfig",
    )
    yield Component(
        "matlab",
        f"{formats}.matlab:Matlab",
        "One MAT-file of version 7.3, for MATLAB's load and matfile.",
        extra="hdf5",
    )
    yield Component(
        "rsatoolbox",
        f"{formats}.rsatoolbox:RsaToolbox",
        "A folder of datasets, for rsatoolbox.data.load_dataset.",
        extra="hdf5",
    )
    yield Component(
        "netcdf",
        f"{formats}.netcdf:NetCdf",
        "One NetCDF-4 file with named axes, for xarray and any NetCDF reader.",
        extra="netcdf",
    )
