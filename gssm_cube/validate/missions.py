"""Days on which missions that soil moisture products live on began or ended.

A product that merges satellites, or is trained on them, may step on such a day. Only those are
listed whose day is a matter of record; settings name further changes by themselves.
"""

from collections.abc import Iterable, Mapping
from datetime import date

# First day of data, last day of data (None: goes on, or faded out), by mission.
MISSIONS: Mapping[str, tuple[date, date | None]] = {
    # AMSR-E/Aqua, NSIDC AE_Land3: 19 June 2002 to 3 October 2011 (the antenna stopped on the 4th).
    "AMSR-E": (date(2002, 6, 19), date(2011, 10, 3)),
    # Terra/MODIS MOD11A1, LP DAAC: from 24 February 2000.
    "MODIS Terra": (date(2000, 2, 24), None),
    # Aqua/MODIS MYD11A1, LP DAAC: from 4 July 2002.
    "MODIS Aqua": (date(2002, 7, 4), None),
    # ASCAT on Metop-A, H SAF data records: from 1 January 2007; Metop-A ended on 15 November 2021.
    "ASCAT": (date(2007, 1, 1), None),
    # AMSR2/GCOM-W1, JAXA: observations from 3 July 2012.
    "AMSR2": (date(2012, 7, 3), None),
    # SMAP radiometer, NSIDC SPL3SMP: from 31 March 2015.
    "SMAP": (date(2015, 3, 31), None),
}


def mission_changes(names: Iterable[str]) -> dict[str, date]:
    """Return the days of change of some missions.

    Parameters
    ----------
    names : iterable of str
        Keys of `MISSIONS`.

    Returns
    -------
    dict of date
        The first day with a mission, and the first without it, each by a name that says so.

    Raises
    ------
    ValueError
        If a mission is not known.
    """
    found = {}
    for name in names:
        if name not in MISSIONS:
            raise ValueError(f"no mission {name!r}; expected one of {list(MISSIONS)}")
        first, last = MISSIONS[name]
        found[f"{name} begins"] = first
        if last is not None:
            found[f"{name} has ended"] = date.fromordinal(last.toordinal() + 1)
    return found
