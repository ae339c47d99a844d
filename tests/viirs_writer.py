"""Write HDF-EOS5 tiles such as NASA delivers for VIIRS, with h5py, without the HDF-EOS library."""

import h5py
import numpy as np

RADIUS = 6371007.181
PIXEL = 2 * np.pi * RADIUS / 43200
LST_GRID = "VIIRS_Grid_Daily_1km_LST21"
VEGETATION_GRID = "VIIRS_Grid_16Day_VI_1km"
LST = {"scale_factor": 0.02, "add_offset": 0.0, "_FillValue": 0, "units": "K"}
QUALITY = {"units": "n/a", "scale_factor": "n/a", "add_offset": "n/a"}
INDEX = {"scale_factor": 0.0001, "add_offset": 0.0, "_FillValue": -15000, "units": "NDVI"}
RANK = {"_FillValue": -4, "units": "rank"}
DAY = {"_FillValue": -1, "units": "Julian day"}
TYPES = {"int8": "CHAR", "int16": "SHORT", "uint16": "USHORT"}
ATTRIBUTES = {
    "LST_1KM": LST,
    "QC": QUALITY,
    "1 km 16 days NDVI": INDEX,
    "1 km 16 days EVI": INDEX,
    "1 km 16 days pixel reliability": RANK,
    "1 km 16 days composite day of the year": DAY,
}


def struct_metadata(grid, shape, row, col, fields=(), pixel=PIXEL, projection="HE5_GCTP_SNSOID"):
    left, top = -np.pi * RADIUS + col * PIXEL, np.pi * RADIUS / 2 - row * PIXEL
    right, bottom = left + shape[1] * pixel, top - shape[0] * pixel
    objects = "".join(
        f'\t\t\tOBJECT=DataField_{number}\n\t\t\t\tDataFieldName="{name}"\n'
        f"\t\t\t\tDataType=H5T_NATIVE_{TYPES[values.dtype.name]}\n"
        '\t\t\t\tDimList=("YDim","XDim")\n\t\t\t\tMaxdimList=("YDim","XDim")\n'
        f"\t\t\tEND_OBJECT=DataField_{number}\n"
        for number, (name, values) in enumerate(dict(fields).items(), 1)
    )
    return (
        "GROUP=SwathStructure\nEND_GROUP=SwathStructure\nGROUP=GridStructure\n"
        f'\tGROUP=GRID_1\n\t\tGridName="{grid}"\n\t\tXDim={shape[1]}\n\t\tYDim={shape[0]}\n'
        f"\t\tUpperLeftPointMtrs=({left:.6f},{top:.6f})\n"
        f"\t\tLowerRightMtrs=({right:.6f},{bottom:.6f})\n\t\tProjection={projection}\n"
        f"\t\tProjParams=({RADIUS:.6f},0,0,0,0,0,0,0,0,0,0,0,0)\n\t\tSphereCode=-1\n"
        "\t\tGridOrigin=HE5_HDFE_GD_UL\n\t\tGROUP=Dimension\n\t\tEND_GROUP=Dimension\n"
        f"\t\tGROUP=DataField\n{objects}\t\tEND_GROUP=DataField\n"
        "\t\tGROUP=MergedFields\n\t\tEND_GROUP=MergedFields\n\tEND_GROUP=GRID_1\nEND_GROUP=GridStructure\nEND\n"
    )


def write_tile(path, grid, fields, row, col, attributes=None, metadata=None, short_name=None):
    """Write fields (row, col) whose first pixel is at a global row and column."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = next(iter(fields.values())).shape
    with h5py.File(path, "w") as file:
        about = file.create_group("HDFEOS/ADDITIONAL/FILE_ATTRIBUTES")
        about.attrs["ShortName"] = np.bytes_(short_name or path.name.split(".")[0])
        group = file.create_group(f"HDFEOS/GRIDS/{grid}/Data Fields")
        for name, values in fields.items():
            field = group.create_dataset(name, data=values, chunks=True, compression="gzip")
            for key, value in {**ATTRIBUTES[name], **(attributes or {}).get(name, {})}.items():
                if value is None:
                    continue
                plain = np.bytes_(value) if isinstance(value, str) else np.array([value])
                field.attrs[key] = plain.astype(values.dtype) if key == "_FillValue" else plain
        text = struct_metadata(grid, shape, row, col, fields, **(metadata or {}))
        file["HDFEOS INFORMATION/StructMetadata.0"] = np.bytes_(text.ljust(32000, "\0"))
    return path


def corner_of(tile, more):
    """Global row and column of a tile's corner, or those taken out of ``more``."""
    return more.pop("row", 1200 * int(tile[4:6])), more.pop("col", 1200 * int(tile[1:3]))


def write_lst(folder, product, day, tile, numbers, quality, **more):
    """Write a VNP21A1 tile named by day (``2024001``) and tile (``h18v04``).

    ``row`` and ``col``: its first pixel, if not the tile's.
    """
    place = corner_of(tile, more)
    fields = {"LST_1KM": np.asarray(numbers, "uint16"), "QC": np.asarray(quality, "uint16")}
    path = folder / f"{product}.A{day}.{tile}.002.{day}123456.h5"
    return write_tile(path, LST_GRID, fields, *place, **more)


def write_vegetation(folder, day, tile, ndvi, evi, reliability, day_of_year, **more):
    """Write a VNP13A2 tile; ``row`` and ``col`` as in ``write_lst``."""
    place = corner_of(tile, more)
    fields = {
        "1 km 16 days NDVI": np.asarray(ndvi, "int16"),
        "1 km 16 days EVI": np.asarray(evi, "int16"),
        "1 km 16 days pixel reliability": np.asarray(reliability, "int8"),
        "1 km 16 days composite day of the year": np.asarray(day_of_year, "int16"),
    }
    path = folder / f"VNP13A2.A{day}.{tile}.002.{day}123456.h5"
    return write_tile(path, VEGETATION_GRID, fields, *place, **more)
