"""Lines of an ISMN file as columns, in one compiled pass over the bytes.

Blanks and tabs part the words of a line, and CR, LF or both end it. A word that cannot be read
costs its own line and no other.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

NAT = np.iinfo(np.int64).min
DATE, HOUR, VALUE, FLAG, DEPTH = range(5)  # places in `columns` below
_BLANK, _LF, _CR = 32, 10, 13
_LONGEST_WORD = 200  # letters; the longest flags have 40
_MOST_FLAGS = 4096  # different ones in a file; those beyond are unreadable
_FNV_START, _FNV_PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_LETTERS = np.uint64(255)
_DAYS_BEFORE = np.array([0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365])


@dataclass(frozen=True)
class Rows:
    """Rows of one sensor: arrays of equal length.

    ``stamp`` (datetime64, UTC, NaT where unreadable), ``value`` (as written, NaN where
    unreadable), ``flag`` (places in ``flags``, of which the first, "", is no flag) and, in the
    form that has it, ``depth`` (m).
    """

    stamp: NDArray[np.datetime64]
    value: NDArray[np.float64]
    flag: NDArray[np.int16]
    flags: tuple[str, ...]
    depth: NDArray[np.float64] | None = None

    def where(self, chosen: NDArray[np.bool_]) -> "Rows":
        """Return some of the rows, without their depth."""
        return Rows(self.stamp[chosen], self.value[chosen], self.flag[chosen], self.flags)

    def has_flag(self, flag: str) -> NDArray[np.bool_]:
        """Tell which rows have exactly this flag."""
        named = np.array([name == flag for name in self.flags])
        return named[self.flag]


def read_lines(text: bytes, columns: tuple[int, ...]) -> Rows:
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
    Rows
        One a line, in the file's order.
    """
    data = np.frombuffer(text, dtype="uint8")
    count = np.count_nonzero(data == _LF) + np.count_nonzero(data == _CR) + 1
    stamp, value, flag = np.empty(count, "int64"), np.empty(count), np.empty(count, "int16")
    depth, odd = np.zeros(count), np.zeros(count, "int64")  # rarely touched, so almost free
    known, first = np.zeros(_MOST_FLAGS, "uint64"), np.zeros(_MOST_FLAGS, "int64")
    arrays = (stamp, value, flag, depth, odd, known, first)
    used, flags = _scan(data, np.array(columns), *arrays)
    for row in np.flatnonzero(odd[:used]):  # no plain decimal number: 1e-05, nan, wet
        value[row] = _number(_word(text, odd[row]))
    names = (_word(text, start).decode("ascii", errors="replace") for start in first[1:flags])
    return Rows(
        stamp[:used].view("datetime64[m]"),
        value[:used],
        flag[:used],
        ("", *(name.replace("\ufffd", "?") for name in names)),
        depth[:used] if columns[DEPTH] >= 0 else None,
    )


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


@njit(cache=True)
def _scan(data, columns, stamp, value, flag, depth, odd, known, first):  # type: ignore[no-untyped-def]
    """Fill one row per line that is not blank, in one pass; return how many, and the flags."""
    row, word, at, date, size, flags = 0, 0, 0, NAT, data.size, 1
    number, letter_before, dated = 0, 0, -1  # the flag before, where the date before is
    plain = columns[DATE] == 0 and columns[HOUR] == 1 and columns[DEPTH] < 0
    while at < size:
        letter = data[at]
        if letter == _LF or letter == _CR:
            row, word = row + (word > 0), 0
            at += 1
        elif letter <= _BLANK:
            at += 1
        elif plain and word == 0 and _same_day(data, at, dated):  # 23 of 24 lines
            stamp[row] = _join(date, _read_hour(data, at + 11, at + 16))
            value[row], flag[row] = np.nan, 0
            word, at = 2, at + 16
        else:
            if word == 0:
                stamp[row], value[row], flag[row] = NAT, np.nan, 0
                depth[row] = np.nan if columns[DEPTH] >= 0 else depth[row]
            begin = at
            while at < size and data[at] > _BLANK:
                at += 1
            if word == columns[DATE]:
                date, dated = _read_date(data, begin, at), begin
            elif word == columns[HOUR]:
                stamp[row] = _join(date, _read_hour(data, begin, at))
            elif word == columns[FLAG] and at - begin == 1 and data[begin] == letter_before:
                flag[row] = number
            elif word == columns[FLAG]:
                number, flags = _flag_number(data, begin, at, known, first, flags)
                flag[row], letter_before = number, data[begin] if at - begin == 1 else 0
            elif word == columns[VALUE]:
                value[row] = _read_number(data, begin, at)
                odd[row] = begin if np.isnan(value[row]) else odd[row]
            elif word == columns[DEPTH]:
                depth[row] = _read_number(data, begin, at)
            word += 1
    return row + (word > 0), flags


@njit(cache=True)
def _flag_number(data, begin, end, known, first, flags):  # type: ignore[no-untyped-def]
    """Return the number of a flag, 0 if there are too many, and how many there are now.

    Longer flags are known by a hash of 64 bits, which is never that of a single letter.
    """
    code = np.uint64(data[begin])
    if end - begin > 1:
        code = _FNV_START
        for at in range(begin, end):
            code = (code ^ np.uint64(data[at])) * _FNV_PRIME
        code |= _LETTERS + np.uint64(1)
    for number in range(1, flags):
        if known[number] == code:
            return number, flags
    if flags == known.size:
        return 0, flags
    known[flags], first[flags] = code, begin
    return flags, flags + 1


@njit(cache=True)
def _same_day(data, at, dated):  # type: ignore[no-untyped-def]
    """Tell whether a line begins with a date that was read at another place, and an hour."""
    if dated < 0 or at + 16 >= data.size or data[at + 16] > _BLANK:
        return False
    for place in range(10, -1, -1):  # the day's last letter differs most often
        if data[at + place] != data[dated + place]:
            return False
    return data[at + 10] <= _BLANK


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
