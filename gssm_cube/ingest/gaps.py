"""What the markers of a cube tell of it: what was filled, what is missing."""

from gssm_cube import blocks
from gssm_cube.storage.locations import Location


def describe_gaps(store: Location) -> str:
    """Say what was filled and what is missing, from the markers."""
    static, daily, composite = (
        blocks.read_markers(store, s) for s in ("static", "daily", "composite")
    )
    land, filled, lacking = (sum(m[name] for m in static) for name in ("land", "filled", "lacking"))
    names = ("valid", "missing", "day_filled", "night_filled", "day_spatial", "night_spatial")
    valid, missing, day, night, *moved = (sum(m[name] for m in daily) for name in names)
    pixel_days = max(valid + missing, 1)
    green = max(sum(m["valid"] + m["missing"] for m in composite), 1)

    def share(sensor: str) -> float:
        both = sum(m[f"{time}_{sensor}"] for m in daily for time in ("day", "night"))
        return both / (2 * pixel_days)

    def of_composites(name: str) -> float:
        return sum(m[name] for m in composite) / green

    return (
        f"static: {land} land pixels, {filled} filled from nearby land, {lacking} lack a layer, "
        f"slope floored on {floored_share(store):.1%} of the terrain's cells; "
        f"LST: {day / pixel_days:.0%} of day and {night / pixel_days:.0%} of night values filled "
        f"({sum(moved) / max(day + night, 1):.0%} of them also in space), "
        f"{share('aqua'):.0%} from Aqua, {share('viirs'):.0%} from VIIRS, "
        f"{missing} of {pixel_days} pixel-days missing; "
        f"vegetation: {of_composites('filled'):.0%} filled, {of_composites('aqua'):.0%} from Aqua, "
        f"{of_composites('viirs'):.0%} from VIIRS, {of_composites('provisional'):.0%} provisional, "
        f"{of_composites('missing'):.0%} missing"
    )


def floored_share(store: Location) -> float:
    """Share of the terrain's cells whose slope was raised to the floor of the topographic index."""
    markers = blocks.read_markers(store, "static")
    return sum(m["slopes_floored"] for m in markers) / max(sum(m["slopes"] for m in markers), 1)
