"""Encoders in other processes: a pickled encoder says where its vocabulary lies, and is opened there on arrival."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lexite.errors import ModelError
from lexite.terms.components import MEASURED, Components
from lexite.terms.saving import load_components
from lexite.terms.selection import prefix_of

MODEL_CHOICES = ("device", "precision", "trust_remote_code")
_ADVICE = "Save it with encoder.save_pretrained(FOLDER), and send LatentTermEncoder.from_pretrained(FOLDER) instead."


@dataclass(frozen=True)
class Reference:
    """Where an encoder is opened, and with which settings.

    Attributes:
        source: name or path of the vocabulary.
        revision: branch, tag or commit of the vocabulary on the hub.
        model: fields of the backbone's configuration that a machine chooses: device, precision, trust_remote_code.
        reading: how texts are read otherwise than the vocabulary says.
        prefix_size: how many of its latents, the first ones; None for all.
        fingerprint: of the encoder.
        changes: parts of :class:`Components` that are other than the vocabulary's, by name.
    """

    source: str
    revision: str | None
    model: Mapping[str, Any]
    reading: Mapping[str, str]
    prefix_size: int | None
    fingerprint: str
    changes: Mapping[str, Any]


def reference_to(parts: Components) -> Reference:
    """What another process needs to open an encoder.

    Raises:
        ModelError: the encoder was never saved, or its weights were changed since.
    """
    loaded = parts.loaded
    if not parts.source:
        raise ModelError(f"The encoder {parts.details.name} was never saved, so no other process can open it. {_ADVICE}")
    if loaded is not None and parts.sae is not loaded.sae:
        raise ModelError(
            f"The autoencoder of {parts.details.name} was changed since it was loaded from {parts.source}, so another process "
            f"cannot open it there. {_ADVICE}"
        )
    changed = [name for name in MEASURED if loaded is not None and getattr(parts, name) is not getattr(loaded, name)]
    return Reference(
        parts.source,
        loaded.revision if loaded is not None else None,
        {name: getattr(parts.backbone.config, name) for name in MODEL_CHOICES},
        dict(parts.reading),
        parts.prefix_size,
        parts.fingerprint,
        {name: getattr(parts, name) for name in ("terms", "scoring", *changed)},
    )


def components_of(reference: Reference) -> Components:
    """Opens the vocabulary of a pickled encoder. A process keeps the one that it opened last, for the next encoder of it.

    Raises:
        ModelError: it is not there, or was changed since the encoder was pickled.
        BackboneError: its model cannot be loaded.
    """
    place = (reference.source, reference.revision, reference.prefix_size)
    parts = _opened(*place, _items(reference.model), _items(reference.reading), reference.fingerprint)
    parts = replace(parts, **reference.changes)
    if parts.fingerprint != reference.fingerprint:
        _opened.cache_clear()
        raise ModelError(
            f"The vocabulary {reference.source} was changed since the encoder was pickled: its fingerprint is "
            f"{parts.fingerprint[:12]}, the encoder's {reference.fingerprint[:12]}. Load it again where the encoder comes from."
        )
    return parts


def _items(values: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(values.items()))


@functools.lru_cache(maxsize=1)
def _opened(
    source: str,
    revision: str | None,
    prefix_size: int | None,
    model: tuple[tuple[str, Any], ...],
    reading: tuple[tuple[str, str], ...],
    fingerprint: str,
) -> Components:
    """The vocabulary as it lies there. ``fingerprint`` tells versions of one folder apart."""
    parts = load_components(source, dict(model), revision=revision, reading=dict(reading))
    return parts if prefix_size is None else prefix_of(parts, prefix_size)
