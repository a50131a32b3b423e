"""Frames of an Atari game, played by the emulator of `ale-py` under a seeded random policy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chainrule.datasets.core import Dataset
from chainrule.errors import DataError, MissingPackageError

__all__ = ["SCREEN", "AtariFrames", "Episodes", "need_emulator"]

SCREEN = (210, 160)
"""Height and width of a frame."""

Frames = NDArray[np.uint8]


def need_emulator() -> None:
    """Raise a MissingPackageError if `ale-py`, which brings the games along, is not installed."""
    try:
        import ale_py  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "ale_py":
            raise
        raise MissingPackageError(
            "Atari frames need ale-py, which is not installed: pip install 'chainrule[atari]' (or ale-py)"
        ) from None


@dataclass(frozen=True)
class Episodes(Dataset):
    """Frames of episodes.

    Attributes
    ----------
    test_episode : ndarray of shape (n_test,), int64
        The episode that a test frame is from: frames of one episode are not independent.
    """

    test_episode: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))


@dataclass(frozen=True)
class AtariFrames:
    """Which frames of a game to take.

    Attributes
    ----------
    n_train, n_valid, n_test : int
        Episodes of each part; no episode gives frames to two of them.
    every : int
        Take one of so many frames: one hardly differs from the next.
    shrink : int
        A pixel of the result is lit where any is in a square of so many pixels a side; it has to divide both
        sides of the screen.
    most : int, optional
        At most so many frames of each part, drawn with the seed.
    game : str
        A game's name in `ale-py`.

    Examples
    --------
    >>> AtariFrames(3, 1, 1, shrink=5).image_shape
    (42, 32)
    """

    n_train: int
    n_valid: int
    n_test: int
    every: int = 8
    shrink: int = 1
    most: int | None = None
    game: str = "space_invaders"

    def __post_init__(self) -> None:
        if any(side % self.shrink for side in SCREEN):
            raise ValueError(f"shrink must divide {SCREEN[0]} and {SCREEN[1]}, got {self.shrink}")

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width of the frames as they are returned."""
        return SCREEN[0] // self.shrink, SCREEN[1] // self.shrink

    def load(self, random_state: int) -> Episodes:
        """Play the episodes, and return binary frames: 1 where a pixel is not black.

        A frame that was seen before is left out, in its own part and in the parts that follow: no test frame
        stands among the training or the validation frames.

        Parameters
        ----------
        random_state : int
            Seed of the emulator and of the policy; the same frames come of the same seed.

        Raises
        ------
        MissingPackageError
            If `ale-py` is not installed.
        DataError
            If it does not have the game.
        """
        need_emulator()
        emulator = _emulator(self.game, random_state)
        draw = np.random.default_rng(random_state)
        seen: set[bytes] = set()
        parts, episodes = {}, {}
        for part, n_episodes in (("train", self.n_train), ("valid", self.n_valid), ("test", self.n_test)):
            played = [self._new_frames(emulator, draw, seen) for _ in range(n_episodes)]
            episode = np.repeat(np.arange(n_episodes), [len(frames) for frames in played])
            chosen = self._some(len(episode), draw)
            parts[part] = np.concatenate(played)[chosen]
            episodes[part] = episode[chosen]
        name = self.game.replace("_", " ").title()
        return Episodes(
            f"atari-{self.game.replace('_', '-')}",
            parts["train"],
            parts["valid"],
            parts["test"],
            kinds="binary",
            image_shape=self.image_shape,
            description=f"Frames of {name}, every {self.every}th, binarised: lit where not black",
            split=f"By episode of a seeded random policy: {self.n_train}, {self.n_valid} and {self.n_test} "
            "episodes for training, validation and testing; a frame that was seen before is left out.",
            test_episode=episodes["test"],
        )

    def _new_frames(self, emulator: Any, draw: np.random.Generator, seen: set[bytes]) -> Frames:
        """Play an episode and return its frames (n, D) that are not in `seen`, to which they are added."""
        actions = emulator.getMinimalActionSet()
        emulator.reset_game()
        frames, number = [], 0
        while not emulator.game_over():
            emulator.act(actions[draw.integers(len(actions))])
            number += 1
            if number % self.every:
                continue
            frame = self._shrunken(emulator.getScreenGrayscale())
            packed = np.packbits(frame).tobytes()
            if packed not in seen:
                seen.add(packed)
                frames.append(frame)
        height, width = self.image_shape
        return np.array(frames, dtype=np.uint8).reshape(len(frames), height * width)

    def _shrunken(self, screen: NDArray[np.uint8]) -> Frames:
        height, width = self.image_shape
        squares = (screen.reshape(SCREEN) > 0).reshape(height, self.shrink, width, self.shrink)
        return squares.any(axis=(1, 3)).astype(np.uint8).ravel()

    def _some(self, n_frames: int, draw: np.random.Generator) -> NDArray[np.intp]:
        """Return which of the frames of a part to keep, in their order."""
        if self.most is None or n_frames <= self.most:
            return np.arange(n_frames)
        return np.sort(draw.permutation(n_frames)[: self.most])


def _emulator(game: str, seed: int) -> Any:
    from ale_py import ALEInterface, LoggerMode, roms

    ALEInterface.setLoggerMode(LoggerMode.Error)
    if game not in roms.get_all_rom_ids():
        raise DataError(f"ale-py has no game {game!r}; it has {', '.join(sorted(roms.get_all_rom_ids()))}")
    emulator: Any = ALEInterface()
    emulator.setInt("random_seed", seed)
    emulator.loadROM(roms.get_rom_path(game))
    return emulator
