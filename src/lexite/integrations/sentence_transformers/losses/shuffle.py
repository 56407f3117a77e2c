"""Mixing the tokens of many batches, since the tokens of one text are much alike."""

from __future__ import annotations

import torch

from lexite.errors import ConfigError


class TokenShuffle:
    """A buffer that gives out as many token states as it takes in, at random from what it holds.

    A batch of texts has thousands of tokens but few subjects, and a sparse autoencoder learns slowly from it: most latents see
    nothing in a step. While the buffer fills, it gives out copies of states and keeps them. Once it is full, each state is
    given out once. States are kept in bf16.

    Args:
        capacity: most states that it holds.
        seed: seed of the drawing.

    Raises:
        ConfigError: the capacity is below 1.
    """

    def __init__(self, capacity: int, seed: int = 0) -> None:
        if capacity < 1:
            raise ConfigError(f"The buffer's capacity is {capacity}, but must be at least 1.")
        self.capacity, self.size = capacity, 0
        self._generator = torch.Generator().manual_seed(seed)
        self._states: torch.Tensor | None = None

    def exchange(self, states: torch.Tensor) -> torch.Tensor:
        """Takes states in and gives as many out.

        Args:
            states: (n, d), without gradients.

        Returns:
            (n, d), of the same type and on the same device.
        """
        if self._states is None or self._states.device != states.device:
            self._states, self.size = states.new_empty(self.capacity, states.shape[1], dtype=torch.bfloat16), 0
        room = self.capacity - self.size
        new, rest = states[:room], states[room:]
        self._states[self.size : self.size + len(new)] = new.to(torch.bfloat16)
        self.size += len(new)
        rest = rest[: self.size]  # a batch larger than the whole buffer
        given = self._draw(len(rest))
        taken = self._states[given]
        self._states[given] = rest.to(torch.bfloat16)
        copied = self._states[self._draw(len(states) - len(rest))]
        return torch.cat([taken, copied]).to(states.dtype)

    def _draw(self, n: int) -> torch.Tensor:
        """Numbers of n states, each at most once where there are enough."""
        numbers = torch.randperm(self.size, generator=self._generator)[:n]
        if len(numbers) < n:
            numbers = torch.randint(max(self.size, 1), (n,), generator=self._generator)
        return numbers.to(self._states.device) if self._states is not None else numbers
