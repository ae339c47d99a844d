"""The part of Earth Engine's algebra that the loopback server evaluates: graphs to images.

Images are lazy: a band is a function of places in a projection. What is not written here answers
400 with the algorithm's name, so that a test that needs more fails by name.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

DAY_MS = 86_400_000
UNIT_MS = {"day": DAY_MS, "hour": DAY_MS // 24}
# Values and where they are valid, of x and y in a projection.
Sample = Callable[[np.ndarray, np.ndarray, str], tuple[np.ndarray, np.ndarray]]
EE_TYPES = {"float": "float32", "double": "float64"}


class EarthEngineError(Exception):
    """What the server answers instead of a result."""

    def __init__(self, message: str, code: int = 400) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Band:
    """One band: its name, type, native grid and values."""

    id: str
    dtype: str
    sample: Sample
    crs: str = "EPSG:4326"
    transform: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    size: tuple[int, int] | None = None  # width, height

    def info(self) -> dict[str, Any]:
        """Return the band as the REST interface describes it."""
        kind = np.dtype(self.dtype)
        if kind.kind == "f":
            about = {"precision": "float" if kind.itemsize == 4 else "double"}
        else:
            limits = np.iinfo(kind)
            about = {"precision": "int", "min": int(limits.min), "max": int(limits.max)}
        found = {
            "id": self.id,
            "data_type": {"type": "PixelType"} | about,
            "crs": self.crs,
            "crs_transform": list(self.transform),
        }
        return found | ({"dimensions": list(self.size)} if self.size else {})


@dataclass(frozen=True)
class Image:
    """Bands and properties."""

    bands: tuple[Band, ...]
    properties: dict[str, Any] = field(default_factory=dict)
    id: str | None = None

    def info(self) -> dict[str, Any]:
        """Return the image as the REST interface describes it."""
        shown = {k: v for k, v in self.properties.items() if k != "system:id"}
        found = {"type": "Image", "bands": [band.info() for band in self.bands]}
        return found | {"properties": shown} | ({"id": self.id} if self.id else {})

    def each(self, change: Callable[[Band], Band]) -> "Image":
        """Return the image with all bands changed."""
        return replace(self, bands=tuple(change(band) for band in self.bands))


@dataclass(frozen=True)
class Collection:
    """Images in order."""

    images: tuple[Image, ...]
    id: str | None = None

    def info(self) -> dict[str, Any]:
        """Return the collection as the REST interface describes it."""
        return {"type": "ImageCollection", "features": [image.info() for image in self.images]}


def plain(value: Any) -> Any:
    """Return a result as JSON-like values."""
    if hasattr(value, "info"):
        return value.info()
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value.item() if isinstance(value, np.generic) else value


def milliseconds(value: Any) -> int:
    """Return a date as Earth Engine counts time."""
    if isinstance(value, int | float):
        return int(value)
    when = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)


# ---- graphs -----------------------------------------------------------------------------------


class Evaluation:
    """One expression, evaluated against a catalog."""

    def __init__(self, catalog: Any, expression: dict[str, Any]) -> None:
        self.catalog = catalog
        self.nodes = expression["values"]
        self.result = self.node({"valueReference": expression["result"]}, {})

    def node(self, node: dict[str, Any], bound: dict[str, Any]) -> Any:
        """Evaluate a node, whose kind is its only key, under bound arguments."""
        ((kind, value),) = node.items()
        return getattr(self, f"_{kind}")(value, bound)

    def _constantValue(self, value: Any, bound: dict[str, Any]) -> Any:  # noqa: N802
        return value

    def _integerValue(self, value: Any, bound: dict[str, Any]) -> int:  # noqa: N802
        return int(value)

    def _valueReference(self, value: str, bound: dict[str, Any]) -> Any:  # noqa: N802
        return self.node(self.nodes[value], bound)

    def _argumentReference(self, value: str, bound: dict[str, Any]) -> Any:  # noqa: N802
        return bound[value]

    def _arrayValue(self, value: Any, bound: dict[str, Any]) -> list[Any]:  # noqa: N802
        return [self.node(part, bound) for part in value.get("values", [])]

    def _dictionaryValue(self, value: Any, bound: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {key: self.node(part, bound) for key, part in value.get("values", {}).items()}

    def _functionDefinitionValue(self, value: Any, bound: dict[str, Any]) -> Any:  # noqa: N802
        def call(*arguments: Any) -> Any:
            names = dict(zip(value["argumentNames"], arguments, strict=True))
            return self.node({"valueReference": value["body"]}, bound | names)

        return call

    def _functionInvocationValue(self, value: Any, bound: dict[str, Any]) -> Any:  # noqa: N802
        given = {k: self.node(part, bound) for k, part in value.get("arguments", {}).items()}
        if "functionReference" in value:
            return self.node({"valueReference": value["functionReference"]}, bound)(*given.values())
        name = value["functionName"]
        if name not in ALGORITHMS:
            raise EarthEngineError(f"the loopback has no algorithm {name!r}")
        return ALGORITHMS[name](self, **given)


ALGORITHMS: dict[str, Callable[..., Any]] = {}


def algorithm(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function under Earth Engine's names; it gets the evaluation first."""

    def note(function: Callable[..., Any]) -> Callable[..., Any]:
        ALGORITHMS.update(dict.fromkeys(names, function))
        return function

    return note


