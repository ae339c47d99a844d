"""Lines of an ISMN file as columns, in one compiled pass over the bytes.

Blanks and tabs part the words of a line, and CR, LF or both end it. A word that cannot be read
costs its own line and no other.
"""

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

NAT = np.iinfo(np.int64).min
DATE, HOUR, VALUE, FLAG, DEPTH = range(5)  # places in `columns` below
_BLANK, _LF, _CR = 32, 10, 13
_LONGEST_WORD = 200  # letters; the longest flags have 40
_DAYS_BEFORE = np.array([0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365])


def read_lines(text: bytes, columns: tuple[int, ...]) -> pd.DataFrame:
    """Read stamp, value, flag and depth of every line that is not blank.

    Parameters
    ----------
    text : bytes
        Lines without a header.
    columns : tuple of int
        Which word of a line, counted from 0, is the date (yyyy/mm/dd), the hour (hh:mm), the
        value, the flag and the depth; -1 for a column that the form does not have.

    Returns
    -------
    DataFrame, one row per line
        ``stamp`` (datetime64[s], NaT where unreadable), ``value`` (float64 as written, NaN where
        unreadable), ``flag`` (categorical, "" where the line has none) and, if the form has it,
        ``depth`` (float64).
    """
    data = np.frombuffer(text, dtype="uint8")
    count = np.count_nonzero(data == _LF) + np.count_nonzero(data == _CR) + 1
    stamp, value, flag = np.empty(count, "int64"), np.empty(count), np.empty(count, "int64")
    depth, odd = np.zeros(count), np.zeros(count, "int64")  # rarely touched, so almost free
    used = _scan(data, np.array(columns), stamp, value, flag, depth, odd)
    for row in np.flatnonzero(odd[:used]):  # no plain decimal number: 1e-05, nan, wet
        value[row] = _number(_word(text, odd[row]))
    columns_of_rows = {
        "stamp": stamp[:used].view("datetime64[m]").astype("datetime64[s]"),
        "value": value[:used],
        "flag": _flags(text, flag[:used]),
    }
    if columns[DEPTH] >= 0:
        columns_of_rows["depth"] = depth[:used]
    return pd.DataFrame(columns_of_rows, copy=False)


def _word(text: bytes, start: int) -> bytes:
    """Return the word that starts at a place."""
    return text[start : start + _LONGEST_WORD].split(maxsplit=1)[0]


def _number(word: bytes) -> float:
    """Return a number in any notation, NaN if it is none."""
    try:
        number = float(word)
    except ValueError:
        return np.nan
    return number if np.isfinite(number) else np.nan


def _flags(text: bytes, codes: NDArray[np.int64]) -> pd.Categorical:
    """Return the flags: 0 is none, below 256 the flag's only letter, else 256 + where it is."""
    names = [""] + [chr(letter) if letter < 128 else "?" for letter in range(1, 256)]
    number: dict[str, int] = {}
    for row in np.flatnonzero(codes >= 256):
        name = _word(text, codes[row] - 256).decode("ascii", errors="replace")
        codes[row] = number.setdefault(name, 256 + len(number))
    names += list(number)
    present = np.flatnonzero(np.bincount(codes, minlength=1))
    labels = pd.Index([names[code] for code in present], dtype="str")
    place = np.zeros(len(names), dtype="int8" if len(present) < 128 else "int64")
    place[present] = np.arange(len(present))
    if labels.has_duplicates:  # letters beyond ASCII
        return pd.Categorical([names[code] for code in codes])
    return pd.Categorical.from_codes(place[codes], labels, validate=False)


@njit(cache=True)
def _scan(data, columns, stamp, value, flag, depth, odd):  # type: ignore[no-untyped-def]
    """Fill one row per line that is not blank, in one pass; return how many."""
    row, word, at, date, size = 0, 0, 0, NAT, data.size
    while at < size:
        letter = data[at]
        if letter == _LF or letter == _CR:
            row, word = row + (word > 0), 0
            at += 1
        elif letter <= _BLANK:
            at += 1
        else:
            if word == 0:
                stamp[row], value[row], flag[row], date = NAT, np.nan, 0, NAT
                depth[row] = np.nan if columns[DEPTH] >= 0 else depth[row]
            first = at
            while at < size and data[at] > _BLANK:
                at += 1
            if word == columns[DATE]:
                date = _read_date(data, first, at)
            elif word == columns[HOUR]:
                stamp[row] = _join(date, _read_hour(data, first, at))
            elif word == columns[FLAG]:
                flag[row] = data[first] if at - first == 1 else 256 + first
            elif word == columns[VALUE]:
                value[row] = _read_number(data, first, at)
                odd[row] = first if np.isnan(value[row]) else odd[row]
            elif word == columns[DEPTH]:
                depth[row] = _read_number(data, first, at)
            word += 1
    return row + (word > 0)


@njit(cache=True)
def _join(date, minutes):  # type: ignore[no-untyped-def]
    """Return minutes since 1970, NAT unless both are known."""
    return NAT if date == NAT or minutes < 0 else date * 1440 + minutes


@njit(cache=True)
def _digits(data, first, last):  # type: ignore[no-untyped-def]
    """Return an unsigned whole number, -1 if there is another sign in it."""
    number = 0
    for at in range(first, last):
        digit = data[at] - 48
        if digit < 0 or digit > 9:
            return -1
        number = 10 * number + digit
    return number


@njit(cache=True)
def _read_date(data, first, last):  # type: ignore[no-untyped-def]
    """Return days since 1970-01-01 of yyyy/mm/dd, NAT if it is no such day."""
    if last - first != 10 or data[first + 4] != 47 or data[first + 7] != 47:
        return NAT
    year = _digits(data, first, first + 4)
    month, day = _digits(data, first + 5, first + 7), _digits(data, first + 8, last)
    if year < 1 or month < 1 or month > 12 or day < 1:
        return NAT
    leap = 1 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 0
    length = _DAYS_BEFORE[month] - _DAYS_BEFORE[month - 1] + (leap if month == 2 else 0)
    if day > length:
        return NAT
    before = year - 1
    days = 365 * before + before // 4 - before // 100 + before // 400 - 719162
    return days + _DAYS_BEFORE[month - 1] + (leap if month > 2 else 0) + day - 1


@njit(cache=True)
def _read_hour(data, first, last):  # type: ignore[no-untyped-def]
    """Return minutes of hh:mm, -1 if it is no time of day."""
    if last - first != 5 or data[first + 2] != 58:
        return -1
    hour, minute = _digits(data, first, first + 2), _digits(data, first + 3, last)
    if hour < 0 or hour > 23 or minute < 0 or minute > 59:
        return -1
    return 60 * hour + minute


@njit(cache=True)
def _read_number(data, first, last):  # type: ignore[no-untyped-def]
    """Return a decimal number, NaN if it is none or has more than 15 digits.

    A whole number below 10**15 over a power of ten rounds once, as reading the text does.
    """
    negative = data[first] == 45
    mantissa, digits, power, point = 0, 0, 1.0, False
    for at in range(first + 1 if negative else first, last):
        digit = data[at] - 48
        if data[at] == 46 and not point:
            point = True
        elif digit < 0 or digit > 9 or digits == 15:
            return np.nan
        else:
            mantissa, digits = 10 * mantissa + digit, digits + 1
            power = power * 10.0 if point else power
    if digits == 0:
        return np.nan
    return -mantissa / power if negative else mantissa / power
