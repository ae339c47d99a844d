"""Write HDF-EOS2 tiles such as NASA delivers, with pyhdf and without the HDF-EOS library."""

from pathlib import Path

import numpy as np
from pyhdf import VS, V  # noqa: F401  (gives HDF its vgstart)
from pyhdf.HDF import HC, HDF
from pyhdf.SD import SD, SDC

RADIUS = 6371007.181
PIXEL = 2 * np.pi * RADIUS / 43200
GRID_NAMES = {
    "11A1": "MODIS_Grid_Daily_1km_LST",
    "13A2": "MODIS_Grid_16DAY_1km_VI",
    "13A1": "MODIS_Grid_16DAY_500m_VI",
}
TYPES = {
    np.dtype(name): getattr(SDC, name.upper())
    for name in "int8 uint8 int16 uint16 int32 float32 float64".split()
}
LST = {"scale_factor": 0.02, "add_offset": 0.0, "_FillValue": 0, "units": "K"}
QUALITY = {"_FillValue": 0}
INDEX = {"scale_factor": 10000.0, "add_offset": 0.0, "_FillValue": -3000}
RELIABILITY = {"_FillValue": -1, "units": "rank"}


def struct_metadata(grid_name, shape, row, col, pixel, fields, projection="GCTP_SNSOID"):
    left, top = -np.pi * RADIUS + col * pixel, np.pi * RADIUS / 2 - row * pixel
    right, bottom = left + shape[1] * pixel, top - shape[0] * pixel
    lines = [
        "GROUP=SwathStructure",
        "END_GROUP=SwathStructure",
        "GROUP=GridStructure",
        "\tGROUP=GRID_1",
        f'\t\tGridName="{grid_name}"',
        f"\t\tXDim={shape[1]}",
        f"\t\tYDim={shape[0]}",
        f"\t\tUpperLeftPointMtrs=({left:.6f},{top:.6f})",
        f"\t\tLowerRightMtrs=({right:.6f},{bottom:.6f})",
        f"\t\tProjection={projection}",
        f"\t\tProjParams=({RADIUS:.6f},0,0,0,0,0,0,0,86400,0,0,0,0)",
        "\t\tSphereCode=-1",
        "\t\tGridOrigin=HDFE_GD_UL",
        "\t\tGROUP=Dimension",
        "\t\tEND_GROUP=Dimension",
        "\t\tGROUP=DataField",
    ]
    for number, (name, values) in enumerate(fields.items(), 1):
        lines += [
            f"\t\t\tOBJECT=DataField_{number}",
            f'\t\t\t\tDataFieldName="{name}"',
            f"\t\t\t\tDataType=DFNT_{values.dtype.name.upper()}",
            '\t\t\t\tDimList=("YDim","XDim")',
            f"\t\t\tEND_OBJECT=DataField_{number}",
        ]
    lines += ["\t\tEND_GROUP=DataField", "\tEND_GROUP=GRID_1", "END_GROUP=GridStructure", "END"]
    return "\n".join(lines) + "\n"


def core_metadata(product):
    return (
        "GROUP = INVENTORYMETADATA\n  OBJECT = SHORTNAME\n    NUM_VAL = 1\n"
        f'    VALUE = "{product}"\n  END_OBJECT = SHORTNAME\nEND_GROUP = INVENTORYMETADATA\nEND\n'
    )


def write_dataset(file, name, values, attributes, grid_name):
    """Write one deflated field; return what links it into the grid."""
    values = np.ascontiguousarray(values)
    dataset = file.create(name, TYPES[values.dtype], values.shape)
    for axis, label in enumerate(("YDim", "XDim")):
        dataset.dim(axis).setname(f"{label}:{grid_name}")
    dataset.setcompress(SDC.COMP_DEFLATE, 5)
    dataset[:] = values
    for key, value in attributes.items():
        kind = SDC.CHAR if isinstance(value, str) else SDC.FLOAT64
        dataset.attr(key).set(TYPES[values.dtype] if key == "_FillValue" else kind, value)
    reference = dataset.ref()
    dataset.endaccess()
    return reference