# ---- collections ------------------------------------------------------------------------------

algorithm("Image.load")(lambda e, id, version=None: e.catalog.image(id))
algorithm("ImageCollection.load")(lambda e, id, version=None: e.catalog.collection(id))
algorithm("Date")(lambda e, value, timeZone=None: milliseconds(value))
algorithm("DateRange")(
    lambda e, start, end=None, timeZone=None: (milliseconds(start), milliseconds(end))
)
algorithm("Collection.size")(lambda e, collection: len(collection.images))
algorithm("Collection.first")(lambda e, collection: collection.images[0])
algorithm("Collection.toList", "ImageCollection.toList")(
    lambda e, collection, count, offset=0: list(collection.images[offset : offset + count])
)
algorithm("List.slice")(lambda e, list, start, end=None, step=1: list[start:end:step])
algorithm("List.get")(lambda e, list, index: list[index])
algorithm("ImageCollection.fromImages")(lambda e, images: Collection(tuple(images)))
algorithm("AggregateFeatureCollection.array")(
    lambda e, collection, property: [image.properties.get(property) for image in collection.images]
)
algorithm("Image.bandNames")(lambda e, image: [band.id for band in image.bands])
algorithm("Image.projection")(
    lambda e, image: {"crs": image.bands[0].crs, "transform": image.bands[0].transform}
)
algorithm("Element.get", "Image.get")(lambda e, object, property: object.properties.get(property))
algorithm("Element.toDictionary")(lambda e, element, properties=None: {})
algorithm("Reducer.toList")(lambda e, tupleSize=None, numOptional=None: "toList")
algorithm("Reducer.repeat")(lambda e, reducer, count: reducer)
algorithm("Dictionary.get")(
    lambda e, dictionary, key, defaultValue=None: dictionary.get(key, defaultValue)
)
algorithm("Image.constant")(lambda e, value: value)  # only ever what masked pixels become
algorithm("Number.add")(lambda e, left, right: left + right)


@algorithm("Filter.dateRangeContains")
def _date_filter(e: Evaluation, leftValue: Any, rightField: str) -> Callable[[Image], bool]:
    return lambda image: leftValue[0] <= image.properties[rightField] < leftValue[1]


@algorithm("Collection.filter")
def _filter(e: Evaluation, collection: Collection, filter: Callable[[Image], bool]) -> Collection:
    return replace(collection, images=tuple(i for i in collection.images if filter(i)))


@algorithm("Collection.limit")
def _limit(
    e: Evaluation, collection: Collection, limit: int | None = None, key: str | None = None,
    ascending: bool = True,
) -> Collection:  # fmt: skip
    images = collection.images
    if key is not None:
        images = tuple(sorted(images, key=lambda i: i.properties[key], reverse=not ascending))
    return replace(collection, images=images[:limit])


@algorithm("Collection.map")
def _map(
    e: Evaluation, collection: Collection, baseAlgorithm: Callable[[Image], Image],
    dropNulls: bool = False,
) -> Collection:  # fmt: skip
    """Results keep the index of what they were made of."""
    made = []
    for image in collection.images:
        index = {"system:index": image.properties["system:index"]}
        result = baseAlgorithm(image)
        made.append(replace(result, properties=result.properties | index))
    return replace(collection, images=tuple(made))


