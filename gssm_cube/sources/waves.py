"""Random fields of waves, still or drifting: what the invented world's relief and weather are."""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

Floats = NDArray[np.floating]


def rng_of(seed: int, *key: str | int) -> np.random.Generator:
    """Return the random generator of one part of the world, whatever was drawn before."""
    return np.random.default_rng([seed, *(zlib.crc32(str(word).encode()) for word in key)])


@dataclass(frozen=True)
class Waves:
    """A smooth field of mean 0: ``north`` and ``east`` in rad deg-1, complex ``amplitude``."""

    north: Floats
    east: Floats
    amplitude: NDArray[np.complexfloating]

    def on(self, lat: Floats, lon: Floats) -> Floats:
        """Return the field on a regular grid (lat, lon)."""
        rows = np.exp(1j * np.outer(lat, self.north)) * self.amplitude
        cols = np.exp(1j * np.outer(self.east, lon))
        return rows.real @ cols.real - rows.imag @ cols.imag


@dataclass(frozen=True)
class MovingWaves:
    """A field that drifts and changes hour by hour: ``series`` holds amplitudes (hour, wave)."""

    north: Floats
    east: Floats
    series: NDArray[np.complexfloating]

    def on(self, lat: Floats, lon: Floats) -> Floats:
        """Return the field (hour, lat, lon); for small grids."""
        angle = np.outer(lat, self.north)[:, None] + np.outer(lon, self.east)
        turn = np.exp(1j * angle).reshape(-1, self.north.size)
        field = self.series.real @ turn.real.T - self.series.imag @ turn.imag.T
        return field.reshape(-1, lat.size, lon.size)


def random_waves(rng: np.random.Generator, count: int, lengths: tuple[float, float]) -> Waves:
    """Return a field of variance 1; wavelengths between two in deg, amplitude in proportion."""
    ranks = (np.arange(count) + rng.random(count)) / count
    size = lengths[0] * (lengths[1] / lengths[0]) ** ranks
    angle, phase = 2 * np.pi * rng.random((2, count))
    number, amplitude = 2 * np.pi / size, size * np.sqrt(2 / np.sum(size**2))
    return Waves(number * np.sin(angle), number * np.cos(angle), amplitude * np.exp(1j * phase))


def drifting_waves(
    waves: Waves, rng: np.random.Generator, hours: int, memory: float, wind: tuple[float, float]
) -> MovingWaves:
    """Let a field drift and change; ``memory`` in hours, ``wind`` (north, east) in deg h-1."""
    keep = np.exp(-1 / memory)
    fresh = np.sqrt(1 - keep**2)
    noise = rng.standard_normal((2, hours, waves.north.size)) * (fresh / np.sqrt(2))
    noise[:, 0] /= fresh  # starts in its steady state
    turn = keep * np.exp(-1j * (waves.north * wind[0] + waves.east * wind[1]))
    series = (noise[0] + 1j * noise[1]) * np.abs(waves.amplitude)
    for wave in range(turn.size):
        series[:, wave] = lfilter([1.0], [1.0, -turn[wave]], series[:, wave])
    return MovingWaves(waves.north, waves.east, series)
