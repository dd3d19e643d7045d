"""Speech-like audio, noise and tones, synthesized with a fixed seed.

Voiced syllables are harmonics of a gliding pitch, weighted by the formants of
two vowels that blend into one another; some start with a fricative burst, and
pauses separate phrases. A trained voice activity detector takes it for speech
(mean probability above 0.3, usually far above) and rejects noise and tones, which
demo_models.py checks before it uses the audio.
"""

from __future__ import annotations

import numpy as np

# First three formants in hertz of /a/, /i/, /u/, /e/, /o/ (Peterson & Barney 1952, rounded).
_FORMANTS = [(730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410)]


def speech(rate: int, seconds: float, seed: int) -> np.ndarray:
    """Returns speech-like samples, float32, peak 0.5, at rate hertz."""
    rng = np.random.default_rng(seed)
    total = int(rate * seconds)
    out = np.zeros(total)
    start = int(0.15 * rate)
    while start < total:
        length = min(int(rng.uniform(0.12, 0.3) * rate), total - start)
        syllable = _syllable(rate, length, rng)
        out[start:start + length] += syllable * rng.uniform(0.6, 1)
        if rng.random() < 0.5:
            burst = min(int(0.05 * rate), total - start)
            out[start:start + burst] += np.diff(rng.standard_normal(burst + 1)) * 0.08 * np.hanning(burst)
        pause = rng.uniform(0.02, 0.08) if rng.random() < 0.75 else rng.uniform(0.3, 0.8)
        start += length + int(pause * rate)
    out += rng.standard_normal(total) * 0.004
    return (out / np.abs(out).max() * 0.5).astype(np.float32)


def _syllable(rate: int, length: int, rng: np.random.Generator) -> np.ndarray:
    ramp = np.linspace(0, 1, length)
    vibrato = 1 + 0.01 * np.sin(2 * np.pi * 5 * np.arange(length) / rate)
    pitch = rng.uniform(100, 200) * np.linspace(1, rng.uniform(0.8, 1.15), length) * vibrato
    phase = np.cumsum(pitch) / rate
    here, there = _FORMANTS[rng.integers(5)], _FORMANTS[rng.integers(5)]
    voice = np.zeros(length)
    for harmonic in range(1, int(rate / 2 / 220)):
        frequency = harmonic * pitch
        gain = 0.02 / harmonic
        for i, strength in enumerate((1, 0.5, 0.25)):
            centre = (1 - ramp) * here[i] + ramp * there[i]
            gain = gain + strength * np.exp(-0.5 * ((frequency - centre) / (60 + 40 * i)) ** 2)
        voice += gain * np.sin(2 * np.pi * harmonic * phase) * (frequency < rate * 0.475)
    return voice * np.minimum(1, np.minimum(ramp * 8, (1 - ramp) * 6))


def noise(rate: int, seconds: float, seed: int) -> np.ndarray:
    """Returns white noise, float32."""
    return (np.random.default_rng(seed).standard_normal(int(rate * seconds)) * 0.05).astype(np.float32)


def tone(rate: int, seconds: float, seed: int) -> np.ndarray:
    """Returns a dial-tone-like pair of sines, float32."""
    t = np.arange(int(rate * seconds)) / rate
    low = np.random.default_rng(seed).uniform(350, 450)
    return (0.15 * np.sin(2 * np.pi * low * t) + 0.15 * np.sin(2 * np.pi * (low + 90) * t)).astype(np.float32)


def windows(audio: np.ndarray, size: int, context: int) -> np.ndarray:
    """Cuts audio into windows of size samples, each led by the context samples before it: [N, context+size]."""
    padded = np.concatenate([np.zeros(context, np.float32), audio])
    count = len(audio) // size
    return np.stack([padded[i * size:i * size + context + size] for i in range(count)])