@algorithm("ImageCollection.toBands")
def _to_bands(e: Evaluation, collection: Collection) -> Image:
    return Image(tuple(
        replace(band, id=f"{image.properties['system:index']}_{band.id}")
        for image in collection.images for band in image.bands
    ))  # fmt: skip


@algorithm("Collection.reduceColumns")
def _reduce_columns(
    e: Evaluation, collection: Collection, reducer: Any, selectors: list[str],
    weightSelectors: Any = None,
) -> dict[str, Any]:  # fmt: skip
    rows = [[image.properties.get(name) for name in selectors] for image in collection.images]
    kept = [row for row in rows if None not in row]
    return {"list": [list(column) for column in zip(*kept, strict=True)] or [[] for _ in selectors]}


# ---- images -----------------------------------------------------------------------------------


@algorithm("Image.select")
def _select(e: Evaluation, input: Image, bandSelectors: Any, newNames: Any = None) -> Image:
    found: list[Band] = []
    for wanted in bandSelectors if isinstance(bandSelectors, list) else [bandSelectors]:
        if isinstance(wanted, int):
            found.append(input.bands[wanted])
            continue
        hits = [band for band in input.bands if re.fullmatch(wanted, band.id)]
        if not hits:
            held = ", ".join(band.id for band in input.bands)
            raise EarthEngineError(
                f"Image.select: Band pattern '{wanted}' did not match any bands. Available "
                f"bands: [{held}]"
            )
        found += hits
    names = newNames or [band.id for band in found]
    pairs = zip(found, names, strict=True)
    return replace(input, bands=tuple(replace(band, id=name) for band, name in pairs))


@algorithm("Image.addBands")
def _add_bands(
    e: Evaluation, dstImg: Image, srcImg: Image, names: Any = None, overwrite: bool = False
) -> Image:
    """Names that are there already get a number."""
    bands = list(dstImg.bands)
    for band in srcImg.bands:
        if names and band.id not in names:
            continue
        held, name, number = {other.id for other in bands}, band.id, 0
        while name in held:
            number += 1
            name = f"{band.id}_{number}"
        bands.append(replace(band, id=name))
    return replace(dstImg, bands=tuple(bands))


@algorithm("Image.unmask")
def _unmask(e: Evaluation, input: Image, value: Any = 0, sameFootprint: bool = True) -> Image:
    """Fill what is masked; off the image as well only without its footprint.

    The type grows to hold the fill.
    """

    def fill(band: Band) -> Band:
        wide = np.dtype(band.dtype)
        if wide.kind != "f":
            wide = np.result_type(wide, np.min_scalar_type(value))

        def sample(x: np.ndarray, y: np.ndarray, crs: str) -> tuple[np.ndarray, np.ndarray]:
            values, valid = band.sample(x, y, crs)
            filled = np.where(valid, values.astype(wide), np.asarray(value, wide))
            return filled, np.full_like(valid, not sameFootprint) | valid

        return replace(band, dtype=str(wide), sample=sample)

    return input.each(fill)


@algorithm("Image.cast")
def _cast(e: Evaluation, image: Image, bandTypes: dict[str, Any], bandOrder: Any = None) -> Image:
    def cast(band: Band) -> Band:
        return _as(band, EE_TYPES.get(bandTypes[band.id], bandTypes[band.id]))

    return image.each(cast)


def _as(band: Band, dtype: str) -> Band:
    """Return a band in another type."""

    def sample(x: np.ndarray, y: np.ndarray, crs: str) -> tuple[np.ndarray, np.ndarray]:
        values, valid = band.sample(x, y, crs)
        return values.astype(dtype), valid

    return replace(band, dtype=dtype, sample=sample)


algorithm("Image.toFloat", "Image.float")(
    lambda e, value: value.each(lambda band: _as(band, "float32"))
)


@algorithm("Collection.iterate")
def _iterate(e: Evaluation, collection: Collection, function: Any, first: Any = None) -> Any:
    for image in collection.images:
        first = function(image, first)
    return first


@algorithm("Image.mask")
def _empty(e: Evaluation, image: Any, mask: Any = None) -> Image:
    """What ``ee.Image()`` stands for: one band, masked everywhere."""
    return Image((Band("constant", "uint8", lambda x, y, crs: (0 * x, x != x)),))


algorithm("Image.clipToBoundsAndScale", "Image.clip")(lambda e, input, geometry=None, **_: input)
algorithm("Image.reproject", "Image.setDefaultProjection")(lambda e, image, **_: image)