def link_grid(path, grid_name, references):
    """Make the Vgroups through which HDF-EOS libraries find the grid and its fields."""
    hdf = HDF(str(path), HC.WRITE)
    groups = hdf.vgstart()
    grid, fields, attributes = (
        groups.create(name) for name in (grid_name, "Data Fields", "Grid Attributes")
    )
    grid._class, fields._class, attributes._class = "GRID", "GRID Vgroup", "GRID Vgroup"
    for reference in references:
        fields.add(HC.DFTAG_NDG, reference)
    grid.insert(fields)
    grid.insert(attributes)
    for group in (fields, attributes, grid):
        group.detach()
    groups.end()
    hdf.close()


def write_grid(path, fields, row, col, *, attributes=None, product="MOD11A1", pixel=PIXEL, **more):
    """Write a grid whose corner is at a global row and column of its own pixel size.

    ``fields``: values (row, col) by name; ``attributes``: attributes by name. ``more`` may give
    ``grid_name``, ``projection`` or ``text`` (another StructMetadata.0).
    """
    grid_name = more.pop("grid_name", GRID_NAMES.get(product[3:], "MODIS_Grid"))
    shape = next(iter(fields.values())).shape
    text = more.pop("text", None)
    if text is None:
        text = struct_metadata(grid_name, shape, row, col, pixel, fields, **more)
    file = SD(str(path), SDC.WRITE | SDC.CREATE | SDC.TRUNC)
    references = [
        write_dataset(file, name, values, (attributes or {}).get(name, {}), grid_name)
        for name, values in fields.items()
    ]
    file.attr("HDFEOSVersion").set(SDC.CHAR, "HDFEOS_V2.19")
    file.attr("StructMetadata.0").set(SDC.CHAR, text.ljust(32000, "\0"))
    file.attr("CoreMetadata.0").set(SDC.CHAR, core_metadata(product))
    file.end()
    link_grid(path, grid_name, references)
    return Path(path)


def write_lst(folder, day, tile, layers, *, row=None, col=None, product="MOD11A1", **more):
    """Write an LST tile under NASA's name; its corner is the tile's unless given.

    ``layers``: values of ``LST_Day_1km``, ``QC_Day``, ``LST_Night_1km``, ``QC_Night``.
    """
    attributes = {name: dict(LST if name.startswith("LST") else QUALITY) for name in layers}
    for name, changed in more.pop("change", {}).items():
        attributes[name] |= changed
    row = int(tile[4:]) * 1200 if row is None else row
    col = int(tile[1:3]) * 1200 if col is None else col
    stamp = more.pop("stamp", "2021001000000")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{product}.A{day:%Y%j}.{tile}.061.{stamp}.hdf"
    return write_grid(path, layers, row, col, attributes=attributes, product=product, **more)


def write_vegetation(folder, day, tile, layers, *, row, col, product="MOD13A2", **more):
    """Write a vegetation tile; ``layers`` by short name (``NDVI``, ``pixel reliability``, ...)."""
    prefix, pixel = ("500m", PIXEL / 2) if product.endswith("13A1") else ("1 km", PIXEL)
    kinds = {"NDVI": INDEX, "EVI": INDEX, "pixel reliability": RELIABILITY}
    names = {name: f"{prefix} 16 days {name}" for name in layers}
    attributes = {full: dict(kinds.get(name, {"_FillValue": -1})) for name, full in names.items()}
    for name, changed in more.pop("change", {}).items():
        attributes[names[name]] |= changed
    fields = {full: layers[name] for name, full in names.items()}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{product}.A{day:%Y%j}.{tile}.061.2021001000000.hdf"
    more = {"pixel": pixel} | more
    return write_grid(path, fields, row, col, attributes=attributes, product=product, **more)
